//! Settings that people reported, each with what Forgejo makes of it and the finding; and the agreement of the findings with
//! the loader over generated files.

use proptest::prelude::*;
use smtp_config::ini::Ini;
use smtp_config::{
    Authentication, Change, Code, EffectiveTransport, Encryption, Exposure, Finding, MigrationError,
    Protocol, Severity, StartTlsSupport, Version, after_ehlo, authentication, check, edit, effective,
    effective_incoming, migrate,
};

const VERSION: Version = Version(15);

fn parse(text: &str) -> Ini {
    Ini::parse(text).expect("it is read")
}

/// A mailer that is on, with an account, a password and a sender.
fn mailer(lines: &str) -> Ini {
    parse(&format!("[mailer]\nENABLED = true\nFROM = a@example.org\nUSER = u\nPASSWD = p\n{lines}"))
}

fn found(ini: &Ini) -> Vec<Finding> {
    check(ini, VERSION)
}

fn codes(ini: &Ini) -> Vec<&'static str> {
    found(ini).iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn deprecated_and_aliased_keys_are_judged_like_others() {
    use Protocol::{Smtp, Smtps, StartTls};
    for (lines, protocol, expected) in [
        ("HOST = mail:25\n", Smtp, &["plaintext", "deprecated"][..]),
        ("PROTOCOL = smtp\nHOST = mail:587\n", Smtp, &["plaintext"]),
        ("PROTOCOL = smtps\nSMTP_ADDR = m\nSKIP_VERIFY = true\n", Smtps, &["tls-not-verified", "deprecated"]),
        ("HOST = mail:587\nIS_TLS_ENABLED = true\n", Smtps, &["protocol-port"]),
        ("SMTP_ADDR = m\nSMTP_PORT = 465\nIS_TLS_ENABLED = false\n", StartTls, &["protocol-port"]),
        ("SMTP_ADDR = m\nSMTP_PORT = 587\nIS_TLS_ENABLED = true\n", Smtps, &["protocol-port"]),
        ("SMTP_ADDR = m\nSMTP_PORT = 587\nPROTOCOL = smtp+startls\n", StartTls, &["starttls-strippable"]),
        ("HOST = [::1]:25\n", Smtp, &["deprecated"]),
        ("IS_TLS_ENABLED =\nSMTP_ADDR = m\n", StartTls, &["starttls-strippable"]),
        ("SMTP_ADDR = in-v3.mailjet.com\nSMTP_PORT = 2525\n", Smtps, &["protocol-port"]),
    ] {
        let ini = mailer(lines);
        let loaded = effective(&ini, VERSION).expect("it starts").expect("mail is on");
        assert_eq!(loaded.transport, EffectiveTransport::Network(protocol), "{lines}");
        for code in expected {
            assert!(codes(&ini).contains(code), "{lines} has {:?}, not {code}", codes(&ini));
        }
    }
    let unknown = codes(&mailer("SMTP_ADDR = m\nSMTP_PORT = 587\nPROTOCOL = smtp+startls\n"));
    assert!(!unknown.contains(&"protocol-unknown"), "{unknown:?}");
    let ini = mailer("HOST = [::1]:25\n");
    let loaded = effective(&ini, VERSION).expect("it starts").expect("mail is on");
    assert_eq!((loaded.host.as_str(), loaded.port.as_str()), ("::1", "25"));
}

#[test]
fn every_setting_that_stops_the_start_is_an_error_in_its_words() {
    for (lines, words) in [
        ("PASSWD = p\nPASSWORD_URI = file:/x\n", "Cannot specify both PASSWD_URI and PASSWD"),
        ("PASSWORD = p\nPASSWD_URI = file:/x\n", "Cannot specify both PASSWD_URI and PASSWD"),
        ("PASSWD = p\nPASSWD_URI = file:/x\n", "Cannot specify both PASSWD_URI and PASSWD"),
        ("PASSWORD_URI = /x\n", "Unsupported URI-Scheme PASSWD_URI"),
        (
            "HOST = 2001:db8::25\n",
            "Invalid mailer.HOST (2001:db8::25): address 2001:db8::25: too many colons in address",
        ),
        ("HOST = a:b:c\n", "too many colons in address"),
        ("HOST = smtp://mail:465\n", "too many colons in address"),
        (
            "FROM = Acme, Inc. <a@b>\n",
            "Invalid mailer.FROM (Acme, Inc. <a@b>): mail: missing '@' or angle-addr",
        ),
        ("FROM = Doe, J. <a@b>\n", "mail: "),
        ("FROM = Forge [bot] <a@b>\n", "mail: "),
        ("FROM = `Forge; <a@b>`\n", "mail: "),
        ("FROM = Forge @ Home <a@b>\n", "mail: "),
        ("FROM = (x) F <a@b>\n", "mail: "),
        ("FROM = F (open <a@b>\n", "mail: misformatted parenthetical comment"),
        ("ENVELOPE_FROM = a..b@c\n", "Invalid mailer.ENVELOPE_FROM (a..b@c): mail: "),
    ] {
        let text = format!(
            "[mailer]\nENABLED = true\nFROM = a@example.org\nSMTP_ADDR = m\nPROTOCOL = smtps\n{lines}"
        );
        let text = if lines.starts_with("HOST") { text.replace("SMTP_ADDR = m\n", "") } else { text };
        let ini = parse(&text);
        let fatal = effective(&ini, VERSION).expect_err(lines);
        assert!(fatal.to_string().contains(words), "{lines}: {fatal}");
        let findings = found(&ini);
        let stops = format!("Forgejo does not start: {fatal}");
        assert!(
            findings.iter().any(|found| found.problem == stops && found.severity == Severity::Error),
            "{lines}: {findings:#?}"
        );
        // Off, it stops nothing.
        let off = parse(&text.replace("ENABLED = true", "ENABLED = false"));
        assert!(matches!(effective(&off, VERSION), Ok(None)), "{lines}");
        assert!(found(&off).iter().all(|found| !found.problem.contains("does not start")), "{lines}");
    }
    let incoming = |lines: &str| {
        parse(&format!(
            "[email.incoming]\nENABLED = true\nHOST = i\nUSERNAME = u\nUSE_TLS = true\nREPLY_TO_ADDRESS = f+%{{token}}@b\n{lines}"
        ))
    };
    for lines in [
        "PASSWD = p\nPASSWORD_URI = file:/x\n",
        "PASSWORD = p\nPASSWD_URI = file:/x\n",
        "PASSWORD_URI = https://x\n",
    ] {
        let ini = incoming(lines);
        let fatal = effective_incoming(&ini, VERSION).expect_err(lines);
        assert!(found(&ini).iter().any(|found| found.problem.contains(&fatal.to_string())), "{lines}");
    }
    assert!(effective_incoming(&incoming("REPLY_TO_ADDRESS = <f+%{token}@b>\n"), VERSION).is_ok());
    // One run finds all.
    let several =
        "[mailer]\nENABLED = true\nFROM = A, B <a@b>\nENVELOPE_FROM = x\nPASSWD = p\nPASSWD_URI = file:/x\n";
    let stops =
        found(&parse(several)).iter().filter(|found| found.problem.contains("does not start")).count();
    assert_eq!(stops, 3);
    // A timeout that cannot be parsed stops the newest only.
    let timeout = mailer("SMTP_ADDR = m\nSENDMAIL_TIMEOUT = 60\n");
    assert!(effective(&timeout, Version(16)).is_ok() && effective(&timeout, Version(17)).is_err());
    assert!(check(&timeout, Version(15)).iter().any(|found| found.code == Code::Duration));
}

#[test]
fn keys_and_values_that_are_not_read_are_found_with_the_right_ones() {
    for (lines, code, fix) in [
        ("SMTP_HOST = x\n", "unknown-key", "SMTP_ADDR"),
        ("PASSWD_FILE = /x\n", "unknown-key", "PASSWD_URI = file:/path"),
        ("PASSWD__FILE = /x\n", "unknown-key", "FORGEJO__mailer__PASSWD__FILE"),
        ("SUBJECT_PREFX = x\n", "unknown-key", "SUBJECT_PREFIX"),
        ("FORCE_TRUST_SERVER_CERTS = true\n", "unknown-key", "FORCE_TRUST_SERVER_CERT"),
        ("User = x\n", "key-case", "USER"),
        ("Passwd = x\n", "key-case", "PASSWD"),
        ("[Mailer]\nX = y\n", "key-case", "[mailer]"),
        ("[ mailer ]\nX = y\n", "key-case", "[mailer]"),
        ("PASSWD = ${SMTP_PASSWORD}\n", "variable", "environment-to-ini"),
        ("PASSWD = other\n", "duplicate", "keep one"),
        ("USE_CLIENT_CERT = true\n", "client-certificate", "CLIENT_CERT_FILE"),
        ("PROTOCOL = sendmail\nSENDMAIL_ARGS = 'open\n", "sendmail-quote", "close the quote"),
        ("PROTOCOL = sendmail\nSENDMAIL_PATH = /usr/sbin/sendmail -t\n", "sendmail-path", "SENDMAIL_ARGS"),
        ("SENDMAIL_TIMEOUT = 60\n", "duration", "5m"),
        ("SUBJECT_PREFIX = \"open\n", "open-quote", "close"),
        ("PASSWORD = a%(USERNAME)sb\n", "password-reference", "another password"),
        ("PASSWD =\nPASSWORD =\n", "password-missing", "PASSWD"),
        ("PASSWD =\nPASSWD_URI = file:/a%20b\n", "uri-form", "file:/path"),
        ("PASSWD =\nPASSWD_URI = file://host/x\n", "uri-form", "file:/path"),
        ("FROM = a@[192.0.2.1]\n", "from-literal", "domain name"),
        ("SMTP_ADDR = smtp.resend.com\n", "provider-user", "USER = resend"),
        ("SMTP_ADDR = smtp.sendgrid.net\n", "provider-user", "USER = apikey"),
        ("SMTP_ADDR = smtp.gmail.com\nUSER = me@gmail.com\n", "provider-user", "FROM = Name <me@gmail.com>"),
        ("SMTP_ADDR = smtp.office365.com\nSMTP_PORT = 587\n", "provider-login", "another provider"),
        ("SMTP_ADDR = smtp.mail.me.com\nSMTP_PORT = 587\nPROTOCOL = smtp+starttls\n", "starttls-only", ""),
        (
            "[email.incoming]\nENABLED = on\nREPLY_TO_ADDRESS = f+%{token}@b\nHOST = i:993\n",
            "host",
            "own key",
        ),
        (
            "[email.incoming]\nENABLED = on\nREPLY_TO_ADDRESS = f+%{token}@b\nHOST = i\nPORT = 143\nUSE_TLS = on\n",
            "incoming-tls-port",
            "993",
        ),
        (
            "[email.incoming]\nENABLED = on\nREPLY_TO_ADDRESS = f+%{token}@b\nHOST = i\n",
            "incoming-account",
            "account",
        ),
        (
            "[email.incoming]\nENABLED = on\nREPLY_TO_ADDRESS = f+%{token}@b\nMAXIMUM_MESSAGE_SIZE = 10MB\n",
            "number",
            "digits",
        ),
    ] {
        let base = if lines.contains("SMTP_ADDR") { "" } else { "SMTP_ADDR = m\n" };
        let base =
            if lines.contains("PROTOCOL") { base.to_owned() } else { format!("{base}PROTOCOL = smtps\n") };
        let findings = found(&mailer(&format!("{base}{lines}")));
        let hit = findings.iter().find(|found| found.code.as_str() == code);
        let hit = hit.unwrap_or_else(|| panic!("{lines} has no {code}: {findings:#?}"));
        assert!(hit.fix.contains(fix), "{lines}: {hit:?}");
    }
    // STARTTLS-only providers are not told to use a port that they lack.
    for host in ["smtp.mail.me.com", "smtp.postmarkapp.com", "smtp.protonmail.ch"] {
        let ini = mailer(&format!("SMTP_ADDR = {host}\nSMTP_PORT = 587\nPROTOCOL = smtp+starttls\n"));
        assert!(found(&ini).iter().all(|found| !found.message().contains("465")), "{host}");
        assert!(
            found(&ini).iter().all(|found| found.severity == Severity::Note),
            "{host}: {:?}",
            found(&ini)
        );
    }
    assert_eq!(codes(&parse("from = \"a@b\"\n")), ["mail-off"]);
}

#[test]
fn no_finding_shows_a_secret() {
    let text = "[mailer]\nENABLED = true\nFROM = a@b\nUSER = u\nPASSWD = hunter2\nPASSWORD = hunter2 # hunter2\n\
                PASSWD_URI = hunter2\nPASSWORD_URI = hunter2\nSMTP_PWD = hunter2\nSMTP_ADDR = smtps://forge:hunter2@mail\n\
                [email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = f+%{token}@b\nPASSWORD = %(hunter2)s\nPASSWORD_URI = hunter2\n";
    for version in 7..=18 {
        let shown = format!("{:?}", check(&parse(text), Version(version)));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn migrations_mean_the_same_and_leave_nothing_deprecated() {
    for lines in [
        "HOST = mail:587\nIS_TLS_ENABLED = true\nSKIP_VERIFY = true\nDISABLE_HELO = true\n",
        "MAILER_TYPE = sendmail\nSENDMAIL_TIMEOUT = 60\n",
        "HOST = [::1]:25\nENABLE_HTML_ALTERNATIVE =\nUSE_CERTIFICATE = on\nCERT_FILE = /c\nKEY_FILE = /k\n",
        "SMTP_ADDR = m\nSMTP_PORT = 587\nPROTOCOL = smtp+startls\n",
        "SMTP_ADDR = m\nSMTP_PORT = 2525\n",
    ] {
        let ini = mailer(lines);
        let steps = migrate(&ini, VERSION, Version::NEWEST).expect(lines);
        assert!(!steps.is_empty(), "{lines}");
        let changes: Vec<Change> = steps.into_iter().map(|step| step.change).collect();
        let edited = edit(ini.text(), &changes).expect(lines);
        let after = parse(&edited);
        let (old, new) = (effective(&ini, VERSION), effective(&after, Version::NEWEST));
        let (old, new) = (old.expect(lines).expect("on"), new.expect(lines).expect("on"));
        assert_eq!((old.transport, &old.host, &old.port), (new.transport, &new.host, &new.port), "{lines}");
        assert_eq!(
            (old.helo, old.accepts_any_certificate, old.plain_text),
            (new.helo, new.accepts_any_certificate, new.plain_text),
            "{lines}"
        );
        let left = check(&after, Version::NEWEST);
        assert!(
            left.iter().all(|found| !matches!(
                found.code,
                Code::Deprecated | Code::Duration | Code::ProtocolInferred
            )),
            "{edited}: {left:?}"
        );
        assert!(migrate(&after, VERSION, Version::NEWEST).expect(lines).is_empty(), "{edited}");
    }
}

/// A removed key that other values name leaves what they expand to: in the section itself, below it, and over a third key.
#[test]
fn migrations_write_out_references_to_removed_keys() {
    for (lines, key, value) in [
        ("HOST = mail:587\nHELO_HOSTNAME = x.%(HOST)s\n", "HELO_HOSTNAME", "x.mail:587"),
        ("HOST = mail\nSUBJECT_PREFIX = [%(HOST)s]\n", "SUBJECT_PREFIX", "[mail]"),
        ("HOST = mail\nA = %(HOST)s\nSUBJECT_PREFIX = %(A)s\n", "SUBJECT_PREFIX", "mail"),
        ("HOST = mail\nSMTP_ADDR = %(HOST)s\n", "SMTP_ADDR", "mail"),
        ("HOST = mail\nUSER = u\nPASSWD = %(HOST)s!\n", "PASSWD", "mail!"),
        (
            "HOST = mail\nIS_TLS_ENABLED = true\nSUBJECT_PREFIX = %(IS_TLS_ENABLED)s\n",
            "SUBJECT_PREFIX",
            "true",
        ),
        ("HOST = mail\n[mailer.override_header]\nX-Host = %(HOST)s\n", "X-Host", "mail"),
    ] {
        let ini = mailer(lines);
        let steps = migrate(&ini, VERSION, Version::NEWEST).expect(lines);
        let changes: Vec<Change> = steps.into_iter().map(|step| step.change).collect();
        let after = parse(&edit(ini.text(), &changes).expect(lines));
        let section = if key == "X-Host" { "mailer.override_header" } else { "mailer" };
        assert_eq!(ini.value(section, key).as_deref(), Some(value), "{lines}");
        assert_eq!(after.value(section, key).as_deref(), Some(value), "{lines}");
        assert!(after.section("mailer").is_some_and(|held| held.key("HOST").is_none()), "{lines}");
    }
}

/// The same where settings are applied: a password that is kept, and a header of somebody else, do not lose what they name.
#[test]
fn applied_settings_write_out_references_to_removed_keys() {
    let ini = parse(
        "[mailer]\nENABLED = true\nFROM = a@b\nHOST = mail:465\nUSERNAME = u\nPASSWD = x%(USERNAME)sy\n\
         CLIENT_NOTE = of %(HOST)s\n",
    );
    let mut settings = smtp_config::Mailer::server("a@b", "mail", 465);
    settings.user = Some("u".to_owned());
    let changes = settings.changes(&ini, VERSION, None, None);
    let after = parse(&edit(ini.text(), &changes).expect("it is written"));
    assert!(
        after
            .section("mailer")
            .is_some_and(|held| held.key("USERNAME").is_none() && held.key("HOST").is_none())
    );
    assert_eq!(after.value("mailer", "PASSWD").as_deref(), Some("xuy"));
    assert_eq!(after.value("mailer", "CLIENT_NOTE").as_deref(), Some("of mail:465"));
}

/// What the later version does not start with is refused, also where it is not among the deprecated keys.
#[test]
fn migrations_to_what_does_not_start_are_refused() {
    let incoming = "[email.incoming]\nENABLED = true\nREPLY_TO_ADDRESS = nobody\n";
    for (from, text, key) in [
        // Version 11 does not read URIs.
        (
            11,
            "[mailer]\nENABLED = true\nFROM = a@b\nHOST = mail\nPASSWD = p\nPASSWD_URI = file:/x\n"
                .to_owned(),
            "PASSWD_URI",
        ),
        (
            11,
            "[mailer]\nENABLED = true\nFROM = a@b\nHOST = mail\nPASSWD_URI = hunter2\n".to_owned(),
            "PASSWD_URI",
        ),
        (13, format!("[mailer]\nENABLED = true\nFROM = a@b\nHOST = mail\n{incoming}"), "REPLY_TO_ADDRESS"),
        (13, format!("[mailer]\nENABLED = false\n{incoming}"), "REPLY_TO_ADDRESS"),
        (13, "[mailer]\nENABLED = true\nFROM = a@b\nENVELOPE_FROM = nobody\n".to_owned(), "ENVELOPE_FROM"),
    ] {
        match migrate(&parse(&text), Version(from), Version::NEWEST) {
            Err(MigrationError::Start { reason, .. }) => assert_eq!(reason.key(), key, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn versions_are_known_with_their_support() {
    assert_eq!(Version::default().caveat(2026, 11), None);
    assert!(
        Version(13)
            .caveat(2026, 11)
            .is_some_and(|text| text.contains("support of Forgejo 13 ended in 2026-01"))
    );
    assert!(Version(16).caveat(2026, 10).is_none());
    assert!(Version(17).caveat(2026, 11).is_some_and(|text| text.contains("before its release")));
    assert!(Version(99).caveat(2026, 11).is_some_and(|text| text.contains("was not examined")));
    assert!(Version(6).caveat(2026, 11).is_some_and(|text| text.contains("older than 7")));
}

const KEYS: &str = "(PROTOCOL|SMTP_ADDR|SMTP_PORT|HOST|IS_TLS_ENABLED|MAILER_TYPE|FROM|ENVELOPE_FROM|USER|USERNAME|PASSWD|PASSWORD|PASSWD_URI|PASSWORD_URI|SKIP_VERIFY|FORCE_TRUST_SERVER_CERT|SENDMAIL_TIMEOUT)";
const VALUES: &str = "(smtp|smtps|smtp[+]starttls|sendmail|SMTPS|mail|mail:25|mail:587|a:b:c|25|465|587|2525|true|false||a@b|A, B <a@b>|x|file:/x|/x|p|60)";

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Findings and the loader never contradict each other.
    #[test]
    fn findings_agree_with_the_loader(
        lines in proptest::collection::vec((KEYS, VALUES), 0..10),
        enabled in any::<bool>(),
        version in 7u32..19,
    ) {
        let ini = parse(&format!("[mailer]\nENABLED = {enabled}\n{}", lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>()));
        let version = Version(version);
        let loaded = effective(&ini, version);
        let findings = check(&ini, version);
        let stops = findings.iter().filter(|found| found.problem.contains("does not start")).count();
        prop_assert_eq!(loaded.is_err(), stops > 0, "{:?} {:?}", loaded, findings);
        for found in findings.iter().filter(|found| found.problem.contains("does not start")) {
            prop_assert_eq!(found.severity, Severity::Error);
        }
        if let Err(fatal) = &loaded {
            let words = format!("Forgejo does not start: {fatal}");
            prop_assert!(findings.iter().any(|found| found.problem == words), "{fatal} is not among {findings:?}");
        }
        let Ok(Some(mailer)) = loaded else { return Ok(()) };
        // A password that would be exposed to a server that offers PLAIN is an error.
        let tls = mailer.transport == EffectiveTransport::Network(Protocol::Smtps)
            || after_ehlo(mailer.transport, StartTlsSupport::Offered) == smtp_config::AfterEhlo::StartTls;
        let encryption = if tls { Encryption::Tls } else { Encryption::None };
        let exposed = authentication(&mailer, encryption, Some("PLAIN"));
        let network = matches!(mailer.transport, EffectiveTransport::Network(_)) && !mailer.is_local();
        if network && exposed == Authentication::Start(smtp_config::Mechanism::Plain, Exposure::Password) {
            let flagged = findings.iter().any(|found| matches!(found.code, Code::Plaintext | Code::ProtocolUnknown));
            prop_assert!(flagged, "{mailer:?} {findings:?}");
        }
        if mailer.accepts_any_certificate && matches!(mailer.transport, EffectiveTransport::Network(_)) {
            prop_assert!(findings.iter().any(|found| found.code == Code::TlsNotVerified), "{findings:?}");
        }
        // A migration starts and speaks to the same server.
        if let Ok(steps) = migrate(&ini, version, Version::NEWEST) {
            let changes: Vec<Change> = steps.into_iter().map(|step| step.change).collect();
            let after = parse(&edit(ini.text(), &changes).expect("it is written"));
            let again = effective(&after, version).expect("it starts").expect("mail is on");
            prop_assert_eq!((again.transport, again.host, again.port), (mailer.transport, mailer.host, mailer.port));
            prop_assert!(effective(&after, Version::NEWEST).is_ok(), "{}", after.text());
        }
    }
}

/// Findings are serialized with their stable names.
#[test]
#[cfg(feature = "serde")]
fn findings_are_serialized_for_machines() {
    let finding = &found(&mailer("PROTOCOL = smtp\nSMTP_ADDR = mail\n"))[0];
    assert_eq!(
        serde_json::json!(finding),
        serde_json::json!({"code": finding.code.as_str(), "severity": finding.severity.to_string(),
            "section": finding.section, "key": finding.key, "value": finding.value, "line": finding.line,
            "column": finding.column, "problem": finding.problem, "fix": finding.fix})
    );
    for code in Code::ALL {
        assert_eq!(serde_json::json!(code), code.as_str());
        assert_eq!(serde_json::json!(code.severity()), code.severity().to_string());
    }
}
