//! Attempts of actions inside the sandbox, to show whether the kernel allows them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

/// An action to attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Open a file or folder for reading.
    Read(PathBuf),
    /// Open a file for appending. If it did not exist, it is removed again.
    Write(PathBuf),
    /// Run a program without arguments, and wait for its end.
    Run(PathBuf),
    /// Listen on this TCP port of 127.0.0.1.
    Listen(u16),
    /// Open a TCP connection to this address.
    Connect(SocketAddr),
    /// Make a system call that needs privileges or is useful to attackers.
    Call(Call),
}

/// A system call, with arguments that change nothing outside the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The name of the call, as in tables of system calls.
    name: &'static str,
    /// The number of the call on this architecture.
    number: i64,
    /// The first three arguments; the others are 0.
    arguments: [i64; 3],
}

/// The system calls that can be attempted.
const CALLS: [Call; 5] = [
    Call { name: "unshare", number: libc::SYS_unshare, arguments: [libc::CLONE_NEWUSER as i64, 0, 0] },
    // Traces no process at all: ESRCH if allowed.
    Call { name: "ptrace", number: libc::SYS_ptrace, arguments: [libc::PTRACE_ATTACH as i64, 0, 0] },
    Call { name: "io_uring_setup", number: libc::SYS_io_uring_setup, arguments: [1, 0, 0] },
    // KEYCTL_GET_KEYRING_ID of the session keyring.
    Call { name: "keyctl", number: libc::SYS_keyctl, arguments: [0, -3, 0] },
    Call { name: "mount", number: libc::SYS_mount, arguments: [0, 0, 0] },
];

impl FromStr for Attempt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let calls = CALLS.map(|call| call.name).join(", ");
            format!(
                "expected read:PATH, write:PATH, run:PATH, listen:PORT, connect:ADDRESS:PORT, or call: with one of {calls}"
            )
        };
        let (what, argument) = text.split_once(':').ok_or_else(wrong)?;
        Ok(match what {
            "read" => Self::Read(argument.into()),
            "write" => Self::Write(argument.into()),
            "run" => Self::Run(argument.into()),
            "listen" => Self::Listen(argument.parse().map_err(|_| wrong())?),
            "connect" => Self::Connect(argument.parse().map_err(|_| wrong())?),
            "call" => Self::Call(CALLS.into_iter().find(|call| call.name == argument).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read:{}", path.display()),
            Self::Write(path) => write!(f, "write:{}", path.display()),
            Self::Run(path) => write!(f, "run:{}", path.display()),
            Self::Listen(port) => write!(f, "listen:{port}"),
            Self::Connect(address) => write!(f, "connect:{address}"),
            Self::Call(call) => write!(f, "call:{}", call.name),
        }
    }
}

/// Attempts an action, and undoes it where possible. A connection is waited for at most 5 s; the exit status of a
/// program does not matter.
///
/// # Errors
/// The error of the kernel, such as `EPERM` or `EACCES` if the sandbox denies the action.
pub(crate) fn attempt(what: &Attempt) -> io::Result<()> {
    match what {
        Attempt::Read(path) => File::open(path).map(drop),
        Attempt::Write(path) => {
            let there = path.exists();
            OpenOptions::new().append(true).create(true).open(path)?;
            if !there {
                // Permission to create does not imply permission to remove.
                let _ = std::fs::remove_file(path);
            }
            Ok(())
        }
        Attempt::Run(program) => {
            let null = || Stdio::null();
            Command::new(program).stdin(null()).stdout(null()).stderr(null()).status().map(drop)
        }
        Attempt::Listen(port) => TcpListener::bind(("127.0.0.1", *port)).map(drop),
        Attempt::Connect(address) => TcpStream::connect_timeout(address, Duration::from_secs(5)).map(drop),
        Attempt::Call(call) => {
            let [a, b, c] = call.arguments;
            // SAFETY: none of the calls in `CALLS` writes to memory of this process: they get numbers, and null for
            // pointers.
            #[allow(unsafe_code)]
            let done = unsafe { libc::syscall(call.number, a, b, c, 0, 0) };
            if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        }
    }
}
