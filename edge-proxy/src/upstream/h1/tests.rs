//! Responses whose chunks end at any byte of a buffer.

use super::*;
use crate::body::BodyPart;
use crate::socket::Socket;
use edge_http::{ResponseHead, Version};
use std::future::poll_fn;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// Returns a response whose head and first chunk end `before` bytes before a buffer would be full, with eight
/// chunks after it, each as long as a buffer with its framing.
fn chunked_response(before: usize) -> (Vec<u8>, Vec<u8>) {
    let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let first = SIZE - wire.len() - before;
    let mut content = Vec::new();
    for (at, length) in [first, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE].into_iter().enumerate() {
        // Four digits and two line ends.
        let data = vec![b'a' + at as u8; length - 8];
        wire.extend_from_slice(format!("{:04x}\r\n", data.len()).as_bytes());
        wire.extend_from_slice(&data);
        wire.extend_from_slice(b"\r\n");
        content.extend_from_slice(&data);
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    (wire, content)
}

/// Sends the bytes of a response at once over a connection that stays open, and returns the content that is read.
async fn exchange(response: &[u8]) -> Result<Vec<u8>, UpstreamError> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    socket2::SockRef::from(&theirs).set_send_buffer_size(2 * response.len()).unwrap();
    theirs.write_all(response).await.unwrap();
    let (wire, limits) =
        (UpstreamTransport::Plain(Socket::Unix(ours)), HeadLimits { bytes: 4096, fields: 16, target: 1024 });
    let request = RequestHead::new(Version::Http11);
    let check_in = CheckIn::new(None, None);
    let mut exchange = Http1Request::begin(wire, check_in, false, &request, "localhost", None, limits);
    let (mut head, mut content) = (ResponseHead::default(), Vec::new());
    poll_fn(|cx| exchange.poll_head(cx, &mut head)).await?;
    while poll_fn(|cx| exchange.poll_body(cx)).await? == BodyPart::Data {
        let n = exchange.chunk().len();
        content.extend_from_slice(&exchange.take(n));
    }
    Ok(content)
}

#[test]
fn a_chunk_may_end_at_any_byte_of_a_buffer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for before in 0..=10 {
        let (wire, sent) = chunked_response(before);
        let received =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), exchange(&wire)).await });
        let received = received.unwrap_or_else(|_| panic!("{before}: the content was not read to its end"));
        assert!(received.as_ref() == Ok(&sent), "{before}: {:?}", received.map(|content| content.len()));
    }
}
