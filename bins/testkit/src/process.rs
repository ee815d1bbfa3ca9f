//! A test in several processes, to measure the resources of one of them: the test starts its own program again for the
//! same test, with a role.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Environment variable with the role of a helper process.
pub(crate) const ROLE: &str = "TESTKIT_ROLE";
/// Prefix of the lines that a helper process sends to its parent, among other output.
const MARK: &str = "@@ ";

/// Returns the role of this process if it is a helper that a test started. `None` in the test itself.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Sends a line to the parent of this helper process, on standard output.
///
/// # Panics
/// Panics if the parent has ended.
pub fn say(line: &str) {
    // The test harness may have written an incomplete line.
    println!("\n{MARK}{line}");
    std::io::stdout().flush().expect("a parent that listens");
}

/// Waits until the parent of this helper process ends or drops its [`Process`], that is until standard input ends, and
/// then exits with code 0.
pub fn serve_until_parent_ends() -> ! {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0)
}

/// Memory usage of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident memory now.
    pub resident: usize,
    /// Peak of resident memory.
    pub peak: usize,
}

/// A helper process with a role. It is killed when dropped.
pub struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program again to run the test `test` with a role, additional environment variables, and the maximum
    /// limit of open files.
    ///
    /// # Panics
    /// Panics if the process cannot be started.
    pub fn start(test: &str, role: &str, environment: &[(&str, String)]) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""])
            .arg(program)
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let said = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, said }
    }

    /// Sends a line to the process, on its standard input.
    ///
    /// # Panics
    /// Panics if the process has ended.
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its input is piped");
        writeln!(input, "{line}").expect("a process that listens");
    }

    /// Returns the next line that the process sent by [`say`]. Other output is skipped. Blocks until there is one.
    ///
    /// # Panics
    /// Panics if the process has ended.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).expect("text"), 0, "the process ended");
            if let Some(said) = line.strip_prefix(MARK) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Returns the current and the highest memory usage of the process.
    ///
    /// # Panics
    /// Panics if the process has ended.
    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a process that runs");
        let kib = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of memory");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Memory { resident: kib("VmRSS:") * 1024, peak: kib("VmHWM:") * 1024 }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program whose standard output is a pipe without a reader, as in `… | head -1`, and checks that it exits with
/// code 141 and without a panic.
///
/// # Panics
/// Panics if the program exits otherwise or cannot be run.
pub fn assert_ends_quietly_without_a_reader(program: &str, args: &[&str]) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(program).args(args).stdout(writer).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(141), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{args:?}: {text}");
}
