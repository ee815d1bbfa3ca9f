use super::client::{Answer, RawConnection, endpoint, get, headers};
use super::service::{Identity, NAME, on_a_worker, start, start_some};
use crate::downstream::h3::{CloseReason, QuicLimits, server_config};
use edge_http::h3::{Code, frame, varint};
use edge_policy::config::Congestion;
use std::net::UdpSocket;
use std::time::Duration;
use tokio::time::sleep;

#[test]
fn a_client_whose_port_changes_is_served_by_the_same_worker() {
    on_a_worker(async {
        let servers = start_some(2, &QuicLimits::default());
        let endpoint = endpoint(&servers[0]);
        let quic = endpoint.connect(servers[0].address, NAME).unwrap().await.unwrap();
        let client = RawConnection::of(quic).await;
        assert_eq!(client.get("/hello").await.content, b"hello");
        // Each time the kernel chooses a worker anew: never the other one is a chance in four thousand.
        for _ in 0..12 {
            endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            assert_eq!(client.get("/hello").await.content, b"hello");
        }
        let seen: Vec<usize> = servers.iter().map(|server| server.log.requests.borrow().len()).collect();
        assert!(seen == [13, 0] || seen == [0, 13], "{seen:?}");
        let peers = servers.iter().flat_map(|server| server.log.peers.borrow().clone()).collect::<Vec<_>>();
        assert!(peers.iter().all(|peer| *peer == peers[0]), "an address that is not proved is not told");
    });
}

#[test]
fn a_new_configuration_leaves_connections_alone() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, mut receive) = client.open(&headers("POST", "/x", &[])).await;
        let new = Identity::new();
        let limits = QuicLimits::default();
        server.control.reload(server_config(new.tls(), &limits, Congestion::Bbr).unwrap(), limits.clone());
        sleep(Duration::from_millis(50)).await;
        assert_eq!(client.get("/hello").await.content, b"hello");
        send.write_all(&[0, 2, b'o', b'k']).await.unwrap();
        send.finish().unwrap();
        assert_eq!(Answer::parse(&receive.read_to_end(1000).await.unwrap()).content, b"ok");
        let refused = endpoint(&server).connect(server.address, NAME).unwrap().await;
        assert!(refused.is_err(), "the new certificate is not the one that is trusted");
        server.control.reload(server.config.clone(), limits);
        sleep(Duration::from_millis(50)).await;
        RawConnection::new(&server).await;
    });
}

#[test]
fn a_shutdown_lets_requests_finish() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let idle = RawConnection::new(&server).await;
        let mut control = client.quic.accept_uni().await.unwrap();
        let (mut send, mut receive) = client.open(&headers("POST", "/x", &[])).await;
        sleep(Duration::from_millis(50)).await;
        server.control.shutdown(Duration::from_secs(10));
        assert_eq!(idle.closed().await, Code::H3_NO_ERROR);
        let (mut late, mut refused) = client.open(&get("/hello")).await;
        let _ = late.finish();
        assert!(refused.read_to_end(1000).await.is_err(), "too late");
        send.write_all(&[0, 2, b'o', b'k']).await.unwrap();
        send.finish().unwrap();
        assert_eq!(Answer::parse(&receive.read_to_end(1000).await.unwrap()).content, b"ok");
        assert_eq!(client.closed().await, Code::H3_NO_ERROR);
        let mut said = Vec::new();
        let mut part = [0; 100];
        while let Ok(Some(n)) = control.read(&mut part).await {
            said.extend_from_slice(&part[..n]);
        }
        let mut goaways = Vec::new();
        let mut rest = &said[1..];
        while !rest.is_empty() {
            let kind = varint::take(&mut rest).unwrap();
            let len = varint::take(&mut rest).unwrap() as usize;
            if kind == frame::GOAWAY {
                goaways.push(varint::read(rest).unwrap().0);
            }
            rest = &rest[len..];
        }
        assert_eq!(goaways, [(1 << 62) - 4, 4]);
        server.task.await.unwrap().unwrap();
        assert_eq!(*server.log.closed.borrow(), [CloseReason::Local(Code::H3_NO_ERROR); 2]);
    });
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, _receive) = client.open(&get("/wait")).await;
        send.finish().unwrap();
        sleep(Duration::from_millis(50)).await;
        server.control.shutdown(Duration::from_millis(300));
        server.task.await.unwrap().unwrap();
        assert_eq!(client.closed().await, Code::H3_NO_ERROR);
        assert_eq!(server.log.lost.get(), 1);
    });
}

#[test]
fn an_engine_that_is_gone_leaves_nobody_waiting() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, _receive) = client.open(&get("/wait")).await;
        send.finish().unwrap();
        while server.log.requests.borrow().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        server.task.abort();
        while server.log.lost.get() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*server.log.closed.borrow(), [CloseReason::Local(Code::H3_NO_ERROR)]);
    });
}

#[test]
fn a_head_that_never_comes_whole_is_refused() {
    on_a_worker(async {
        let server = start(&QuicLimits { head: Duration::from_millis(100), ..QuicLimits::default() });
        let client = RawConnection::new(&server).await;
        let (_send, mut receive) = client.open(&get("/hello")[..5]).await;
        match receive.read_to_end(10).await {
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => {
                assert_eq!(code.into_inner(), Code::H3_REQUEST_INCOMPLETE.0);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_engine_sleeps() {
    on_a_worker(async {
        // Nanoseconds on the processor, of this thread alone.
        let busy = || -> u64 {
            let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
            stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
        };
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        client.get("/hello").await;
        let (mut send, _receive) = client.open(&get("/wait")).await;
        send.finish().unwrap();
        sleep(Duration::from_millis(500)).await;
        let before = busy();
        sleep(Duration::from_millis(1500)).await;
        let spent = Duration::from_nanos(busy() - before);
        assert!(spent < Duration::from_millis(100), "{spent:?}");
        println!("{spent:?} of 1.5 s");
    });
}

#[test]
fn idle_connections_end() {
    on_a_worker(async {
        let server = start(&QuicLimits { idle: Duration::from_millis(300), ..QuicLimits::default() });
        let client = RawConnection::new(&server).await;
        client.get("/hello").await;
        while server.log.closed.borrow().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(*server.log.closed.borrow(), [CloseReason::TimedOut]);
    });
}
