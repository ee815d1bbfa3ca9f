//! A slow link between a client and the proxy: a relay with a rate and a queue, for TCP and for UDP.

// Several test programs share this, and none uses all of it.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that the link keeps for the client.
const QUEUE: usize = 64 * 1024;

/// The link's direction to the client takes so many bytes a second. The other one is not limited.
fn pace(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate)
}

/// Relays TCP connections to `to`. Returns where.
pub(crate) fn tcp(to: SocketAddr, rate: u64) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            // The buffer must be small before the connection is made: what the link does not take waits at the proxy.
            let server = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            server.set_recv_buffer_size(QUEUE).unwrap();
            server.connect(&to.into()).unwrap();
            let server: TcpStream = server.into();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (mut up, mut upstream) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut up, &mut upstream);
                let _ = upstream.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let (mut server, mut client) = (server, client);
                let mut part = [0; 4096];
                let mut free = Instant::now();
                while let Ok(n @ 1..) = server.read(&mut part) {
                    free = free.max(Instant::now()) + pace(n, rate);
                    thread::sleep(free.saturating_duration_since(Instant::now()));
                    if client.write_all(&part[..n]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

/// Relays the datagrams of one client to `to`. Returns where. What the queue has no room for is lost.
pub(crate) fn udp(to: SocketAddr, rate: u64) -> SocketAddr {
    let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let address = near.local_addr().unwrap();
    let client = Arc::new(Mutex::new(None));
    let queue = Arc::new(Mutex::new((VecDeque::<Vec<u8>>::new(), 0)));
    {
        let (near, far, client) = (near.clone(), far.clone(), client.clone());
        thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((n, from)) = near.recv_from(&mut datagram) {
                *client.lock().unwrap() = Some(from);
                let _ = far.send_to(&datagram[..n], to);
            }
        });
    }
    {
        let queue = queue.clone();
        thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((n, _)) = far.recv_from(&mut datagram) {
                let mut queue = queue.lock().unwrap();
                if queue.1 + n <= QUEUE {
                    queue.1 += n;
                    queue.0.push_back(datagram[..n].to_vec());
                }
            }
        });
    }
    thread::spawn(move || {
        let mut free = Instant::now();
        loop {
            let Some(datagram) = queue.lock().unwrap().0.pop_front() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            free = free.max(Instant::now()) + pace(datagram.len(), rate);
            thread::sleep(free.saturating_duration_since(Instant::now()));
            queue.lock().unwrap().1 -= datagram.len();
            let to = *client.lock().unwrap();
            if let Some(to) = to {
                let _ = near.send_to(&datagram, to);
            }
        }
    });
    address
}
