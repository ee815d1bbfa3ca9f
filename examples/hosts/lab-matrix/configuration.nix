# The node on NixOS, equivalent to edge.toml, databases.toml, hba.toml and mailer.toml beside this file.
{ pkgs, ... }:
let
  databases = [ "vaultwarden" "headscale" "forgejo" ];
  tailnet = [ "100.64.0.0/10" "fd7a:115c:a1e0::/48" ];
in
{
  imports = [ ../../../bins/packaging/nix ./forgejo.nix ];

  services.edgeProxy = {
    enable = true;
    settings = {
      listen = [ { address = "100.64.0.2:80"; interface = "tailscale0"; } ];
      # 100.64.0.0/10 is also used by carriers (RFC 6598), so it is trusted only on the tailnet's own interface.
      trust = { ranges = tailnet; interface = "tailscale0"; header = "x-forwarded-for"; };
      log.format = "json";
      upstream = {
        vaultwarden.target = "http://127.0.0.1:8222";
        forgejo.target = "unix:/run/forgejo/forgejo.sock";
        headscale.target = "http://127.0.0.1:8080";
        grafana.target = "http://127.0.0.1:3001";
        home.target = "http://127.0.0.1:8123";
      };
    };
    sites = {
      vault = {
        hosts = [ "vault.example.org" ];
        upstream = "vaultwarden";
        plain = "serve";
        body_limit = "525MiB";
        maintenance = { status = 503; body = "Back in a moment.\n"; retry_after = "5s"; };
        route = [ { path = "/admin"; upstream = "vaultwarden"; allow = tailnet; } ];
      };
      git = { hosts = [ "git.example.org" ]; upstream = "forgejo"; plain = "serve"; body_limit = "2GiB"; };
      grafana = { hosts = [ "grafana.example.org" ]; upstream = "grafana"; plain = "serve"; };
      home = { hosts = [ "home.example.org" ]; upstream = "home"; plain = "serve"; };
      headscale = {
        hosts = [ "headscale.example.org" ];
        upstream = "headscale";
        plain = "serve";
        upgrade = [ "tailscale-control-protocol" "DERP" "websocket" ];
        timeouts = { response = "1h"; tunnel = "1d"; };
      };
    };
  };

  services.pgEnsure = {
    enable = true;
    ensures = map (name: { inherit name; passwordFile = "/run/secrets/${name}-db"; }) databases;
    # They find their database and password when they start, after an outage of PostgreSQL too.
    requiredBy = map (name: "${name}.service") databases;
    credentials.grafana-db = "/run/secrets/grafana-db";
    settings = {
      role = [ { name = "grafana"; login = true; connection_limit = 5; password = "credential:grafana-db"; } ];
      grant = [
        { to = "grafana"; on = "database"; name = "forgejo"; privileges = [ "connect" ]; }
        { to = "grafana"; on = "schema"; database = "forgejo"; name = "public"; privileges = [ "usage" ]; }
      ];
      default_privileges = [
        {
          database = "forgejo"; creator = "forgejo"; schema = "public"; on = "tables"; to = "grafana";
          privileges = [ "select" ]; existing = true;
        }
      ];
    };
    # The rules of hba.toml, and each role at its own database.
    hba = let policy = builtins.fromTOML (builtins.readFile ./hba.toml); in
      policy // { services = map (name: { database = name; role = name; }) databases ++ policy.services; };
  };

  # The services behind the edge. Each reaches its database over the socket, where the rules ask for no password.
  services.vaultwarden = {
    enable = true;
    dbBackend = "postgresql";
    config = {
      DOMAIN = "https://vault.example.org";
      ROCKET_ADDRESS = "127.0.0.1";
      ROCKET_PORT = 8222;
      DATABASE_URL = "postgresql://vaultwarden@/vaultwarden?host=/run/postgresql";
      SIGNUPS_ALLOWED = false;
    };
    # The token of the page for administrators.
    environmentFile = "/run/secrets/vaultwarden.env";
  };
  services.headscale = {
    enable = true;
    address = "127.0.0.1";
    port = 8080;
    settings = {
      server_url = "https://headscale.example.org";
      dns = { base_domain = "tailnet.example.org"; nameservers.global = [ "9.9.9.9" ]; };
      database = {
        type = "postgres";
        postgres = { host = "/run/postgresql"; name = "headscale"; user = "headscale"; };
      };
    };
  };

  services.postgresql.enable = true;
  # Upgrades from 17 to 18 when the package changes.
  services.postgresql.package = pkgs.postgresql_18;
  services.upgradePgCluster = {
    enable = true;
    from = pkgs.postgresql_17;
    extraArgs = [ "--backup-exists" "restic, every night" ];
  };
}
