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

/// The number of records after which the kernel's sequence number is read. At most an eighth of the records that a
/// key may encrypt.
const SEQUENCE_CHECK_RECORDS: u64 = 1 << 21;
/// The highest number of records that one call can create: the pages of a pipe.
const MAX_RECORDS_PER_CALL: u64 = 256;
/// The interval at which the kernel is asked whether its records are sent.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The state of a connection that the kernel encrypts.
pub(crate) struct Kernel {
    support: KernelTlsSupport,
    secret: Secret,
    keys: TrafficKeys,
    /// True if a KeyUpdate must be sent before further content.
    owes_keys: bool,
    /// The number of bytes ever put into TCP's send queue when the kernel took over.
    base: u64,
    /// The number of content bytes in records since then.
    content: u64,
    /// The sequence number of the current key's first record.
    first: u64,
    /// The number of records encrypted under earlier keys.
    before: u64,
    /// An upper bound of the records since the sequence number was last read.
    unasked: u64,
    /// The alert to send for an error of the client.
    alert: Option<[u8; 2]>,
    /// True if close_notify was sent.
    ended: bool,
    /// The number of content bytes known to be in TCP's send queue.
    drained: u64,
    nap: Option<Pin<Box<Sleep>>>,
}

impl Kernel {
    /// Makes the kernel encrypt the output of a socket with these keys. All earlier records must be written;
    /// `sequence` is the number of the next one.
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

    /// Schedules a KeyUpdate that the client requested.
    pub(crate) fn owe_keys(&mut self) {
        self.owes_keys = true;
    }

    /// Schedules a fatal alert for an error of the client.
    pub(crate) fn schedule_alert(&mut self, alert: [u8; 2]) {
        self.alert = self.alert.or(Some(alert));
    }

    /// Writes everything that is due before more content: a KeyUpdate or an alert.
    ///
    /// # Errors
    /// New keys are due and this kernel cannot change them. The connection must then be reset: more records would
    /// exceed the key's limit, and a silent end would be a truncation.
    pub(crate) fn poll_settle(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        if self.alert.is_some() || self.ended {
            return Poll::Ready(Ok(()));
        }
        let most = self.keys.cipher().max_records().min(self.support.records);
        if self.unasked >= SEQUENCE_CHECK_RECORDS.min(most / 8) {
            self.unasked = 0;
            // So many more may come before the kernel is asked again.
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
    /// An alert is due or was written, or the end was.
    pub(crate) fn may_write(&self) -> io::Result<()> {
        if self.alert.is_some() || self.ended { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Counts content bytes that a call wrote.
    pub(crate) fn count_written(&mut self, bytes: usize) {
        self.content += bytes as u64;
        self.unasked += MAX_RECORDS_PER_CALL.min(bytes as u64);
    }

    /// Writes a record of type `kind` that is not content.
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

    /// Sends close_notify once, or the scheduled alert in its place.
    pub(crate) fn poll_close_notify(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        if !self.ended {
            let close_notify = [1, 0];
            ready!(self.poll_control(cx, io, ALERT, &self.alert.unwrap_or(close_notify)))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Completes when all written records are in TCP's send queue. The kernel discards records that it holds back
    /// when the socket is closed, but sends those in the queue.
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

/// Returns the descriptor of a TCP socket, the only kind with kernel TLS.
fn socket(io: &Socket) -> io::Result<BorrowedFd<'_>> {
    match io {
        Socket::Tcp(stream) => Ok(stream.as_fd()),
        Socket::Fresh(_) | Socket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
