//! What Forgejo reads by version, what it decides while it speaks, and how replies are read.

use proptest::prelude::*;
use secrecy::ExposeSecret;
use smtp_config::ini::Ini;
use smtp_config::{
    Authentication, EffectiveMailer, EffectiveTransport, Encryption, Exposure, Fatal, Helo, Mechanism,
    Origin, Password, Protocol, Version, authentication, date, effective, mechanism, reply, smtp_data,
};

fn read(text: &str, version: u32) -> Result<Option<EffectiveMailer>, Fatal> {
    effective(
        &Ini::parse(&format!("[mailer]\nENABLED = true\n{text}")).expect("it is read"),
        Version(version),
    )
}

fn mailer(text: &str, version: u32) -> EffectiveMailer {
    read(text, version).expect("it starts").expect("mail is on")
}

#[test]
fn the_protocol_is_what_forgejo_infers() {
    use Protocol::{Smtp, Smtps, StartTls};
    let cases = [
        ("SMTP_PORT = 25", Smtp, Origin::Inferred),
        ("SMTP_PORT = 465", Smtps, Origin::Inferred),
        ("SMTP_PORT = 587", StartTls, Origin::Inferred),
        ("SMTP_PORT = 2525", Smtps, Origin::Inferred),
        ("SMTP_ADDR = x", Smtps, Origin::Inferred),
        ("PROTOCOL = SMTPS", Smtp, Origin::Unknown),
        ("PROTOCOL = starttls", Smtp, Origin::Unknown),
        ("PROTOCOL = smtp+startls", StartTls, Origin::Written),
        ("IS_TLS_ENABLED = true", Smtps, Origin::Deprecated),
        ("IS_TLS_ENABLED = false", StartTls, Origin::Deprecated),
    ];
    for (line, protocol, origin) in cases {
        let found = mailer(&format!("FROM = a@b\n{line}\n"), 13);
        assert_eq!(
            (found.transport, found.origin),
            (EffectiveTransport::Network(protocol), origin),
            "{line}"
        );
    }
    assert_eq!(mailer("FROM = a@b\nSMTP_ADDR = /run/smtp\n", 13).transport, EffectiveTransport::Unix);
    assert_eq!(mailer("FROM = a@b\nMAILER_TYPE = sendmail\n", 13).transport, EffectiveTransport::Sendmail);
    assert_eq!(mailer("FROM = a@b\nPROTOCOL = dummy\n", 13).transport, EffectiveTransport::Dummy);
    let ports = [("smtp", "25"), ("smtps", "465"), ("smtp+starttls", "587")];
    for (protocol, port) in ports {
        assert_eq!(mailer(&format!("FROM = a@b\nPROTOCOL = {protocol}\n"), 13).port, port);
    }
    let old = mailer("FROM = a@b\nHOST = mail.example.org:2525\n", 13);
    assert_eq!((old.host.as_str(), old.port.as_str()), ("mail.example.org", "2525"));
    let trust = mailer("FROM = a@b\nSKIP_VERIFY = true\nDISABLE_HELO = true\n", 13);
    assert!(trust.accepts_any_certificate && trust.helo == Helo::Localhost);
}

#[test]
fn versions_read_differently_and_end_where_forgejo_ends() {
    let aliases = "FROM = a@b\nUSERNAME = u\nPASSWORD = p\n";
    assert_eq!(mailer(aliases, 7).user, "");
    assert_eq!(mailer(aliases, 8).user, "u");
    assert!(
        matches!(mailer(aliases, 8).password, Password::Written(secret) if secret.expose_secret() == "p")
    );
    let uri = "FROM = a@b\nPASSWD_URI = file:/run/smtp\n";
    assert!(matches!(mailer(uri, 12).password, Password::None));
    assert!(matches!(mailer(uri, 13).password, Password::File(path) if path == "/run/smtp"));
    assert!(matches!(read(&format!("{uri}PASSWD = p\n"), 13), Err(Fatal::BothPasswords { .. })));
    assert!(matches!(read("FROM = a@b\nPASSWD_URI = https://x\n", 13), Err(Fatal::Uri { .. })));
    assert!(matches!(read("USER = 0123456789abcdef\n", 13), Err(Fatal::From { by_user: true, .. })));
    assert!(matches!(read("FROM = a@b\nENVELOPE_FROM = a..b@c\n", 13), Err(Fatal::EnvelopeFrom { .. })));
    assert_eq!(mailer("FROM = a@b\nENVELOPE_FROM = <>\n", 13).envelope_from, "");
    assert_eq!(mailer("FROM = X <a@b>\n", 13).envelope_from, "a@b");
    let headers = "FROM = a@b\n[mailer.override_header]\nX = one, two\n";
    assert!(mailer(headers, 7).headers.is_empty());
    assert_eq!(mailer(headers, 8).headers, [("X".to_owned(), vec!["one".to_owned(), "two".to_owned()])]);
    let off = Ini::parse("[mailer]\nENABLED = enabled\nFROM = a..b@c\n").expect("it is read");
    assert!(effective(&off, Version(13)).is_ok_and(|found| found.is_none()), "no boolean is off");
}

#[test]
fn the_mechanism_is_found_anywhere_in_the_text() {
    assert_eq!(mechanism("LOGIN PLAIN CRAM-MD5"), Some(Mechanism::CramMd5));
    assert_eq!(mechanism("LOGIN PLAIN"), Some(Mechanism::Plain));
    assert_eq!(mechanism("NTLM LOGIN"), Some(Mechanism::Login));
    assert_eq!(mechanism("NTLM GSSAPI"), Some(Mechanism::Ntlm));
    assert_eq!(mechanism("PLAIN-CLIENTTOKEN"), Some(Mechanism::Plain));
    assert_eq!(mechanism("plain xoauth2"), None);
    let user = mailer("FROM = a@b\nUSER = u\nPROTOCOL = smtp+starttls\n", 13);
    let leak = Authentication::Start(Mechanism::Plain, Exposure::Password);
    assert_eq!(authentication(&user, Encryption::None, Some("PLAIN")), leak);
    let hash = Authentication::Start(Mechanism::CramMd5, Exposure::Hash);
    assert_eq!(authentication(&user, Encryption::None, Some("CRAM-MD5")), hash);
    assert_eq!(authentication(&user, Encryption::Tls, None), Authentication::NotOffered);
    assert_eq!(authentication(&user, Encryption::Tls, Some("XOAUTH2")), Authentication::NoneKnown);
    let nobody = mailer("FROM = a@b\nPROTOCOL = smtp\n", 13);
    assert_eq!(authentication(&nobody, Encryption::None, Some("PLAIN")), Authentication::NoUser);
}

#[test]
fn replies_are_read_line_by_line() {
    let whole = b"250-mail.example.org\r\n250-STARTTLS\r\n250-auth LOGIN\r\n250 AUTH PLAIN\r\nrest";
    let (found, length) = reply(whole).expect("a reply").expect("whole");
    assert_eq!((found.code, length), (250, whole.len() - 4));
    assert_eq!((found.extension("STARTTLS"), found.extension("AUTH")), (Some(""), Some("PLAIN")));
    assert_eq!(found.extension("mail.example.org"), None);
    for cut in 0..whole.len() - 5 {
        assert_eq!(reply(&whole[..cut]), Ok(None), "{cut}");
    }
    for wrong in ["hello\r\n", "25", "250-a\r\n251 b\r\n", "999 x\r\n", "250x\r\n", "\u{16}\u{3}\u{1}"] {
        let outcome = reply(wrong.as_bytes());
        assert_eq!(outcome.is_err(), wrong != "25", "{wrong:?}: {outcome:?}");
    }
    assert!(reply(&[b"250-".to_vec(), vec![b'a'; 5000]].concat()).is_err());
    assert!(reply("250-a\r\n".repeat(300).as_bytes()).is_err());
}

#[test]
fn dates_and_dots() {
    assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
    assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
    assert_eq!(date(1_795_437_296), "Mon, 23 Nov 2026 12:34:56 +0000");
    assert_eq!(date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 +0000");
    assert_eq!(smtp_data("a\r\n.b\r\n"), "a\r\n..b\r\n.\r\n");
}

#[test]
fn a_message_has_the_form_of_its_version() {
    let render = |version: u32, from: &str, more: &str| {
        let mailer = mailer(&format!("FROM = {from}\n{more}"), version);
        let message = smtp_config::Message {
            to: "a@example.org",
            subject: "s",
            text: "t",
            html: None,
            date: "d",
            milliseconds: 1,
            domain: "x",
        };
        message.render(&mailer)
    };
    assert!(render(16, "F <f@b>", "").contains("\r\nTo: a@example.org\r\n"));
    assert!(render(17, "F <f@b>", "").contains("\r\nTo: <a@example.org>\r\n"));
    // What stands in parentheses is a comment to Go since 1.22.1.
    assert!(render(15, "Forge (bot) <f@b>", "").contains("\r\nFrom: Forge <f@b>\r\n"));
    assert!(render(15, "`\"Acme, Inc.\" <f@b>`", "").contains("\r\nFrom: \"Acme, Inc.\" <f@b>\r\n"));
    let headers = render(15, "f@b", "[mailer.override_header]\nX-A = one\\, two, three, \nX-B =\n");
    assert!(
        headers.contains("\r\nX-A: one, two, three\r\n") && headers.contains("\r\nX-B:\r\n"),
        "{headers}"
    );
}

proptest! {
    #[test]
    fn no_bytes_stop_the_reader_of_replies(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some((found, length))) = reply(&bytes) {
            prop_assert!(length <= bytes.len() && !found.lines.is_empty());
            prop_assert!(!found.text().contains(char::is_control));
        }
    }

    #[test]
    fn no_settings_stop_what_reads_them(
        lines in proptest::collection::vec(
            "(PROTOCOL|SMTP_ADDR|SMTP_PORT|FROM|USER|PASSWD|PASSWD_URI|HOST|ENVELOPE_FROM|SKIP_VERIFY) = [ -~é]{0,12}\n",
            0..8,
        ),
        version in 6u32..18,
    ) {
        let text = format!("[mailer]\nENABLED = true\n{}", lines.concat());
        if let Ok(ini) = Ini::parse(&text) {
            let shown = format!("{:?}", effective(&ini, Version(version)));
            let password = ini.value("mailer", "PASSWD").filter(|password| password.len() > 8);
            let elsewhere = |password: &str| lines.iter().any(|line| !line.starts_with("PASSWD =") && line.contains(password));
            if let Some(password) = password.filter(|password| !elsewhere(password)) {
                prop_assert!(!shown.contains(&password), "{}", shown);
            }
        }
    }
}
