//! Recorders: servers in place of the services, which respond to every request with a description of it.

use super::job::{LINE, Recorder};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The response field with the request that a recorder received, in hexadecimal.
pub(super) const RECORD: &str = "x-recorded";
/// The request field that makes an authentication service deny access.
pub(super) const DENIED: &str = "x-prove-denied";

/// The request field that determines the response of a recorder: `status` and a status; or `redirect`, followed by the
/// target, the path and the domain of cookies, separated by spaces.
pub(super) const ANSWER: &str = "x-prove-answer";

/// Starts the threads of a recorder, at a TCP address or a Unix socket. Nothing is started if its address cannot be
/// bound, as when the server under comparison uses it, or its certificate in `folder` cannot be read.
pub(super) fn start(recorder: &Recorder, folder: &Path) {
    let name = recorder.name.clone();
    if recorder.at.starts_with('/') {
        if let Ok(listener) = UnixListener::bind(&recorder.at) {
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let name = name.clone();
                    std::thread::spawn(move || serve(stream, &name));
                }
            });
        }
        return;
    }
    let Some(listener) = bind(&recorder.at) else { return };
    let Some(tls) = server_config(folder) else { return };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (name, tls) = (name.clone(), tls.clone());
            std::thread::spawn(move || serve_connection(stream, &name, tls));
        }
    });
}

/// Binds a TCP listener to an address, with `SO_REUSEPORT`, so that the server may listen on the same port at all
/// addresses. `None` if that fails.
fn bind(at: &str) -> Option<TcpListener> {
    let address: SocketAddr = at.parse().ok()?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).ok()?;
    socket.set_reuse_address(true).ok()?;
    socket.set_reuse_port(true).ok()?;
    socket.bind(&address.into()).ok()?;
    socket.listen(64).ok()?;
    Some(socket.into())
}

/// Starts a DNS server at 127.0.0.53 that resolves the IPv4 addresses in `hosts`, the text of a hosts file. Does
/// nothing if the port cannot be bound.
pub(super) fn name_server(hosts: &str) {
    let Ok(socket) = UdpSocket::bind("127.0.0.53:53") else { return };
    let known: BTreeMap<String, [u8; 4]> = hosts
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(address, name)| {
            Some((name.to_ascii_lowercase(), address.parse::<Ipv4Addr>().ok()?.octets()))
        })
        .collect();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(answer) = dns_answer(&buffer[..length], &known) else { continue };
            let _ = socket.send_to(&answer, from);
        }
    });
}

/// Returns the response to a DNS query (RFC 1035 §4.1) by the addresses in `known`: an A record with a TTL of 60 s, no
/// records for types other than A, and `NXDOMAIN` for other names. `None` if the query is malformed.
fn dns_answer(question: &[u8], known: &BTreeMap<String, [u8; 4]>) -> Option<Vec<u8>> {
    let mut end = 12;
    let mut labels: Vec<String> = Vec::new();
    loop {
        let length = usize::from(*question.get(end)?);
        let label = question.get(end + 1..=end + length)?;
        end += length + 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
    let kind = question.get(end..end + 2)?;
    let asked = question.get(12..end + 4)?;
    let found = known.get(&labels.join(".")).filter(|_| kind == [0, 1]);
    let status = if known.contains_key(&labels.join(".")) { 0x80 } else { 0x83 };
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, status, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    answer.extend(asked);
    if let Some(address) = found {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    Some(answer)
}

/// Loads the TLS configuration of recorders. `None` if their certificate cannot be read.
fn server_config(folder: &Path) -> Option<Arc<ServerConfig>> {
    let folder = folder.join("certificates/all");
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(folder.join("fullchain.pem")).ok()?.flatten().collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    config.with_no_client_auth().with_single_cert(chain, key).ok().map(Arc::new)
}

/// Serves a TCP connection by its first bytes: as TLS, as [`LINE`], or as HTTP. It may begin with a PROXY header of
/// version 1, whose client address is part of the response to [`LINE`].
fn serve_connection(mut stream: TcpStream, name: &str, tls: Arc<ServerConfig>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut client = String::new();
    loop {
        let mut first = [0; 6];
        match stream.peek(&mut first) {
            // A handshake record.
            Ok(1..) if first[0] == 0x16 => {
                if let Ok(connection) = ServerConnection::new(tls) {
                    serve(StreamOwned::new(connection, stream), name);
                }
                return;
            }
            Ok(1..) if first == *b"PROXY " && client.is_empty() => {
                let header = line(&mut stream);
                client = format!("client {} ", header.split(' ').nth(2).unwrap_or_default());
            }
            Ok(1..) if first.starts_with(LINE.as_bytes()) => {
                let got = line(&mut stream);
                let _ = write!(stream, "{}", serde_json::json!([name, format!("{client}{got}")]));
                return;
            }
            Ok(6..) => return serve(stream, name),
            // The rest is on its way.
            Ok(1..) => std::thread::sleep(Duration::from_millis(2)),
            _ => return,
        }
    }
}

/// Reads a line of at most 256 bytes, one byte at a time, so that nothing after the line is consumed. Returns it
/// without surrounding whitespace.
fn line(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut byte = [0];
    while got.len() < 256 && matches!(stream.read(&mut byte), Ok(1)) && byte[0] != b'\n' {
        got.push(byte[0]);
    }
    String::from_utf8_lossy(&got).trim().to_owned()
}

/// Responds to the HTTP/1.1 requests of a connection until it ends. The response has the received head and `name`, that
/// of the service, in [`RECORD`], and its status by [`ANSWER`] and [`DENIED`]; responses to authentication requests
/// have no [`RECORD`].
fn serve(mut stream: impl Read + Write, name: &str) {
    let mut got: Vec<u8> = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let end = loop {
            if let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 && got.len() < 65_536 => got.extend(&buffer[..length]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        let field = |wanted: &str| {
            head.lines().skip(1).filter_map(|line| line.split_once(':')).find_map(|(known, value)| {
                known.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
            })
        };
        got.drain(..end + 4);
        let left = field("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
        while got.len() < left {
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => got.extend(&buffer[..length]),
                _ => return,
            }
        }
        got.drain(..left);
        let record = serde_json::json!([name, head]).to_string();
        let hex: String = record.bytes().map(|byte| format!("{byte:02x}")).collect();
        let authenticates = head.lines().next().is_some_and(is_question);
        let asked = field(ANSWER).filter(|_| !authenticates);
        let status = match asked.as_deref().and_then(|asked| asked.strip_prefix("status ")) {
            Some(status) => format!("{status} As asked"),
            None if authenticates && field(DENIED).is_some() => "401 Unauthorized".to_owned(),
            None if asked.is_some() => "302 Found".to_owned(),
            None => "200 OK".to_owned(),
        };
        let more = asked.as_deref().map(redirect).unwrap_or_default();
        let record = if authenticates { String::new() } else { format!("{RECORD}: {hex}\r\n") };
        let answer =
            format!("HTTP/1.1 {status}\r\n{record}{more}Remote-User: eve\r\nContent-Length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// Returns the response fields of a redirect with cookies, for the value of [`ANSWER`]. Empty for other values.
fn redirect(asked: &str) -> String {
    match asked.split(' ').collect::<Vec<_>>().as_slice() {
        ["redirect", to, path, domain] => format!(
            "Location: {to}\r\nSet-Cookie: a=1; Path={path}; HttpOnly\r\nSet-Cookie: b=2; Domain={domain}; Path=/\r\n"
        ),
        _ => String::new(),
    }
}

/// Returns true if a request line has the path of a known authentication service.
fn is_question(line: &str) -> bool {
    [
        "/api/verify",
        "/api/authz",
        "/oauth2/auth",
        "/outpost.goauthentik.io/auth",
        "/auth",
        "/api/auth",
        "/validate",
        "/verify",
    ]
    .iter()
    .any(|path| line.split(' ').nth(1).is_some_and(|target| target.starts_with(path)))
}
