//! `edge-proxyd maintenance`: a site is switched off and on, and stays so over a reload, a takeover and a restart.

use crate::{KillOnDrop, Manager, PROGRAM, ask, ends, signal};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::Origin;

fn manager() -> (Manager, PathBuf) {
    let manager = Manager::new(Origin::simple().address());
    let state = manager.folder.path().join("state");
    std::fs::create_dir(&state).expect("a folder");
    let page = manager.folder.path().join("away.html");
    std::fs::write(&page, "<h1>Back soon</h1>").expect("a file");
    let more = format!(
        "[site.maintenance]\nfile = {:?}\nretry_after = \"10m\"\n[[site]]\nname = \"wiki\"\nhosts = [\"b.test\"]\nplain = \"serve\"\nupstream = \"http://127.0.0.1:9\"\n",
        page.display().to_string()
    );
    let text = std::fs::read_to_string(manager.config()).expect("the file");
    std::fs::write(manager.config(), text + &more).expect("a file");
    (manager, state)
}

fn started(manager: &Manager, state: &Path) -> KillOnDrop {
    let mut command = manager.command(Path::new(PROGRAM));
    command.env("RUNTIME_DIRECTORY", manager.folder.path()).env("STATE_DIRECTORY", state);
    // The manager's queue has ten places. Those of the watchdog would fill it while other programs run.
    command.env_remove("WATCHDOG_USEC");
    let service = KillOnDrop(command.stderr(Stdio::null()).spawn().expect("it was built"));
    manager.hear("READY=1");
    service
}

fn command(manager: &Manager, words: &[&str]) -> Command {
    command_of(Path::new(PROGRAM), manager, words)
}

fn command_of(program: &Path, manager: &Manager, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).arg("--control").arg(manager.folder.path().join("control.sock"));
    command
}

fn run(manager: &Manager, words: &[&str]) -> (Option<i32>, String) {
    let output = command(manager, words).output().expect("it was built");
    (output.status.code(), said(&output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn is_away(manager: &Manager) -> bool {
    let answer = ask(manager.plain).expect("an answer");
    let away = answer.starts_with("HTTP/1.1 503 ");
    if away {
        assert!(
            answer.contains("\r\nRetry-After: 600\r\n") && answer.ends_with("<h1>Back soon</h1>"),
            "{answer}"
        );
    } else {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    away
}

/// Returns whether a process is there and has not ended.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[test]
fn a_site_stays_under_maintenance_over_reload_takeover_and_restart() {
    let (manager, state) = manager();
    let mut service = started(&manager, &state);
    assert!(!is_away(&manager));
    let (code, words) = run(&manager, &["maintenance", "on", "a.test"]);
    assert_eq!((code, words.trim()), (Some(0), "site `a.test` is under maintenance"));
    assert!(is_away(&manager));
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert!(is_away(&manager));
    // Status and explanations show it.
    let shown = Command::new(PROGRAM)
        .args(["status", "--config"])
        .arg(manager.config())
        .output()
        .expect("it was built");
    assert!(
        said(&shown).contains("a.test (under maintenance)") && !said(&shown).contains("wiki (under"),
        "{}",
        said(&shown)
    );
    let explained = Command::new(PROGRAM)
        .args(["explain", "http://a.test/", "--from", "192.0.2.1", "--config"])
        .arg(manager.config())
        .arg("--state")
        .arg(&state)
        .output()
        .expect("it was built");
    assert!(
        said(&explained).contains("refused with 503: the site is switched to maintenance"),
        "{}",
        said(&explained)
    );
    // A new process.
    assert_eq!(run(&manager, &["reload", "--takeover"]).0, Some(0));
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    ends(&mut service.0);
    assert!(is_away(&manager));
    signal(successor, "TERM");
    manager.hear("STOPPING=1");
    // A restart, once the old process and its sockets are gone.
    manager.stored.borrow_mut().clear();
    let until = Instant::now() + Duration::from_secs(20);
    while runs(successor) {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let service = started(&manager, &state);
    assert!(is_away(&manager));
    let (code, words) = run(&manager, &["maintenance", "off", "a.test"]);
    assert_eq!((code, words.trim()), (Some(0), "site `a.test` is in service"));
    assert!(!is_away(&manager));
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert!(!is_away(&manager));
    drop(service);
}

#[test]
fn a_successor_switches_a_site_back_before_any_restart() {
    let (manager, state) = manager();
    let mut service = started(&manager, &state);
    assert_eq!(run(&manager, &["maintenance", "on", "a.test"]).0, Some(0));
    assert!(is_away(&manager));
    assert_eq!(run(&manager, &["reload", "--takeover"]).0, Some(0));
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    ends(&mut service.0);
    let _ended = Ended(successor);
    assert!(is_away(&manager));
    // The switch that it took over is its own: it serves again, and keeps it so.
    let (code, words) = run(&manager, &["maintenance", "off", "a.test"]);
    assert_eq!((code, words.trim()), (Some(0), "site `a.test` is in service"));
    assert!(!is_away(&manager));
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert!(!is_away(&manager));
    // Another process does not find the switch of before.
    assert_eq!(run(&manager, &["reload", "--takeover"]).0, Some(0));
    let last: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    let _ended_too = Ended(last);
    let until = Instant::now() + Duration::from_secs(20);
    while runs(successor) {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!is_away(&manager));
    let (code, words) = run(&manager, &["maintenance", "off", "a.test"]);
    assert_eq!((code, words.trim()), (Some(0), "site `a.test` is in service already"));
}

/// Ends a successor when the test ends.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.to_string()).stderr(Stdio::null()).status();
    }
}

/// A switch beside a site for every other name, a listener that forwards, and sites of included files.
#[test]
fn a_switch_is_of_one_site_and_of_nothing_else() {
    let origin = Origin::simple();
    let (manager, state) = manager();
    let sites = manager.folder.path().join("sites.d");
    std::fs::create_dir(&sites).expect("a folder");
    let included = sites.join("docs.toml");
    let forward = testkit::free_port();
    let docs = format!(
        "[[site]]\nname = \"docs\"\nhosts = [\"docs.test\"]\nplain = \"serve\"\nupstream = \"http://{}\"\n",
        origin.address()
    );
    std::fs::write(&included, &docs).expect("a file");
    let text = std::fs::read_to_string(manager.config()).expect("the file");
    let text = format!(
        "include = \"sites.d/*.toml\"\n{text}[[site]]\nname = \"rest\"\nhosts = [\"*\"]\nplain = \"serve\"\nupstream = \"http://{0}\"\n\
         [[listen]]\nname = \"raw\"\naddress = \"127.0.0.1:{forward}\"\nforward = \"tcp://{0}\"\n",
        origin.address()
    );
    std::fs::write(manager.config(), text).expect("a file");
    let _service = started(&manager, &state);
    let at = |port: std::net::SocketAddr, host: &str| {
        let mut stream = std::net::TcpStream::connect(port).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it is open");
        // The service behind the forward does not close.
        let mut said = [0; 12];
        stream.read_exact(&mut said).expect("a status line");
        String::from_utf8_lossy(&said[9..]).into_owned()
    };
    let raw = std::net::SocketAddr::from(([127, 0, 0, 1], forward));
    // a.test, docs.test, an address and a name of no site, and the forward.
    let all = || {
        let hosts =
            ["a.test", "docs.test", "elsewhere.test", "192.0.2.9"].map(|host| at(manager.plain, host));
        format!("{} {}", hosts.join(" "), at(raw, "docs.test"))
    };
    assert_eq!(all(), "200 200 200 200 200");
    assert_eq!(run(&manager, &["maintenance", "on", "docs.test"]).0, Some(0));
    assert_eq!(all(), "200 503 200 200 200");
    assert_eq!(run(&manager, &["maintenance", "on", "*"]).0, Some(0));
    assert_eq!(all(), "200 503 503 503 200");
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert_eq!(all(), "200 503 503 503 200");
    // A listener is no site, and a name that only the last site has is not one of its hosts.
    for wrong in ["raw", "elsewhere.test"] {
        let (code, words) = run(&manager, &["maintenance", "on", wrong]);
        assert!(code == Some(2) && words.contains(&format!("`{wrong}`")), "{words}");
    }
    assert_eq!(run(&manager, &["maintenance", "off", "rest"]).0, Some(0));
    assert_eq!(all(), "200 503 200 200 200");
    // Without its file the name is one of all others; the switch waits for the site, and can be switched off meanwhile.
    std::fs::remove_file(&included).expect("it is there");
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert_eq!(all(), "200 200 200 200 200");
    std::fs::write(&included, &docs).expect("a file");
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert_eq!(all(), "200 503 200 200 200");
    std::fs::remove_file(&included).expect("it is there");
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert_eq!(run(&manager, &["maintenance", "off", "docs"]).0, Some(0));
    std::fs::write(&included, &docs).expect("a file");
    assert_eq!(run(&manager, &["reload"]).0, Some(0));
    assert_eq!(all(), "200 200 200 200 200");
}

#[test]
fn wrong_sites_and_a_missing_state_folder_are_named() {
    let (manager, state) = manager();
    let service = started(&manager, &state);
    let (code, words) = run(&manager, &["maintenance", "on", "wikki"]);
    assert!(code == Some(2) && words.contains("did you mean `wiki`?"), "{words}");
    let (code, words) = run(&manager, &["maintenance", "on", "b.test", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&words).expect("JSON");
    assert_eq!((code, &value["lines"][0]), (Some(0), &"site `wiki` is under maintenance".into()));
    drop(service);
    let (manager, _) = self::manager();
    let control = manager.folder.path().join("control.sock");
    let mut command = manager.command(Path::new(PROGRAM));
    command
        .env("RUNTIME_DIRECTORY", manager.folder.path())
        .env_remove("STATE_DIRECTORY")
        .stderr(Stdio::null());
    let _service = KillOnDrop(command.spawn().expect("it was built"));
    manager.hear("READY=1");
    let (code, words) = run(&manager, &["maintenance", "on", "a.test"]);
    assert!(code == Some(2) && words.contains("--state FOLDER"), "{words}");
    assert!(!is_away(&manager) && control.exists());
}

#[test]
fn other_accounts_cannot_switch_even_if_the_socket_lets_them() {
    // It becomes another account.
    if !testkit::needs_root("edge-proxyd: other_accounts_cannot_switch_even_if_the_socket_lets_them") {
        return;
    }
    let (manager, state) = manager();
    let _service = started(&manager, &state);
    let control = manager.folder.path().join("control.sock");
    for (path, mode) in [(manager.folder.path(), 0o755), (control.as_path(), 0o666)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    }
    // The account may not be able to read the folder that programs are built in.
    let program = testkit::postgres::readable(Path::new(PROGRAM));
    let mut nobody = command_of(&program, &manager, &["maintenance", "on", "a.test"]);
    let output = nobody.uid(65_534).gid(65_534).current_dir("/").output().expect("it was built");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(!is_away(&manager));
    assert_eq!(run(&manager, &["maintenance", "on", "a.test"]).0, Some(0));
    assert!(is_away(&manager));
}
