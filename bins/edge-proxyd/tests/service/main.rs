//! The program as a service: readiness notification, inherited sockets, and takeover by a new binary.

mod import;
mod sandbox;
mod shared;
mod soak;
mod tracing;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use testkit::{Origin, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");

/// A mock of a service manager with one service.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    plain: SocketAddr,
    status: u16,
}

impl Manager {
    fn new(origin: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        let (plain, status) = (free_port(), free_port());
        let config = format!(
            "[[listen]]\naddress = \"127.0.0.1:{plain}\"\n[log]\nformat = \"off\"\n\
             [status]\naddress = \"127.0.0.1:{status}\"\n\
             [[site]]\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"http://{origin}\"\n"
        );
        std::fs::write(folder.path().join("edge.toml"), config).expect("a file");
        Self { folder, socket, plain: ([127, 0, 0, 1], plain).into(), status }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("edge.toml")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(["run", "--workers", "2", "--grace", "10", "--config"])
            .arg(self.config())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "400000");
        command
    }

    fn start(&self, program: &Path) -> Child {
        self.command(program).stderr(Stdio::null()).spawn().expect("the program was built")
    }

    /// Waits for a message with this line, and returns the line.
    #[track_caller]
    fn hear(&self, begin: &str) -> String {
        let mut part = [0; 4096];
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let Ok(n) = self.socket.recv(&mut part) else { break };
            let text = String::from_utf8_lossy(&part[..n]).into_owned();
            if let Some(line) = text.lines().find(|line| line.starts_with(begin)) {
                return line.to_owned();
            }
        }
        panic!("{begin} was not said");
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

#[track_caller]
fn ends(child: &mut Child) {
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("it is ours").is_none() {
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills the process when the test ends.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn the_manager_hears_how_it_goes() {
    let manager = Manager::new(Origin::simple().address());
    let mut service = Guarded(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    assert!(ask(manager.plain).expect("ready is when it serves").starts_with("HTTP/1.1 200"));
    manager.hear("WATCHDOG=1");
    manager.hear("WATCHDOG=1");
    signal(service.0.id(), "HUP");
    manager.hear("RELOADING=1");
    manager.hear("READY=1");
    signal(service.0.id(), "TERM");
    manager.hear("STOPPING=1");
    ends(&mut service.0);
}

#[test]
fn sockets_may_be_the_managers() {
    // systemd's own tool opens the sockets and starts the program at the first connection.
    let manager = Manager::new(Origin::simple().address());
    let mut activate = Command::new("systemd-socket-activate");
    activate.arg("-l").arg(manager.plain.to_string()).arg(PROGRAM).args(["run", "--config"]);
    activate.arg(manager.config()).stderr(Stdio::null());
    let _service = Guarded(
        activate.spawn().expect("systemd-socket-activate is there; cargo xtask tools installs systemd"),
    );
    let until = Instant::now() + Duration::from_secs(20);
    let mut first = loop {
        match TcpStream::connect(manager.plain) {
            Ok(stream) => break stream,
            Err(why) => assert!(Instant::now() < until, "{why}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // The connection that triggered the start is served too.
    first.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    first.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").expect("it is open");
    let mut text = String::new();
    first.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    for _ in 0..20 {
        assert!(ask(manager.plain).expect("an answer").starts_with("HTTP/1.1 200"));
    }
}

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
    let mut old = Guarded(manager.start(&program));
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

/// Stops the load, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_binary_that_does_not_serve_takes_nothing_over() {
    let manager = Manager::new(Origin::simple().address());
    let program = manager.folder.path().join("edge-proxyd");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let mut service = Guarded(manager.start(&program));
    manager.hear("READY=1");
    std::fs::write(manager.config(), "nonsense").expect("a file");
    signal(service.0.id(), "USR2");
    manager.hear("STATUS=handing over");
    manager.hear("STATUS=serving");
    for _ in 0..20 {
        assert!(ask(manager.plain).expect("it serves on").starts_with("HTTP/1.1 200"));
    }
    assert!(service.0.try_wait().expect("it is ours").is_none());
}

#[test]
fn the_unit_exposes_little() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/edge-proxyd.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
        .arg(unit)
        .output()
        .expect("systemd-analyze is there; cargo xtask tools installs systemd");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "more exposed than 2.0 of 10:\n{text}");
    assert!(text.contains("Overall exposure level"), "{text}");
}
