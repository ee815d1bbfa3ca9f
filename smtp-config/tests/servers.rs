//! The doctor, the replay and messages against real mail servers.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use smtp_config::doctor::{
    Check, Options, SendError, Verdict, examine, examine_incoming, replay, replay_stripped, send,
};
use smtp_config::ini::Ini;
use smtp_config::{
    Change, ClientFiles, EffectiveMailer, Mailer, Message, Protocol, Transport, Version, edit, effective,
    effective_incoming,
};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use testkit::Authority;
use testkit::mail::{CertificateFiles, FaultyServer, Postfix, ScriptedServer, Stage, aiosmtpd, node};

const HOST: &str = "mail.example.org";
const USER: &str = "forge";
const PASSWORD: &str = "pa#ss;w%rd`\"";

struct World {
    folder: tempfile::TempDir,
    authority: Authority,
    pair: CertificateFiles,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let pair = CertificateFiles::write(folder.path(), "mail", &authority.issue(&[HOST]));
        Self { folder, authority, pair }
    }

    fn other_pair(&self, name: &str, issued: &(String, String)) -> CertificateFiles {
        CertificateFiles::write(self.folder.path(), name, issued)
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
fn read(mailer: &Mailer) -> EffectiveMailer {
    let settings = mailer.settings();
    let mut changes: Vec<Change> = settings.iter().map(smtp_config::Setting::to_change).collect();
    changes.push(Change::set("mailer", "PASSWD", PASSWORD));
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
    if !testkit::needs_root("smtp-config: postfix_is_examined_and_takes_forgejo_s_message") {
        return;
    }
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
        assert!(
            sent.as_ref().is_ok_and(|sent| sent.answer.starts_with("250 ") && sent.caveat.is_none()),
            "{sent:?}\n{}",
            postfix.log()
        );
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
    let fix = &checks.iter().find(|check| check.name == "tls").expect("TLS").fix;
    assert!(fix.contains("smtp+starttls") && fix.contains("465"), "{fix}");
    // In clear the password is not sent, and a message is not either; Forgejo would send it, so it is no all-clear.
    let clear = read(&mailer(postfix.careless, Protocol::Smtp));
    let checks = examine(&clear, Some(&password()), &options).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Fail, "{checks:#?}");
    assert!(detail(&checks, "authentication").contains("in clear"), "{checks:#?}");
    let sent = send(&clear, Some(&password()), "someone@example.org", "x\r\n", &options).await;
    assert!(matches!(sent, Err(SendError::Exposed(_))), "{sent:?}");
}

#[tokio::test]
async fn a_stripped_starttls_leaks_and_tls_from_the_first_byte_does_not() {
    if !testkit::needs_root("smtp-config: a_stripped_starttls_leaks_and_tls_from_the_first_byte_does_not") {
        return;
    }
    let world = World::new();
    let postfix = Postfix::start(&world.pair, USER, PASSWORD);
    let options = world.options();
    for version in [7, 11, 13, 15, 16, 17] {
        let of = |settings: &Mailer| {
            let settings = settings.settings();
            let changes: Vec<Change> = settings.iter().map(smtp_config::Setting::to_change).collect();
            let ini = Ini::parse(&edit("", &changes).expect("written")).expect("read");
            effective(&ini, Version(version)).expect("it starts").expect("mail is on")
        };
        let starttls = of(&mailer(postfix.submission, Protocol::StartTls));
        let plain = replay(&starttls, &options).await;
        assert!(plain.reaches_message && !plain.leaks, "{plain:#?}");
        let stripped = replay_stripped(&starttls, &options).await;
        assert!(stripped.leaks, "{stripped:#?}");
        let smtps = of(&mailer(postfix.smtps, Protocol::Smtps));
        let stripped = replay_stripped(&smtps, &options).await;
        assert!(!stripped.leaks && stripped.reaches_message, "{stripped:#?}");
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
        (&stranger, "an authority that this machine does not trust"),
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
    let examined = async |server: &ScriptedServer, protocol| {
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
            let server = FaultyServer::start(stage, config);
            let mailer = read(&mailer(server.port, Protocol::StartTls));
            let checks = examine(&mailer, Some(&password()), &options).await;
            let hung = checks.iter().find(|check| check.name == name && check.verdict == Verdict::Fail);
            let hung = hung.unwrap_or_else(|| panic!("{stage:?}: {checks:#?}"));
            assert!(hung.detail.contains("no answer to"), "{stage:?}: {hung:?}");
            assert!(hung.took >= options.limit - Duration::from_millis(100), "{hung:?}");
            if stage < Stage::Auth {
                let done = replay(&mailer, &options).await;
                assert!(done.hangs && !done.reaches_message, "{stage:?}: {done:#?}");
            }
        });
    }
    for stage in [Stage::Data, Stage::Message] {
        let (config, options) = (config.clone(), options.clone());
        all.spawn(async move {
            let server = FaultyServer::start(stage, config);
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
    assert!(replay(&mailer, &world.options()).await.reaches_message);
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
        !done.reaches_message && !done.leaks && done.steps.iter().any(|step| step.does == "takes PLAIN"),
        "{done:#?}"
    );
    // Without a user a message is sent there.
    settings.user = None;
    let checks = examine(&read(&settings), None, &world.options()).await;
    assert_eq!(verdict(&checks, "rcpt-to"), Verdict::Pass, "{checks:#?}");
    server.abort();
}

/// A server in memory that answers lines by a table, over TLS or in clear, until QUIT.
async fn scripted(
    config: Option<Arc<rustls::ServerConfig>>,
    greeting: &'static str,
    answers: &'static [(&'static str, &'static str)],
) -> u16 {
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
    async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
        stream: T,
        greeting: &str,
        answers: &[(&str, &str)],
    ) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(greeting.as_bytes()).await?;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let found = answers.iter().find(|(word, _)| line.starts_with(word));
            let Some((_, answer)) = found else { return Ok(()) };
            stream.get_mut().write_all(answer.as_bytes()).await?;
        }
    }
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = config.clone();
            tokio::spawn(async move {
                match config {
                    None => serve(stream, greeting, answers).await,
                    Some(config) => {
                        let acceptor = tokio_rustls::TlsAcceptor::from(config);
                        serve(acceptor.accept(stream).await?, greeting, answers).await
                    }
                }
            });
        }
    });
    port
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: rustls_pki_types::PrivateKeyDer<'static>,
) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    Arc::new(config)
}

const SMTP: &[(&str, &str)] = &[
    ("EHLO", "250-mail\r\n250 AUTH PLAIN\r\n"),
    ("AUTH", "235 2.7.0 fine\r\n"),
    ("MAIL", "250 2.1.0 fine\r\n"),
    ("RCPT", "250 2.1.5 fine\r\n"),
    ("RSET", "250 2.0.0 fine\r\n"),
    ("QUIT", "221 2.0.0 bye\r\n"),
];

#[tokio::test]
async fn a_trusted_self_signed_certificate_is_accepted_as_go_does() {
    let world = World::new();
    // As openssl req -x509 makes it: an authority and a server in one.
    let folder = world.folder.path();
    let made = std::process::Command::new("/usr/bin/openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=mail.example.org",
        ])
        .args(["-addext", "subjectAltName=DNS:mail.example.org", "-out"])
        .arg(folder.join("self.pem"))
        .arg("-keyout")
        .arg(folder.join("self.key"))
        .output()
        .expect("openssl is installed: cargo xtask tools");
    assert!(made.status.success(), "{made:?}");
    let certificate = std::fs::read(folder.join("self.pem")).expect("a certificate");
    let key = std::fs::read(folder.join("self.key")).expect("a key");
    let certificate = CertificateDer::from_pem_slice(&certificate).expect("PEM");
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(&key).expect("PEM");
    let config = server_config(vec![certificate.clone()], key);
    let port = scripted(Some(config), "220 mail\r\n", SMTP).await;
    let mut settings = mailer(port, Protocol::Smtps);
    settings.helo = Some("git.example.org".to_owned());
    let mailer = read(&settings);
    let trusting = Options { roots: vec![certificate], ..world.options() };
    let checks = examine(&mailer, Some(&password()), &trusting).await;
    assert_eq!(verdict(&checks, "tls"), Verdict::Pass, "{checks:#?}");
    assert_eq!(verdict(&checks, "authentication"), Verdict::Pass, "{checks:#?}");
    assert!(replay(&mailer, &trusting).await.reaches_message);
    // Not trusted: the advice is the trust store, and the password stays.
    let checks = examine(&mailer, Some(&password()), &world.options()).await;
    let tls = checks.iter().find(|check| check.name == "tls").expect("TLS");
    assert!(tls.verdict == Verdict::Fail && tls.fix.contains("trust store"), "{tls:?}");
    assert!(!tls.detail.contains("OtherError"), "{tls:?}");
    assert_eq!(verdict(&checks, "authentication"), Verdict::Skipped);
    // FORCE_TRUST_SERVER_CERT: Forgejo goes on, and so does the replay.
    let mut forced = mailer.clone();
    forced.accepts_any_certificate = true;
    let done = replay(&forced, &world.options()).await;
    assert!(done.reaches_message && done.leaks, "{done:#?}");
}

/// openssl as a server, until it is dropped.
struct OpenSsl(std::process::Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_server_of_tls_1_2_with_cbc_alone_is_said_to_be_beyond_the_doctor() {
    let world = World::new();
    let folder = world.folder.path();
    let make =
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=mail.example.org -out cbc.pem -keyout cbc.key";
    let mut openssl = std::process::Command::new("/usr/bin/openssl");
    let made = openssl.args(make.split(' ')).current_dir(folder).output();
    let made = made.expect("openssl is installed: cargo xtask tools");
    assert!(made.status.success(), "{made:?}");
    let port = testkit::free_port();
    let serve = format!(
        "s_server -accept 127.0.0.1:{port} -tls1_2 -cipher AES128-SHA -cert cbc.pem -key cbc.key -quiet"
    );
    let child = std::process::Command::new("/usr/bin/openssl")
        .args(serve.split(' '))
        .current_dir(folder)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let _server = OpenSsl(child.expect("openssl"));
    let begin = std::time::Instant::now();
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begin.elapsed().as_secs() < 20, "openssl does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let checks = examine(&read(&mailer(port, Protocol::Smtps)), Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "tls"), Verdict::Fail, "{checks:#?}");
    assert!(detail(&checks, "tls").contains("suites with CBC, which cannot be tried here"), "{checks:#?}");
    assert_eq!(verdict(&checks, "authentication"), Verdict::Skipped);
}

#[tokio::test]
async fn what_go_does_with_unusual_servers_is_what_the_doctor_says() {
    let world = World::new();
    let (chain, key) = world.authority.pair(&[HOST]);
    let config = server_config(chain, key);
    const HELO_ONLY: &[(&str, &str)] = &[
        ("EHLO", "502 5.5.2 unknown\r\n"),
        ("HELO", "250 mail\r\n"),
        ("MAIL", "250 fine\r\n"),
        ("RCPT", "250 fine\r\n"),
        ("RSET", "250 fine\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let port = scripted(Some(config.clone()), "220 mail\r\n", HELO_ONLY).await;
    let mut settings = mailer(port, Protocol::Smtps);
    settings.user = None;
    let checks = examine(&read(&settings), None, &world.options()).await;
    assert_eq!(verdict(&checks, "rcpt-to"), Verdict::Pass, "{checks:#?}");
    assert!(replay(&read(&settings), &world.options()).await.reaches_message);

    const REFUSING: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250 AUTH CRAM-MD5 PLAIN\r\n"),
        ("AUTH CRAM-MD5", "535 5.7.8 no\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let port = scripted(Some(config.clone()), "220 mail\r\n", REFUSING).await;
    let mailer = read(&mailer(port, Protocol::Smtps));
    let checks = examine(&mailer, Some(&password()), &world.options()).await;
    let refused = checks.iter().find(|check| check.name == "authentication").expect("a check");
    assert!(refused.fix.contains("does not fall back"), "{refused:?}");

    const BUSY: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250 AUTH PLAIN\r\n"),
        ("AUTH", "454 4.7.0 temporary failure\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let port = scripted(Some(config.clone()), "220 mail\r\n", BUSY).await;
    let mailer = read(&self::mailer(port, Protocol::Smtps));
    let checks = examine(&mailer, Some(&password()), &world.options()).await;
    let refused = checks.iter().find(|check| check.name == "authentication").expect("a check");
    assert!(refused.fix.contains("try again"), "{refused:?}");
    // Without a password Forgejo logs in with an empty one.
    let checks = examine(&mailer, None, &world.options()).await;
    assert_eq!(verdict(&checks, "password"), Verdict::Warning, "{checks:#?}");

    // Forgejo would use NTLM, which is not tried: no all-clear.
    const NTLM: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250 AUTH NTLM\r\n"),
        ("MAIL", "250 fine\r\n"),
        ("RCPT", "250 fine\r\n"),
        ("RSET", "250 fine\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let port = scripted(Some(config.clone()), "220 mail\r\n", NTLM).await;
    let checks =
        examine(&read(&self::mailer(port, Protocol::Smtps)), Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Warning, "{checks:#?}");
    assert_eq!(verdict(&checks, "mail-from"), Verdict::Skipped, "{checks:#?}");
    let port = scripted(None, "220 mail\r\n", NTLM).await;
    let checks =
        examine(&read(&self::mailer(port, Protocol::Smtp)), Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Fail, "{checks:#?}");

    const NO_QUIT: &[(&str, &str)] = &[
        ("EHLO", "250 mail\r\n"),
        ("MAIL", "250 fine\r\n"),
        ("RCPT", "250 fine\r\n"),
        ("RSET", "250 fine\r\n"),
    ];
    let port = scripted(Some(config), "220 mail\r\n", NO_QUIT).await;
    let mut settings = self::mailer(port, Protocol::Smtps);
    settings.user = None;
    let checks = examine(&read(&settings), None, &world.options()).await;
    assert_eq!(verdict(&checks, "quit"), Verdict::Warning, "{checks:#?}");

    // A short password is not to be guessed from what is hidden.
    const ECHO: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250 AUTH PLAIN\r\n"),
        ("AUTH", "535 5.7.8 example.org says no\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let (chain, key) = world.authority.pair(&[HOST]);
    let port = scripted(Some(server_config(chain, key)), "220 example.org\r\n", ECHO).await;
    let mailer = read(&self::mailer(port, Protocol::Smtps));
    let checks = examine(&mailer, Some(&SecretString::from("p")), &world.options()).await;
    let shown = format!("{checks:?}");
    assert!(shown.contains("example.org") && !shown.contains("(not shown)"), "{shown}");
    assert!(detail(&checks, "authentication").contains("535 5.7.8"), "{checks:#?}");
}

#[tokio::test]
async fn a_sender_without_brackets_is_tried_for_the_versions_that_send_it() {
    const STRICT: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250 8BITMIME\r\n"),
        ("MAIL FROM:<forge@example.org> BODY=8BITMIME", "250 fine\r\n"),
        ("MAIL", "501 5.1.7 Bad sender address syntax\r\n"),
        ("RCPT", "250 fine\r\n"),
        ("RSET", "250 fine\r\n"),
        ("QUIT", "221 bye\r\n"),
    ];
    let world = World::new();
    let (chain, key) = world.authority.pair(&[HOST]);
    let port = scripted(Some(server_config(chain, key)), "220 mail\r\n", STRICT).await;
    let mut settings = mailer(port, Protocol::Smtps);
    settings.user = None;
    let mut mailer = read(&settings);
    for (version, warned) in [(16, false), (17, true)] {
        mailer.version = Version(version);
        let checks = examine(&mailer, None, &world.options()).await;
        assert_eq!(verdict(&checks, "mail-from"), Verdict::Pass, "{checks:#?}");
        assert_eq!(verdict(&checks, "rset"), Verdict::Pass, "{checks:#?}");
        let said = checks.iter().any(|check| {
            check.verdict == Verdict::Warning && check.detail.contains("501 5.1.7 Bad sender address syntax")
        });
        assert_eq!(said, warned, "{checks:#?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_presented_as_forgejo_does() {
    let world = World::new();
    let authority = Authority::new();
    let (chain, key) = world.authority.pair(&[HOST]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.root().as_bytes()).expect("a root")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a pair");
    let port = scripted(Some(Arc::new(config)), "220 mail\r\n", SMTP).await;
    let mut settings = mailer(port, Protocol::Smtps);
    settings.helo = Some("git.example.org".to_owned());
    let without = read(&settings);
    assert!(!replay(&without, &world.options()).await.reaches_message, "the server wants a certificate");
    let mut with = without.clone();
    with.client_certificate = true;
    let (chain, key) = authority.issue_client("forge", 1);
    let files = ["client.crt", "client.key"].map(|name| world.folder.path().join(name));
    std::fs::write(&files[0], chain).expect("a file");
    std::fs::write(&files[1], key).expect("a file");
    with.client_files =
        ClientFiles { certificate: files[0].display().to_string(), key: files[1].display().to_string() };
    assert!(replay(&with, &world.options()).await.reaches_message);
    let checks = examine(&with, Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "authentication"), Verdict::Pass, "{checks:#?}");
    // Files that cannot be loaded, or that do not belong together: nothing is sent.
    for (certificate, key) in [(&files[0], "/nonexistent"), (&files[1], "client.key")] {
        with.client_files =
            ClientFiles { certificate: certificate.display().to_string(), key: key.to_owned() };
        let done = replay(&with, &world.options()).await;
        assert!(!done.reaches_message && !done.leaks, "{done:#?}");
        let checks = examine(&with, Some(&password()), &world.options()).await;
        assert_eq!(verdict(&checks, "client-certificate"), Verdict::Fail, "{checks:#?}");
    }
}

#[tokio::test]
async fn incoming_mail_is_examined() {
    const IMAP: &[(&str, &str)] = &[
        ("a LOGIN", "+ go on\r\n"),
        (PASSWORD, "a OK logged in\r\n"),
        ("wrong", "a NO [AUTHENTICATIONFAILED] wrong\r\n"),
        ("b EXAMINE \"INBOX\"", "* 3 EXISTS\r\nb OK done\r\n"),
        ("b EXAMINE", "b NO no such mailbox\r\n"),
        ("c LOGOUT", "* BYE\r\nc OK\r\n"),
    ];
    let world = World::new();
    let (chain, key) = world.authority.pair(&[HOST]);
    let port = scripted(Some(server_config(chain, key)), "* OK ready\r\n", IMAP).await;
    let plain = scripted(None, "* OK ready\r\n", IMAP).await;
    let load = |port: u16, more: &str| {
        let text = format!(
            "[email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = f+%{{token}}@example.org\nHOST = {HOST}\nPORT = {port}\n\
             USERNAME = forge\n{more}"
        );
        let ini = Ini::parse(&text).expect("it is read");
        effective_incoming(&ini, Version::default()).expect("it starts").expect("incoming mail is on")
    };
    let tls = load(port, "USE_TLS = true\n");
    let checks = examine_incoming(&tls, Some(&password()), &world.options()).await;
    for name in
        ["incoming-connect", "incoming-tls", "incoming-greeting", "incoming-login", "incoming-mailbox"]
    {
        assert_eq!(verdict(&checks, name), Verdict::Pass, "{checks:#?}");
    }
    no_secret(&format!("{checks:?}"));
    let checks = examine_incoming(&tls, Some(&SecretString::from("wrong")), &world.options()).await;
    assert_eq!(verdict(&checks, "incoming-login"), Verdict::Fail, "{checks:#?}");
    let other = load(port, "USE_TLS = true\nMAILBOX = Forge\n");
    let checks = examine_incoming(&other, Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "incoming-mailbox"), Verdict::Fail, "{checks:#?}");
    // Without TLS, or with a certificate that is not trusted, the password stays.
    let checks = examine_incoming(&load(plain, ""), Some(&password()), &world.options()).await;
    assert_eq!(verdict(&checks, "incoming-tls"), Verdict::Fail, "{checks:#?}");
    assert_eq!(verdict(&checks, "incoming-login"), Verdict::Skipped, "{checks:#?}");
    let untrusting = Options { roots: Vec::new(), ..world.options() };
    let checks = examine_incoming(&tls, Some(&password()), &untrusting).await;
    assert_eq!(verdict(&checks, "incoming-tls"), Verdict::Fail, "{checks:#?}");
    let crossed = load(plain, "USE_TLS = true\n");
    let checks = examine_incoming(&crossed, Some(&password()), &world.options()).await;
    assert!(checks.iter().any(|check| check.fix.contains("993")), "{checks:#?}");
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
