//! An SMTP server that stops responding at a chosen stage.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Stage at which the server stops responding, in the order of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before the greeting, or before a TLS handshake.
    Greeting,
    /// After EHLO is received.
    Ehlo,
    /// After STARTTLS is received.
    StartTls,
    /// After the response to STARTTLS, before the TLS handshake.
    Handshake,
    /// After AUTH is received.
    Auth,
    /// After MAIL FROM is received.
    Mail,
    /// After RCPT TO is received.
    Rcpt,
    /// After DATA is received.
    Data,
    /// After the end of the message.
    Message,
}

/// A server that serves any number of connections until the test's process exits, also after it is dropped.
pub struct FaultyServer {
    /// TCP port of the server, at 127.0.0.1.
    pub port: u16,
}

impl FaultyServer {
    /// Starts a server on a free port that offers STARTTLS with this TLS configuration, and sends nothing any more from
    /// `stage` on. A connection stays open for 120 s after that.
    pub fn start(stage: Stage, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = config.clone();
                std::thread::spawn(move || {
                    let kept = stream.try_clone();
                    let _ = serve(stream, stage, config);
                    // The connection remains open without a response.
                    std::thread::sleep(Duration::from_secs(120));
                    drop(kept);
                });
            }
        });
        Self { port }
    }
}

/// Serves an SMTP connection that offers STARTTLS, without and then within TLS, until the stage, and returns without a
/// response then. The caller keeps the connection open. Before TLS every command other than EHLO and STARTTLS ends it
/// as well.
///
/// # Errors
/// Returns an error if the client closes the connection within a line or before TLS, or the handshake fails.
fn serve(mut stream: TcpStream, stage: Stage, config: Arc<ServerConfig>) -> std::io::Result<()> {
    if stage == Stage::Greeting {
        return Ok(());
    }
    stream.write_all(b"220 faulty.example.org\r\n")?;
    let mut line = String::new();
    loop {
        line.clear();
        // Byte by byte, since TLS follows STARTTLS immediately.
        while !line.ends_with('\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(char::from(byte[0]));
        }
        if line.starts_with("EHLO") {
            if stage == Stage::Ehlo {
                return Ok(());
            }
            stream.write_all(b"250-faulty.example.org\r\n250 STARTTLS\r\n")?;
        } else if line.starts_with("STARTTLS") {
            if stage == Stage::StartTls {
                return Ok(());
            }
            stream.write_all(b"220 go ahead\r\n")?;
            break;
        } else {
            return Ok(());
        }
    }
    if stage == Stage::Handshake {
        return Ok(());
    }
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut in_message = false;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (at, answer) = match line.trim_end() {
            "." if in_message => (Stage::Message, "250 taken"),
            _ if in_message => continue,
            word if word.starts_with("EHLO") => (Stage::Ehlo, "250-faulty\r\n250 AUTH PLAIN"),
            word if word.starts_with("AUTH") => (Stage::Auth, "235 welcome"),
            word if word.starts_with("MAIL") => (Stage::Mail, "250 fine"),
            word if word.starts_with("RCPT") => (Stage::Rcpt, "250 fine"),
            word if word.starts_with("DATA") => (Stage::Data, "354 go ahead"),
            _ => (Stage::Ehlo, "250 fine"),
        };
        if at == stage {
            return Ok(());
        }
        in_message = at == Stage::Data;
        reader.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
    }
}
