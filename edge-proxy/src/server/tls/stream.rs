//! A TLS connection over a socket, either side of it.

use super::accept::Sync;
use crate::server::ktls::{self, Relay, Sender, Support, Watch};
use crate::server::socket::Socket;
use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData};
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

impl Write for Sync<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write(self.cx, buf) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to the socket, and tells the sender what was written.
struct Told<'a, 'b> {
    inner: Sync<'a, 'b>,
    sender: &'a mut Sender,
}

impl Write for Told<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.sender.wrote(&buf[..n]);
        Ok(n)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = self.inner.write_vectored(bufs)?;
        let mut left = n;
        for buf in bufs {
            let part = buf.len().min(left);
            self.sender.wrote(&buf[..part]);
            left -= part;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a side knows of early data.
pub(crate) trait EarlySide {
    /// Reads accepted early data, if any is left.
    fn read_early(&mut self, _buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        Ok(0)
    }
}

impl EarlySide for ServerConnection {
    fn read_early(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let Some(mut early) = self.early_data() else { return Ok(0) };
        let n = early.read(buf.initialize_unfilled())?;
        buf.advance(n);
        Ok(n)
    }
}

impl EarlySide for ClientConnection {}

/// TLS over a socket.
pub(crate) struct TlsStream<C> {
    tls: Box<C>,
    io: Socket,
    /// Whether the bytes read last came as early data.
    early: bool,
    closed: bool,
    /// What is to be sent may wait for what is sent next.
    merges: bool,
    /// What the kernel can do of TLS, where it may be given the sending side.
    support: Option<Support>,
    sender: Sender,
}

impl<C, D> TlsStream<C>
where
    C: DerefMut<Target = ConnectionCommon<D>> + EarlySide + Unpin,
    D: SideData,
{
    pub(crate) fn new(tls: C, io: Socket) -> Self {
        Self {
            tls: Box::new(tls),
            io,
            early: false,
            closed: false,
            merges: false,
            support: None,
            sender: Sender::Userspace,
        }
    }

    /// A connection that was just accepted, whose sending side the kernel may get if it has this support.
    pub(crate) fn watched(tls: C, io: Socket, support: Option<Support>) -> Self {
        let mut stream = Self { support, ..Self::new(tls, io) };
        stream.listen();
        stream
    }

    /// Hears whether the last call to rustls made the secret that content is sent by.
    fn listen(&mut self) {
        let Some(support) = self.support else { return };
        if let Some(secret) = ktls::take_said() {
            self.sender = Sender::Watched(Box::new(Watch::new(support, secret)));
        }
        if !self.tls.is_handshaking()
            && let Some(watch) = self.sender.watch()
        {
            watch.begin();
        }
    }

    /// The kernel will not be given this connection.
    pub(crate) fn unwatch(&mut self) {
        (self.support, self.sender) = (None, Sender::Userspace);
    }

    /// The kernel may take the sending side over, as soon as it is seen that it can.
    pub(crate) fn want_kernel(&mut self) {
        let cipher = self.tls.negotiated_cipher_suite().and_then(|suite| ktls::Cipher::of(suite.suite()));
        if let Some(watch) = self.sender.watch() {
            watch.want(cipher);
        }
    }

    /// Whether the kernel sends from now on. Only asked when all is flushed.
    pub(crate) fn enter_kernel(&mut self) -> bool {
        !self.tls.wants_write() && self.sender.hand_over(&self.io)
    }

    /// Sends what the pipe has. Only if the kernel sends.
    pub(crate) fn poll_relay(&mut self, cx: &mut Context<'_>, relay: &mut Relay) -> Poll<io::Result<usize>> {
        let Some(kernel) = self.sender.kernel() else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        ready!(kernel.poll_settle(cx, &self.io))?;
        kernel.may_write()?;
        let n = ready!(relay.poll_out(cx, &self.io))?;
        kernel.wrote(n);
        Poll::Ready(Ok(n))
    }

    /// Until what was written would arrive even if the connection were closed now.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.sender.kernel() {
            Some(kernel) => kernel.poll_drained(cx, &self.io),
            None => self.poll_write_tls(cx),
        }
    }

    /// What rustls wants to send while the kernel sends, said by way of the kernel.
    fn shadow(&mut self) -> io::Result<()> {
        let Some(kernel) = self.sender.kernel() else { return Ok(()) };
        // The answer to a KeyUpdate waits for content to be sent: a byte brings it out.
        let _ = self.tls.writer().write(&[0]);
        let mut records = Vec::with_capacity(128);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records)?;
        }
        kernel.shadow(&mut records)
    }

    pub(crate) fn tls(&self) -> &C {
        &self.tls
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.io
    }

    /// Whether bytes of early data were the last that were read, and the handshake is not complete.
    pub(crate) fn is_early(&self) -> bool {
        self.early && self.tls.is_handshaking()
    }

    /// Until the handshake is complete. Early data and content that arrive meanwhile are kept.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begins = self.tls.is_handshaking();
        while self.tls.is_handshaking() {
            let _ = self.poll_write_tls(cx)?;
            if !self.tls.is_handshaking() {
                break;
            }
            if ready!(self.poll_read_tls(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        // Tickets, or a client's Finished, go with the first content, which nearly always follows at once; or before the next wait
        // for the peer.
        self.merges |= begins;
        Poll::Ready(Ok(()))
    }

    /// Reads records once and processes them.
    fn poll_read_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let n = match self.tls.read_tls(&mut Sync { io: &mut self.io, cx }) {
            Ok(n) => n,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(why) => return Poll::Ready(Err(why)),
        };
        let handshaking = self.tls.is_handshaking();
        let processed = self.tls.process_new_packets();
        if handshaking {
            self.listen();
        }
        self.shadow()?;
        if let Err(why) = processed {
            // The alert that says why is worth one try.
            let _ = match self.sender.kernel() {
                Some(kernel) => kernel.poll_say_end(cx, &self.io),
                None => self.poll_write_tls(cx),
            };
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Poll::Ready(Ok(n))
    }

    /// Writes the records that wait. Where the kernel sends, those that it owes.
    fn poll_write_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kernel) = self.sender.kernel() {
            return kernel.poll_settle(cx, &self.io);
        }
        while self.tls.wants_write() {
            let inner = Sync { io: &mut self.io, cx };
            match self.tls.write_tls(&mut Told { inner, sender: &mut self.sender }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Until content may be taken: what is encrypted and not written yet is the only buffer.
    fn poll_make_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.merges) { Poll::Ready(Ok(())) } else { self.poll_write_tls(cx) }
    }

    fn poll_read_plain(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let n = self.tls.read_early(buf)?;
            if n > 0 {
                self.early = true;
                return Poll::Ready(Ok(()));
            }
            let mut reader = self.tls.reader();
            // Only as much of the buffer is touched as there is to put into it: while nothing comes, its pages stay away.
            match reader.fill_buf() {
                Ok(chunk) => {
                    let n = chunk.len().min(buf.remaining());
                    buf.put_slice(&chunk[..n]);
                    reader.consume(n);
                    self.early = false;
                    return Poll::Ready(Ok(()));
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Poll::Ready(Err(why)),
            }
            let _ = self.poll_write_tls(cx)?;
            ready!(self.poll_read_tls(cx))?;
        }
    }
}

impl<C, D> AsyncRead for TlsStream<C>
where
    C: DerefMut<Target = ConnectionCommon<D>> + EarlySide + Unpin,
    D: SideData,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_read_plain(cx, buf)
    }
}

impl<C, D> AsyncWrite for TlsStream<C>
where
    C: DerefMut<Target = ConnectionCommon<D>> + EarlySide + Unpin,
    D: SideData,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_make_room(cx))?;
        match &mut this.sender {
            Sender::Kernel(kernel) => {
                kernel.may_write()?;
                let n = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
                kernel.wrote(n);
                return Poll::Ready(Ok(n));
            }
            Sender::Watched(watch) => watch.begin(),
            Sender::Userspace => {}
        }
        let n = this.tls.writer().write(buf)?;
        let _ = this.poll_write_tls(cx)?;
        if n == 0 && !buf.is_empty() { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_make_room(cx))?;
        match &mut this.sender {
            Sender::Kernel(kernel) => {
                kernel.may_write()?;
                let n = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
                kernel.wrote(n);
                return Poll::Ready(Ok(n));
            }
            Sender::Watched(watch) => watch.begin(),
            Sender::Userspace => {}
        }
        let n = this.tls.writer().write_vectored(bufs)?;
        let _ = this.poll_write_tls(cx)?;
        if n == 0 && bufs.iter().any(|buf| !buf.is_empty()) { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_write_tls(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(kernel) = this.sender.kernel() {
            ready!(kernel.poll_say_end(cx, &this.io))?;
            ready!(kernel.poll_drained(cx, &this.io))?;
            return Pin::new(&mut this.io).poll_shutdown(cx);
        }
        if !this.closed {
            this.closed = true;
            this.tls.send_close_notify();
        }
        ready!(this.poll_write_tls(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
