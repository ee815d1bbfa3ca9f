//! A proxy whose program responds to one route itself, edits the header fields of another, and forwards the rest.

use edge_proxy::config::{Action, Listener, PathMatch, PlainHttp, Route, Site, Target, Upstream};
use edge_proxy::handler::{Handler, HandlerAction, HandlerRequest, HandlerResponse, LocalReply};
use edge_proxy::{Proxy, ProxyHandle};
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A handler that responds to each request itself, with the number of requests so far.
#[derive(Default)]
struct Counter(AtomicU64);

impl Handler for Counter {
    fn request(&self, _request: &mut HandlerRequest<'_>) -> HandlerAction {
        let count = self.0.fetch_add(1, Relaxed) + 1;
        HandlerAction::Respond(LocalReply::new(200).content("text/plain", format!("request {count}\n")))
    }
}

/// A handler that forwards requests with the second segment of the path (or `none`) in the field X-Tenant, responds
/// with 400 if that is not a valid value, and removes the field Server from responses.
struct Tenant;

impl Handler for Tenant {
    fn request(&self, request: &mut HandlerRequest<'_>) -> HandlerAction {
        let tenant = request.path().split('/').nth(2).unwrap_or("none").to_owned();
        match request.set_field("X-Tenant", tenant) {
            Ok(()) => HandlerAction::Forward,
            Err(_) => HandlerAction::Respond(LocalReply::new(400)),
        }
    }

    fn response(&self, response: &mut HandlerResponse<'_>) {
        let _ = response.remove_field("Server");
    }
}

/// Sends a GET request for a path to the proxy. Returns the whole response.
///
/// # Errors
/// Returns an error if the connection fails.
fn get(proxy: &ProxyHandle, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(proxy.addresses()[0])?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map(|_| answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let service = examples::echo_service()?;
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    let mut site = Site::new("app", vec!["app.test".parse()?])
        .route(Route::new(PathMatch::Exact("/count".into()), Action::handle(Counter::default())))
        .route(Route::new(prefix("/tenant/"), Action::handle_or_forward(Tenant, "app")))
        .route(Route::forward("app"));
    site.plain = PlainHttp::Serve;
    let target = Target::Tcp { host: "127.0.0.1".into(), port: service.port() };
    let listener = Listener::plain(([127, 0, 0, 1], 0).into());
    let proxy =
        Proxy::builder().listener(listener).site(site).upstream(Upstream::new("app", target)).start()?;
    for path in ["/count", "/count", "/tenant/ann/inbox", "/elsewhere"] {
        println!("{path}\n{}\n", get(&proxy, path)?);
    }
    Ok(())
}
