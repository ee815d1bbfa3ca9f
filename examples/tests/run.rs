//! Every example runs and ends well.

use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the example was built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn edge_embed() {
    let text = run(env!("CARGO_BIN_EXE_edge_embed"), &[]);
    assert!(text.contains("127.0.0.1 new.test/: no answer (unknown-name)"), "{text}");
    assert!(text.contains("127.0.0.1 new.test/: 200 (-)"), "{text}");
}

#[test]
fn edge_client_address() {
    let text = run(env!("CARGO_BIN_EXE_edge_client_address"), &["100.64.0.2", "6.6.6.6, 203.0.113.7"]);
    assert!(text.contains("client  203.0.113.7"), "{text}");
    let text = run(env!("CARGO_BIN_EXE_edge_client_address"), &["198.51.100.9", "203.0.113.7"]);
    assert!(text.contains("client  198.51.100.9"), "{text}");
}

#[test]
fn pg_hba_policy() {
    run(env!("CARGO_BIN_EXE_pg_hba_policy"), &[]);
}

#[test]
fn smtp_three_lines() {
    let text = run(env!("CARGO_BIN_EXE_smtp_three_lines"), &[]);
    assert!(text.contains("PASSWD_URI = file:/run/agenix/forgejo-smtp"), "{text}");
    assert!(text.contains("Forgejo speaks Network(Smtps) to mail.example.org port 465"), "{text}");
    assert!(
        text.contains("FORGEJO__mailer__SMTP_PORT=465") && text.contains("settings.mailer = {"),
        "{text}"
    );
}

#[test]
fn smtp_passwords() {
    let text = run(env!("CARGO_BIN_EXE_smtp_passwords"), &[]);
    assert_eq!(text.matches("survives").count(), 13, "{text}");
}
