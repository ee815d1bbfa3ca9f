//! The sandbox that the process enters before it serves. It restricts an attacker in the process: files and ports to
//! those of the configuration, system calls to those that a proxy needs, and no other programs. Inherited sockets, and
//! the launcher process, which was started before, are not restricted.

mod landlock;
mod needs;
mod probe;
mod seccomp;

pub(crate) use landlock::LandlockLevel;
pub(crate) use needs::{Environment, Needs};
pub(crate) use probe::{Attempt, attempt};

use crate::config::Mode;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

/// The restrictions of this process, as far as the kernel enforces them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// The restrictions of files, ports and signals.
    pub(crate) landlock: LandlockLevel,
    /// The restriction of system calls; the error if there is none.
    pub(crate) seccomp: Result<(), String>,
    /// The keys of `[acme]` that run external programs. If not empty, running programs is allowed, and files and ports
    /// are not restricted.
    pub(crate) programs: Vec<&'static str>,
    /// True if the TCP ports of outbound connections are restricted.
    pub(crate) connect: bool,
    /// True if the process can read `/etc/shadow`, as root can. All of `/etc` is readable, since the C library needs
    /// files there that may be replaced while the process runs.
    pub(crate) shadow: bool,
}

impl Confinement {
    /// Returns true if the kernel enforces all restrictions, which needs version 6 of the Landlock ABI and seccomp.
    pub(crate) const fn is_complete(&self) -> bool {
        self.landlock.restricts_signals() && self.seccomp.is_ok()
    }
}

/// Returns true if a file cannot be read although its permissions allow it, because the sandbox of this process does
/// not: another file or folder was put in its place, or mounted there, since the sandbox was entered.
pub(crate) fn denies(path: &Path) -> bool {
    let denied = File::open(path).is_err_and(|why| why.kind() == io::ErrorKind::PermissionDenied);
    // Landlock does not restrict this call.
    denied && accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).is_ok()
}

/// Restricts this thread, and all threads and processes that it starts. Returns what the kernel enforces; `None`,
/// without any restriction, with [`Mode::Off`]. If external programs are needed, Landlock is not used.
///
/// # Errors
/// A Landlock rule failed; or the mode is [`Mode::Require`], and a restriction is not enforced. Restrictions that are
/// in effect by then remain.
pub(crate) fn enter(mode: Mode, needs: &Needs) -> Result<Option<Confinement>, String> {
    if mode == Mode::Off {
        return Ok(None);
    }
    let programs: Vec<_> = needs.programs.iter().copied().collect();
    let landlock = if programs.is_empty() {
        landlock::enter(needs).map_err(|why| format!("[sandbox] Landlock: {why}"))?
    } else {
        // The needs of external programs are unknown, and they would inherit the restrictions of this process.
        LandlockLevel::Nothing("[acme] runs external programs, whose needs are unknown")
    };
    let seccomp = no_new_privileges().and_then(|()| seccomp::enter(!programs.is_empty()));
    let shadow = File::open("/etc/shadow").is_ok();
    let held = Confinement { landlock, seccomp, programs, connect: needs.connect.is_some(), shadow };
    if mode == Mode::Require && !held.is_complete() {
        return Err(format!("[sandbox] mode = \"require\", but the sandbox is incomplete: {held}"));
    }
    Ok(Some(held))
}

/// Prevents this process and its children from gaining privileges by running programs (`PR_SET_NO_NEW_PRIVS`), without
/// which an unprivileged process may not filter system calls.
///
/// # Errors
/// The error of the kernel, as a message.
fn no_new_privileges() -> Result<(), String> {
    rustix::thread::set_no_new_privs(true).map_err(|why| format!("no_new_privs: {why}"))
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.landlock {
            LandlockLevel::Nothing(why) => write!(f, "files and ports unrestricted ({why})")?,
            LandlockLevel::Version(version) => {
                write!(f, "Landlock {version} (listed files and folders only), ")?;
                match (self.landlock.restricts_ports(), self.connect) {
                    (false, _) => f.write_str("ports unrestricted (needs Linux 6.7)")?,
                    (true, false) => {
                        f.write_str("listening ports restricted, outbound ports unrestricted")?;
                    }
                    (true, true) => f.write_str("ports restricted")?,
                }
                if !self.landlock.restricts_signals() {
                    f.write_str(", signals unrestricted (needs Linux 6.12)")?;
                }
            }
        }
        if self.shadow {
            f.write_str("; /etc/shadow is readable: run as an account of its own, as the unit does")?;
        }
        match &self.seccomp {
            Ok(()) => f.write_str("; seccomp on")?,
            Err(why) => write!(f, "; system calls unrestricted ({why})")?,
        }
        if self.programs.is_empty() {
            return f.write_str(if self.seccomp.is_ok() { "; programs blocked" } else { "" });
        }
        write!(f, "; programs allowed, for {} of [acme]", self.programs.join(", "))
    }
}
