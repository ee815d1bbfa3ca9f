//! The model held against the real go-ini: what is read, what is written, what is read then, and again.

use smtp_config::ini::{Ini, quote};
use smtp_config::{Authentication, Version, authentication, effective, environment, mailbox};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const GENERATED: u64 = 110_000;

#[test]
fn generated_values_are_read_and_written_as_go_ini_does() {
    let files: Vec<String> = (0..GENERATED).map(generated).collect();
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
    let values: Vec<String> = (0..GENERATED / 4).map(|seed| Random(seed).word(PIECES, 6)).collect();
    let mut kept = Vec::new();
    for value in &values {
        if let Ok(text) = quote(value) {
            kept.push((value, format!("[mailer]\nPASSWD = {text}\n")));
        }
    }
    assert!(kept.len() > 5_000, "{} values could be quoted", kept.len());
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
    let values: Vec<String> = (0..GENERATED / 4).map(|seed| Random(seed ^ 0x5eed).word(PIECES, 6)).collect();
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
    assert!(survive > 5_000, "{survive} values survive");
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
fn addresses_are_taken_and_refused_as_by_go() {
    let mut texts: Vec<String> = ADDRESSES.iter().map(|text| (*text).to_owned()).collect();
    texts.extend((0..GENERATED).map(|seed| Random(seed).word(ADDRESS_PIECES, 9)));
    let requests: Vec<(u8, &str)> = texts.iter().map(|text| (b'A', text.as_str())).collect();
    let mut taken = 0;
    let mut wrong = Vec::new();
    for (text, answer) in texts.iter().zip(ask(&requests)) {
        let theirs = (answer[0] == "address").then(|| answer[2].clone());
        taken += usize::from(theirs.is_some());
        let ours = mailbox(text);
        if ours != theirs {
            wrong.push(format!("{text:?}: Go {theirs:?}, ours {ours:?}"));
        }
    }
    let shown = wrong.len().min(10);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..shown].join("\n"));
    assert!(taken > 1_000, "{taken} are taken");
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

/// Asks the Go program beside this file; it is built when it is not, or when it has changed.
fn ask(requests: &[(u8, &str)]) -> Vec<Vec<String>> {
    let mut child = Command::new(program())
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

fn program() -> &'static Path {
    static PROGRAM: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join("go-ini");
        let built = Command::new("/usr/bin/go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/main.go"))
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", folder.join("go-cache"))
            .env("GOFLAGS", "")
            .status()
            .expect("golang-go is installed: cargo xtask tools");
        assert!(built.success(), "the oracle is built; it needs golang-gopkg-ini.v1-dev: cargo xtask tools");
        program
    })
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
