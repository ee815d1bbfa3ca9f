//! The program against local servers: the three lines that point Forgejo at a server of one's own, from the file to the
//! mailbox.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::Authority;
use testkit::mail::{CertificateFiles, Postfix};

const PASSWORD: &str = "pa#ss;w%rd`\"";

fn run(args: &[&str], code: i32, words: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_smtp-config")).args(args).output().expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say {word:?}:\n{text}");
    }
    assert!(!text.contains(PASSWORD) && !text.contains("AGZvcmdl"), "{args:?} shows the password");
    text
}

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    path.display().to_string()
}

#[test]
fn three_lines_point_forgejo_at_a_server_of_ones_own() {
    if !testkit::needs_root("smtp-config-cli: three_lines_point_forgejo_at_a_server_of_ones_own") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let pair = CertificateFiles::write(folder.path(), "mail", &authority.issue(&["localhost"]));
    let postfix = Postfix::start(&pair, "forge", PASSWORD);
    let roots = write(folder.path(), "roots.pem", authority.root(), 0o644);
    let secret = write(folder.path(), "smtp", &format!("{PASSWORD}\n"), 0o400);
    let before = "APP_NAME = Forge ; ours\n[server]\nDOMAIN = git.example.org\nSECRET_KEY = hidden\n";
    let file = write(folder.path(), "app.ini", before, 0o640);
    // The three lines; the account is the owner's.
    let three =
        format!("from = \"Forge <forge@example.org>\"\nhost = \"localhost\"\nport = {}\n", postfix.smtps);
    let account = format!("user = \"forge\"\npassword = \"file:{secret}\"\n");
    let settings = write(folder.path(), "mailer.toml", &format!("{three}{account}"), 0o600);

    let apply = ["apply", "--app-ini", &file, "--settings", &settings];
    let dry =
        run(&[&apply[..], &["--dry-run"]].concat(), 3, &["+PASSWD_URI = file:", "the protocol follows port"]);
    assert!(!dry.contains("hidden"), "{dry}");
    run(&apply, 0, &["changed"]);
    run(&apply, 0, &["unchanged"]);
    let after = std::fs::read_to_string(&file).expect("it is there");
    assert!(after.starts_with(before) && !after.contains(PASSWORD), "{after}");
    run(&["check", &file], 0, &[]);
    run(&["explain", &file], 0, &["speaks smtps to localhost"]);

    let wire = ["--app-ini", &file, "--roots", &roots, "--address", "127.0.0.1"];
    let doctor = [&["doctor"], &wire[..], &["--no-dns", "--no-ports"]].concat();
    // This machine's own name may be a short one, which is a warning.
    let named =
        write(folder.path(), "named.ini", &format!("{after}HELO_HOSTNAME = git.example.org\n"), 0o600);
    let with_name: Vec<&str> =
        doctor.iter().map(|arg| if *arg == file { named.as_str() } else { arg }).collect();
    run(&with_name, 0, &["authentication", "pass", "mail-from"]);
    let json = run(&[&with_name[..], &["--json"]].concat(), 0, &["\"check\":\"authentication\""]);
    assert!(serde_json::from_str::<serde_json::Value>(json.trim()).is_ok(), "{json}");

    let as_forgejo = [&["doctor"], &wire[..], &["--as-forgejo", "15"]].concat();
    run(&as_forgejo, 0, &["FORGEJO 15", "The password stays secret."]);
    let starttls = [
        "doctor",
        "--from",
        "forge@example.org",
        "--host",
        "localhost",
        "--port",
        &postfix.submission.to_string(),
        "--protocol",
        "smtp+starttls",
        "--user",
        "forge",
        "--roots",
        &roots,
        "--address",
        "127.0.0.1",
    ]
    .map(str::to_owned);
    let starttls: Vec<&str> = starttls.iter().map(String::as_str).collect();
    for version in ["7", "11", "15", "16", "17"] {
        let leak = [&starttls[..], &["--as-forgejo", version]].concat();
        run(&leak, 3, &["the eavesdropper has the password, in clear", "take smtps on port 465"]);
        let answer = run(&[&leak[..], &["--json"]].concat(), 3, &["\"leaks\":true"]);
        let found = testkit::findings(&serde_json::from_str(answer.trim()).expect("JSON"));
        assert_eq!(
            (&found[0]["code"], &found[0]["fix"]),
            (&"leaks".into(), &"take smtps on port 465.".into())
        );
    }

    run(
        &[&["send-test"], &wire[..], &["--to", "someone@example.org"]].concat(),
        0,
        &["sent to someone@example.org"],
    );
    let arrived = postfix.delivered("A test of Forgejo's mailer");
    assert!(
        arrived.contains("From: Forge <forge@example.org>") && arrived.contains("@git.example.org>"),
        "{arrived}"
    );
    let trace = [&["trace"], &wire[..], &["--settings", &settings, "--server"]].concat();
    run(&trace, 0, &["file:", "PASSWD_URI", "AUTH PLAIN", "taken:", "one secret, all the way"]);

    // A server that cannot be reached, or that refuses the account, says nothing about the secret.
    for (address, account) in [("127.0.0.2", "forge"), ("127.0.0.1", "somebody")] {
        let text = format!("{three}user = \"{account}\"\npassword = \"file:{secret}\"\n");
        let settings = write(folder.path(), "followed.toml", &text, 0o600);
        let ini = after.replace("USER = forge", &format!("USER = {account}"));
        let ini = write(folder.path(), "followed.ini", &ini, 0o600);
        let wire = ["--app-ini", &ini, "--roots", &roots, "--address", address];
        let trace = [&["trace"], &wire[..], &["--settings", &settings, "--server"]].concat();
        let said = run(&trace, 3, &["the secret is the same as far as it could be followed"]);
        assert!(!said.contains("changes on its way"), "{said}");
    }

    // A certificate that is for another name: nothing is sent, and that is said.
    let misnamed =
        CertificateFiles::write(folder.path(), "misnamed", &authority.issue(&["other.example.org"]));
    let other = Postfix::start(&misnamed, "forge", PASSWORD);
    let wrong = after.replace(&format!("= {}", postfix.smtps), &format!("= {}", other.smtps));
    let wrong = write(folder.path(), "wrong.ini", &wrong, 0o600);
    let wire = ["--app-ini", &wrong, "--roots", &roots, "--address", "127.0.0.1"];
    run(
        &[&["doctor"], &wire[..], &["--no-dns", "--no-ports"]].concat(),
        3,
        &["other.example.org", "skipped"],
    );
    let answer = run(
        &[&["doctor"], &wire[..], &["--no-dns", "--no-ports", "--json"]].concat(),
        3,
        &["\"verdict\":\"fail\""],
    );
    let found = testkit::findings(&serde_json::from_str(answer.trim()).expect("JSON"));
    let misnamed = |found: &serde_json::Value| {
        found["severity"] == "error"
            && found["message"].as_str().is_some_and(|text| text.contains("other.example.org"))
    };
    assert!(found.iter().any(misnamed), "{found:?}");
    run(&[&["send-test"], &wire[..], &["--to", "a@example.org"]].concat(), 1, &["other.example.org"]);
    assert!(!other.log().contains("sasl_username"), "{}", other.log());
}

#[test]
fn the_default_provider_is_reached_with_nothing_but_an_account() {
    if !testkit::needs_root("smtp-config-cli: the_default_provider_is_reached_with_nothing_but_an_account") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let pair = CertificateFiles::write(folder.path(), "mail", &authority.issue(&["in-v3.mailjet.com"]));
    let postfix = Postfix::start(&pair, "forge", PASSWORD);
    let roots = write(folder.path(), "roots.pem", authority.root(), 0o644);
    let secret = write(folder.path(), "smtp", &format!("{PASSWORD}\n"), 0o400);
    let file = write(folder.path(), "app.ini", "[server]\nDOMAIN = git.example.org\n", 0o640);
    let reference = format!("file:{secret}");
    let account =
        ["--from", "Forge <forge@example.org>", "--user", "forge", "--password", reference.as_str()];
    run(&[&["apply", "--app-ini", file.as_str()], &account[..]].concat(), 0, &["changed"]);
    run(&["check", &file], 0, &[]);
    run(&["explain", &file], 0, &["speaks smtps to in-v3.mailjet.com port 465"]);
    // The provider stands on another port of this machine; everything else is as it was written.
    let text = std::fs::read_to_string(&file).expect("it is there");
    let text = text.replace("SMTP_PORT = 465", &format!("SMTP_PORT = {}", postfix.smtps));
    let text = text.replace("[mailer]\n", "[mailer]\nHELO_HOSTNAME = git.example.org\n");
    let here = write(folder.path(), "here.ini", &text, 0o640);
    let wire = ["--app-ini", &here, "--roots", &roots, "--address", "127.0.0.1"];
    run(&[&["doctor"], &wire[..], &["--no-dns", "--no-ports"]].concat(), 0, &["authentication", "mail-from"]);
    run(&[&["doctor"], &wire[..], &["--as-forgejo", "15"]].concat(), 0, &["The password stays secret."]);
    let sent = [&["send-test"], &wire[..], &["--to", "someone@example.org"]].concat();
    run(&sent, 0, &["sent to someone@example.org"]);
    assert!(postfix.delivered("A test of Forgejo's mailer").contains("From: Forge <forge@example.org>"));
}

#[test]
fn what_cannot_be_meant_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = "[mailer]\nFROM = a@b\nno delimiter here\n";
    let file = write(folder.path(), "app.ini", broken, 0o600);
    let untouched = || assert_eq!(std::fs::read_to_string(&file).expect("it is there"), broken);
    run(&["apply", "--app-ini", &file, "--from", "a@b"], 2, &["app.ini:3:1", "key = value"]);
    untouched();
    let two = write(folder.path(), "two", "a\nb\n", 0o400);
    let nul = write(folder.path(), "nul", "a\0b\n", 0o400);
    for bad in [&two, &nul] {
        let reference = format!("file:{bad}");
        let args = ["render", "--from", "a@b", "--user", "u", "--password", &reference];
        run(&args, 2, &["NUL byte or more than one line"]);
    }
    run(&["render", "--from", "a@b", "--port", "70000"], 2, &["port"]);
    run(&["render", "--from", "a@b", "--host", "https://x"], 2, &["without https://"]);
    run(&["render", "--from", "a@b", "--header", "X Y=z"], 2, &["--header = X Y=z", "not a valid header"]);
    run(&["send-test", "--from", "a@b", "--to", "Name <a@b>"], 2, &["bare address"]);
    run(&["doctor", "--app-ini", &file], 2, &["app.ini:3:1"]);
    run(&["doctor", "--from", "a@b", "--limit", "0"], 2, &["--limit"]);
    run(&["trace"], 2, &["--app-ini"]);
    untouched();
}
