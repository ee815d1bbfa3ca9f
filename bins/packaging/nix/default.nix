# Everything of this workspace for NixOS in one module:
#
#   imports = [ ./bins/packaging/nix ];
#
#   services.edgeProxy        the edge
#   security.acmeDns01        certificates by DNS-01
#   services.pgEnsure         PostgreSQL's databases, roles and passwords
#   services.upgradePgCluster a major upgrade of PostgreSQL before the new server starts
#   services.forgejoMailer    Forgejo's mailer
#
# Nothing is turned on by importing it. examples/hosts has configurations of whole hosts.
{
  imports = [
    ../../acme-dns01/packaging/module.nix
    ../../edge-proxyd/packaging/module.nix
    ../../pg-ensure/packaging/module.nix
    ../../smtp-config/packaging/module.nix
    ../../upgrade-pg-cluster/packaging/module.nix
  ];
}
