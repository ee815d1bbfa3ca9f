//! Instructions of a whole proxied request in user space, counted by valgrind over the running proxy. A count does not
//! depend on other load of the machine, and does not include the kernel.

use crate::contender::{Contender, Parts};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Contenders whose instructions are counted.
const COUNTED: [Contender; 2] = [Contender::Edge, Contender::Nginx];

/// Number of connections of the client, which has one request on each at a time.
const CLIENTS: usize = 16;

/// Numbers of requests of the two runs whose difference is counted, so that the cost of starting cancels out.
const REQUESTS: (usize, usize) = (1_600, 9_600);

/// Returns the instructions of one proxied request over HTTP/1.1 for 1 KiB of content, for each of [`COUNTED`].
///
/// # Errors
/// Returns the contender that could not be started, or that failed.
pub(crate) fn count(parts: &Parts<'_>) -> Result<Vec<(Contender, u64)>, String> {
    let each = |contender: Contender| {
        let (few, many) = (run(contender, parts, REQUESTS.0)?, run(contender, parts, REQUESTS.1)?);
        Ok((contender, many.saturating_sub(few) / (REQUESTS.1 - REQUESTS.0) as u64))
    };
    COUNTED.into_iter().map(each).collect()
}

/// Returns the number of instructions of a contender and its descendants from start to end, with a number of requests
/// between.
///
/// # Errors
/// Returns an error if the contender fails, or valgrind reports no count.
fn run(contender: Contender, parts: &Parts<'_>, requests: usize) -> Result<u64, String> {
    let running = contender.start_counted(parts)?;
    ask(contender.ports().plain, requests).map_err(|why| format!("{}: {why}", contender.name()))?;
    let said = running.end()?;
    // `==1== I   refs:      1,234,567`, once for each process.
    let counts = said.lines().filter(|line| line.contains("refs:") && line.contains("== I"));
    let counts: Vec<u64> =
        counts.filter_map(|line| line.split_whitespace().last()?.replace(',', "").parse().ok()).collect();
    if counts.is_empty() {
        return Err(format!("{}: valgrind counted nothing: {said}", contender.name()));
    }
    Ok(counts.iter().sum())
}

/// Sends requests over [`CLIENTS`] connections and reads every response. The number of requests is rounded down to a
/// multiple of the connections.
///
/// # Errors
/// Returns an error if a connection fails, or a status is not 200.
fn ask(port: u16, requests: usize) -> std::io::Result<()> {
    let open = || TcpStream::connect(("127.0.0.1", port));
    let mut clients = (0..CLIENTS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let mut buffer = Vec::new();
    for _ in 0..requests / CLIENTS {
        for client in &mut clients {
            client.write_all(
                b"GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: count/1.0\r\nAccept: */*\r\n\r\n",
            )?;
        }
        for client in &mut clients {
            read_response(client, &mut buffer)?;
        }
    }
    Ok(())
}

/// Reads a head and the content of 1 KiB after it into a buffer, which is cleared.
///
/// # Errors
/// Returns an error if the connection ends before, or the response if its status is not 200.
fn read_response(client: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.clear();
    let mut part = [0; 4096];
    loop {
        let end = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        if end.is_some_and(|end| buffer.len() >= end + 4 + 1024) {
            let good = buffer.starts_with(b"HTTP/1.1 200 ");
            let other = || std::io::Error::other(String::from_utf8_lossy(buffer).into_owned());
            return if good { Ok(()) } else { Err(other()) };
        }
        match client.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => buffer.extend_from_slice(&part[..n]),
        }
    }
}
