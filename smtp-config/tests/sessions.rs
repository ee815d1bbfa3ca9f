//! The replay of Forgejo's conversation held against Go's own `net/smtp`, over generated settings and scripted servers.

#[path = "oracle/go.rs"]
mod go;
#[path = "oracle/sections.rs"]
mod sections;

use go::{GO, ask_go, releases};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sections::{generated_count, is_full, section};
use smtp_config::doctor::{Options, Replay, replay, replay_stripped};
use smtp_config::ini::Ini;
use smtp_config::{AddressRules, EffectiveMailer, EffectiveTransport, Protocol, Version, effective};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Authority;

/// A server: its answer to EHLO in clear and over TLS; `None` refuses EHLO and takes HELO.
struct Script {
    clear: Option<&'static [&'static str]>,
    tls: Option<&'static [&'static str]>,
}

const SCRIPTS: &[Script] = &[
    Script { clear: Some(&["STARTTLS", "AUTH PLAIN LOGIN"]), tls: Some(&["AUTH PLAIN LOGIN"]) },
    Script { clear: Some(&["AUTH PLAIN"]), tls: Some(&["AUTH PLAIN"]) },
    Script { clear: Some(&["AUTH LOGIN"]), tls: Some(&["AUTH LOGIN"]) },
    Script { clear: Some(&["STARTTLS"]), tls: Some(&["AUTH CRAM-MD5 PLAIN"]) },
    Script { clear: Some(&["AUTH LOGIN CRAM-MD5"]), tls: Some(&["8BITMIME", "AUTH LOGIN CRAM-MD5"]) },
    Script { clear: Some(&["STARTTLS"]), tls: Some(&[]) },
    Script { clear: Some(&[]), tls: Some(&["AUTH XOAUTH2"]) },
    Script { clear: Some(&["AUTH XOAUTH2 SCRAM-SHA-256"]), tls: Some(&["auth PLAIN"]) },
    Script { clear: Some(&["starttls", "AUTH=PLAIN LOGIN"]), tls: Some(&["AUTH=PLAIN LOGIN"]) },
    Script { clear: None, tls: None },
    Script { clear: Some(&["STARTTLS", "AUTH"]), tls: None },
    Script { clear: Some(&["STARTTLS trailing", "SIZE 10"]), tls: Some(&["AUTH plain PLAINTEXT"]) },
];

/// The script that offers no STARTTLS and PLAIN, as an attacker's proxy does.
const STRIPPED: usize = 1;

/// The lines that each connection sent, each with the kind of transport it came by.
type Heard = Arc<Mutex<Vec<Vec<String>>>>;

/// Two ports of a scripted server, one that begins in clear and one with TLS.
struct Server {
    clear: u16,
    tls: u16,
    heard: Heard,
}

impl Server {
    fn start(script: &'static Script, config: &Arc<ServerConfig>) -> Self {
        let heard = Heard::default();
        let [clear, tls] = [false, true].map(|implicit| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let (config, heard) = (config.clone(), heard.clone());
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    let mut all = heard.lock().expect("not poisoned");
                    let at = all.len();
                    all.push(Vec::new());
                    drop(all);
                    let (config, heard) = (config.clone(), heard.clone());
                    std::thread::spawn(move || {
                        // A client that goes away in the middle is as good as one that says QUIT.
                        let _ = serve(stream, script, &config, implicit, &heard, at);
                    });
                }
            });
            port
        });
        Self { clear, tls, heard }
    }

    fn port(&self, mailer: &EffectiveMailer) -> u16 {
        if mailer.transport == EffectiveTransport::Network(Protocol::Smtps) { self.tls } else { self.clear }
    }

    /// Returns what a connection sent, up to the point at which a replay ends.
    fn told(&self, at: usize) -> Vec<String> {
        let all = self.heard.lock().expect("not poisoned");
        let ends = |line: &&String| !["AUTH", "MAIL", "QUIT", "*"].iter().any(|word| line.contains(word));
        all.get(at).map(|lines| lines.iter().take_while(ends).cloned().collect()).unwrap_or_default()
    }

    fn authenticated_in_clear(&self, at: usize) -> bool {
        let all = self.heard.lock().expect("not poisoned");
        all.get(at).is_some_and(|lines| lines.iter().any(|line| line.starts_with("clear AUTH")))
    }

    /// Waits for the connection after the first so many: it may still be on its way to the server.
    fn wait_for(&self, at: usize) {
        let began = Instant::now();
        while self.count() <= at {
            assert!(began.elapsed() < Duration::from_secs(20), "no connection arrives");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn count(&self) -> usize {
        self.heard.lock().expect("not poisoned").len()
    }
}

fn serve(
    stream: TcpStream,
    script: &Script,
    config: &Arc<ServerConfig>,
    implicit: bool,
    heard: &Heard,
    at: usize,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let secured = |stream| {
        let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        std::io::Result::Ok(StreamOwned::new(connection, stream))
    };
    if implicit {
        return converse(BufReader::new(secured(stream)?), "tls", script.tls, true, heard, at).map(|_| ());
    }
    let stream = BufReader::with_capacity(1, stream);
    let Some(stream) = converse(stream, "clear", script.clear, true, heard, at)? else { return Ok(()) };
    let secured = BufReader::new(secured(stream.into_inner())?);
    converse(secured, "tls", script.tls, false, heard, at).map(|_| ())
}

/// Answers lines until QUIT, or until STARTTLS, after which the stream is given back.
fn converse<T: Read + Write>(
    mut stream: BufReader<T>,
    transport: &str,
    offered: Option<&[&str]>,
    greets: bool,
    heard: &Heard,
    at: usize,
) -> std::io::Result<Option<BufReader<T>>> {
    if greets {
        stream.get_mut().write_all(b"220 scripted.example.org\r\n")?;
    }
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end();
        heard.lock().expect("not poisoned")[at].push(format!("{transport} {text}"));
        let answer = match (text.split(' ').next().unwrap_or_default(), offered) {
            ("EHLO", Some(words)) => {
                let mut lines = vec!["scripted.example.org"];
                lines.extend(words);
                let last = lines.len() - 1;
                let sign = |at| if at == last { ' ' } else { '-' };
                lines.iter().enumerate().map(|(at, line)| format!("250{}{line}\r\n", sign(at))).collect()
            }
            ("EHLO", None) => "502 5.5.1 not here\r\n".to_owned(),
            ("AUTH", _) if text == "AUTH LOGIN" => "334 VXNlcm5hbWU6\r\n".to_owned(),
            ("AUTH", _) if text == "AUTH CRAM-MD5" => "334 PDFAYT4=\r\n".to_owned(),
            ("AUTH" | "*", _) => "235 2.7.0 fine\r\n".to_owned(),
            ("STARTTLS", _) => "220 go ahead\r\n".to_owned(),
            ("QUIT", _) => "221 bye\r\n".to_owned(),
            ("HELO" | "MAIL", _) => "250 fine\r\n".to_owned(),
            // The account, then the password or the response to a challenge.
            _ => {
                let before = &heard.lock().expect("not poisoned")[at];
                let login = before.len() > 1 && before[before.len() - 2].ends_with("AUTH LOGIN");
                if login { "334 UGFzc3dvcmQ6\r\n" } else { "235 2.7.0 fine\r\n" }.to_owned()
            }
        };
        stream.get_mut().write_all(answer.as_bytes())?;
        match text {
            "STARTTLS" => return Ok(Some(stream)),
            "QUIT" => return Ok(None),
            _ => {}
        }
    }
}

#[test]
fn the_replay_sends_and_leaks_what_go_sends_and_leaks() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, authority.root()).expect("a root");
    let (chain, key) = authority.pair(&["mail.example.org", "mail", "localhost"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    let servers: Vec<Server> = SCRIPTS.iter().map(|script| Server::start(script, &config)).collect();
    let behind_the_stripper = Server::start(&SCRIPTS[0], &config);

    // Each kind meets every server in the long form, and the next few of them otherwise.
    let each = if is_full() { SCRIPTS.len() } else { 2 };
    let chosen_go = releases().into_iter().filter(|(go, _)| is_full() || *go == GO);
    let mut sent = 0;
    for (go, rules) in chosen_go {
        let cases = distinct(rules);
        let mut asked = Vec::new();
        for (at, (_, (version, file, mailer))) in cases.iter().enumerate() {
            let chosen = (0..each).map(|step| (at * each + step) % SCRIPTS.len());
            // The last one is what the replay with a stripped STARTTLS is compared with.
            asked.extend(chosen.chain([STRIPPED]).map(|script| (script, *version, file, mailer)));
        }
        let first: Vec<usize> = servers.iter().map(Server::count).collect();
        let texts: Vec<String> = asked
            .iter()
            .map(|(script, version, file, mailer)| {
                let version = char::from_u32(*version).expect("small");
                let port = servers[*script].port(mailer);
                format!("{version}{port}\n{}\n{file}", root.display())
            })
            .collect();
        let requests: Vec<(u8, &str)> = texts.iter().map(|text| (b'S', text.as_str())).collect();
        let answers = ask_go(go, &requests);
        let mut next = first.clone();
        let mut theirs = Vec::new();
        for (script, ..) in &asked {
            theirs.push(next[*script]);
            next[*script] += 1;
        }
        for (position, ((script, _, file, mailer), answer)) in asked.iter().zip(&answers).enumerate() {
            let server = &servers[*script];
            let last = position % (each + 1) == each;
            sent += usize::from(answer[0] == "sent");
            let context = || format!("Go {go}, server {script}: {answer:?}\n{file}");
            let encrypts = mailer.transport != EffectiveTransport::Network(Protocol::Smtp);
            let blocked = encrypts && mailer.client_certificate;
            let by_trust = encrypts && mailer.accepts_any_certificate && !mailer.user.is_empty() && !blocked;
            let leaks = by_trust || server.authenticated_in_clear(theirs[position]);
            if last {
                let stripped = run(mailer, &behind_the_stripper, &root, true);
                assert_eq!(stripped.leaks, leaks, "stripped: {stripped:#?}\n{}", context());
                continue;
            }
            let at = server.count();
            let ours = run(mailer, server, &root, false);
            server.wait_for(at);
            assert_eq!(server.told(at), server.told(theirs[position]), "{ours:#?}\n{}", context());
            assert_eq!(ours.reaches_message, answer[0] == "sent", "{ours:#?}\n{}", context());
            assert_eq!(ours.leaks, leaks, "{ours:#?}\n{}", context());
            assert!(!ours.hangs, "{ours:#?}\n{}", context());
        }
    }
    assert!(sent > 100, "{sent} conversations reached a message");
}

/// Returns generated settings for the versions that a Go builds, each kind that a conversation depends on once.
fn distinct(rules: AddressRules) -> Vec<(String, (u32, String, EffectiveMailer))> {
    let versions: Vec<u32> = (7..=18).filter(|version| Version(*version).address_rules() == rules).collect();
    let mut distinct: HashMap<String, (u32, String, EffectiveMailer)> = HashMap::new();
    let count = if is_full() { generated_count() } else { generated_count() / 5 };
    for seed in 0..count {
        let version = versions[usize::try_from(seed).expect("small") % versions.len()];
        let file = section(seed * 31 + u64::from(version));
        let Ok(ini) = Ini::parse(&file) else { continue };
        let Ok(Some(mailer)) = effective(&ini, Version(version)) else { continue };
        // Go sends such a host as the name of the server all the same, and it is up to each server what it makes of it.
        let odd = !mailer.host.is_empty() && ServerName::try_from(mailer.host.as_str()).is_err();
        if matches!(mailer.transport, EffectiveTransport::Network(_))
            && !(odd && mailer.accepts_any_certificate)
        {
            let key = format!(
                "{:?} {:?} {:?} {} {} {}",
                mailer.transport,
                mailer.helo,
                mailer.host,
                mailer.user.is_empty(),
                mailer.accepts_any_certificate,
                mailer.client_certificate
            );
            distinct.entry(key).or_insert((version, file, mailer));
        }
    }
    let mut cases: Vec<_> = distinct.into_iter().collect();
    cases.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(cases.len() > 200, "{} kinds of settings", cases.len());
    cases
}

fn run(mailer: &EffectiveMailer, server: &Server, root: &std::path::Path, stripped: bool) -> Replay {
    let mut mailer = mailer.clone();
    mailer.port = server.port(&mailer).to_string();
    let options = Options {
        limit: Duration::from_secs(20),
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        roots: vec![CertificateDer::from_pem_file(root).expect("a root")],
        machine: "machine.example.org".to_owned(),
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if stripped {
        runtime.block_on(replay_stripped(&mailer, &options))
    } else {
        runtime.block_on(replay(&mailer, &options))
    }
}
