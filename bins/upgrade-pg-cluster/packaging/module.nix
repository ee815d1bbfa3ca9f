# services.upgradePgCluster: the cluster is upgraded before the new version's server starts, when its package has changed.
#
#   services.postgresql.package = pkgs.postgresql_18;
#   services.upgradePgCluster = {
#     enable = true;
#     from = pkgs.postgresql_17;
#   };
#
# With the old version's plugins: from = pkgs.postgresql_17.withPackages (p: [ p.pgvector ]).
{ config, lib, pkgs, ... }:
let
  cfg = config.services.upgradePgCluster;
  postgresql = config.services.postgresql;
  new = postgresql.finalPackage or postgresql.package;
  major = package: lib.versions.major package.version;
  base = builtins.dirOf postgresql.dataDir;
  arguments = lib.escapeShellArgs ([
    "--from" (major cfg.from)
    "--to" (major new)
    "--base" base
    "--old-bin" "${cfg.from}/bin"
    "--new-bin" "${new}/bin"
    "--new-data" postgresql.dataDir
  ] ++ cfg.extraArgs);
  common = {
    documentation = [ "man:upgrade-pg-cluster(1)" "man:pg_upgrade(1)" ];
    serviceConfig = {
      Type = "oneshot";
      User = "postgres";
      Group = "postgres";
      UMask = "0077";
      TimeoutStartSec = "infinity";
      CapabilityBoundingSet = "";
      LockPersonality = true;
      NoNewPrivileges = true;
      PrivateDevices = true;
      ProtectClock = true;
      ProtectControlGroups = true;
      ProtectHome = true;
      ProtectHostname = true;
      ProtectKernelLogs = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      ProtectProc = "invisible";
      ProtectSystem = "strict";
      RestrictNamespaces = true;
      RestrictRealtime = true;
      RestrictSUIDSGID = true;
      SystemCallArchitectures = "native";
      SystemCallFilter = [ "@system-service" "~@privileged" ];
      SystemCallErrorNumber = "EPERM";
      ReadWritePaths = [ base ];
    };
    unitConfig.ConditionPathExists = "${base}/${major cfg.from}/PG_VERSION";
    path = [ pkgs.coreutils ];
  };
in
{
  options.services.upgradePgCluster = {
    enable = lib.mkEnableOption "the upgrade of the PostgreSQL cluster when its major version changes";
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.upgrade-pg-cluster;
      defaultText = lib.literalExpression "pkgs.upgrade-pg-cluster";
      description = "The package of the program.";
    };
    from = lib.mkOption {
      type = lib.types.package;
      example = lib.literalExpression "pkgs.postgresql_17";
      description = "The PostgreSQL that the old cluster was made by, with its plugins.";
    };
    extraArgs = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "--backup-exists" "restic, restored into staging on Monday" ];
      description = "Further arguments of the program.";
    };
  };

  config = lib.mkIf cfg.enable {
    # The folder is made by a rename; an empty one may be in its place, anything in it may not.
    systemd.services.upgrade-pg-cluster = lib.recursiveUpdate common {
      description = "Upgrade of the PostgreSQL cluster, ${major cfg.from} to ${major new}";
      before = [ "postgresql.service" ];
      requiredBy = [ "postgresql.service" ];
      serviceConfig = {
        RemainAfterExit = true;
        PrivateNetwork = true;
        PrivateTmp = true;
        RestrictAddressFamilies = [ "AF_UNIX" ];
        ExecStart = "${lib.getExe' cfg.package "upgrade-pg-cluster"} run ${arguments} --until commit";
      };
    };
    systemd.services.upgrade-pg-cluster-finish = lib.recursiveUpdate common {
      description = "Statistics and extensions after the upgrade of the PostgreSQL cluster";
      after = [ "postgresql.service" "upgrade-pg-cluster.service" ];
      requires = [ "postgresql.service" ];
      wantedBy = [ "postgresql.service" ];
      serviceConfig.RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" ];
      serviceConfig.ExecStart = "${lib.getExe' cfg.package "upgrade-pg-cluster"} run ${arguments} --no-start";
    };
  };
}
