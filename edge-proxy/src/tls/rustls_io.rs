//! What of rustls a stream uses: the differences between client and server, and the writing of records.

use crate::buffer::ReadBuffer;
use crate::socket::Socket;
use crate::tls13::RecordBuffer;
use rustls::{ClientConnection, ConnectionCommon, ExtractedSecrets, ServerConnection, SideData};
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, ReadBuf};

/// An adapter from a non-blocking socket to [`Write`] for the duration of one call: a pending write is `WouldBlock`.
pub(super) struct SyncIo<'a, 'b> {
    /// The socket to write to.
    pub(super) io: &'a mut Socket,
    /// The context of the task that is woken when the socket is writable.
    pub(super) cx: &'a mut Context<'b>,
}

impl Write for SyncIo<'_, '_> {
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

impl Write for RecordBuffer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The operations of rustls that differ between client and server connections.
pub(crate) trait ConnectionSide: Sized {
    /// Reads accepted early data into `buf` and returns the number of bytes. 0 if none is left, and always for clients.
    ///
    /// # Errors
    /// The error of rustls.
    fn read_early(&mut self, _buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        Ok(0)
    }

    /// Consumes the connection and returns its traffic keys and sequence numbers, with which it is continued without
    /// rustls.
    ///
    /// # Errors
    /// The error of rustls, for example if the handshake is not complete.
    fn extract(self) -> Result<ExtractedSecrets, rustls::Error>;
}

impl ConnectionSide for ServerConnection {
    fn read_early(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let Some(mut early) = self.early_data() else { return Ok(0) };
        let n = early.read(buf.initialize_unfilled())?;
        buf.advance(n);
        Ok(n)
    }

    fn extract(self) -> Result<ExtractedSecrets, rustls::Error> {
        self.dangerous_extract_secrets()
    }
}

impl ConnectionSide for ClientConnection {
    fn extract(self) -> Result<ExtractedSecrets, rustls::Error> {
        self.dangerous_extract_secrets()
    }
}

/// Passes up to `left` bytes of `ahead` to rustls and processes them: all if `follows` is true, else as many as rustls
/// accepts. Consumes the bytes that were passed. Returns the number of bytes that rustls did not accept.
///
/// # Errors
/// The error of rustls.
pub(super) fn feed<D: SideData>(
    tls: &mut ConnectionCommon<D>,
    ahead: &mut ReadBuffer,
    mut left: usize,
    follows: bool,
) -> Result<usize, rustls::Error> {
    loop {
        let before = left;
        // rustls takes 4 KiB at a time, up to a whole record, and more when that is processed.
        while left > 0
            && (follows || left == before || tls.wants_read())
            && let Ok(n @ 1..) = tls.read_tls(&mut &ahead.bytes()[..left])
        {
            ahead.consume(n);
            left -= n;
        }
        tls.process_new_packets()?;
        if left == 0 || left == before || !follows && !tls.wants_read() {
            return Ok(left);
        }
    }
}
