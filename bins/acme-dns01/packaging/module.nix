{ config, lib, pkgs, ... }:
let
  cfg = config.services.acme-dns01;
  format = pkgs.formats.toml { };
in
{
  options.services.acme-dns01 = {
    enable = lib.mkEnableOption "certificates by ACME DNS-01";
    package = lib.mkOption { type = lib.types.package; description = "The package of acme-dns01."; };
    settings = lib.mkOption { type = format.type; default = { }; description = "The configuration."; };
    credentials = lib.mkOption {
      type = lib.types.attrsOf lib.types.path;
      default = { };
      description = "Secret files by name, for `credential:NAME` in the settings.";
    };
  };
  config = lib.mkIf cfg.enable {
    users.users.acme = { isSystemUser = true; group = "acme"; home = "/var/lib/acme"; };
    users.groups.acme = { };
    systemd.services.acme-dns01 = {
      description = "Certificates by ACME DNS-01";
      after = [ "network-online.target" "nss-lookup.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        ExecStart = "${lib.getExe' cfg.package "acme-dns01"} --config ${format.generate "acme-dns01.toml" cfg.settings} run";
        Restart = "always";
        RestartSec = 30;
        User = "acme";
        Group = "acme";
        StateDirectory = "acme";
        StateDirectoryMode = "0755";
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
        CapabilityBoundingSet = "";
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectHome = true;
        ProtectSystem = "strict";
      };
    };
  };
}
