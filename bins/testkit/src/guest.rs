//! A test in a guest with another kernel: user-mode Linux runs the test's own program again, on the host's files,
//! mounted read-only. The guest has one processor and only its loopback network.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Script that is the first process of the guest. It loads the kernel modules `$LOAD`, runs the test `$TEST` of
/// `$PROGRAM`, prints `/proc/net/tls_stat` and the exit code of the test, and powers the guest off.
const INIT: &str = r#"#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
mkdir -p /run/tmp /run/kernel/lib; cd /run/tmp
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/tmp TMPDIR=/run/tmp
busybox ip link set lo up
ln -s "$MODULES" /run/kernel/lib/modules
printf '#!/bin/sh\nexec modprobe -d /run/kernel "$@"\n' > /run/modprobe; chmod +x /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
for module in $LOAD; do modprobe -d /run/kernel "$module" || echo "guest: no module $module"; done
"$PROGRAM" "$TEST" --exact --nocapture --test-threads=1; code=$?
cat /proc/net/tls_stat
echo "guest: ended with $code"
busybox poweroff -f
"#;

/// A kernel of user-mode Linux, with its modules.
#[derive(Debug)]
pub struct Guest {
    program: PathBuf,
    modules: PathBuf,
    /// Folder of the libraries to which the kernel is linked, if not the system's.
    libraries: Option<PathBuf>,
}

impl Guest {
    /// Returns the kernel of the distribution, Linux 6.1, for the test of this name.
    ///
    /// `None` on processors with AMX, whose registers exceed this kernel's buffer for them, so that it ends at its
    /// first process (`ptrace set fp regs failed`); since Linux 6.8 the size is queried. In this case a line that names
    /// the test is written directly to standard error, since the test harness would hide printed output.
    ///
    /// # Panics
    /// Panics if the kernel is not installed.
    pub fn of_the_distribution(test: &str) -> Option<Self> {
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if processors.split_whitespace().any(|flag| flag == "amx_tile") {
            let reason = "this processor has AMX, with which user-mode Linux 6.1 cannot run";
            let _ = writeln!(std::io::stderr(), "NOT RUN in Linux 6.1: {test}: {reason}");
            return None;
        }
        let (program, modules) = ("/usr/bin/linux.uml".into(), "/usr/lib/uml/modules".into());
        Some(Self { program, modules, libraries: None }.installed())
    }

    /// Returns the kernel of a newer suite, Linux 7, from the tools folder, with the libraries to which it is linked.
    ///
    /// # Panics
    /// Panics if the kernel is not installed.
    pub fn newer(tools: &Path) -> Self {
        let home = tools.join("newer-kernel");
        Self { program: home.join("linux"), modules: home.join("usr/lib/uml/modules"), libraries: Some(home) }
            .installed()
    }

    /// Returns the kernel if its program exists.
    ///
    /// # Panics
    /// Panics if it does not exist.
    fn installed(self) -> Self {
        let program = self.program.display();
        assert!(self.program.exists(), "{program} is missing: cargo xtask tools installs it");
        self
    }

    /// Runs the test `test` of this program in the guest, with the role `role` ([`crate::role`]) and these kernel
    /// modules, separated by spaces. `limit` is cut to whole seconds. Returns the output of the guest, with
    /// `/proc/net/tls_stat` after that of the test.
    ///
    /// # Panics
    /// Panics if the test fails in the guest, or takes longer than `limit`.
    pub fn run(&self, test: &str, role: &str, modules: &str, limit: Duration) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let init = folder.path().join("init");
        let program = std::env::current_exe().expect("the path of this program");
        let mut script = std::fs::File::create(&init).expect("a file");
        let (shebang, rest) = INIT.split_once('\n').expect("lines");
        write!(
            script,
            "{shebang}\nexport {role_name}='{role}' RUST_BACKTRACE=0\nMODULES='{}' LOAD='{modules}' PROGRAM='{}' TEST='{test}'\n{rest}",
            self.modules.display(),
            program.display(),
            role_name = crate::process::ROLE,
        )
        .expect("a file");
        script.set_permissions(PermissionsExt::from_mode(0o755)).expect("a mode");
        drop(script);
        // `ro`: the root of the guest is the root of the host, and must not be changed.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &limit.as_secs().to_string()]);
        if let Some(libraries) = &self.libraries {
            let path = libraries.join("lib");
            command.current_dir(libraries);
            command.args(["env", &format!("LD_LIBRARY_PATH={}", path.display())]);
        }
        command.arg(&self.program);
        command.args(
            "mem=512M rootfstype=hostfs root=/dev/root ro quiet panic=-1 con=null con0=null,fd:1".split(' '),
        );
        command.arg(format!("init={}", init.display()));
        // The memory of the guest is a file on a file system that allows execution.
        command.env("TMPDIR", "/dev/shm").stdin(Stdio::null());
        let output = command.output().expect("timeout is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.lines().any(|line| line.trim_end() == "guest: ended with 0"),
            "in the guest ({}): {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }
}
