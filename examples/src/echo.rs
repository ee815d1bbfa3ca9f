//! A small HTTP service for examples, whose response is the head of the request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

/// Starts the service on a free loopback port, and returns its address. It serves one request per connection, one
/// connection after another, until the process exits.
///
/// # Errors
/// Returns an error if the socket cannot be bound.
pub fn echo_service() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let text = head.join("\n");
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nServer: echo/1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
        }
    });
    Ok(address)
}
