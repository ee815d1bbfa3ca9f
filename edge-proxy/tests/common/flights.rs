//! First flights of QUIC clients, datagram by datagram.

// Shared by two test programs, neither of which uses all of it.
#![allow(dead_code)]

use edge_http::h3::client_hello;
use edge_http::h3::initial::{self, CryptoBuffer, LongPacketType};
use quinn::crypto::rustls::QuicClientConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use testkit::tls_client;
use tokio::net::UdpSocket;

/// An address of its own for the client whose address is forged.
pub(crate) const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Returns the sockets of a relay between one client and the edge, and the address that the client connects to: the
/// socket for the client, and that for the edge, which is connected.
pub(crate) async fn relay_sockets(edge: SocketAddr) -> (UdpSocket, UdpSocket, SocketAddr) {
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    far.connect(edge).await.unwrap();
    let address = near.local_addr().unwrap();
    (near, far, address)
}

pub(crate) fn quic(root: &str) -> quinn::ClientConfig {
    let tls = QuicClientConfig::try_from(tls_client(root, &[b"h3"])).unwrap();
    quinn::ClientConfig::new(Arc::new(tls))
}

/// Returns the first flights of `count` connections for this name, without retransmissions: two datagrams each, since a
/// post-quantum ClientHello takes two.
pub(crate) async fn first_flights(root: &str, name: &str, count: usize) -> Vec<[Vec<u8>; 2]> {
    let trap = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let mut flights = Vec::new();
    let mut buffer = [0; 2000];
    for _ in 0..count {
        let _connecting = endpoint.connect_with(quic(root), trap.local_addr().unwrap(), name).unwrap();
        let mut flight = [Vec::new(), Vec::new()];
        for datagram in &mut flight {
            let n = trap.recv(&mut buffer).await.unwrap();
            datagram.extend_from_slice(&buffer[..n]);
        }
        drop(_connecting);
        // Whatever it still says is not part of the flight.
        while tokio::time::timeout(Duration::from_millis(5), trap.recv(&mut buffer)).await.is_ok() {}
        flights.push(flight);
    }
    flights
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(300), future).await.unwrap() })
}

/// Decrypts the Initial packet at the beginning of a datagram of the client or of the server, if it is one of the first
/// few. Returns its frames, and what comes after it. `first` is the connection ID that the client chose for its first
/// flight.
pub(crate) fn opened(datagram: &[u8], first: &[u8], by: rustls::Side) -> (Vec<u8>, Vec<u8>) {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().unwrap().quic_suite().unwrap();
    let header = initial::long_header(datagram).unwrap();
    assert_eq!(header.kind, LongPacketType::Initial);
    // The packets of one side are opened with the keys that the other has for what is remote.
    let other = if by == rustls::Side::Client { rustls::Side::Server } else { rustls::Side::Client };
    let keys = suite.keys(first, other, rustls::quic::Version::V1).remote;
    let (number_at, end) = header.extent(datagram).unwrap();
    let mut packet = datagram[..end].to_vec();
    let sample = packet[number_at + 4..][..keys.header.sample_len()].to_vec();
    let (head, number) = packet[..number_at + 4].split_at_mut(number_at);
    keys.header.decrypt_in_place(&sample, &mut head[0], number).unwrap();
    let length = usize::from(head[0] & 3) + 1;
    let number = number[..length].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (head, payload) = packet.split_at_mut(number_at + length);
    let payload = keys.packet.decrypt_in_place(number, head, payload).unwrap();
    (payload.to_vec(), datagram[end..].to_vec())
}

/// Returns the connection ID that a datagram of the client is for.
pub(crate) fn destination(datagram: &[u8]) -> Vec<u8> {
    initial::long_header(datagram).unwrap().destination.to_vec()
}

/// Returns whether a datagram of a first flight has a part of the ClientHello with this server name.
pub(crate) fn names(datagram: &[u8], name: &str) -> bool {
    let (frames, _) = opened(datagram, &destination(datagram), rustls::Side::Client);
    let mut hello = CryptoBuffer::new();
    hello.take_frames(&frames).unwrap();
    hello.parts().flat_map(client_hello::names).any(|found| found == name)
}

/// The first events after the loss of a half of a ClientHello, as a relay sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AfterLoss {
    /// The edge answered first.
    Edge,
    /// The client repeated its flight, since nothing had come for a second.
    Client,
    /// Neither half has the whole name, so that there is nothing to answer.
    Unnamed,
}
