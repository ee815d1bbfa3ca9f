# services.forgejoMailer: Forgejo's mailer, written into its app.ini by smtp-config before each start and checked there.
#
#     imports = [ ./module.nix ];
#     services.forgejoMailer = {
#       enable = true;
#       settings = { from = "Forge <forge@example.org>"; host = "mail.example.org"; port = 465; user = "forge"; };
#       passwordFile = "/run/agenix/forgejo-smtp";
#     };
#
# The password is handed to Forgejo's unit by systemd, so the file may stay root's with mode 0400. From Forgejo 13 on
# app.ini only names that file; before, the password has to stand in app.ini.
{ config, lib, pkgs, ... }:

let
  cfg = config.services.forgejoMailer;
  forgejo = config.services.forgejo;
  format = pkgs.formats.toml { };
  unit = "forgejo.service";
  credential = "forgejo-mailer";
  incomingCredential = "forgejo-incoming";
  secret = name: {
    password = "credential:${name}";
    password_file = "/run/credentials/${unit}/${name}";
  };
  settings = lib.recursiveUpdate cfg.settings (
    lib.optionalAttrs (cfg.passwordFile != null) (secret credential)
    // lib.optionalAttrs (cfg.incomingPasswordFile != null) { incoming = secret incomingCredential; }
  );
  file = format.generate "forgejo-mailer.toml" settings;
  appIni = "${forgejo.customDir}/conf/app.ini";
  version = lib.versions.major forgejo.package.version;
in
{
  options.services.forgejoMailer = {
    enable = lib.mkEnableOption "Forgejo's mailer by smtp-config";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.smtp-config;
      defaultText = lib.literalExpression "pkgs.smtp-config";
      description = "The package of the program.";
    };

    settings = lib.mkOption {
      type = lib.types.submodule {
        freeformType = format.type;
        options.from = lib.mkOption {
          type = lib.types.str;
          example = "Forge <forge@example.org>";
          description = "The sender.";
        };
      };
      description = "The settings of smtp-config, without passwords: this stands in the store, which everybody can read.";
    };

    passwordFile = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/run/agenix/forgejo-smtp";
      description = "The file that has the password of the account.";
    };

    incomingPasswordFile = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/run/agenix/forgejo-imap";
      description = "The file that has the password for incoming mail.";
    };

    check = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Whether Forgejo is kept from starting also when smtp-config finds an error in the written app.ini or in a file of a
        password. Settings that have an error are not written, which keeps it from starting in any case. Warnings are logged only.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = forgejo.enable;
        message = "services.forgejoMailer needs services.forgejo.enable.";
      }
      {
        assertion = !(cfg.settings ? password) && !(cfg.settings ? incoming && cfg.settings.incoming ? password);
        message = "services.forgejoMailer.settings is readable by everybody: give passwordFile instead of password.";
      }
      {
        assertion = !(forgejo.settings ? mailer) || forgejo.settings.mailer == { };
        message = "services.forgejo.settings.mailer is written by services.forgejoMailer: remove it.";
      }
    ];

    environment.systemPackages = [ cfg.package ];

    systemd.services.forgejo = {
      serviceConfig.LoadCredential =
        lib.optional (cfg.passwordFile != null) "${credential}:${cfg.passwordFile}"
        ++ lib.optional (cfg.incomingPasswordFile != null) "${incomingCredential}:${cfg.incomingPasswordFile}";
      # After NixOS has written app.ini.
      preStart = lib.mkAfter ''
        ${cfg.package}/bin/smtp-config apply --app-ini ${lib.escapeShellArg appIni} --settings ${file} --forgejo ${version}
        ${lib.optionalString cfg.check "${cfg.package}/bin/smtp-config check ${lib.escapeShellArg appIni} --forgejo ${version} --fail-on error"}
      '';
    };
  };
}
