# The public edge on NixOS, equivalent to edge.toml beside this file, but with a separate service for certificates.
{
  imports = [ ../../../bins/packaging/nix ];

  security.acmeDns01 = {
    acceptTerms = true;
    defaults = {
      email = "admin@example.org";
      dnsProvider = "cloudflare";
      # A token with permission to edit the records of this zone only.
      credentialFiles.CLOUDFLARE_DNS_API_TOKEN_FILE = "/run/secrets/cloudflare";
    };
    certs."example.org".extraDomainNames = [ "*.example.org" ];
    certs."eniac.example.org".extraDomainNames = [ "*.eniac.example.org" ];
  };

  services.edgeProxy = {
    enable = true;
    openFirewall = true;
    settings = {
      listen = [
        { address = [ "0.0.0.0:443" "[::]:443" ]; tls = true; http3 = true; }
        { address = [ "0.0.0.0:80" "[::]:80" ]; }
        # The same port on the tailnet, for sites that the public listener does not have.
        { name = "tailnet"; address = "100.64.0.1:443"; interface = "tailscale0"; tls = true; http3 = true; }
        # SSH of Forgejo, byte for byte to the node, which learns the client's address from the PROXY header.
        { name = "ssh"; address = [ "0.0.0.0:2222" "[::]:2222" ]; forward = "forgejo-ssh"; }
      ];
      log = { format = "json"; rejected = true; };
      status.address = "127.0.0.1:9180";
      upstream.lab-matrix.target = "http://lab-matrix:80";
      upstream.forgejo-ssh = { target = "tcp://lab-matrix:2222"; proxy_protocol = "v2"; };
      # Double TLS: the certificate of the second node must chain to the tailnet's own CA, the only one trusted here.
      upstream.id3-eniac = {
        target = "https://id3-eniac:443";
        tls = { ca = "/etc/edge-proxyd/tailnet-ca.pem"; server_name = "eniac.example.org"; };
      };
    };
    sites = {
      apex = {
        hosts = [ "example.org" "www.example.org" ];
        redirect = "https://git.example.org{path}{query}";
      };
      eniac = {
        hosts = [ "eniac.example.org" "*.eniac.example.org" ];
        upstream = "id3-eniac";
        maintenance = { status = 503; body = "The node is away.\n"; retry_after = "10s"; };
      };
      git = {
        hosts = [ "git.example.org" ];
        upstream = "lab-matrix";
        body_limit = "2GiB";
        early_data = true;
      };
      # For the tailnet alone: on the public listener the name is as unknown as any other.
      grafana = { hosts = [ "grafana.example.org" ]; listen = [ "tailnet" ]; upstream = "lab-matrix"; };
      # From everywhere, with a client certificate of the household's own authority.
      home = {
        hosts = [ "home.example.org" ];
        upstream = "lab-matrix";
        client_certificates.ca = "/etc/edge-proxyd/household-ca.pem";
      };
      headscale = {
        hosts = [ "headscale.example.org" ];
        upstream = "lab-matrix";
        # Clients keep one request open while they are connected.
        upgrade = [ "tailscale-control-protocol" "DERP" "websocket" ];
        timeouts = { response = "1h"; tunnel = "1d"; };
      };
      vault = {
        hosts = [ "vault.example.org" ];
        upstream = "lab-matrix";
        body_limit = "525MiB";
        response_headers.set.Strict-Transport-Security = "max-age=63072000";
        maintenance = { status = 503; body = "The node is away.\n"; retry_after = "10s"; };
      };
    };
  };
}
