//! Settings from public reports and configurations, each with the start of Forgejo that was seen and the findings about it.

use smtp_config::ini::Ini;
use smtp_config::{
    AddressRules, Change, Fatal, Mailer, Preset, Transport, Version, check, edit, effective, explain,
    parse_address,
};

/// The kind of the settings, lines after `[mailer]` with `ENABLED`, words of the outcome, and codes of findings; `!` before a
/// code says that it is absent.
type Report = (&'static str, &'static str, &'static str, &'static [&'static str]);

const PLAIN: &str = "FROM = forge@example.org\n";
const ACCOUNT: &str = "FROM = forge@example.org\nUSER = u\nPASSWD = p\n";

/// Settings with an account and a password.
const WITH_ACCOUNT: &[Report] = &[
    ("old host with port 25", "HOST = mail:25", "speaks smtp (inferred", &["plaintext", "deprecated"]),
    ("plain on 587", "PROTOCOL = smtp\nHOST = mail:587", "speaks smtp to mail port 587", &["plaintext"]),
    (
        "certificate not verified",
        "HOST = mail:465\nSKIP_VERIFY = true",
        "speaks smtps",
        &["tls-not-verified"],
    ),
    (
        "TLS on the port of STARTTLS",
        "HOST = mail:587\nIS_TLS_ENABLED = true",
        "speaks smtps (by a deprecated key) to mail port 587",
        &["protocol-port", "!starttls-strippable"],
    ),
    (
        "STARTTLS on the port of TLS",
        "SMTP_ADDR = mail\nSMTP_PORT = 465\nIS_TLS_ENABLED = false",
        "speaks smtp+starttls (by a deprecated key) to mail port 465",
        &["protocol-port", "!protocol-inferred"],
    ),
    (
        "TLS asked for by the old key",
        "SMTP_ADDR = mail\nSMTP_PORT = 587\nIS_TLS_ENABLED = true",
        "speaks smtps (by",
        &["protocol-port", "!starttls-strippable"],
    ),
    (
        "the misspelt protocol of the old documentation",
        "SMTP_ADDR = mail\nPROTOCOL = smtp+startls",
        "speaks smtp+starttls",
        &["deprecated", "starttls-strippable", "!plaintext", "!protocol-unknown"],
    ),
    (
        "upper case",
        "SMTP_ADDR = mail\nPROTOCOL = SMTPS\nSMTP_PORT = 465",
        "does not know the value",
        &["protocol-unknown"],
    ),
    (
        "both passwords",
        "SMTP_ADDR = m\nPASSWD_URI = file:/x",
        "Cannot specify both PASSWD_URI and PASSWD",
        &["both-passwords"],
    ),
    (
        "both passwords, one by its alias",
        "SMTP_ADDR = m\nPASSWORD_URI = file:/x",
        "Cannot specify both",
        &["both-passwords"],
    ),
    (
        "an IPv6 address in brackets",
        "HOST = [::1]:25",
        "speaks smtp (inferred from the port or the host) to ::1 port 25",
        &["deprecated", "!plaintext"],
    ),
    ("a global IPv6 address in brackets", "HOST = [2001:db8::25]", "to [2001:db8::25] port 465", &["host"]),
    (
        "an IPv6 address without brackets",
        "HOST = 2001:db8::25",
        "does not start: Invalid mailer.HOST (2001:db8::25): address 2001:db8::25: too many colons",
        &["host"],
    ),
    ("three parts", "HOST = a:b:c", "too many colons in address", &["host"]),
    ("a URL", "HOST = smtp://mail:465", "too many colons in address", &["host"]),
    ("an empty host of a generated file", "HOST =\nSMTP_PORT = 25", "to 127.0.0.1 port 25", &["!plaintext"]),
    (
        "an empty switch",
        "SMTP_ADDR = m\nIS_TLS_ENABLED =",
        "speaks smtp+starttls (by a deprecated key)",
        &["starttls-strippable"],
    ),
    (
        "Mailjet on 2525 without a protocol",
        "SMTP_ADDR = in-v3.mailjet.com\nSMTP_PORT = 2525",
        "speaks smtps",
        &["protocol-port"],
    ),
    ("the wrong key of a host", "SMTP_HOST = mail", "speaks smtps", &["unknown-key", "host"]),
    (
        "a file by a name of containers",
        "SMTP_ADDR = m\nPASSWD_FILE = /run/x",
        "speaks smtps",
        &["unknown-key"],
    ),
    (
        "a variable of containers in the file",
        "SMTP_ADDR = m\nPASSWD__FILE = /run/x",
        "speaks smtps",
        &["unknown-key"],
    ),
    (
        "a misspelt switch",
        "SMTP_ADDR = m\nFORCE_TRUST_SERVER_CERTS = true",
        "speaks smtps",
        &["unknown-key", "!tls-not-verified"],
    ),
    ("keys in another case", "SMTP_ADDR = m\nUser = x\nPasswd = y", "speaks smtps", &["key-case"]),
    (
        "a client certificate without files",
        "SMTP_ADDR = m\nUSE_CLIENT_CERT = true",
        "speaks smtps",
        &["client-certificate"],
    ),
    (
        "Resend with an address",
        "SMTP_ADDR = smtp.resend.com\nSMTP_PORT = 465",
        "speaks smtps",
        &["provider-user"],
    ),
    (
        "SendGrid with a name",
        "SMTP_ADDR = smtp.sendgrid.net\nSMTP_PORT = 465",
        "speaks smtps",
        &["provider-user"],
    ),
    (
        "Office 365 with a password",
        "SMTP_ADDR = smtp.office365.com\nSMTP_PORT = 587",
        "speaks smtp+starttls",
        &["provider-login"],
    ),
    (
        "iCloud",
        "SMTP_ADDR = smtp.mail.me.com\nSMTP_PORT = 587\nPROTOCOL = smtp+starttls",
        "speaks smtp+starttls",
        &["starttls-only", "!starttls-strippable"],
    ),
    ("a host with its port", "SMTP_ADDR = mail:465\nPROTOCOL = smtps", "to mail:465 port 465", &["host"]),
    ("an address with https", "SMTP_ADDR = https://mail\nPROTOCOL = smtps", "to https://mail", &["host"]),
    ("no port", "SMTP_ADDR = mail\nPROTOCOL = smtps", "to mail port 465", &["!port"]),
    (
        "a port that is not one",
        "SMTP_ADDR = mail\nPROTOCOL = smtps\nSMTP_PORT = 99999",
        "port 99999",
        &["port"],
    ),
    ("an open quote", "SMTP_ADDR = m\nSUBJECT_PREFIX = \"[forge]", "speaks smtps", &["open-quote"]),
];

/// Settings without an account.
const WITHOUT: &[Report] = &[
    (
        "a comma in a name",
        "SMTP_ADDR = m\nFROM = Acme, Inc. <a@b>",
        "Invalid mailer.FROM (Acme, Inc. <a@b>): mail: missing '@' or angle-addr",
        &["from-specials"],
    ),
    (
        "a full stop and a comma",
        "SMTP_ADDR = m\nFROM = Doe, J. <a@b>",
        "does not start: Invalid mailer.FROM",
        &["from-specials"],
    ),
    (
        "brackets in a name",
        "SMTP_ADDR = m\nFROM = Forge [bot] <a@b>",
        "does not start: Invalid mailer.FROM",
        &["from-specials"],
    ),
    (
        "a semicolon in a name",
        "SMTP_ADDR = m\nFROM = `Forge; <a@b>`",
        "does not start: Invalid mailer.FROM",
        &["from-specials"],
    ),
    (
        "an at sign in a name",
        "SMTP_ADDR = m\nFROM = Forge @ Home <a@b>",
        "does not start: Invalid mailer.FROM",
        &["from-specials"],
    ),
    (
        "a backslash in a name",
        "SMTP_ADDR = m\nFROM = F\\ <a@b>",
        "does not start: Invalid mailer.FROM",
        &["from-specials"],
    ),
    (
        "a comment before a name",
        "SMTP_ADDR = m\nFROM = (x) F <a@b>",
        "does not start: Invalid mailer.FROM",
        &["from-specials"],
    ),
    (
        "an open comment in a name",
        "SMTP_ADDR = m\nFROM = F (open <a@b>",
        "misformatted parenthetical comment",
        &["from-specials"],
    ),
    (
        "a comment after a name",
        "SMTP_ADDR = m\nFROM = Forge (bot) <a@b>",
        "speaks smtps",
        &["!from-specials", "!from-refused"],
    ),
    (
        "a name without an address",
        "SMTP_ADDR = m\nFROM = Forge",
        "does not start: Invalid mailer.FROM (Forge)",
        &["from-refused"],
    ),
    (
        "an API key for the sender",
        "SMTP_ADDR = m\nFROM =\nUSER = apikey\nPASSWD = p",
        "does not start: Invalid mailer.FROM (apikey)",
        &["from-missing"],
    ),
    (
        "a URI without a scheme",
        "SMTP_ADDR = m\nPASSWORD_URI = /x",
        "Unsupported URI-Scheme PASSWD_URI",
        &["uri-form"],
    ),
    (
        "a URI with a host",
        "SMTP_ADDR = m\nUSER = u\nPASSWD_URI = file://host/x",
        "speaks smtps",
        &["uri-form"],
    ),
    (
        "a URI with a relative path",
        "SMTP_ADDR = m\nUSER = u\nPASSWD_URI = file:rel",
        "speaks smtps",
        &["uri-form"],
    ),
    ("a URI in upper case", "SMTP_ADDR = m\nUSER = u\nPASSWD_URI = FILE:/x", "speaks smtps", &["uri-form"]),
    ("an account without a password", "SMTP_ADDR = m\nUSER = u", "speaks smtps", &["password-missing"]),
    (
        "a password that names a key",
        "SMTP_ADDR = m\nUSERNAME = u\nPASSWORD = a%(USERNAME)sb",
        "speaks smtps",
        &["password-reference"],
    ),
    ("a hash in a password", "SMTP_ADDR = m\nUSER = u\nPASSWD = pa#ss", "speaks smtps", &["value-cut"]),
    ("a semicolon in a password", "SMTP_ADDR = m\nUSER = u\nPASSWD = pa;ss", "speaks smtps", &["value-cut"]),
    (
        "a placeholder in hashes",
        "SMTP_ADDR = m\nUSER = u\nPASSWD = #mailerpass#",
        "speaks smtps",
        &["value-cut"],
    ),
    ("three quotes", "SMTP_ADDR = m\nUSER = u\nPASSWD = \"\"\"pa#ss\"\"\"", "speaks smtps", &["!value-cut"]),
    (
        "a variable of a shell",
        "SMTP_ADDR = m\nUSER = u\nPASSWD = ${SMTP_PASSWORD}",
        "speaks smtps",
        &["variable"],
    ),
    (
        "a password given twice",
        "SMTP_ADDR = m\nUSER = u\nPASSWD = a\nPASSWD = b",
        "speaks smtps",
        &["duplicate"],
    ),
    (
        "sendmail with options in its path",
        "PROTOCOL = sendmail\nSENDMAIL_PATH = /usr/sbin/sendmail -t",
        "runs /usr/sbin/sendmail -t",
        &["sendmail-path"],
    ),
    (
        "an open quote for sendmail",
        "PROTOCOL = sendmail\nSENDMAIL_ARGS = 'open",
        "runs sendmail",
        &["sendmail-quote"],
    ),
    ("a number for a duration", "PROTOCOL = sendmail\nSENDMAIL_TIMEOUT = 60", "runs sendmail", &["duration"]),
    ("sendmail by the old key", "MAILER_TYPE = sendmail", "runs sendmail", &["deprecated"]),
    (
        "a sender by reference",
        "SMTP_ADDR = m\nFROM = %(USER)s\nUSERNAME = a@example.org\nPASSWD = p",
        "speaks smtps",
        &["!from-refused"],
    ),
    ("a section in another case", "SMTP_ADDR = m\n[Mailer]\nUSER = u", "speaks smtps", &["key-case"]),
    ("a section with blanks", "SMTP_ADDR = m\n[ mailer ]\nUSER = u", "speaks smtps", &["key-case"]),
    (
        "both passwords of incoming mail",
        "SMTP_ADDR = m\n[email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = f+%{token}@b\nPASSWD = p\nPASSWORD_URI = file:/x",
        "does not start: Cannot specify both PASSWORD_URI and PASSWORD",
        &["both-passwords"],
    ),
    (
        "an address of answers in brackets",
        "SMTP_ADDR = m\n[email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = <f+%{token}@b>\nHOST = i\nUSERNAME = u\nPASSWORD = p\nUSE_TLS = true",
        "speaks smtps",
        &["!reply-to"],
    ),
    (
        "incoming mail on the port of STARTTLS",
        "SMTP_ADDR = m\n[email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = f+%{token}@b\nHOST = i:143\nPORT = 143\nUSE_TLS = true",
        "speaks smtps",
        &["host", "incoming-tls-port", "incoming-account"],
    ),
    (
        "a size with a unit",
        "SMTP_ADDR = m\n[email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = f+%{token}@b\nHOST = i\nMAXIMUM_MESSAGE_SIZE = 10MB",
        "speaks smtps",
        &["number"],
    ),
];

#[test]
fn each_report_has_its_outcome_and_its_findings() {
    let cases =
        WITH_ACCOUNT.iter().map(|case| (ACCOUNT, case)).chain(WITHOUT.iter().map(|case| (PLAIN, case)));
    for (base, (kind, lines, outcome, codes)) in cases {
        // A key of the report replaces the one of the base.
        let keys: Vec<&str> =
            lines.lines().filter_map(|line| line.split_once(" =")).map(|(key, _)| key).collect();
        let base: String = base
            .lines()
            .filter(|line| !keys.iter().any(|key| line.starts_with(&format!("{key} ="))))
            .map(|line| format!("{line}\n"))
            .collect();
        let ini = Ini::parse(&format!("[mailer]\nENABLED = true\n{base}{lines}\n")).expect(kind);
        let told = explain(&ini, Version(15)).outcome.to_string();
        assert!(told.contains(outcome), "{kind}: {told}");
        let findings = check(&ini, Version(15));
        let found: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
        for code in *codes {
            let (code, expected) = code.strip_prefix('!').map_or((*code, true), |code| (code, false));
            assert_eq!(found.contains(&code), expected, "{kind}: {code}: {findings:#?}");
        }
        // Off, nothing stops the start.
        let off = ini.text().replace("ENABLED = true", "ENABLED = false");
        let off = Ini::parse(&off).expect(kind);
        assert!(explain(&off, Version(15)).outcome.to_string().starts_with("sends no mail"), "{kind}");
        assert!(
            check(&off, Version(15)).iter().all(|found| !found.problem.contains("does not start")),
            "{kind}"
        );
    }
}

#[test]
fn senders_are_accepted_by_the_go_of_each_release() {
    use AddressRules::{Go1_22, Go1_23, Go1_26, Go1_27};
    for (text, accepted) in [
        ("a@[192.0.2.1]", &[Go1_23, Go1_26, Go1_27][..]),
        ("F <a@[IPv6:2001:db8::1]>", &[Go1_27]),
        ("F <a@[2001:db8::1]>", &[Go1_23, Go1_26]),
        ("F (c:d) <a@b>", AddressRules::ALL),
        ("F (x\") <a@b>", AddressRules::ALL),
        ("Acme, Inc. <a@b>", &[]),
        ("F\\ <a@b>", &[]),
    ] {
        for rules in AddressRules::ALL {
            assert_eq!(parse_address(text, *rules).is_ok(), accepted.contains(rules), "{text} {rules:?}");
        }
    }
    let named = parse_address("Forge (bot) <a@b>", Go1_22).expect("accepted");
    assert_eq!((named.name.as_str(), named.address.as_str()), ("Forge", "a@b"));
}

#[test]
fn headers_are_split_as_go_ini_splits_them() {
    for (written, values) in [
        ("one\\, two, three", &["one, two", "three"][..]),
        ("a,", &["a"]),
        ("", &[]),
        ("a\\\\b, c\\d", &["a\\b", "c\\d"]),
        (",a", &["", "a"]),
    ] {
        let text =
            format!("[mailer]\nENABLED = true\nFROM = a@b\n[mailer.override_header]\nX-A = {written}\n");
        let mailer = effective(&Ini::parse(&text).expect("read"), Version(15)).expect("starts").expect("on");
        assert_eq!(
            mailer.headers,
            [("X-A".to_owned(), values.iter().map(|value| (*value).to_owned()).collect())]
        );
    }
}

#[test]
fn the_preset_of_a_provider_holds_on_each_of_its_ports() {
    for (port, protocol) in
        [(25, "smtp+starttls"), (2525, "smtp+starttls"), (587, "smtp+starttls"), (465, "smtps")]
    {
        let mut mailer = Mailer::server("forge@example.org", "in-v3.mailjet.com", port);
        mailer.user = Some("key".to_owned());
        let Transport::Network(server) = &mut mailer.transport else { unreachable!() };
        server.protocol = Preset::of_host("in-v3.mailjet.com").and_then(|preset| preset.protocol_at(port));
        let changes: Vec<Change> = mailer.settings().iter().map(smtp_config::Setting::to_change).collect();
        let ini = Ini::parse(&edit("", &changes).expect("written")).expect("read");
        let told = explain(&ini, Version(15)).outcome.to_string();
        assert!(told.starts_with(&format!("speaks {protocol} to in-v3.mailjet.com port {port}")), "{told}");
    }
}

#[test]
fn a_url_with_credentials_is_shown_nowhere() {
    let texts = [
        "[mailer]\nENABLED = true\nFROM = a@b\nSMTP_ADDR = smtps://forge:hunter2@mail\n",
        "[mailer]\nENABLED = true\nFROM = a@b\nPROTOCOL = smtps\nSMTP_ADDR = smtps://forge:hunter2@mail\n",
        "[mailer]\nENABLED = true\nFROM = a@b\nHOST = smtp://forge:hunter2@mail:465\n",
    ];
    for text in texts {
        let ini = Ini::parse(text).expect("read");
        let explained = explain(&ini, Version(15));
        let shown = format!("{} {:?} {:?}", explained.outcome, explained.keys, check(&ini, Version(15)));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let fatal = effective(&Ini::parse(texts[2]).expect("read"), Version(15)).expect_err("it ends");
    assert!(matches!(fatal, Fatal::Host { .. }) && fatal.to_string().contains("(not shown)"), "{fatal}");
}

/// Before URIs were read, a password that names another key is expanded once the sender has its default.
#[test]
fn a_password_that_names_the_sender_is_expanded_when_it_is_mapped() {
    let text = "[mailer]\nENABLED = true\nSMTP_ADDR = m\nFROM =\nUSER = F <a@b>\nPASSWD = %(FROM)s\n";
    let ini = Ini::parse(text).expect("read");
    for (version, given) in [(8, true), (12, true), (15, false)] {
        let mailer = effective(&ini, Version(version)).expect("starts").expect("on");
        assert_eq!(matches!(mailer.password, smtp_config::Password::Written(_)), given, "{version}");
    }
}
