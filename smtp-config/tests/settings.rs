//! Findings, routes and edits.

use proptest::prelude::*;
use secrecy::SecretString;
use smtp_config::ini::{Ini, Unrepresentable, quote};
use smtp_config::{Impossible, Mailer, Protocol, Route, check, choose, edit, has_unquoted_specials};

fn codes(text: &str, forgejo: u32) -> Vec<&'static str> {
    let ini = Ini::parse(&format!("[mailer]\n{text}")).expect("it is read");
    check(&ini, forgejo).iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn each_trap_has_its_code() {
    let none: [&str; 0] = [];
    let good = "ENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = mail.example.org\nSMTP_PORT = 465\nFROM = Forge <a@b>\nUSER = u\n";
    assert_eq!(codes(good, 13), none);
    assert_eq!(codes(&good.replace("smtps", "SMTPS"), 13), ["protocol-unknown"]);
    assert_eq!(codes(&good.replace("smtps", "starttls"), 13), ["protocol-unknown"]);
    assert_eq!(codes(&good.replace("smtps", "smtp+starttls"), 13), ["starttls-strippable"]);
    assert_eq!(codes(&good.replace("smtps", "smtp"), 13), ["plaintext"]);
    assert_eq!(codes(&good.replace("PROTOCOL = smtps\n", ""), 13), ["protocol-inferred"]);
    assert_eq!(codes(&good.replace("true", "enabled"), 13), ["enabled-not-boolean"]);
    assert_eq!(codes(&good.replace("Forge <", "Forge: x <"), 13), ["from-refused"]);
    assert_eq!(codes(&good.replace("Forge <", "Acme, Inc. <"), 13), ["from-specials"]);
    assert_eq!(codes(&good.replace("FROM = Forge <a@b>\n", ""), 13), ["from-missing"]);
    assert_eq!(codes(&format!("{good}HOST = x:25\n"), 13), ["deprecated"]);
    assert_eq!(codes(&format!("{good}PASSWD = a%(USER)sb\n"), 13), ["password-reference"]);
    assert_eq!(codes(&format!("{good}PASSWD = `\"abc\"`\n"), 13), ["resave-changes"]);
    assert_eq!(codes(&format!("{good}PASSWD = `\"\"\"abc`\n"), 13), ["resave-unreadable"]);
    assert_eq!(codes(&format!("{good}FORCE_TRUST_SERVER_CERT = true\n"), 13), ["tls-not-verified"]);
    assert_eq!(codes(&format!("{good}PASSWD_URI = file:/run/secret\n"), 11), ["uri-version"]);
    assert_eq!(codes(&format!("{good}PASSWD_URI = file:/run/a%20b\n"), 13), ["uri-form"]);
    assert!(!has_unquoted_specials("\"Acme, Inc.\" <a@b>"));
}

#[test]
fn three_lines_point_it_elsewhere_and_the_protocol_follows() {
    let mut mailer = Mailer::new("Forge <forge@example.org>");
    assert_eq!((mailer.host.as_str(), mailer.protocol()), ("in-v3.mailjet.com", (Protocol::Smtps, true)));
    mailer.host = "mail.example.org".to_owned();
    mailer.port = 587;
    assert_eq!(mailer.protocol(), (Protocol::StartTls, true));
    mailer.password = Some(SecretString::from("hunter2"));
    assert!(!format!("{mailer:?}").contains("hunter2"));
}

#[test]
fn the_route_keeps_the_password_off_app_ini_where_it_can() {
    let plain = SecretString::from("pa#ss");
    assert_eq!(choose(13, &plain, Some("/run/secret")), Ok(Route::Uri("file:/run/secret".to_owned())));
    assert_eq!(choose(11, &plain, Some("/run/secret")), Ok(Route::AppIni));
    assert_eq!(choose(13, &plain, Some("/run/a b")), Ok(Route::AppIni));
    let quotes = SecretString::from("\"abc\"");
    let why = (Impossible::Version, Impossible::Value(Unrepresentable::Resave));
    assert_eq!(choose(11, &quotes, Some("/run/secret")), Err(why));
    let reference = Impossible::Value(Unrepresentable::Reference);
    let never = SecretString::from("%(a)s");
    assert_eq!(choose(13, &never, Some("/run/secret")), Err((reference, reference)));
}

#[test]
fn an_edit_leaves_the_rest() {
    let text = "; mine\r\nA=1\r\n[mailer]\r\n  FROM = old@b # why\r\nX='y'\r\nPASSWD = pa#ss\r\n[z]\r\nK=`v`";
    let changes = [("FROM", Some("new@b")), ("USER", Some("u")), ("PASSWD", None)];
    let edited = edit(text, &changes).expect("it is edited");
    let expected =
        "; mine\r\nA=1\r\n[mailer]\r\n  # why\r\n  FROM = new@b\r\nX='y'\r\nUSER = u\r\n[z]\r\nK=`v`";
    assert_eq!(edited, expected);
}

#[test]
fn no_older_password_stays() {
    let text = "[mailer]\nPASSWD = one\nX = y\nPASSWD = two # three\n";
    let edited = edit(text, &[("PASSWD", Some("four"))]);
    assert_eq!(edited.as_deref(), Ok("[mailer]\nX = y\nPASSWD = four\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_are_read_as_meant_and_are_idempotent(
        before in "(A = [a-z]{0,3}\n|# c\n|\n){0,4}",
        inside in "(K[0-9] = [a-z#`'\" ]{0,4}x\n|; c\n|USER = [a-z#]{0,3}\n){0,5}",
        after in "(\\[z\\]\nK = v\n)?",
        value in "[a-z#;`'\"%()= é]{0,8}",
    ) {
        let text = format!("{before}[mailer]\n{inside}{after}");
        if let Ok(edited) = edit(&text, &[("PASSWD", Some(&value))]) {
            let ini = Ini::parse(&edited).expect("it is read");
            prop_assert_eq!(ini.value("mailer", "PASSWD"), Some(value.clone()));
            let again = edit(&edited, &[("PASSWD", Some(&value))]);
            prop_assert_eq!(again.as_deref(), Ok(edited.as_str()));
            let line = format!("PASSWD = {}\n", quote(&value).expect("it was"));
            prop_assert_eq!(edited.replacen(&line, "", 1), text);
        }
    }
}
