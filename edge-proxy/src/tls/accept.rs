//! Reading of the ClientHello before any response is sent.

use crate::buffer::ReadBuffer;
use crate::socket::Socket;
use rustls::server::{Accepted, Acceptor};
use std::future::poll_fn;
use tokio::io::AsyncWriteExt;

/// The length of a record header in bytes.
const HEAD: usize = 5;
/// The longest record payload in any version, in bytes (RFC 5246 §6.2.3).
const MAX_BODY: usize = (1 << 14) + 2048;
/// The content type of a ClientHello's record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// The first bytes of a connection.
pub(crate) enum Hello {
    /// A complete ClientHello.
    Accepted(Box<Accepted>),
    /// Anything else: plain HTTP, other bytes, a malformed ClientHello, or nothing.
    NotTls,
}

/// An error for bytes that cannot begin a TLS record.
pub(super) struct NotTlsRecord;

/// Returns the length in bytes of the record at the front, its header included. `None` if the header is incomplete.
///
/// # Errors
/// The bytes cannot begin a handshake record.
pub(super) fn record_length(bytes: &[u8]) -> Result<Option<usize>, NotTlsRecord> {
    let kind = bytes.first().is_none_or(|kind| (20..=24).contains(kind));
    let version = bytes.get(1).is_none_or(|major| *major == 3);
    if !kind || !version {
        return Err(NotTlsRecord);
    }
    let Some([_, _, _, high, low]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes([*high, *low])) {
        body @ ..=MAX_BODY => Ok(Some(HEAD + body)),
        _ => Err(NotTlsRecord),
    }
}

/// Reads until the ClientHello is complete, without writing. Bytes behind its last record stay in `ahead`. Its
/// records are also appended to `copy`.
pub(crate) async fn read_hello(
    io: &mut Socket,
    ahead: &mut ReadBuffer,
    mut copy: Option<&mut Vec<u8>>,
) -> Hello {
    let mut acceptor = Acceptor::default();
    loop {
        let held = ahead.bytes();
        let length = match record_length(held) {
            Ok(_) if held.first().is_some_and(|kind| *kind != HANDSHAKE) => return Hello::NotTls,
            Ok(length) => length,
            Err(NotTlsRecord) => return Hello::NotTls,
        };
        let Some(mut record) = length.and_then(|length| held.get(..length)) else {
            let read = poll_fn(|cx| {
                let filled = ahead.poll_fill(io, cx);
                if filled.is_pending() {
                    ahead.park();
                }
                filled
            });
            match read.await {
                Ok(1..) => continue,
                _ => return Hello::NotTls,
            }
        };
        let length = record.len();
        if let Some(copy) = &mut copy {
            copy.extend_from_slice(record);
        }
        while !record.is_empty() {
            // It takes a part at a time, and a whole record before it has to look at it.
            if !matches!(acceptor.read_tls(&mut record), Ok(1..)) {
                return Hello::NotTls;
            }
        }
        ahead.consume(length);
        match acceptor.accept() {
            Ok(Some(accepted)) => return Hello::Accepted(Box::new(accepted)),
            Ok(None) => {}
            Err(_) => return Hello::NotTls,
        }
    }
}

/// Sends a fatal alert in cleartext. 112 is `unrecognized_name` (RFC 6066 §3).
pub(crate) async fn send_alert(io: &mut Socket, description: u8) {
    // Whether it arrives does not matter; the connection is closed next.
    let _ = io.write_all(&[21, 3, 3, 0, 2, 2, description]).await;
}
