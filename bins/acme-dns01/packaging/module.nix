# security.acmeDns01: certificates by DNS-01, with the options of security.acme that people know.
#
#   imports = [ ./module.nix ];
#   security.acmeDns01 = {
#     acceptTerms = true;
#     defaults = {
#       email = "admin@example.org";
#       dnsProvider = "cloudflare";
#       credentialFiles.CLOUDFLARE_DNS_API_TOKEN_FILE = "/run/secrets/cloudflare";
#     };
#     certs."example.org" = {
#       extraDomainNames = [ "*.example.org" ];
#       reloadServices = [ "nginx.service" ];
#     };
#   };
#
# A provider that takes more than a token is written under settings.provider, as in the program's own file, and named by
# dnsProvider. Commands of postRun run as the account acme, not as root.
{ config, lib, pkgs, ... }:
let
  cfg = config.security.acmeDns01;
  inherit (lib) mkIf mkOption types;
  compact = lib.filterAttrs (_: value: value != null);
  format = pkgs.formats.toml { };

  inheritable = {
    server = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The URL of the CA's directory; Let's Encrypt's unless given.";
    };
    dnsProvider = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "`cloudflare`, or a name of settings.provider.";
    };
    credentialFiles = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = ''
        Files with secrets: CLOUDFLARE_DNS_API_TOKEN_FILE (or CF_DNS_API_TOKEN_FILE), and CLOUDFLARE_ZONE_API_TOKEN_FILE (or
        CF_ZONE_API_TOKEN_FILE) where another token reads the zones. systemd reads them; not paths of the store.
      '';
    };
    dnsResolver = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "1.1.1.1:53";
      description = "The resolver to ask, with its port; the system's unless given. Those of all certificates are asked for each.";
    };
    environmentFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "A file of variables, for `env:NAME` in the settings and for Cloudflare's tokens.";
    };
    keyType = mkOption {
      type = types.str;
      default = "ec256";
      description = "ec256, ec384, rsa2048, rsa3072 or rsa4096.";
    };
    profile = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The profile to order.";
    };
    validMinDays = mkOption {
      type = types.nullOr types.int;
      default = null;
      description = "Days of 90 that must remain; the CA's ARI comes first.";
    };
    reloadServices = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Units to reload when there is a new certificate. The account acme is allowed to.";
    };
    postRun = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Commands to run in the certificate's folder when there is a new one, as the account acme.";
    };
  };

  # An option of a certificate is that of the defaults unless it is given.
  certificate = types.submodule ({ name, ... }: {
    options = builtins.mapAttrs
      (key: option: option // { default = cfg.defaults.${key}; defaultText = lib.literalExpression "that of the defaults"; })
      inheritable // {
      domain = mkOption { type = types.str; default = name; description = "The first name."; };
      extraDomainNames = mkOption { type = types.listOf types.str; default = [ ]; description = "More names."; };
      check = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "127.0.0.1:443" ];
        description = "Addresses that must present the new certificate afterwards; otherwise the old one is put back.";
      };
      group = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "nginx";
        description = "The group that may read this certificate; that of all unless given.";
      };
      directory = mkOption {
        type = types.str;
        default = "/var/lib/acme/${name}";
        readOnly = true;
        description = "Folder of the certificate.";
      };
    };
  });

  hash = value: builtins.substring 0 12 (builtins.hashString "sha256" value);
  isCloudflare = cert: cert.dnsProvider == "cloudflare" && !(cfg.settings ? provider.cloudflare);
  # Certificates with the same credentials share a provider.
  providerOf = cert:
    if isCloudflare cert then "cloudflare-${hash (builtins.toJSON cert.credentialFiles)}" else cert.dnsProvider;
  token = cert: names:
    let given = builtins.filter (name: cert.credentialFiles ? "${name}_FILE") names;
    in if given == [ ] then null else builtins.head given;
  reference = cert: names:
    let name = token cert names;
    in if name == null then null else "credential:${hash cert.credentialFiles."${name}_FILE"}";
  dnsTokens = [ "CLOUDFLARE_DNS_API_TOKEN" "CF_DNS_API_TOKEN" ];
  zoneTokens = [ "CLOUDFLARE_ZONE_API_TOKEN" "CF_ZONE_API_TOKEN" ];
  cloudflare = cert: compact {
    kind = "cloudflare";
    token =
      let found = reference cert dnsTokens;
      in if found == null && cert.environmentFile != null then "env:CLOUDFLARE_DNS_API_TOKEN" else found;
    zone_token = reference cert zoneTokens;
  };

  certs = builtins.attrValues cfg.certs;
  authorityOf = cert: if cert.server == null then "letsencrypt" else "server-${hash cert.server}";
  single = cert: name: compact {
    inherit name;
    names = [ cert.domain ] ++ cert.extraDomainNames;
    key_type = cert.keyType;
    inherit (cert) profile;
    authority = authorityOf cert;
    provider = if cert.dnsProvider == null then null else providerOf cert;
    reload_services = cert.reloadServices;
    post_run = cert.postRun;
    inherit (cert) check group;
    valid_min_days = cert.validMinDays;
  };
  written = {
    folder = "/var/lib/acme";
    inherit (cfg) group;
    agree_terms = cfg.acceptTerms;
    parallel = cfg.maxConcurrentRenewals;
    email = lib.optionals (cfg.defaults.email != null) [ cfg.defaults.email ];
    authority = builtins.listToAttrs (map
      (cert: { name = authorityOf cert; value = { directory = cert.server; }; })
      (builtins.filter (cert: cert.server != null) certs));
    provider = builtins.listToAttrs (map
      (cert: { name = providerOf cert; value = cloudflare cert; })
      (builtins.filter isCloudflare certs));
    certificate = builtins.attrValues (builtins.mapAttrs (name: cert: single cert name) cfg.certs);
  };
  resolvers = lib.unique (builtins.filter (resolver: resolver != null) (map (cert: cert.dnsResolver) certs));
  merged = written // lib.optionalAttrs (resolvers != [ ]) { dns = { inherit resolvers; }; } // cfg.settings // {
    authority = written.authority // (cfg.settings.authority or { });
    provider = written.provider // (cfg.settings.provider or { });
    certificate = written.certificate ++ (cfg.settings.certificate or [ ]);
  };
  file = format.generate "acme-dns01.toml" merged;
  files = lib.unique (lib.concatMap
    (cert: map (name: cert.credentialFiles."${name}_FILE")
      (builtins.filter (name: name != null) [ (token cert dnsTokens) (token cert zoneTokens) ]))
    (builtins.filter isCloudflare certs));
  units = lib.unique (lib.concatMap (cert: cert.reloadServices) certs);
in
{
  options.security.acmeDns01 = {
    package = mkOption {
      type = types.package;
      default = pkgs.acme-dns01;
      defaultText = lib.literalExpression "pkgs.acme-dns01";
      description = "The package of the program.";
    };
    acceptTerms = mkOption {
      type = types.bool;
      default = false;
      description = "Agreement to the terms of service of the CA.";
    };
    group = mkOption {
      type = types.str;
      default = "acme";
      description = "The group that may read certificates.";
    };
    maxConcurrentRenewals = mkOption {
      type = types.int;
      default = 5;
      description = "Number of certificates processed concurrently.";
    };
    defaults = mkOption {
      type = types.submodule {
        options = inheritable // {
          email = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "The address that the CA writes to; there is one account a CA.";
          };
        };
      };
      default = { };
      description = "Defaults of all certificates.";
    };
    certs = mkOption {
      type = types.attrsOf certificate;
      default = { };
      description = "The certificates, by the names of their folders.";
    };
    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Secret files by name, for `credential:NAME` in the settings.";
    };
    settings = mkOption {
      type = format.type;
      default = { };
      description = "Anything else that the program's file can say, merged with the above.";
    };
  };

  config = mkIf (cfg.certs != { } || cfg.settings ? certificate) {
    assertions = [
      {
        assertion = cfg.acceptTerms;
        message = "security.acmeDns01.acceptTerms: set it to true if you accept the terms of the CA.";
      }
    ] ++ map
      (cert: {
        assertion = cert.dnsProvider == null || isCloudflare cert || cfg.settings ? provider.${cert.dnsProvider};
        message = ''
          security.acmeDns01.certs: "${cert.domain}" has dnsProvider = "${toString cert.dnsProvider}", which is neither
          cloudflare nor in security.acmeDns01.settings.provider.
        '';
      })
      certs;

    users.users.acme = { isSystemUser = true; group = "acme"; home = "/var/lib/acme"; };
    users.groups.acme = { };
    security.polkit = mkIf (units != [ ]) {
      enable = true;
      extraConfig = ''
        polkit.addRule(function (action, subject) {
          if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "acme" &&
              ${builtins.toJSON units}.indexOf(action.lookup("unit")) >= 0 &&
              ["reload", "try-restart", "reload-or-try-restart", "restart"].indexOf(action.lookup("verb")) >= 0) {
            return polkit.Result.YES;
          }
        });
      '';
    };
    systemd.services.acme-dns01 = {
      description = "Certificates by ACME DNS-01";
      documentation = [ "man:acme-dns01(1)" ];
      after = [ "network-online.target" "nss-lookup.target" "time-sync.target" ];
      wants = [ "network-online.target" "time-sync.target" ];
      startLimitIntervalSec = 0;
      wantedBy = [ "multi-user.target" ];
      path = [ pkgs.systemd ];
      serviceConfig = {
        Type = "exec";
        ExecStart = "${lib.getExe' cfg.package "acme-dns01"} --config ${file} run";
        # The folder of certificates, whoever made it, belongs to this account; everything else in it keeps its owners.
        ExecStartPre = [ "-+${lib.getExe' cfg.package "acme-dns01"} --config ${file} claim --user acme" ];
        # Waits for the outcome, and fails if the reload is refused.
        ExecReload = "${lib.getExe' cfg.package "acme-dns01"} --config ${file} reload";
        RuntimeDirectory = "acme-dns01";
        Restart = "always";
        RestartSec = "5s";
        RestartSteps = 6;
        RestartMaxDelaySec = "1min";
        TimeoutStopSec = "30s";
        User = "acme";
        Group = "acme";
        SupplementaryGroups = lib.unique (builtins.filter (group: group != null && group != "acme")
          ([ cfg.group ] ++ map (cert: cert.group) certs));
        ReadWritePaths = [ "-/var/lib/acme" ];
        UMask = "0077";
        LoadCredential = map (path: "${hash path}:${path}") files
          ++ builtins.attrValues (builtins.mapAttrs (name: path: "${name}:${path}") cfg.credentials);
        EnvironmentFile = lib.unique (map (cert: cert.environmentFile)
          (builtins.filter (cert: cert.environmentFile != null) certs));
        CapabilityBoundingSet = "";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateTmp = true;
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RemoveIPC = true;
        RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallErrorNumber = "EPERM";
        SystemCallFilter = [ "@system-service" "~@privileged @resources" "fchown" ];
      };
    };
  };
}
