//! Each command of the program, on live servers.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::postgres::{Options, Postgres};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pg-ensure")).args(args).output().expect("the program runs")
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
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    path.display().to_string()
}

fn connect(postgres: &Postgres) -> String {
    format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port())
}

#[test]
fn plan_apply_check_generate_and_wait() {
    for major in [15, 17, 18] {
        let postgres = Postgres::start(&Options::new(major));
        let folder = tempfile::tempdir().expect("a folder");
        let secret = write(folder.path(), "secret", "correct horse\n");
        let manifest = write(
            folder.path(),
            "manifest.toml",
            &format!(
                "[[ensure]]\nname = \"vaultwarden\"\npassword_file = \"{secret}\"\n\n[[ensure]]\nname = \"forgejo\"\n"
            ),
        );
        let to = connect(&postgres);
        expect(&["wait", "--connect", &to], 0, &["ready"]);
        expect(&["check", &manifest, "--offline"], 0, &["valid: 2 roles, 2 databases"]);
        let plan =
            expect(&["plan", &manifest, "--connect", &to], 3, &["CREATE ROLE \"vaultwarden\" LOGIN", "adds"]);
        assert!(!plan.contains("correct horse") && !plan.contains("4096:"), "{plan}");
        expect(&["check", &manifest, "--connect", &to], 3, &["CREATE DATABASE \"forgejo\""]);
        expect(&["apply", &manifest, "--connect", &to], 0, &["applied: 5 steps"]);
        expect(&["apply", &manifest, "--connect", &to], 0, &["unchanged: 0 steps"]);
        expect(&["check", &manifest, "--connect", &to], 0, &["as it should be"]);
        expect(&["plan", &manifest, "--connect", &to, "--json"], 0, &["\"steps\":[]"]);
        for (format, name) in [("toml", "all.toml"), ("json", "all.json")] {
            let generated = expect(&["generate", "--connect", &to, "--format", format], 0, &["vaultwarden"]);
            let generated = write(folder.path(), name, &generated);
            expect(&["apply", &generated, "--connect", &to], 0, &["unchanged"]);
        }
    }
}

#[test]
fn a_saved_plan_is_bound_to_its_state() {
    let postgres = Postgres::start(&Options::new(18));
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "manifest.toml", "[[ensure]]\nname = \"app\"\n");
    let saved = folder.path().join("plan.json").display().to_string();
    let to = connect(&postgres);
    expect(&["plan", &manifest, "--connect", &to, "--out", &saved], 3, &[]);
    postgres.session().query("CREATE ROLE app").expect("a role");
    expect(&["apply", "--plan", &saved, "--connect", &to], 1, &["the state has moved"]);
    let databases = postgres.session().query("SELECT FROM pg_database WHERE datname = 'app'").expect("rows");
    assert!(databases.is_empty(), "nothing was done");
    expect(&["plan", &manifest, "--connect", &to, "--out", &saved], 3, &["ALTER ROLE \"app\" LOGIN"]);
    let read: Value = serde_json::from_str(&std::fs::read_to_string(&saved).expect("a file")).expect("JSON");
    assert_eq!(read["plan"]["steps"].as_array().map(Vec::len), Some(2));
    expect(&["apply", "--plan", &saved, "--connect", &to], 0, &["applied: 2 steps"]);
    expect(&["apply", "--plan", &saved, "--connect", &to], 1, &["the state has moved"]);
}
