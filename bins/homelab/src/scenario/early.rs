//! Early data over TCP: a request is executed once, however often an attacker on the path replays it.

use crate::facts::{Facts, ensure};
use crate::lab::{EDGE_ADDRESS, Lab};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Early data";
/// Address of the relay, on the attacker's host.
const RELAY: &str = "203.0.113.66:8443";

/// A relay between client and edge that records the bytes that each client connection sends.
struct TcpRelay(Arc<Mutex<Vec<Vec<u8>>>>);

impl TcpRelay {
    /// Starts the relay in the network of this thread, at [`RELAY`]. It runs until the process exits.
    ///
    /// # Errors
    /// Returns a description if its address cannot be bound.
    fn start() -> Result<Self, String> {
        let listener = TcpListener::bind(RELAY).map_err(|why| format!("{RELAY}: {why}"))?;
        let kept: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let shared = kept.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((EDGE_ADDRESS, 443)) else { continue };
                let (Ok(mut back), Ok(mut to_client)) = (server.try_clone(), client.try_clone()) else {
                    continue;
                };
                let number = {
                    let mut all = shared.lock().expect("no panic");
                    all.push(Vec::new());
                    all.len() - 1
                };
                let kept = shared.clone();
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || {
                    let (mut client, mut server) = (client, server);
                    let mut part = [0; 16_384];
                    while let Ok(n @ 1..) = client.read(&mut part) {
                        kept.lock().expect("no panic")[number].extend_from_slice(&part[..n]);
                        if server.write_all(&part[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = server.shutdown(Shutdown::Write);
                });
            }
        });
        Ok(Self(kept))
    }

    /// Sends the bytes of the last connection to the edge again, and reads the response until the connection ends or
    /// nothing arrives for 700 ms. Returns the length of the response in bytes.
    ///
    /// # Errors
    /// Returns an error if nothing was recorded, or the edge cannot be connected to.
    fn replay(&self) -> Result<usize, String> {
        let bytes = self.0.lock().expect("no panic").last().cloned().ok_or("nothing was sent")?;
        let mut tcp = TcpStream::connect((EDGE_ADDRESS, 443)).map_err(|why| why.to_string())?;
        tcp.set_read_timeout(Some(Duration::from_millis(700))).map_err(|why| why.to_string())?;
        let _ = tcp.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer);
        Ok(answer.len())
    }
}

/// Checks that early data is used once only, against a relay that replays it over TCP and QUIC, and adds the results to
/// `facts`.
pub(crate) fn run(lab: &Lab, facts: &Facts) {
    let relay = match lab.topology.attacker.run_inside(TcpRelay::start) {
        Ok(relay) => relay,
        Err(why) => {
            facts.fact(CHAPTER, "the relay", || Err(why));
            return;
        }
    };
    let client = &lab.topology.client;
    let connect = format!(
        "-connect {RELAY} -servername git.example.org -CAfile /run/issuing.pem -alpn http/1.1 -ign_eof"
    );
    let session = |name: &str| {
        client.ask(&format!(
            "printf 'HEAD / HTTP/1.1\\r\\nHost: git.example.org\\r\\nConnection: close\\r\\n\\r\\n' | \
             timeout 15 openssl s_client {connect} -sess_out /run/{name} 2>&1"
        ))
    };
    let count = |path: &str| {
        let said = lab.curl(&format!("-4 --http2 'https://git.example.org/count?of={path}'"))?;
        let json: serde_json::Value =
            serde_json::from_str(said.lines().next().unwrap_or_default()).map_err(|why| why.to_string())?;
        json["count"].as_u64().ok_or(said)
    };
    for (method, name) in [("GET", "early-get"), ("POST", "early-post")] {
        let path = format!("/{name}");
        let what = if method == "GET" {
            "a GET in early data reaches the application once, also after three replays by an attacker on the path"
        } else {
            "a POST in early data waits for the handshake and is executed once, also after three replays"
        };
        facts.fact(CHAPTER, what, || {
            session(name)?;
            let length = if method == "POST" { "Content-Length: 0\\r\\n" } else { "" };
            let said = client.ask(&format!(
                "printf '{method} {path} HTTP/1.1\\r\\nHost: git.example.org\\r\\n{length}Connection: close\\r\\n\\r\\n' > /run/{name}.request; \
                 sleep 5 | timeout 15 openssl s_client {connect} -sess_in /run/{name} -early_data /run/{name}.request 2>&1"
            ))?;
            ensure(said.contains("Early data was accepted"), || format!("not accepted: {said}"))?;
            ensure(said.contains("HTTP/1.1 200"), || said.clone())?;
            let first = count(&path)?;
            ensure(first == 1, || format!("it arrived {first} times"))?;
            for _ in 0..3 {
                lab.topology.attacker.run_inside(|| relay.replay())?;
            }
            let again = count(&path)?;
            ensure(again == 1, || format!("after the replays it has arrived {again} times"))?;
            Ok("accepted; 1 before and 1 after the replays".to_owned())
        });
    }
    super::early_quic::run(lab, facts, CHAPTER, &count);
}
