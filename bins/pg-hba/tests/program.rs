//! Each command of the program; `install` against a live server.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::postgres::{Options, Postgres};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pg-hba")).args(args).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn expect(args: &[&str], code: i32, words: &[&str]) -> String {
    let output = run(args);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say {word:?}:\n{text}");
    }
    text
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

const POLICY: &str = "\
privileged = [\"backup\"]
tailnet = \"scram\"
[[services]]
database = \"forgejo\"
role = \"forgejo\"
";

#[test]
fn render_check_explain_diff_and_matrix() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = write(folder.path(), "policy.toml", POLICY);
    let rendered = expect(&["render", "--policy", &policy], 0, &["# Managed by pg-hba", "forgejo"]);
    let file = write(folder.path(), "pg_hba.conf", &rendered);
    expect(&["check", &file], 0, &[]);
    expect(
        &["explain", &file, "--db", "forgejo", "--user", "backup", "--from", "100.64.1.2"],
        0,
        &["reject", "decides"],
    );
    expect(
        &["explain", &file, "--db", "x", "--user", "x", "--from", "203.0.113.1", "--tls", "--json"],
        0,
        &["scram-sha-256"],
    );
    let open = write(folder.path(), "open.conf", &rendered.replace("scram-sha-256", "trust"));
    expect(&["diff", &file, &file], 0, &["equal"]);
    expect(&["diff", &file, &open], 3, &["different", "trust"]);
    expect(&["diff", &file, &open, "--json"], 3, &["\"equal\":false"]);
    expect(&["check", &open], 3, &["HBA004"]);
    expect(&["check", &open, "--waive", "HBA004=a lab"], 0, &["waived: a lab"]);
    expect(&["check", &open, "--waive", "HBA004="], 2, &["no reason"]);
    expect(&["matrix", &file], 0, &["forgejo", "local"]);
    expect(&["matrix", &file, "--html"], 0, &["<table>"]);
    expect(&["matrix", &file, "--svg"], 0, &["<svg"]);
    expect(&["matrix", &file, "--json"], 0, &["\"cells\""]);
    let bad = write(folder.path(), "bad.conf", "local all all oauth\n");
    expect(&["check", &bad, "--pg", "17"], 3, &["HBA001", "column 15", "allowed from PostgreSQL 18"]);
    expect(&["explain", &bad, "--pg", "17", "--db", "a", "--user", "a"], 2, &["oauth"]);
    let unknown = write(folder.path(), "unknown.toml", "tailnets = \"off\"\n");
    expect(&["render", "--policy", &unknown], 2, &["unknown field"]);
}

#[test]
fn an_upgrade_gate_finds_names_that_become_patterns() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "pg_hba.conf", "local all postgres peer\nlocal /^app all trust\n");
    expect(&["diff", &file, &file, "--pg", "15", "--next", "18"], 3, &["different"]);
    expect(&["check", &file, "--pg", "15", "--next", "18"], 3, &["HBA011"]);
}

#[test]
fn install_puts_rules_into_force_or_leaves_everything_as_it_was() {
    for major in [15, 17, 18] {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        let hba = postgres.hba_path();
        std::fs::set_permissions(&hba, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        let before = std::fs::metadata(&hba).expect("metadata");
        let old = std::fs::read_to_string(&hba).expect("a file");
        let folder = tempfile::tempdir().expect("a folder");
        let connect = format!(
            "host={} port={} user=postgres dbname=postgres",
            postgres.socket_folder().display(),
            postgres.port()
        );
        // The superuser of these servers is not this account, so `peer` would keep the canary out.
        let open = write(
            folder.path(),
            "open.toml",
            &format!("before = [\"host all postgres 127.0.0.1/32 trust\"]\n{POLICY}"),
        );
        let shut = write(folder.path(), "shut.toml", POLICY);
        let other = write(
            folder.path(),
            "other.toml",
            "superuser = \"nobody\"\nbefore = [\"host all postgres all reject\"]\n",
        );
        let canary = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", postgres.port());
        expect(&["install", "--policy", &open, "--connect", &connect, "--dry-run"], 3, &["would change"]);
        expect(&["install", "--policy", &other, "--connect", &connect], 2, &["locked out"]);
        expect(
            &["install", "--policy", &shut, "--connect", &connect],
            1,
            &["canary", "the old file is back"],
        );
        assert_eq!(std::fs::read_to_string(&hba).expect("a file"), old, "nothing is lost");
        expect(
            &["install", "--policy", &open, "--connect", &connect, "--canary", &canary],
            0,
            &["installed"],
        );
        let after = std::fs::metadata(&hba).expect("metadata");
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
        assert!(std::fs::read_to_string(&hba).expect("a file").starts_with("# Managed by pg-hba"));
        expect(&["install", "--policy", &open, "--connect", &canary], 0, &["unchanged"]);
        let rules = session
            .query("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL")
            .expect("the view");
        assert_eq!(rules[0][0].as_deref(), Some("0"));
    }
}
