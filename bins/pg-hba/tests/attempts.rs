//! Real connections, decided as the server decided them: over the socket, over TCP from network namespaces with
//! addresses inside and outside 100.64.0.0/10, with TLS and without.
//!
//! Takes root, for the namespaces.

use pg_hba::{
    Attempt, Decision, Document, Method, Replication, Server, StaticEnvironment, Transport, Version, decide,
};
use std::net::IpAddr;
use std::process::Command;
use testkit::postgres::{Options, Postgres};

/// A network namespace with a wire to here.
struct Namespace {
    name: String,
    client: IpAddr,
    server: IpAddr,
}

impl Namespace {
    fn new(number: u8, server: &str, client: &str, bits: u8) -> Self {
        let id = std::process::id() % 10_000;
        let name = format!("pghba{id}x{number}");
        let (here, there) = (format!("ph{id}a{number}"), format!("ph{id}b{number}"));
        let nodad = if server.contains(':') { "nodad" } else { "" };
        let script = format!(
            "set -e; ip netns add {name}; ip link add {here} type veth peer name {there} netns {name}; \
             ip addr add {server}/{bits} dev {here} {nodad}; ip link set {here} up; \
             ip -n {name} addr add {client}/{bits} dev {there} {nodad}; ip -n {name} link set {there} up; \
             ip -n {name} link set lo up"
        );
        let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
        assert!(
            output.status.success(),
            "network namespaces take root and iproute2: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self {
            name,
            client: client.parse().expect("an address"),
            server: server.parse().expect("an address"),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// What a client can tell of a decision.
#[derive(Debug, PartialEq, Eq)]
enum ClientVerdict {
    Admitted,
    AskedForPassword,
    PeerFailed,
    Rejected,
    NoRule,
}

fn expected(decision: &Decision<'_>) -> ClientVerdict {
    match (decision.method, decision.rule) {
        (Method::Trust, _) => ClientVerdict::Admitted,
        (Method::Scram | Method::Md5 | Method::Password, _) => ClientVerdict::AskedForPassword,
        (Method::Peer, _) => ClientVerdict::PeerFailed,
        (Method::Reject, Some(_)) => ClientVerdict::Rejected,
        (Method::Reject, None) => ClientVerdict::NoRule,
        (other, _) => panic!("no test uses {other}"),
    }
}

fn seen(error: &str) -> ClientVerdict {
    let has = |text: &str| error.contains(text);
    match () {
        () if has("pg_hba.conf rejects") => ClientVerdict::Rejected,
        () if has("no pg_hba.conf entry") => ClientVerdict::NoRule,
        () if has("no password supplied") => ClientVerdict::AskedForPassword,
        () if has("Peer authentication failed") || has("peer authentication failed") => {
            ClientVerdict::PeerFailed
        }
        () if error.is_empty()
            || has("does not exist")
            || has("permission denied")
            || has("must be superuser") =>
        {
            ClientVerdict::Admitted
        }
        () => panic!("an answer that no rule gives: {error}"),
    }
}

const FILES: &[&str] = &[
    "local all postgres trust\nlocal app app trust\nhost app app 127.0.0.1/32 trust\nhost all boss 100.64.0.0/10 reject\n\
     host all all 100.64.0.0/10 trust\nhost all all all scram-sha-256\n",
    "local all postgres trust\nlocal sameuser all trust\nlocal samerole all scram-sha-256\nhostssl app all 0.0.0.0/0 scram-sha-256\n\
     hostnossl all +staff 10.99.0.0/16 trust\nhost all all samehost trust\nhost all all samenet reject\n",
    "local all postgres trust\nlocal \"all\" \"all\" trust\nhost replication all 100.64.0.0/10 trust\nhost all app 10.99.0.0 255.255.0.0 md5\n\
     hostnogssenc all all ::/0 reject\nhostgssenc all all all trust\n",
    "local all postgres trust\nlocal all all peer\nhost app,boss boss,app 0.0.0.0 0.0.0.1 trust\nhost all all 0.0.0.0/0 password\n",
];

/// Before a login has a database, a character is a byte to the server's regular expressions.
#[test]
fn regular_expressions_match_bytes() {
    let users = ["e", "é", "éx", "ax", "日本"];
    for major in [17, 18] {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        for user in users {
            session.query(&format!("CREATE ROLE \"{user}\" LOGIN")).expect("a role");
        }
        let server = Server::new(Version::from_number(major).expect("known"));
        let mut matched = 0;
        for pattern in ["^.$", "^..$", "^[éa]x$", "^[^a-z]+x$", "^.{6}$", "^é", "^日", r"^\xc3", "^(é|e)$"]
        {
            let text =
                format!("local all postgres trust\nlocal all \"/{pattern}\" reject\nlocal all all trust\n");
            let rules = Document::parse(&text, &server).rules().expect("rules");
            postgres.write_hba(&text);
            postgres.reload(&session);
            for user in users {
                let attempt = Attempt::local("postgres", user);
                let decision = decide(&rules, &attempt, &StaticEnvironment::default());
                let error = connect(&postgres, &attempt, None);
                assert_eq!(
                    seen(&error),
                    expected(&decision),
                    "PostgreSQL {major}: {user} {pattern}: {error}"
                );
                matched += usize::from(decision.method == Method::Reject);
            }
        }
        assert!(matched >= 9, "{matched}");
    }
}

#[test]
fn real_connections_are_decided_alike() {
    if !testkit::needs_root("pg-hba-cli: real_connections_are_decided_alike") {
        return;
    }
    let namespaces = [
        Namespace::new(1, "100.64.77.1", "100.64.77.2", 30),
        Namespace::new(2, "10.99.3.1", "10.99.3.2", 30),
        Namespace::new(3, "203.0.113.1", "203.0.113.2", 30),
        Namespace::new(4, "fd7a:115c:a1e0:9::1", "fd7a:115c:a1e0:9::2", 64),
    ];
    let mut count = 0;
    for (major, files) in [(15, FILES), (17, FILES), (18, FILES)] {
        count += on(major, files, &namespaces);
    }
    assert!(count >= 300, "only {count} attempts were made");
    println!("{count} connections were decided as the servers decided them");
}

fn on(major: u32, files: &[&str], namespaces: &[Namespace]) -> usize {
    let tls = major < 18;
    let mut options = Options::new(major);
    options.tls = tls;
    let postgres = Postgres::start(&options);
    let session = postgres.session();
    session
        .query("CREATE ROLE app LOGIN; CREATE ROLE boss LOGIN; CREATE ROLE staff; GRANT staff TO boss")
        .expect("roles");
    session.query("CREATE DATABASE app").expect("a database");
    let server = Server::new(Version::from_number(major).expect("known")).with_tls(tls);
    let mut environment = StaticEnvironment::default();
    environment.memberships.insert(("boss".to_owned(), "staff".to_owned()));
    for namespace in namespaces {
        let bits = if namespace.server.is_ipv4() { 30 } else { 64 };
        let net: pg_hba::Network = pg_hba_net(namespace.server, bits);
        environment.interfaces.push(net);
    }
    environment.interfaces.extend([
        "127.0.0.1".parse().map(|a| pg_hba_net(a, 8)).expect("loopback"),
        pg_hba_net("::1".parse().expect("loopback"), 128),
    ]);
    let mut count = 0;
    for text in files {
        let rules = Document::parse(text, &server).rules().expect("rules");
        postgres.write_hba(text);
        postgres.reload(&session);
        for (database, user) in [("app", "app"), ("app", "boss"), ("postgres", "app"), ("boss", "boss")] {
            let local = Attempt::local(database, user);
            let plain = |address| Attempt::tcp(database, user, address);
            let loopback: IpAddr = "127.0.0.1".parse().expect("loopback");
            let mut attempts = vec![(local, None), (plain(loopback), None)];
            for namespace in namespaces {
                attempts.push((plain(namespace.client), Some(namespace)));
                if tls {
                    attempts.push((Attempt::tls(database, user, namespace.client), Some(namespace)));
                }
            }
            attempts
                .push((plain(namespaces[0].client).replicating(Replication::Physical), Some(&namespaces[0])));
            for (attempt, namespace) in attempts {
                let decision = decide(&rules, &attempt, &environment);
                let error = connect(&postgres, &attempt, namespace);
                assert_eq!(
                    seen(&error),
                    expected(&decision),
                    "PostgreSQL {major}: {attempt}\n{error}\n{text}"
                );
                count += 1;
            }
        }
    }
    count
}

fn pg_hba_net(address: IpAddr, bits: u8) -> pg_hba::Network {
    let mask: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::from(u32::MAX << (32 - u32::from(bits))).into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::from(u128::MAX << (128 - u32::from(bits))).into(),
    };
    pg_hba::Network::new(address, mask).expect("one family")
}

/// Connects as the attempt says; the client's error, empty when it got in.
fn connect(postgres: &Postgres, attempt: &Attempt, namespace: Option<&Namespace>) -> String {
    let host = match (attempt.transport, namespace) {
        (Transport::Socket, _) => postgres.socket_folder().display().to_string(),
        (_, Some(namespace)) => namespace.server.to_string(),
        (_, None) => "127.0.0.1".to_owned(),
    };
    let mode = if attempt.transport == Transport::Tls { "require" } else { "disable" };
    let replication = if attempt.replication == Replication::Physical { " replication=true" } else { "" };
    let target = format!(
        "host={host} port={} dbname={} user={} sslmode={mode} gssencmode=disable connect_timeout=5{replication}",
        postgres.port(),
        attempt.database,
        attempt.user
    );
    // One client for every server: Debian's knows TLS.
    let psql = "/usr/lib/postgresql/15/bin/psql";
    let statement = if replication.is_empty() { "SELECT 1" } else { "IDENTIFY_SYSTEM" };
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &namespace.name, psql]);
            command
        }
        None => Command::new(psql),
    };
    let output =
        command.args(["-XAtqw", "-c", statement, &target]).env("LC_ALL", "C").output().expect("psql");
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}
