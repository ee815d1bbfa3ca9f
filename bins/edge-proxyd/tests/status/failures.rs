//! Failures of services through the running program: the answer, the access log, the status report and page, and standard
//! error name the cause of each, and a service that is there again is reported.

use super::PROGRAM;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Authority, answer, free_port, nobody};

const WAIT: Duration = Duration::from_secs(30);

/// A process that is killed when the test ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate of a TLS service that can be replaced.
#[derive(Debug)]
struct Renewed(Mutex<Arc<CertifiedKey>>);

impl rustls::server::ResolvesServerCert for Renewed {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().expect("no panic").clone())
    }
}

/// Returns a pair in PEM as rustls has it.
fn certified((chain, key): (String, String)) -> Arc<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|one| one.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let key = rustls::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(key);
    Arc::new(CertifiedKey::new(chain, key.expect("a key")))
}

/// Serves each connection on a thread of its own.
fn serve(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let address = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

/// Answers `ok` to every request on a connection.
fn answers(stream: &mut (impl Read + Write)) {
    while let Ok(1..) = stream.read(&mut [0; 4096]) {
        let _ = stream.write_all(&answer("ok"));
    }
}

/// A TLS service that answers `ok`, with this certificate first.
fn tls_service(listener: TcpListener, pair: (String, String)) -> (SocketAddr, Arc<Renewed>) {
    let renewed = Arc::new(Renewed(Mutex::new(certified(pair))));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(renewed.clone());
    let config = Arc::new(config);
    let address = serve(listener, move |mut stream| {
        let mut session = rustls::ServerConnection::new(config.clone()).expect("a session");
        answers(&mut rustls::Stream::new(&mut session, &mut stream));
    });
    (address, renewed)
}

/// A server of OpenSSL that speaks TLS 1.1 only.
fn old_server(folder: &Path, (chain, key): (String, String)) -> (KillOnDrop, SocketAddr) {
    let (pem, port) = (folder.join("old.pem"), free_port());
    std::fs::write(&pem, chain + &key).expect("a file");
    let child = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-cert")
        .arg(&pem)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there; cargo xtask tools installs it");
    let server = (KillOnDrop(child), SocketAddr::from(([127, 0, 0, 1], port)));
    until("openssl listens", || TcpStream::connect(server.1).is_ok());
    server
}

/// An address whose queue of connections is full, so that attempts to connect get no answer while the result exists.
fn full() -> (SocketAddr, (socket2::Socket, Vec<TcpStream>)) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("a queue");
    let address = listener.local_addr().expect("an address").as_socket().expect("an address");
    let mut waiting = Vec::new();
    for _ in 0..20 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => waiting.push(stream),
            Err(_) => return (address, (listener, waiting)),
        }
    }
    panic!("{address} accepts everybody");
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < end, "not within {WAIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A service that fails: its name, its target, further keys of its upstream, time-outs of its site, the status of the
/// answer, and the cause.
struct Failure {
    name: &'static str,
    target: String,
    more: String,
    timeouts: &'static str,
    status: &'static str,
    cause: &'static str,
}

fn failure(
    name: &'static str,
    target: impl Into<String>,
    status: &'static str,
    cause: &'static str,
) -> Failure {
    Failure { name, target: target.into(), more: String::new(), timeouts: "", status, cause }
}

/// Returns the configuration: a site for each service, whose target is left alone for a short time after two failures.
fn config(folder: &Path, failures: &[Failure], plain: u16, status: u16) -> String {
    let mut text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{plain}\"\n[log]\nfile = \"{}\"\n[status]\naddress = \"127.0.0.1:{status}\"\n",
        folder.join("access.log").display()
    );
    for Failure { name, target, more, timeouts, .. } in failures {
        text += &format!(
            "[[site]]\nhosts = \"{name}.test\"\nplain = \"serve\"\nupstream = \"{name}\"\ntimeouts = {{ {timeouts} }}\n\
             [upstream.{name}]\ntarget = \"{target}\"\n{more}[upstream.{name}.health]\nfailures = 2\neject = \"300ms\"\n"
        );
    }
    text
}

/// Runs the program with `edge.toml` of this folder, and its standard error in a file.
fn start(folder: &Path, said: &Path) -> KillOnDrop {
    let edge = Command::new(PROGRAM)
        .args(["run", "--workers", "1", "--config"])
        .arg(folder.join("edge.toml"))
        .stderr(std::fs::File::create(said).expect("a file"))
        .spawn();
    KillOnDrop(edge.expect("it was built"))
}

/// Sends a request and returns the whole answer.
fn get(port: u16, host: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(WAIT)).expect("a time-out");
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it is open");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn each_failure_of_a_service_is_shown_with_its_cause_and_so_is_its_return() {
    let (authority, other) = (Authority::new(), Authority::named("another authority"));
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("ca.pem"), authority.root()).expect("a file");
    let names = ["node.internal"];
    let right = || certified(authority.issue(&names));

    let refuses = nobody();
    let (late, _full) = full();
    let resets = serve(listener(), |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    });
    let malformed = serve(listener(), |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\n\r\n");
    });
    let silent = serve(listener(), |mut stream| while let Ok(1..) = stream.read(&mut [0; 4096]) {});
    let socket = folder.join("service.sock");
    let (issuer, new_issuer) = tls_service(listener(), other.issue(&names));
    let (name, new_name) = tls_service(listener(), authority.issue(&["elsewhere.internal"]));
    let (early, new_early) = tls_service(listener(), authority.issue_between(&names, 3000, 3001));
    let (expired, new_expired) = tls_service(listener(), authority.issue_expired(&names));
    let (old, version) = old_server(folder, authority.issue(&names));
    let tls = format!(
        "tls = {{ ca = \"{}\", server_name = \"node.internal\" }}\n",
        folder.join("ca.pem").display()
    );
    let secure = |name, address: SocketAddr, cause| Failure {
        more: tls.clone(),
        ..failure(name, format!("https://{address}"), "502", cause)
    };
    let failures = [
        failure("refuses", format!("http://{refuses}"), "502", "connection refused"),
        Failure {
            timeouts: "connect = \"300ms\"",
            ..failure("late", format!("http://{late}"), "502", "the connection timed out")
        },
        failure("nameless", "http://no-such-host.invalid", "502", "the name has no address"),
        failure("socket", format!("unix:{}", socket.display()), "502", "no such socket"),
        failure("resets", format!("http://{resets}"), "502", "connection reset"),
        failure(
            "malformed",
            format!("http://{malformed}"),
            "502",
            "malformed answer: malformed field line, in line 3 of its head",
        ),
        Failure {
            timeouts: "response = \"500ms\"",
            ..failure("silent", format!("http://{silent}"), "504", "no answer in time: timeouts.response")
        },
        secure(
            "issuer",
            issuer,
            "TLS: the issuer of its certificate is unknown: tls.ca, or pin it by tls.pin",
        ),
        secure(
            "name",
            name,
            "TLS: its certificate is for another name: tls.server_name, or pin it by tls.pin",
        ),
        secure("early", early, "TLS: its certificate is not valid yet"),
        secure("expired", expired, "TLS: its certificate has expired"),
        secure("version", version, "TLS: no version in common: 1.2 and 1.3 are spoken here"),
    ];
    let (plain, status) = (free_port(), free_port());
    std::fs::write(folder.join("edge.toml"), config(folder, &failures, plain, status)).expect("a file");
    let said = folder.join("said");
    let _edge = start(folder, &said);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    until("it serves", || TcpStream::connect(("127.0.0.1", plain)).is_ok());

    // Where it stands: in the record of the request, and in one line when the target is left alone.
    let target =
        |one: &Failure| one.target.split_once("://").map_or(one.target.clone(), |(_, rest)| rest.to_owned());
    for one in &failures {
        for _ in 0..2 {
            let got = get(plain, &format!("{}.test", one.name));
            assert_eq!(got.get(9..12), Some(one.status), "{}: {got}", one.name);
        }
    }
    for one in &failures {
        let place = if one.name == "nameless" { "no-such-host.invalid:80".to_owned() } else { target(one) };
        let line = format!(
            "upstream `{}`: {place} is not used for 300ms after failures in a row: {}\n",
            one.name, one.cause
        );
        until(&line, || read(&said).contains(&line));
        assert_eq!(read(&said).matches(&format!("upstream `{}`: ", one.name)).count(), 1, "{}", read(&said));
        let error = format!("{place}: {}", one.cause);
        until(&error, || {
            read(&folder.join("access.log")).lines().any(|line| {
                let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                record["upstream"] == one.name && record["error"] == error.as_str()
            })
        });
    }
    let page = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", status)).expect("it listens");
        stream.set_read_timeout(Some(WAIT)).expect("a time-out");
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it is open");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text.split_once("\r\n\r\n").expect("a head").1.to_owned()
    };
    let report: serde_json::Value = serde_json::from_str(&page("status.json")).expect("JSON");
    let shown = page("");
    for one in &failures {
        let targets = report["targets"].as_array().expect("targets");
        let found = targets.iter().find(|target| target["upstream"] == one.name).expect(one.name);
        assert_eq!(found["error"], one.cause, "{}", one.name);
        assert!(shown.contains(one.cause), "{}: {shown}", one.name);
    }

    // What is repaired is used again, and that is said once.
    for renewed in [new_issuer, new_name, new_early, new_expired] {
        *renewed.0.lock().expect("no panic") = right();
    }
    drop(old);
    tls_service(TcpListener::bind(version).expect("the port"), authority.issue(&names));
    serve(TcpListener::bind(refuses).expect("the port"), |mut stream| answers(&mut stream));
    let local = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || local.incoming().flatten().for_each(|mut stream| answers(&mut stream)));
    for name in ["refuses", "socket", "issuer", "name", "early", "expired", "version"] {
        until(name, || get(plain, &format!("{name}.test")).ends_with("\r\n\r\nok"));
        let one = failures.iter().find(|one| one.name == name).expect("a failure");
        let line = format!("upstream `{name}`: {} is used again\n", target(one));
        until(&line, || read(&said).contains(&line));
        assert!(get(plain, &format!("{name}.test")).ends_with("\r\n\r\nok"));
        assert_eq!(read(&said).matches(&line).count(), 1, "{}", read(&said));
    }
}

#[test]
fn a_target_that_its_checks_take_out_is_reported_with_the_reason_and_so_is_its_return() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let service = serve(listener(), move |mut stream| {
        while let Ok(1..) = stream.read(&mut [0; 4096]) {
            let status = if is_well.load(Relaxed) { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (plain, said) = (free_port(), folder.join("said"));
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:{plain}\"\n[log]\nformat = \"off\"\n\
         [[site]]\nhosts = \"a.test\"\nplain = \"serve\"\nupstream = \"app\"\n[upstream.app]\ntarget = \"http://{service}\"\n\
         [upstream.app.health]\npath = \"/healthz\"\ninterval = \"100ms\"\nfall = 2\nrise = 2\n"
    );
    std::fs::write(folder.join("edge.toml"), config).expect("a file");
    let _edge = start(folder, &said);
    let count = |line: &str| std::fs::read_to_string(&said).unwrap_or_default().matches(line).count();
    let down = format!("upstream `app`: {service} is down by its checks and not used: it answered 503\n");
    until(&down, || count(&down) > 0);
    assert_eq!(get(plain, "a.test").get(9..12), Some("503"));
    let back = format!("upstream `app`: {service} is used again\n");
    assert_eq!(count(&back), 0);
    well.store(true, Relaxed);
    until(&back, || count(&back) > 0);
    assert!(get(plain, "a.test").ends_with("\r\n\r\nok"));
    assert_eq!((count(&down), count(&back)), (1, 1));
}
