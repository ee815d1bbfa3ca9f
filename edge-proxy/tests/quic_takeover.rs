//! HTTP/3 across takeovers: both proxies receive from the same sockets, and each datagram arrives where its connection
//! is.
#![cfg(feature = "server")]

mod common;

use common::Edge;
use common::wire3::{self, End, Http3, Reader};
use edge_proxy::config::Config;
use edge_proxy::{Certificates, Proxy, ProxyHandle};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::Origin;

/// The proxies run on different numbers of workers, so that a worker's engine has no counterpart of the same number.
const WORKERS: [usize; 3] = [2, 3, 2];

/// Starts a proxy that takes over from another one.
fn successor(
    from: &ProxyHandle,
    config: &Config,
    certificates: &Arc<Certificates>,
    workers: usize,
) -> ProxyHandle {
    let (tcp, udp) = from.sockets().unwrap();
    Proxy::builder()
        .config(config.clone())
        .certificates(certificates.clone())
        .workers(workers)
        .sockets(tcp, udp)
        .quic_links(from.quic_links().unwrap())
        .start()
        .unwrap()
}

/// A proxy whose origin answers an upload when it is complete, and its configuration with the ports it got.
fn first() -> (Edge, Config, Origin) {
    let origin = Origin::scripted(|bytes| {
        bytes.ends_with(b"\r\n0\r\n\r\n").then(|| (testkit::answer("ok"), bytes.len()))
    });
    let edge = Edge::before(origin.address(), WORKERS[0]);
    let mut config = edge.config.clone();
    for (listener, address) in config.listeners.iter_mut().zip(edge.proxy.addresses()) {
        listener.address = address;
    }
    (edge, config, origin)
}

/// An upload that is not complete.
struct Upload {
    client: Http3,
    send: quinn::SendStream,
    reader: Reader,
}

impl Upload {
    async fn begin(edge: &Edge) -> Self {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let (send, reader) = client.open(&wire3::request("POST", "a.test", "/post", &[])).await;
        let mut upload = Self { client, send, reader };
        upload.more("its beginning").await;
        upload
    }

    /// Sends content, from another address each time, and waits until it is acknowledged.
    async fn more(&mut self, when: &str) {
        for _ in 0..6 {
            self.client.rebind();
            let before = self.client.quic.stats().frame_rx.acks;
            self.send.write_all(&wire3::data(&[b'x'; 2000])).await.unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            while self.client.quic.stats().frame_rx.acks == before {
                assert!(Instant::now() < until, "{when}: nothing is acknowledged");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    async fn end(mut self) {
        self.send.finish().unwrap();
        let answer = self.reader.answer().await;
        assert_eq!((answer.status(), answer.end.clone()), (Some("200"), End::Stream), "{answer:?}");
    }
}

/// Begins the shutdown of a proxy, which waits for what is in flight for a minute.
fn end(proxy: ProxyHandle) -> tokio::task::JoinHandle<Duration> {
    tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        proxy.shutdown(Duration::from_secs(60));
        began.elapsed()
    })
}

/// Asserts that a shutdown ends once nothing is in flight.
async fn is_ended(ending: tokio::task::JoinHandle<Duration>) {
    let took = ending.await.unwrap();
    assert!(took < Duration::from_secs(55), "{took:?}");
}

/// Each of these clients is answered, and of few is a datagram lost. Without links, those of half would be.
async fn new_clients(edge: &Edge, when: &str) {
    let mut lost = 0;
    for _ in 0..12 {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        assert_eq!(client.get("a.test", "/here").await.status(), Some("200"), "{when}");
        lost += u32::from(client.quic.stats().path.lost_packets > 0);
    }
    // A busy machine delays some until their datagrams are taken for lost.
    assert!(lost <= 3, "{when}: {lost} of 12 lost datagrams");
}

#[test]
fn requests_of_each_proxy_finish_over_two_takeovers_in_a_row() {
    let (mut edge, config, _origin) = first();
    wire3::run(async {
        let mut one = Upload::begin(&edge).await;
        let second = successor(&edge.proxy, &config, &edge.certificates, WORKERS[1]);
        one.more("before the first proxy ends").await;
        let first_ending = end(std::mem::replace(&mut edge.proxy, second));
        new_clients(&edge, "while the first proxy ends").await;
        one.more("while the first proxy ends").await;
        let mut two = Upload::begin(&edge).await;
        let third = successor(&edge.proxy, &config, &edge.certificates, WORKERS[2]);
        let second_ending = end(std::mem::replace(&mut edge.proxy, third));
        // The first clients may still be the second proxy's, which would wait for an upload of theirs.
        new_clients(&edge, "while the second proxy ends").await;
        let mut three = Upload::begin(&edge).await;
        for _ in 0..2 {
            one.more("in the first proxy").await;
            two.more("in the second proxy").await;
            three.more("in the third proxy").await;
            new_clients(&edge, "with three proxies").await;
        }
        // The second may end before the first, whose connections the third knows too.
        two.end().await;
        is_ended(second_ending).await;
        one.more("after the end of the second proxy").await;
        new_clients(&edge, "after the end of the second proxy").await;
        one.end().await;
        is_ended(first_ending).await;
        three.more("after the end of all others").await;
        new_clients(&edge, "after the end of all others").await;
        three.end().await;
    });
}

#[test]
fn a_proxy_whose_successor_fails_serves_on() {
    let (edge, config, _origin) = first();
    wire3::run(async {
        let mut upload = Upload::begin(&edge).await;
        for _ in 0..2 {
            let failing = successor(&edge.proxy, &config, &edge.certificates, WORKERS[1]);
            upload.more("with a successor").await;
            drop(failing);
            new_clients(&edge, "after its end").await;
            upload.more("after its end").await;
        }
        // One that never starts says nothing.
        drop((edge.proxy.sockets().unwrap(), edge.proxy.quic_links().unwrap()));
        new_clients(&edge, "without a successor").await;
        upload.end().await;
    });
}

#[test]
fn a_reload_of_the_successor_keeps_the_connections_of_its_predecessor() {
    let (mut edge, mut config, _origin) = first();
    wire3::run(async {
        let mut upload = Upload::begin(&edge).await;
        let second = successor(&edge.proxy, &config, &edge.certificates, WORKERS[1]);
        let ending = end(std::mem::replace(&mut edge.proxy, second));
        config.listeners[1] = config.listeners[1].clone().named("public");
        edge.proxy.reload(config.clone()).unwrap();
        upload.more("after a reload").await;
        new_clients(&edge, "after a reload").await;
        upload.end().await;
        is_ended(ending).await;
    });
}

/// The requests of a proxy that was replaced finish also if the one that replaced it is gone first.
#[test]
fn a_successor_that_ends_first_takes_no_request_along() {
    let (mut edge, config, _origin) = first();
    wire3::run(async {
        let mut upload = Upload::begin(&edge).await;
        let second = successor(&edge.proxy, &config, &edge.certificates, WORKERS[1]);
        let ending = end(std::mem::replace(&mut edge.proxy, second));
        new_clients(&edge, "of the successor").await;
        upload.more("while both are there").await;
        // The handle of another proxy takes the place of the one that ends.
        let mut none = config.clone();
        none.listeners.truncate(1);
        none.listeners[0].address = testkit::nobody();
        let none = Proxy::builder().config(none).workers(1).start().unwrap();
        drop(std::mem::replace(&mut edge.proxy, none));
        upload.more("after the end of the successor").await;
        upload.end().await;
        is_ended(ending).await;
    });
}

/// The predecessor holds its sockets until its requests are finished.
#[test]
fn a_reload_may_add_an_address_of_the_predecessor_while_it_drains() {
    let (mut edge, config, _origin) = first();
    let mut less = config.clone();
    less.listeners.truncate(1);
    wire3::run(async {
        let mut upload = Upload::begin(&edge).await;
        let addresses = edge.proxy.addresses();
        let (tcp, udp) = edge.proxy.sockets().unwrap();
        let second = Proxy::builder()
            .config(less)
            .certificates(edge.certificates.clone())
            .workers(WORKERS[1])
            .sockets(tcp, udp)
            .predecessor_addresses(addresses)
            .quic_links(edge.proxy.quic_links().unwrap())
            .start()
            .unwrap();
        let ending = end(std::mem::replace(&mut edge.proxy, second));
        upload.more("during the drain").await;
        edge.proxy.reload(config).unwrap();
        new_clients(&edge, "after the reload").await;
        upload.more("after the reload").await;
        upload.end().await;
        is_ended(ending).await;
        new_clients(&edge, "after the end of the predecessor").await;
    });
}

/// A process that has ended leaves nothing behind in those after it.
#[test]
fn the_links_of_processes_that_have_ended_are_closed() {
    let (mut edge, config, _origin) = first();
    wire3::run(async {
        for workers in [1, 2, 1, 2, 1] {
            let next = successor(&edge.proxy, &config, &edge.certificates, workers);
            is_ended(end(std::mem::replace(&mut edge.proxy, next))).await;
            new_clients(&edge, "after a takeover").await;
        }
        // The first is for the next process.
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let links = edge.proxy.quic_links().unwrap().len();
            if links == 1 {
                break;
            }
            assert!(Instant::now() < until, "{links} links");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

/// Both proxies receive from the sockets that the old one bound to the interface.
#[test]
fn a_listener_may_lose_its_interface_in_a_takeover() {
    let (mut edge, mut config, _origin) = first();
    let mut bound = edge.config.clone();
    bound.listeners[1].address = testkit::nobody();
    bound.listeners[1].interface = Some("lo".into());
    edge.proxy.reload(bound).unwrap();
    for (listener, address) in config.listeners.iter_mut().zip(edge.proxy.addresses()) {
        listener.address = address;
    }
    wire3::run(async {
        let mut upload = Upload::begin(&edge).await;
        let second = successor(&edge.proxy, &config, &edge.certificates, WORKERS[1]);
        let ending = end(std::mem::replace(&mut edge.proxy, second));
        new_clients(&edge, "without the interface").await;
        upload.more("without the interface").await;
        upload.end().await;
        is_ended(ending).await;
    });
}
