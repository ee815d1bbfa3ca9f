//! A laboratory: a name server, a CA that asks it, a folder with a configuration.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::{KnotServer, Pebble, PebbleVersion};

/// A group that nobody else is in, which root can give files to.
pub(crate) const GROUP: u32 = 48_213;

/// The group of the configuration: an ordinary user's is its own, since it may give files to no other.
fn group() -> u32 {
    let own = std::fs::metadata("/proc/self").expect("Linux");
    if own.uid() == 0 { GROUP } else { own.gid() }
}

pub(crate) struct Lab {
    pub(crate) knot: KnotServer,
    pub(crate) pebble: Pebble,
    pub(crate) folder: tempfile::TempDir,
    /// Where the program finds the CA: itself, or a proxy before it.
    pub(crate) directory: String,
}

pub(crate) struct RunOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl RunOutput {
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}\n{}", self.out, self.err))
    }
}

impl Lab {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A CA with these knobs.
    pub(crate) fn with(knobs: &[(&str, &str)]) -> Self {
        let knot = KnotServer::start(&[("example.test", ""), ("later.test", "")]);
        let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), knobs);
        let folder = tempfile::Builder::new().prefix("acme-").tempdir_in("/tmp").expect("a folder");
        // Others may pass through it: what they may not read is for the store to say.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        std::fs::write(folder.path().join("roots.pem"), pebble.tls_root()).expect("a file");
        let directory = pebble.directory();
        let lab = Self { knot, pebble, folder, directory };
        lab.secret("tsig", TSIG_SECRET);
        lab.configure("");
        lab
    }

    /// A file that only its owner reads.
    pub(crate) fn secret(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a mode");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration: one certificate `site`, and more about it or beside it.
    pub(crate) fn configure(&self, more: &str) {
        std::fs::write(self.path("acme.toml"), self.configuration("acme", "", more)).expect("a file");
    }

    /// A configuration with its certificates in this folder.
    pub(crate) fn configuration(&self, folder: &str, first: &str, more: &str) -> String {
        let home = self.folder.path().display();
        let dns = self.knot.address();
        format!(
            r#"folder = "{home}/{folder}"
group = "{group}"
email = "admin@example.test"
{first}[dns]
resolvers = "{dns}"
authority_port = {port}
[authority.pebble]
directory = "{directory}"
roots = "{home}/roots.pem"
limits = false
[provider.knot]
kind = "rfc2136"
server = "{dns}"
key_name = "{TSIG_NAME}"
key = "file:{home}/tsig"
[[certificate]]
name = "site"
names = ["a.example.test", "*.a.example.test"]
authority = "pebble"
settle = 0
{more}"#,
            group = group(),
            port = dns.port(),
            directory = self.directory,
        )
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acme-dns01"));
        if !arguments.contains(&"--config") {
            command.arg("--config").arg(self.path("acme.toml"));
        }
        // Programs of the test come before those of the machine.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Starts the program, and leaves it to itself.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> RunningProgram {
        let mut child =
            self.command(arguments).stderr(Stdio::piped()).spawn().expect("the program was built");
        let errors = child.stderr.take().expect("it is piped");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        RunningProgram { child, said, heard: Vec::new() }
    }

    /// Runs the program with these variables in its environment.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> RunOutput {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let output = command.output().expect("the program was built");
        let out = String::from_utf8(output.stdout).expect("text");
        let err = String::from_utf8(output.stderr).expect("text");
        RunOutput { code: output.status.code(), out, err }
    }

    /// Runs the program. Whatever it says, no secret is in it.
    pub(crate) fn run(&self, arguments: &[&str]) -> RunOutput {
        let output = self.command(arguments).output().expect("the program was built");
        let out = String::from_utf8(output.stdout).expect("text");
        let err = String::from_utf8(output.stderr).expect("text");
        for said in [&out, &err] {
            assert!(!said.contains(TSIG_SECRET) && !said.contains("PRIVATE KEY"), "{arguments:?}: {said}");
        }
        RunOutput { code: output.status.code(), out, err }
    }

    pub(crate) fn written(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("acme/site").join(name)).expect("a file")
    }
}

/// The program while it runs. It ends when this is dropped.
pub(crate) struct RunningProgram {
    child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RunningProgram {
    /// Waits, for at most a minute, for a line with these words that was not waited for before.
    #[track_caller]
    pub(crate) fn says(&mut self, words: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        while let Ok(line) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            assert!(!line.contains(TSIG_SECRET) && !line.contains("PRIVATE KEY"), "{line}");
            self.heard.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
        panic!("`{words}` was not said:\n{}", self.heard.join("\n"));
    }

    /// What it has said so far, as far as it was waited for.
    pub(crate) fn heard(&self) -> String {
        self.heard.join("\n")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill").success());
    }

    /// How it ends, within half a minute.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.heard.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns the metrics at a port of this machine, as soon as it listens.
pub(crate) fn metrics(port: u16) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer");
            let (head, body) = text.split_once("\r\n\r\n").expect("a response");
            assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
            return body.to_owned();
        }
        assert!(Instant::now() < until, "no metrics");
        std::thread::sleep(Duration::from_millis(20));
    }
}
