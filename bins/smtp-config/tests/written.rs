//! Settings that are about to be written: those with an error of `check` are refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn expect(args: &[&str], code: i32, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_smtp-config"))
        .args(args)
        .env("SMTP_TEST_PASSWORD", "hunter2hunter2")
        .output()
        .expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say {word:?}:\n{text}");
    }
    assert!(!text.contains("hunter2"), "a password is shown");
    text
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    path.display().to_string()
}

/// With a password, whether it is given or kept.
const ACCOUNT: [&str; 6] =
    ["--from", "F <f@example.org>", "--user", "u@example.org", "--password", "env:SMTP_TEST_PASSWORD"];

#[test]
fn port_25_with_an_account_is_starttls() {
    let folder = tempfile::tempdir().expect("a folder");
    for server in [
        &["--host", "mail.example.org"][..],
        &["--preset", "gmail"],
        &["--preset", "sendgrid"],
        &["--preset", "mailgun"],
        &["--preset", "fastmail"],
        &["--preset", "brevo"],
    ] {
        let port = [server, &["--port", "25"]].concat();
        let words = ["PROTOCOL = smtp+starttls\n", "note: the protocol follows port 25: smtp+starttls"];
        expect(&[&["render"], &ACCOUNT[..], &port].concat(), 0, &words);
        let file = write(folder.path(), "app.ini", "");
        expect(&[&["apply", "--app-ini", &file], &ACCOUNT[..], &port].concat(), 0, &["changed"]);
        expect(&["check", &file, "--fail-on", "error"], 0, &["starttls-strippable"]);
        // Without an account there is no password.
        let none = [&["render", "--from", "f@example.org"], &port[..]].concat();
        let protocol =
            if port.contains(&"sendgrid") { "PROTOCOL = smtp+starttls\n" } else { "PROTOCOL = smtp\n" };
        expect(&none, 0, &[protocol]);
    }
}

#[test]
fn what_check_calls_an_error_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ["--host", "mail.example.org", "--port"];
    for (more, words) in [
        (
            &["25", "--protocol", "smtp"][..],
            "command line: error[value]: --protocol = smtp: the password goes out without TLS: write protocol = smtps and port = 465",
        ),
        (
            &["587", "--protocol", "smtps"],
            "--port = 587: smtps on the port of another protocol: the connection hangs, or TLS fails at its first record: 465 is",
        ),
        (&["465", "--protocol", "smtp+starttls"], "--port = 465"),
    ] {
        let args = [&ACCOUNT[..], &server, more].concat();
        for (command, file) in
            [("render", None), ("apply", Some(write(folder.path(), "app.ini", "; mine\n")))]
        {
            let ini: Vec<&str> = file.iter().flat_map(|file| ["--app-ini", file.as_str()]).collect();
            expect(&[&[command], &ini[..], &args].concat(), 2, &[words]);
            if let Some(file) = file {
                assert_eq!(std::fs::read_to_string(file).expect("it is there"), "; mine\n");
            }
        }
        let answer = expect(&[&["render", "--json"], &args[..]].concat(), 2, &[]);
        let document = answer.lines().next().expect("a document");
        testkit::findings(&serde_json::from_str(document).expect("JSON"));
    }
    // In a file, at the place of the value; a server of providers too.
    let text = "from = \"f@example.org\"\nhost = \"smtp.sendgrid.net\"\nport = 2525\nprotocol = \"smtps\"\n";
    let file = write(folder.path(), "mailer.toml", text);
    let words = ["mailer.toml:3:", "error[value]: port = 2525: sendgrid speaks smtp+starttls on port 2525"];
    expect(&["render", "--settings", &file], 2, &words);
    let text = "from = \"f@example.org\"\n[incoming]\nreply_to = \"in+%{token}@example.org\"\nhost = \"imap.example.org\"\n\
                username = \"u\"\ntls = false\n";
    let file = write(folder.path(), "mailer.toml", text);
    expect(&["render", "--settings", &file], 2, &["mailer.toml:6:", "incoming.tls", "in clear"]);
    // The doctor examines them all the same.
    let doctor = ["doctor", "--from", "a@b.test", "--user", "u", "--host", "127.0.0.2", "--port", "1"];
    let doctor = [&doctor[..], &["--protocol", "smtp", "--no-dns", "--no-ports"]].concat();
    expect(&doctor, 3, &["fail"]);
}

#[test]
fn an_error_that_was_there_before_is_noted_and_may_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[mailer]\nENABLED = true\nPROTOCOL = smtps\nSMTP_ADDR = mail.example.org\nSMTP_PORT = 465\n\
                FROM = f@example.org\nFORCE_TRUST_SERVER_CERT = true\n";
    let file = write(folder.path(), "app.ini", text);
    let apply = ["apply", "--app-ini", &file, "--from", "f@example.org", "--host", "mail.example.org"];
    let words = ["the file keeps an error: FORCE_TRUST_SERVER_CERT", "changed"];
    expect(&[&apply[..], &["--port", "465", "--plain-text"]].concat(), 0, &words);
    let after = std::fs::read_to_string(&file).expect("it is there");
    assert!(after.contains("SEND_AS_PLAIN_TEXT = true") && after.contains("FORCE_TRUST"), "{after}");
}

#[test]
fn no_password_is_written_into_a_file_that_others_can_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let file = write(folder.path(), "app.ini", "; mine\n");
    let apply = [&["apply", "--app-ini", &file], &ACCOUNT[..], &["--host", "mail.example.org"]].concat();
    mode(folder.path(), 0o755);
    mode(Path::new(&file), 0o644);
    let words = ["error[password-readable]: PASSWD: the file has mode 0644", "chmod 0640"];
    expect(&apply, 2, &words);
    expect(&[&apply[..], &["--dry-run"]].concat(), 2, &words);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "; mine\n");
    // Without a password, nothing is kept from others.
    let plain = ["apply", "--app-ini", &file, "--from", "f@example.org", "--host", "mail.example.org"];
    expect(&plain, 0, &["changed"]);
    mode(Path::new(&file), 0o640);
    expect(&apply, 0, &["changed"]);
    expect(&["check", &file], 0, &[": OK"]);
    mode(Path::new(&file), 0o644);
    let place = format!("{file}:10:1: warning[password-readable]: PASSWD: the file has mode 0644");
    expect(&["check", &file], 3, &[&place, "chmod 0640"]);
    expect(&["check", &file, "--fail-on", "error"], 0, &[]);
    let answer = expect(&["check", &file, "--json"], 3, &["\"problem\":\"password-readable\""]);
    testkit::findings(&serde_json::from_str(&answer).expect("JSON"));
    // A folder that is closed to others protects it.
    mode(folder.path(), 0o700);
    expect(&["check", &file], 0, &[": OK"]);
    expect(&apply, 0, &["unchanged"]);
}
