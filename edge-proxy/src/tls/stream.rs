//! A TLS connection over a socket, as client or server.
//!
//! rustls performs the handshake. For accepted TLS 1.3 connections, the record layer of this crate ([`Tls13Session`])
//! then takes over: content is encrypted from its place into the write buffer and decrypted to its destination, and no
//! state of rustls remains. TLS 1.2 and connections to upstreams stay with rustls.

use super::accept;
use super::rustls_io::{ConnectionSide, SyncIo, feed};
use super::secrets::{TrafficSecrets, take_secrets};
use super::session::Tls13Session;
use crate::buffer::{ImmediateWrite, ReadBuffer};
use crate::ktls::KernelTlsSupport;
use crate::socket::Socket;
use crate::splice::SplicePipe;
use crate::tls13::RecordBuffer;
use rustls::{ConnectionCommon, ProtocolVersion, SideData};
use std::io::{self, BufRead, IoSlice, Write};
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The record layer of a stream.
enum Session<C> {
    /// The record layer of rustls: the handshake is not complete, the version is TLS 1.2, or the stream is to an
    /// upstream.
    Rustls(Box<C>),
    /// The record layer of this crate, after the handshake of TLS 1.3.
    Own(Box<Tls13Session>),
    /// No record layer: the handover from rustls failed, and the stream cannot be used.
    Broken,
}

/// A TLS connection over a socket, as client or server.
pub(crate) struct TlsStream<C> {
    /// The record layer.
    session: Session<C>,
    /// The socket below TLS.
    io: Socket,
    /// True if rustls was instructed to send close_notify. Not used by the record layer of this crate.
    closed: bool,
    /// True if output that is pending since the handshake may wait to be sent with the first content.
    merges: bool,
    /// True if the handshake is complete and no content was written since, so that the peer's last message may have to
    /// be acknowledged.
    owes: bool,
    /// The bytes that were read from the socket and not consumed by a record layer.
    ahead: ReadBuffer,
    /// True if the record layer of this crate can take over, since rustls has buffered no input.
    follows: bool,
    /// The traffic secrets, from their derivation until the handover. `None` otherwise.
    said: Option<TrafficSecrets>,
    /// The kernel's TLS capabilities. `None` if the kernel must not encrypt.
    support: Option<KernelTlsSupport>,
}

impl<C, D> TlsStream<C>
where
    C: DerefMut<Target = ConnectionCommon<D>> + ConnectionSide + Unpin,
    D: SideData,
{
    /// Creates a stream whose record layer stays that of rustls: for connections to upstreams.
    pub(crate) fn new(tls: C, io: Socket) -> Self {
        Self {
            session: Session::Rustls(Box::new(tls)),
            io,
            closed: false,
            merges: false,
            owes: false,
            ahead: ReadBuffer::default(),
            follows: false,
            said: None,
            support: None,
        }
    }

    /// Creates the stream of an accepted connection, whose ClientHello rustls has processed just before on this
    /// thread. `ahead` contains the bytes read after the ClientHello. The kernel may encrypt if `support` is given.
    pub(crate) fn accepted(tls: C, io: Socket, ahead: ReadBuffer, support: Option<KernelTlsSupport>) -> Self {
        Self { ahead, support, follows: true, said: take_secrets(), ..Self::new(tls, io) }
    }

    /// Hands the encryption of output over to the kernel, if the record layer of this crate is in use, the kernel
    /// supports it, and all output is written. Returns whether the kernel encrypts from now on, or did already.
    pub(crate) fn enter_kernel(&mut self) -> bool {
        match (&mut self.session, self.support) {
            (Session::Own(own), Some(support)) => {
                self.io.register().is_ok() && own.enter_kernel(&self.io, support)
            }
            _ => false,
        }
    }

    /// Returns the number of encrypted bytes that are not written to the socket yet. 0 with the record layer of rustls.
    pub(crate) fn waiting(&self) -> usize {
        match &self.session {
            Session::Own(own) => own.waiting(),
            _ => 0,
        }
    }

    /// Returns whether the kernel encrypts the output.
    pub(crate) fn is_kernels(&self) -> bool {
        matches!(&self.session, Session::Own(own) if own.is_kernels())
    }

    /// Moves content from a pipe, which must not be empty, to the socket, where the kernel encrypts it. Returns the
    /// number of bytes, which may be less than the pipe contains. Sends a KeyUpdate first if one is due.
    ///
    /// # Errors
    /// `Unsupported` if the kernel does not encrypt, or new keys are due that it cannot take; `BrokenPipe` after
    /// close_notify or an alert; `WriteZero` if the socket accepts nothing; else the error of a system call. The
    /// connection must then be reset.
    pub(crate) fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
        relay: &mut SplicePipe,
    ) -> Poll<io::Result<usize>> {
        let kernel = match &mut self.session {
            Session::Own(own) => own.kernel(),
            _ => None,
        };
        let Some(kernel) = kernel else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        ready!(kernel.poll_settle(cx, &self.io))?;
        kernel.may_write()?;
        let n = ready!(relay.poll_out(cx, &self.io))?;
        kernel.count_written(n);
        Poll::Ready(Ok(n))
    }

    /// Completes when all output is in TCP's send queue, so that it arrives even if the connection is closed.
    ///
    /// # Errors
    /// The error of the socket; `BrokenPipe` if the stream is broken.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.session {
            Session::Own(own) => own.poll_drained(cx, &mut self.io),
            _ => self.poll_write_tls(cx),
        }
    }

    /// Returns the connection of rustls. `None` once the record layer of this crate has taken over, or the stream is
    /// broken.
    pub(crate) fn tls(&self) -> Option<&C> {
        match &self.session {
            Session::Rustls(tls) => Some(tls),
            _ => None,
        }
    }

    /// Returns whether the handshake is incomplete. False for a broken stream.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(|tls| tls.is_handshaking())
    }

    /// Returns the socket below TLS.
    pub(crate) const fn socket_mut(&mut self) -> &mut Socket {
        &mut self.io
    }

    /// Returns the socket below TLS.
    pub(crate) fn socket(&self) -> &Socket {
        &self.io
    }

    /// Completes when the handshake is complete. Early data and content that arrive in the meantime can be read later.
    /// The last messages of this side may still be unwritten.
    ///
    /// # Errors
    /// `InvalidData` if the handshake fails, `UnexpectedEof` if the connection ends; else the error of the socket.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begins = self.is_handshaking();
        while self.is_handshaking() {
            let _ = self.poll_write_tls(cx)?;
            if !self.is_handshaking() {
                break;
            }
            if ready!(self.poll_read_tls(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        // Tickets, or a client's Finished, go with the first content, which nearly always follows at once. Of TLS 1.2
        // the peer waits for what is left: it goes before the next wait for the peer.
        self.merges |= begins;
        self.owes |= begins;
        Poll::Ready(Ok(()))
    }

    /// Replaces rustls by the record layer of this crate, if the handshake of TLS 1.3 is complete, the traffic secrets
    /// are known, rustls has no unread input, and close_notify was not sent. Returns whether that was done.
    ///
    /// # Errors
    /// The keys cannot be extracted or used. The stream is broken then.
    fn hand_over(&mut self) -> io::Result<bool> {
        let Session::Rustls(tls) = &mut self.session else { return Ok(false) };
        let complete = !tls.is_handshaking() && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if !complete || !self.follows || self.closed {
            return Ok(false);
        }
        let Some(said) = self.said.take() else { return Ok(false) };
        let mut out = RecordBuffer::default();
        while tls.wants_write() {
            tls.write_tls(&mut out)?;
        }
        let Session::Rustls(tls) = std::mem::replace(&mut self.session, Session::Broken) else {
            return Ok(false);
        };
        let extracted = tls.extract().map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        let own = Tls13Session::new(said, &extracted, out).ok_or(io::ErrorKind::InvalidData)?;
        self.session = Session::Own(Box::new(own));
        Ok(true)
    }

    /// Reads input, passes it to rustls, and returns the number of bytes; 0 is the end of the stream. While the record
    /// layer of this crate may take over, passes exactly one record, so that rustls buffers nothing. Stores derived
    /// traffic secrets.
    ///
    /// # Errors
    /// `InvalidData` with the error of rustls, whose alert is written if possible, or without rustls; else the error
    /// of the socket.
    fn poll_read_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let follows = self.follows && (self.said.is_some() || self.is_handshaking());
        let given = ready!(self.poll_ahead(cx, follows))?;
        let Session::Rustls(tls) = &mut self.session else {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        if given == 0 {
            tls.read_tls(&mut io::empty())?;
        }
        let fed = feed(tls.as_mut(), &mut self.ahead, given, follows);
        if let Some(said) = take_secrets() {
            self.said = Some(said);
        }
        self.follows &= follows && matches!(fed, Ok(0));
        if self.ahead.is_empty() {
            self.ahead.release();
        }
        if let Err(why) = fed {
            // One attempt to write the alert.
            let _ = self.poll_write_tls(cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Poll::Ready(Ok(given))
    }

    /// Reads until a record is complete if `follows` is true, else until any bytes are available. Returns the number
    /// of bytes at the beginning of `ahead` to pass to rustls; 0 is the end of the stream. A record with an invalid
    /// header is returned as far as it was read.
    ///
    /// # Errors
    /// The error of the socket.
    fn poll_ahead(&mut self, cx: &mut Context<'_>, follows: bool) -> Poll<io::Result<usize>> {
        loop {
            let held = self.ahead.bytes();
            if !held.is_empty() && !follows {
                return Poll::Ready(Ok(held.len()));
            }
            match accept::record_length(held) {
                Ok(Some(length)) if length <= held.len() => return Poll::Ready(Ok(length)),
                Ok(_) => {}
                // rustls reports what is wrong with the record.
                Err(_) => return Poll::Ready(Ok(held.len())),
            }
            let filled = self.ahead.poll_fill(&mut self.io, cx);
            if filled.is_pending() {
                self.ahead.park();
            }
            if ready!(filled)? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    /// Writes all pending records to the socket. If the kernel encrypts, only sends a KeyUpdate that is due.
    ///
    /// # Errors
    /// The error of the socket; `WriteZero` if it accepts nothing; `BrokenPipe` if the stream is broken.
    fn poll_write_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = match &mut self.session {
            Session::Rustls(tls) => tls,
            Session::Own(own) => return own.poll_flush(cx, &mut self.io),
            Session::Broken => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        while tls.wants_write() {
            match tls.write_tls(&mut SyncIo { io: &mut self.io, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads decrypted content or early data into `buf`; completion without content is the end of the stream. Hands
    /// over to the record layer of this crate once that is possible.
    ///
    /// # Errors
    /// The error of TLS or of the socket.
    fn poll_read_plain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let tls = match &mut self.session {
                Session::Rustls(tls) => tls,
                Session::Own(own) => {
                    let read = own.poll_read(cx, &mut self.io, &mut self.ahead, buf, self.merges);
                    // The client's Finished gets no response. With Nagle's algorithm the client holds its request until
                    // that is acknowledged, 40 ms later.
                    if read.is_pending() && std::mem::take(&mut self.owes) {
                        self.io.acknowledge();
                    }
                    return read;
                }
                Session::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            };
            let n = tls.read_early(buf)?;
            if n > 0 {
                return Poll::Ready(Ok(()));
            }
            let mut reader = tls.reader();
            // Only the needed part of the buffer is touched: the pages of an idle connection stay unmapped.
            match reader.fill_buf() {
                Ok(chunk) => {
                    let n = chunk.len().min(buf.remaining());
                    buf.put_slice(&chunk[..n]);
                    reader.consume(n);
                    return Poll::Ready(Ok(()));
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Poll::Ready(Err(why)),
            }
            if self.hand_over()? {
                continue;
            }
            // What cannot be written is found by whoever writes next; what came before is still there.
            let _ = self.poll_write_tls(cx);
            ready!(self.poll_read_tls(cx))?;
        }
    }

    /// Encrypts content and writes it as far as the socket accepts. Returns the number of content bytes accepted.
    /// Accepts nothing while output is pending, except for the first content after the handshake.
    ///
    /// # Errors
    /// The error of TLS or of the socket; `BrokenPipe` if the stream is broken.
    fn poll_write_plain(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let merges = std::mem::take(&mut self.merges);
        self.owes = false;
        if let Session::Own(own) = &mut self.session {
            return own.poll_write(cx, &mut self.io, bufs, merges);
        }
        // What is encrypted and not written yet is the only buffer.
        if !merges {
            ready!(self.poll_write_tls(cx))?;
        }
        let Session::Rustls(tls) = &mut self.session else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let n = tls.writer().write_vectored(bufs)?;
        let _ = self.poll_write_tls(cx)?;
        if n == 0 && bufs.iter().any(|buf| !buf.is_empty()) { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }
}

impl<C> ImmediateWrite for TlsStream<C> {
    fn put(&mut self, parts: &[&[u8]]) -> usize {
        match &mut self.session {
            Session::Own(own) => own.put(parts),
            // rustls has its own buffer, which must be waited for.
            _ => 0,
        }
    }
}

impl<C, D> AsyncRead for TlsStream<C>
where
    C: DerefMut<Target = ConnectionCommon<D>> + ConnectionSide + Unpin,
    D: SideData,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_read_plain(cx, buf)
    }
}

impl<C, D> AsyncWrite for TlsStream<C>
where
    C: DerefMut<Target = ConnectionCommon<D>> + ConnectionSide + Unpin,
    D: SideData,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_plain(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_plain(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_write_tls(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Session::Own(own) = &mut this.session {
            return own.poll_shutdown(cx, &mut this.io);
        }
        if let Session::Rustls(tls) = &mut this.session
            && !std::mem::replace(&mut this.closed, true)
        {
            tls.send_close_notify();
        }
        ready!(this.poll_write_tls(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
