//! The record layer beside itself, and beside rustls as the client.

use super::stream::TlsStream;
use crate::buffer::ReadBuffer;
use crate::socket::Socket;
use crate::tls13::record::{
    self, ALERT, APPLICATION_DATA, HANDSHAKE, ReceivedRecord, RecordError, RecordOpener, RecordSealer,
};
use crate::tls13::{Cipher, RecordBuffer, Secret};
use proptest::prelude::*;
use rustls::{ClientConnection, ServerConfig, StreamOwned};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Authority, tls_client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CIPHERS: [Cipher; 3] = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

fn pair(cipher: Cipher) -> (RecordSealer, RecordOpener) {
    let length = if cipher == Cipher::Aes256Gcm { 48 } else { 32 };
    let secret = Secret::new(&[7; 48][..length]).unwrap();
    let keys = secret.keys(cipher).unwrap();
    let sealing = RecordSealer::new(secret.clone(), &keys, 3).unwrap();
    (sealing, RecordOpener::new(secret, &keys, 3).unwrap())
}

/// The messages to send, in order.
#[derive(Clone, Debug)]
enum Sent {
    Content(Vec<Vec<u8>>),
    NewKeys,
}

fn sent() -> impl Strategy<Value = Sent> {
    let part = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..50_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop_oneof![
        5 => prop::collection::vec(part, 0..5).prop_map(Sent::Content),
        1 => Just(Sent::NewKeys),
    ]
}

/// Decrypts all of it: where it is, or to somewhere else.
fn opened(opening: &mut RecordOpener, mut bytes: Vec<u8>, in_place: bool) -> Result<Vec<u8>, RecordError> {
    let (mut all, mut rest) = (Vec::new(), &mut bytes[..]);
    while let Some(length) = record::record_len(rest)? {
        let (record, after) = rest.split_at_mut(length);
        if in_place {
            if let ReceivedRecord::Content(n) = opening.open_in_place(record)? {
                all.extend_from_slice(&record[5..5 + n]);
            }
        } else {
            let mut out = vec![0; length - 21];
            if let ReceivedRecord::Content(n) = opening.open_to(record, &mut out).unwrap()? {
                all.extend_from_slice(&out[..n]);
            }
        }
        rest = after;
    }
    assert!(rest.is_empty());
    Ok(all)
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        all in prop::collection::vec(sent(), 0..6),
        cipher in prop::sample::select(&CIPHERS[..]),
        in_place: bool,
    ) {
        let (mut sealing, mut opening) = pair(cipher);
        let (mut out, mut expected) = (RecordBuffer::default(), Vec::new());
        for one in &all {
            match one {
                Sent::NewKeys => sealing.owe_keys(),
                Sent::Content(parts) => {
                    let parts: Vec<_> = parts.iter().map(|part| &part[..]).collect();
                    let (length, before) = (parts.concat().len(), out.waiting().len());
                    sealing.content(&parts, &mut out).unwrap();
                    prop_assert!(out.waiting().len() - before <= RecordSealer::max_sealed_len(length));
                    expected.extend(parts.concat());
                }
            }
        }
        prop_assert_eq!(opened(&mut opening, out.waiting().to_vec(), in_place), Ok(expected));
    }

    /// Whatever the peer puts into its records, something is heard or the connection ends.
    #[test]
    fn any_content_of_records_is_judged(
        all in prop::collection::vec((prop::sample::select(&[0, 20, 21, 22, 23, 24][..]), prop::collection::vec(any::<u8>(), 0..8)), 0..40),
        in_place: bool,
    ) {
        let (mut sealing, mut opening) = pair(Cipher::Aes128Gcm);
        let mut out = RecordBuffer::default();
        for (kind, content) in &all {
            sealing.record(*kind, content, &mut out).unwrap();
        }
        let expected: Vec<u8> = all.iter().filter(|(kind, _)| *kind == 23).flat_map(|(_, content)| content.clone()).collect();
        if let Ok(content) = opened(&mut opening, out.waiting().to_vec(), in_place) {
            prop_assert!(expected.starts_with(&content) || all.iter().any(|(kind, _)| *kind == 0));
        }
    }

    /// A byte that was changed anywhere is found out.
    #[test]
    fn nothing_can_be_changed(cipher in prop::sample::select(&CIPHERS[..]), at in 0..60_usize, bit in 0..8, in_place: bool) {
        let (mut sealing, mut opening) = pair(cipher);
        let mut out = RecordBuffer::default();
        sealing.content(&[&[9; 38]], &mut out).unwrap();
        let mut bytes = out.waiting().to_vec();
        prop_assert_eq!(bytes.len(), 60);
        bytes[at] ^= 1_u8 << bit;
        // A length that is another one is not whole, or has no tag where it is looked for.
        if at == 3 || at == 4 {
            return Ok(());
        }
        prop_assert!(opened(&mut opening, bytes, in_place).is_err());
    }
}

/// Returns the result of reading records with these types and contents.
fn judged(records: &[(u8, &[u8])]) -> Result<Vec<ReceivedRecord>, RecordError> {
    let (mut sealing, mut opening) = pair(Cipher::Aes128Gcm);
    let mut all = Vec::new();
    for (kind, content) in records {
        let mut out = RecordBuffer::default();
        sealing.record(*kind, content, &mut out).unwrap();
        let mut bytes = out.waiting().to_vec();
        record::record_len(&bytes)?;
        all.push(opening.open_in_place(&mut bytes)?);
    }
    Ok(all)
}

#[test]
fn what_may_be_sent_after_a_handshake() {
    let update = |asks| [24, 0, 0, 1, asks];
    let content = (APPLICATION_DATA, &b"hello"[..]);
    let large = vec![1; 1 << 14];
    for (records, expected) in [
        (&[content][..], Ok(vec![ReceivedRecord::Content(5)])),
        // Padding (RFC 8446 §5.4).
        (&[(0, b"hello\x17\0\0\0")], Ok(vec![ReceivedRecord::Content(5)])),
        (&[(APPLICATION_DATA, b"")], Ok(vec![ReceivedRecord::Nothing])),
        (&[(APPLICATION_DATA, &large)], Ok(vec![ReceivedRecord::Content(1 << 14)])),
        (&[(ALERT, &[1, 0])], Ok(vec![ReceivedRecord::End])),
        (&[(ALERT, &[1, 90])], Ok(vec![ReceivedRecord::Nothing])),
        // The level is nothing to go by.
        (&[(ALERT, &[1, 20])], Err(RecordError::Alerted(20))),
        (&[(ALERT, &[2, 40])], Err(RecordError::Alerted(40))),
        (&[(ALERT, &[2])], Err(RecordError::Decode)),
        (&[(ALERT, &[1, 0, 1, 0])], Err(RecordError::Decode)),
        (&[(HANDSHAKE, &[24])], Ok(vec![ReceivedRecord::Nothing])),
        // In two pieces.
        (&[(HANDSHAKE, &[24, 0]), (HANDSHAKE, &[0, 1])], Ok(vec![ReceivedRecord::Nothing; 2])),
        (&[(HANDSHAKE, &[24, 0]), content], Err(RecordError::Unexpected)),
        (&[(HANDSHAKE, &update(2))], Err(RecordError::Illegal)),
        (&[(HANDSHAKE, &[24, 0, 0, 2, 0, 0])], Err(RecordError::Unexpected)),
        (&[(HANDSHAKE, &[24, 0, 0, 2])], Err(RecordError::Decode)),
        // New keys do not begin in the middle of a record.
        (&[(HANDSHAKE, &[24, 0, 0, 1, 0, 24])], Err(RecordError::Unexpected)),
        (&[(HANDSHAKE, b"")], Err(RecordError::Unexpected)),
        // A Finished, a ClientHello, a certificate.
        (&[(HANDSHAKE, &[20, 0, 0, 32])], Err(RecordError::Unexpected)),
        (&[(HANDSHAKE, &[1, 0, 0, 1])], Err(RecordError::Unexpected)),
        (&[(HANDSHAKE, &[11, 0, 0, 1])], Err(RecordError::Unexpected)),
        (&[(20, &[1])], Err(RecordError::Unexpected)),
        (&[(24, &[1, 0, 1, 0])], Err(RecordError::Unexpected)),
        // Zeros alone are of no type.
        (&[(0, b"")], Err(RecordError::Unexpected)),
        (&[(0, &[0; 100])], Err(RecordError::Unexpected)),
        (&[(APPLICATION_DATA, &vec![1; (1 << 14) + 1])], Err(RecordError::Overflow)),
        (&[(APPLICATION_DATA, &vec![1; (1 << 14) + 240])], Err(RecordError::Overflow)),
    ] {
        let shown: Vec<_> =
            records.iter().map(|(kind, content)| (kind, &content[..content.len().min(8)])).collect();
        assert_eq!(judged(records), expected, "{shown:?}");
    }
    // What asks for work and brings nothing comes to an end; content in between is a reason.
    assert_eq!(judged(&[(APPLICATION_DATA, &b""[..]); 33]), Err(RecordError::Unexpected));
    assert!(judged(&[(APPLICATION_DATA, &b""[..]); 32]).is_ok());
    let mut many = [(APPLICATION_DATA, &b""[..]); 60];
    many[30] = content;
    assert!(judged(&many).is_ok());
}

#[test]
fn heads_of_records() {
    for (head, expected) in [
        (&[][..], Ok(None)),
        (&[23, 3, 3, 0], Ok(None)),
        (&[23, 3, 3, 0, 17], Ok(Some(22))),
        // The version says nothing (RFC 8446 §5.1).
        (&[23, 9, 9, 0x41, 0], Ok(Some(5 + 16_640))),
        (&[23, 3, 3, 0x41, 1], Err(RecordError::Overflow)),
        // Nothing is in the clear any more, not even an alert or a change_cipher_spec.
        (&[20, 3, 3, 0, 1], Err(RecordError::Unexpected)),
        (&[21, 3, 3, 0, 2], Err(RecordError::Unexpected)),
        (b"GET / HTTP/1.1", Err(RecordError::Unexpected)),
    ] {
        assert_eq!(record::record_len(head), expected, "{head:?}");
    }
    // Too short to have a tag.
    assert_eq!(
        pair(Cipher::Aes128Gcm).1.open_in_place(&mut [23, 3, 3, 0, 3, 1, 2, 3]),
        Err(RecordError::BadMac)
    );
    assert_eq!(pair(Cipher::Aes128Gcm).1.open_to(&[23, 3, 3, 0, 3, 1, 2, 3], &mut [0; 9]), None);
}

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A client of rustls and what serves it, run at the same time.
fn beside_rustls<T: Send + 'static>(
    version: &'static rustls::SupportedProtocolVersion,
    client: impl FnOnce(Client) -> T + Send + 'static,
    serves: impl AsyncFnOnce(TlsStream<rustls::ServerConnection>),
) -> T {
    let (authority, listener) = (Authority::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (chain, key) = authority.pair(&["a.test"]);
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    config.key_log = Arc::new(super::SecretCapture);
    config.enable_secret_extraction = true;
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let config_of_client = Arc::new(tls_client(authority.root(), &[]));
    let running = std::thread::spawn(move || {
        let session = ClientConnection::new(config_of_client, "a.test".try_into().unwrap()).unwrap();
        client(StreamOwned::new(session, stream))
    });
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = Socket::Tcp(tokio::net::TcpStream::from_std(stream).unwrap());
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = TlsStream::accepted(tls, socket, ReadBuffer::default(), None);
        poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
        serves(stream).await;
    });
    running.join().unwrap()
}

/// Sends back what comes, in pieces of a size that is never the same, up to the end.
async fn echo(mut stream: TlsStream<rustls::ServerConnection>, own: bool) {
    let (mut buf, mut size) = (vec![0; 70_000], 1);
    loop {
        let n = stream.read(&mut buf[..size]).await.unwrap();
        if n == 0 {
            break;
        }
        assert_eq!(stream.tls().is_none(), own);
        stream.write_all(&buf[..n]).await.unwrap();
        size = (size * 7 + 3) % 70_000 + 1;
    }
    stream.shutdown().await.unwrap();
}

fn echoed(mut client: Client) {
    let mut size = 1;
    for round in 0..60_u8 {
        size = (size * 13 + 5) % 40_000 + 1;
        let sent = vec![round; size];
        // New keys of ours, and the wish for new ones of theirs (RFC 8446 §4.6.3); twice in a row too.
        for _ in 0..round % 3 {
            let _ = client.conn.refresh_traffic_keys();
        }
        client.write_all(&sent).unwrap();
        let mut got = vec![0; size];
        client.read_exact(&mut got).unwrap();
        assert!(got == sent, "{round}");
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(client.read(&mut [0]).expect("close_notify"), 0);
}

#[test]
fn rustls_is_understood_and_understands() {
    beside_rustls(&rustls::version::TLS13, echoed, async |stream| {
        assert!(stream.tls().is_some());
        echo(stream, true).await;
    });
    beside_rustls(&rustls::version::TLS12, echoed, async |stream| echo(stream, false).await);
}

#[test]
fn an_end_without_a_word_is_an_error() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = |mut client: Client| {
            client.write_all(b"abc").unwrap();
            client.sock.shutdown(Shutdown::Write).unwrap();
        };
        beside_rustls(version, client, async |mut stream| {
            let mut all = Vec::new();
            let ended = stream.read_to_end(&mut all).await;
            assert_eq!(all, b"abc");
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}

#[test]
fn a_client_that_breaks_the_rules_is_told_so() {
    let client = |mut client: Client| {
        client.write_all(b"abc").unwrap();
        client
            .sock
            .write_all(&[
                23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
            ])
            .unwrap();
        client.read(&mut [0]).unwrap_err().to_string()
    };
    let said = beside_rustls(&rustls::version::TLS13, client, async |mut stream| {
        let mut buf = [0; 100];
        assert_eq!(stream.read(&mut buf).await.unwrap(), 3);
        assert_eq!(stream.read(&mut buf).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        // And nothing goes on after that.
        assert!(stream.write_all(b"more").await.is_err());
        assert!(stream.read(&mut buf).await.is_err());
    });
    assert!(said.contains("BadRecordMac"), "{said}");
}
