//! The model held against the real go-ini: what is read, what is written, what is read then, and again.

use secrecy::ExposeSecret;
use smtp_config::ini::{Ini, quote};
use smtp_config::{
    AddressRules, Authentication, Fatal, Helo, Origin, Password, Spoken, Version, authentication, effective,
    effective_incoming, environment, parse_address, secret_path, split_host_port, with_quoted_name,
};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The number of generated cases: a tenth unless SMTP_CONFIG_ORACLE=full asks for all.
fn generated_count() -> u64 {
    if is_full() { 110_000 } else { 11_000 }
}

fn is_full() -> bool {
    std::env::var("SMTP_CONFIG_ORACLE").is_ok_and(|value| value == "full")
}

/// The release of Go that the tests of go-ini use.
const GO: &str = "1.24.11";

/// Releases of Go with the rules of net/mail that each has.
fn releases() -> Vec<(&'static str, AddressRules)> {
    let mut all = vec![
        ("1.22.10", AddressRules::Go1_22),
        (GO, AddressRules::Go1_23),
        ("1.26.6", AddressRules::Go1_26),
        ("1.27.3", AddressRules::Go1_27),
    ];
    if is_full() {
        all.push(("1.23.9", AddressRules::Go1_23));
    }
    all
}

#[test]
fn generated_values_are_read_and_written_as_go_ini_does() {
    let files: Vec<String> = (0..generated_count()).map(generated).collect();
    compare(&files);
}

#[test]
fn lines_written_by_hand_are_read_and_written_as_go_ini_does() {
    let lines = hand_written();
    assert!(lines.len() >= 200, "{} lines are written by hand", lines.len());
    let with_end = lines.iter().map(|line| format!("A = first\n[mailer]\nUSER = me\n{line}\nLAST = 1\n"));
    let at_the_end = lines.iter().map(|line| format!("[mailer]\n{line}"));
    let crlf = lines.iter().map(|line| format!("[mailer]\r\n# a comment\r\n{line}\r\nLAST = 1\r\n"));
    let files: Vec<String> = with_end.chain(at_the_end).chain(crlf).collect();
    compare(&files);
}

#[test]
fn what_is_quoted_is_read_by_go_ini_after_two_re_saves() {
    let values: Vec<String> = (0..generated_count() / 2).map(|seed| Random(seed).word(PIECES, 6)).collect();
    let mut kept = Vec::new();
    for value in &values {
        if let Ok(text) = quote(value) {
            kept.push((value, format!("[mailer]\nPASSWD = {text}\n")));
        }
    }
    assert!(kept.len() > 2_000, "{} values could be quoted", kept.len());
    let requests: Vec<(u8, &str)> = kept.iter().map(|(_, file)| (b'I', file.as_str())).collect();
    for ((value, file), answer) in kept.iter().zip(ask(&requests)) {
        let read: Vec<&String> = answer.iter().filter(|word| word == value).collect();
        // Raw and expanded, three times.
        assert!(value.is_empty() || read.len() >= 6, "{value:?} as {file:?}: {answer:?}");
        assert!(!answer.contains(&"refused".to_owned()), "{value:?} as {file:?}: {answer:?}");
    }
}

#[test]
fn what_a_variable_sets_is_read_as_the_model_says() {
    let values: Vec<String> =
        (0..generated_count() / 2).map(|seed| Random(seed ^ 0x5eed).word(PIECES, 6)).collect();
    let requests: Vec<(u8, &str)> = values.iter().map(|value| (b'E', value.as_str())).collect();
    let mut survive = 0;
    for (value, theirs) in values.iter().zip(ask(&requests)) {
        let mut ini = Ini::parse("").expect("nothing");
        for (key, value) in [("USER", "me"), ("PASSWD", value), ("LAST", "1")] {
            ini.set("mailer", key, value);
        }
        assert_eq!(model(&ini.write()), theirs, "{value:?}");
        if environment::survives(value).is_ok() {
            survive += 1;
            // Raw and expanded, three times.
            let read = theirs.iter().filter(|word| *word == value).count();
            assert!(value.is_empty() || read >= 6, "{value:?}: {theirs:?}");
        }
    }
    assert!(survive > 2_000, "{survive} values survive");
}

#[test]
fn plain_is_refused_where_go_refuses_it() {
    let settings =
        ["PROTOCOL = smtp\nSMTP_ADDR = mail.example.org", "PROTOCOL = smtp+unix\nSMTP_ADDR = /run/smtp"];
    for settings in settings {
        let text = format!("[mailer]\nENABLED = true\nFROM = a@b\nUSER = u\n{settings}\n");
        let ini = Ini::parse(&text).expect("it is read");
        let mailer = effective(&ini, Version(13)).expect("it starts").expect("mail is on");
        for tls in [false, true] {
            let request = format!("{}{}", if tls { 't' } else { 'f' }, mailer.server_name());
            let theirs = ask(&[(b'P', &request)]);
            let ours = authentication(&mailer, tls, Some("PLAIN LOGIN"));
            assert_eq!(
                theirs[0][0] == "refused",
                ours == Authentication::PlainRefused,
                "{request}: {ours:?}"
            );
        }
    }
    // A name that is not this machine's is never sent PLAIN without TLS; Forgejo says localhost whatever the name.
    assert_eq!(ask(&[(b'P', "fmail.example.org")])[0][0], "refused");
    assert_eq!(ask(&[(b'P', "flocalhost")])[0][0], "sent");
}

#[test]
fn addresses_are_parsed_as_by_each_go() {
    let mut texts: Vec<String> = ADDRESSES.iter().map(|text| (*text).to_owned()).collect();
    texts.extend((0..generated_count()).map(|seed| Random(seed).word(ADDRESS_PIECES, 9)));
    for (go, rules) in releases() {
        let requests: Vec<(u8, &str)> = texts.iter().map(|text| (b'A', text.as_str())).collect();
        let mut taken = 0;
        let mut wrong = Vec::new();
        for (text, theirs) in texts.iter().zip(ask_go(go, &requests)) {
            taken += usize::from(theirs[0] == "address");
            let ours = match parse_address(text, rules) {
                Ok(parsed) => vec!["address".to_owned(), parsed.name, parsed.address],
                Err(why) => vec!["refused".to_owned(), why.to_string()],
            };
            if comparable(&ours) != comparable(&theirs) {
                wrong.push(format!("{text:?}: Go {go} {theirs:?}, ours {ours:?}"));
            }
        }
        let shown = wrong.len().min(10);
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..shown].join("\n"));
        assert!(taken > 200, "{taken} are taken");
    }
}

/// What `%q` escapes outside of ASCII is a table of Unicode, which the model leaves out; releases of Go differ in blanks
/// around encoded words that decode to nothing.
fn comparable(words: &[String]) -> Vec<String> {
    let plain = |text: &String| {
        let text: String = text.chars().filter(char::is_ascii).collect();
        text.replace("\\u007f", "\\x7f").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    words.iter().map(plain).collect()
}

#[test]
fn a_refused_name_is_quoted_so_that_every_go_accepts_it() {
    let names = [
        "Acme, Inc.",
        "Doe, J.",
        "Forge [bot]",
        "Forge; x",
        "Forge @ Home",
        "F\\",
        "(x) F",
        "F (open",
        "F \"x",
    ];
    for name in names {
        let text = format!("{name} <forge@example.org>");
        let quoted = with_quoted_name(&text).unwrap_or_else(|| panic!("{text} is quoted"));
        for (go, _) in releases() {
            let answer = ask_go(go, &[(b'A', &quoted)]);
            assert_eq!(answer[0], ["address", name, "forge@example.org"], "{quoted} with Go {go}");
        }
    }
}

#[test]
fn hosts_and_files_are_read_as_by_go() {
    let pieces =
        ["[", "]", ":", ":", "a", "mail.example.org", "25", "::1", "2001:db8::25", "/", "smtp://", "%"];
    let hosts: Vec<String> = (0..generated_count() / 2).map(|seed| Random(seed).word(&pieces, 5)).collect();
    let requests: Vec<(u8, &str)> = hosts.iter().map(|text| (b'H', text.as_str())).collect();
    for (text, theirs) in hosts.iter().zip(ask(&requests)) {
        let ours = match split_host_port(text) {
            Ok((host, port)) => vec!["split".to_owned(), host.to_owned(), port.to_owned()],
            Err(why) if text.is_empty() => vec!["refused".to_owned(), why.to_string()],
            Err(why) => vec!["refused".to_owned(), format!("address {text}: {why}")],
        };
        assert_eq!(ours, theirs, "{text:?}");
    }
    let pieces = [
        "file:", "file:", "FILE:", "https:", "//", "/", "/run/x", "host", "a b", "%20", "%", "%zz", "?", "#",
        "é", "rel", "x:", "[", "\\",
    ];
    let uris: Vec<String> = (0..generated_count() / 2).map(|seed| Random(seed).word(&pieces, 5)).collect();
    let requests: Vec<(u8, &str)> = uris.iter().map(|text| (b'U', text.as_str())).collect();
    let mut wrong = Vec::new();
    for (text, theirs) in uris.iter().zip(ask(&requests)) {
        let ours = match secret_path(text) {
            Ok(path) => vec!["file".to_owned(), path],
            Err(why) => vec!["fatal".to_owned(), format!("{why} PASSWD_URI")],
        };
        // A host with escapes or brackets is left to Go; either way it is not a path that anybody would write.
        let authority = text.split_once("//").is_some_and(|(_, rest)| {
            rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains(['%', '[', ':', ' ', '\\']))
        });
        if ours != theirs && !authority {
            wrong.push(format!("{text:?}: Go {theirs:?}, ours {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
}

#[test]
fn sections_are_loaded_as_by_each_forgejo() {
    let count = if is_full() { generated_count() } else { generated_count() / 8 };
    for version in 7..=17 {
        let rules = Version(version).address_rules();
        let go = releases().into_iter().find(|(_, held)| *held == rules).expect("a Go with these rules").0;
        let files: Vec<String> = (0..count).map(|seed| section(seed * 31 + u64::from(version))).collect();
        let numbered: Vec<String> =
            files.iter().map(|file| format!("{}{file}", char::from_u32(version).expect("small"))).collect();
        for what in [b'L', b'M'] {
            let requests: Vec<(u8, &str)> = numbered.iter().map(|text| (what, text.as_str())).collect();
            let mut wrong = Vec::new();
            let mut on = 0;
            for (file, theirs) in files.iter().zip(ask_go(go, &requests)) {
                let ours = match Ini::parse(file) {
                    Err(_) => vec!["refused".to_owned()],
                    Ok(ini) if what == b'L' => mailer_words(&ini, Version(version)),
                    Ok(ini) => incoming_words(&ini, Version(version)),
                };
                on += usize::from(theirs[0] == "on");
                if comparable(&ours) != comparable(&theirs) {
                    wrong.push(format!("{file}\n  Forgejo {version} {theirs:?}\n  ours       {ours:?}"));
                }
            }
            let shown = wrong.len().min(4);
            assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong[..shown].join("\n"));
            assert!(on > files.len() / 20, "{on} of {count} are on");
        }
    }
}

fn mailer_words(ini: &Ini, version: Version) -> Vec<String> {
    let mailer = match effective(ini, version) {
        Err(fatal) => return fatal_words(&fatal),
        Ok(None) => return vec!["off".to_owned()],
        Ok(Some(mailer)) => mailer,
    };
    let protocol = match mailer.spoken {
        _ if mailer.origin == Origin::Unknown => ini.value("mailer", "PROTOCOL").unwrap_or_default(),
        Spoken::Dummy => "dummy".to_owned(),
        Spoken::Network(protocol) => protocol.to_string(),
        Spoken::Sendmail => "sendmail".to_owned(),
        Spoken::Unix => "smtp+unix".to_owned(),
    };
    let (password, file) = password_words(&mailer.password);
    // The name for EHLO is kept by Forgejo although it is not sent without ENABLE_HELO.
    let name = ini.value("mailer", "HELO_HOSTNAME").unwrap_or_default();
    let sender =
        mailer.sender.unwrap_or(smtp_config::Address { name: String::new(), address: String::new() });
    let mut words = vec![
        "on".to_owned(),
        protocol,
        mailer.host,
        mailer.port,
        mailer.user,
        password,
        file,
        mailer.from,
        sender.name,
        sender.address,
        mailer.envelope_from,
        (mailer.helo != Helo::Localhost).to_string(),
        name,
        mailer.trusts_anybody.to_string(),
        mailer.client_certificate.to_string(),
        mailer.subject_prefix,
        mailer.plain_text.to_string(),
        mailer.sendmail.0,
    ];
    for (name, values) in mailer.headers {
        words.push(name);
        words.extend(values);
    }
    words
}

fn incoming_words(ini: &Ini, version: Version) -> Vec<String> {
    let incoming = match effective_incoming(ini, version) {
        Err(fatal) => return fatal_words(&fatal),
        Ok(None) => return vec!["off".to_owned()],
        Ok(Some(incoming)) => incoming,
    };
    let (password, file) = password_words(&incoming.password);
    vec![
        "on".to_owned(),
        incoming.reply_to,
        incoming.host,
        incoming.port.to_string(),
        incoming.tls.to_string(),
        incoming.trusts_anybody.to_string(),
        incoming.username,
        password,
        file,
        incoming.mailbox,
        incoming.delete_handled.to_string(),
    ]
}

fn fatal_words(fatal: &Fatal) -> Vec<String> {
    vec!["fatal".to_owned(), fatal.to_string()]
}

fn password_words(password: &Password) -> (String, String) {
    match password {
        Password::None => (String::new(), String::new()),
        Password::Written(secret) => (secret.expose_secret().to_owned(), String::new()),
        Password::File(path) => (String::new(), path.clone()),
    }
}

/// Sections as people write them, with deprecated keys, aliases, references and faults.
fn section(seed: u64) -> String {
    let mut random = Random(seed);
    let mut out = String::from("APP_NAME = Forge\n[mailer]\n");
    if random.below(10) > 0 {
        out.push_str("ENABLED = true\n");
    }
    for (key, values) in KEYS {
        if random.below(4) == 0 {
            out.push_str(&format!("{key} = {}\n", values[random.below(values.len())]));
        }
    }
    if random.below(3) == 0 {
        out.push_str("[mailer.override_header]\nX-A = one, two\\, three, \nX-B =\nX-C = a\\\\b\\c\n");
    }
    if random.below(8) == 0 {
        out.push_str("[email]\nHOST = parent.example.org\n");
    }
    out.push_str("[email.incoming]\n");
    if random.below(8) > 0 {
        out.push_str("ENABLED = true\nREPLY_TO_ADDRESS = forge+%{token}@example.org\n");
    }
    for (key, values) in INCOMING_KEYS {
        if random.below(5) == 0 {
            out.push_str(&format!("{key} = {}\n", values[random.below(values.len())]));
        }
    }
    out
}

const SENDERS: &[&str] = &[
    "a@b",
    "a@b",
    "Forge <a@b>",
    "Forge <a@b>",
    "Acme, Inc. <a@b>",
    "`\"Acme, Inc.\" <a@b>`",
    "a@[192.0.2.1]",
    "a@[IPv6:::1]",
    "a@[::1]",
    "Forge (bot) <a@b>",
    "<>",
    "",
    "key",
    "%(USER)s",
    "%(NAME)s <a@b>",
    "a..b@c",
    "=?utf-8?q?F=C3=B6?= <a@b>",
];
const FLAGS: &[&str] = &["true", "false", "", "yes", "maybe", "1", "TRUE", "tRue"];
const SECRETS: &[&str] = &["p", "pa#ss", "`pa#ss`", "", "a%(USER)sb", "%(PASSWD)s", "%(nope)s", "\"quoted\""];
const URIS: &[&str] = &[
    "file:/run/x",
    "file:///run/x",
    "file://host/x",
    "file:rel",
    "FILE:/x",
    "/x",
    "https://x/y",
    "",
    "x",
    "file:/a%20b",
];
const HOSTS: &[&str] = &[
    "mail.example.org",
    "mail.example.org:25",
    "mail:587",
    "[::1]:25",
    "[::1]",
    "[2001:db8::25]",
    "2001:db8::25",
    "a:b:c",
    "smtp://mail:465",
    "",
    ":25",
    "/run/smtp",
    "localhost",
];
const KEYS: &[(&str, &[&str])] = &[
    (
        "PROTOCOL",
        &[
            "smtp",
            "smtps",
            "smtp+starttls",
            "smtp+startls",
            "smtp+unix",
            "sendmail",
            "dummy",
            "SMTPS",
            "starttls",
            "",
        ],
    ),
    ("SMTP_ADDR", HOSTS),
    ("SMTP_PORT", &["25", "465", "587", "2525", "025", "", "x"]),
    ("HOST", HOSTS),
    ("MAILER_TYPE", &["sendmail", "smtp", "dummy", ""]),
    ("IS_TLS_ENABLED", FLAGS),
    ("DISABLE_HELO", FLAGS),
    ("ENABLE_HELO", FLAGS),
    ("HELO_HOSTNAME", &["git.example.org", ""]),
    ("SKIP_VERIFY", FLAGS),
    ("FORCE_TRUST_SERVER_CERT", FLAGS),
    ("USE_CERTIFICATE", FLAGS),
    ("USE_CLIENT_CERT", FLAGS),
    ("ENABLE_HTML_ALTERNATIVE", FLAGS),
    ("SEND_AS_PLAIN_TEXT", FLAGS),
    ("FROM", SENDERS),
    ("FROM", SENDERS),
    ("ENVELOPE_FROM", SENDERS),
    ("USER", &["u", "forge@example.org", "key", "", "%(USER)s"]),
    ("USERNAME", &["alias@example.org", "u", ""]),
    ("PASSWD", SECRETS),
    ("PASSWORD", SECRETS),
    ("PASSWD_URI", URIS),
    ("PASSWORD_URI", URIS),
    ("SUBJECT_PREFIX", &["[a]", "x#y", ""]),
    ("SENDMAIL_PATH", &["/usr/sbin/sendmail", ""]),
    ("SENDMAIL_TIMEOUT", &["60", "5m", "1h30m", "", "x", "0", "1.5s", "-1s", ".5s", "5 m"]),
];
const INCOMING_KEYS: &[(&str, &[&str])] = &[
    (
        "REPLY_TO_ADDRESS",
        &[
            "forge+%{token}@example.org",
            "<forge+%{token}@example.org>",
            "F <a%{token}@b>",
            "a@b",
            "%{token}%{token}@b",
            "a@%{token}",
            "a..%{token}@b",
        ],
    ),
    ("HOST", HOSTS),
    ("PORT", &["993", "143", "", "0", "x", "0x3E1", "1_0", "-1", "99999", "010"]),
    ("USE_TLS", FLAGS),
    ("SKIP_TLS_VERIFY", FLAGS),
    ("USERNAME", &["in", ""]),
    ("USER", &["other", ""]),
    ("PASSWORD", SECRETS),
    ("PASSWD", SECRETS),
    ("PASSWORD_URI", URIS),
    ("PASSWD_URI", URIS),
    ("MAILBOX", &["INBOX", "Forge", ""]),
    ("DELETE_HANDLED_MESSAGE", FLAGS),
];

const ADDRESSES: &[&str] = &[
    "",
    "a@b",
    "a@b.c",
    "<a@b>",
    "Forge <a@b>",
    "Forge: x <a@b>",
    "a..b@c",
    "a@[1.2.3.4]",
    "Acme, Inc. <a@b>",
    "\"Acme, Inc.\" <a@b>",
    "a@b (Forge)",
    "a@b, c@d",
    "g: a@b;",
    "g: a@b, c@d;",
    "g:;",
    "=?utf-8?q?F=C3=A9?= <a@b>",
    "=?koi8-r?q?F?= <a@b>",
    "x =?koi8-r?q?F?= <a@b>",
    "a@b (=?koi8-r?q?F?=)",
    "\"\"@b",
    "\"a b\"@c",
    "a @b",
    "a@ b",
    ".a@b",
    "a@b.",
    "a",
    "<a@b",
    "a@b>",
    "é@ü",
    "a@b (x",
    "a@b ((x))",
    "a@b (\\)) ",
    "   ",
    "<>",
    "0123456789abcdef",
];

const ADDRESS_PIECES: &[&str] = &[
    "a",
    "b.c",
    "@",
    "@",
    "a@b",
    "<",
    ">",
    "<a@b>",
    "<a@b>",
    " ",
    " ",
    "\t",
    "\"",
    "\"q\"",
    "\\",
    "(",
    ")",
    "(c)",
    ",",
    ";",
    ":",
    ".",
    "é",
    "=?utf-8?q?x?=",
    "=?koi8-r?q?x?=",
    "=?koi8-r?b?eA==?=",
    "=?koi8-r?b?e?=",
    "[",
    "]",
    "\u{7f}",
    "\n",
    "日",
    "a@[192.0.2.1]",
    "[::1]",
    "[IPv6:::1]",
    "@[",
    "=?utf-8?b?eA==?=",
];

fn compare(files: &[String]) {
    let requests: Vec<(u8, &str)> = files.iter().map(|file| (b'I', file.as_str())).collect();
    let mut wrong = Vec::new();
    for (file, theirs) in files.iter().zip(ask(&requests)) {
        let ours = model(file);
        if ours != theirs {
            wrong.push(format!("{file:?}\n  go-ini {theirs:?}\n  ours   {ours:?}"));
        }
    }
    let shown = wrong.len().min(10);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), files.len(), wrong[..shown].join("\n"));
    println!("{} files agree", files.len());
}

fn model(file: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut text = file.to_owned();
    for _ in 0..3 {
        let Ok(ini) = Ini::parse(&text) else {
            words.push("refused".to_owned());
            return words;
        };
        words.push("read".to_owned());
        for section in ini.sections() {
            for key in section.keys() {
                let value = ini.value(section.name(), key.name()).expect("it is there");
                words.extend([section.name().into(), key.name().into(), key.raw().into(), value]);
            }
        }
        text = ini.write();
        words.extend(["written".to_owned(), text.clone()]);
    }
    words
}

fn ask(requests: &[(u8, &str)]) -> Vec<Vec<String>> {
    ask_go(GO, requests)
}

/// Asks the Go program beside this file, built by a release of Go.
fn ask_go(go: &str, requests: &[(u8, &str)]) -> Vec<Vec<String>> {
    let mut child = Command::new(program(go))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut bytes = Vec::new();
    for (what, text) in requests {
        bytes.extend(u32::try_from(text.len() + 1).expect("short").to_be_bytes());
        bytes.push(*what);
        bytes.extend(text.as_bytes());
    }
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let mut output = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("an answer");
    writer.join().expect("no panic").expect("all is written");
    assert!(child.wait().expect("an end").success());
    let mut rest = output.as_slice();
    let answers: Vec<Vec<String>> = requests
        .iter()
        .map(|_| {
            let count = number(&mut rest);
            (0..count)
                .map(|_| {
                    let size = number(&mut rest);
                    let (word, after) = rest.split_at(size);
                    rest = after;
                    String::from_utf8_lossy(word).into_owned()
                })
                .collect()
        })
        .collect();
    assert!(rest.is_empty());
    answers
}

fn number(rest: &mut &[u8]) -> usize {
    let (head, after) = rest.split_first_chunk::<4>().expect("a number");
    *rest = after;
    u32::from_be_bytes(*head) as usize
}

fn program(go: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tools = folder.parent().expect("the target folder").join("tools");
    let root = tools.join(format!("go-{go}/go"));
    assert!(root.join("bin/go").exists(), "Go {go} is installed: cargo xtask tools");
    let source = include_str!("oracle/main.go");
    // A program is built once for each text of its source.
    let digest =
        source.bytes().fold(0_u64, |held, byte| held.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    let program = folder.join(format!("go-ini-{go}-{digest:016x}"));
    if !program.exists() {
        let made = folder.join(format!("go-ini-{go}-{}", std::process::id()));
        let built = Command::new(root.join("bin/go"))
            .args(["build", "-o"])
            .arg(&made)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/main.go"))
            .env("GOROOT", &root)
            .env("GOTOOLCHAIN", "local")
            .env("GO111MODULE", "off")
            .env("GOPATH", tools.join("go-ini/usr/share/gocode"))
            .env("GOCACHE", folder.join("go-cache"))
            .env("GOFLAGS", "")
            .status()
            .expect("Go is installed: cargo xtask tools");
        assert!(built.success(), "the oracle is built; it needs go-ini: cargo xtask tools");
        std::fs::rename(&made, &program).expect("it is put into its place");
    }
    program
}

/// A small generator, so that a failure names its file and every run has the same files.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("small")
    }

    fn word(&mut self, pieces: &[&str], longest: usize) -> String {
        (0..self.below(longest + 1)).map(|_| pieces[self.below(pieces.len())]).collect()
    }
}

const PIECES: &[&str] = &[
    "\"", "\"", "'", "'", "`", "`", "\"\"\"", "#", ";", " ", "\t", "\\", "%", "%(USER)s", "%(", ")s", "=",
    ":", "a", "b", "pass", "[", "]", "é", "\u{a0}", "\u{3000}", "日本", "\u{b}", "$", "-", "0",
];

fn generated(seed: u64) -> String {
    let mut random = Random(seed);
    let value = random.word(PIECES, 7);
    match seed % 8 {
        0..=3 => format!("[mailer]\nUSER = me\nPASSWD = {value}\nLAST = 1\n"),
        4 => format!("[mailer]\nPASSWD = `{value}`\nLAST = 1\n"),
        5 => format!("[mailer]\nPASSWD = \"\"\"{value}\"\"\"\nLAST = 1\n"),
        6 => format!("{value}\n[a]\nUSER = x\n[a.b]\nK = {value}"),
        _ => {
            let mut lines = PIECES.to_vec();
            lines.extend(["\n", "\n", "\nK = ", "\r\n", "\n[s]\n", "\n# c\n"]);
            format!("[mailer]\nPASSWD = {}\nLAST = 1\n", random.word(&lines, 14))
        }
    }
}

/// Keys as people write them, each with values as people have them.
fn hand_written() -> Vec<String> {
    let values = [
        "",
        "plain",
        "two words",
        "  spaced  ",
        "pa#ss",
        "pa;ss",
        "#pass",
        ";pass",
        "pass#",
        "pa ss # comment",
        "pass ; comment",
        "\"quoted\"",
        "'quoted'",
        "\"pa#ss\"",
        "'pa;ss'",
        "\"a\"b\"",
        "'a'b'",
        "\"'both'\"",
        "'\"both\"'",
        "\"",
        "'",
        "\"\"",
        "''",
        "\"\"\"",
        "''''",
        "\"\"\"\"\"\"",
        "\"\"\"a\"\"\"",
        "\"\"\"a",
        "a\"\"\"",
        "`a`",
        "``",
        "`",
        "`a",
        "a`",
        "`a`b`",
        "`a` # comment",
        "`a` b",
        "`#;`",
        "`\"a\"`",
        "`'a'`",
        "`%(USER)s`",
        "%(USER)s",
        "%(NOBODY)s",
        "%(A)s",
        "%(PASSWD)s",
        "x%(USER)sy",
        "%(USER)s%(USER)s",
        "%(USER)",
        "%()s",
        "%%(USER)s",
        "%(USER)s#x",
        "100%",
        "a\\",
        "a\\\\",
        "\\#a",
        "\\;a",
        "a\\\"b",
        "=",
        "==a",
        ":a",
        "a=b",
        "a:b",
        "[a]",
        "\tx\t",
        "é",
        "\u{a0}x\u{a0}",
        "pass word\u{3000}",
        "true",
        "$HOME",
        "${HOME}",
        "%HOME%",
        "\"\"\"a\nb\"\"\"",
        "`a\nb`",
        "`a\nb` # comment",
        "\"\"\"a\nb\"\"\" ; comment",
        "\"a\nb = c",
        "a \\\nb = c",
    ];
    let keys = ["PASSWD = ", "PASSWD=", "`PASSWD` : "];
    let mut lines: Vec<String> =
        keys.iter().flat_map(|key| values.iter().map(move |value| format!("{key}{value}"))).collect();
    let others = [
        "",
        " ",
        "# comment",
        "; comment",
        "#",
        "  # indented",
        "PASSWD",
        "= x",
        ": x",
        "[",
        "[]",
        "[ ]",
        "[a",
        "[a]]",
        "[a] # comment",
        "[a] x",
        "[a.b]\nK = %(USER)s",
        "[mailer]\nUSER = other",
        "[mailer.sub]\nK = %(USER)s",
        "[DEFAULT]\nK = 1",
        "[default]\nK = 1",
        "USER = other",
        "- = a\n- = b",
        "\"a b\" = c",
        "\"a = c",
        "\"\"\"a b\"\"\" = c",
        "`a=b` = c",
        "`a`b` = c",
        "a`b = c",
        "a\"b = c",
        "\"a\" b = c",
        "a # b = c",
        " K = x",
        "# one\n# two\nK = x # three",
        "#one\n\n;two\n[s] ;three\n#four\nK = `x\ny` #five",
        "K = 1\nK = 2\nK = 3",
        "K : a = b",
        "K\n= x",
        "# only a comment at the end",
        "K = %(L)s\nL = %(M)s\nM = deep",
        "K = %(L)s\nL = %(K)s",
        "K = %(K)s",
        "\u{feff}K = x",
        "K = a\tb",
    ];
    lines.extend(others.iter().map(|line| (*line).to_owned()));
    lines
}
