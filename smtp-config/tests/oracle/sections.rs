//! Generated sections of app.ini, the same in every run.

/// The number of generated cases: a tenth unless SMTP_CONFIG_ORACLE=full asks for all.
pub(crate) fn generated_count() -> u64 {
    if is_full() { 110_000 } else { 11_000 }
}

pub(crate) fn is_full() -> bool {
    std::env::var("SMTP_CONFIG_ORACLE").is_ok_and(|value| value == "full")
}

/// A small generator, so that a failure names its file and every run has the same files.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("small")
    }

}

/// Sections as people write them, with deprecated keys, aliases, references and faults.
pub(crate) fn section(seed: u64) -> String {
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
