//! Programs that are started for a measurement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program, as a command with its first arguments. One from another Debian suite is run by the C library for which it
/// was built.
#[derive(Clone)]
pub(crate) struct Program {
    command: Vec<String>,
}

impl Program {
    /// Returns a program that runs with the system's libraries.
    pub(crate) fn plain(path: &Path) -> Self {
        Self { command: vec![path.display().to_string()] }
    }

    /// Returns a program in a folder of unpacked packages, to be run with their libraries.
    ///
    /// # Errors
    /// Returns an error if it does not exist.
    pub(crate) fn unpacked(folder: &Path, path: &str) -> Result<Self, String> {
        let (libraries, program) = (folder.join("usr/lib/x86_64-linux-gnu"), folder.join(path));
        if !program.exists() {
            return Err(format!("{} is missing: cargo xtask bench installs it", program.display()));
        }
        let loader = libraries.join("ld-linux-x86-64.so.2").display().to_string();
        let libraries = libraries.display().to_string();
        Ok(Self { command: vec![loader, "--library-path".into(), libraries, program.display().to_string()] })
    }

    /// Returns the program under valgrind, which counts its instructions and prints them to standard error at its end.
    pub(crate) fn counted(&self) -> Self {
        let valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
        Self {
            command: valgrind.into_iter().map(str::to_owned).chain(self.command.iter().cloned()).collect(),
        }
    }

    /// Returns the command on these cores, separated by commas, with these arguments.
    pub(crate) fn command(&self, cores: &str, args: &[&str]) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).args(&self.command).args(args);
        command
    }

    /// Starts the program on these cores, separated by commas. Its standard error goes to a temporary file.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started or the file cannot be created.
    pub(crate) fn start(&self, cores: &str, args: &[&str]) -> Result<Running, String> {
        self.start_with(cores, args, &[])
    }

    /// Starts the program like [`start`](Self::start), with additional environment variables.
    ///
    /// # Errors
    /// Returns a description if the program cannot be started or the file cannot be created.
    pub(crate) fn start_with(
        &self,
        cores: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Running, String> {
        let mut command = self.command(cores, args);
        let name = self.command.iter().rev().find_map(|word| Path::new(word).file_name()).unwrap_or_default();
        let log = std::env::temp_dir().join(format!("{}-{}.stderr", name.display(), std::process::id()));
        let errors = fs::File::create(&log).map_err(|why| format!("{}: {why}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).envs(env.iter().copied());
        let child = command.spawn().map_err(|why| format!("{command:?}: {why}"))?;
        Ok(Running { child, log })
    }
}

/// A running program. It is killed with its descendants when dropped.
pub(crate) struct Running {
    child: Child,
    /// File of its standard error.
    log: PathBuf,
}

impl Running {
    /// Returns the process ID of the program's first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM to the first process, waits for its end, and returns the standard error of the program.
    ///
    /// # Errors
    /// Returns an error if waiting fails.
    pub(crate) fn end(mut self) -> Result<String, String> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        self.child.wait().map_err(|why| why.to_string())?;
        Ok(self.errors())
    }

    /// Returns the standard error of the program so far. Empty if it cannot be read.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The main process first, since it would replace workers that exit.
        for pid in crate::cost::process_tree(self.child.id()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Creates nginx's folders for temporary files, and returns the directives for them. `name` distinguishes several
/// servers.
///
/// # Errors
/// Returns a description if a folder cannot be created.
pub(crate) fn nginx_temporary(folder: &Path, name: &str) -> Result<String, String> {
    let mut text = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let path = folder.join(format!("{name}-{kind}"));
        fs::create_dir_all(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        text.push_str(&format!("{kind}_temp_path {};", path.display()));
    }
    Ok(text)
}
