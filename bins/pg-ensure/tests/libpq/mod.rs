//! Connection parameters held against the real libpq: psql of each version and this program log in to a server that
//! records where they come, as whom, and with which password.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use testkit::postgres::{MAJORS, programs};

/// A login: the listener, the user, the database and the options of the startup message, and the password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Login {
    at: &'static str,
    user: String,
    database: String,
    options: String,
    password: Option<String>,
}

/// Reads `count` bytes. `None` at the end.
fn take(stream: &mut impl Read, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn number(bytes: &[u8]) -> usize {
    usize::try_from(u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))).expect("a length")
}

/// Serves a connection up to the password, sends what it read to `logins`, and rejects the password.
fn serve(at: &'static str, stream: &mut (impl Read + Write), logins: &Sender<Login>) {
    if let Some(login) = login(at, stream) {
        // The client ends when it has the answer, and the test then expects its login.
        logins.send(login).expect("the test waits");
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0";
        let length = u32::try_from(fields.len() + 4).expect("short").to_be_bytes();
        let _ = stream.write_all(&[&b"E"[..], &length, fields].concat());
    }
}

/// Serves a connection up to the password. `None` without a startup message.
fn login(at: &'static str, stream: &mut (impl Read + Write)) -> Option<Login> {
    let message = loop {
        let length = number(&take(stream, 4)?);
        let message = take(stream, length - 4)?;
        // Neither TLS nor GSSAPI.
        if !matches!(number(&message), 80_877_103 | 80_877_104) {
            break message;
        }
        stream.write_all(b"N").ok()?;
    };
    let texts: Vec<String> = message[4..]
        .split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let value = |name: &str| {
        let mut pairs = texts.chunks_exact(2);
        pairs.find(|pair| pair[0] == name).map(|pair| pair[1].clone()).unwrap_or_default()
    };
    let (user, database, options) = (value("user"), value("database"), value("options"));
    // AuthenticationCleartextPassword
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).ok()?;
    let password = take(stream, 5).and_then(|head| {
        let text = take(stream, number(&head[1..]) - 4)?;
        Some(String::from_utf8_lossy(&text[..text.len() - 1]).into_owned())
    });
    Some(Login { at, user, database, options, password })
}

/// Accepts connections on a port of 127.0.0.1, and returns it.
fn listen(at: &'static str, logins: &Sender<Login>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let logins = logins.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            serve(at, &mut stream, &logins);
        }
    });
    port
}

/// Accepts connections on the socket of a port in a folder.
fn listen_in(folder: &Path, port: u16, logins: &Sender<Login>) {
    let listener = UnixListener::bind(folder.join(format!(".s.PGSQL.{port}"))).expect("a socket");
    let logins = logins.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            serve("socket", &mut stream, &logins);
        }
    });
}

/// A connection string, environment variables, a password file with its mode, and a service file.
struct Case {
    text: String,
    variables: Vec<(&'static str, String)>,
    passwords: (String, u32),
    services: String,
}

/// Runs a program to its end, and returns its first login.
fn first_login(program: &mut Command, home: &Path, case: &Case, logins: &Receiver<Login>) -> Option<Login> {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
        program.env_remove(name);
    }
    program.env("HOME", home).envs(case.variables.iter().map(|(name, value)| (name, value)));
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!program.status().expect("it runs").success(), "the server rejects every password");
    let first = logins.recv_timeout(Duration::from_secs(2)).ok();
    while logins.try_recv().is_ok() {}
    first
}

fn case(text: &str) -> Case {
    Case {
        text: text.to_owned(),
        variables: vec![],
        passwords: (String::new(), 0o600),
        services: String::new(),
    }
}

impl Case {
    #[expect(clippy::needless_pass_by_value, reason = "for literals and displays alike")]
    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.variables.push((name, value.to_string()));
        self
    }

    fn passwords(mut self, lines: &str) -> Self {
        self.passwords.0 = lines.to_owned();
        self
    }
}

#[test]
fn connections_are_those_of_libpq() {
    let home = tempfile::tempdir().expect("a folder");
    let sockets = tempfile::tempdir().expect("a folder");
    let folder = sockets.path().display().to_string();
    let (sender, logins) = channel();
    let (a, b) = (listen("a", &sender), listen("b", &sender));
    listen_in(sockets.path(), 5432, &sender);
    let shut = testkit::free_port();
    let at_a = format!("host=127.0.0.1 port={a} dbname=d user=u");
    let here = "host=127.0.0.1";
    let service = |text: &str, lines: &str| Case { services: format!("[s]\n{lines}"), ..case(text) };
    let elsewhere = home.path().join("passwords");
    let cases = vec![
        case(&at_a).passwords(&format!("# x\n127.0.0.1:{a}:d:u:one\n*:*:*:*:two\n")),
        case(&at_a).passwords(&format!("127.0.0.1:{b}:d:u:one\n127.0.0.2:*:*:*:two\n")),
        case(&at_a).passwords("127.0.0.1:*:d:u:p\\:a\\\\s:s\r\n"),
        case(&at_a).passwords("*:*:*:*:\n*:*:*:*:later\n"),
        case(&at_a).passwords("\\*:*:*:*:star\n127.0.0.1:*:*:u\n*a:*:*:*:x\n1\\27.0.0.1:*:*:*:escaped\n"),
        case(&at_a).passwords("localhost:*:*:*:name\n"),
        case(&at_a).passwords("*:*:*:*:file").with("PGPASSWORD", "variable"),
        case(&at_a).passwords("*:*:*:*:file").with("PGPASSWORD", ""),
        Case { passwords: ("*:*:*:*:open".to_owned(), 0o640), ..case(&at_a) },
        case(&at_a).with("PGPASSFILE", elsewhere.display()).passwords("*:*:*:*:default"),
        case(&format!("{at_a} passfile={}", elsewhere.display())).with("PGPASSFILE", "/nonexistent"),
        // A colon in a value need not be escaped.
        case(&format!("{here} port={a} dbname=d user=a:b")).passwords("*:*:d:a:b:both\n"),
        case(&format!("{here} port={a} dbname=d user=a:b")).passwords("*:*:d:a\\:b:both\n"),
        case(&format!("{here} port={a} dbname='a b' user='a\\'b\\\\c'"))
            .passwords("*:*:a b:a'b\\\\c:quoted\n"),
        case(&format!("{here}  port = {a} dbname=d\\ e user=u user=v")).passwords("*:*:d e:v:last\n"),
        // The account, whose name nobody says.
        case(&format!("{here} port={a} dbname=d")).passwords("*:*:*:*:account\n"),
        case("application_name=x")
            .with("PGHOST", "127.0.0.1")
            .with("PGPORT", a)
            .with("PGUSER", "u")
            .with("PGDATABASE", "d")
            .with("PGOPTIONS", "-c work_mem=1MB")
            .passwords("*:*:*:*:variables\n"),
        case(&format!("{here} dbname=d user=u")).with("PGHOST", "192.0.2.1").with("PGPORT", b),
        case(&format!("host=name.invalid hostaddr=127.0.0.1 port={a} dbname=d user=u"))
            .passwords("127.0.0.1:*:*:*:address\nname.invalid:*:*:*:name\n"),
        case(&format!("hostaddr=127.0.0.1 port={a} dbname=d user=u")).passwords("127.0.0.1:*:*:*:address\n"),
        case("dbname=d user=u").with("PGHOSTADDR", "127.0.0.1").with("PGPORT", b).passwords("*:*:*:*:x\n"),
        case(&format!("host=127.0.0.1,127.0.0.1 port={shut},{b} dbname=d user=u")).passwords("*:*:*:*:all\n"),
        case(&format!("host=127.0.0.1,127.0.0.1 port={a} dbname=d user=u"))
            .passwords("127.0.0.1:*:*:*:all\n"),
        case(&format!("postgresql://u@127.0.0.1:{a}/d")).passwords("*:*:d:u:uri\n"),
        case(&format!("postgres://u%40x@127.0.0.1:{a}/d%20b?options=-c%20work_mem=1MB"))
            .passwords("*:*:d b:u@x:uri\n"),
        case(&format!("postgres://u%40x@127.0.0.1:{a}/d%20b?options=-c%20work_mem%3D1MB"))
            .passwords("*:*:d b:u@x:uri\n"),
        case(&format!("postgresql:///d?host=127.0.0.1&port={a}&user=u")).passwords("*:*:d:u:query\n"),
        case("postgresql://u@127.0.0.1/d").with("PGPORT", b).passwords("*:*:d:u:uri\n"),
        case(&format!("postgresql://u@127.0.0.1:{shut},127.0.0.1:{b}/d")).passwords("*:*:*:*:two\n"),
        service("service=s", &format!("host=127.0.0.1\nport={a}\nuser=u\ndbname=d\nport=1\n"))
            .passwords("*:*:d:u:x\n"),
        service("service=s user=own", &format!("host=127.0.0.1\nport={a}\nuser=u\ndbname=d\n")),
        service("dbname=d", &format!("# x\n host=127.0.0.1 \nport={b}\nuser=u\n"))
            .with("PGSERVICE", "s")
            .with("PGUSER", "variable"),
        // Sockets: another folder than the default one is not localhost, and TLS is not asked for.
        case(&format!("host={folder} dbname=d user=u")).passwords("localhost:*:*:*:name\n"),
        case(&format!("host={folder} dbname=d user=u")).passwords(&format!("{folder}:5432:d:u:socket\n")),
        case(&format!("host={folder} dbname=d user=u sslmode=require")).passwords("*:*:*:*:socket\n"),
        case("dbname=d user=u").with("PGHOST", &folder).with("PGSSLMODE", "verify-full"),
        // TLS that the server does not have.
        case(&format!("{at_a} sslmode=require")),
        case(&at_a).with("PGREQUIRESSL", 1),
        case(&at_a).with("PGREQUIRESSL", 1).with("PGSSLMODE", "prefer"),
        case(&at_a).with("PGSSLROOTCERT", "system"),
        case(&format!("{at_a} sslrootcert=system sslmode=prefer")),
    ];
    let write = |path: &Path, text: &str, mode: u32| {
        std::fs::write(path, text).expect("a file");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    write(&elsewhere, "*:*:*:*:elsewhere\n", 0o600);
    let mut wrong = Vec::new();
    for case in &cases {
        write(&home.path().join(".pgpass"), &case.passwords.0, case.passwords.1);
        write(&home.path().join(".pg_service.conf"), &case.services, 0o600);
        let mut program = Command::new(env!("CARGO_BIN_EXE_pg-ensure"));
        program.args(["wait", "--timeout", "2", "--connect", &case.text]);
        let ours = first_login(&mut program, home.path(), case, &logins);
        for major in MAJORS {
            let mut psql = Command::new(programs(&major.to_string()).join("psql"));
            psql.args(["-X", "-w", "-c", "SELECT 1", "-d", &case.text]);
            let theirs = first_login(&mut psql, home.path(), case, &logins);
            // The 18 of the tests cannot do TLS, and refuses what asks for it.
            let tls =
                case.text.contains("ssl") || case.variables.iter().any(|(name, _)| name.contains("SSL"));
            // 15 takes `system` for the name of a file.
            let system =
                case.text.contains("=system") || case.variables.iter().any(|(_, value)| value == "system");
            if ours != theirs && !(major == 18 && tls) && !(major == 15 && system) {
                wrong.push(format!(
                    "{:?} {:?}: {major}: {theirs:?}, ours: {ours:?}",
                    case.text, case.variables
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without a database libpq takes the one of the user's name; this program begins with `postgres`, as it says.
#[test]
fn the_database_to_begin_with() {
    let home = tempfile::tempdir().expect("a folder");
    let (sender, logins) = channel();
    let port = listen("a", &sender);
    let only = case(&format!("host=127.0.0.1 port={port} user=u"));
    let pgpass = home.path().join(".pgpass");
    std::fs::write(&pgpass, "*:*:u:u:users\n*:*:postgres:u:own\n").expect("a file");
    std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    let mut program = Command::new(env!("CARGO_BIN_EXE_pg-ensure"));
    program.args(["wait", "--timeout", "2", "--connect", &only.text]);
    let login = first_login(&mut program, home.path(), &only, &logins).expect("a login");
    assert_eq!((login.database.as_str(), login.password.as_deref()), ("postgres", Some("own")));
}
