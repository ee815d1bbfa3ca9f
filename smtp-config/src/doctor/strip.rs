//! A proxy on this host that strips STARTTLS: it forwards a session, removes STARTTLS from the server's replies, and
//! does not forward the authentication.

use super::auth::plain_password;
use crate::reply::reply;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Behaviour of the client on a connection whose STARTTLS was stripped.
pub(super) struct StrippedSession {
    /// Whether the client began with TLS, so that nothing could be removed.
    pub(super) encrypted: bool,
    /// The password received without TLS. `None` if none was sent by PLAIN.
    pub(super) password: Option<SecretString>,
}

/// Accepts one connection, and forwards it to the server, to which `upstream` is connected. STARTTLS and AUTH are removed from the reply to EHLO, `AUTH
/// PLAIN` is added, and the proxy itself answers `AUTH PLAIN` (accepted) and STARTTLS (rejected). A connection that
/// begins with TLS is forwarded unchanged. Returns when either side closes the connection.
///
/// # Errors
/// Returns an error if a read or write fails.
pub(super) async fn strip(
    listener: TcpListener,
    mut upstream: TcpStream,
) -> std::io::Result<StrippedSession> {
    let (mut client, _) = listener.accept().await?;
    let mut seen = StrippedSession { encrypted: false, password: None };
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    let mut asked_for_hello = false;
    loop {
        tokio::select! {
            read = client.read_buf(&mut from_client) => if read? == 0 { break },
            read = upstream.read_buf(&mut from_server) => if read? == 0 { break },
        }
        // The content type of a TLS handshake record.
        if from_client.first() == Some(&0x16) {
            seen.encrypted = true;
            upstream.write_all(&from_client).await?;
            client.write_all(&from_server).await?;
            let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            break;
        }
        while let Some(end) = from_client.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = from_client.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line);
            let upper = text.to_ascii_uppercase();
            if let Some(response) = upper.starts_with("AUTH PLAIN ").then(|| &text["AUTH PLAIN ".len()..]) {
                seen.password = plain_password(response);
                client.write_all(b"235 2.7.0 thank you\r\n").await?;
            } else if upper.starts_with("STARTTLS") {
                client.write_all(b"502 5.5.1 not here\r\n").await?;
            } else {
                asked_for_hello = upper.starts_with("EHLO");
                upstream.write_all(&line).await?;
            }
        }
        // Bytes that are no SMTP reply, as of TLS, are forwarded unchanged instead of being held back.
        match reply(&from_server) {
            Ok(Some((answer, length))) => {
                from_server.drain(..length);
                let mut lines = answer.lines;
                if asked_for_hello && answer.code == 250 {
                    lines.retain(|line| !line.starts_with("STARTTLS") && !line.starts_with("AUTH"));
                    lines.push("AUTH PLAIN".to_owned());
                }
                let last = lines.len().saturating_sub(1);
                let mut out = String::new();
                for (at, line) in lines.iter().enumerate() {
                    let sign = if at == last { ' ' } else { '-' };
                    out.push_str(&format!("{}{sign}{line}\r\n", answer.code));
                }
                client.write_all(out.as_bytes()).await?;
            }
            Ok(None) => {}
            Err(_) => {
                client.write_all(&from_server).await?;
                from_server.clear();
            }
        }
    }
    Ok(seen)
}
