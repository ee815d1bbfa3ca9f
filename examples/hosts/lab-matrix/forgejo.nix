# The same on NixOS, with the module of the program: agenix and systemd pass the password, which is stored nowhere else.
{ config, ... }:
{
  imports = [ ../../../bins/smtp-config/packaging/module.nix ];

  age.secrets.forgejo-smtp.file = ./secrets/forgejo-smtp.age;

  services.forgejo.enable = true;
  # pg-ensure makes the database, and its policy lets the account in over the socket.
  services.forgejo.database = { type = "postgres"; createDatabase = false; socket = "/run/postgresql"; };
  services.forgejo.settings.session.COOKIE_SECURE = true;
  services.forgejo.settings.server = {
    DOMAIN = "git.example.org";
    ROOT_URL = "https://git.example.org/";
    # At /run/forgejo/forgejo.sock, where the edge of this node forwards to.
    PROTOCOL = "http+unix";
    # Forgejo's own SSH server, to which the edge forwards port 2222. Whoever reaches it says where a client is, by a PROXY header:
    # it listens on the tailnet alone.
    START_SSH_SERVER = true;
    SSH_LISTEN_HOST = "100.64.0.2";
    SSH_LISTEN_PORT = 2222;
    SSH_PORT = 2222;
    SSH_SERVER_USE_PROXY_PROTOCOL = true;
  };

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
