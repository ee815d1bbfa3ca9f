//! The proxy gets its certificates from Pebble by DNS-01, serves them over TCP and QUIC, and renews them by ARI without a
//! dropped connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET, free_port};
use testkit::{Fault, FaultProxy, Knot, Origin, Pebble, PebbleVersion, tls_client};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(said: &Receiver<String>, words: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    let mut all = String::new();
    while let Ok(line) = said.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if line.contains(words) {
            return;
        }
        all.push_str(&line);
        all.push('\n');
    }
    panic!("`{words}` was not said:\n{all}");
}

#[test]
fn certificates_from_pebble_over_tcp_and_quic_renewed_by_ari() {
    let knot = Knot::start(&[("example.test", "")]);
    let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
    // Pebble says to ask again after six hours.
    let before = FaultProxy::start(pebble.address(), pebble.tls_root(), |line, _| {
        if line.starts_with("GET /draft-ietf-acme-ari") || line.contains("renewal") {
            return Fault::Replace("Retry-After: 21600".into(), "Retry-After: 1".into());
        }
        Fault::Pass
    });
    let origin = Origin::simple();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("roots.pem"), before.root()).expect("a file");
    std::fs::write(path("issuing.pem"), pebble.issuing_root()).expect("a file");
    let port = free_port();
    let home = folder.path().display();
    let config = format!(
        r#"https_port = {port}
[[listen]]
address = "127.0.0.1:{port}"
tls = true
http3 = true
[certificates]
folder = "{home}/acme"
[[site]]
hosts = ["a.example.test"]
upstream = "http://{}"
[acme]
email = "admin@example.test"
dns.resolvers = "{dns}"
dns.authority_port = {}
[acme.authority.pebble]
directory = "{}"
roots = "{home}/roots.pem"
limits = false
[acme.provider.knot]
kind = "rfc2136"
server = "{dns}"
key_name = "{TSIG_NAME}"
key = "env:TSIG"
[[acme.certificate]]
names = "a.example.test"
authority = "pebble"
settle = 0
ari_floor = 1
"#,
        origin.address(),
        knot.address().port(),
        before.directory(),
        dns = knot.address(),
    );
    std::fs::write(path("edge.toml"), config).expect("a file");
    let mut child = Command::new(PROGRAM)
        .args(["run", "--workers", "2", "--grace", "5", "--config"])
        .arg(path("edge.toml"))
        .env("TSIG", TSIG_SECRET)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let errors = child.stderr.take().expect("it is piped");
    let _served = Served(child);
    let (sender, said) = channel();
    std::thread::spawn(move || {
        BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| {
            let _ = sender.send(line);
        });
    });
    wait_for(&said, "a.example.test: deployed");

    let tools = std::env::current_exe().expect("a path");
    let tools = tools.ancestors().map(|at| at.join("tools/newer/curl")).find(|at| at.exists());
    let newer = tools.expect("curl with HTTP/3 is there; cargo xtask tools installs it");
    let curl = |arguments: &[&str]| {
        let output = Command::new(&newer)
            .args([
                "-sS",
                "--max-time",
                "10",
                "--resolve",
                &format!("a.example.test:{port}:127.0.0.1"),
                "--cacert",
            ])
            .arg(path("issuing.pem"))
            .args(["-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
            .args(arguments)
            .arg(format!("https://a.example.test:{port}/"))
            .output()
            .expect("curl runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(curl(&["--http2"]), "200 2");
    assert_eq!(curl(&["--http3-only"]), "200 3");

    // A connection that stays open over the renewal.
    let chain = || std::fs::read_to_string(path("acme/a.example.test/fullchain.pem")).expect("a chain");
    let first = chain();
    let name = rustls::pki_types::ServerName::try_from("a.example.test").expect("a name");
    let config = Arc::new(tls_client(&pebble.issuing_root(), &[b"http/1.1"]));
    let tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let tls = rustls::ClientConnection::new(config, name).expect("a client");
    let mut kept = rustls::StreamOwned::new(tls, tcp);
    let mut ask = || {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a.example.test\r\n\r\n").expect("it is open");
        let mut part = [0; 4096];
        let n = kept.read(&mut part).expect("an answer");
        assert!(String::from_utf8_lossy(&part[..n]).starts_with("HTTP/1.1 200"));
    };
    ask();
    pebble.set_renewal_info(
        &first,
        r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#,
    );
    wait_for(&said, "the CA suggests 2026-01-01");
    wait_for(&said, "a.example.test: deployed");
    ask();
    assert_ne!(chain(), first);
    assert_eq!(curl(&["--http3-only"]), "200 3");
    assert_eq!(curl(&["--http1.1"]), "200 1.1");
    assert_eq!(knot.txt("_acme-challenge.a.example.test"), Vec::<String>::new());
}
