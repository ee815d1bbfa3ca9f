//! A reverse proxy on pingora that is configured like the other proxies of the comparison.
//!
//! Arguments: plain port, TLS port, certificate, key, port of downloads, port of uploads, workers.

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, ProxyHttp, RequestHeader, Result, Server, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

/// The proxy, with the ports of the two origins at 127.0.0.1.
struct BenchProxy {
    downloads: u16,
    uploads: u16,
}

#[async_trait]
impl ProxyHttp for BenchProxy {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Selects the origin of uploads for paths that begin with `/upload`, and otherwise that of downloads.
    async fn upstream_peer(&self, session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let upload = session.req_header().uri.path().starts_with("/upload");
        let port = if upload { self.uploads } else { self.downloads };
        Ok(Box::new(HttpPeer::new(("127.0.0.1", port), false, String::new())))
    }

    /// Sets the fields by which the other proxies report the client: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto,
    /// X-Forwarded-Host and Host.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet());
        let client = client.map(|address| address.ip().to_string()).unwrap_or_default();
        request.insert_header("X-Forwarded-For", &client)?;
        request.insert_header("X-Real-IP", &client)?;
        request.insert_header("X-Forwarded-Proto", "https")?;
        request.insert_header("Host", "localhost")?;
        request.insert_header("X-Forwarded-Host", "localhost")?;
        Ok(())
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [plain, tls, certificate, key, downloads, uploads, workers] = &args[..] else {
        eprintln!("usage: pingora-beside PLAIN TLS CERTIFICATE KEY DOWNLOADS UPLOADS WORKERS");
        std::process::exit(2);
    };
    let number = |text: &String| -> u16 { text.parse().expect("a number") };
    let conf = ServerConf {
        threads: number(workers).into(),
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = BenchProxy { downloads: number(downloads), uploads: number(uploads) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&format!("127.0.0.1:{plain}"));
    let mut settings = TlsSettings::intermediate(certificate, key).expect("a certificate and its key");
    settings.enable_h2();
    service.add_tls_with_settings(&format!("127.0.0.1:{tls}"), None, settings);
    server.add_service(service);
    server.run_forever();
}
