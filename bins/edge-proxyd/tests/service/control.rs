//! `edge-proxyd reload`: the outcome of a reload, where it is asked for.

use crate::{KillOnDrop, Manager, PROGRAM, ask, ends, signal};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use testkit::Origin;

fn started(manager: &Manager) -> (KillOnDrop, PathBuf) {
    let control = manager.folder.path().join("control.sock");
    let mut command = manager.command(Path::new(PROGRAM));
    let command = command.env("RUNTIME_DIRECTORY", manager.folder.path()).stderr(Stdio::null());
    let service = KillOnDrop(command.spawn().expect("it was built"));
    manager.hear("READY=1");
    (service, control)
}

fn reload(control: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["reload", "--control"]).arg(control).args(more);
    command.output().expect("it was built")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
fn metric(manager: &Manager, name: &str) -> f64 {
    let output = Command::new("/usr/bin/curl")
        .args(["-sS", "--max-time", "10", &format!("http://127.0.0.1:{}/metrics", manager.status)])
        .output()
        .expect("curl is missing: cargo xtask tools installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().expect("a number")
}

#[test]
fn a_reload_says_what_took_effect_and_fails_when_it_was_refused() {
    let manager = Manager::new(Origin::simple().address());
    let (service, control) = started(&manager);
    let mode = std::fs::metadata(&control).expect("a socket").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    let output = reload(&control, &[]);
    assert_eq!((output.status.code(), words(&output).contains("reloaded ")), (Some(0), true), "{output:?}");
    assert_eq!(metric(&manager, "edge_config_last_reload_successful"), 1.0);
    let since = metric(&manager, "edge_config_last_reload_success_timestamp_seconds");
    assert!(since > 1.7e9, "{since}");
    assert!(metric(&manager, "process_open_fds") > 5.0);
    assert!(metric(&manager, "process_resident_memory_bytes") > 1e6);
    assert!(metric(&manager, "process_start_time_seconds") > 1.7e9);
    // An error of the file, with its line; the manager shows it too.
    std::fs::write(manager.config(), format!("{config}nonsense = 1\n")).expect("a file");
    let output = reload(&control, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = words(&output);
    assert!(said.contains("edge.toml:") && said.contains("nonsense"), "{said}");
    assert!(said.contains("the configuration is unchanged"), "{said}");
    manager.hear("STATUS=serving; the last reload was refused: ");
    assert_eq!(metric(&manager, "edge_config_last_reload_successful"), 0.0);
    assert_eq!(metric(&manager, "edge_config_last_reload_success_timestamp_seconds"), since);
    // A change that waits: both parts in one answer, and as JSON.
    std::fs::write(manager.config(), config.replace("\"off\"", "\"json\"")).expect("a file");
    let output = reload(&control, &["--json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&value["ok"], &value["waiting"][0]), (&true.into(), &"log".into()), "{value}");
    let line = value["lines"][0].as_str().expect("a line");
    assert!(line.contains("except for [log]") && line.contains("reload --takeover"), "{line}");
    drop(service);
}

#[test]
fn a_reload_takes_over_where_it_must() {
    let manager = Manager::new(Origin::simple().address());
    let (mut old, control) = started(&manager);
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    // Nothing to take over for.
    let output = reload(&control, &["--takeover=needed"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(old.0.try_wait().expect("it is ours").is_none());
    // A new port, for which the sandbox has no room, and a section that is read at start.
    let port = testkit::free_port();
    let more = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n");
    let changed = format!("{}{more}", config.replace("\"off\"", "\"json\""));
    std::fs::write(manager.config(), changed).expect("a file");
    let output = reload(&control, &["--takeover=needed"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    assert!(words(&output).contains(&format!("process {successor} took over")), "{output:?}");
    ends(&mut old.0);
    assert!(ask(([127, 0, 0, 1], port).into()).expect("it serves").starts_with("HTTP/1.1 200"));
    // The successor has the control socket, and passes it on.
    let output = reload(&control, &["--takeover"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let last: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    assert!(last != successor && words(&output).contains(&format!("process {last}")), "{output:?}");
    // One that cannot serve takes nothing over, and that is said.
    std::fs::write(manager.config(), "nonsense").expect("a file");
    let output = reload(&control, &["--takeover"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(words(&output).contains(&format!("process {last} continues to serve")), "{output:?}");
    assert!(ask(manager.plain).expect("it serves on").starts_with("HTTP/1.1 200"));
    signal(last, "TERM");
    manager.hear("STOPPING=1");
}

#[test]
fn without_a_process_a_reload_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = reload(&folder.path().join("control.sock"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("is edge-proxyd running"), "{output:?}");
}

/// The sandbox knows the folder that was behind the link at the start. Without a service manager nothing takes over by itself.
#[test]
fn a_reload_is_refused_if_a_link_leads_to_a_certificate_outside_the_sandbox() {
    let manager = Manager::new(Origin::simple().address());
    let (parent, authority) = (tempfile::tempdir().expect("a folder"), testkit::Authority::new());
    let current = parent.path().join("current");
    for version in ["v1", "v2"] {
        authority.write(&parent.path().join(version), &["a.test"]);
    }
    std::os::unix::fs::symlink("v1", &current).expect("a link");
    let config = std::fs::read_to_string(manager.config()).expect("a file");
    let pair = format!("certificate = \"{0}/fullchain.pem\"\nkey = \"{0}/key.pem\"\n", current.display());
    std::fs::write(manager.config(), format!("{config}{pair}")).expect("a file");
    let control = manager.folder.path().join("control.sock");
    let mut command = manager.command(Path::new(PROGRAM));
    command.env("RUNTIME_DIRECTORY", manager.folder.path()).env_remove("NOTIFY_SOCKET");
    let _service = KillOnDrop(command.stderr(Stdio::null()).spawn().expect("it was built"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !control.exists() || ask(manager.plain).is_err() {
        assert!(std::time::Instant::now() < until, "it does not serve");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(reload(&control, &[]).status.success());
    let fresh = parent.path().join("fresh");
    std::os::unix::fs::symlink("v2", &fresh).expect("a link");
    std::fs::rename(&fresh, &current).expect("replaced");
    let refused = reload(&control, &[]);
    let said = words(&refused);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("does not allow it to read") && said.contains("current/key.pem"), "{said}");
    assert!(said.contains("reload --takeover"), "{said}");
}
