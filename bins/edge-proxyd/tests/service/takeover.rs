//! Takeover by a new process.

use crate::{KillOnDrop, Manager, PROGRAM, ask, ends, signal};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use testkit::Origin;

#[test]
fn a_new_binary_takes_over_without_refusing_a_connection() {
    let slow = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        if bytes.starts_with(b"GET /slow") {
            std::thread::sleep(Duration::from_secs(3));
        }
        Some((testkit::answer("ok"), end))
    });
    let manager = Manager::new(slow.address());
    let program = manager.folder.path().join("edge-proxyd");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let mut old = KillOnDrop(manager.start(&program));
    manager.hear("READY=1");
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let successor = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let got = ask(manager.plain).expect("no connection is refused or broken off");
                    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        let stops = Stop(&stop);
        // A request in flight at the old process during the takeover.
        let mut slow = TcpStream::connect(manager.plain).expect("it listens");
        slow.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            .expect("it is open");
        std::thread::sleep(Duration::from_millis(300));
        // A new link replaces the old one, as an upgrade does.
        let fresh = manager.folder.path().join("fresh");
        std::os::unix::fs::symlink(PROGRAM, &fresh).expect("a link");
        std::fs::rename(&fresh, &program).expect("replaced");
        signal(old.0.id(), "USR2");
        let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
        manager.hear("READY=1");
        let mut text = String::new();
        slow.read_to_string(&mut text).expect("what was under way is finished");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        ends(&mut old.0);
        std::thread::sleep(Duration::from_millis(300));
        drop(stops);
        successor
    });
    // The service does not stop: its manager would kill the successor too.
    let said = manager.all();
    assert!(!said.iter().any(|text| text.contains("STOPPING=1")), "{said:?}");
    assert!(served.load(SeqCst) > 50, "{served:?}");
    assert_ne!(successor, old.0.id());
    assert!(ask(manager.plain).expect("the successor serves").starts_with("HTTP/1.1 200"));
    // The status page appears once the old process has exited.
    let status = SocketAddr::from(([127, 0, 0, 1], manager.status));
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(status).is_err() {
        assert!(Instant::now() < until, "its page does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(successor, "TERM");
    manager.hear("STOPPING=1");
}

/// A socket that is bound to an interface, and one that is not, hold one address for a moment.
#[test]
fn a_successor_may_have_another_interface_at_an_address() {
    let manager = Manager::new(Origin::simple().address());
    let without = std::fs::read_to_string(manager.config()).expect("a file");
    let with = without.replacen("[[listen]]\n", "[[listen]]\ninterface = \"lo\"\n", 1);
    let journal = manager.folder.path().join("journal");
    let mut command = manager.command(Path::new(PROGRAM));
    command.stderr(std::fs::File::create(&journal).expect("a file"));
    let mut first = KillOnDrop(command.spawn().expect("the program was built"));
    manager.hear("READY=1");
    let mut process = first.0.id();
    for text in [&with, &without] {
        std::fs::write(manager.config(), text).expect("a file");
        signal(process, "USR2");
        process = manager.hear("MAINPID=")[8..].parse().expect("a number");
        manager.hear("READY=1");
        assert!(ask(manager.plain).expect("the successor serves").starts_with("HTTP/1.1 200"));
    }
    ends(&mut first.0);
    assert!(ask(manager.plain).expect("the successor serves").starts_with("HTTP/1.1 200"));
    // The address of another program is still refused, and the reason is not lost with the process.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    let text = format!("{without}[[listen]]\naddress = \"{taken}\"\n");
    std::fs::write(manager.config(), text).expect("a file");
    signal(process, "USR2");
    let until = Instant::now() + Duration::from_secs(20);
    let said = loop {
        let said = std::fs::read_to_string(&journal).expect("a file");
        if said.contains("continues to serve") {
            break said;
        }
        assert!(Instant::now() < until, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(said.contains(&format!("cannot listen on {taken}")), "{said}");
    assert!(ask(manager.plain).expect("the process serves on").starts_with("HTTP/1.1 200"));
}

/// Stops the load, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A folder that is mounted over another one is closed to the sandbox like one that is moved into its place.
#[test]
fn a_folder_of_certificates_that_was_replaced_is_written_to_by_a_successor() {
    let manager = Manager::new(Origin::simple().address());
    let parent = tempfile::tempdir().expect("a folder");
    let (folder, other, token) =
        (parent.path().join("acme"), parent.path().join("other"), parent.path().join("token"));
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::create_dir(&other).expect("a folder");
    std::fs::write(&token, "secret").expect("a file");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).expect("a mode");
    let config = std::fs::read_to_string(manager.config()).expect("a file");
    let acme = format!(
        "{config}[certificates]\nfolder = \"{}\"\n[acme.authority.none]\ndirectory = \"https://127.0.0.1:1/directory\"\n\
         [acme.provider.a]\nkind = \"cloudflare\"\ntoken = \"file:{}\"\n[[acme.certificate]]\nnames = [\"a.test\"]\nauthority = \"none\"\n",
        folder.display(),
        token.display()
    );
    std::fs::write(manager.config(), acme).expect("a file");
    let mut old = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    assert!(folder.join("a.test/key.pem").exists(), "there is a placeholder");
    std::fs::rename(&folder, parent.path().join("before")).expect("it is there");
    std::fs::rename(&other, &folder).expect("it is there");
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    manager.hear("READY=1");
    ends(&mut old.0);
    assert!(folder.join("a.test/key.pem").exists(), "the successor may write");
    // Once for each folder: nothing else takes over.
    std::thread::sleep(Duration::from_secs(3));
    let said = manager.all();
    signal(successor, "TERM");
    assert_eq!(said.iter().filter(|text| text.contains("MAINPID=")).count(), 1, "{said:?}");
}

/// Folders of secrets are often replaced by changing a link to the current one.
#[test]
fn a_certificate_behind_a_link_that_changed_is_used_by_a_successor() {
    let manager = Manager::new(Origin::simple().address());
    let (parent, authority) = (tempfile::tempdir().expect("a folder"), testkit::Authority::new());
    let (current, fresh) = (parent.path().join("current"), parent.path().join("fresh"));
    for version in ["v1", "v2"] {
        authority.write(&parent.path().join(version), &["a.test"]);
    }
    std::os::unix::fs::symlink("v1", &current).expect("a link");
    let tls: SocketAddr = ([127, 0, 0, 1], testkit::free_port()).into();
    let config = std::fs::read_to_string(manager.config()).expect("a file");
    let config = format!(
        "{config}certificate = \"{0}/fullchain.pem\"\nkey = \"{0}/key.pem\"\n[[listen]]\naddress = \"{tls}\"\ntls = true\n",
        current.display()
    );
    std::fs::write(manager.config(), config).expect("a file");
    let mut old = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    let served = || {
        let config = std::sync::Arc::new(testkit::tls_client(authority.root(), &[]));
        let name = "a.test".try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(config, name).expect("a client");
        let mut stream = TcpStream::connect(tls).expect("it listens");
        while client.is_handshaking() {
            client.complete_io(&mut stream).expect("a handshake");
        }
        client.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let of = |version: &str| {
        let chain = std::fs::read(parent.path().join(version).join("fullchain.pem")).expect("a file");
        CertificateDer::from_pem_slice(&chain).expect("a certificate").to_vec()
    };
    assert_eq!(served(), of("v1"));
    std::os::unix::fs::symlink("v2", &fresh).expect("a link");
    std::fs::rename(&fresh, &current).expect("replaced");
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    manager.hear("READY=1");
    ends(&mut old.0);
    assert_eq!(served(), of("v2"));
    signal(successor, "TERM");
}

#[test]
fn a_binary_that_does_not_serve_takes_nothing_over() {
    let manager = Manager::new(Origin::simple().address());
    let program = manager.folder.path().join("edge-proxyd");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let mut service = KillOnDrop(manager.start(&program));
    manager.hear("READY=1");
    std::fs::write(manager.config(), "nonsense").expect("a file");
    signal(service.0.id(), "USR2");
    manager.hear("STATUS=handing over");
    manager.hear("STATUS=serving; the new process ended before it served");
    for _ in 0..20 {
        assert!(ask(manager.plain).expect("it serves on").starts_with("HTTP/1.1 200"));
    }
    assert!(service.0.try_wait().expect("it is ours").is_none());
}

/// Replaces the program by one that never serves.
fn hang(program: &Path) {
    replace(program, "exec sleep 1000");
}

/// Replaces the program by a script.
fn replace(program: &Path, script: &str) {
    let fresh = program.with_extension("fresh");
    std::fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).expect("a file");
    std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).expect("it is ours");
    std::fs::rename(&fresh, program).expect("replaced");
}

fn is_there(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    status.is_ok_and(|text| !text.contains(") Z "))
}

/// The sleeping successors of a process: grandchildren by way of the launcher.
fn sleepers(of: u32) -> Vec<u32> {
    let children = |process: u32| -> Vec<u32> {
        let path = format!("/proc/{process}/task/{process}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    };
    let all = children(of).into_iter().flat_map(|child| [vec![child], children(child)].concat());
    let sleeps = |process: &u32| {
        std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "sleep\n")
    };
    all.filter(sleeps).collect()
}

#[test]
fn a_successor_that_hangs_is_ended_while_the_watchdog_is_fed() {
    let manager = Manager::new(Origin::simple().address());
    let program = manager.folder.path().join("edge-proxyd");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let mut command = manager.command(&program);
    command.args(["--takeover-timeout", "3"]).stderr(Stdio::null());
    let mut service = KillOnDrop(command.spawn().expect("it was built"));
    manager.hear("READY=1");
    hang(&program);
    signal(service.0.id(), "USR2");
    manager.hear("STATUS=handing over");
    // The manager would kill a service that is silent for 400 ms.
    for _ in 0..8 {
        assert_eq!(manager.receive().expect("a message"), "WATCHDOG=1");
    }
    assert!(ask(manager.plain).expect("the old one serves").starts_with("HTTP/1.1 200"));
    let successor = sleepers(service.0.id());
    assert_eq!(successor.len(), 1, "{successor:?}");
    manager.hear("STATUS=serving; the new process did not serve in time");
    assert!(!is_there(successor[0]), "it was ended");
    assert!(ask(manager.plain).expect("the old one serves on").starts_with("HTTP/1.1 200"));
    assert!(service.0.try_wait().expect("it is ours").is_none());
    // The service can be stopped at any time, and nothing is left of it.
    signal(service.0.id(), "USR2");
    manager.hear("STATUS=handing over");
    let until = Instant::now() + Duration::from_secs(10);
    while sleepers(service.0.id()).is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let successor = sleepers(service.0.id());
    assert_eq!(successor.len(), 1, "{successor:?}");
    signal(service.0.id(), "TERM");
    manager.hear("STOPPING=1");
    ends(&mut service.0);
    assert!(!is_there(successor[0]), "it was ended");
}

#[test]
fn a_process_that_was_taken_over_from_ends_soon_when_the_service_stops() {
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        if bytes.starts_with(b"GET /never") {
            std::thread::sleep(Duration::from_secs(60));
        }
        Some((testkit::answer("ok"), end))
    });
    let manager = Manager::new(origin.address());
    let mut command = manager.command(Path::new(PROGRAM));
    command.args(["--stop-grace", "1"]).stderr(Stdio::null());
    let mut old = KillOnDrop(command.spawn().expect("it was built"));
    manager.hear("READY=1");
    let mut long = TcpStream::connect(manager.plain).expect("it listens");
    long.write_all(b"GET /never HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("it is open");
    std::thread::sleep(Duration::from_millis(300));
    signal(old.0.id(), "USR2");
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    std::thread::sleep(Duration::from_secs(2));
    assert!(old.0.try_wait().expect("it is ours").is_none(), "it has longer after a takeover");
    // A manager tells every process of the service.
    let began = Instant::now();
    signal(old.0.id(), "TERM");
    signal(successor, "TERM");
    ends(&mut old.0);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[test]
fn a_reload_during_a_takeover_is_done_by_whoever_serves_afterwards() {
    let manager = Manager::new(Origin::simple().address());
    let program = manager.folder.path().join("edge-proxyd");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let control = manager.folder.path().join("control");
    let mut command = manager.command(&program);
    command.arg("--control").arg(&control).stderr(Stdio::null());
    let mut old = KillOnDrop(command.spawn().expect("it was built"));
    manager.hear("READY=1");
    // One that fails: the old process reloads, once it knows.
    replace(&program, "sleep 1; exit 1");
    signal(old.0.id(), "USR2");
    manager.hear("STATUS=handing over");
    signal(old.0.id(), "HUP");
    manager.hear("RELOADING=1");
    // A request of which somebody waits for the outcome is refused.
    let output = std::process::Command::new(PROGRAM)
        .args(["reload", "--control"])
        .arg(&control)
        .output()
        .expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a new process is taking over: ask again when it serves"), "{said}");
    manager.hear("STATUS=serving; the new process ended before it served");
    manager.hear("RELOADING=1");
    manager.hear("READY=1");
    // One that serves may have read the configuration before the reload: it reads it again.
    replace(&program, &format!("sleep 1; exec {PROGRAM} \"$@\""));
    signal(old.0.id(), "USR2");
    manager.hear("STATUS=handing over");
    signal(old.0.id(), "HUP");
    manager.hear("RELOADING=1");
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    manager.hear("READY=1");
    manager.hear("RELOADING=1");
    manager.hear("READY=1");
    ends(&mut old.0);
    assert!(ask(manager.plain).expect("the successor serves").starts_with("HTTP/1.1 200"));
    signal(successor, "TERM");
    manager.hear("STOPPING=1");
}
