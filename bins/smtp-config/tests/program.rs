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
    expect(&["render", "--from", "a..b@c"], 2, &["Go refuses"]);
    let bad = write(
        folder.path(),
        "bad.ini",
        "[mailer]\nPROTOCOL = SMTPS\nSMTP_ADDR = x\nPASSWD = `pa#ss`word`\n",
        0o600,
    );
    expect(&["check", &bad], 3, &["protocol-unknown", "line 2"]);
    expect(&["check", &bad, "--json"], 3, &["\"code\":\"protocol-unknown\""]);
    expect(&["explain", &bad], 0, &["PROTOCOL is read as \"SMTPS\"", "PASSWD is read as (not shown)"]);
    let broken = write(folder.path(), "broken.ini", "[mailer]\nno delimiter\n", 0o600);
    expect(&["check", &broken], 2, &["line 2"]);
    expect(&["check", "/nonexistent"], 1, &[]);
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
    assert_eq!(with(&by_file, &["--dry-run"], 3, &["would change", "PASSWD_URI"]), before);
    assert_eq!(with(&format!("file:{open}"), &[], 2, &["others can read it"]), before);
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
}
