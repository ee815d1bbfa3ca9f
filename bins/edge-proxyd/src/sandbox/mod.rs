//! What the process gives up before it serves, so that whoever found a way into it could not do much there: files other
//! than its own, ports, other programs, and the system calls that no proxy makes. What is started before keeps what it had:
//! the sockets that were handed on, and the process that starts a successor.

mod landlock;
mod needs;
mod probe;
mod seccomp;

pub(crate) use landlock::Enforced;
pub(crate) use needs::{Environment, Needs};
pub(crate) use probe::{Attempt, attempt};

use crate::config::Mode;
use std::fmt;

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Files and ports.
    pub(crate) landlock: Enforced,
    /// System calls; why not, if so.
    pub(crate) seccomp: Result<(), String>,
    /// The keys because of which programs may be run.
    pub(crate) programs: Vec<&'static str>,
    /// Whether connecting is restricted.
    pub(crate) connect: bool,
}

impl Held {
    /// Whether everything holds that could.
    pub(crate) const fn whole(&self) -> bool {
        self.landlock.signals() && self.seccomp.is_ok()
    }
}

/// Confines this thread and all that it starts. `None` if that is off.
///
/// # Errors
/// In words: it is required and the kernel cannot do all of it, or refused a part.
pub(crate) fn enter(mode: Mode, needs: &Needs) -> Result<Option<Held>, String> {
    if mode == Mode::Off {
        return Ok(None);
    }
    let programs: Vec<_> = needs.programs.iter().copied().collect();
    let landlock = if programs.is_empty() {
        landlock::enter(needs).map_err(|why| format!("[sandbox] Landlock: {why}"))?
    } else {
        // What a program of the owner's needs nobody knows, and it would get no more than this process.
        Enforced::Nothing("programs of [acme] are run, of which nobody knows what they need")
    };
    let seccomp = no_new_privileges().and_then(|()| seccomp::enter(!programs.is_empty()));
    let held = Held { landlock, seccomp, programs, connect: needs.connect.is_some() };
    if mode == Mode::Require && !held.whole() {
        return Err(format!("[sandbox] mode = \"require\", and this does not hold: {held}"));
    }
    Ok(Some(held))
}

/// Programs that are run cannot gain privileges (`PR_SET_NO_NEW_PRIVS`), without which nobody may filter system calls.
fn no_new_privileges() -> Result<(), String> {
    rustix::thread::set_no_new_privs(true).map_err(|why| format!("no_new_privs: {why}"))
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.landlock {
            Enforced::Nothing(why) => write!(f, "files and ports are open ({why})")?,
            Enforced::Version(version) => {
                write!(f, "files are closed but for its own (Landlock {version}), ports ")?;
                match (self.landlock.ports(), self.connect) {
                    (false, _) => f.write_str("are open (Linux 6.7 or newer can close them)")?,
                    (true, false) => f.write_str("but for listening on its own are open")?,
                    (true, true) => f.write_str("are closed but for its own")?,
                }
                if !self.landlock.signals() {
                    f.write_str(", signals are open (Linux 6.12 or newer can close them)")?;
                }
            }
        }
        match &self.seccomp {
            Ok(()) => f.write_str("; system calls are closed but for a proxy's")?,
            Err(why) => write!(f, "; system calls are open ({why})")?,
        }
        if self.programs.is_empty() {
            return f.write_str(if self.seccomp.is_ok() { "; no program can be run" } else { "" });
        }
        write!(f, "; programs can be run, for {} of [acme]", self.programs.join(", "))
    }
}
