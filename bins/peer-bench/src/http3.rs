//! An HTTP/3 load generator, since Debian's h2load is built without QUIC. Requests are encoded once; only status and
//! length of responses are checked.

use crate::client;
use crate::cores::{LOAD_CORE, pin_this_thread};
use crate::files::{UPLOAD, size};
use crate::load::{LoadResult, LoadSpec, RunLimit};
use crate::ports::Ports;
use edge_http::h3::frame::{self, FrameEvent, FrameReader};
use edge_http::h3::{control, qpack};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, TransportConfig, VarInt};
use rustls::RootCertStore;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Flow-control window of streams and connections in bytes, as h2load uses for HTTP/2.
const WINDOW: u32 = 1 << 24;

/// QPACK encoding of `:status: 200`, an index of the static table.
const OK: u8 = 0xc0 | 25;

/// State that all streams share: the encoded request and its content, the expected length of a response, the number of
/// requests left and the end of the run, and the latencies in microseconds.
struct Shared {
    head: Vec<u8>,
    content: Option<Vec<u8>>,
    expected: usize,
    left: Cell<Option<u32>>,
    until: Option<Instant>,
    done: RefCell<Vec<u32>>,
}

/// Runs the load over HTTP/3 on a separate thread, and returns its figures. Responses after the end of the run do not
/// count.
///
/// # Errors
/// Returns the first request that failed, or that no response was received.
pub(crate) fn load(ports: Ports, roots: &RootCertStore, work: &LoadSpec<'_>) -> Result<LoadResult, String> {
    let (roots, cores) = (roots.clone(), work.cores.unwrap_or(LOAD_CORE).to_owned());
    let (clients, streams, until) = (work.clients, work.streams, work.until);
    let (head, content) = (head(work.path, work.upload), work.upload.then(|| vec![b'u'; UPLOAD]));
    let expected = if work.upload { 2 } else { size(work.path) };
    let worker = std::thread::spawn(move || {
        pin_this_thread(&cores);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| format!("a runtime: {why}"))?;
        let (left, until) = match until {
            RunLimit::Seconds(seconds) => (None, Some(Duration::from_secs(seconds.into()))),
            RunLimit::Requests(requests) => (Some(requests), None),
        };
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut connections = Vec::new();
            for _ in 0..clients {
                connections.push(connect(ports, &roots).await?);
            }
            let began = Instant::now();
            let shared = Rc::new(Shared {
                head,
                content,
                expected,
                left: Cell::new(left),
                until: until.map(|until| began + until),
                done: RefCell::default(),
            });
            let tasks: Vec<_> = connections
                .iter()
                .flat_map(|(_, connection)| (0..streams).map(move |_| connection))
                .map(|connection| tokio::task::spawn_local(stream(connection.clone(), shared.clone())))
                .collect();
            for task in tasks {
                task.await.map_err(|_| "a stream's task panicked".to_owned())??;
            }
            let took = began.elapsed().as_secs_f64();
            for (endpoint, connection) in connections {
                connection.close(VarInt::from_u32(0x100), b"");
                endpoint.wait_idle().await;
            }
            let mut done = shared.done.take();
            done.sort_unstable();
            let at = |part: f64| done.get((done.len() as f64 * part) as usize).copied().unwrap_or(0).into();
            let requests = done.len() as f64;
            Ok(LoadResult { requests, rate: requests / took, p50: at(0.50), p99: at(0.99) })
        })
    });
    let said: Result<LoadResult, String> = worker.join().map_err(|_| "the load panicked".to_owned())?;
    said.and_then(|said| if said.requests > 0.0 { Ok(said) } else { Err("no response received".into()) })
}

/// Opens a connection on a UDP socket of its own, so that the proxy's workers share the connections, and sends the
/// settings of HTTP/3.
///
/// # Errors
/// Returns a description if the connection fails.
async fn connect(ports: Ports, roots: &RootCertStore) -> Result<(Endpoint, Connection), String> {
    let mut tls = (*client::tls(roots, false)).clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|why| why.to_string())?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(WINDOW)).receive_window(VarInt::from_u32(WINDOW));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).map_err(|why| format!("UDP: {why}"))?;
    endpoint.set_default_client_config(config);
    let connecting =
        endpoint.connect(([127, 0, 0, 1], ports.tls).into(), "localhost").map_err(|why| why.to_string())?;
    let connection = connecting.await.map_err(|why| format!("QUIC: {why}"))?;
    let mut control = connection.open_uni().await.map_err(|why| why.to_string())?;
    control
        .write_all(&[control::CONTROL as u8, frame::SETTINGS as u8, 0])
        .await
        .map_err(|why| why.to_string())?;
    // The control stream remains open as long as the connection.
    let held = connection.clone();
    tokio::task::spawn_local(async move {
        held.closed().await;
        drop(control);
    });
    Ok((endpoint, connection))
}

/// Sends one request after another on a connection, each on its own stream, until the time or the number of requests is
/// reached.
///
/// # Errors
/// Returns the first request that failed, or whose response has another status than 200 or another length than
/// expected.
async fn stream(connection: Connection, shared: Rc<Shared>) -> Result<(), String> {
    loop {
        let began = Instant::now();
        if shared.until.is_some_and(|until| began >= until) {
            return Ok(());
        }
        match shared.left.get() {
            Some(0) => return Ok(()),
            Some(left) => shared.left.set(Some(left - 1)),
            None => {}
        }
        let (mut send, receive) = connection.open_bi().await.map_err(|why| why.to_string())?;
        let sent = async {
            send.write_all(&shared.head).await?;
            if let Some(content) = &shared.content {
                send.write_all(content).await?;
            }
            let _ = send.finish();
            Ok::<(), quinn::WriteError>(())
        };
        let (sent, length) = tokio::join!(sent, answer(receive));
        sent.map_err(|why| format!("a request could not be sent: {why}"))?;
        let length = length?;
        if length != shared.expected {
            return Err(format!("{length} bytes received instead of {}", shared.expected));
        }
        let now = Instant::now();
        if shared.until.is_none_or(|until| now < until) {
            shared.done.borrow_mut().push((now - began).as_micros() as u32);
        }
    }
}

/// Reads a response to its end. Returns the length of its content in bytes.
///
/// # Errors
/// Returns an error if the response is aborted, has no head, or its status is not 200.
async fn answer(mut receive: RecvStream) -> Result<usize, String> {
    let mut frames = Frames::default();
    while let Some(chunk) =
        receive.read_chunk(1 << 20, true).await.map_err(|why| format!("a response was aborted: {why}"))?
    {
        frames.take(&chunk.bytes)?;
    }
    if frames.good { Ok(frames.content) } else { Err("a response had no head".into()) }
}

/// State of a response that is being read.
#[derive(Default)]
struct Frames {
    reader: FrameReader,
    kind: u64,
    /// First three bytes of the field section, or fewer if it is shorter.
    begun: Vec<u8>,
    good: bool,
    content: usize,
}

impl Frames {
    /// Processes the next bytes of a response: counts the content, and checks the status.
    ///
    /// # Errors
    /// Returns an error if a frame is malformed, or the status is not 200.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        loop {
            let (used, step) = self.reader.step(bytes);
            bytes = &bytes[used..];
            let (part, end) = match step {
                FrameEvent::More => return Ok(()),
                FrameEvent::Begin { kind, .. } => {
                    self.kind = kind;
                    continue;
                }
                FrameEvent::Payload { len, end } => {
                    let (part, rest) = bytes.split_at(len);
                    bytes = rest;
                    (part, end)
                }
            };
            match self.kind {
                frame::DATA => self.content += part.len(),
                frame::HEADERS if !self.good => {
                    // The status follows the two bytes of the section prefix.
                    self.begun.extend(part.iter().take(3 - self.begun.len()));
                    if self.begun.len() == 3 || end {
                        if self.begun.get(2) != Some(&OK) {
                            return Err("a response was not 200".into());
                        }
                        self.good = true;
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns the HEADERS frame of a request and, for an upload, the header of the DATA frame that follows.
fn head(path: &str, upload: bool) -> Vec<u8> {
    let mut section = Vec::new();
    qpack::write_prefix(&mut section);
    let method = if upload { "POST" } else { "GET" };
    let usual = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    for (name, value) in usual {
        qpack::write_field(&mut section, name.as_bytes(), value.as_bytes());
    }
    let mut out = Vec::new();
    if upload {
        qpack::write_field(&mut section, b"content-length", UPLOAD.to_string().as_bytes());
    }
    frame::write_header(&mut out, frame::HEADERS, section.len() as u64);
    out.append(&mut section);
    if upload {
        frame::write_header(&mut out, frame::DATA, UPLOAD as u64);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_however_they_are_cut() {
        let answer = [&[0x21, 1, 7][..], &[1, 4, 0, 0, OK, 0x54], &[0, 0x40, 100], &[b'x'; 100]].concat();
        for cut in 1..answer.len() {
            let mut frames = Frames::default();
            answer.chunks(cut).for_each(|part| frames.take(part).expect("a good answer"));
            assert!(frames.good && frames.content == 100, "{cut}");
        }
        let other = [1, 3, 0, 0, 0xc0 | 27];
        assert!(Frames::default().take(&other).is_err(), "404");
    }
}
