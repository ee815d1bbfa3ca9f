//! Notifications to the service manager (sd_notify(3)): datagrams to the socket in `NOTIFY_SOCKET`, if it is set.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The longest wait for a manager whose queue is full.
const PATIENCE: Duration = Duration::from_millis(500);

/// The connection to the service manager.
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
    /// The interval of watchdog messages, without which the manager considers the program dead.
    pub(crate) watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects as the environment specifies.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name).ok());
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Half the interval, since one message may be late.
        let watchdog = number("WATCHDOG_USEC").filter(|_| mine).map(|usec| Duration::from_micros(usec / 2));
        Self { socket, watchdog: watchdog.filter(|every| !every.is_zero()) }
    }

    /// Sends a state. A manager that does not read is not waited for long.
    pub(crate) fn say(&self, state: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }

    /// Announces a reload of the configuration (`Type=notify-reload`).
    pub(crate) fn reloading(&self) {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a timespec that lives through the call.
        #[allow(unsafe_code)]
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } != 0;
        if !failed {
            let usec = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
            self.say(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}
