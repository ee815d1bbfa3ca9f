//! The model held against the real go-ini: what is read, what is written, what is read then, and again.

use secrecy::ExposeSecret;
use smtp_config::ini::{Ini, quote};
use smtp_config::{
    Authentication, Code, EffectiveTransport, Encryption, Fatal, Finding, Helo, Origin, Password, Severity,
    Version, authentication, check, effective, effective_incoming, environment, explain, parse_address,
    secret_path, split_host_port, with_quoted_name,
};

#[path = "oracle/go.rs"]
mod go;
#[path = "oracle/sections.rs"]
mod sections;

use go::{GO, ask_go, releases};
use sections::{Random, generated_count, is_full, section};

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
    let values: Vec<String> =
        (0..generated_count() / 2).map(|seed| word(&mut Random(seed), PIECES, 6)).collect();
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
        (0..generated_count() / 2).map(|seed| word(&mut Random(seed ^ 0x5eed), PIECES, 6)).collect();
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
        for (encryption, letter) in [(Encryption::None, 'f'), (Encryption::Tls, 't')] {
            let request = format!("{letter}{}", mailer.server_name());
            let theirs = ask(&[(b'P', &request)]);
            let ours = authentication(&mailer, encryption, Some("PLAIN LOGIN"));
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
    texts.extend((0..generated_count()).map(|seed| word(&mut Random(seed), ADDRESS_PIECES, 9)));
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
    let hosts: Vec<String> =
        (0..generated_count() / 2).map(|seed| word(&mut Random(seed), &pieces, 5)).collect();
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
        "file:", "file:", "FILE:", "https:", "//", "/", "/run/x", "host", "a b", "%20", "%", "%zz", "%e9",
        "@", "u:p@", "?", "#", "é", "rel", "x:", "[", "\\",
    ];
    let uris: Vec<String> =
        (0..generated_count() / 2).map(|seed| word(&mut Random(seed), &pieces, 5)).collect();
    let requests: Vec<(u8, &str)> = uris.iter().map(|text| (b'U', text.as_str())).collect();
    let mut wrong = Vec::new();
    for (text, theirs) in uris.iter().zip(ask(&requests)) {
        let ours = match secret_path(text) {
            Ok(path) => vec!["file".to_owned(), path],
            Err(why) => vec!["fatal".to_owned(), format!("{why} PASSWD_URI")],
        };
        // A host with brackets or several colons is left to Go; either way it is not a path that anybody would write.
        let authority = text.split_once("//").is_some_and(|(_, rest)| {
            rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains(['[', ':']))
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
    for version in 7..=18 {
        let rules = Version(version).address_rules();
        let go = releases().into_iter().find(|(_, held)| *held == rules).expect("a Go with these rules").0;
        let files: Vec<String> = (0..count).map(|seed| section(seed * 31 + u64::from(version))).collect();
        let numbered: Vec<String> =
            files.iter().map(|file| format!("{}{file}", char::from_u32(version).expect("small"))).collect();
        let mut answers = Vec::new();
        for what in [b'L', b'M'] {
            let requests: Vec<(u8, &str)> = numbered.iter().map(|text| (what, text.as_str())).collect();
            let mut wrong = Vec::new();
            let theirs = ask_go(go, &requests);
            let mut on = 0;
            for (file, theirs) in files.iter().zip(&theirs) {
                let ours = match Ini::parse(file) {
                    Err(_) => vec!["refused".to_owned()],
                    Ok(ini) if what == b'L' => mailer_words(&ini, Version(version)),
                    Ok(ini) => incoming_words(&ini, Version(version)),
                };
                on += usize::from(theirs[0] == "on");
                let theirs = if what == b'L' { with_known_protocol(theirs) } else { theirs.clone() };
                if comparable(&ours) != comparable(&theirs) {
                    wrong.push(format!("{file}\n  Forgejo {version} {theirs:?}\n  ours       {ours:?}"));
                }
            }
            let shown = wrong.len().min(4);
            assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong[..shown].join("\n"));
            assert!(on > files.len() / 20, "{on} of {count} are on");
            answers.push(theirs);
        }
        let wrong: Vec<String> = files
            .iter()
            .zip(answers[0].iter().zip(&answers[1]))
            .filter_map(|(file, (mailer, incoming))| contradiction(file, Version(version), mailer, incoming))
            .collect();
        let shown = wrong.len().min(4);
        assert!(wrong.is_empty(), "{} of {count} contradict:\n{}", wrong.len(), wrong[..shown].join("\n"));
    }
}

/// Returns what the findings or the explanation say that the loader of Forgejo does not do, for the mailer and for incoming
/// mail.
fn contradiction(file: &str, version: Version, mailer: &[String], incoming: &[String]) -> Option<String> {
    let ini = Ini::parse(file).ok()?;
    let told =
        |problem: String| Some(format!("{file}\n  Forgejo {version} {mailer:?} {incoming:?}\n  {problem}"));
    let fatal = |answer: &[String]| (answer[0] == "fatal").then(|| answer[1].clone());
    let fatals: Vec<String> = [mailer, incoming].into_iter().filter_map(fatal).collect();
    // Each start that ends is an error in Forgejo's words, and nothing else is said to end it.
    let findings = check(&ini, version);
    let prefix = "Forgejo does not start: ";
    let stops: Vec<&Finding> =
        findings.iter().filter(|found| found.problem.contains("does not start")).collect();
    for words in &fatals {
        let expected = comparable(&[format!("{prefix}{words}")]);
        if !stops.iter().any(|found| comparable(std::slice::from_ref(&found.problem)) == expected) {
            return told(format!("check says {stops:?}"));
        }
    }
    if fatals.is_empty() && !stops.is_empty() || stops.iter().any(|found| found.severity != Severity::Error) {
        return told(format!("check says {stops:?}"));
    }
    let explained = explain(&ini, version);
    let outcome = explained.outcome.to_string();
    let expected = match fatals.first() {
        Some(words) => format!("does not start: {words}: "),
        None if mailer[0] == "off" => "sends no mail".to_owned(),
        None => match (mailer[1].as_str(), &mailer[2], &mailer[3]) {
            ("dummy", ..) => "writes messages to its log only".to_owned(),
            ("sendmail", ..) => format!("runs {}", mailer[17]),
            ("smtp+unix", host, _) => format!("speaks SMTP over the socket {host}"),
            (protocol, host, port) => {
                let known = ["smtp", "smtps", "smtp+starttls"].contains(&protocol);
                let (protocol, origin) = if known {
                    (protocol, outcome_origin(&outcome))
                } else {
                    ("smtp", outcome_origin(&outcome))
                };
                format!("speaks {protocol}{origin} to {host} port {port}")
            }
        },
    };
    let one = |text: &String| comparable(std::slice::from_ref(text)).join("");
    if !one(&outcome).starts_with(one(&expected).trim_end()) {
        return told(format!("explain says {outcome:?}, not {expected:?}"));
    }
    if fatals.is_empty() && mailer[0] == "on" {
        // The values that are implied are those that were loaded.
        let held = [
            ("SMTP_ADDR", 2),
            ("SMTP_PORT", 3),
            ("USER", 4),
            ("FROM", 7),
            ("ENVELOPE_FROM", 10),
            ("FORCE_TRUST_SERVER_CERT", 13),
        ];
        for row in explained.keys.iter().filter(|row| row.section == "mailer") {
            let Some((_, at)) = held.iter().find(|(key, _)| *key == row.key) else { continue };
            let implied = !row.from.starts_with("line") || row.from.contains("empty");
            if implied && row.value.as_ref() != Some(&mailer[*at]) {
                return told(format!("explain says {row:?}"));
            }
        }
        // A password that anybody can read is flagged, and one that nobody can is not.
        let exposed = mailer[1] == "smtp" && !mailer[4].is_empty();
        let loopback = ["localhost", "::1", "127.0.0.1"].contains(&mailer[2].as_str());
        let flagged = findings.iter().any(|found| found.code == Code::Plaintext);
        if flagged != (exposed && !loopback) {
            return told(format!("check says {findings:?}"));
        }
        let trusting =
            mailer[13] == "true" && !["dummy", "sendmail", "smtp+unix"].contains(&mailer[1].as_str());
        if findings.iter().any(|found| found.code == Code::TlsNotVerified) != trusting {
            return told(format!("check says {findings:?}"));
        }
    }
    None
}

/// Returns the note in brackets about where the protocol comes from.
fn outcome_origin(outcome: &str) -> &str {
    match (outcome.find(" ("), outcome.find(") ")) {
        (Some(begin), Some(end)) if begin < end => &outcome[begin..=end],
        _ => "",
    }
}

const UNKNOWN: &str = "a protocol that Forgejo does not know";

/// Every protocol that Forgejo does not know is spoken as plain SMTP, whatever it is.
fn with_known_protocol(words: &[String]) -> Vec<String> {
    let mut words = words.to_owned();
    let known = ["dummy", "sendmail", "smtp", "smtps", "smtp+starttls", "smtp+unix"];
    if words[0] == "on" && words.len() > 12 && !known.contains(&words[1].as_str()) {
        UNKNOWN.clone_into(&mut words[1]);
    }
    words
}

fn mailer_words(ini: &Ini, version: Version) -> Vec<String> {
    let mailer = match effective(ini, version) {
        Err(fatal) => return fatal_words(&fatal),
        Ok(None) => return vec!["off".to_owned()],
        Ok(Some(mailer)) => mailer,
    };
    let protocol = match mailer.transport {
        _ if mailer.origin == Origin::Unknown => UNKNOWN.to_owned(),
        EffectiveTransport::Dummy => "dummy".to_owned(),
        EffectiveTransport::Network(protocol) => protocol.to_string(),
        EffectiveTransport::Sendmail => "sendmail".to_owned(),
        EffectiveTransport::Unix => "smtp+unix".to_owned(),
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
        mailer.accepts_any_certificate.to_string(),
        mailer.client_certificate.to_string(),
        mailer.subject_prefix,
        mailer.plain_text.to_string(),
        mailer.sendmail.path,
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
        incoming.accepts_any_certificate.to_string(),
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

fn word(random: &mut Random, pieces: &[&str], longest: usize) -> String {
    (0..random.below(longest + 1)).map(|_| pieces[random.below(pieces.len())]).collect()
}

const PIECES: &[&str] = &[
    "\"", "\"", "'", "'", "`", "`", "\"\"\"", "#", ";", " ", "\t", "\\", "%", "%(USER)s", "%(", ")s", "=",
    ":", "a", "b", "pass", "[", "]", "é", "\u{a0}", "\u{3000}", "日本", "\u{b}", "$", "-", "0",
];

fn generated(seed: u64) -> String {
    let mut random = Random(seed);
    let value = word(&mut random, PIECES, 7);
    match seed % 8 {
        0..=3 => format!("[mailer]\nUSER = me\nPASSWD = {value}\nLAST = 1\n"),
        4 => format!("[mailer]\nPASSWD = `{value}`\nLAST = 1\n"),
        5 => format!("[mailer]\nPASSWD = \"\"\"{value}\"\"\"\nLAST = 1\n"),
        6 => format!("{value}\n[a]\nUSER = x\n[a.b]\nK = {value}"),
        _ => {
            let mut lines = PIECES.to_vec();
            lines.extend(["\n", "\n", "\nK = ", "\r\n", "\n[s]\n", "\n# c\n"]);
            format!("[mailer]\nPASSWD = {}\nLAST = 1\n", word(&mut random, &lines, 14))
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
