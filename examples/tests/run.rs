//! Every example runs and ends well.

use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the example was built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn edge_embed() {
    let text = run(env!("CARGO_BIN_EXE_edge_embed"), &[]);
    assert!(text.contains("127.0.0.1 new.test/: no answer (unknown-name)"), "{text}");
    assert!(text.contains("127.0.0.1 new.test/: 200 (-)"), "{text}");
}

#[test]
fn edge_client_address() {
    let text = run(env!("CARGO_BIN_EXE_edge_client_address"), &["100.64.0.2", "6.6.6.6, 203.0.113.7"]);
    assert!(text.contains("client  203.0.113.7"), "{text}");
    let text = run(env!("CARGO_BIN_EXE_edge_client_address"), &["198.51.100.9", "203.0.113.7"]);
    assert!(text.contains("client  198.51.100.9"), "{text}");
}

#[test]
fn pg_hba_policy() {
    run(env!("CARGO_BIN_EXE_pg_hba_policy"), &[]);
}

#[test]
fn pg_ensure_plan() {
    let text = run(env!("CARGO_BIN_EXE_pg_ensure_plan"), &[]);
    assert!(text.contains("CREATE ROLE \"vaultwarden\" LOGIN"), "{text}");
    assert!(!text.contains("blocked") && text.contains("-- afterwards: 0 steps"), "{text}");
    assert!(!text.contains("correct horse"), "{text}");
}

#[test]
fn pg_ensure_embed() {
    let postgres = testkit::postgres::Postgres::start(&testkit::postgres::Options::new(18));
    let connect =
        format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port());
    let text = run(env!("CARGO_BIN_EXE_pg_ensure_embed"), &[&connect]);
    assert!(text.contains("3 steps, 0 blocked"), "{text}");
    let text = run(env!("CARGO_BIN_EXE_pg_ensure_embed"), &[&connect]);
    assert!(text.contains("0 steps, 0 blocked"), "{text}");
}

#[test]
fn smtp_three_lines() {
    let text = run(env!("CARGO_BIN_EXE_smtp_three_lines"), &[]);
    assert!(text.contains("PASSWD_URI = file:/run/agenix/forgejo-smtp"), "{text}");
    assert!(text.contains("Forgejo speaks Network(Smtps) to mail.example.org port 465"), "{text}");
    assert!(
        text.contains("FORGEJO__mailer__SMTP_PORT=465") && text.contains("settings.mailer = {"),
        "{text}"
    );
}

#[test]
fn smtp_passwords() {
    let text = run(env!("CARGO_BIN_EXE_smtp_passwords"), &[]);
    assert_eq!(text.matches("survives").count(), 13, "{text}");
}

#[test]
fn acme_when() {
    let text = run(env!("CARGO_BIN_EXE_acme_when"), &[]);
    assert_eq!(text.matches("valid for").count(), 3, "{text}");
    assert!(text.contains("without ARI  2027-04-30T00:"), "two thirds of 90 days: {text}");
    assert!(text.contains("a window     2027-04-19T12:00:00Z"), "the middle of the window: {text}");
}

#[test]
fn acme_axum() {
    use std::io::{BufRead, BufReader, Read, Write};
    use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
    let knot = testkit::Knot::start(&[("example.test", "")]);
    let pebble = testkit::Pebble::start(testkit::PebbleVersion::V2_10, knot.address(), &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, pebble.tls_root()).expect("a file");
    let child = Command::new(env!("CARGO_BIN_EXE_acme_axum"))
        .args(["www.example.test", "127.0.0.1:0"])
        .arg(folder.path().join("store"))
        .env("ACME_DIRECTORY", pebble.directory())
        .env("ACME_ROOTS", &roots)
        .env("DNS_SERVER", knot.address().to_string())
        .env("RFC2136_SERVER", knot.address().to_string())
        .env("RFC2136_KEY_NAME", TSIG_NAME)
        .env("RFC2136_KEY", TSIG_SECRET)
        .env_remove("CLOUDFLARE_TOKEN")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the example was built");
    /// It would serve for ever.
    struct Serving(std::process::Child);
    impl Drop for Serving {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let mut child = Serving(child);
    let lines = BufReader::new(child.0.stdout.take().expect("it is piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    let mut heard = Vec::new();
    let mut says = |words: &str| {
        for line in lines.by_ref() {
            heard.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
        panic!("`{words}` was not said: {heard:?}");
    };
    let address = says("serving at ").trim_start_matches("serving at ").to_owned();
    // A client that says nothing keeps nobody waiting.
    let _silent = std::net::TcpStream::connect(&address).expect("it listens");
    says("www.example.test: deployed");
    let config = std::sync::Arc::new(testkit::tls_client(&pebble.issuing_root(), &[b"http/1.1"]));
    let name = rustls::pki_types::ServerName::try_from("www.example.test").expect("a name");
    let tcp = std::net::TcpStream::connect(&address).expect("it listens");
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
    let tls = rustls::ClientConnection::new(config, name).expect("a client");
    let mut stream = rustls::StreamOwned::new(tls, tcp);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello over TLS\n"), "{answer}");
}
