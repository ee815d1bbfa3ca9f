//! A TLS 1.3 connection of a client after its handshake by rustls: records are encrypted and decrypted without rustls.

use super::secrets::TrafficSecrets;
use crate::buffer::ReadBuffer;
use crate::ktls::{Kernel, KernelTlsSupport};
use crate::socket::Socket;
use crate::tls13::record::{self, ALERT, HEAD, ReceivedRecord, RecordError, RecordOpener, RecordSealer};
use crate::tls13::{RecordBuffer, TrafficKeys};
use rustls::ExtractedSecrets;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, ReadBuf};

/// The highest number of content bytes that one write accepts: one read from an upstream, and its frame headers.
pub(super) const MAX_ACCEPTED: usize = 68 * 1024;
/// The highest number of slices that one write accepts.
const MAX_SLICES: usize = 16;

/// The sending side of a session: this process or the kernel encrypts.
enum Sender {
    /// This process encrypts, by this sealer.
    Own(RecordSealer),
    /// The kernel encrypts; this is its state.
    Kernel(Box<Kernel>),
}

/// A TLS 1.3 connection of a client after its handshake, whose records are processed without rustls.
pub(super) struct Tls13Session {
    /// The receiving side, which decrypts.
    opening: RecordOpener,
    /// The sending side.
    sender: Sender,
    /// The encrypted bytes that are not written yet.
    out: RecordBuffer,
    /// The number of decrypted content bytes at the beginning of the input that are not read yet.
    plain: usize,
    /// The number of bytes of the same record behind that content (content type, padding and tag), which are skipped.
    behind: usize,
    /// True if the client has sent close_notify.
    ended: bool,
    /// True if this side has sent close_notify or a fatal alert, or cannot encrypt any more.
    closed: bool,
    /// The error in the client's input. `None` if none was found.
    failed: Option<RecordError>,
}

impl Tls13Session {
    /// Creates a session that continues a connection of rustls with its traffic secrets (`said`), keys and sequence
    /// numbers. `out` is output of rustls that is not written yet. `None` if the cipher suite is not supported here.
    pub(super) fn new(said: TrafficSecrets, extracted: &ExtractedSecrets, out: RecordBuffer) -> Option<Self> {
        let (received, reads) = &extracted.rx;
        let (sent, writes) = &extracted.tx;
        Some(Self {
            opening: RecordOpener::new(said.client, &TrafficKeys::from_rustls(reads)?, *received)?,
            sender: Sender::Own(RecordSealer::new(said.server, &TrafficKeys::from_rustls(writes)?, *sent)?),
            out,
            plain: 0,
            behind: 0,
            ended: false,
            closed: false,
            failed: None,
        })
    }

    /// Returns whether the kernel encrypts the output.
    pub(super) const fn is_kernels(&self) -> bool {
        matches!(self.sender, Sender::Kernel(_))
    }

    /// Returns the state of the kernel's encryption. `None` unless the kernel encrypts.
    pub(super) fn kernel(&mut self) -> Option<&mut Kernel> {
        match &mut self.sender {
            Sender::Kernel(kernel) => Some(kernel),
            Sender::Own(_) => None,
        }
    }

    /// Hands the encryption over to the kernel, if all output is written, no end was sent, and the kernel supports the
    /// cipher suite. Returns whether the kernel encrypts from now on, or did already.
    pub(super) fn enter_kernel(&mut self, io: &Socket, support: KernelTlsSupport) -> bool {
        if let Sender::Own(sealing) = &self.sender
            && self.out.is_empty()
            && !self.closed
            && let Some((secret, keys, sequence)) = sealing.export()
            // If it fails, as for a suite that the kernel does not support, the connection is unchanged.
            && let Ok(kernel) = Kernel::take_over(io, support, secret, keys, sequence)
        {
            self.sender = Sender::Kernel(Box::new(kernel));
        }
        self.is_kernels()
    }

    /// Writes all pending records to the socket. If the kernel encrypts, only sends a KeyUpdate that is due.
    ///
    /// # Errors
    /// The error of the socket, or that the kernel cannot change keys.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, io: &mut Socket) -> Poll<io::Result<()>> {
        match &mut self.sender {
            Sender::Kernel(kernel) => kernel.poll_settle(cx, io),
            Sender::Own(_) => self.out.poll_write(cx, io),
        }
    }

    /// Completes when all output is in TCP's send queue, so that it arrives even if the connection is closed.
    ///
    /// # Errors
    /// The error of the socket.
    pub(super) fn poll_drained(&mut self, cx: &mut Context<'_>, io: &mut Socket) -> Poll<io::Result<()>> {
        match &mut self.sender {
            Sender::Kernel(kernel) => kernel.poll_drained(cx, io),
            Sender::Own(_) => self.out.poll_write(cx, io),
        }
    }

    /// Decrypts as many records as are available and fit into `buf`, or waits for one. Completion without content is
    /// the client's close_notify. `ahead` is the input buffer. If `merges` is false, pending output is written before
    /// waiting; if it is true, responses to the client's control messages are sent with later content.
    ///
    /// # Errors
    /// `InvalidData` for an invalid record, after an alert was sent; `UnexpectedEof` if the connection ends without
    /// close_notify; else the error of the socket.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Socket,
        ahead: &mut ReadBuffer,
        buf: &mut ReadBuf<'_>,
        merges: bool,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            if self.plain > 0 {
                let n = self.plain.min(buf.remaining());
                buf.put_slice(&ahead.bytes()[..n]);
                self.plain -= n;
                ahead.consume(if self.plain == 0 { n + std::mem::take(&mut self.behind) } else { n });
            }
            if self.ended {
                // Data after the end is ignored (RFC 8446 §6.1).
                ahead.consume(ahead.bytes().len());
            }
            if self.ended || self.plain > 0 || buf.remaining() == 0 {
                break;
            }
            let heard = match self.failed {
                Some(fault) => Err(fault),
                None => self.open(ahead, buf, before),
            };
            match heard {
                Ok(Some(heard)) => self.on_record(heard),
                // Buffered content first.
                Ok(None) | Err(_) if buf.filled().len() > before => {
                    self.failed = heard.err();
                    break;
                }
                Err(fault) => return Poll::Ready(Err(self.fail(fault, cx, io))),
                Ok(None) => {
                    if !merges {
                        let flushed = self.poll_flush(cx, io);
                        // What cannot be written is found by whoever writes next; what came before is still there. What
                        // the kernel cannot do, such as change its keys, ends the connection.
                        if self.is_kernels() {
                            let _ = flushed?;
                        }
                    }
                    let filled = ahead.poll_fill(io, cx);
                    if filled.is_pending() {
                        ahead.park();
                    }
                    if ready!(filled)? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
        if ahead.is_empty() {
            ahead.release();
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts the next record: to the end of `buf` if there is room, else in place. `None` if the record is
    /// incomplete, or there is no room for it and `buf` has content of this call. `before` is the length of `buf` at
    /// the beginning of the call.
    ///
    /// # Errors
    /// [`RecordError`] of the record.
    fn open(
        &mut self,
        ahead: &mut ReadBuffer,
        buf: &mut ReadBuf<'_>,
        before: usize,
    ) -> Result<Option<ReceivedRecord>, RecordError> {
        let Some(length) = record::record_len(ahead.bytes())? else { return Ok(None) };
        let Some(record) = ahead.bytes_mut().get_mut(..length) else { return Ok(None) };
        if let Some(heard) = self.opening.open_to(record, buf.initialize_unfilled()) {
            ahead.consume(length);
            if let ReceivedRecord::Content(n) = heard? {
                buf.advance(n);
            }
            return heard.map(Some);
        }
        if buf.filled().len() > before {
            return Ok(None);
        }
        let heard = self.opening.open_in_place(record)?;
        match heard {
            ReceivedRecord::Content(n) => {
                ahead.consume(HEAD);
                (self.plain, self.behind) = (n, length - HEAD - n);
            }
            _ => ahead.consume(length),
        }
        Ok(Some(heard))
    }

    /// Handles the effect of a record: a KeyUpdate that requests one in return schedules that, and close_notify ends
    /// the input. Content has no further effect.
    fn on_record(&mut self, heard: ReceivedRecord) {
        match heard {
            ReceivedRecord::Content(_) | ReceivedRecord::Nothing => {}
            ReceivedRecord::End => self.ended = true,
            ReceivedRecord::AsksForKeys => match &mut self.sender {
                Sender::Own(sealing) => sealing.owe_keys(),
                Sender::Kernel(kernel) => kernel.owe_keys(),
            },
        }
    }

    /// Ends the input of the session by this error, and tries once to send the error's alert, if it has one and no end
    /// was sent. Returns the error to report, `InvalidData`.
    fn fail(&mut self, fault: RecordError, cx: &mut Context<'_>, io: &mut Socket) -> io::Error {
        self.failed = Some(fault);
        if let Some(alert) = fault.alert()
            && !std::mem::replace(&mut self.closed, true)
        {
            let _ = match &mut self.sender {
                Sender::Kernel(kernel) => {
                    kernel.schedule_alert(alert);
                    kernel.poll_close_notify(cx, io)
                }
                Sender::Own(sealing) => match sealing.record(ALERT, &alert, &mut self.out) {
                    Ok(()) => self.out.poll_write(cx, io),
                    Err(_) => Poll::Pending,
                },
            };
        }
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }

    /// Encrypts content and writes it as far as the socket accepts. Returns the number of bytes accepted, at most
    /// [`MAX_ACCEPTED`] of the first 16 slices unless the kernel encrypts. Accepts nothing while output is pending,
    /// unless `merges` is true and the kernel does not encrypt.
    ///
    /// # Errors
    /// `BrokenPipe` after the end was sent; else the error of the socket or the record layer.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Socket,
        bufs: &[IoSlice<'_>],
        merges: bool,
    ) -> Poll<io::Result<usize>> {
        if !merges || self.is_kernels() {
            ready!(self.poll_flush(cx, io))?;
        }
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let sealing = match &mut self.sender {
            Sender::Own(sealing) => sealing,
            Sender::Kernel(kernel) => {
                kernel.may_write()?;
                let n = ready!(Pin::new(io).poll_write_vectored(cx, bufs))?;
                kernel.count_written(n);
                return Poll::Ready(Ok(n));
            }
        };
        let mut parts = [&[][..]; MAX_SLICES];
        let mut taken = 0;
        for (part, buf) in parts.iter_mut().zip(bufs) {
            *part = &buf[..buf.len().min(MAX_ACCEPTED - taken)];
            taken += part.len();
        }
        self.out.reserve(RecordSealer::max_sealed_len(taken));
        sealing
            .content(&parts[..bufs.len().min(MAX_SLICES)], &mut self.out)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        let _ = self.out.poll_write(cx, io)?;
        Poll::Ready(Ok(taken))
    }

    /// Encrypts content behind the pending output, without writing it, and returns its length. Returns 0, without an
    /// effect, if the kernel encrypts, the end was sent, or the content is longer than one and a half times
    /// [`MAX_ACCEPTED`]. Also returns 0 if encryption fails, which ends the output.
    pub(super) fn put(&mut self, parts: &[&[u8]]) -> usize {
        let Sender::Own(sealing) = &mut self.sender else { return 0 };
        let length = parts.iter().map(|part| part.len()).sum();
        // The next write detects connection errors.
        if self.closed || length > MAX_ACCEPTED + MAX_ACCEPTED / 2 {
            return 0;
        }
        self.out.reserve(RecordSealer::max_sealed_len(length));
        if sealing.content(parts, &mut self.out).is_err() {
            self.closed = true;
            return 0;
        }
        length
    }

    /// Returns the number of encrypted bytes that are not written to the socket yet.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Sends close_notify unless an end was sent, waits until the output is written, and shuts down the sending side
    /// of the socket. If the kernel encrypts, also waits until the output is in TCP's send queue.
    ///
    /// # Errors
    /// The error of the socket, or of the kernel's encryption.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>, io: &mut Socket) -> Poll<io::Result<()>> {
        match &mut self.sender {
            Sender::Kernel(kernel) => {
                ready!(kernel.poll_close_notify(cx, io))?;
                ready!(kernel.poll_drained(cx, io))?;
            }
            Sender::Own(sealing) => {
                if !std::mem::replace(&mut self.closed, true) {
                    let close_notify = [1, 0];
                    let _ = sealing.record(ALERT, &close_notify, &mut self.out);
                }
                ready!(self.out.poll_write(cx, io))?;
            }
        }
        Pin::new(io).poll_shutdown(cx)
    }
}
