//! `reload` tells the outcome of the daemon; what one part of the store has wrong is said, and keeps nothing else from working.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program with a configuration in this folder, in the environment of a unit whose main process this is.
fn program(folder: &Path, main: Option<&Child>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acme-dns01"));
    command.arg("--config").arg(folder.join("acme.toml")).args(arguments);
    command.env_remove("MAINPID").env_remove("RUNTIME_DIRECTORY").env_remove("JOURNAL_STREAM");
    if let Some(main) = main {
        command.env("MAINPID", main.id().to_string());
    }
    command.stdin(Stdio::null());
    command
}

fn configure(folder: &Path, more: &str) {
    let text = format!("folder = \"{}\"\n{more}", folder.join("acme").display());
    std::fs::write(folder.join("acme.toml"), text).expect("a file");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// A daemon, which ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(folder: &Path) -> Self {
        let log = File::create(folder.join("log")).expect("a file");
        let mut command = program(folder, None, &["run"]);
        Self(command.env("RUNTIME_DIRECTORY", folder).stderr(log).spawn().expect("the program was built"))
    }

    #[track_caller]
    fn is_up(&mut self) {
        assert_eq!(self.0.try_wait().expect("a child"), None, "the daemon has ended");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reload_that_is_refused_fails_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    configure(folder, "");
    let mut daemon = Daemon::start(folder);
    let reload = |daemon: &Daemon| {
        let mut command = program(folder, Some(&daemon.0), &["reload"]);
        command.env("RUNTIME_DIRECTORY", folder).output().expect("the program was built")
    };
    // It may be asked at once: one that does not handle the signal yet would end by it.
    let output = reload(&daemon);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output), "read again: keeps 0 certificates\n");

    configure(folder, "nonsense = 1\n");
    let output = reload(&daemon);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("acme.toml:2:1: error[unknown-key]: nonsense"), "{}", said(&output));

    // What only the daemon finds, as it reads secrets in its own environment.
    let token = folder.join("token");
    let provider = format!("[provider.a]\nkind = \"cloudflare\"\ntoken = \"file:{}\"\n", token.display());
    configure(folder, &provider);
    let output = reload(&daemon);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("acme.toml:4:9: error[secret]: provider.a.token"), "{}", said(&output));
    std::fs::write(&token, "secret").expect("a file");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).expect("a mode");
    let output = reload(&daemon);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    daemon.is_up();

    let output = program(folder, None, &["reload"]).output().expect("the program was built");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("write systemctl reload acme-dns01"), "{}", said(&output));
}

/// A certificate of a CA that is not there.
fn certificate(name: &str, more: &str) -> String {
    format!("[[certificate]]\nnames = \"{name}.example.test\"\nauthority = \"none\"\n{more}")
}

#[test]
fn a_reload_says_what_took_effect_and_what_waits() {
    const CA: &str = "[authority.none]\ndirectory = \"https://localhost:1/directory\"\nlimits = false\n\
        [provider.a]\nkind = \"cloudflare\"\ntoken = \"credential:token\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let credentials = folder.join("credentials");
    std::fs::create_dir(&credentials).expect("a folder");
    std::fs::write(credentials.join("token"), "one").expect("a file");
    configure(folder, &format!("{}{}{CA}", certificate("stays", ""), certificate("goes", "")));
    let log = File::create(folder.join("log")).expect("a file");
    let mut command = program(folder, None, &["run"]);
    command.env("RUNTIME_DIRECTORY", folder).env("CREDENTIALS_DIRECTORY", &credentials);
    let mut daemon = Daemon(command.stderr(log).spawn().expect("the program was built"));
    let reload = |daemon: &Daemon, arguments: &[&str]| {
        let mut command = program(folder, Some(&daemon.0), arguments);
        let output = command.env("RUNTIME_DIRECTORY", folder).output().expect("the program was built");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    const WAITS: &str =
        "as at the start of the unit: credential:token; for another value, systemctl restart acme-dns01\n";
    assert_eq!(reload(&daemon, &["reload"]), format!("read again: keeps 2 certificates\n{WAITS}"));
    let more = [certificate("stays", "profile = \"short\"\n"), certificate("comes", "")].concat();
    configure(folder, &format!("{more}{CA}"));
    let text = reload(&daemon, &["reload"]);
    assert_eq!(
        text,
        "read again: keeps 2 certificates; new: comes.example.test; changed: stays.example.test; \
         no longer kept: goes.example.test, whose files stay in place\n"
            .to_owned()
            + WAITS
    );
    let text = std::fs::read_to_string(folder.join("log")).expect("a file");
    assert!(text.contains("new: comes.example.test") && text.contains("credential:token"), "{text}");
    // Whoever replaces the credential, as newer versions of systemd do at a reload, has it in use.
    std::fs::write(credentials.join("new"), "two").expect("a file");
    std::fs::rename(credentials.join("new"), credentials.join("token")).expect("a file");
    let answer: serde_json::Value =
        serde_json::from_str(&reload(&daemon, &["reload", "--json"])).expect("JSON");
    assert_eq!(
        answer,
        serde_json::json!({"certificates": 2, "added": [], "changed": [], "removed": [], "waiting": []})
    );
    daemon.is_up();
}

#[test]
fn errors_have_their_priority_in_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    configure(folder, "nonsense = 1\nrubbish = 2\n");
    let journal = File::create(folder.join("journal")).expect("a file");
    let found = journal.metadata().expect("a file");
    let stream = format!("{}:{}", found.dev(), found.ino());
    for (stream, prefix) in [(stream.as_str(), "<3>"), ("1:1", "")] {
        let mut command = program(folder, None, &["list"]);
        let errors = File::create(folder.join("journal")).expect("a file");
        let status = command.env("JOURNAL_STREAM", stream).stderr(errors).status();
        assert_eq!(status.expect("the program was built").code(), Some(2));
        let text = std::fs::read_to_string(folder.join("journal")).expect("a file");
        let begin = format!("{prefix}{}", folder.join("acme.toml").display());
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.starts_with(&begin)), "{text}");
    }
}

const TWO: &str = "[[certificate]]\nnames = \"good.example.test\"\nauthority = \"none\"\n\
    [[certificate]]\nnames = \"damaged.example.test\"\nauthority = \"none\"\n\
    [authority.none]\ndirectory = \"https://localhost:1/directory\"\nlimits = false\n";

#[test]
fn a_part_of_the_store_that_cannot_be_read_is_listed_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    configure(folder, TWO);
    let damaged = folder.join("acme/.acme-dns01/certificates/damaged.example.test");
    std::fs::create_dir_all(&damaged).expect("a folder");
    std::fs::write(damaged.join("journal"), "{\"of_tomorrow\":{\"at\":1}}\n").expect("a file");
    let output = program(folder, None, &["list"]).output().expect("the program was built");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let line =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("damaged.").contains("unreadable") && text.contains("of_tomorrow"), "{text}");
    assert!(!line("good.").contains("unreadable"), "{text}");
    let output = program(folder, None, &["--json", "list"]).output().expect("the program was built");
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&listed[1]["status"], output.status.code()), (&"unreadable".into(), Some(3)), "{listed}");

    // The daemon looks after the other, which has something to serve meanwhile.
    let mut daemon = Daemon::start(folder);
    let until = Instant::now() + Duration::from_secs(20);
    let key = folder.join("acme/good.example.test/key.pem");
    let log = || {
        let mut text = String::new();
        File::open(folder.join("log")).and_then(|mut file| file.read_to_string(&mut text)).expect("a file");
        text
    };
    while !(key.exists() && log().contains("of_tomorrow")) {
        assert!(Instant::now() < until, "{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.is_up();
}
