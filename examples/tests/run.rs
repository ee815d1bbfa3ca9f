//! Runs every example, which must succeed.

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
fn edge_handler() {
    let text = run(env!("CARGO_BIN_EXE_edge_handler"), &[]);
    assert!(text.contains("request 1\n") && text.contains("request 2\n"), "{text}");
    let of = |path: &str| text.split(&format!("{path}\nHTTP/1.1 200")).nth(1).expect("an answer").to_owned();
    let tenant = of("/tenant/ann/inbox");
    let (tenant, _) = tenant.split_once("\n/elsewhere\n").expect("the next answer");
    assert!(tenant.contains("X-Tenant: ann") && !tenant.contains("Server:"), "{tenant}");
    let other = of("/elsewhere");
    assert!(other.contains("Server: echo/1") && !other.contains("X-Tenant"), "{other}");
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
    let text = run(env!("CARGO_BIN_EXE_pg_hba_policy"), &[]);
    let has = |words: &[&str]| text.lines().any(|line| line.split_whitespace().eq(words.iter().copied()));
    assert!(has(&["local", "forgejo", "forgejo", "peer"]), "{text}");
    assert!(has(&["hostssl", "replication", "standby", "100.64.7.0/24", "scram-sha-256"]), "{text}");
}

#[test]
fn pg_hba_upgrade_gate() {
    // Patterns for users exist since 16; before, the text is an ordinary name.
    let text = run(env!("CARGO_BIN_EXE_pg_hba_upgrade_gate"), &[]);
    assert!(text.starts_with("PostgreSQL 18 differs from 15: "), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pg_hba.conf");
    std::fs::write(&file, "local all all peer\nhost app app 10.0.0.0/8 scram-sha-256\n").expect("a file");
    let file = file.to_str().expect("a path");
    let text = run(env!("CARGO_BIN_EXE_pg_hba_upgrade_gate"), &[file, "15", "18"]);
    assert_eq!(text, "PostgreSQL 18 decides every connection as 15 does\n");
}

/// Combines two crates: the roles that pg-ensure creates may connect under pg-hba's rules, verified at the server.
#[test]
fn pg_services() {
    let postgres = testkit::postgres::Postgres::start(&testkit::postgres::Options::new(18));
    let at = |role: &str| {
        format!("host={} port={} user={role}", postgres.socket_folder().display(), postgres.port())
    };
    let arguments = [at("postgres"), "forgejo".to_owned(), "vaultwarden".to_owned()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let text = run(env!("CARGO_BIN_EXE_pg_services"), &arguments);
    assert!(text.contains("4 steps, 0 blocked"), "{text}");
    assert!(text.contains("is in force"), "{text}");
    let open = |role: &str, database: &str| {
        testkit::postgres::Session::open(&format!("{} dbname={database}", at(role)))
    };
    let own = open("forgejo", "forgejo").expect("into its own database");
    let owner = own.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'forgejo'");
    assert_eq!(owner.expect("rows")[0][0].as_deref(), Some("forgejo"));
    let why = open("forgejo", "vaultwarden").expect_err("not into another's");
    assert!(why.contains("pg_hba.conf rejects connection"), "{why}");
}

#[test]
fn pg_upgrade_kill() {
    let copy = run(env!("CARGO_BIN_EXE_pg_upgrade_kill"), &[]);
    assert!(copy.contains("commit\n") && !copy.contains("pg_control.old"), "{copy}");
    // The mode that consumes the old cluster says so, and has a different way back.
    let swap = run(env!("CARGO_BIN_EXE_pg_upgrade_kill"), &["swap"]);
    assert!(swap.starts_with("swap: "), "{swap}");
    assert_ne!(copy.lines().count(), swap.lines().count(), "{copy}{swap}");
}

#[test]
fn pg_upgrade_settings() {
    let text = run(env!("CARGO_BIN_EXE_pg_upgrade_settings"), &[]);
    assert!(text.contains("line 2: old_snapshot_threshold: "), "{text}");
    assert!(text.contains("\nport = 5433\n"), "{text}");
    assert!(text.contains("debug_parallel_query = 'off' # was"), "it has another name since 16: {text}");
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

/// A server that gets its certificate from this test's CA, and its output.
struct AcmeServer {
    program: std::process::Child,
    pebble: testkit::Pebble,
    _knot: testkit::KnotServer,
    address: String,
}

impl AcmeServer {
    /// Waits until the server presents a certificate of the CA.
    fn start(program: &str, folder: &std::path::Path, more: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
        let knot = testkit::KnotServer::start(&[("example.test", "")]);
        let pebble = testkit::Pebble::start(testkit::PebbleVersion::V2_10, knot.address(), &[]);
        let roots = folder.join("roots.pem");
        std::fs::write(&roots, pebble.tls_root()).expect("a file");
        let program = Command::new(program)
            .args(["www.example.test", "127.0.0.1:0"])
            .arg(folder.join("store"))
            .args(more)
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
        let mut issued = Self { program, pebble, _knot: knot, address: String::new() };
        let lines = BufReader::new(issued.program.stdout.take().expect("it is piped")).lines();
        let mut heard = Vec::new();
        let mut silent = None;
        for line in lines.map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("serving at ") {
                address.clone_into(&mut issued.address);
                // A silent client must not delay others.
                silent = Some(std::net::TcpStream::connect(address).expect("it listens"));
            }
            if line.contains("www.example.test: deployed") {
                drop(silent);
                return issued;
            }
            heard.push(line);
        }
        panic!("nothing was deployed: {heard:?}");
    }

    /// Sends a request over HTTP/1.1 with a client that trusts only the CA.
    fn ask(&self) -> String {
        use std::io::{Read, Write};
        let config = std::sync::Arc::new(testkit::tls_client(&self.pebble.issuing_root(), &[b"http/1.1"]));
        let name = rustls::pki_types::ServerName::try_from("www.example.test").expect("a name");
        let tcp = std::net::TcpStream::connect(&self.address).expect("it listens");
        tcp.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
        let tls = rustls::ClientConnection::new(config, name).expect("a client");
        let mut stream = rustls::StreamOwned::new(tls, tcp);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n")
            .expect("a request");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for AcmeServer {
    /// The program would run forever.
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn acme_axum() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = AcmeServer::start(env!("CARGO_BIN_EXE_acme_axum"), folder.path(), &[]).ask();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello over TLS\n"), "{answer}");
}

/// Combines two crates: an edge that gets its own certificate.
#[test]
fn edge_acme() {
    use std::io::{BufRead, BufReader, Write};
    let service = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = format!("http://{}", service.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in service.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let secure =
                lines.take_while(|line| !line.is_empty()).any(|line| line == "X-Forwarded-Proto: https");
            let length = if secure { 2 } else { 0 };
            let text = if secure { "ok" } else { "" };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
            let _ = stream.write_all(head.as_bytes());
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let answer = AcmeServer::start(env!("CARGO_BIN_EXE_edge_acme"), folder.path(), &[&address]).ask();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
}
