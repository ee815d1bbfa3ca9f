# services.pgEnsure: databases, roles and passwords, applied before the services that need them start.
#
#   imports = [ ./module.nix ];
#   services.pgEnsure = {
#     enable = true;
#     ensures = [ { name = "vaultwarden"; passwordFile = "/run/secrets/vaultwarden-db"; } ];
#   };
#
# `ensureDatabases` and `ensureUsers` mean what they mean in services.postgresql. `services.postgresql.ensures` is another name
# of `ensures`, and turns the service on by itself.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.pgEnsure;
  inherit (lib) mkDefault mkEnableOption mkForce mkIf mkMerge mkOption types;
  compact = lib.filterAttrs (_: value: value != null);

  clauses = [ "superuser" "createrole" "createdb" "inherit" "login" "replication" "bypassrls" ];

  ensure = types.submodule {
    options = {
      name = mkOption {
        type = types.str;
        description = "The name of the role, and of the database that it owns.";
      };
      passwordFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = ''
          A file that holds the password. It is read by systemd and handed over as a credential, so that only root
          need be able to read it. Not a path of the store.
        '';
      };
      database = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "The database, if it has another name than the role.";
      };
    };
  };

  user = types.submodule {
    options = {
      name = mkOption { type = types.str; description = "The role."; };
      ensureDBOwnership = mkOption {
        type = types.bool;
        default = false;
        description = "Whether it owns the database of the same name, which ensureDatabases must have.";
      };
      ensureClauses = mkOption {
        default = { };
        description = "Attributes of the role. What is null is left alone.";
        type = types.submodule {
          options = lib.genAttrs
            clauses
            (clause: mkOption {
              type = types.nullOr types.bool;
              default = null;
              description = "${lib.toUpper clause}.";
            });
        };
      };
      passwordFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "A file that holds the password.";
      };
    };
  };

  # Several modules may name one database or one user, as in services.postgresql.
  adopted = if cfg.adoptPostgresqlOptions then config.services.postgresql else { ensureDatabases = [ ]; ensureUsers = [ ]; };
  databases = builtins.attrNames (builtins.listToAttrs
    (map (name: { inherit name; value = null; }) (cfg.ensureDatabases ++ adopted.ensureDatabases)));
  known = entry: {
    inherit (entry) name;
    ensureDBOwnership = entry.ensureDBOwnership or false;
    ensureClauses = lib.filterAttrs (clause: _: lib.elem clause clauses) (entry.ensureClauses or { });
    passwordFile = entry.passwordFile or null;
  };
  join = one: other: {
    inherit (one) name;
    ensureDBOwnership = one.ensureDBOwnership || other.ensureDBOwnership;
    ensureClauses = compact one.ensureClauses // compact other.ensureClauses;
    passwordFile = if other.passwordFile != null then other.passwordFile else one.passwordFile;
  };
  add = all: entry: all // {
    ${entry.name} = if all ? ${entry.name} then join all.${entry.name} entry else entry;
  };
  users = builtins.attrValues
    (builtins.foldl' add { } (map known (cfg.ensureUsers ++ adopted.ensureUsers)));

  ensures = cfg.ensures ++ config.services.postgresql.ensures;

  # Rendered and checked when the system is built, so that a policy with a fault never reaches a server.
  major = lib.versions.major config.services.postgresql.package.version;
  policy = (pkgs.formats.toml { }).generate "hba.toml" cfg.hba;
  rules = pkgs.runCommand "pg_hba.conf" { } ''
    ${lib.getExe' cfg.hbaPackage "pg-hba"} render --policy ${policy} --pg ${major} > $out
    ${lib.getExe' cfg.hbaPackage "pg-hba"} check $out --errors-only --policy ${policy} --pg ${major}
  '';

  # From 16 on, rules may include a file: the option of nixpkgs names the checked one. Its text is made by a build, so that
  # for older servers it could only be in the option by a build during evaluation; there the file takes the place of the
  # option's.
  includes = lib.toInt major >= 16;

  # Credentials are named by the role, whose name may hold anything.
  credential = role: "role-" + builtins.hashString "sha256" role;
  # A role that several lists name has one password file.
  passwords = lib.unique (map (entry: { inherit (entry) name passwordFile; })
    (lib.filter (entry: entry.passwordFile != null) (ensures ++ cfg.ensureUsers)));
  ambiguous = lib.filter (name: builtins.length (lib.filter (entry: entry.name == name) passwords) > 1)
    (lib.unique (map (entry: entry.name) passwords));
  passwordOf = entry:
    lib.optionalAttrs (entry.passwordFile != null) { password = "credential:${credential entry.name}"; };

  owners = map (entry: entry.name) (lib.filter (entry: entry.ensureDBOwnership) users);
  short = {
    ensure = map (entry: compact { inherit (entry) name database; } // passwordOf entry) ensures;
    role = map
      (entry: { inherit (entry) name; login = true; } // compact entry.ensureClauses // passwordOf entry)
      users;
    database = map
      (name: { inherit name; } // lib.optionalAttrs (lib.elem name owners) { owner = name; })
      databases;
  };
  # What settings say of the same lists is added to the short forms.
  manifest = cfg.settings // lib.mapAttrs (key: entries: entries ++ (cfg.settings.${key} or [ ])) short;
  file = (pkgs.formats.json { }).generate "pg-ensure.json" manifest;
  arguments = lib.escapeShellArgs (
    [ "apply" file "--connect" cfg.connect ]
    ++ lib.optionals (cfg.hbaPolicy != null) [ "--hba" cfg.hbaPolicy ]
  );
in
{
  options.services.pgEnsure = {
    enable = mkEnableOption "declared databases, roles and passwords of PostgreSQL";
    package = mkOption {
      type = types.package;
      default = pkgs.pg-ensure;
      defaultText = lib.literalExpression "pkgs.pg-ensure";
      description = "The package of the program.";
    };
    connect = mkOption {
      type = types.str;
      default = "host=/run/postgresql user=postgres";
      description = "How to connect, as in libpq, without a password. Several hosts: the primary is followed.";
    };
    ensures = mkOption {
      type = types.listOf ensure;
      default = [ ];
      example = [ { name = "vaultwarden"; passwordFile = "/run/secrets/vaultwarden-db"; } ];
      description = "Roles that log in, each with a database of the same name that it owns.";
    };
    ensureDatabases = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "As in services.postgresql.";
    };
    ensureUsers = mkOption {
      type = types.listOf user;
      default = [ ];
      description = "As in services.postgresql, and with passwordFile.";
    };
    adoptPostgresqlOptions = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the lists services.postgresql.ensureDatabases and ensureUsers, which modules of nixpkgs fill, are part of
        the manifest too: what they create is then compared and repaired at every start.
      '';
    };
    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { grafana-db = "/run/secrets/grafana-db"; };
      description = "Secret files by name, for `credential:NAME` in the settings.";
    };
    settings = mkOption {
      type = (pkgs.formats.json { }).type;
      default = { };
      description = "Anything else that a manifest can say, merged with the above.";
    };
    requiredBy = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "vaultwarden.service" ];
      description = "Units that start only once the manifest is applied, beside those that wait for postgresql.target.";
    };
    hba = mkOption {
      type = types.nullOr (pkgs.formats.toml { }).type;
      default = null;
      example = { services = [ { database = "vaultwarden"; role = "vaultwarden"; } ]; };
      description = ''
        A policy of pg-hba. Its rules are rendered and checked when the system is built, and take the place of all
        others: services.postgresql.authentication includes the file and nothing else. Servers before 16 know no
        include; for these the file is services.postgresql.settings.hba_file, and authentication has no effect.
      '';
    };
    hbaFile = mkOption {
      type = types.package;
      readOnly = true;
      default = rules;
      defaultText = lib.literalExpression "the rendered policy";
      description = "The pg_hba.conf of the policy.";
    };
    hbaPackage = mkOption {
      type = types.package;
      default = pkgs.pg-hba;
      defaultText = lib.literalExpression "pkgs.pg-hba";
      description = "The package of pg-hba.";
    };
    hbaPolicy = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "A policy of pg-hba to install for the same list. Its file must be writable by postgres.";
    };
  };

  options.services.postgresql.ensures = mkOption {
    type = types.listOf ensure;
    default = [ ];
    description = "Another name of services.pgEnsure.ensures, which it turns on.";
  };

  config = mkMerge [
    (mkIf (config.services.postgresql.ensures != [ ]) { services.pgEnsure.enable = mkDefault true; })
    (mkIf (cfg.enable && cfg.hba != null) {
      services.postgresql.authentication = mkIf includes (mkForce "include ${cfg.hbaFile}\n");
      services.postgresql.settings.hba_file = mkIf (!includes) (mkForce "${cfg.hbaFile}");
    })
    (mkIf cfg.enable {
      assertions = map
        (name: {
          assertion = lib.elem name databases;
          message = ''
            services.pgEnsure.ensureUsers: "${name}" has ensureDBOwnership, so services.pgEnsure.ensureDatabases must
            have a database of that name.
          '';
        })
        owners
      ++ map
        (name: {
          assertion = false;
          message = ''services.pgEnsure: "${name}" has two different values of passwordFile: keep one.'';
        })
        ambiguous
      ++ [ {
        assertion = cfg.hba == null || cfg.hbaPolicy == null;
        message = "services.pgEnsure: hba is rendered when the system is built, hbaPolicy at each start: set one of them.";
      } ];

      systemd.services.pg-ensure = {
        description = "Roles and databases of PostgreSQL";
        documentation = [ "man:pg-ensure(1)" ];
        after = [ "postgresql.service" "postgresql-setup.service" ];
        # Services of nixpkgs wait for this target, and so for the manifest.
        before = [ "postgresql.target" ] ++ cfg.requiredBy;
        requiredBy = [ "postgresql.target" ] ++ cfg.requiredBy;
        requires = [ "postgresql.service" ];
        # They stop with the server, and start with it again.
        wants = cfg.requiredBy;
        partOf = [ "postgresql.service" ];
        # A server that was stopped and started is looked at again.
        wantedBy = [ "multi-user.target" "postgresql.service" ];
        startLimitIntervalSec = 0;
        # A changed password file is seen at the next start, which changed options bring about.
        restartTriggers = [ file ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${lib.getExe' cfg.package "pg-ensure"} ${arguments}";
          User = "postgres";
          Group = "postgres";
          LoadCredential = map (entry: "${credential entry.name}:${entry.passwordFile}") passwords
            ++ lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
          TimeoutStartSec = "15min";
          Restart = "on-failure";
          # What requires this unit waits while it is tried again.
          RestartMode = "direct";
          RestartSec = "5s";
          RestartSteps = 6;
          RestartMaxDelaySec = "1min";
          CapabilityBoundingSet = "";
          LockPersonality = true;
          MemoryDenyWriteExecute = true;
          NoNewPrivileges = true;
          PrivateDevices = true;
          PrivateTmp = true;
          ProtectClock = true;
          ProtectControlGroups = true;
          ProtectHome = true;
          ProtectHostname = true;
          ProtectKernelLogs = true;
          ProtectKernelModules = true;
          ProtectKernelTunables = true;
          ProtectProc = "invisible";
          ProtectSystem = if cfg.hbaPolicy == null then "strict" else "full";
          RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" ];
          RestrictNamespaces = true;
          RestrictRealtime = true;
          RestrictSUIDSGID = true;
          SystemCallArchitectures = "native";
          SystemCallErrorNumber = "EPERM";
          SystemCallFilter = [ "@system-service" "~@privileged @resources" "fchown" ];
          ProcSubset = "pid";
          UMask = "0077";
          StateDirectory = "pg-ensure";
          StateDirectoryMode = "0700";
        };
      };
    })
  ];
}
