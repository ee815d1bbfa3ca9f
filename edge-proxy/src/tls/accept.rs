//! The reading of the ClientHello before any response is sent.

use crate::buffer::ReadBuffer;
use crate::socket::Socket;
use rustls::server::{Accepted, Acceptor};
use std::future::poll_fn;
use tokio::io::AsyncWriteExt;

/// The length of a record's header in bytes.
const HEAD: usize = 5;
/// The longest record payload of any TLS version, in bytes (RFC 5246 §6.2.3).
const MAX_BODY: usize = (1 << 14) + 2048;
/// The content type of handshake records (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// The result of reading the first bytes of a connection.
pub(crate) enum Hello {
    /// A complete ClientHello.
    Accepted(Box<Accepted>),
    /// The bytes are not TLS or a malformed ClientHello, or the connection ended or failed before the ClientHello was
    /// complete.
    NotTls,
}

/// The error for bytes that cannot begin a TLS record.
pub(super) struct NotTlsRecord;

/// Returns the length in bytes of the TLS record at the beginning of `bytes`, its header included. `None` if the header
/// is incomplete. The record itself may be incomplete.
///
/// # Errors
/// [`NotTlsRecord`] if the content type or the major version is unknown, or the length exceeds the maximum.
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

/// Reads until the ClientHello is complete, without writing anything. `ahead` contains bytes that were read before;
/// those behind the ClientHello's last record stay in it. The ClientHello's records are also appended to `copy`, if
/// that is given.
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
            // The acceptor takes a part at a time, and has room for a whole record.
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

/// Sends a fatal alert in plaintext. `description` is the code of RFC 8446 §6, such as 112, `unrecognized_name`. Errors
/// are ignored.
pub(crate) async fn send_alert(io: &mut Socket, description: u8) {
    // Whether it arrives does not matter; the connection is closed next.
    let _ = io.write_all(&[21, 3, 3, 0, 2, 2, description]).await;
}
