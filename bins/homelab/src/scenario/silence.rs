//! Unauthenticated clients get no response. Every packet is captured on the attacker's host.

use crate::facts::{Facts, ensure, until};
use crate::lab::Lab;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Silence";

/// Numbers of IPv4 packets that one side sent in a capture.
#[derive(Default)]
struct Sent {
    packets: usize,
    datagrams: usize,
    /// Bytes of TCP payload.
    content: usize,
}

/// Counts the IPv4 packets of a sender in a capture of Ethernet in pcap format (little-endian). An incomplete packet at
/// the end is ignored.
///
/// # Errors
/// Returns an error if the file cannot be read.
fn sent(file: &Path, from: Ipv4Addr) -> Result<Sent, String> {
    let bytes = std::fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?;
    let number = |at: usize| {
        let part = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(part)).ok()
    };
    let mut sent = Sent::default();
    let mut at = 24;
    while let Some(length) = number(at + 8) {
        let Some(frame) = bytes.get(at + 16..at + 16 + length) else { break };
        at += 16 + length;
        let Some(packet) = frame.get(14..).filter(|packet| packet.len() >= 20 && frame[12..14] == [8, 0])
        else {
            continue;
        };
        let header = usize::from(packet[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        if packet[12..16] != from.octets() {
            continue;
        }
        sent.packets += 1;
        match packet[9] {
            17 => sent.datagrams += 1,
            6 => {
                let offset = packet.get(header + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
                sent.content += total.saturating_sub(header + offset);
            }
            _ => {}
        }
    }
    Ok(sent)
}

/// Checks that clients with unknown names, bare addresses or meaningless bytes get no response from the edge, and that
/// a client with a known name does. Adds the results to `facts`.
pub(crate) fn run(lab: &Lab, facts: &Facts) {
    let probes: [(&str, &str, &str); 4] = [
        (
            "tcp",
            "an unknown name and the raw address, over TLS",
            "openssl s_client -connect 203.0.113.1:443 -servername unknown.example </dev/null; \
             openssl s_client -connect 203.0.113.1:443 -noservername </dev/null",
        ),
        (
            "quic",
            "the same over QUIC",
            "/opt/newer/curl -sk --max-time 3 --http3-only --resolve unknown.example:443:203.0.113.1 https://unknown.example/ & \
             /opt/newer/curl -sk --max-time 3 --http3-only https://203.0.113.1/ & wait",
        ),
        (
            "plain",
            "the same over plain HTTP",
            "curl -s --max-time 3 -H 'Host: unknown.example' http://203.0.113.1/; curl -s --max-time 3 http://203.0.113.1/; \
             curl -s --max-time 3 -H 'Host: 203.0.113.1' http://203.0.113.1/",
        ),
        (
            "noise",
            "plain HTTP and random bytes to the TLS port",
            "curl -s --max-time 3 http://203.0.113.1:443/; python3 -c \"
import socket
noise = socket.create_connection(('203.0.113.1', 443)); noise.settimeout(2); noise.send(bytes(2000)); noise.recv(1)\"",
        ),
    ];
    std::thread::scope(|scope| {
        for (name, what, script) in probes {
            scope.spawn(move || {
                facts.fact(CHAPTER, format!("{what}: no response, not a single byte"), || {
                    probe(lab, name, script)
                })
            });
        }
    });
    facts.fact(CHAPTER, "control: for a known name the same capture shows a response", || {
        let (from, to) = capture(
            lab,
            "ours",
            "tcp port 443 and host 203.0.113.66",
            "curl -sk --max-time 5 --resolve git.example.org:443:203.0.113.1 https://git.example.org/",
        )?;
        ensure(from.content > 1_000, || format!("only {} bytes", from.content))?;
        Ok(format!("{} bytes of TCP payload received for {} sent", from.content, to.content))
    });
}

/// Captures the packets that match a filter of tcpdump while a script runs on the attacker's host, and until 400 ms
/// later. `name` is that of the capture file. Returns the counts of the edge and of the attacker.
///
/// # Errors
/// Returns an error if the capture does not begin, or contains no packet of the attacker.
fn capture(lab: &Lab, name: &str, filter: &str, script: &str) -> Result<(Sent, Sent), String> {
    let attacker = &lab.topology.attacker;
    let file = attacker.folder.join(format!("run/{name}.pcap"));
    let mut capture =
        attacker.start(&format!("tcpdump -i eth0 -U -Z root -w /run/{name}.pcap '{filter}'"))?;
    capture.wait_for_output("listening on", Duration::from_secs(10))?;
    attacker.run(&format!("({script}) >/dev/null 2>&1"));
    let count = || {
        let both =
            (sent(&file, Ipv4Addr::new(203, 0, 113, 1))?, sent(&file, Ipv4Addr::new(203, 0, 113, 66))?);
        ensure(both.1.packets > 0, || "nothing was captured".to_owned())?;
        Ok(both)
    };
    until(Duration::from_secs(5), count)?;
    // Late packets are counted too.
    std::thread::sleep(Duration::from_millis(400));
    let both = count();
    capture.kill();
    both
}

/// Runs a script on the attacker's host, and checks that the edge sends no datagram and no TCP payload. `name` selects
/// the packets that count: UDP port 443 for `quic`, TCP port 80 for `plain`, else TCP port 443. Returns the counts in
/// words.
///
/// # Errors
/// Returns a description if the edge sends anything, or the attacker sends nothing.
fn probe(lab: &Lab, name: &str, script: &str) -> Result<String, String> {
    let filter = match name {
        "quic" => "udp and port 443",
        "plain" => "tcp port 80",
        _ => "tcp port 443",
    };
    let (edge, attacker) = capture(lab, name, filter, script)?;
    ensure(edge.datagrams == 0 && edge.content == 0, || {
        format!("the edge sent {} datagrams and {} bytes of TCP payload", edge.datagrams, edge.content)
    })?;
    ensure(attacker.datagrams + attacker.content > 0, || {
        "the attacker did not send anything either".to_owned()
    })?;
    Ok(format!(
        "sent {} datagrams and {} bytes of TCP payload, received 0 and 0 ({} TCP segments without payload)",
        attacker.datagrams, attacker.content, edge.packets
    ))
}
