//! The doctor, the replay and messages against real mail servers.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use smtp_config::doctor::{Check, Options, SendError, Verdict, examine, replay, replay_stripped, send};
use smtp_config::ini::Ini;
use smtp_config::{Effective, Mailer, Message, Protocol, Transport, Version, edit, effective};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use testkit::Authority;
use testkit::mail::{Faulty, Pair, Postfix, Scripted, Stage, aiosmtpd, node};

const HOST: &str = "mail.example.org";
const USER: &str = "forge";
const PASSWORD: &str = "pa#ss;w%rd`\"";

struct World {
    folder: tempfile::TempDir,
    authority: Authority,
    pair: Pair,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let pair = Pair::write(folder.path(), "mail", &authority.issue(&[HOST]));
        Self { folder, authority, pair }
    }

    fn other_pair(&self, name: &str, issued: &(String, String)) -> Pair {
        Pair::write(self.folder.path(), name, issued)
    }

    fn options(&self) -> Options {
        Options {
            limit: Duration::from_secs(20),
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            roots: vec![CertificateDer::from_pem_slice(self.authority.root().as_bytes()).expect("a root")],
            machine: "git.example.org".to_owned(),
            dns: false,
            ports: Vec::new(),
            ..Options::default()
        }
    }
}

fn mailer(port: u16, protocol: Protocol) -> Mailer {
    let mut mailer = Mailer::server("Forge <forge@example.org>", HOST, port);
    let Transport::Network(server) = &mut mailer.transport else { unreachable!() };
    server.protocol = Some(protocol);
    mailer.user = Some(USER.to_owned());
    mailer
}

/// What Forgejo makes of it, by way of app.ini.
fn read(mailer: &Mailer) -> Effective {
    let settings = mailer.settings();
    let mut changes: Vec<(&str, &str, Option<&str>)> =
        settings.iter().map(|(section, key, value)| (*section, key.as_str(), Some(value.as_str()))).collect();
    changes.push(("mailer", "PASSWD", Some(PASSWORD)));
    let text = edit("", &changes).expect("it can be written");
    let ini = Ini::parse(&text).expect("it is read");
    effective(&ini, Version(13)).expect("it starts").expect("mail is on")
}

fn password() -> SecretString {
    SecretString::from(PASSWORD)
}

fn verdict(checks: &[Check], name: &str) -> Verdict {
    let found = checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}: {checks:#?}")).verdict
}

fn detail<'c>(checks: &'c [Check], name: &str) -> &'c str {
    checks.iter().rev().find(|check| check.name == name).map_or("", |check| check.detail.as_str())
}

fn no_secret(shown: &str) {
    assert!(!shown.contains(PASSWORD) && !shown.contains("AGZvcmdl"), "the password is shown: {shown}");
}

#[tokio::test]
async fn postfix_is_examined_and_takes_forgejo_s_message() {
    let world = World::new();
    let postfix = Postfix::start(&world.pair, USER, PASSWORD);
    let options = world.options();
    for (port, protocol) in [(postfix.smtps, Protocol::Smtps), (postfix.submission, Protocol::StartTls)] {
        let mut settings = mailer(port, protocol);
        settings.subject_prefix = Some("[Förge]".to_owned());
        settings.headers = vec![("Auto-Submitted".to_owned(), "auto-generated".to_owned())];
        let mailer = read(&settings);
        let checks = examine(&mailer, Some(&password()), &options).await;
        let worst = checks.iter().map(|check| check.verdict).max();
        assert_eq!(worst, Some(Verdict::Pass), "{checks:#?}\n{}", postfix.log());
        for name in
            ["connect", "tls", "greeting", "helo-name", "mechanism", "authentication", "mail-from", "rset"]
        {
            assert_eq!(verdict(&checks, name), Verdict::Pass);
        }
        assert!(detail(&checks, "mechanism").starts_with("Forgejo takes PLAIN"), "{checks:#?}");
        no_secret(&format!("{checks:?}"));

        let marker = format!("by port {port}");
        let text = format!("Grüße {marker} = \n.a line that begins with a dot\nand {}", "long ".repeat(40));
        let message = Message {
            to: "someone@example.org",
            subject: "Ünicode — a subject that is longer than one line of a header can hold, and goes on",
            text: &text,
            html: Some("<p>Grüße</p>"),
            date: "Mon, 23 Nov 2026 12:00:00 +0000",
            milliseconds: 1,
            domain: "git.example.org",
        };
        let rendered = message.render(&mailer);
        let sent = send(&mailer, Some(&password()), message.to, &rendered, &options).await;
        assert!(sent.as_ref().is_ok_and(|answer| answer.starts_with("250 ")), "{sent:?}\n{}", postfix.log());
        let arrived = postfix.delivered(&marker);
        let parts = taken_apart(&arrived);
        assert_eq!(parts[0], format!("[Förge] {}", message.subject));
        assert_eq!(parts[1], "Forge <forge@example.org>");
        assert_eq!(parts[2], "auto-generated");
        assert!(parts[3].starts_with("<autogen-1-") && parts[3].ends_with("@git.example.org>"), "{parts:?}");
        assert_eq!(parts[4].trim_end_matches('\n'), text);
        assert_eq!(parts[5].trim_end_matches('\n'), "<p>Grüße</p>");
    }

    // A sender that the account may not have, a wrong password, AUTH before TLS.
    let mut other = mailer(postfix.smtps, Protocol::Smtps);
    other.from = "other@example.org".to_owned();
    let checks = examine(&read(&other), Some(&password()), &options).await;
    assert_eq!(verdict(&checks, "mail-from"), Verdict::Fail, "{checks:#?}");
    let right = read(&mailer(postfix.smtps, Protocol::Smtps));
    let checks = examine(&right, Some(&SecretString::from("wrong")), &options).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Fail);
    assert_eq!(verdict(&checks, "mail-from"), Verdict::Skipped);
    let careless = read(&mailer(postfix.careless, Protocol::StartTls));
    let checks = examine(&careless, Some(&password()), &options).await;
    assert_eq!(verdict(&checks, "auth-before-tls"), Verdict::Warning);
    // The port of STARTTLS spoken to as TLS, and the other way round.
    let crossed = read(&mailer(postfix.submission, Protocol::Smtps));
    let checks = examine(&crossed, Some(&password()), &options).await;
    assert_eq!(verdict(&checks, "tls"), Verdict::Fail, "{checks:#?}");
    // In clear the password is not sent, and a message is not either.
    let clear = read(&mailer(postfix.careless, Protocol::Smtp));
    let checks = examine(&clear, Some(&password()), &options).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Skipped, "{checks:#?}");
    let sent = send(&clear, Some(&password()), "someone@example.org", "x\r\n", &options).await;
    assert!(matches!(sent, Err(SendError::Exposed(_))), "{sent:?}");
}

#[tokio::test]
async fn a_stripped_starttls_leaks_and_tls_from_the_first_byte_does_not() {
    let world = World::new();
    let postfix = Postfix::start(&world.pair, USER, PASSWORD);
    let options = world.options();
    for version in [7, 11, 13] {
        let of = |settings: &Mailer| {
            let settings = settings.settings();
            let changes: Vec<(&str, &str, Option<&str>)> = settings
                .iter()
                .map(|(section, key, value)| (*section, key.as_str(), Some(value.as_str())))
                .collect();
            let ini = Ini::parse(&edit("", &changes).expect("written")).expect("read");
            effective(&ini, Version(version)).expect("it starts").expect("mail is on")
        };
        let starttls = of(&mailer(postfix.submission, Protocol::StartTls));
        let plain = replay(&starttls, &options).await;
        assert!(plain.sends && !plain.leaks, "{plain:#?}");
        let stripped = replay_stripped(&starttls, &options).await;
        assert!(stripped.leaks, "{stripped:#?}");
        let smtps = of(&mailer(postfix.smtps, Protocol::Smtps));
        let stripped = replay_stripped(&smtps, &options).await;
        assert!(!stripped.leaks && stripped.sends, "{stripped:#?}");
        // The wrong case of PROTOCOL is plain SMTP.
        let mut wrong = Ini::parse("[mailer]\nENABLED = true\nPROTOCOL = STARTTLS\nFROM = a@b\nUSER = u\n")
            .expect("read");
        wrong.set("mailer", "SMTP_ADDR", HOST);
        wrong.set("mailer", "SMTP_PORT", &postfix.careless.to_string());
        let wrong = effective(&wrong, Version(version)).expect("it starts").expect("mail is on");
        let plain = replay(&wrong, &options).await;
        assert!(plain.leaks, "{plain:#?}");
    }
    // Nobody has tried to authenticate at the real server.
    assert!(!postfix.log().contains("authentication failed"), "{}", postfix.log());
}

#[tokio::test]
async fn certificates_that_prove_nothing_get_no_password() {
    let world = World::new();
    let expired = world.other_pair("expired", &world.authority.issue_expired(&[HOST]));
    let misnamed = world.other_pair("misnamed", &world.authority.issue(&["other.example.org"]));
    let stranger = world.other_pair("stranger", &Authority::new().issue(&[HOST]));
    let cases = [
        (&expired, "has expired"),
        (&misnamed, "other.example.org"),
        (&stranger, "nobody this machine trusts"),
    ];
    for (pair, words) in cases {
        for (mode, protocol) in [("smtps", Protocol::Smtps), ("starttls", Protocol::StartTls)] {
            let server = aiosmtpd(mode, pair, USER, PASSWORD, "");
            let mailer = read(&mailer(server.port, protocol));
            let checks = examine(&mailer, Some(&password()), &world.options()).await;
            assert_eq!(verdict(&checks, "tls"), Verdict::Fail, "{checks:#?}");
            assert!(detail(&checks, "tls").contains(words), "{words}: {checks:#?}");
            assert_eq!(verdict(&checks, "authentication"), Verdict::Skipped);
            let sent = send(&mailer, Some(&password()), "a@example.org", "x\r\n", &world.options()).await;
            assert!(matches!(sent, Err(SendError::Wire(_))), "{sent:?}");
        }
    }
}

#[tokio::test]
async fn greylisting_and_a_refused_sender_are_told_apart() {
    let world = World::new();
    let examined = async |server: &Scripted, protocol| {
        let mailer = read(&mailer(server.port, protocol));
        examine(&mailer, Some(&password()), &world.options()).await
    };
    let grey = aiosmtpd("smtps", &world.pair, USER, PASSWORD, "greylist");
    let checks = examined(&grey, Protocol::Smtps).await;
    assert_eq!(verdict(&checks, "rcpt-to"), Verdict::Warning, "{checks:#?}");
    let checks = examined(&grey, Protocol::Smtps).await;
    assert_eq!(verdict(&checks, "rcpt-to"), Verdict::Pass, "the second time");
    let refusing = aiosmtpd("starttls", &world.pair, USER, PASSWORD, "refuse-sender");
    let checks = examined(&refusing, Protocol::StartTls).await;
    assert_eq!(verdict(&checks, "mail-from"), Verdict::Fail, "{checks:#?}");
    assert!(detail(&checks, "mail-from").contains("550 5.7.1"));
}

#[tokio::test]
async fn every_mechanism_is_the_one_that_forgejo_takes() {
    let world = World::new();
    let cases = [
        ("PLAIN,LOGIN,CRAM-MD5", "CRAM-MD5", Verdict::Pass),
        ("LOGIN,PLAIN", "PLAIN", Verdict::Pass),
        ("XOAUTH2,PLAIN", "PLAIN", Verdict::Pass),
    ];
    for (offered, taken, expected) in cases {
        for (mode, protocol) in [("smtps", Protocol::Smtps), ("starttls", Protocol::StartTls)] {
            let server = node(mode, &world.pair, USER, PASSWORD, offered);
            let mailer = read(&mailer(server.port, protocol));
            let checks = examine(&mailer, Some(&password()), &world.options()).await;
            assert!(
                detail(&checks, "mechanism").starts_with(&format!("Forgejo takes {taken},")),
                "{checks:#?}"
            );
            assert_eq!(verdict(&checks, "authentication"), expected, "{checks:#?}");
            assert_eq!(verdict(&checks, "mail-from"), Verdict::Pass, "{checks:#?}");
            let wrong = examine(&mailer, Some(&SecretString::from("wrong")), &world.options()).await;
            assert_eq!(verdict(&wrong, "authentication"), Verdict::Fail, "{wrong:#?}");
        }
    }
    // Only XOAUTH2: Forgejo goes on without authentication.
    let server = node("smtps", &world.pair, USER, PASSWORD, "XOAUTH2");
    let mailer = read(&mailer(server.port, Protocol::Smtps));
    let checks = examine(&mailer, Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "mechanism"), Verdict::Fail);
    let done = replay(&mailer, &world.options()).await;
    assert!(
        done.steps.iter().any(|step| step.outcome.contains("goes on without authentication")),
        "{done:#?}"
    );
    // LOGIN alone, whose questions Forgejo wants word for word, as aiosmtpd and smtp-server ask them.
    let server = node("smtps", &world.pair, USER, PASSWORD, "LOGIN");
    let mailer = read(&self::mailer(server.port, Protocol::Smtps));
    let checks = examine(&mailer, Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Pass, "{checks:#?}");
}

#[tokio::test]
async fn a_server_that_hangs_anywhere_is_named_with_its_stage() {
    let world = World::new();
    let (chain, key) = world.authority.pair(&[HOST]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    // Long enough for a machine that is busy; all stages wait at once.
    let options = Options { limit: Duration::from_secs(5), ..world.options() };
    let cases = [
        (Stage::Greeting, "greeting"),
        (Stage::Ehlo, "ehlo"),
        (Stage::StartTls, "starttls"),
        (Stage::Handshake, "tls"),
        (Stage::Auth, "authentication"),
        (Stage::Mail, "mail-from"),
        (Stage::Rcpt, "rcpt-to"),
    ];
    let mut all = tokio::task::JoinSet::new();
    for (stage, name) in cases {
        let (config, options) = (config.clone(), options.clone());
        all.spawn(async move {
            let server = Faulty::start(stage, config);
            let mailer = read(&mailer(server.port, Protocol::StartTls));
            let checks = examine(&mailer, Some(&password()), &options).await;
            let hung = checks.iter().find(|check| check.name == name && check.verdict == Verdict::Fail);
            let hung = hung.unwrap_or_else(|| panic!("{stage:?}: {checks:#?}"));
            assert!(hung.detail.contains("no answer to"), "{stage:?}: {hung:?}");
            assert!(hung.took >= options.limit - Duration::from_millis(100), "{hung:?}");
            if stage < Stage::Auth {
                let done = replay(&mailer, &options).await;
                assert!(done.hangs && !done.sends, "{stage:?}: {done:#?}");
            }
        });
    }
    for stage in [Stage::Data, Stage::Message] {
        let (config, options) = (config.clone(), options.clone());
        all.spawn(async move {
            let server = Faulty::start(stage, config);
            let mailer = read(&mailer(server.port, Protocol::StartTls));
            let sent = send(&mailer, Some(&password()), "a@example.org", "x\r\n", &options).await;
            let why = sent.expect_err("it hangs").to_string();
            assert!(why.contains("no answer to"), "{stage:?}: {why}");
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("no panic");
    }
}

#[tokio::test]
async fn a_server_that_offers_no_starttls_and_one_that_is_not_there() {
    let world = World::new();
    // aiosmtpd in clear, as a server would look through somebody who strips.
    let server = aiosmtpd("smtps", &world.pair, USER, PASSWORD, "");
    let checks = examine(
        &read(&mailer(server.port, Protocol::StartTls)),
        Some(&password()),
        &Options { limit: Duration::from_millis(1000), ..world.options() },
    )
    .await;
    assert_eq!(verdict(&checks, "greeting"), Verdict::Fail, "{checks:#?}");
    let checks = examine(&read(&mailer(1, Protocol::Smtps)), Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "connect"), Verdict::Fail);
    assert!(detail(&checks, "connect").contains("refused"), "{checks:#?}");
    let mut options = world.options();
    options.ports = vec![server.port, 1];
    let checks = examine(&read(&mailer(2, Protocol::Smtps)), None, &options).await;
    let reached: Vec<&str> =
        checks.iter().filter(|check| check.name == "reachable").map(|check| check.detail.as_str()).collect();
    assert_eq!(reached, ["open", "closed"]);
}

#[tokio::test]
async fn sendmail_and_a_unix_socket() {
    let world = World::new();
    let mut settings = Mailer::new("Forge <forge@example.org>");
    let program = world.folder.path().join("sendmail");
    let kept = world.folder.path().join("kept");
    std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" > {0}\ncat >> {0}\n", kept.display()))
        .expect("a file");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("a mode");
    settings.transport =
        Transport::Sendmail { path: program.display().to_string(), args: vec!["-O x".to_owned()] };
    let mailer = read(&settings);
    let checks = examine(&mailer, None, &world.options()).await;
    assert_eq!(verdict(&checks, "sendmail"), Verdict::Pass);
    assert!(replay(&mailer, &world.options()).await.sends);
    send(&mailer, None, "-x@example.org", "A: b\r\n\r\nc\r\n", &world.options()).await.expect("it is run");
    let got = std::fs::read_to_string(&kept).expect("what it got");
    assert_eq!(got, "-f forge@example.org -i -O x -- -x@example.org\nA: b\n\nc\n");

    let socket = world.folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            let (reader, mut writer) = stream.into_split();
            writer.write_all(b"220 local\r\n").await.expect("written");
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer =
                    if line.starts_with("EHLO") { "250-local\r\n250 AUTH PLAIN\r\n" } else { "250 fine\r\n" };
                if writer.write_all(answer.as_bytes()).await.is_err() || line == "QUIT" {
                    break;
                }
            }
        }
    });
    settings.transport = Transport::Unix(socket.display().to_string());
    settings.user = Some(USER.to_owned());
    let checks = examine(&read(&settings), Some(&password()), &world.options()).await;
    // Go refuses PLAIN there.
    assert_eq!(verdict(&checks, "mechanism"), Verdict::Fail, "{checks:#?}");
    let done = replay(&read(&settings), &world.options()).await;
    assert!(
        !done.sends && !done.leaks && done.steps.iter().any(|step| step.does == "takes PLAIN"),
        "{done:#?}"
    );
    // Without a user a message is sent there.
    settings.user = None;
    let checks = examine(&read(&settings), None, &world.options()).await;
    assert_eq!(verdict(&checks, "rcpt-to"), Verdict::Pass, "{checks:#?}");
    server.abort();
}

/// Subject, sender, Auto-Submitted, id, text and HTML, as Python's `email` takes a message apart.
fn taken_apart(message: &str) -> Vec<String> {
    const SCRIPT: &str = "import sys, email, email.policy\n\
        m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)\n\
        parts = [m['Subject'], m['From'], m['Auto-Submitted'], m['Message-ID']]\n\
        parts += [m.get_body((kind,)).get_content() for kind in ('plain', 'html')]\n\
        sys.stdout.buffer.write('\\0'.join(parts).encode())\n";
    let mut child = std::process::Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 is there: cargo xtask tools");
    child.stdin.take().expect("a pipe").write_all(message.as_bytes()).expect("written");
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("an end").success(), "{message}");
    text.split('\0').map(str::to_owned).collect()
}

#[test]
fn nothing_that_can_be_shown_has_the_password() {
    let mut settings = mailer(465, Protocol::Smtps);
    settings.password = Some(password());
    let effective = read(&settings);
    no_secret(&format!("{settings:?} {effective:?}"));
    assert_eq!(password().expose_secret(), PASSWORD);
}
