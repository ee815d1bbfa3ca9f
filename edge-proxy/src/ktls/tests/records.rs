//! The limit of records under one key.

use super::fixture::{Edge, MIB, content, rest};
use crate::buffer::ReadBuffer;
use crate::ktls::KernelTlsSupport;
use crate::socket::Socket;
use crate::tls::TlsStream;
use rustls::{ClientConnection, StreamOwned};
use std::future::poll_fn;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use testkit::{Authority, tls_client};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// One key encrypts no more records than it may: the next is used, or nothing is sent any more.
pub(super) fn many_records(edge: &Edge, support: KernelTlsSupport) {
    let support = KernelTlsSupport { records: 64, ..support };
    let (authority, listener) = (Authority::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (chain, key) = authority.pair(&["a.test"]);
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    config.key_log = Arc::new(crate::tls::SecretCapture);
    config.enable_secret_extraction = true;
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let client = Arc::new(tls_client(authority.root(), &[]));
    let reading = std::thread::spawn(move || {
        let session = ClientConnection::new(client, "a.test".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(session, stream);
        let (found, ended) = rest(&mut client);
        (found, ended.is_ok())
    });
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let all = content(4 * MIB);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(async {
        let socket = Socket::Tcp(tokio::net::TcpStream::from_std(stream).unwrap());
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = TlsStream::accepted(tls, socket, ReadBuffer::default(), Some(support));
        poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
        let mut parts = all.chunks(16 * 1024);
        stream.write_all(parts.next().unwrap()).await.unwrap();
        // There is nothing, but looking for it is where rustls is left.
        assert!(
            poll_fn(|cx| Poll::Ready(
                Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_pending()
            ))
            .await
        );
        stream.write_all(parts.next().unwrap()).await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.enter_kernel(), "the kernel sends");
        for part in parts {
            stream.write_all(part).await?;
        }
        stream.shutdown().await
    });
    let (found, complete) = reading.join().unwrap();
    assert_eq!(found[..], all[..found.len()]);
    assert_eq!(
        (sent.is_ok(), complete, found.len() == all.len()),
        (support.rekeys, support.rekeys, support.rekeys)
    );
    assert!(found.len() / (16 * 1024) <= if support.rekeys { usize::MAX } else { 64 });
    assert_eq!(edge.support, Some(KernelTlsSupport { records: u64::MAX, ..support }));
}
