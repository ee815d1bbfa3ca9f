//! An edge inside another program: with a service, an observer, a reload and a graceful shutdown.
//!
//! Listens on a free loopback port, sends three requests to itself, and prints the events of its observer.

use edge_proxy::config::{Config, Listener, PlainHttp, Route, Site, Target, Upstream};
use edge_proxy::{AccessRecord, Observer, Proxy, Reason};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// An observer that prints a line for each request. A real one would count, or pass the line to a writing thread.
struct Printer;

impl Observer for Printer {
    fn access(&self, record: &AccessRecord<'_>) {
        let answer = record.status.map_or("no answer".into(), |status| status.to_string());
        let why = record.reason.map_or("-", Reason::as_str);
        println!("{} {}{}: {answer} ({why})", record.client, record.authority, record.target);
    }
}

/// Starts a service on a free loopback port, which greets the client named by X-Real-IP, one request for each
/// connection. Returns its address.
///
/// # Errors
/// Returns an error if no port can be bound.
fn service() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let fields: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let client =
                fields.iter().find_map(|line| line.strip_prefix("X-Real-IP: ")).unwrap_or("stranger");
            let text = format!("hello {client}\n");
            let length = text.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            );
        }
    });
    Ok(address)
}

/// Sends a GET request for a host over HTTP/1.1. Returns the whole response, empty if the connection is closed without
/// one.
///
/// # Errors
/// Returns an error if the connection fails.
fn ask(edge: SocketAddr, host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(edge)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let service = service()?;
    let mut config = Config::default();
    config.listeners.push(Listener::plain(([127, 0, 0, 1], 0).into()));
    config
        .upstreams
        .push(Upstream::new("hello", Target::Tcp { host: "127.0.0.1".into(), port: service.port() }));
    let mut site = Site::new("hello", vec!["hello.test".parse()?]).route(Route::forward("hello"));
    site.plain = PlainHttp::Serve;
    config.sites.push(site);

    let proxy = Proxy::builder().config(config.clone()).workers(1).observer(Arc::new(Printer)).start()?;
    let edge = proxy.addresses()[0];
    assert!(ask(edge, "hello.test")?.ends_with("hello 127.0.0.1\n"));
    assert_eq!(ask(edge, "new.test")?, "", "nobody has this name yet");

    // The listener remains; only the sites change.
    config.sites[0].hosts.push("new.test".parse()?);
    proxy.reload(config)?;
    std::thread::sleep(Duration::from_millis(100));
    assert!(ask(edge, "new.test")?.ends_with("hello 127.0.0.1\n"));
    proxy.shutdown(Duration::from_secs(5));
    Ok(())
}
