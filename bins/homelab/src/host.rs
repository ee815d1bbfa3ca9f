//! A host: namespaces of its own for the network, mounts and processes, with a first process that ends with this program.
//! Nothing of it has a name outside, so nothing is left behind, however this program ends.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A running host.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    /// What is mounted into it, and what it writes: `var-lib` is its /var/lib.
    pub(crate) folder: PathBuf,
    holder: Mutex<Child>,
    /// Its first process, as this program sees it.
    pid: u32,
}

/// What every host gets.
pub(crate) struct Given<'a> {
    /// Where hosts have their folders.
    pub(crate) folder: &'a Path,
    /// The certificate authorities that it believes, in PEM.
    pub(crate) roots: &'a str,
    /// Its /etc/hosts, besides itself.
    pub(crate) names: &'a str,
    /// Its /usr/local/bin.
    pub(crate) programs: &'a Path,
    /// Its /opt.
    pub(crate) tools: &'a Path,
    /// Its /srv.
    pub(crate) configurations: &'a Path,
}

/// A program that runs on a host.
pub(crate) struct Running {
    child: Child,
    said: Receiver<String>,
    all: Vec<String>,
}

/// The numbers of accounts that the hosts have besides the machine's.
pub(crate) const ACME_GROUP: u32 = 61_950;
pub(crate) const EDGE: u32 = 61_951;
/// A member of the group `acme`.
pub(crate) const MEMBER: u32 = 61_952;
/// Nobody's friend.
pub(crate) const STRANGER: u32 = 61_953;

impl Host {
    /// Boots a host.
    pub(crate) fn boot(name: &'static str, given: &Given<'_>) -> Result<Self, String> {
        let Given { folder: within, roots, names, programs, tools, configurations } = given;
        let folder = within.join(name);
        let said = |why: std::io::Error| format!("{name}: {why}");
        for part in ["var-lib", "run"] {
            std::fs::create_dir_all(folder.join(part)).map_err(said)?;
        }
        // An /etc of its own, so that it can differ from the machine's.
        let etc = folder.join("etc");
        if !etc.exists() {
            let copied = Command::new("cp").args(["-a", "/etc"]).arg(&etc).status().map_err(said)?;
            let cleared = std::fs::remove_dir_all(etc.join("ssl/certs"))
                .and_then(|()| std::fs::create_dir(etc.join("ssl/certs")));
            cleared.map_err(said)?;
            if !copied.success() {
                return Err(format!("{name}: /etc cannot be copied"));
            }
        }
        let write = |file: &str, text: String| {
            let path = etc.join(file);
            // What may be a link to somewhere else is not written through.
            let _ = std::fs::remove_file(&path);
            std::fs::write(path, text).map_err(said)
        };
        write("ssl/certs/ca-certificates.crt", (*roots).to_owned())?;
        write("hosts", format!("127.0.0.1 localhost {name}\n{names}"))?;
        write("resolv.conf", "nameserver 203.0.113.53\noptions timeout:2 attempts:2\n".to_owned())?;
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(said)?;
        let group = std::fs::read_to_string("/etc/group").map_err(said)?;
        let account = |name: &str, id: u32| format!("{name}:x:{id}:{id}::/nonexistent:/bin/false\n");
        let accounts = [("edge-proxy", EDGE), ("dovecot-reader", MEMBER), ("stranger", STRANGER)];
        write("passwd", passwd + &accounts.map(|(name, id)| account(name, id)).concat())?;
        write("group", format!("{group}acme:x:{ACME_GROUP}:edge-proxy,dovecot-reader\n"))?;
        let at = folder.display();
        let script = format!(
            "set -e\nmount --make-rprivate /\n\
             mount --bind {at}/etc /etc\n\
             mount --bind {} /usr/local/bin\nmount --bind {} /opt\nmount --bind {} /srv\n\
             mount --bind {at}/var-lib /var/lib\nmount --bind {at}/run /run\n\
             hostname {name}\nip link set lo up\n\
             echo ready\nexec \"$0\" init",
            programs.display(),
            tools.display(),
            configurations.display(),
        );
        let program = std::env::current_exe().map_err(said)?;
        // Its first process ends when nobody holds its input any more, and with it everything on the host.
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", &script])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| format!("{name}: unshare (util-linux): {why}"))?;
        let mut line = String::new();
        let out = holder.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut line).map_err(said)?;
        if line != "ready\n" {
            return Err(format!("{name} does not boot; namespaces take root"));
        }
        let id = holder.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).map_err(said)?;
        let pid = children.trim().parse().map_err(|_| format!("{name}: no first process: {children:?}"))?;
        Ok(Self { name, folder, holder: Mutex::new(holder), pid })
    }

    /// The number of its first process: `ip link … netns PID`.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// A shell command on it.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net", "--mount", "--uts", "--ipc", "--pid"]);
        command.args(["sh", "-c", script]).stdin(Stdio::null());
        command
    }

    /// Runs a shell command to its end.
    pub(crate) fn run(&self, script: &str) -> Output {
        self.shell(script).output().expect("nsenter, of util-linux, runs")
    }

    /// What a shell command prints, if it ends well.
    pub(crate) fn ask(&self, script: &str) -> Result<String, String> {
        let output = self.run(script);
        let out = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() {
            return Ok(out);
        }
        let err = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {script}: {} {} {}", self.name, output.status, out, err.trim_end()))
    }

    /// What a shell command says when it must not end well.
    pub(crate) fn refused(&self, script: &str) -> Result<String, String> {
        let output = self.run(script);
        let out = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Err(format!("{}: {script}: it worked: {out}", self.name));
        }
        Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Lays a secret out, as agenix or systemd would.
    pub(crate) fn secret(&self, path: &str, text: &str, owner: u32) -> std::io::Result<()> {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder"))?;
        std::fs::write(&path, format!("{text}\n"))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400))?;
        chown(&path, Some(owner), None)
    }

    /// Starts a program that goes on.
    pub(crate) fn start(&self, script: &str) -> Result<Running, String> {
        let mut child = self
            .shell(&format!("exec {script}"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| format!("{}: {script}: {why}", self.name))?;
        let said = hear(child.stderr.take().ok_or("no output")?);
        Ok(Running { child, said, all: Vec::new() })
    }

    /// Does something in its network: sockets, threads and processes that are made there are on it.
    pub(crate) fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.pid)).expect("the host runs");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                rustix::thread::move_into_link_name_space(network.as_fd(), None)
                    .expect("root, as for booting");
                what()
            });
            thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
        })
    }

    /// Ends it at once with all that runs on it, as when its power fails.
    pub(crate) fn cut_power(&self) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = holder.kill();
        let _ = holder.wait();
        let until = Instant::now() + Duration::from_secs(10);
        // It has ended when everything on the host has. Nobody may have waited for it yet.
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
        };
        while !ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.cut_power();
    }
}

fn hear(errors: ChildStderr) -> Receiver<String> {
    let (sender, said) = channel();
    std::thread::spawn(move || {
        BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| {
            let _ = sender.send(line);
        });
    });
    said
}

impl Running {
    /// Waits until it has said something that it did not say before.
    pub(crate) fn hears(&mut self, words: &str, within: Duration) -> Result<String, String> {
        let until = Instant::now() + within;
        while let Ok(line) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.all.push(line.clone());
            if line.contains(words) {
                return Ok(line);
            }
        }
        let last: Vec<&str> = self.all.iter().rev().take(12).rev().map(String::as_str).collect();
        Err(format!(
            "{words:?} was not said within {} s; the last lines:\n{}",
            within.as_secs(),
            last.join("\n")
        ))
    }

    /// Everything that it has said so far.
    pub(crate) fn all(&mut self) -> &[String] {
        self.all.extend(self.said.try_iter());
        &self.all
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // nsenter's child is the program; it goes by its own number.
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-9", child]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the first process of a host does: it waits for whoever ends, until the program that booted it is gone.
pub(crate) fn init() -> ! {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
