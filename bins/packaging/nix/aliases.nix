# Other names of the same options, for configurations that group them by purpose:
#
#   imports = [ ./bins/packaging/nix/aliases.nix ];
#   modules.services.database.postgresql.ensures = [ { name = "vaultwarden"; passwordFile = "/run/secrets/vaultwarden-db"; } ];
#   modules.services.git.forgejo.mailer = { from = "forge@example.org"; host = "mail.example.org"; port = 465; };
{ config, lib, ... }:
let
  inherit (lib) mkIf mkMerge mkOption types;
  ensures = config.modules.services.database.postgresql.ensures;
  mailer = config.modules.services.git.forgejo.mailer;
  # Files are options of the module, everything else is a setting.
  files = [ "passwordFile" "incomingPasswordFile" ];
in
{
  imports = [ ./default.nix ];

  options.modules.services.database.postgresql.ensures = mkOption {
    type = types.listOf (types.attrsOf types.anything);
    default = [ ];
    description = "Another name of services.postgresql.ensures, with the same fields.";
  };

  options.modules.services.git.forgejo.mailer = mkOption {
    type = types.nullOr (types.attrsOf types.anything);
    default = null;
    description = "services.forgejoMailer in one set: its settings, passwordFile and incomingPasswordFile. Enables it.";
  };

  config = mkMerge [
    { services.postgresql.ensures = ensures; }
    (mkIf (mailer != null) {
      services.forgejoMailer = {
        enable = true;
        settings = lib.filterAttrs (name: _: !(lib.elem name files)) mailer;
      } // lib.filterAttrs (name: _: lib.elem name files) mailer;
    })
  ];
}
