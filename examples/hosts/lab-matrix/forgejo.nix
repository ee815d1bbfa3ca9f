# The same on NixOS, with the module of the program: agenix and systemd pass the password, which is stored nowhere else.
{ config, ... }:
{
  imports = [ ../../../bins/smtp-config/packaging/module.nix ];

  age.secrets.forgejo-smtp.file = ./secrets/forgejo-smtp.age;

  services.forgejo.enable = true;
  services.forgejo.settings.server.DOMAIN = "git.example.org";

  services.forgejoMailer = {
    enable = true;
    settings = {
      from = "Forge <forge@example.org>";
      host = "mail.example.org";
      port = 465;
      user = "forge";
      helo = "git.example.org";
      headers.Auto-Submitted = "auto-generated";
    };
    passwordFile = config.age.secrets.forgejo-smtp.path;
  };
}
