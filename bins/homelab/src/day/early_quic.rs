//! Early data over QUIC, past somebody on the way who sends every datagram again.

use crate::facts::{Facts, ensure};
use crate::lab::{EDGE_ADDRESS, Lab};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const RELAY: &str = "203.0.113.66";
const PORT: u16 = 8444;

/// Somebody on the way who keeps the datagrams of each client.
struct Relay(Arc<Mutex<Vec<Vec<Vec<u8>>>>>);

impl Relay {
    /// On this thread's network.
    fn start() -> Result<Self, String> {
        let said = |why: std::io::Error| format!("{RELAY}:{PORT}: {why}");
        let front = Arc::new(UdpSocket::bind((RELAY, PORT)).map_err(said)?);
        let kept: Arc<Mutex<Vec<Vec<Vec<u8>>>>> = Arc::default();
        // The sockets of this thread's network are made here; threads that they are handed to need not be in it.
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

    /// Sends the last client's datagrams once more, and reads whatever comes for a while.
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

fn towards_the_edge() -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind((RELAY, 0)).map_err(|why| why.to_string())?;
    socket.connect((EDGE_ADDRESS, 443)).map_err(|why| why.to_string())?;
    Ok(socket)
}

/// `count` is how often the application has been asked for a path.
pub(super) fn run(
    lab: &Lab,
    facts: &Facts,
    chapter: &'static str,
    count: &dyn Fn(&str) -> Result<u64, String>,
) {
    let relay = match lab.world.attacker.within(Relay::start) {
        Ok(relay) => relay,
        Err(why) => {
            facts.fact(chapter, "somebody on the way of datagrams", || Err(why));
            return;
        }
    };
    for (method, path) in [("GET", "/early-quic-get"), ("POST", "/early-quic-post")] {
        let what = if method == "GET" {
            "over QUIC, a GET in early data arrives at the application once; its datagrams sent again, still once"
        } else {
            "over QUIC, a POST in early data waits for the handshake; its datagrams sent again, it happened once"
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
            // Until handshakes begin: while the first connection drains, its datagrams are not looked at.
            while replays < 3 || (answers == 0 && replays < 20) {
                answers += lab.world.attacker.within(|| relay.replay())?;
                replays += 1;
            }
            ensure(answers > 0, || format!("the edge did not look at {replays} replays"))?;
            let again = count(path)?;
            ensure(again == 1, || format!("after {replays} replays it has arrived {again} times"))?;
            Ok(format!("accepted; 1 before and 1 after {replays} replays, answered by {answers} datagrams of handshakes"))
        });
    }
}
