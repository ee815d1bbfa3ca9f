//! Two edges that share tickets and single-use sessions through a real PostgreSQL.

use super::{KillOnDrop, PROGRAM};
use rustls::ClientConfig;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::postgres::{Options, Postgres};
use testkit::{Authority, Origin, RequestOutcome, ResumingClient, free_port, replay, tls_client};

/// The timeout of every step, generous for loaded machines.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

struct Edge {
    process: KillOnDrop,
    port: u16,
    status: u16,
}

struct Lab {
    folder: tempfile::TempDir,
    authority: Authority,
    origin: Origin,
}

impl Lab {
    /// Prepares edges that use the database at this connection string.
    fn new(database: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        authority.write(&folder.path().join("acme/a.test"), &["a.test", "b.test"]);
        for (name, text) in
            [("database", database), ("secret", "0123456789abcdef0123456789abcdef0123456789a=\n")]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a mode");
        }
        Self { folder, authority, origin: Origin::simple() }
    }

    /// Starts an edge with two workers that serves `a.test` with early data and `b.test` without.
    fn edge(&self, name: &str, more: &str) -> Edge {
        let (port, status) = (free_port(), free_port());
        let (home, origin) = (self.folder.path().display(), self.origin.address());
        let config = format!(
            "[[listen]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n[certificates]\nfolder = \"{home}/acme\"\n\
             [log]\nformat = \"off\"\n[status]\naddress = \"127.0.0.1:{status}\"\n\
             [shared]\ndatabase = \"file:{home}/database\"\nsecret = \"file:{home}/secret\"\n{more}\n\
             [[site]]\nhosts = [\"a.test\"]\nearly_data = true\nupstream = \"http://{origin}\"\n\
             [[site]]\nhosts = [\"b.test\"]\nupstream = \"http://{origin}\"\n"
        );
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, config).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--workers", "2", "--grace", "1", "--config"]).arg(path).stderr(Stdio::null());
        let process = KillOnDrop(command.spawn().expect("the program was built"));
        let edge = Edge { process, port, status };
        // The status page starts after the listeners.
        let serves = || [port, status].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok());
        wait("the edge serves", serves);
        edge
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ResumingClient {
        let mut config = tls_client(self.authority.root(), &[b"http/1.1"]);
        if versions == [&rustls::version::TLS12] {
            let mut roots = rustls::RootCertStore::empty();
            use rustls::pki_types::pem::PemObject;
            let root = rustls::pki_types::CertificateDer::from_pem_slice(self.authority.root().as_bytes());
            roots.add(root.expect("PEM")).expect("a root");
            config =
                ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                    .with_protocol_versions(versions)
                    .expect("versions")
                    .with_root_certificates(roots)
                    .with_no_client_auth();
        }
        ResumingClient::new(config)
    }

    fn count(&self, path: &str) -> usize {
        self.origin.text().matches(&format!("GET {path} ")).count()
    }
}

#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + STEP_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a request that must get a response.
#[track_caller]
fn ask(client: &ResumingClient, port: u16, host: &str, path: &str) -> RequestOutcome {
    let went = client.ask(([127, 0, 0, 1], port).into(), host, path).expect("an answer");
    assert_eq!(went.status, 200, "{path}: {went:?}");
    went
}

/// Replays the same bytes and reads until the edge closes.
fn again(port: u16, flight: &[u8]) {
    replay(([127, 0, 0, 1], port).into(), flight, STEP_TIMEOUT).expect("it listens");
}

impl Edge {
    fn metric(&self, name: &str) -> u64 {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.status)).expect("the status page is there");
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it is open");
        let mut text = String::new();
        tcp.read_to_string(&mut text).expect("an answer");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("{name} is missing:\n{text}"))
    }
}

fn connection_string(postgres: &Postgres) -> String {
    format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port())
}

#[test]
fn two_edges_resume_each_others_sessions_and_take_early_data_once() {
    let postgres = Postgres::start(&Options::new(18));
    let lab = Lab::new(&connection_string(&postgres));
    // The machine may be slow; another test bounds the waiting time.
    let edges = [lab.edge("one", "wait = \"5s\""), lab.edge("other", "wait = \"5s\"")];
    for edge in &edges {
        wait("the database answers", || edge.metric("edge_shared_up") == 1);
    }
    // Tickets, of both TLS versions.
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        for host in
            if versions == [&rustls::version::TLS12] { &["a.test", "b.test"][..] } else { &["b.test"] }
        {
            let client = lab.client(versions);
            assert!(!ask(&client, edges[0].port, host, "/first").resumed);
            let there = ask(&client, edges[1].port, host, "/there");
            assert!(there.resumed && !there.early, "{host}: {there:?}");
        }
    }
    // Early data, at the other edge and back.
    let client = lab.client(&[&rustls::version::TLS13]);
    assert!(!ask(&client, edges[0].port, "a.test", "/made").resumed);
    wait("the sessions are kept", || edges[0].metric("edge_shared_sessions_total{result=\"kept\"}") >= 2);
    let there = ask(&client, edges[1].port, "a.test", "/early");
    assert!(there.resumed && there.early, "{there:?}");
    assert_eq!(lab.count("/early"), 1);
    // An attacker on the path replays it to both edges, in parallel and often.
    let taken =
        || edges.iter().map(|edge| edge.metric("edge_shared_takes_total{result=\"taken\"}")).sum::<u64>();
    let took = taken();
    std::thread::scope(|scope| {
        for round in 0..8 {
            let (port, flight) = (edges[round % 2].port, &there.flight);
            scope.spawn(move || again(port, flight));
        }
    });
    assert_eq!(lab.count("/early"), 1, "a replay arrived");
    assert_eq!(taken(), took, "a replay got a session");
    // An unused one, received by both edges at the same time.
    let fresh = lab.client(&[&rustls::version::TLS13]);
    let kept =
        || edges.iter().map(|edge| edge.metric("edge_shared_sessions_total{result=\"kept\"}")).sum::<u64>();
    let (had, took) = (kept(), taken());
    ask(&fresh, edges[1].port, "a.test", "/made");
    wait("the sessions are kept", || kept() >= had + 2);
    let held = fresh.first_flight("a.test", "/held");
    std::thread::scope(|scope| {
        for round in 0..8 {
            let (port, flight) = (edges[round % 2].port, &held);
            scope.spawn(move || again(port, flight));
        }
    });
    assert_eq!(taken(), took + 1, "one handshake got the session");
    assert!(lab.count("/held") <= 1, "{} of eight arrived", lab.count("/held"));
}

#[test]
fn keys_rotate_a_database_that_is_away_holds_nobody_up_and_a_promoted_one_is_found() {
    let mut options = Options::new(18);
    options.hba.push_str("local replication all trust\n");
    let primary = Postgres::start(&options);
    let standby = Postgres::standby_of(&primary);
    let hosts = format!(
        "host={},{} port={},{} user=postgres",
        primary.socket_folder().display(),
        standby.socket_folder().display(),
        primary.port(),
        standby.port()
    );
    let lab = Lab::new(&hosts);
    let more = "wait = \"5s\"\nrotate = \"2s\"\nlifetime = \"1h\"";
    let edges = [lab.edge("one", more), lab.edge("other", more)];
    for edge in &edges {
        wait("the database answers", || edge.metric("edge_shared_up") == 1);
    }
    // A ticket survives a key rotation.
    let client = lab.client(&[&rustls::version::TLS13]);
    ask(&client, edges[0].port, "b.test", "/first");
    let keys = edges[1].metric("edge_shared_ticket_keys");
    wait("another key is there", || edges[1].metric("edge_shared_ticket_keys") >= keys + 2);
    assert!(ask(&client, edges[1].port, "b.test", "/after").resumed);

    // A session of the first primary, which then hangs like a paused machine: its connections stay open.
    let early = lab.client(&[&rustls::version::TLS13]);
    ask(&early, edges[0].port, "a.test", "/made");
    wait("the sessions are kept", || edges[0].metric("edge_shared_sessions_total{result=\"kept\"}") >= 2);
    primary.freeze();
    wait("it is missed", || edges.iter().all(|edge| edge.metric("edge_shared_up") == 0));
    let away = ask(&early, edges[1].port, "a.test", "/away");
    assert!(!away.resumed && !away.early, "{away:?}");
    assert!(away.took < Duration::from_secs(20), "{away:?}");
    assert_eq!(lab.count("/away"), 1);

    standby.promote();
    for edge in &edges {
        wait("the promoted one answers", || edge.metric("edge_shared_up") == 1);
    }
    // Tickets still work; no session is accepted again; new ones are shared again.
    assert!(ask(&client, edges[0].port, "b.test", "/promoted").resumed);
    let kept = || edges[0].metric("edge_shared_sessions_total{result=\"kept\"}");
    let had = kept();
    let anew = lab.client(&[&rustls::version::TLS13]);
    ask(&anew, edges[0].port, "a.test", "/made");
    wait("the sessions are kept", || kept() >= had + 2);
    let there = ask(&anew, edges[1].port, "a.test", "/anew");
    assert!(there.resumed, "{there:?}");
    wait("its own are kept", || edges[1].metric("edge_shared_sessions_total{result=\"kept\"}") >= 2);
    let [one, other] = edges;
    drop(one.process);
    assert!(ask(&anew, other.port, "a.test", "/alone").resumed);
}
