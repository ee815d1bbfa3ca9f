//! The command `try`: https on this machine in one command.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use testkit::{Origin, free_port, tls_client};

struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_edge-proxyd"))
            .arg("try")
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a path, and returns the response.
fn get(port: u16, root: &str, name: &'static str, path: &str) -> String {
    let config = Arc::new(tls_client(root, &[b"http/1.1"]));
    let name = name.try_into().expect("a name");
    let connection = rustls::ClientConnection::new(config, name).expect("a connection");
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("the edge listens");
    let mut stream = rustls::StreamOwned::new(connection, socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

#[test]
fn a_service_is_served_over_https_and_its_requests_are_shown() {
    let origin = Origin::simple();
    let mut edge = Running::start(&["--to", &origin.address().to_string(), "--port", "0", "--json"]);
    let first: Value = serde_json::from_str(&edge.line()).expect("JSON");
    let address = first["address"].as_str().expect("an address");
    let port: u16 = address.rsplit_once(':').expect("a port").1.parse().expect("a number");
    let root = std::fs::read_to_string(first["ca"].as_str().expect("a path")).expect("the authority");
    assert!(root.starts_with("-----BEGIN CERTIFICATE") && !root.contains("PRIVATE"), "{root}");
    let response = get(port, &root, "localhost", "/hello");
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("ok"), "{response}");
    let seen: Value = serde_json::from_str(&edge.line()).expect("JSON");
    assert_eq!((&seen["status"], &seen["target"]), (&200.into(), &"/hello".into()), "{seen}");
    assert!(origin.text().to_lowercase().contains("x-forwarded-proto: https"));
}

/// A name is looked up as programs of the machine do, and each of its addresses is tried: a service of localhost may
/// listen on one of them alone. The first request reaches it, whichever it is.
#[test]
fn each_address_of_a_name_is_tried() {
    for (address, name) in
        [("127.0.0.1:0", "localhost"), ("[::1]:0", "localhost"), ("[::1]:0", "app.localhost")]
    {
        let socket = TcpListener::bind(address).expect("a loopback address");
        let to = format!("{name}:{}", socket.local_addr().expect("an address").port());
        std::thread::spawn(move || {
            for mut client in socket.incoming().flatten() {
                let mut bytes = [0; 4096];
                let _ = client.read(&mut bytes);
                let _ = client.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            }
        });
        let mut edge = Running::start(&["--to", &to, "--port", "0", "--json"]);
        let first: Value = serde_json::from_str(&edge.line()).expect("JSON");
        let port = first["address"].as_str().and_then(|address| address.rsplit(':').next()?.parse().ok());
        let root = std::fs::read_to_string(first["ca"].as_str().expect("a path")).expect("the authority");
        for _ in 0..3 {
            let response = get(port.expect("a port"), &root, "localhost", "/");
            assert!(response.starts_with("HTTP/1.1 204 "), "{to}: {response}");
        }
    }
}

#[test]
fn a_unix_socket_is_served_on_the_given_port_for_people() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let socket = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for mut client in socket.incoming().flatten() {
            let mut bytes = [0; 4096];
            let _ = client.read(&mut bytes);
            let _ = client.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let port = free_port();
    let to = format!("unix:{}", path.display());
    let keep = folder.path().join("kept");
    let args = [
        "--to",
        &to,
        "--port",
        &port.to_string(),
        "--folder",
        &keep.display().to_string(),
        "--name",
        "app.test",
    ];
    let mut edge = Running::start(&args);
    assert_eq!(edge.line(), format!("https://localhost:{port} → {to}\n"));
    assert!(edge.line().contains(&format!("{}/ca.pem", keep.display())));
    while !edge.line().contains("Ctrl-C") {}
    edge.line();
    let root = std::fs::read_to_string(keep.join("ca.pem")).expect("the authority");
    assert!(get(port, &root, "app.test", "/").starts_with("HTTP/1.1 204 "));
    let line = edge.line();
    assert!(line.starts_with("204 GET localhost/ ") && line.contains(" ms"), "{line}");
}

#[test]
fn a_wrong_service_is_answered_with_what_to_write() {
    for (to, fix) in [("localhost", "127.0.0.1:3000"), ("https://localhost:3000", "http://HOST:PORT")] {
        let output = Command::new(env!("CARGO_BIN_EXE_edge-proxyd")).args(["try", "--to", to]).output();
        let output = output.expect("the program runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(fix), "{to}");
    }
}

#[test]
fn json_is_an_option_before_the_command_too() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge-proxyd"))
        .args(["--json", "try", "--to", "unix:/nowhere.sock", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut edge = Running { child, lines };
    let line = edge.line();
    assert!(line.starts_with('{') && line.contains("https://localhost:"), "{line}");
}
