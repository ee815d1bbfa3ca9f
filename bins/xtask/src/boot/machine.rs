//! A machine: its root folder, its first process, and commands that run on it.

use super::internet::Internet;
use super::{copy, machine_files};
use crate::process::Outcome;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Maximum duration of a boot or a shutdown.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Library that sets the clock of a process.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A machine in a container of systemd-nspawn. It is killed when dropped.
pub(super) struct Machine {
    folder: PathBuf,
    root: PathBuf,
    container: Option<Child>,
    internet: Option<Internet>,
}

impl Machine {
    /// Creates a machine on a copy of `base`, with these packages in /srv/packages, and runs the script of this name on
    /// it. It is not booted.
    ///
    /// # Errors
    /// Returns the command that failed.
    pub(super) fn new(
        base: &Path,
        folder: &Path,
        packages: &[PathBuf],
        script: &str,
    ) -> Result<Self, String> {
        let (root, upper, work) = (folder.join("root"), folder.join("upper"), folder.join("work"));
        for part in [&root, &upper, &work] {
            std::fs::create_dir_all(part).map_err(|why| format!("{}: {why}", part.display()))?;
        }
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", base.display(), upper.display(), work.display());
        quiet(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root))?;
        let machine = Self { folder: folder.to_owned(), root, container: None, internet: None };
        machine.put("srv/packages", packages)?;
        let files = std::fs::read_dir(machine_files())
            .map_err(|why| format!("{}: {why}", machine_files().display()))?;
        for file in files.filter_map(Result::ok) {
            copy(&file.path(), &machine.root.join("srv").join(file.file_name()))?;
        }
        // For units with a clock of their own.
        copy(Path::new(FAKETIME), &machine.root.join("srv/libfaketimeMT.so.1"))?;
        let mut lay_out = container(&machine.root);
        quiet(lay_out.args(["--pipe", "sh", &format!("/srv/{script}")]).stdin(Stdio::null()))?;
        Ok(machine)
    }

    /// Copies files into a folder of the machine's root folder, which is created if it is missing.
    pub(super) fn put(&self, folder: &str, files: &[PathBuf]) -> Outcome {
        let place = self.root.join(folder);
        std::fs::create_dir_all(&place).map_err(|why| format!("{}: {why}", place.display()))?;
        files.iter().try_for_each(|file| copy(file, &place.join(file.file_name().unwrap_or_default())))
    }

    /// Returns the path of the machine's root folder on this host.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Boots the machine, and waits until `basic.target` and the journal are active.
    ///
    /// # Errors
    /// Returns the output of the console if they are not within 60 s.
    pub(super) fn boot(&mut self) -> Outcome {
        let log = self.folder.join("console.log");
        let file = std::fs::File::create(&log).map_err(|why| format!("{}: {why}", log.display()))?;
        let errors = file.try_clone().map_err(|why| format!("{}: {why}", log.display()))?;
        let mut command = container(&self.root);
        command.args(["--boot", "--console=pipe", "--machine=boot"]);
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        self.container = Some(command.spawn().map_err(|why| format!("systemd-nspawn: {why}"))?);
        let up = "systemctl is-active basic.target && systemctl is-active systemd-journald";
        let until = Instant::now() + BOOT_TIMEOUT;
        loop {
            match self.output(up) {
                Ok((0, _)) => return Ok(()),
                _ if Instant::now() < until => std::thread::sleep(Duration::from_millis(200)),
                failed => {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(format!("the machine does not come up: {failed:?}\n{said}"));
                }
            }
        }
    }

    /// Connects it to the internet, whose names it resolves and whose servers it trusts from then on, also after
    /// reboots.
    ///
    /// # Errors
    /// Returns a description if the internet does not start.
    pub(super) fn connect(&mut self) -> Outcome {
        let folder = self.folder.join("internet");
        let init = self.init().ok_or("the machine has no first process")?;
        self.internet = Some(Internet::start(&folder, init)?);
        let put = |name: &str, place: &str| copy(&folder.join(name), &self.root.join(place));
        put("roots.pem", "usr/local/share/ca-certificates/internet.crt")?;
        put("issuing.pem", "srv/issuing.pem")?;
        put("mail-password", "srv/mail-password")?;
        self.run("update-ca-certificates > /dev/null 2>&1; rm -f /etc/resolv.conf; echo nameserver 203.0.113.53 > /etc/resolv.conf")
            .map(drop)
    }

    /// Ends the machine's connection to the internet, and the servers of that internet.
    pub(super) fn disconnect(&mut self) {
        self.internet = None;
    }

    /// Connects the machine to the internet again after a boot, and waits up to 15 s until it can be reached. No effect
    /// if the machine was not connected.
    fn connect_again(&self) -> Outcome {
        let Some(internet) = &self.internet else { return Ok(()) };
        internet.plug(self.init().ok_or("the machine has no first process")?)?;
        self.until(15, "curl -sS --max-time 2 --output /dev/null http://203.0.113.81/")
    }

    /// Shuts it down and boots it again.
    ///
    /// # Errors
    /// Returns a description if either takes longer than 60 s.
    pub(super) fn reboot(&mut self) -> Outcome {
        // The process of this command ends with the machine.
        let _ = self.output("systemctl poweroff");
        self.wait()?;
        self.boot()?;
        self.connect_again()
    }

    /// Kills it, like a power failure, and boots it again.
    ///
    /// # Errors
    /// Returns a description if it does not boot within 60 s.
    pub(super) fn crash(&mut self) -> Outcome {
        let init = self.init().ok_or("the machine has no first process")?;
        quiet(Command::new("kill").args(["-KILL", &init.to_string()]))?;
        self.wait()?;
        self.boot()?;
        self.connect_again()
    }

    /// Waits until the container has ended. After 60 s, it is killed, and an error returned. No effect if none runs.
    fn wait(&mut self) -> Outcome {
        let Some(mut container) = self.container.take() else { return Ok(()) };
        let until = Instant::now() + BOOT_TIMEOUT;
        loop {
            match container.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
                other => {
                    let _ = container.kill();
                    return Err(format!("the machine does not end: {other:?}"));
                }
            }
        }
    }

    /// Returns the process ID on the host of the first process of the machine. `None` if the machine does not run.
    fn init(&self) -> Option<u32> {
        let container = self.container.as_ref()?.id();
        let children =
            std::fs::read_to_string(format!("/proc/{container}/task/{container}/children")).ok()?;
        children.split_whitespace().filter_map(|child| child.parse().ok()).find(|child: &u32| {
            std::fs::read_to_string(format!("/proc/{child}/comm"))
                .is_ok_and(|name| name.starts_with("systemd"))
        })
    }

    /// Runs a script on the machine with bash, which ends at the first command that fails. Returns its exit code, -1
    /// after a signal, and its standard output followed by its standard error.
    ///
    /// # Errors
    /// Returns a description if the script cannot be run.
    pub(super) fn output(&self, script: &str) -> Result<(i32, String), String> {
        let init = self.init().ok_or("the machine has no first process")?;
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &init.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
        ]);
        command.args([
            "--root",
            "--wd",
            "--",
            "/usr/bin/env",
            "-i",
            "PATH=/usr/sbin:/usr/bin",
            "LC_ALL=C.UTF-8",
        ]);
        command.args(["bash", "-euc", script]).stdin(Stdio::null());
        let output = command.output().map_err(|why| format!("nsenter: {why}"))?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned();
        Ok((output.status.code().unwrap_or(-1), text))
    }

    /// Mounts a file system that answers no request over a folder of the machine, like a network mount whose server is
    /// away. Requests fail when the result is dropped.
    ///
    /// # Errors
    /// Returns a description if it is not mounted within 10 s.
    pub(super) fn mount_hanging(&self, folder: &str) -> Result<HangingMount, String> {
        let init = self.init().ok_or("the machine has no first process")?;
        let mount = format!(
            "exec 3<>/dev/fuse; nsenter --target {init} --mount --root --wd mount --internal-only -t fuse \
             -o fd=3,rootmode=40000,user_id=0,group_id=0,allow_other hanging {folder} && exec sleep 600"
        );
        let mut command = Command::new("bash");
        let child = command.args(["-euc", &mount]).stdin(Stdio::null()).spawn();
        let mounted = HangingMount(child.map_err(|why| format!("bash: {why}"))?);
        self.until(10, &format!("grep ' {folder} fuse' /proc/mounts"))?;
        Ok(mounted)
    }

    /// Runs a script on the machine with bash, which must exit with 0. Returns its standard output, followed by its
    /// standard error.
    ///
    /// # Errors
    /// Returns the exit code and the output if it fails.
    pub(super) fn run(&self, script: &str) -> Result<String, String> {
        match self.output(script)? {
            (0, text) => Ok(text),
            (code, text) => Err(format!("`{script}` ended with {code}: {text}")),
        }
    }

    /// Runs a script repeatedly until it succeeds, for at most `seconds`.
    ///
    /// # Errors
    /// Returns the last failure.
    pub(super) fn until(&self, seconds: u64, script: &str) -> Outcome {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            match self.run(script) {
                Ok(_) => return Ok(()),
                Err(why) if Instant::now() > until => return Err(format!("after {seconds} s, {why}")),
                Err(_) => std::thread::sleep(Duration::from_millis(250)),
            }
        }
    }

    /// Waits until all of these units are active, for at most `seconds`.
    ///
    /// # Errors
    /// Returns the last failure.
    pub(super) fn active(&self, seconds: u64, units: &[&str]) -> Outcome {
        // With several units, one active unit suffices for systemctl.
        let each: Vec<String> = units.iter().map(|unit| format!("systemctl is-active {unit}")).collect();
        self.until(seconds, &each.join(" && "))
    }
}

/// A file system that answers no request. Its requests fail when this is dropped.
pub(super) struct HangingMount(Child);

impl Drop for HangingMount {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.internet = None;
        if let Some(init) = self.init() {
            let _ = Command::new("kill").args(["-KILL", &init.to_string()]).status();
        }
        if let Some(mut container) = self.container.take() {
            let _ = container.wait();
        }
        let _ = Command::new("umount").arg("--lazy").arg(&self.root).status();
    }
}

/// Returns a command of systemd-nspawn with this root folder and a network of its own, to which the caller adds what is
/// run.
fn container(root: &Path) -> Command {
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--private-network", "--register=no", "--keep-unit", "--directory"]).arg(root);
    // The host may mount the legacy hierarchy; the machine has the unified one, as current systems do.
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").env("SYSTEMD_SECCOMP", "0");
    command
}

/// Runs a command whose output is only needed for an error.
///
/// # Errors
/// Returns its status and output if it fails.
pub(super) fn quiet(command: &mut Command) -> Outcome {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end()))
}

/// Returns the command that prints the log of a unit since its start.
pub(super) fn log_script(unit: &str) -> String {
    format!("journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show --value -p InvocationID {unit}) -o cat")
}
