//! Reading the ClientHello, before anything is answered.

use crate::server::socket::Socket;
use rustls::server::{Accepted, Acceptor};
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// A socket as `std::io` sees it, for the time of one call.
pub(super) struct Sync<'a, 'b> {
    pub(super) io: &'a mut Socket,
    pub(super) cx: &'a mut Context<'b>,
}

impl Read for Sync<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut space = ReadBuf::new(buf);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut space) {
            Poll::Ready(Ok(())) => Ok(space.filled().len()),
            Poll::Ready(Err(why)) => Err(why),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// What is read, and a copy of it for who wants one.
struct Copied<'a, 'b, 'c> {
    inner: Sync<'a, 'b>,
    copy: Option<&'c mut Vec<u8>>,
}

impl Read for Copied<'_, '_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(&buf[..n]);
        }
        Ok(n)
    }
}

/// What a connection began with.
pub(crate) enum Hello {
    /// A ClientHello.
    Accepted(Box<Accepted>),
    /// Something else: plain HTTP, garbage, a broken ClientHello, or nothing.
    NotTls,
}

/// Reads until the ClientHello is complete. Nothing is written, whatever comes. `copy` gets what was read.
pub(crate) async fn read_hello(io: &mut Socket, already: &[u8], mut copy: Option<&mut Vec<u8>>) -> Hello {
    if let Some(copy) = &mut copy {
        copy.extend_from_slice(already);
    }
    let mut acceptor = Acceptor::default();
    let mut already = already;
    while !already.is_empty() {
        if acceptor.read_tls(&mut already).is_err() {
            return Hello::NotTls;
        }
    }
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => return Hello::Accepted(Box::new(accepted)),
            Ok(None) => {}
            Err(_) => return Hello::NotTls,
        }
        let read = poll_fn(|cx| {
            match acceptor
                .read_tls(&mut Copied { inner: Sync { io: &mut *io, cx }, copy: copy.as_deref_mut() })
            {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                other => Poll::Ready(other),
            }
        });
        if !matches!(read.await, Ok(1..)) {
            return Hello::NotTls;
        }
    }
}

/// A fatal alert in the clear, for sites that want one said: 112 is `unrecognized_name` (RFC 6066 §3).
pub(crate) async fn send_alert(io: &mut Socket, description: u8) {
    // Whether it arrives does not matter; the connection is closed next.
    let _ = io.write_all(&[21, 3, 3, 0, 2, 2, description]).await;
}
