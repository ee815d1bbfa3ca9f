//! The program as a service: readiness notification, inherited sockets, and takeover by a new binary.

mod control;
mod import;
mod logs;
mod maintenance;
mod quic_takeover;
mod sandbox;
mod shared;
mod soak;
mod ssh;
mod store;
mod takeover;
mod tracing;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::cell::RefCell;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use testkit::{Origin, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");

/// A mock of a service manager with one service.
struct Manager {
    folder: tempfile::TempDir,
    /// The messages that were received, each with its descriptors. A thread receives them: a full queue loses some.
    messages: mpsc::Receiver<(String, Vec<OwnedFd>)>,
    plain: SocketAddr,
    status: u16,
    /// Every message so far.
    heard: RefCell<Vec<String>>,
    /// The sockets to keep, by name.
    stored: RefCell<Vec<(String, OwnedFd)>>,
    /// The processes that took over, which are killed at the end.
    successors: RefCell<Vec<u32>>,
}

impl Manager {
    fn new(origin: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || while sender.send(receive(&socket)).is_ok() {});
        let (plain, status) = (free_port(), free_port());
        let config = format!(
            "[[listen]]\naddress = \"127.0.0.1:{plain}\"\n[log]\nformat = \"off\"\n\
             [status]\naddress = \"127.0.0.1:{status}\"\n\
             [[site]]\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"http://{origin}\"\n"
        );
        std::fs::write(folder.path().join("edge.toml"), config).expect("a file");
        let plain = ([127, 0, 0, 1], plain).into();
        Self {
            folder,
            messages,
            plain,
            status,
            heard: RefCell::default(),
            stored: RefCell::default(),
            successors: RefCell::default(),
        }
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
        let until = Instant::now() + Duration::from_secs(20);
        while let Some(text) = self.within(until.saturating_duration_since(Instant::now())) {
            if let Some(line) = text.lines().find(|line| line.starts_with(begin)) {
                return line.to_owned();
            }
        }
        panic!("{begin} was not said");
    }

    /// Takes the next message, and does what it says with the store.
    fn receive(&self) -> Option<String> {
        self.within(Duration::from_secs(20))
    }

    /// Takes the next message, if one arrives in this time, and does what it says with the store.
    fn within(&self, time: Duration) -> Option<String> {
        let (text, descriptors) = self.messages.recv_timeout(time).ok()?;
        let named = |key| text.lines().find_map(|line| line.strip_prefix(key));
        let name = named("FDNAME=").unwrap_or_default();
        let mut stored = self.stored.borrow_mut();
        if text.starts_with("FDSTORE=1") {
            stored.extend(descriptors.into_iter().map(|fd| (name.to_owned(), fd)));
        }
        if text.starts_with("FDSTOREREMOVE=1") {
            stored.retain(|(kept, _)| kept != name);
        }
        self.successors.borrow_mut().extend(named("MAINPID=").and_then(|id| id.parse::<u32>().ok()));
        self.heard.borrow_mut().push(text.clone());
        Some(text)
    }

    /// Takes what was sent so far, and returns every message since the start.
    fn all(&self) -> Vec<String> {
        while self.within(Duration::from_millis(60)).is_some() {}
        self.heard.borrow().clone()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // One that took over may not have been heard of.
        while self.within(Duration::ZERO).is_some() {}
        let config = self.config().display().to_string();
        for process in self.successors.get_mut() {
            // The number may be another process's by now.
            let words = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
            if words.contains(&config) {
                let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
            }
        }
    }
}

/// Receives a message, with its descriptors.
fn receive(socket: &UnixDatagram) -> (String, Vec<OwnedFd>) {
    let mut part = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(128))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut part)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let n = received.expect("the socket is open").bytes;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    (String::from_utf8_lossy(&part[..n]).into_owned(), descriptors)
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
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
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
    let mut service = KillOnDrop(manager.start(Path::new(PROGRAM)));
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
    let _service = KillOnDrop(
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
