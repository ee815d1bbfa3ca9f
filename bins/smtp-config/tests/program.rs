//! Each command of the program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const PASSWORD: &str = "pa#ss`word";

fn expect(args: &[&str], code: i32, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_smtp-config"))
        .args(args)
        .env("SMTP_TEST_PASSWORD", PASSWORD)
        .env("SMTP_TEST_QUOTED", "\"hunter2\"")
        .env("SMTP_TEST_REFERENCE", "a%(b)s")
        .output()
        .expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say {word:?}:\n{text}");
    }
    assert!(!text.contains(PASSWORD), "{args:?} shows the password");
    assert!(!text.contains("hunter2"), "a password is shown");
    text
}

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    path.display().to_string()
}

#[test]
fn render_check_and_explain() {
    let folder = tempfile::tempdir().expect("a folder");
    let three = ["render", "--from", "Forge <f@example.org>", "--host", "mail.example.org", "--port", "465"];
    expect(&three, 0, &["SMTP_ADDR = mail.example.org", "PROTOCOL = smtps", "follows port 465"]);
    expect(&["render", "--from", "a@b"], 0, &["in-v3.mailjet.com"]);
    expect(&["render", "--from", "a@b", "--preset", "resend", "--json"], 0, &["smtp.resend.com"]);
    expect(
        &["render", "--from", "a..b@c"],
        2,
        &["command line: error[value]: --from = a..b@c: mail:", "would not start"],
    );
    let bad = write(
        folder.path(),
        "bad.ini",
        "[mailer]\nENABLED = on\nPROTOCOL = SMTPS\nSMTP_ADDR = x\nFROM = a@b\nPASSWD = `pa#ss`word`\n",
        0o600,
    );
    let place = format!("{bad}:3:1: error[protocol-unknown]: PROTOCOL = SMTPS: not a protocol of Forgejo");
    expect(&["check", &bad], 3, &[&place, "write smtps"]);
    let answer = expect(&["check", &bad, "--json"], 3, &["\"code\":\"protocol-unknown\""]);
    testkit::findings(&serde_json::from_str(&answer).expect("JSON"));
    let enabled = write(
        folder.path(),
        "enabled.ini",
        "[mailer]\nENABLED = true\nPROTOCOL = SMTPS\nSMTP_ADDR = x\nFROM = a@b\nPASSWD = `pa#ss`word`\n",
        0o600,
    );
    let words = [
        "speaks smtp (since it does not know the value of PROTOCOL) to x",
        "\"SMTPS\"",
        "(not shown)",
        "line 3",
        "FROM",
    ];
    expect(&["explain", &enabled], 0, &words);
    expect(&["explain", &enabled, "--json"], 0, &["\"secret\":true", "\"from\":\"line 3\""]);
    let off = write(folder.path(), "off.ini", "[mailer]\nPROTOCOL = SMTPS\n", 0o600);
    expect(&["explain", &off], 0, &["sends no mail"]);
    expect(&["check", &off], 0, &[": OK"]);
    let fatal = write(folder.path(), "fatal.ini", "[mailer]\nENABLED = true\nUSER = key\n", 0o600);
    expect(
        &["explain", &fatal],
        0,
        &["does not start: Invalid mailer.FROM (key): mail: missing '@' or angle-addr"],
    );
    let broken = write(folder.path(), "broken.ini", "[mailer]\nno delimiter\n", 0o600);
    expect(
        &["check", &broken],
        2,
        &["broken.ini:2:1: error[syntax]: not a comment, a section or key = value"],
    );
    expect(&["check", "/nonexistent"], 2, &["/nonexistent: error[unreadable]: No such file"]);
}

#[test]
fn apply_writes_what_is_read_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = "; mine\n[server]\nDOMAIN=x\n[mailer]\nPASSWD = old#one\n";
    let file = write(folder.path(), "app.ini", before, 0o640);
    let secret = write(folder.path(), "secret", "plain\n", 0o400);
    let open = write(folder.path(), "open", "plain\n", 0o444);
    let by_file = format!("file:{secret}");
    let base = ["apply", "--app-ini", &file, "--from", "a@b", "--user", "u", "--password"];
    let with = |reference: &str, more: &[&str], code, words: &[&str]| {
        let args: Vec<&str> = base.iter().copied().chain([reference]).chain(more.iter().copied()).collect();
        expect(&args, code, words);
        std::fs::read_to_string(&file).expect("it is there")
    };
    assert_eq!(
        with(
            &by_file,
            &["--dry-run"],
            3,
            &["would change", "+PASSWD_URI = file:", "+FROM = a@b", "-PASSWD = (not shown)", " [server]"]
        ),
        before
    );
    assert_eq!(with(&format!("file:{open}"), &[], 2, &["accessible to"]), before);
    assert_eq!(with("env:SMTP_TEST_REFERENCE", &[], 2, &["%(name)s"]), before);
    assert_eq!(with("env:SMTP_TEST_QUOTED", &[], 2, &["Forgejo has written the file itself"]), before);
    assert_eq!(with("hunter2", &[], 2, &["write file:/path"]), before);
    let after = with("env:SMTP_TEST_PASSWORD", &[], 0, &["changed"]);
    assert!(after.contains("PASSWD = `pa#ss`word`\n"), "{after}");
    let after = with(&by_file, &["--forgejo", "11"], 0, &["changed"]);
    assert!(after.starts_with("; mine\n[server]\nDOMAIN=x\n[mailer]\nPASSWD = plain\n"), "{after}");
    let after = with(&by_file, &[], 0, &["changed"]);
    assert!(after.contains(&format!("PASSWD_URI = file:{secret}\n")) && !after.contains("plain"), "{after}");
    assert_eq!(with(&by_file, &["--json"], 0, &["unchanged"]), after);
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o7777, 0o640);
    expect(&["check", &file], 0, &[]);
    // No password stays by another name.
    let before = "[mailer]\nPASSWORD = older\nPASSWORD_URI = file:/older\n";
    std::fs::write(&file, before).expect("a file");
    let after = with(&by_file, &[], 0, &["changed"]);
    assert!(!after.contains("older") && after.contains("PASSWD_URI = file:"), "{after}");
}

#[test]
fn render_has_every_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = write(folder.path(), "secret", "plain\n", 0o400);
    let imap = write(folder.path(), "imap", "pa#ss`word\n", 0o400);
    let text = format!(
        "from = \"Forge <forge@example.org>\"\nhost = \"mail.example.org\"\nport = 465\nuser = \"forge\"\n\
         password = \"file:{secret}\"\n[headers]\nAuto-Submitted = \"auto-generated\"\n[incoming]\n\
         reply_to = \"forge+%{{token}}@example.org\"\nhost = \"imap.example.org\"\nusername = \"in\"\n\
         password = \"file:{imap}\"\n"
    );
    let file = write(folder.path(), "mailer.toml", &text, 0o600);
    let with = |form: &str, forgejo: &str, words: &[&str]| {
        let args = ["render", "--settings", &file, "--to", form, "--forgejo", forgejo];
        let text = expect(&args, 0, words);
        assert!(!text.contains("plain\n"), "{text}");
        text
    };
    let uri = format!("PASSWD_URI = file:{secret}");
    with("app-ini", "13", &[&uri, "[mailer.override_header]", "[email.incoming]", "PASSWORD_URI = file:"]);
    with("app-ini", "11", &["[mailer] PASSWD is not shown"]);
    let uri = format!("FORGEJO__mailer__PASSWD_URI=file:{secret}");
    with(
        "environment",
        "13",
        &[
            &uri,
            "note: ",
            "secret: Forgejo reads it itself, as its own user",
            "FORGEJO__mailer_0X2E_override_header__Auto_0X2D_Submitted=auto-generated",
        ],
    );
    let file_variable = format!("FORGEJO__mailer__PASSWD__FILE={secret}");
    with("environment", "11", &[&file_variable, "FORGEJO__email_0X2E_incoming__PASSWORD__FILE="]);
    // systemd reads the files of secrets, as root: for every version, also for those that could read the file themselves.
    for forgejo in ["11", "15"] {
        let words = ["secrets.mailer.PASSWD = ", "secrets.\"email.incoming\".PASSWORD = "];
        let nix = with("nixos", forgejo, &words);
        assert!(!nix.contains("_URI"), "{nix}");
        let nix = &nix[nix.find('{').expect("an expression")..nix.rfind('}').expect("its end") + 1];
        assert!(rnix::Root::parse(nix).errors().is_empty(), "{nix}");
    }
    expect(
        &["render", "--settings", &file, "--forgejo", "7"],
        2,
        &["mailer.toml:6:1: error[value]: headers: not read before Forgejo 8"],
    );
    let wrong = write(folder.path(), "wrong.toml", "from = \"a@b\"\npasword = \"hunter2\"\n", 0o600);
    expect(&["render", "--settings", &wrong], 2, &["wrong.toml:2:1", "pasword"]);
    let inline =
        write(folder.path(), "inline.toml", "from = \"a@b\"\nuser = \"u\"\npassword = \"hunter2\"\n", 0o600);
    expect(&["render", "--settings", &inline], 2, &["inline.toml:3:", "not a reference"]);
    expect(&["render", "--from", "a@b", "--preset", "ses"], 2, &["give the region"]);
    let ses = ["render", "--from", "a@b", "--preset", "ses", "--region", "eu-west-1"];
    expect(&ses, 0, &["email-smtp.eu-west-1.amazonaws.com"]);
    let mailjet = ["render", "--from", "a@b", "--preset", "mailjet", "--port", "25"];
    expect(&mailjet, 0, &["PROTOCOL = smtp+starttls"]);
    let sendmail = ["render", "--from", "a@b", "--sendmail", "/usr/sbin/sendmail", "--sendmail-arg", "-O x"];
    expect(&sendmail, 0, &["PROTOCOL = sendmail", "SENDMAIL_ARGS = '-O x' --"]);
    expect(&["render", "--from", "a@b", "--socket", "/run/smtp"], 0, &["PROTOCOL = smtp+unix"]);
}

#[test]
fn the_example_and_the_module_are_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().expect("a folder");
    let secret = write(folder.path(), "secret", "plain\n", 0o400);
    let example =
        std::fs::read_to_string(root.join("examples/hosts/lab-matrix/mailer.toml")).expect("it is there");
    assert!(example.contains("/run/agenix/forgejo-smtp"));
    let settings =
        write(folder.path(), "m.toml", &example.replace("/run/agenix/forgejo-smtp", &secret), 0o600);
    let file = write(folder.path(), "app.ini", "[server]\nDOMAIN = git.example.org\n", 0o600);
    expect(&["apply", "--app-ini", &file, "--settings", &settings], 0, &["changed"]);
    expect(&["check", &file], 0, &[]);
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.contains("SMTP_ADDR = mail.example.org\nSMTP_PORT = 465\n"), "{text}");
    for nix in ["bins/smtp-config/packaging/module.nix", "examples/hosts/lab-matrix/forgejo.nix"] {
        let text = std::fs::read_to_string(root.join(nix)).expect("it is there");
        let parsed = rnix::Root::parse(&text);
        assert!(parsed.errors().is_empty(), "{nix}: {:?}", parsed.errors());
    }
    // What the module writes: a credential, and the place where Forgejo finds it.
    let settings = "from = \"a@b\"\nuser = \"u\"\npassword = \"credential:forgejo-mailer\"\n\
                    password_file = \"/run/credentials/forgejo.service/forgejo-mailer\"\n";
    let settings = write(folder.path(), "module.toml", settings, 0o600);
    write(folder.path(), "forgejo-mailer", "plain\n", 0o440);
    let output = Command::new(env!("CARGO_BIN_EXE_smtp-config"))
        .args(["render", "--settings", &settings])
        .env("CREDENTIALS_DIRECTORY", folder.path())
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let uri = "PASSWD_URI = file:/run/credentials/forgejo.service/forgejo-mailer\n";
    assert!(output.status.success() && text.contains(uri), "{output:?}");
}

#[test]
fn a_secret_is_followed_by_hashes() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = ["trace", "--from", "a@b", "--user", "u", "--password"];
    let args = |reference: &'static str, more: &[&'static str]| {
        base.iter().copied().chain([reference]).chain(more.iter().copied()).collect::<Vec<&str>>()
    };
    let words = [
        "env:SMTP_TEST_PASSWORD",
        "PASSWD, as Forgejo reads it",
        "AUTH PLAIN",
        "AUTH LOGIN",
        "one secret, all the way",
    ];
    let text = expect(&args("env:SMTP_TEST_PASSWORD", &[]), 0, &words);
    assert!(!text.contains("differs"), "{text}");
    // What stands in app.ini is another one.
    let file = write(
        folder.path(),
        "app.ini",
        "[mailer]\nENABLED = true\nFROM = a@b\nUSER = u\nPASSWD = pa#ss`word\n",
        0o600,
    );
    let both =
        ["trace", "--app-ini", &file, "--from", "a@b", "--user", "u", "--password", "env:SMTP_TEST_PASSWORD"];
    expect(&both, 3, &["differs", "the secret changes on its way"]);
    // Quotes that are lost when Forgejo writes the file.
    let quoted = "[mailer]\nENABLED = true\nFROM = a@b\nUSER = u\nPASSWD = `\"hunter2\"`\n";
    let quoted = write(folder.path(), "quoted.ini", quoted, 0o600);
    expect(&["trace", "--app-ini", &quoted], 3, &["differs", "written the file once"]);
    // By age, with an identity made by age itself.
    let identity = folder.path().join("identity");
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(&identity)
        .output()
        .expect("age is installed: cargo xtask tools");
    assert!(made.status.success());
    std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o400)).expect("a mode");
    let recipient = std::fs::read_to_string(&identity).expect("an identity");
    let recipient =
        recipient.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("its recipient");
    let plain = write(folder.path(), "plain", &format!("{PASSWORD}\n"), 0o400);
    let sealed = folder.path().join("sealed.age");
    let done =
        Command::new("age").args(["-r", recipient, "-o"]).arg(&sealed).arg(&plain).status().expect("age");
    assert!(done.success());
    let reference = format!("age:{}?identity={}", sealed.display(), identity.display());
    let sealed = ["trace", "--from", "a@b", "--user", "u", "--password", &reference];
    expect(&sealed, 0, &["age:", "one secret, all the way"]);
    // From a file it goes by PASSWD_URI.
    let reference = format!("file:{plain}");
    let by_file = ["trace", "--from", "a@b", "--user", "u", "--password", &reference, "--json"];
    expect(&by_file, 0, &["PASSWD_URI = file:", "\"same\":true"]);
}

#[test]
fn a_name_that_needs_quotes_is_quoted_and_one_without_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "app.ini", "[server]\nDOMAIN = x\n", 0o600);
    let base = ["apply", "--app-ini", &file, "--host", "mail.example.org", "--port", "465", "--from"];
    expect(&[&base[..], &["Acme, Inc. <forge@example.org>"]].concat(), 0, &["changed"]);
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.contains("FROM = \"Acme, Inc.\" <forge@example.org>\n"), "{text}");
    expect(&["check", &file], 0, &[]);
    expect(&[&base[..], &["Acme, Inc. <forge@>"]].concat(), 2, &["--from", "write Name <local@domain>"]);
    // What an older program wrote.
    let old =
        "[mailer]\nENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = m\nFROM = Acme, Inc. <f@example.org>\n";
    let old = write(folder.path(), "old.ini", old, 0o600);
    let words =
        ["error[from-specials]", "Forgejo does not start: Invalid mailer.FROM", "write \"Acme, Inc.\" <f@"];
    expect(&["check", &old], 3, &words);
    expect(&["migrate", "--app-ini", &old], 0, &["changed", "special characters"]);
    expect(&["check", &old], 0, &[]);
    expect(&["migrate", "--app-ini", &old], 0, &["unchanged"]);
}

#[test]
fn the_provider_is_known_however_it_is_named() {
    for port in ["25", "2525", "587"] {
        for named in [&["--preset", "mailjet"][..], &["--host", "in-v3.mailjet.com"], &[]] {
            let args = [&["render", "--from", "a@example.org", "--port", port], named].concat();
            expect(&args, 0, &["PROTOCOL = smtp+starttls", "in-v3.mailjet.com"]);
        }
    }
}

#[test]
fn apply_unsets_what_the_settings_no_longer_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = "[mailer]\nENABLED = true\nSMTP_ADDR = in-v3.mailjet.com\nUSER = apikey\nPASSWD = hunter2hunter2\n\
                  ENVELOPE_FROM = b@c\nFORCE_TRUST_SERVER_CERT = true\nSKIP_VERIFY = true\nSEND_AS_PLAIN_TEXT = true\n\
                  SUBJECT_PREFIX = [x]\n[mailer.override_header]\nX-A = b\n[email.incoming]\nENABLED = true\n\
                  REPLY_TO_ADDRESS = f+%{token}@b\nPASSWORD = hunter2hunter2\n";
    let file = write(folder.path(), "app.ini", before, 0o600);
    let words = ["note: USER removed", "note: PASSWD removed", "note: [email.incoming] PASSWORD removed"];
    let args = ["apply", "--app-ini", &file, "--from", "a@b", "--host", "relay.lan", "--port", "25"];
    expect(&args, 0, &words);
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert_eq!(
        text,
        "[mailer]\nENABLED = true\nSMTP_ADDR = relay.lan\nPROTOCOL = smtp\nSMTP_PORT = 25\nFROM = a@b\n\
         [mailer.override_header]\n[email.incoming]\n"
    );
    // The same account keeps its password, another one does not.
    let kept = "[mailer]\nENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = m\nSMTP_PORT = 465\nFROM = a@b\nUSER = u\nPASSWD = p\n";
    let file = write(folder.path(), "kept.ini", kept, 0o600);
    let with = |user: &str| {
        expect(
            &["apply", "--app-ini", &file, "--from", "a@b", "--host", "m", "--port", "465", "--user", user],
            0,
            &[],
        );
        std::fs::read_to_string(&file).expect("it is there")
    };
    assert_eq!(with("u"), kept);
    assert!(!with("v").contains("PASSWD"));
}

#[test]
fn a_password_fits_the_one_who_reads_it() {
    if !testkit::needs_root("smtp-config-cli: a_password_fits_the_one_who_reads_it") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let ini = write(folder.path(), "app.ini", "RUN_USER = daemon\n[server]\nDOMAIN = x\n", 0o600);
    let secret = write(folder.path(), "secret", "plainplain\n", 0o400);
    let reference = format!("file:{secret}");
    let apply = [
        "apply",
        "--app-ini",
        &ini,
        "--from",
        "a@b",
        "--user",
        "u",
        "--password",
        &reference,
        "--forgejo",
        "15",
    ];
    // Of root, 0400: Forgejo's user cannot read it, so the password goes to app.ini, with a note.
    let text = expect(&apply, 0, &["daemon cannot read it"]);
    assert!(!text.contains("plainplain"));
    assert!(std::fs::read_to_string(&ini).expect("it is there").contains("PASSWD = plainplain\n"));
    // Of the user, 0400, and of root with the user's group, 0440: both are taken, by URI.
    let daemon = 1;
    for (owner, mode) in [((Some(daemon), Some(daemon)), 0o400), ((Some(0), Some(daemon)), 0o440)] {
        std::os::unix::fs::chown(&secret, owner.0, owner.1).expect("an owner");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("a mode");
        expect(&apply, 0, &[]);
        assert!(std::fs::read_to_string(&ini).expect("it is there").contains("PASSWD_URI = file:"));
        expect(&["check", &ini], 0, &[]);
    }
    // A file that is unreadable, empty or missing is an error of check.
    std::os::unix::fs::chown(&secret, Some(0), Some(0)).expect("an owner");
    expect(&["check", &ini], 3, &["error[secret-unreadable]", "permission denied for daemon"]);
    expect(&["check", &ini, "--user", "root"], 0, &[]);
    std::fs::write(&secret, " \n").expect("a file");
    expect(&["check", &ini, "--user", "root"], 3, &["error[secret-empty]", "the file is empty"]);
    std::fs::remove_file(&secret).expect("it is removed");
    expect(&["check", &ini], 3, &["error[secret-missing]", "no such file"]);
    expect(&["explain", &ini], 0, &["does not start", "no such file"]);
}

#[test]
fn check_stops_for_the_severity_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[mailer]\nENABLED = true\nPROTOCOL = smtp+starttls\nSMTP_ADDR = mail.example.org\nSMTP_PORT = 587\n\
                FROM = a@b\nUSER = u\nPASSWD = p\n";
    let file = write(folder.path(), "app.ini", text, 0o600);
    expect(&["check", &file], 3, &["warning[starttls-strippable]"]);
    expect(&["check", &file, "--fail-on", "error"], 0, &["warning[starttls-strippable]"]);
    // A provider without TLS from the first byte is not told to use it.
    let proton = text.replace("mail.example.org", "smtp.protonmail.ch");
    let proton = write(folder.path(), "proton.ini", &proton, 0o600);
    let said = expect(&["check", &proton], 0, &["note[starttls-only]"]);
    assert!(!said.contains("465"), "{said}");
    let toml = write(folder.path(), "mailer.toml", "from = \"a@b\"\n", 0o600);
    expect(&["check", &toml, "--fail-on", "note"], 3, &["there is no section [mailer]"]);
}

#[test]
fn errors_name_the_file_the_place_and_the_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        (
            "from = \"a@b\"\nport = \"465\"\n",
            ":2:8: error[type]: port = \"465\": expected a whole number: write one from 0 to 65535",
        ),
        ("from = \"a@b\"\nhost = \"https://x\"\n", ":2:8: error[value]: host = \"https://x\": a path or URL"),
        (
            "from = \"a@b\"\nuser = \"u\"\npassword_file = \"rel\"\n",
            ":3:17: error[value]: password_file = \"rel\": not an absolute path: begin it with /",
        ),
        ("from = \"a..b@c\"\n", ":1:8: error[value]: from = \"a..b@c\": mail:"),
        ("from = \"a@b\"\npreset = \"nope\"\n", ":2:10: error[value]: preset = \"nope\": not a known preset"),
        ("from = 1\n", ":1:8: error[type]: from = 1: expected a string: put it in quotes"),
    ];
    for (text, words) in cases {
        let file = write(folder.path(), "mailer.toml", text, 0o600);
        expect(&["render", "--settings", &file], 2, &[&format!("{file}{words}")]);
    }
}

/// All faults at once, each at the place of its value: on the command line, which wins, or in the file.
#[test]
fn faults_of_the_command_line_and_of_a_file_are_named_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "from = \"a..b@c\"\nuser = \"u\"\nport = \"x\"\n\n[headers]\n\"X A\" = \"b\"\n";
    let file = write(folder.path(), "mailer.toml", text, 0o600);
    let line =
        ["render", "--settings", &file, "--host", "https://x", "--header", "X B", "--password", "hunter2"];
    let said = expect(&line, 2, &[]);
    for words in [
        "command line: error[value]: --host = https://x: a path or URL",
        "command line: error[value]: --header = X B: not a header: write Name=value",
        "command line: error[value]: --password: not a reference to a secret: write file:/path",
        "mailer.toml:1:8: error[value]: from = \"a..b@c\": mail: ",
        "mailer.toml:3:8: error[type]: port = \"x\": expected a whole number",
        "mailer.toml:6:9: error[value]: headers.X A = \"b\": not a valid header",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().count() == 6 && !said.contains("hunter2"), "{said}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_smtp-config")).args(line).arg("--json").output().expect("it runs");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((testkit::findings(&document).len(), &document["code"]), (6, &2.into()), "{document}");
}

/// Lines that Forgejo refuses, and settings that it misreads, in one run.
#[test]
fn faults_of_form_and_of_meaning_are_named_in_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[mailer]\nENABLED = true\nno delimiter\nPROTOCOL = SMTPS\nFROM = a@b\n[open\nSMTP_ADDR = m\n";
    let file = write(folder.path(), "app.ini", text, 0o600);
    let said =
        expect(&["check", &file], 2, &["app.ini:3:1: error[syntax]: ", "app.ini:6:1: error[syntax]: "]);
    assert!(said.contains("app.ini:4:1: error[protocol-unknown]: PROTOCOL = SMTPS"), "{said}");
}

/// A quote that is not closed makes the settings after it a part of the value: that is one finding, and everything else
/// is checked as if it were closed.
#[test]
fn an_open_quote_is_one_finding() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = format!("PAGE = \"\"\"\n{}\"\"\"\n", "text of a page\n".repeat(250));
    for quote in ["`", "\"\"\""] {
        for rest in [String::new(), format!("[other]\n{page}")] {
            let text = format!(
                "[mailer]\nENABLED = true\nSMTP_ADDR = {quote}mail.example.org\nPROTOCOL = smtps\nFROM = a@b.org\n{rest}"
            );
            let file = write(folder.path(), "app.ini", &text, 0o600);
            let said = expect(
                &["check", &file],
                2,
                &["app.ini:3:1: error[open-quote]: ", "not closed on this line"],
            );
            assert_eq!(said.trim().lines().count(), 1, "{quote}: {said}");
        }
    }
}

/// A value of several lines is valid, also with lines like settings: go-ini reads it, so it is a warning; none if it
/// begins after the line of its key.
#[test]
fn a_value_with_lines_like_settings_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let mailer = "[mailer]\nENABLED = true\nSMTP_ADDR = mail.example.org\nPROTOCOL = smtps\nFROM = a@b.org\n";
    for text in [
        format!("{mailer}[ui]\nTEXT = \"\"\"some words\n[text]\n\"\"\"\n"),
        format!("{mailer}SUBJECT_PREFIX = `one\nNOTE=two\nwords`\n"),
    ] {
        let file = write(folder.path(), "app.ini", &text, 0o600);
        let said = expect(&["check", &file], 3, &[":1: warning[open-quote]: "]);
        assert!(!said.contains("error["), "{said}");
        let said = expect(&["--json", "check", &file], 3, &["\"warning\"", "open-quote"]);
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON");
        expect(&["check", "--fail-on", "error", &file], 0, &["warning[open-quote]"]);
    }
    let text = format!("{mailer}[ui]\nTEXT = \"\"\"\nwrite this:\n[mailer]\nENABLED = true\n\"\"\"\n");
    expect(&["check", &write(folder.path(), "app.ini", &text, 0o600)], 0, &[": OK"]);
}

/// A migration whose result does not start changes nothing, and names the line.
#[test]
fn a_migration_to_what_does_not_start_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[mailer]\nENABLED = true\nFROM = a@b\nHOST = mail:465\nPASSWD = p\nPASSWD_URI = file:/x\n";
    let file = write(folder.path(), "app.ini", text, 0o600);
    let place = "app.ini:6:1: error[both-passwords]: PASSWD_URI: Forgejo ";
    expect(&["--forgejo", "11", "migrate", "--app-ini", &file], 2, &[place, "remove PASSWD_URI or PASSWD"]);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), text);
    // A value that names the removed key keeps its meaning.
    let text = "[mailer]\nENABLED = true\nFROM = a@b\nHOST = mail:465\nHELO_HOSTNAME = x.%(HOST)s\n";
    let file = write(folder.path(), "app.ini", text, 0o600);
    expect(
        &["migrate", "--app-ini", &file],
        0,
        &["HELO_HOSTNAME = x.mail:465: the value named a removed key"],
    );
    expect(&["explain", &file], 0, &["x.mail:465"]);
}

#[test]
fn variables_are_quoted_for_the_reader_of_the_file() {
    let from = "\"Acme, Inc.\" <f@example.org>";
    let with =
        |format: &str| expect(&["render", "--from", from, "--to", "environment", "--format", format], 0, &[]);
    assert!(with("systemd").contains("FORGEJO__mailer__FROM='\"Acme, Inc.\" <f@example.org>'\n"));
    assert!(with("docker").contains("FORGEJO__mailer__FROM=\"Acme, Inc.\" <f@example.org>\n"));
    let folder = tempfile::tempdir().expect("a folder");
    let script = write(folder.path(), "env", &with("shell").replace("note:", "# note:"), 0o600);
    let read = Command::new("/bin/sh")
        .args(["-c", &format!(". {script}; printf %s \"$FORGEJO__mailer__FROM\"")])
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&read.stdout), from, "{read:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "app.ini", "[mailer]\nENABLED = true\nFROM = a@b\n", 0o600);
    for args in [&["explain", file.as_str()][..], &["render", "--from", "a@b"], &["check", file.as_str()]] {
        testkit::assert_ends_quietly_without_a_reader(env!("CARGO_BIN_EXE_smtp-config"), args);
    }
}

#[test]
fn a_large_file_is_edited_in_a_time_that_grows_with_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |megabytes: usize| {
        let mut text = String::new();
        while text.len() < megabytes << 20 {
            let number = text.len();
            text.push_str(&format!(
                "[section.{number}]\nKEY = value of some length\nOTHER = `quoted # value`\n"
            ));
        }
        write(folder.path(), &format!("{megabytes}.ini"), &text, 0o600)
    };
    let timed = |file: &str| {
        let began = std::time::Instant::now();
        expect(&["apply", "--app-ini", file, "--from", "a@b"], 0, &["changed"]);
        expect(&["explain", file], 0, &["smtps"]);
        expect(&["check", file], 0, &[]);
        began.elapsed()
    };
    let (small, large) = (timed(&file(1)), timed(&file(5)));
    // Quadratic work would take 25 times as long; a debug build on a busy machine is far slower than a release.
    assert!(large < small * 15, "1 MB took {small:?}, 5 MB {large:?}");
}

/// Notes are on standard error, and not there with `--quiet`; the result is the same.
#[test]
fn notes_are_left_out_where_that_is_asked_for() {
    let render = ["render", "--from", "a@b", "--host", "mail.example.org", "--port", "465"];
    let said = |option: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_smtp-config")).args(render).args(option).output();
        let output = output.expect("the program runs");
        assert!(output.status.success(), "{option:?}");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (out, err) = said(&[]);
    assert!(out.contains("SMTP_ADDR") && err.contains("note: the protocol follows port 465"), "{out}{err}");
    for option in ["--quiet", "-q"] {
        assert_eq!(said(&[option]), (out.clone(), String::new()));
    }
    assert_eq!(said(&["--verbose"]), (out, err));
}
