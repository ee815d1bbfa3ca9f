//! Findings, routes and edits.

use proptest::prelude::*;
use secrecy::SecretString;
use smtp_config::ini::{Ini, Unrepresentable, quote};
use smtp_config::{
    Change, Code, INCOMING, Incoming, Mailer, NixosSecret, OVERRIDE_HEADER, PRESETS, Preset, PresetError,
    Protocol, Route, RouteError, SECTION, Setting, Transport, Version, by_environment_file, check, choose,
    edit, environment, nixos,
};

/// The codes of the findings, but for an account without a password, which most of these files have.
fn codes(text: &str, forgejo: u32) -> Vec<&'static str> {
    let text = format!("[mailer]\n{text}");
    let ini = Ini::parse(&text).expect("it is read");
    let found = check(&ini, Version(forgejo));
    found.iter().map(|finding| finding.code.as_str()).filter(|code| *code != "password-missing").collect()
}

#[test]
fn each_trap_has_its_code() {
    let none: [&str; 0] = [];
    let good = "ENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = mail.example.org\nSMTP_PORT = 465\nFROM = Forge <a@b>\nUSER = u\n";
    assert_eq!(codes(good, 13), none);
    assert_eq!(codes(&good.replace("smtps", "SMTPS"), 13), ["protocol-unknown"]);
    assert_eq!(codes(&good.replace("smtps", "starttls"), 13), ["protocol-unknown"]);
    let starttls = good.replace("smtps", "smtp+starttls").replace("= 465", "= 587");
    assert_eq!(codes(&starttls, 13), ["starttls-strippable"]);
    assert_eq!(codes(&good.replace("smtps", "smtp"), 13), ["plaintext"]);
    assert_eq!(codes(&good.replace("PROTOCOL = smtps\n", ""), 13), ["protocol-inferred"]);
    assert_eq!(codes(&good.replace("true", "enabled"), 13), ["enabled-not-boolean"]);
    assert_eq!(codes(&good.replace("Forge <", "Forge: x <"), 13), ["from-specials"]);
    assert_eq!(codes(&good.replace("Forge <a@b>", "Forge <a@>"), 13), ["from-refused"]);
    assert_eq!(codes(&good.replace("Forge <", "Acme, Inc. <"), 13), ["from-specials"]);
    assert_eq!(codes(&good.replace("FROM = Forge <a@b>\n", ""), 13), ["from-missing"]);
    assert_eq!(codes(&format!("{good}HOST = x:25\n"), 13), ["deprecated"]);
    assert_eq!(codes(&format!("{good}PASSWD = a%(USER)sb\n"), 13), ["password-reference"]);
    assert_eq!(codes(&format!("{good}PASSWD = `\"abc\"`\n"), 13), ["resave-changes"]);
    assert_eq!(codes(&format!("{good}PASSWD = `\"\"\"abc`\n"), 13), ["resave-unreadable"]);
    assert_eq!(codes(&format!("{good}FORCE_TRUST_SERVER_CERT = true\n"), 13), ["tls-not-verified"]);
    assert_eq!(codes(&format!("{good}PASSWD_URI = file:/run/secret\n"), 11), ["uri-version"]);
    assert_eq!(codes(&format!("{good}PASSWD_URI = file:/run/a%20b\n"), 13), ["uri-form"]);

    // Cut at a comment's sign: a password always, another value where no blank is before it.
    assert_eq!(codes(&format!("{good}PASSWD = pa#ss\n"), 13), ["value-cut"]);
    assert_eq!(codes(&format!("{good}PASSWD = pass # word\n"), 13), ["value-cut"]);
    assert_eq!(codes(&format!("{good}SUBJECT_PREFIX = [a;b]\n"), 13), ["value-cut"]);
    assert_eq!(codes(&format!("{good}SUBJECT_PREFIX = a ; why\nPASSWD = `pa#ss`\n"), 13), none);
    assert_eq!(codes(&format!("{good}SUBJECT_PREFIX = \"a#b\"\n"), 13), ["value-cut"]);

    let both = format!("{good}PASSWD_URI = file:/run/secret\nPASSWD = x\n");
    assert_eq!(codes(&both, 13), ["both-passwords"]);
    assert_eq!(codes(&both, 11), ["uri-version"]);
    assert_eq!(codes(&good.replace("USER", "USERNAME"), 7), ["alias-version"]);
    assert_eq!(codes(&format!("{good}ENVELOPE_FROM = a..b@c\n"), 13), ["envelope-from-refused"]);
    assert_eq!(codes(&format!("{good}ENVELOPE_FROM = <>\n"), 13), none);
    assert_eq!(codes(&format!("{good}ENABLE_HELO = maybe\n"), 13), ["not-boolean"]);
    assert_eq!(codes(&format!("{good}HELO_HOSTNAME = my forge\n"), 13), ["helo-name"]);
    assert_eq!(codes(&format!("{good}HELO_HOSTNAME = [IPv6:2001:db8::1]\n"), 13), none);
    assert_eq!(codes(&good.replace("= 465", "= 587"), 13), ["protocol-port"]);
    assert_eq!(codes(&good.replace("= 465", "= 70000"), 13), ["port"]);
    let gmail = good.replace("mail.example.org", "smtp.gmail.com").replace("= 465", "= 25");
    assert_eq!(codes(&gmail, 13), ["provider-port", "protocol-port"]);
    let sendgrid = good.replace("mail.example.org", "smtp.sendgrid.net").replace("= 465", "= 25");
    assert_eq!(codes(&sendgrid.replace("USER = u\n", ""), 13), ["protocol-port"]);
    assert_eq!(codes(&good.replace("mail.example.org", "https://mail.example.org"), 13), ["host"]);
    assert_eq!(codes(&good.replace("mail.example.org", "mail.example.org:465"), 13), ["host"]);
    assert_eq!(codes(&good.replace("SMTP_ADDR = mail.example.org\n", ""), 13), ["host"]);
    assert_eq!(codes(&good.replace("mail.example.org", "mail.münchen.de"), 13), ["host"]);
    assert_eq!(codes(&good.replace("<a@b>", "<a@münchen.test>"), 13), ["from-unicode"]);
    assert_eq!(codes(&format!("{good}ENVELOPE_FROM = ü@b\n"), 13), ["from-unicode"]);
    assert_eq!(codes("ENABLED = true\nPROTOCOL = sendmail\nFROM = a@b\n", 11), ["sendmail-args"]);
    assert_eq!(codes("ENABLED = true\nPROTOCOL = sendmail\nFROM = a@b\n", 13), none);
    let unix = "ENABLED = true\nPROTOCOL = smtp+unix\nSMTP_ADDR = /run/smtp\nFROM = a@b\nUSER = u\n";
    assert_eq!(codes(unix, 13), ["unix-authentication"]);
    assert_eq!(codes(&unix.replace("/run/smtp", "run/smtp").replace("USER = u\n", ""), 13), ["host"]);
}

#[test]
fn headers_and_incoming_mail_have_their_codes() {
    let none: [&str; 0] = [];
    let header = |line: &str| {
        format!("ENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = m\nFROM = a@b\n[{OVERRIDE_HEADER}]\n{line}\n")
    };
    assert_eq!(codes(&header("Auto-Submitted = auto-generated"), 13), none);
    assert_eq!(codes(&header("Auto-Submitted = auto-generated"), 7), ["header-version"]);
    assert_eq!(codes(&header("Message-ID = <a@b>"), 13), ["header-fixed"]);
    assert_eq!(codes(&header("a b = c"), 13), ["header-name"]);
    let good = format!(
        "FROM = a@b\n[{INCOMING}]\nENABLED = true\nREPLY_TO_ADDRESS = forge+%{{token}}@example.org\n\
         HOST = imap.example.org\nPORT = 993\nUSE_TLS = true\nUSERNAME = u\nPASSWORD = p\n"
    );
    assert_eq!(codes(&good, 13), none);
    for address in
        ["forge@example.org", "%{token}+%{token}@b", "a@%{token}", "Forge <a+%{token}@b>", "a..%{token}@b"]
    {
        assert_eq!(
            codes(&good.replace("forge+%{token}@example.org", address), 13),
            ["reply-to"],
            "{address}"
        );
    }
    assert_eq!(codes(&good.replace("USE_TLS = true\n", ""), 13), ["incoming-plaintext", "incoming-tls-port"]);
    assert_eq!(codes(&format!("{good}SKIP_TLS_VERIFY = true\n"), 13), ["incoming-tls-not-verified"]);
    assert_eq!(codes(&good.replace("PORT = 993\n", ""), 7), ["incoming-port"]);
    assert_eq!(codes(&good.replace("PORT = 993\n", ""), 13), none);
    assert_eq!(codes(&good.replace("PASSWORD = p", "PASSWORD = p;q"), 13), ["value-cut"]);
    assert_eq!(codes(&good.replace("PASSWORD = p", "PASSWORD_URI = file:/run/imap"), 11), ["uri-version"]);
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn three_lines_point_it_elsewhere_and_the_protocol_follows() {
    let mut mailer = Mailer::new("Forge <forge@example.org>");
    let values = mailer.settings();
    assert!(values.contains(&Setting::new(SECTION, "SMTP_ADDR", "in-v3.mailjet.com")));
    assert_eq!(mailer.protocol(), Some(Protocol::Smtps));
    let other = Mailer::server("Forge <forge@example.org>", "mail.example.org", 587);
    assert_eq!(other.protocol(), Some(Protocol::StartTls));
    assert_eq!(other.validate(Version::default()), Ok(()));
    let mut bad = other.clone();
    bad.transport = Transport::Unix("run/x".to_owned());
    assert!(
        bad.validate(Version::default()).is_err()
            && Mailer::server("a@b", "a b", 1).validate(Version::default()).is_err()
    );
    assert!(
        Mailer::server("a@b", "h", 0).validate(Version::default()).is_err()
            && Mailer::new("a..b@c").validate(Version::default()).is_err()
    );
    mailer.headers = vec![("X: y".to_owned(), "z".to_owned())];
    assert!(mailer.validate(Version::default()).is_err());
    mailer.headers = vec![("X-Y".to_owned(), "z\nBcc: a@b".to_owned())];
    assert!(mailer.validate(Version::default()).is_err());
    mailer.password = Some(SecretString::from("hunter2"));
    assert!(!format!("{mailer:?}").contains("hunter2"));
}

#[test]
fn the_route_keeps_the_password_off_app_ini_where_it_can() {
    let plain = SecretString::from("pa#ss");
    assert_eq!(
        choose(Version(13), &plain, Some("/run/secret")),
        Ok(Route::Uri("file:/run/secret".to_owned()))
    );
    assert_eq!(choose(Version(11), &plain, Some("/run/secret")), Ok(Route::AppIni));
    assert_eq!(choose(Version(13), &plain, Some("/run/a b")), Ok(Route::AppIni));
    let quotes = SecretString::from("\"abc\"");
    let why = (RouteError::Version, RouteError::Value(Unrepresentable::Resave));
    assert_eq!(choose(Version(11), &quotes, Some("/run/secret")), Err(why));
    let reference = RouteError::Value(Unrepresentable::Reference);
    let never = SecretString::from("%(a)s");
    assert_eq!(choose(Version(13), &never, Some("/run/secret")), Err((reference, reference)));
}

#[test]
fn an_edit_leaves_the_rest() {
    let text = "; mine\r\nA=1\r\n[mailer]\r\n  FROM = old@b # why\r\nX='y'\r\nPASSWD = pa#ss\r\n[z]\r\nK=`v`";
    let changes = [
        Change::set("mailer", "FROM", "new@b"),
        Change::set("mailer", "USER", "u"),
        Change::remove("mailer", "PASSWD"),
        Change::set("email.incoming", "HOST", "imap.b"),
    ];
    let edited = edit(text, &changes).expect("it is edited");
    let expected = "; mine\r\nA=1\r\n[mailer]\r\n  # why\r\n  FROM = new@b\r\nX='y'\r\nUSER = u\r\n[z]\r\nK=`v`\r\n\r\n[email.incoming]\r\nHOST = imap.b\r\n";
    assert_eq!(edited, expected);
}

#[test]
fn no_older_password_stays() {
    let text = "[mailer]\nPASSWD = one\nX = y\nPASSWD = two # three\n";
    let edited = edit(text, &[Change::set("mailer", "PASSWD", "four")]);
    assert_eq!(edited.as_deref(), Ok("[mailer]\nX = y\nPASSWD = four\n"));
}

#[test]
fn no_password_is_sent_without_tls_on_port_25() {
    let of = |host: &str, user: Option<&str>, protocol| {
        let mut mailer = Mailer::server("a@b", host, 25);
        mailer.user = user.map(str::to_owned);
        if let Transport::Network(server) = &mut mailer.transport {
            server.protocol = protocol;
        }
        let written = mailer.settings().into_iter().find(|setting| setting.key == "PROTOCOL");
        assert_eq!(written.map(|setting| setting.value), mailer.protocol().map(|held| held.to_string()));
        mailer.protocol()
    };
    for host in ["mail.example.org", "smtp.gmail.com", "smtp.fastmail.com", "smtp-relay.brevo.com"] {
        assert_eq!(of(host, Some("u"), None), Some(Protocol::StartTls), "{host}");
        assert_eq!(of(host, None, None), Some(Protocol::Smtp), "{host}");
        assert_eq!(of(host, Some("u"), Some(Protocol::Smtp)), Some(Protocol::Smtp), "{host}");
    }
    // SendGrid documents port 25; nothing leaves a loopback address.
    assert_eq!(of("smtp.sendgrid.net", None, None), Some(Protocol::StartTls));
    assert_eq!(of("localhost", Some("u"), None), Some(Protocol::Smtp));
}

#[cfg(feature = "doctor")]
#[test]
fn names_and_addresses_that_are_not_ascii_are_written_with_a_labels() {
    let mut mailer = Mailer::server("a@b", "mail.München.de", 465);
    mailer.incoming = Some(Incoming::new("in+%{token}@b", "imap.例え.jp", "u"));
    let faults: Vec<String> = mailer.faults(Version::default()).iter().map(ToString::to_string).collect();
    let why = "characters other than ASCII, and Go asks the DNS for no such name";
    assert_eq!(
        faults,
        [
            format!("host: mail.München.de: {why}: write mail.xn--mnchen-3ya.de"),
            format!("incoming.host: imap.例え.jp: {why}: write imap.xn--r8jz45g.jp"),
        ]
    );
    let text = "[mailer]\nENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = mail.münchen.de\nFROM = F <f@münchen.test>\n";
    let found = check(&Ini::parse(text).expect("read"), Version::default());
    let fixes: Vec<&str> = found.iter().map(|finding| finding.fix.as_str()).collect();
    assert_eq!(fixes, ["write mail.xn--mnchen-3ya.de", "write f@xn--mnchen-3ya.test"]);
    // A local part has no A-labels.
    let found = check(&Ini::parse(&text.replace("f@", "ü@")).expect("read"), Version::default());
    assert_eq!(found[1].fix, "write an address of ASCII characters only");
}

#[test]
fn presets_have_a_server_and_tls_first() {
    for preset in PRESETS {
        let host = preset.host(Some("eu-west-1"));
        match preset.name {
            "stalwart" => assert_eq!(host, Err(PresetError::Host("stalwart"))),
            _ => {
                let host = host.expect("a server");
                assert_eq!(Preset::of_host(&host).map(|found| found.host), Some(preset.host));
                let (port, protocol) = preset.ports[0];
                let mut mailer = Mailer::server("a@b", &host, port);
                assert_eq!(mailer.validate(Version::default()), Ok(()));
                assert_eq!(mailer.protocol(), Some(protocol), "{}", preset.name);
                mailer.user = Some("u".to_owned());
                let has = preset.ports.iter().any(|(_, protocol)| *protocol == Protocol::Smtps);
                assert_eq!(
                    has,
                    protocol == Protocol::Smtps,
                    "{}: TLS from the first byte is preferred",
                    preset.name
                );
            }
        }
    }
    let ses = Preset::named("ses").expect("it is there");
    assert_eq!(ses.host(None), Err(PresetError::Region("ses")));
    assert_eq!(ses.host(Some("eu west")), Err(PresetError::RegionName));
}

fn everything() -> Mailer {
    let mut mailer = Mailer::server("Förge; x <forge@example.org>", "mail.example.org", 465);
    mailer.user = Some("u#1".to_owned());
    mailer.envelope_from = Some("<>".to_owned());
    mailer.subject_prefix = Some("[a;b] ${c} \"d\"".to_owned());
    mailer.helo = Some("git.example.org".to_owned());
    mailer.plain_text = true;
    mailer.headers = vec![("Auto-Submitted".to_owned(), "auto-generated".to_owned())];
    mailer.incoming = Some(Incoming::new("forge+%{token}@example.org", "imap.example.org", "in"));
    mailer
}

#[test]
fn every_setting_is_had_by_every_route() {
    let mailer = everything();
    assert_eq!(mailer.validate(Version::default()), Ok(()));
    let settings = mailer.settings();
    let changes: Vec<Change> = settings.iter().map(Setting::to_change).collect();
    let text = edit("", &changes).expect("it is written");
    let ini = Ini::parse(&text).expect("it is read");
    // environment-to-ini, and what it makes of an empty file.
    let mut by_environment = Ini::parse("").expect("nothing");
    for (name, value) in environment::variables(&settings).expect("they can be had") {
        assert!(name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'), "{name}");
        let variable = environment::decode(&name).expect("one of ours");
        assert!(!variable.file);
        by_environment.set(&variable.section, &variable.key, &value);
    }
    let by_environment = Ini::parse(&by_environment.write()).expect("it is read");
    for Setting { section, key, value } in &settings {
        assert_eq!(ini.value(section, key).as_ref(), Some(value), "{section} {key}");
        assert_eq!(by_environment.value(section, key).as_ref(), Some(value), "{section} {key}");
    }
    let secrets = [NixosSecret { section: SECTION, key: "PASSWD", path: "/run/agenix/smtp" }];
    let nix = nixos(&settings, &secrets).expect("it can be had");
    for line in [
        "    settings.mailer = {",
        "      SMTP_PORT = 465;",
        "      USER = \"`u#1`\";",
        "      SUBJECT_PREFIX = \"`[a;b] \\${c} \\\"d\\\"`\";",
        "    settings.\"email.incoming\" = {",
        "    secrets.mailer.PASSWD = \"/run/agenix/smtp\";",
    ] {
        assert!(nix.lines().any(|found| found == line), "{line}\n{nix}");
    }
    let parsed = rnix::Root::parse(&nix);
    assert!(parsed.errors().is_empty(), "{:?}\n{nix}", parsed.errors());
}

#[test]
fn variables_are_named_and_taken_apart() {
    assert_eq!(environment::variable("email.incoming", "HOST"), "FORGEJO__email_0X2E_incoming__HOST");
    let file = environment::file_variable("mailer", "PASSWD");
    assert_eq!(file, "FORGEJO__mailer__PASSWD__FILE");
    let taken = environment::decode(&file).expect("one of ours");
    assert_eq!((taken.section.as_str(), taken.key.as_str(), taken.file), ("mailer", "PASSWD", true));
    let old = environment::decode("GITEA__MAILER__HELO_HOSTNAME").expect("one of ours");
    assert_eq!((old.section.as_str(), old.key.as_str()), ("mailer", "HELO_HOSTNAME"));
    assert_eq!(environment::decode("FORGEJO_WORK_DIR"), None);
    let plain = SecretString::from("pa#ss");
    assert!(matches!(by_environment_file(&plain, Some("/run/s")), Ok(Route::EnvironmentFile(_))));
    let opens = SecretString::from("\"\"\"pass");
    let why = RouteError::Value(Unrepresentable::Resave);
    assert_eq!(by_environment_file(&opens, Some("/run/s")), Err(why));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_of_variables_are_taken_apart_as_they_were(
        section in "[a-z][a-z0-9._-]{0,12}",
        key in "[A-Za-z_0-9.-]{1,12}",
    ) {
        prop_assume!(!key.ends_with("__FILE"));
        let name = environment::variable(&section, &key);
        let taken = environment::decode(&name);
        prop_assert_eq!(taken, Some(environment::Variable { section, key, file: false }), "{}", name);
    }

    #[test]
    fn no_text_stops_the_reader_of_variables(text in "(FORGEJO__)?[A-Za-z0-9_.é]{0,30}") {
        let _ = environment::decode(&text);
    }

    #[test]
    fn edits_are_read_as_meant_and_are_idempotent(
        before in "(A = [a-z]{0,3}\n|# c\n|\n){0,4}",
        inside in "(K[0-9] = [a-z#`'\" ]{0,4}x\n|; c\n|USER = [a-z#]{0,3}\n){0,5}",
        after in "(\\[z\\]\nK = v\n)?",
        value in "[a-z#;`'\"%()= é]{0,8}",
    ) {
        let text = format!("{before}[mailer]\n{inside}{after}");
        if let Ok(edited) = edit(&text, &[Change::set("mailer", "PASSWD", &value)]) {
            let ini = Ini::parse(&edited).expect("it is read");
            prop_assert_eq!(ini.value("mailer", "PASSWD"), Some(value.clone()));
            let again = edit(&edited, &[Change::set("mailer", "PASSWD", &value)]);
            prop_assert_eq!(again.as_deref(), Ok(edited.as_str()));
            let line = format!("PASSWD = {}\n", quote(&value).expect("it was"));
            prop_assert_eq!(edited.replacen(&line, "", 1), text);
        }
    }
}
