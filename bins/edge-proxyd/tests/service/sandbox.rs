//! The restrictions of the process: tested from inside, and observed on the serving process.

use super::{KillOnDrop, Manager, PROGRAM, ask, free_port, signal};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, Guest, Origin, role};

const EPERM: i64 = 1;
const EACCES: i64 = 13;

/// The Landlock version of the kernel, asked by another program. 0 if there is none.
fn landlock() -> i64 {
    let script = "import ctypes; print(max(0, ctypes.CDLL(None).syscall(444, None, 0, 1)))";
    let output = Command::new("/usr/bin/python3").args(["-c", script]).output().expect("python3 runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

struct SandboxFixture {
    folder: tempfile::TempDir,
}

impl SandboxFixture {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["conf", "log", "secret"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        std::fs::write(folder.path().join("secret/key"), "s").expect("a file");
        let config = format!(
            "listen = [{{ address = \"127.0.0.1:{}\" }}]\nlog = {{ file = \"{}/log/access.log\" }}\n{more}",
            free_port(),
            folder.path().display()
        );
        std::fs::write(folder.path().join("conf/edge.toml"), config).expect("a file");
        Self { folder }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if program != PROGRAM {
            // Every call fails, as in a kernel without Landlock.
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset"]);
            command.args(["-e", "inject=landlock_create_ruleset:error=ENOSYS"]).arg(PROGRAM);
        }
        command.args(["sandbox", "--json", "--config"]).arg(self.folder.path().join("conf/edge.toml"));
        command
    }

    /// Returns what is allowed inside the sandbox.
    fn attempts(&self, attempts: &[&str]) -> Value {
        let mut command = self.command(PROGRAM);
        for attempt in attempts {
            command.args(["--try", &attempt.replace("FOLDER", self.folder.path().to_str().expect("UTF-8"))]);
        }
        let output = command.output().expect("it was built");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn errors(value: &Value) -> Vec<Option<i64>> {
    value["attempts"].as_array().expect("a list").iter().map(|one| one["errno"].as_i64()).collect()
}

#[test]
fn what_was_not_named_cannot_be_done() {
    let inside = SandboxFixture::new("");
    let origin = Origin::simple().address();
    let value = inside.attempts(&[
        "read:FOLDER/conf/edge.toml",
        "write:FOLDER/log/other.log",
        &format!("connect:{origin}"),
        "read:FOLDER/secret/key",
        "read:/",
        "read:/root",
        "write:FOLDER/conf/edge.toml",
        "write:FOLDER/new",
        "listen:1",
    ]);
    let refused = |version| (landlock() >= version).then_some(EACCES);
    let (files, ports) = (refused(1), refused(4));
    let wanted = [None, None, None, files, files, files, files, files, ports];
    assert_eq!(errors(&value), wanted, "{value:#}");
    assert_eq!(
        (value["files"].as_bool(), value["ports"].as_bool()),
        (Some(landlock() >= 1), Some(landlock() >= 4))
    );
    assert!(!inside.folder.path().join("log/other.log").exists() || landlock() >= 1);
    // The effect of system calls.
    let calls = ["unshare", "ptrace", "io_uring_setup", "keyctl", "mount"].map(|name| format!("call:{name}"));
    let value = inside.attempts(&calls.each_ref().map(String::as_str));
    assert_eq!(errors(&value), [Some(EPERM); 5], "{value:#}");
    let value = inside.attempts(&["run:/bin/true", "run:/bin/sh"]);
    assert_eq!(errors(&value), [Some(EPERM); 2], "{value:#}");
}

/// `/etc` is granted as a folder, so that the account alone decides about /etc/shadow. Both are told as they are.
#[test]
fn what_is_said_of_etc_shadow_is_what_can_be_done() {
    let inside = SandboxFixture::new("");
    let value = inside.attempts(&["read:/etc/shadow", "read:/root/.profile", "read:/var/log"]);
    let [shadow, ..] = errors(&value)[..] else { panic!("{value:#}") };
    assert_eq!(value["shadow"].as_bool(), Some(shadow.is_none()), "{value:#}");
    let output = Command::new(PROGRAM)
        .args(["sandbox", "--config"])
        .arg(inside.folder.path().join("conf/edge.toml"))
        .output()
        .expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().expect("a line");
    assert_eq!(first.contains("/etc/shadow is readable"), shadow.is_none(), "{text}");
    assert!(text.lines().any(|line| line == "reads: /etc"), "{text}");
    if landlock() >= 1 {
        assert_eq!(errors(&value)[1..], [Some(EACCES); 2], "{value:#}");
    }
    // As an account without rights of its own, as under the unit, it is closed.
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if root {
        let config = inside.folder.path();
        // That account may not reach the program where it was built.
        let program = config.join("edge-proxyd");
        std::fs::copy(PROGRAM, &program).expect("a file");
        let open = Command::new("chmod").args(["-R", "a+rX"]).arg(config).status();
        assert!(open.expect("chmod runs").success());
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["sandbox", "--json", "--try", "read:/etc/shadow", "--config"])
            .arg(config.join("conf/edge.toml"))
            .output()
            .expect("setpriv runs");
        let value: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!((value["shadow"].as_bool(), &errors(&value)[..]), (Some(false), &[Some(EACCES)][..]));
    }
}

#[test]
fn off_is_off() {
    // Otherwise the refusals above would prove nothing.
    let inside = SandboxFixture::new("sandbox = { mode = \"off\" }\n");
    let value = inside.attempts(&["read:FOLDER/secret/key", "write:FOLDER/new", "run:/bin/true"]);
    assert_eq!(errors(&value), [None; 3], "{value:#}");
    assert_eq!((value["files"].as_bool(), value["calls"].as_bool()), (Some(false), Some(false)));
}

#[test]
fn ports_of_the_configuration_alone() {
    let (named, other) = (Origin::simple().address(), Origin::simple().address());
    let inside = SandboxFixture::new(&format!(
        "sandbox = {{ connect = \"configured\" }}\n[upstream.a]\ntarget = \"http://{named}\"\n"
    ));
    let value = inside.attempts(&[&format!("connect:{named}"), &format!("connect:{other}")]);
    assert_eq!(errors(&value), [None, (landlock() >= 4).then_some(EACCES)], "{value:#}");
}

#[test]
fn a_kernel_without_landlock() {
    let inside = SandboxFixture::new("");
    let output =
        inside.command("/usr/bin/strace").output().expect("strace is there; cargo xtask tools installs it");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((value["files"].as_bool(), value["calls"].as_bool()), (Some(false), Some(true)), "{value:#}");
    let inside = SandboxFixture::new("sandbox = { mode = \"require\" }\n");
    let output = inside.command("/usr/bin/strace").output().expect("strace runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("this kernel has no Landlock") && text.contains("require"), "{text}");
}

#[test]
fn every_thread_that_serves_is_confined() {
    let manager = Manager::new(Origin::simple().address());
    let service = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    assert!(ask(manager.plain).expect("it serves").starts_with("HTTP/1.1 200"));
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.0.id())).expect("a process");
    let mut threads = 0;
    for task in tasks {
        let path = task.expect("a thread").path().join("status");
        let status = std::fs::read_to_string(path).expect("a thread that runs");
        assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        threads += 1;
    }
    // The threads: main, log, and two workers.
    assert!(threads >= 4, "{threads}");
}

#[test]
fn a_reload_that_needs_more_is_told_how() {
    let manager = Manager::new(Origin::simple().address());
    let outside = tempfile::tempdir().expect("a folder");
    let page = outside.path().join("page.html");
    std::fs::write(&page, "<p>from outside</p>").expect("a file");
    let mut command = manager.command(Path::new(PROGRAM));
    let mut service = KillOnDrop(command.stderr(Stdio::piped()).spawn().expect("it was built"));
    manager.hear("READY=1");
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    let changed = config.split("upstream =").next().expect("a beginning").to_owned();
    let changed = format!("{changed}respond = {{ file = \"{}\" }}\n", page.display());
    std::fs::write(manager.config(), changed).expect("a file");
    signal(service.0.id(), "HUP");
    manager.hear("RELOADING=1");
    manager.hear("READY=1");
    let before = ask(manager.plain).expect("it serves on");
    if landlock() == 0 {
        assert!(before.contains("from outside"), "nothing keeps it from reading: {before}");
        return;
    }
    assert!(before.ends_with("ok"), "{before}");
    // The launcher is outside the sandbox, so the successor gets what this process lacks.
    signal(service.0.id(), "USR2");
    let successor: u32 = manager.hear("MAINPID=")[8..].parse().expect("a number");
    manager.hear("READY=1");
    let until = Instant::now() + Duration::from_secs(20);
    while service.0.try_wait().expect("it is ours").is_none() {
        assert!(Instant::now() < until, "the old one does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = ask(manager.plain).expect("the successor serves");
    assert!(after.contains("from outside"), "{after}");
    signal(successor, "TERM");
    manager.hear("STOPPING=1");
    let mut said = String::new();
    service.0.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
    assert!(said.contains(&format!("kill -USR2 {}", service.0.id())), "{said}");
    assert!(said.contains("sandbox: Landlock"), "{said}");
}

/// Files that a pattern of `include` matches come, change and go by reloads of the confined process, and one that is
/// wrong is told with its name and changes nothing.
#[test]
fn included_files_come_and_go_by_reloads() {
    let manager = Manager::new(Origin::simple().address());
    let sites = manager.folder.path().join("sites.d");
    std::fs::create_dir(&sites).expect("a folder");
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    std::fs::write(manager.config(), format!("include = \"sites.d/*.toml\"\n{config}")).expect("a file");
    let mut command = manager.command(Path::new(PROGRAM));
    let mut service = KillOnDrop(command.stderr(Stdio::piped()).spawn().expect("it was built"));
    manager.hear("READY=1");
    let reload = || {
        signal(service.0.id(), "HUP");
        manager.hear("RELOADING=1");
        manager.hear("READY=1");
    };
    let got = |host: &str| {
        let mut stream = std::net::TcpStream::connect(manager.plain).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it is open");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    let site = |host: &str, said: &str| {
        format!("[[site]]\nhosts = '{host}'\nplain = 'serve'\nrespond = {{ body = '{said}' }}\n")
    };
    assert_eq!(got("b.test"), "");
    // A file that was not there when the process confined itself.
    std::fs::write(sites.join("b.toml"), site("b.test", "first")).expect("a file");
    reload();
    assert!(got("b.test").ends_with("first"));
    // As an editor replaces it: a new file under the same name.
    std::fs::write(sites.join("new"), site("b.test", "second")).expect("a file");
    std::fs::rename(sites.join("new"), sites.join("b.toml")).expect("a file");
    std::fs::write(sites.join("c.toml"), site("c.test", "other")).expect("a file");
    reload();
    assert!(got("b.test").ends_with("second") && got("c.test").ends_with("other"));
    // A mistake in one of them keeps all of them as they were.
    std::fs::write(sites.join("b.toml"), site("b.test", "third")).expect("a file");
    std::fs::write(sites.join("c.toml"), "[[site]]\nhosts = 'c.test'\n\nupstrem = 'x'\n").expect("a file");
    reload();
    assert!(got("b.test").ends_with("second") && got("c.test").ends_with("other"));
    std::fs::remove_file(sites.join("c.toml")).expect("a file");
    reload();
    assert!(got("b.test").ends_with("third"));
    assert_eq!(got("c.test"), "");
    assert!(ask(manager.plain).expect("it serves on").starts_with("HTTP/1.1 200"));
    signal(service.0.id(), "TERM");
    manager.hear("STOPPING=1");
    let mut said = String::new();
    service.0.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
    assert!(said.contains(&format!("{}:4:1: ", sites.join("c.toml").display())), "{said}");
    assert!(said.contains("did you mean `upstream`?"), "{said}");
}

/// Returns the number behind a name in /proc/net/tls_stat.
fn kernels_count(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Sends a large response through kernel TLS from a sandboxed process in the guest.
fn kernel_tls_inside() {
    const LENGTH: usize = 4 << 20;
    let content: Vec<u8> =
        (0..LENGTH as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let sent = content.clone();
    let origin = Origin::scripted(move |bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        Some(([head.as_bytes(), &sent].concat(), end))
    });
    let manager = Manager::new(origin.address());
    let authority = Authority::new();
    let folder = manager.folder.path();
    authority.write(&folder.join("acme/a.test"), &["a.test"]);
    std::fs::write(folder.join("root.pem"), authority.root()).expect("a file");
    let tls = free_port();
    let config = std::fs::read_to_string(manager.config()).expect("the file");
    let config = format!(
        "kernel_tls = \"auto\"\nkernel_tls_after = \"64KiB\"\n{config}[[listen]]\naddress = \"127.0.0.1:{tls}\"\ntls = true\n\
         [certificates]\nfolder = \"{}\"\n[sandbox]\nmode = \"auto\"\n",
        folder.join("acme").display()
    );
    std::fs::write(manager.config(), config).expect("a file");
    let service = KillOnDrop(manager.start(Path::new(PROGRAM)));
    manager.hear("READY=1");
    let taken = || {
        let text = std::fs::read_to_string("/proc/net/tls_stat").expect("the module tls");
        kernels_count(&text, "TlsTxSw").unwrap_or_else(|| panic!("{text}"))
    };
    // By now the program has probed the kernel's capabilities.
    let before = taken();
    let output = Command::new("/usr/bin/curl")
        .args(["-sS", "--http1.1", "--tlsv1.3", "--max-time", "60", "--cacert"])
        .arg(folder.join("root.pem"))
        .args(["--resolve", &format!("a.test:{tls}:127.0.0.1"), &format!("https://a.test:{tls}/")])
        .output()
        .expect("curl is missing: cargo xtask tools installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let differs = output.stdout.iter().zip(&content).position(|(one, other)| one != other);
    assert_eq!((output.stdout.len(), differs), (LENGTH, None));
    assert_eq!(taken(), before + 1, "the kernel encrypted it");
    for task in std::fs::read_dir(format!("/proc/{}/task", service.0.id())).expect("a process") {
        let status = std::fs::read_to_string(task.expect("a thread").path().join("status"));
        let status = status.expect("a thread that runs");
        assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    }
    println!("landlock: {}", landlock());
}

/// Every system call of kernel TLS (setsockopt with TCP_ULP and SOL_TLS, pipe2, splice) is allowed. The distribution's
/// user-mode Linux has seccomp and TLS but no Landlock, which restricts files and ports and is not involved in these
/// calls: all of them use open sockets.
#[test]
fn kernel_tls_goes_on_in_a_process_that_is_confined() {
    if role().is_some() {
        return kernel_tls_inside();
    }
    let test = "sandbox::kernel_tls_goes_on_in_a_process_that_is_confined";
    let of_the_distribution = Guest::of_the_distribution(test);
    let older = of_the_distribution.is_some();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let guest = of_the_distribution.unwrap_or_else(|| Guest::newer(&target.join("tools")));
    let text = guest.run(test, "guest", "tls", Duration::from_secs(150));
    assert_eq!(kernels_count(&text, "TlsDecryptError"), Some(0), "{text}");
    assert!(
        !older || text.contains("landlock: 0"),
        "this kernel has Landlock now, so that both can be tried: {text}"
    );
}
