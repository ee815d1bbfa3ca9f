# services.edgeProxy: edge-proxyd, with its own settings and a short form for sites.
#
#   imports = [ ./module.nix ];
#   services.edgeProxy = {
#     enable = true;
#     package = edge-proxyd;
#     openFirewall = true;
#     settings.listen = [
#       { address = [ "0.0.0.0:443" "[::]:443" ]; tls = true; http3 = true; }
#       { address = [ "0.0.0.0:80" "[::]:80" ]; }
#     ];
#     sites."git.example.org".upstream = "http://100.64.0.2:80";
#   };
#
# The configuration is /etc/edge-proxyd/edge.toml. A change reloads the service, or has a new process take over where a reload is
# not enough: no connection is lost. An invalid change fails the switch, and the old configuration stays in force.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.edgeProxy;
  inherit (lib) mkIf mkOption types;
  format = pkgs.formats.toml { };
  place = "/etc/edge-proxyd/edge.toml";
  program = lib.getExe' cfg.package "edge-proxyd";
  # Every key of the file is an option, so that a misspelt one is found where it is written.
  schema = builtins.fromJSON (builtins.readFile ./edge.schema.json);
  typed = import ../../packaging/nix/schema.nix { inherit lib; };
  settings = typed.compact cfg.settings;

  sites = map typed.compact (builtins.attrValues cfg.sites);
  listeners = settings.listen or [ ];
  secure = lib.filter (listener: listener.tls or false) listeners;
  written = lib.recursiveUpdate
    (lib.optionalAttrs (secure != [ ]) { certificates.folder = cfg.certificates; })
    settings;
  generated = format.generate "edge.toml" (written // { site = sites ++ (settings.site or [ ]); });
  # A mistake fails the build; files and secrets of the host are looked at when the service starts.
  file = pkgs.runCommandLocal "edge.toml" { file = generated; } ''
    ${program} check --no-files --errors-only --config ${generated}
    ln -s ${generated} $out
  '';

  addresses = listener:
    let given = listener.address or [ ]; in if builtins.isList given then given else [ given ];
  portOf = address: lib.toInt (lib.last (lib.splitString ":" address));
  portsOf = some: lib.unique (map portOf (lib.filter (address: lib.hasInfix ":" address) (lib.concatMap addresses some)));
in
{
  options.services.edgeProxy = {
    enable = lib.mkEnableOption "the edge proxy";
    package = mkOption {
      type = types.package;
      default = pkgs.edge-proxyd;
      defaultText = lib.literalExpression "pkgs.edge-proxyd";
      description = "The package of the program.";
    };
    certificates = mkOption {
      type = types.str;
      default = "/var/lib/acme";
      description = "The folder of certificates: one subfolder each, with fullchain.pem and key.pem. Renewed certificates are loaded at once.";
    };
    group = mkOption {
      type = types.str;
      default = "acme";
      description = "The group that may read certificates; the service runs in it.";
    };
    sites = mkOption {
      default = { };
      example = { "git.example.org".upstream = "http://100.64.0.2:80"; };
      description = "The sites, with the keys of [[site]] in the configuration as options. Requests for other names are refused.";
      type = types.attrsOf (types.submodule ({ name, ... }: {
        options = typed.optionsOf schema.properties.site.items // {
          name = mkOption { type = types.str; default = name; description = "The name in logs and counters."; };
          hosts = mkOption { type = types.listOf types.str; default = [ name ]; description = "The names of the site."; };
        };
      }));
    };
    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { cloudflare = "/run/secrets/cloudflare"; };
      description = "Secret files by name, for `credential:NAME` in the settings. systemd reads them; do not use paths in the store.";
    };
    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Opens the ports of settings.listen in the firewall: TCP, and UDP for HTTP/3.";
    };
    settings = mkOption {
      type = typed.typeOf schema;
      default = { };
      description = "The configuration, with its keys as options; its sites are added to `sites`.";
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = listeners != [ ];
        message = "services.edgeProxy.settings.listen is empty: at least one listener is required.";
      }
      {
        assertion = !(settings ? acme) || !(config.systemd.services ? acme-dns01);
        message = "services.edgeProxy.settings.acme and security.acmeDns01 would both write certificates: remove one of them.";
      }
    ];

    environment.etc."edge-proxyd/edge.toml".source = file;
    environment.systemPackages = [ cfg.package ];
    networking.firewall = mkIf cfg.openFirewall {
      allowedTCPPorts = portsOf listeners;
      allowedUDPPorts = portsOf (lib.filter (listener: listener.http3 or false) listeners);
    };
    users.users.edge-proxy = { isSystemUser = true; group = cfg.group; };
    users.groups.${cfg.group} = { };
    systemd.tmpfiles.rules =
      lib.optionals (settings ? acme) [ "d ${cfg.certificates} :0755 :edge-proxy :${cfg.group} -" ];

    systemd.services.edge-proxyd = {
      description = "Edge proxy";
      documentation = [ "man:edge-proxyd(1)" ];
      after = [ "network.target" "tailscaled.service" ];
      startLimitIntervalSec = 0;
      wantedBy = [ "multi-user.target" ];
      reloadTriggers = [ file ];
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "all";
        # The folder of certificates, if it is missing: what is made after the start is read-only here.
        ExecStartPre =
          lib.optionals (settings ? acme)
            [ "-+${pkgs.systemd}/bin/systemd-tmpfiles --create --prefix=${cfg.certificates}" ]
          ++ [ "${program} check --errors-only --config ${place}" ];
        ExecStart = "${program} run --stop-grace 5 --config ${place}";
        ExecReload = "${program} reload --takeover=needed";
        FileDescriptorStoreMax = 1024;
        WatchdogSec = 30;
        Restart = "on-failure";
        RestartSec = 1;
        RestartSteps = 8;
        RestartMaxDelaySec = 30;
        TimeoutStopSec = 15;
        User = "edge-proxy";
        Group = cfg.group;
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
        ReadWritePaths = [ "-${cfg.certificates}" ];
        AmbientCapabilities = [ "CAP_NET_BIND_SERVICE" ];
        CapabilityBoundingSet = [ "CAP_NET_BIND_SERVICE" ];
        LogsDirectory = "edge-proxyd";
        RuntimeDirectory = "edge-proxyd";
        StateDirectory = "edge-proxyd";
        LimitNOFILE = 262144;
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProcSubset = "pid";
        PrivateDevices = true;
        PrivateTmp = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RemoveIPC = true;
        RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK" ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        # Includes the calls of the program's own sandbox.
        SystemCallFilter = [
          "@system-service landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp"
          "~@privileged @resources"
          "fchown"
        ];
        SystemCallErrorNumber = "EPERM";
        UMask = "0077";
      };
    };
  };
}
