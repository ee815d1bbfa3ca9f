//! Early data over QUIC, with an attacker on the path who replays every datagram.

use crate::facts::{Facts, ensure};
use crate::lab::{EDGE_ADDRESS, Lab};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// IPv4 address of the relay on the public network.
const RELAY: &str = "203.0.113.66";
/// UDP port of the relay.
const PORT: u16 = 8444;

/// A relay between client and edge that records the datagrams that each client sends.
struct DatagramRelay(Arc<Mutex<Vec<Vec<Vec<u8>>>>>);

impl DatagramRelay {
    /// Starts the relay in the network of this thread, for up to eight clients; datagrams of others are dropped. It
    /// runs until the process exits.
    ///
    /// # Errors
    /// Returns a description if a socket cannot be bound or connected.
    fn start() -> Result<Self, String> {
        let said = |why: std::io::Error| format!("{RELAY}:{PORT}: {why}");
        let front = Arc::new(UdpSocket::bind((RELAY, PORT)).map_err(said)?);
        let kept: Arc<Mutex<Vec<Vec<Vec<u8>>>>> = Arc::default();
        // Sockets must be created on this thread, which is in the right network; the threads that use them need not
        // be.
        let spare: Vec<UdpSocket> = (0..8).map(|_| towards_the_edge()).collect::<Result<_, _>>()?;
        let shared = kept.clone();
        std::thread::spawn(move || {
            let mut spare = spare.into_iter();
            let mut clients: HashMap<SocketAddr, (usize, Arc<UdpSocket>)> = HashMap::new();
            let mut part = [0; 65_536];
            while let Ok((length, client)) = front.recv_from(&mut part) {
                if let Entry::Vacant(place) = clients.entry(client) {
                    let Some(back) = spare.next().map(Arc::new) else { continue };
                    let (to_client, from_edge) = (front.clone(), back.clone());
                    std::thread::spawn(move || {
                        let mut part = [0; 65_536];
                        while let Ok(length) = from_edge.recv(&mut part) {
                            let _ = to_client.send_to(&part[..length], client);
                        }
                    });
                    let mut all = shared.lock().expect("no panic");
                    all.push(Vec::new());
                    place.insert((all.len() - 1, back));
                }
                let (number, back) = &clients[&client];
                shared.lock().expect("no panic")[*number].push(part[..length].to_vec());
                let _ = back.send(&part[..length]);
            }
        });
        Ok(Self(kept))
    }

    /// Sends the datagrams of the last client to the edge again, and reads datagrams of the edge until none arrives for
    /// 300 ms. Returns the number of those read.
    ///
    /// # Errors
    /// Returns an error if nothing was recorded, or sending fails.
    fn replay(&self) -> Result<usize, String> {
        let datagrams = self.0.lock().expect("no panic").last().cloned().ok_or("nothing was sent")?;
        let edge = towards_the_edge()?;
        edge.set_read_timeout(Some(Duration::from_millis(300))).map_err(|why| why.to_string())?;
        for datagram in &datagrams {
            edge.send(datagram).map_err(|why| why.to_string())?;
        }
        let mut part = [0; 65_536];
        Ok(std::iter::from_fn(|| edge.recv(&mut part).ok()).count())
    }
}

/// Creates a UDP socket at the relay's address that is connected to the edge.
///
/// # Errors
/// Returns a description if the socket cannot be bound or connected.
fn towards_the_edge() -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind((RELAY, 0)).map_err(|why| why.to_string())?;
    socket.connect((EDGE_ADDRESS, 443)).map_err(|why| why.to_string())?;
    Ok(socket)
}

/// Checks that a GET and a POST in early data over QUIC reach the application once, also after replays of their
/// datagrams. `count` returns the number of requests for a path that reached the application. Adds the results to
/// `facts`.
pub(super) fn run(
    lab: &Lab,
    facts: &Facts,
    chapter: &'static str,
    count: &dyn Fn(&str) -> Result<u64, String>,
) {
    let relay = match lab.topology.attacker.run_inside(DatagramRelay::start) {
        Ok(relay) => relay,
        Err(why) => {
            facts.fact(chapter, "the relay for datagrams", || Err(why));
            return;
        }
    };
    for (method, path) in [("GET", "/early-quic-get"), ("POST", "/early-quic-post")] {
        let what = if method == "GET" {
            "over QUIC, a GET in early data reaches the application once, also after its datagrams are replayed"
        } else {
            "over QUIC, a POST in early data waits for the handshake and is executed once, also after its datagrams are replayed"
        };
        facts.fact(chapter, what, || {
            let said = lab.python_client(&format!("early {RELAY} {PORT} {method} {path}"))?;
            let json: serde_json::Value =
                serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
            ensure(json["accepted"] == true, || format!("not accepted: {said}"))?;
            ensure(json["status"] == 200, || said.clone())?;
            let first = count(path)?;
            ensure(first == 1, || format!("it arrived {first} times"))?;
            let (mut replays, mut answers) = (0, 0);
            // Until handshakes begin: the edge ignores the datagrams of the first connection while that drains.
            while replays < 3 || (answers == 0 && replays < 20) {
                answers += lab.topology.attacker.run_inside(|| relay.replay())?;
                replays += 1;
            }
            ensure(answers > 0, || format!("the edge did not look at {replays} replays"))?;
            let again = count(path)?;
            ensure(again == 1, || format!("after {replays} replays it has arrived {again} times"))?;
            Ok(format!("accepted; 1 before and 1 after {replays} replays, answered by {answers} datagrams of handshakes"))
        });
    }
}
