//! Clients that return over QUIC after a handshake: only for them is half a ClientHello without a whole server name
//! acknowledged.

#![cfg(feature = "server")]

mod common;
#[path = "common/flights.rs"]
mod flights;

use common::{Edge, http1, read_until, tls};
use edge_http::h3::initial::{self, CryptoBuffer, LongPacketType};
use edge_proxy::Reason;
use edge_proxy::config::Reject;
use flights::{AfterLoss, VICTIM, destination, first_flights, names, opened, quic, relay_sockets, run};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use testkit::Origin;

/// The time within which the edge has processed what was sent, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns whether a datagram of the server has nothing but acknowledgements. `first` is the connection ID that the
/// client chose for its first flight.
fn only_acknowledges(datagram: &[u8], first: &[u8]) -> bool {
    let (frames, rest) = opened(datagram, first, rustls::Side::Server);
    let mut crypto = CryptoBuffer::new();
    // CONNECTION_CLOSE is an error of this parser.
    crypto.take_frames(&frames).is_ok() && crypto.parts().count() == 0 && rest.iter().all(|byte| *byte == 0)
}

/// Returns a first flight for this name, and that of its datagrams which does not have the whole name.
async fn without_its_name(root: &str, name: &str) -> ([Vec<u8>; 2], usize) {
    loop {
        let flight = first_flights(root, name, 1).await.remove(0);
        // The client shuffles its extensions: the name may be in either, and seldom in parts of both.
        if let Some(at) = flight.iter().position(|half| !names(half, name)) {
            return (flight, at);
        }
    }
}

/// The datagrams that come back for these, from a socket of its own at this address.
async fn answers(edge: SocketAddr, from: Ipv4Addr, datagrams: &[&Vec<u8>]) -> Vec<Vec<u8>> {
    let client = tokio::net::UdpSocket::bind((from, 0)).await.unwrap();
    for datagram in datagrams {
        client.send_to(datagram, edge).await.unwrap();
    }
    until_silent(&client).await
}

/// The datagrams that arrive until none has for 300 ms.
async fn until_silent(client: &tokio::net::UdpSocket) -> Vec<Vec<u8>> {
    let (mut back, mut buffer) = (Vec::new(), [0; 2000]);
    while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(300), client.recv(&mut buffer)).await {
        back.push(buffer[..n].to_vec());
    }
    back
}

/// Completes a handshake over QUIC from this address.
async fn visit(edge: &Edge, from: Ipv4Addr) {
    let endpoint = quinn::Endpoint::client((from, 0).into()).unwrap();
    let connection = endpoint.connect_with(quic(edge.root()), edge.tls(), "a.test").unwrap().await.unwrap();
    // The edge may process the end of the handshake after the client, and confirms it then.
    let until = Instant::now() + PATIENCE;
    while connection.stats().frame_rx.handshake_done == 0 {
        assert!(Instant::now() < until, "the handshake is not confirmed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
}

/// Asserts that this many connections are rejected for an unknown name, soon.
async fn assert_unknown_names(edge: &Edge, count: u64) {
    let until = Instant::now() + PATIENCE;
    while unknown_names(edge) < count && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(unknown_names(edge), count);
}

/// Returns the number of connections that were rejected for an unknown name.
fn unknown_names(edge: &Edge) -> u64 {
    let counts = edge.proxy.metrics().rejected;
    counts.iter().find(|(known, _)| *known == Reason::UnknownName).map_or(0, |(_, count)| *count)
}

/// Half a ClientHello without a name is acknowledged only for a client that completed a handshake from its address
/// before, at any worker.
#[test]
fn half_a_hello_without_a_name_is_acknowledged_for_a_returning_client() {
    let edge = Edge::before(Origin::simple().address(), 2);
    run(async {
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        assert!(answers(edge.tls(), VICTIM, &[&flight[at]]).await.is_empty(), "a client never seen");
        // A forged address: what the edge sends there is not answered.
        let [first, second] = first_flights(edge.root(), "a.test", 1).await.remove(0);
        assert!(!answers(edge.tls(), VICTIM, &[&first, &second]).await.is_empty());
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        assert!(answers(edge.tls(), VICTIM, &[&flight[at]]).await.is_empty(), "nothing was proved");

        visit(&edge, VICTIM).await;
        for _ in 0..4 {
            let (flight, at) = without_its_name(edge.root(), "a.test").await;
            assert!(
                answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&flight[at]]).await.is_empty(),
                "another client"
            );
            let client = tokio::net::UdpSocket::bind((VICTIM, 0)).await.unwrap();
            client.send_to(&flight[at], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(!back.is_empty(), "a returning client");
            assert!(back.iter().all(|one| only_acknowledges(one, &destination(&flight[at]))));
            // The rest, much later: the handshake goes on.
            client.send_to(&flight[1 - at], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(!back.is_empty() && !only_acknowledges(&back[0], &destination(&flight[at])));
        }
    });
}

/// Half a ClientHello without a name gets no Retry where a whole one does, because too many handshakes of the address
/// are pending.
#[test]
fn half_a_hello_without_a_name_gets_no_retry() {
    let edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        visit(&edge, VICTIM).await;
        let others = tokio::net::UdpSocket::bind((VICTIM, 0)).await.unwrap();
        for flight in first_flights(edge.root(), "a.test", 20).await {
            for datagram in &flight {
                others.send_to(datagram, edge.tls()).await.unwrap();
            }
        }
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        let client = tokio::net::UdpSocket::bind((VICTIM, 0)).await.unwrap();
        // Also if it is repeated.
        for _ in 0..2 {
            client.send_to(&flight[at], edge.tls()).await.unwrap();
            assert_eq!(until_silent(&client).await, Vec::<Vec<u8>>::new());
        }
        client.send_to(&flight[1 - at], edge.tls()).await.unwrap();
        let back = until_silent(&client).await;
        let kind = initial::long_header(&back[0]).map(|header| header.kind);
        assert_eq!(kind, Some(LongPacketType::Retry), "the whole ClientHello");
    });
}

/// A handshake over TCP makes a client a returning one too.
#[test]
fn a_client_over_tcp_returns_over_quic() {
    let edge = Edge::before(Origin::simple().address(), 2);
    let mut client = tls(edge.tls(), &http1(edge.root())).unwrap();
    // The edge may process the end of the handshake after the client, but before the request.
    client.write_all(b"GET /here HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 200"));
    drop(client);
    run(async {
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        assert!(answers(edge.tls(), VICTIM, &[&flight[at]]).await.is_empty(), "another client");
        assert!(!answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&flight[at]]).await.is_empty());
    });
}

/// An unknown name from an address whose clients were served gets no more than acknowledgements of half a ClientHello,
/// and nothing for one that arrives whole.
#[test]
fn an_unknown_name_of_a_returning_client_gets_acknowledgements_at_most() {
    let mut edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        visit(&edge, Ipv4Addr::LOCALHOST).await;
        let (mut sent, mut prompt, mut silent) = (0, 0, 0);
        while prompt < 6 {
            let [first, second] = first_flights(edge.root(), "b.test", 1).await.remove(0);
            let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let begun = Instant::now();
            client.send_to(&first, edge.tls()).await.unwrap();
            client.send_to(&second, edge.tls()).await.unwrap();
            // On a busy machine this test may be suspended between the two for longer than the edge waits, 20 ms.
            let in_time = begun.elapsed() < Duration::from_millis(10);
            let back = until_silent(&client).await;
            assert!(back.iter().all(|one| only_acknowledges(one, &destination(&first))));
            sent += 1;
            prompt += usize::from(in_time);
            silent += usize::from(in_time && back.is_empty());
        }
        assert_unknown_names(&edge, sent).await;
        // The edge may be suspended between the two as well.
        assert!(silent >= 5, "{silent} of {prompt}");
        for mut flight in first_flights(edge.root(), "b.test", 4).await {
            flight.sort_by_key(|half| !names(half, "b.test"));
            if names(&flight[0], "b.test") {
                let back = answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&flight[0]]).await;
                assert!(back.is_empty(), "a whole name that is not served");
            }
        }
        for rest_again in [false, true] {
            let (flight, at) = without_its_name(edge.root(), "b.test").await;
            let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            client.send_to(&flight[at], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(
                !back.is_empty() && back.iter().all(|one| only_acknowledges(one, &destination(&flight[at])))
            );
            let before = unknown_names(&edge);
            client.send_to(&flight[1 - at], edge.tls()).await.unwrap();
            assert!(until_silent(&client).await.is_empty(), "not even an alert");
            assert_unknown_names(&edge, before + 1).await;
            if rest_again {
                for half in &flight {
                    client.send_to(half, edge.tls()).await.unwrap();
                }
                assert!(until_silent(&client).await.is_empty());
                assert_unknown_names(&edge, before + 1).await;
            }
        }
        // Unless the owner wants an alert.
        edge.config.reject = Reject::Alert;
        edge.proxy.reload(edge.config.clone()).unwrap();
        let (flight, at) = without_its_name(edge.root(), "b.test").await;
        let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        for half in [at, 1 - at] {
            client.send_to(&flight[half], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(!back.is_empty());
            let quiet = back.iter().all(|one| only_acknowledges(one, &destination(&flight[at])));
            assert_eq!(quiet, half == at);
        }
    });
}

/// As before, with a client that sends the rest to the connection ID that the edge chose, which passes the filter of
/// first flights.
#[test]
fn an_unknown_name_that_arrives_at_an_id_of_the_edge_gets_acknowledgements_at_most() {
    let edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        visit(&edge, Ipv4Addr::LOCALHOST).await;
        let mut tried = 0;
        while tried < 3 {
            let near = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let far = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            far.connect(edge.tls()).await.unwrap();
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting =
                endpoint.connect_with(quic(edge.root()), near.local_addr().unwrap(), "b.test").unwrap();
            let (mut up, mut down) = ([0; 2000], [0; 2000]);
            let mut halves = Vec::new();
            let mut client = None;
            while halves.len() < 2 {
                let (n, from) = near.recv_from(&mut up).await.unwrap();
                client = Some(from);
                halves.push(up[..n].to_vec());
            }
            let Some(half) = halves.iter().find(|half| !names(half, "b.test")) else { continue };
            tried += 1;
            let (first, before) = (destination(half), unknown_names(&edge));
            far.send(half).await.unwrap();
            let (mut back, mut to_ours) = (Vec::new(), 0);
            let end = tokio::time::sleep(Duration::from_millis(1500));
            tokio::pin!(end);
            loop {
                tokio::select! {
                    () = &mut end => break,
                    Ok(n) = far.recv(&mut down) => {
                        back.push(down[..n].to_vec());
                        near.send_to(&down[..n], client.unwrap()).await.unwrap();
                    }
                    Ok((n, _)) = near.recv_from(&mut up) => {
                        to_ours += usize::from(destination(&up[..n]) != first);
                        far.send(&up[..n]).await.unwrap();
                    }
                }
            }
            assert!(!back.is_empty() && to_ours > 0, "{} and {to_ours}", back.len());
            assert!(back.iter().all(|one| only_acknowledges(one, &first)));
            assert_unknown_names(&edge, before + 1).await;
            drop(connecting);
        }
    });
}

/// A returning client does not wait for its probe timeout of a second, whichever datagram of its ClientHello is lost.
#[test]
fn a_lost_half_costs_a_returning_client_no_second() {
    let edge = Edge::before(Origin::simple().address(), 2);
    run(async {
        visit(&edge, Ipv4Addr::LOCALHOST).await;
        let mut after = Vec::new();
        for number in 0..12 {
            let (says, said) = tokio::sync::oneshot::channel();
            let (address, relay) = losing_first(edge.tls(), number % 2, says).await;
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting = endpoint.connect_with(quic(edge.root()), address, "a.test").unwrap();
            let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await;
            connected.expect("in time").expect("a connection");
            after.push(said.await.unwrap());
            relay.abort();
        }
        let waited = after.iter().filter(|found| **found == AfterLoss::Client).count();
        assert!(waited <= 1, "{after:?}");
    });
}

/// Relays datagrams between one client and the edge until it is aborted, except for the first or the second datagram of
/// the client, by this number. Reports the next event.
async fn losing_first(
    edge: SocketAddr,
    lost: usize,
    says: tokio::sync::oneshot::Sender<AfterLoss>,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let (near, far, address) = relay_sockets(edge).await;
    let task = tokio::spawn(async move {
        let (mut up, mut down, mut client, mut sent) = ([0; 2000], [0; 2000], None, 0);
        let mut says = Some(says);
        let mut say = |what| _ = says.take().map(|says| says.send(what));
        loop {
            tokio::select! {
                biased;
                Ok(n) = far.recv(&mut down) => {
                    say(AfterLoss::Edge);
                    near.send_to(&down[..n], client.unwrap()).await.unwrap();
                }
                Ok((n, from)) = near.recv_from(&mut up) => {
                    client = Some(from);
                    if sent == 2 {
                        say(AfterLoss::Client);
                    }
                    if sent != lost {
                        far.send(&up[..n]).await.unwrap();
                    }
                    sent += 1;
                }
            }
        }
    });
    (address, task)
}
