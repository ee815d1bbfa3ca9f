//! A host: its own namespaces for network, mounts and processes, with a first process that exits with this program. The
//! namespaces have no names outside, so that nothing is left behind, however this program exits.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A host of the lab, which runs in namespaces of its own until it is dropped.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    /// Folder with the files that are mounted into the host and those that it writes. `var-lib` is its /var/lib, `run`
    /// its /run.
    pub(crate) folder: PathBuf,
    holder: Mutex<Child>,
    /// Process ID of the host's first process, as seen from outside its namespaces.
    pid: u32,
}

/// Files and programs that every host gets.
pub(crate) struct HostResources<'a> {
    /// Folder for the hosts' folders.
    pub(crate) folder: &'a Path,
    /// Root certificates that the host trusts, in PEM.
    pub(crate) roots: &'a str,
    /// Lines of /etc/hosts, besides the host itself.
    pub(crate) names: &'a str,
    /// Folder that is mounted at /usr/local/bin.
    pub(crate) programs: &'a Path,
    /// Folder that is mounted at /opt.
    pub(crate) tools: &'a Path,
    /// Folder that is mounted at /srv.
    pub(crate) configurations: &'a Path,
}

/// A program that runs in the background on a host, with the lines of its standard error. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    said: Receiver<String>,
    all: Vec<String>,
}

/// Group ID of the group `acme`, which only the hosts have.
pub(crate) const ACME_GROUP: u32 = 61_950;
/// User ID of the account `edge-proxy`, which only the hosts have.
pub(crate) const EDGE: u32 = 61_951;
/// User ID of a member of the group `acme`.
pub(crate) const MEMBER: u32 = 61_952;
/// User ID of an account that is in no group.
pub(crate) const STRANGER: u32 = 61_953;

impl Host {
    /// Boots a host. Its folder is `name` in the given folder; what an earlier host of the same name left there is
    /// kept. Its /etc is a copy of the machine's, with its own roots, hosts, resolver and accounts.
    ///
    /// # Errors
    /// Returns a description if the files cannot be written, or the namespaces cannot be created, which requires root.
    pub(crate) fn boot(name: &'static str, given: &HostResources<'_>) -> Result<Self, String> {
        let HostResources { folder: within, roots, names, programs, tools, configurations } = given;
        let folder = within.join(name);
        let said = |why: std::io::Error| format!("{name}: {why}");
        for part in ["var-lib", "run"] {
            std::fs::create_dir_all(folder.join(part)).map_err(said)?;
        }
        // The host has its own /etc, which may differ from that of the machine.
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
            // A symbolic link must be replaced, not followed.
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
        let names = accounts.map(|(name, _)| name);
        write(
            "passwd",
            remove_accounts(&passwd, &names) + &accounts.map(|(name, id)| account(name, id)).concat(),
        )?;
        write(
            "group",
            format!("{}acme:x:{ACME_GROUP}:edge-proxy,dovecot-reader\n", remove_accounts(&group, &["acme"])),
        )?;
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
        // The first process exits when its standard input is closed, and all processes of the host with it.
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

    /// Returns the process ID of the first process, for `ip link … netns PID`.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns a command that runs a shell script in the namespaces of the host, without input.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net", "--mount", "--uts", "--ipc", "--pid"]);
        command.args(["sh", "-c", script]).stdin(Stdio::null());
        command
    }

    /// Runs a shell script on the host to its end, and returns its output and its status, which may be a failure.
    ///
    /// # Panics
    /// Panics if nsenter is not installed.
    pub(crate) fn run(&self, script: &str) -> Output {
        self.shell(script).output().expect("nsenter, of util-linux, runs")
    }

    /// Runs a shell script on the host, and returns its standard output without trailing white space.
    ///
    /// # Errors
    /// Returns the output and the status if the script fails.
    pub(crate) fn ask(&self, script: &str) -> Result<String, String> {
        let output = self.run(script);
        let out = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() {
            return Ok(out);
        }
        let err = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {script}: {} {} {}", self.name, output.status, out, err.trim_end()))
    }

    /// Runs a shell script on the host that must fail, and returns its standard error without surrounding white space.
    ///
    /// # Errors
    /// Returns the output if the script succeeds.
    pub(crate) fn expect_failure(&self, script: &str) -> Result<String, String> {
        let output = self.run(script);
        let out = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Err(format!("{}: {script}: it worked: {out}", self.name));
        }
        Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Writes a secret and a line feed to a file with mode 0400, as agenix or systemd does. Missing folders are
    /// created. `path` is relative to the host's folder, `owner` a user ID.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub(crate) fn secret(&self, path: &str, text: &str, owner: u32) -> std::io::Result<()> {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder"))?;
        std::fs::write(&path, format!("{text}\n"))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400))?;
        chown(&path, Some(owner), None)
    }

    /// Starts a program in the background on the host; `script` is its command line for the shell. Its standard output
    /// is discarded unless the script redirects it.
    ///
    /// # Errors
    /// Returns a description if nsenter cannot be started. A program that ends at once is not an error.
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

    /// Runs `what` in the host's network: sockets, threads and processes that are created there belong to it.
    ///
    /// # Panics
    /// Panics if the host does not run, or `what` panics.
    pub(crate) fn run_inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
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

    /// Kills the host with all its processes, like a power failure. Waits up to 10 s for their end.
    pub(crate) fn cut_power(&self) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = holder.kill();
        let _ = holder.wait();
        let until = Instant::now() + Duration::from_secs(10);
        // The host has ended once all its processes have; its first process may still be a zombie.
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

/// Returns the text of /etc/passwd or /etc/group without the lines of these names: a machine may have such accounts,
/// and the first line of a name applies.
fn remove_accounts(text: &str, names: &[&str]) -> String {
    let own = |line: &&str| line.split(':').next().is_none_or(|name| !names.contains(&name));
    text.lines().filter(own).flat_map(|line| [line, "\n"]).collect()
}

/// Starts a thread that reads lines until the end of the output, and returns the channel on which they arrive.
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
    /// Waits for a line that contains `words` among those that no earlier call has passed. Returns the line.
    ///
    /// # Errors
    /// Returns the last 12 lines if there is no such line within `within`, or the program has ended.
    pub(crate) fn wait_for_output(&mut self, words: &str, within: Duration) -> Result<String, String> {
        let until = Instant::now() + within;
        while let Ok(line) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.all.push(line.clone());
            if line.contains(words) {
                return Ok(line);
            }
        }
        let last: Vec<&str> = self.all.iter().rev().take(12).rev().map(String::as_str).collect();
        Err(format!(
            "no output with {words:?} within {} s; the last lines:\n{}",
            within.as_secs(),
            last.join("\n")
        ))
    }

    /// Returns all lines of standard error since the start.
    pub(crate) fn all(&mut self) -> &[String] {
        self.all.extend(self.said.try_iter());
        &self.all
    }

    /// Kills the program with SIGKILL.
    pub(crate) fn kill(&mut self) {
        // The program is the child of nsenter, and has its own process ID.
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

/// Runs as the first process of a host: reaps children until the program that booted the host exits, that is until
/// standard input ends, and then exits with code 0.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_the_machine_do_not_stand_before_those_of_a_host() {
        let group = "root:x:0:\nacme:x:1500:somebody\npostgres:x:1501:\nacmes:x:7:\n";
        assert_eq!(remove_accounts(group, &["acme"]), "root:x:0:\npostgres:x:1501:\nacmes:x:7:\n");
    }
}
