//! Notifications to the service manager (sd_notify(3)): datagrams to the socket in `NOTIFY_SOCKET`.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsStr;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

/// The longest wait for the service manager: until it reads a message, if its queue is full, and in
/// [`Notifier::settle`].
const QUEUE_TIMEOUT: Duration = Duration::from_millis(500);
/// The largest number of descriptors in one message. The kernel allows 253 (`SCM_MAX_FD`).
const BATCH: usize = 128;

/// The connection to the service manager, if there is one.
pub(crate) struct Notifier {
    /// The socket of the manager. `None` without a manager: notifications are then discarded.
    socket: Option<UnixDatagram>,
    /// The interval of watchdog messages: half of the time after which the manager restarts the service. `None` if the
    /// manager expects none from this process.
    pub(crate) watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects to the socket in `NOTIFY_SOCKET`, and reads the interval in `WATCHDOG_USEC`, unless `WATCHDOG_PID`
    /// names another process. If the socket cannot be reached, notifications are discarded.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name).ok());
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Half the interval, since one message may be late.
        let watchdog = number("WATCHDOG_USEC").filter(|_| mine).map(|usec| Duration::from_micros(usec / 2));
        Self { socket, watchdog: watchdog.filter(|every| !every.is_zero()) }
    }

    /// Returns true if the socket of the service manager could be reached at the start.
    pub(crate) const fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Sends a state, such as `READY=1`, to the service manager. It is lost if the manager's queue stays full for
    /// [`QUEUE_TIMEOUT`], or there is no manager.
    pub(crate) fn say(&self, state: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }

    /// Announces the beginning of a reload (`Type=notify-reload`) with the monotonic time. The end is announced by
    /// `READY=1`.
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

    /// Adds duplicates of descriptors under a name to the manager's file descriptor store, which passes them to the
    /// next process of the service. Does nothing without a manager.
    ///
    /// # Errors
    /// The manager could not be reached.
    pub(super) fn store(&self, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        for batch in descriptors.chunks(BATCH) {
            self.send_with(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), batch)?;
        }
        Ok(())
    }

    /// Removes the descriptors with this name from the manager's file descriptor store.
    pub(super) fn forget(&self, name: &str) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Waits until the manager has processed the messages sent so far, but at most [`QUEUE_TIMEOUT`], which is no
    /// error. Does nothing without a manager.
    ///
    /// # Errors
    /// The message could not be sent.
    pub(crate) fn settle(&self) -> io::Result<()> {
        if self.socket.is_none() {
            return Ok(());
        }
        let (mut here, there) = UnixStream::pair()?;
        here.set_read_timeout(Some(QUEUE_TIMEOUT))?;
        self.send_with("BARRIER=1", &[there.as_fd()])?;
        drop(there);
        // The manager closes its end when it comes to this message.
        let _ = here.read(&mut [0]);
        Ok(())
    }

    /// Sends a state with at most [`BATCH`] descriptors. Does nothing without a manager.
    ///
    /// # Errors
    /// The error of sendmsg(2).
    fn send_with(&self, state: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(descriptors));
        sendmsg(socket, &[IoSlice::new(state.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// Connects to the datagram socket `name`, with [`QUEUE_TIMEOUT`] for writing. A name that begins with `@` is in the
/// abstract namespace.
///
/// # Errors
/// The error of creating or connecting the socket.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(QUEUE_TIMEOUT))?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}
