//! The sending side of a connection that the kernel encrypts.

use super::probe::KernelTlsSupport;
use crate::socket::Socket;
use crate::sys;
use crate::tls13::record::{ALERT, HANDSHAKE, KEY_UPDATE, OVERHEAD};
use crate::tls13::{Secret, TrafficKeys};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Sleep, sleep};

/// The highest estimated number of records after which the kernel's sequence number is read again. It is read earlier
/// if an eighth of the records that a key may encrypt is less.
const SEQUENCE_CHECK_RECORDS: u64 = 1 << 21;
/// The highest number of records that one system call can create: the number of pages of a pipe.
const MAX_RECORDS_PER_CALL: u64 = 256;
/// The interval at which the kernel is asked whether it has passed all records to TCP.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The state of a connection whose output the kernel encrypts.
pub(crate) struct Kernel {
    /// The kernel's TLS capabilities.
    support: KernelTlsSupport,
    /// The traffic secret of this side, from which later keys are derived.
    secret: Secret,
    /// The keys that the kernel uses at present.
    keys: TrafficKeys,
    /// True if a KeyUpdate must be sent before further content: the client requested it, or the key's limit of records
    /// is near.
    owes_keys: bool,
    /// The number of bytes that had been written to TCP in total when the kernel took over, as [`sys::queued`] counts
    /// them.
    base: u64,
    /// The number of content bytes in records since then, without the overhead of encryption.
    content: u64,
    /// The sequence number of the present key's first record.
    first: u64,
    /// The number of records since the kernel took over that were encrypted under earlier keys.
    before: u64,
    /// An upper bound of the number of records since the kernel's sequence number was last read.
    unasked: u64,
    /// The fatal alert to send instead of close_notify, for an error of the client, as its level and description.
    /// `None` without such an error.
    alert: Option<[u8; 2]>,
    /// True if close_notify or the alert was sent.
    ended: bool,
    /// The value of `content` up to which all records are known to be in TCP's send queue.
    drained: u64,
    /// The timer until the next check whether the records are sent. `None` if no check is pending.
    nap: Option<Pin<Box<Sleep>>>,
}

impl Kernel {
    /// Makes the kernel encrypt all further output of a TCP socket with these keys. All earlier records must be
    /// written; `sequence` is the number of the next record. `secret` is the traffic secret of the keys.
    ///
    /// # Errors
    /// The error of a system call, for example if the kernel does not support the cipher. The connection can be used
    /// as before then.
    pub(crate) fn take_over(
        io: &Socket,
        support: KernelTlsSupport,
        secret: Secret,
        keys: TrafficKeys,
        sequence: u64,
    ) -> io::Result<Self> {
        let socket = socket(io)?;
        sys::attach(socket)?;
        let base = sys::queued(socket)?;
        sys::encrypt(socket, &keys, sequence)?;
        Ok(Self {
            support,
            secret,
            keys,
            owes_keys: false,
            base,
            content: 0,
            first: sequence,
            before: 0,
            unasked: 0,
            alert: None,
            ended: false,
            drained: 0,
            nap: None,
        })
    }

    /// Schedules a KeyUpdate before the next content, because the client requested one.
    pub(crate) fn owe_keys(&mut self) {
        self.owes_keys = true;
    }

    /// Schedules a fatal alert for an error of the client, as its level and description, unless another one is
    /// scheduled. [`Kernel::poll_close_notify`] sends it.
    pub(crate) fn schedule_alert(&mut self, alert: [u8; 2]) {
        self.alert = self.alert.or(Some(alert));
    }

    /// Sends a KeyUpdate if one is due and changes the kernel's keys. Must be called before content is written.
    /// Completes at once after an alert was scheduled or the end was sent.
    ///
    /// # Errors
    /// New keys are due and this kernel cannot change them, or a system call failed. The connection must then be reset:
    /// more records would exceed the key's limit, and a silent end would be a truncation.
    pub(crate) fn poll_settle(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        if self.alert.is_some() || self.ended {
            return Poll::Ready(Ok(()));
        }
        let most = self.keys.cipher().max_records().min(self.support.records);
        if self.unasked >= SEQUENCE_CHECK_RECORDS.min(most / 8) {
            self.unasked = 0;
            // The rest may be used before the sequence number is read again.
            self.owes_keys |= sys::sequence(socket(io)?, &self.keys)? >= most / 8 * 6;
        }
        if !self.owes_keys {
            return Poll::Ready(Ok(()));
        }
        if !self.support.rekeys {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "new keys are due, which this kernel cannot take",
            )));
        }
        let [kind, a, b, c] = KEY_UPDATE;
        ready!(self.poll_control(cx, io, HANDSHAKE, &[kind, a, b, c, 0]))?;
        let socket = socket(io)?;
        let cipher = self.keys.cipher();
        let next = self.secret.updated(cipher).ok_or(io::ErrorKind::InvalidInput)?;
        let keys = next.keys(cipher).ok_or(io::ErrorKind::InvalidInput)?;
        let sequence = sys::sequence(socket, &self.keys)?;
        sys::encrypt(socket, &keys, 0)?;
        self.before += sequence - self.first;
        (self.secret, self.keys, self.first, self.unasked, self.owes_keys) = (next, keys, 0, 0, false);
        Poll::Ready(Ok(()))
    }

    /// Checks that content may be written.
    ///
    /// # Errors
    /// `BrokenPipe` if an alert is scheduled, or the end was sent.
    pub(crate) fn may_write(&self) -> io::Result<()> {
        if self.alert.is_some() || self.ended { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Counts content bytes that one call wrote, and the highest number of records that they can be in.
    pub(crate) fn count_written(&mut self, bytes: usize) {
        self.content += bytes as u64;
        self.unasked += MAX_RECORDS_PER_CALL.min(bytes as u64);
    }

    /// Writes a record of the content type `kind` that contains `content`, as soon as the socket accepts it, and
    /// counts its bytes.
    ///
    /// # Errors
    /// The error of the system call.
    fn poll_control(
        &mut self,
        cx: &mut Context<'_>,
        io: &Socket,
        kind: u8,
        content: &[u8],
    ) -> Poll<io::Result<()>> {
        let sent = |socket: BorrowedFd<'_>| sys::send_control(socket, kind, content);
        // A record this short is taken whole or not at all.
        let n = ready!(io.poll_io(cx, Interest::WRITABLE, sent))?;
        self.count_written(n);
        Poll::Ready(Ok(()))
    }

    /// Sends close_notify, or the scheduled alert in its place. No effect if that was done before.
    ///
    /// # Errors
    /// The error of the system call.
    pub(crate) fn poll_close_notify(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        if !self.ended {
            let close_notify = [1, 0];
            ready!(self.poll_control(cx, io, ALERT, &self.alert.unwrap_or(close_notify)))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Completes when all written records are in TCP's send queue, which is checked every [`DRAIN_CHECK_INTERVAL`].
    /// When the socket is closed, the kernel discards records that are not in the queue, but sends those that are.
    ///
    /// # Errors
    /// The error of a system call.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        while self.drained < self.content {
            let socket = socket(io)?;
            let records = self.before + sys::sequence(socket, &self.keys)? - self.first;
            if sys::queued(socket)? - self.base >= self.content + records * OVERHEAD as u64 {
                self.drained = self.content;
                break;
            }
            // No event reports that change.
            ready!(self.nap.get_or_insert_with(|| Box::pin(sleep(DRAIN_CHECK_INTERVAL))).as_mut().poll(cx));
            self.nap = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the descriptor of a registered TCP socket, the only kind with kernel TLS.
///
/// # Errors
/// `Unsupported` for other sockets.
fn socket(io: &Socket) -> io::Result<BorrowedFd<'_>> {
    match io {
        Socket::Tcp(stream) => Ok(stream.as_fd()),
        Socket::Fresh(_) | Socket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
