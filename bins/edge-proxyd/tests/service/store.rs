//! Sockets that the manager keeps while the service restarts, and those of socket units.

use crate::{KillOnDrop, Manager, PROGRAM, ask, ends, signal};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::Origin;

/// The program, started with one or two sockets as a service manager passes them.
fn passed(manager: &Manager, sockets: &[(String, OwnedFd)]) -> Command {
    let mut command = Command::new("bash");
    let mut moved = "exec 3<&0 </dev/null".to_owned();
    let copy = |at: usize| Stdio::from(sockets[at].1.try_clone().expect("a copy"));
    // By the standard descriptors, which no other child of this process inherits.
    command.stdin(copy(0));
    if sockets.len() == 2 {
        command.stdout(copy(1));
        moved += " 4<&1 >/dev/null";
    }
    let direct = manager.command(Path::new(PROGRAM));
    let script = format!("{moved}\nexport LISTEN_PID=$$\nexec \"$@\"");
    command.args(["-c", &script, "bash"]).arg(direct.get_program()).args(direct.get_args());
    let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
    command
}

#[test]
fn a_restart_refuses_nobody() {
    let manager = Manager::new(Origin::simple().address());
    let mut first = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    manager.hear("FDSTORE=1");
    signal(first.0.id(), "TERM");
    manager.hear("STOPPING=1");
    ends(&mut first.0);
    // Nobody serves, and the connection waits.
    let mut waiting = TcpStream::connect(manager.plain).expect("the manager's copy listens");
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").expect("it is open");
    let stored = std::mem::take(&mut *manager.stored.borrow_mut());
    assert_eq!(stored.len(), 2, "one for each worker: {stored:?}");
    let name = format!("edge-tcp-{}", manager.plain).replace(':', "_");
    assert!(stored.iter().all(|(stored, _)| *stored == name), "{stored:?}");
    let mut second = KillOnDrop(passed(&manager, &stored).stderr(Stdio::null()).spawn().expect("bash"));
    manager.hear("READY=1");
    waiting.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let mut text = String::new();
    waiting.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    signal(second.0.id(), "TERM");
    manager.hear("STOPPING=1");
    ends(&mut second.0);
    // An address that is no longer configured is given up.
    drop(manager.all());
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    let port = testkit::free_port();
    let changed = config.replace(&manager.plain.to_string(), &format!("127.0.0.1:{port}"));
    std::fs::write(manager.config(), changed).expect("a file");
    let third = KillOnDrop(passed(&manager, &stored).stderr(Stdio::null()).spawn().expect("bash"));
    manager.hear("FDSTOREREMOVE=1");
    manager.hear("READY=1");
    drop(stored);
    assert!(ask(([127, 0, 0, 1], port).into()).expect("it serves").starts_with("HTTP/1.1 200"));
    let kept = manager.all();
    assert!(kept.iter().any(|text| text.contains(&format!("FDNAME=edge-tcp-127.0.0.1_{port}"))), "{kept:?}");
    assert!(TcpStream::connect(manager.plain).is_err(), "nobody listens there");
    drop(third);
}

#[test]
fn a_reload_changes_what_is_kept() {
    let manager = Manager::new(Origin::simple().address());
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    let port = testkit::free_port();
    let other = format!("{config}[[listen]]\naddress = \"127.0.0.1:{port}\"\n");
    std::fs::write(manager.config(), other).expect("a file");
    let service = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    drop(manager.all());
    let names = || {
        let stored = manager.stored.borrow();
        stored.iter().map(|(name, _)| name.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(names().contains(&format!("edge-tcp-127.0.0.1_{port}")), "{:?}", names());
    std::fs::write(manager.config(), config).expect("a file");
    signal(service.0.id(), "HUP");
    manager.hear("RELOADING=1");
    manager.hear("FDSTOREREMOVE=1");
    drop(manager.all());
    assert_eq!(names().len(), 1, "{:?}", names());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens there");
}

#[test]
fn a_socket_that_no_listener_names_is_an_error() {
    let manager = Manager::new(Origin::simple().address());
    let foreign = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = foreign.local_addr().expect("an address");
    let sockets = [("edge-proxyd.socket".to_owned(), OwnedFd::from(foreign))];
    let output = passed(&manager, &sockets).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("edge-proxyd.socket passes a TCP socket at {address}")), "{said}");
}
