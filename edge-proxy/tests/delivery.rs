//! The property of the HTTP pump: what was read from one side is written to the other, in order and before its end is passed on,
//! however content is framed, in whatever pieces it comes, and however its side ends. An upload that ends before a connection to
//! the service stands need not begin there. Cases are random, from a seed that a failure names (`DELIVERY_SEED`);
//! `DELIVERY_CASES` is their number.
#![cfg(feature = "server")]

mod common;

use common::{Edge, http1, read_until, tls};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

/// Numbers from a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

/// How content is delimited.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunked,
    /// By the end of the connection; answers only.
    Close,
}

/// How the side that sends content ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// All of it was sent.
    Whole,
    /// It closes in the midst of it.
    Cut,
    /// It resets the connection in the midst of it.
    Reset,
}

/// What one side sends.
#[derive(Clone, Debug)]
struct Case {
    upload: bool,
    over_tls: bool,
    framing: Framing,
    pieces: Vec<usize>,
    /// Pieces that are sent before the end.
    sent: usize,
    ending: Ending,
    /// The receiver begins late. What the proxy could not read before a reset is not its to deliver.
    slow: bool,
}

impl Case {
    fn new(numbers: &mut Numbers) -> Self {
        let upload = numbers.below(2) == 0;
        let framing = match numbers.below(if upload { 2 } else { 3 }) {
            0 => Framing::Length,
            1 => Framing::Chunked,
            _ => Framing::Close,
        };
        let most = [3, 400, 20_000, 90_000][numbers.below(4)];
        let pieces: Vec<usize> = (0..1 + numbers.below(8)).map(|_| 1 + numbers.below(most)).collect();
        let ending = [Ending::Whole, Ending::Cut, Ending::Reset][numbers.below(3)];
        let sent = if ending == Ending::Whole { pieces.len() } else { numbers.below(pieces.len()) };
        let slow = ending != Ending::Reset && numbers.below(4) == 0;
        Self { upload, over_tls: numbers.below(2) == 0, framing, pieces, sent, ending, slow }
    }

    fn total(&self) -> usize {
        self.pieces.iter().sum()
    }

    /// The content that is sent.
    fn content(&self) -> Vec<u8> {
        content(0, self.pieces[..self.sent].iter().sum())
    }

    fn field(&self) -> String {
        match self.framing {
            Framing::Length => format!("Content-Length: {}\r\n", self.total()),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".into(),
            Framing::Close => String::new(),
        }
    }

    /// Sends the pieces and ends.
    fn send(&self, stream: &mut impl Write, socket: &TcpStream) {
        let mut at = 0;
        for piece in &self.pieces[..self.sent] {
            let mut bytes = content(at, *piece);
            at += piece;
            if self.framing == Framing::Chunked {
                bytes = [format!("{piece:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat();
            }
            if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis((piece % 3) as u64));
        }
        match self.ending {
            Ending::Whole if self.framing == Framing::Chunked => {
                let _ = stream.write_all(b"0\r\n\r\n").and_then(|()| stream.flush());
            }
            Ending::Whole => {}
            Ending::Cut => drop(socket.shutdown(Shutdown::Write)),
            Ending::Reset => {
                // A reset discards what is not acknowledged; what the peer's kernel has stays readable there.
                wait_until_acknowledged(socket);
                std::thread::sleep(Duration::from_millis(40));
                let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
                // Whoever holds the socket closes it now.
            }
        }
    }
}

/// Waits until the peer has acknowledged everything that was written, by the kernel's table of connections.
fn wait_until_acknowledged(socket: &TcpStream) {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let (local, peer) = (port(socket.local_addr().unwrap()), port(socket.peer_addr().unwrap()));
    let unacknowledged = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns.len() > 4
                && columns[1].ends_with(&local)
                && columns[2].ends_with(&peer)
                && !columns[4].starts_with("00000000:")
        })
    };
    let until = Instant::now() + WAIT;
    while unacknowledged() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn content(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at * 31 % 253) as u8).collect()
}

/// Reads content as far as it comes. Returns it, and whether it was whole.
fn receive(stream: &mut impl Read, head: &str) -> (Vec<u8>, bool) {
    let head = head.to_lowercase();
    let mut all = Vec::new();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map(|value| value.parse::<usize>().unwrap());
    if head.contains("transfer-encoding: chunked") {
        let mut text = Vec::new();
        let clean = read_all(stream, &mut text, |text| text.ends_with(b"0\r\n\r\n") && chunks(text).1);
        let (content, whole) = chunks(&text);
        return (content, whole && clean);
    }
    let whole = match length {
        Some(length) => {
            read_all(stream, &mut all, |all| all.len() >= length);
            all.len() == length
        }
        None => read_all(stream, &mut all, |_| false),
    };
    (all, whole)
}

/// Reads until there is enough or the end. Returns false for an end by an error.
fn read_all(stream: &mut impl Read, all: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) -> bool {
    let mut part = [0; 16_384];
    while !enough(all) {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(why) => {
                assert!(
                    !matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "nothing more came: {why}"
                );
                return false;
            }
        }
    }
    true
}

/// Takes chunks apart as far as they are there. Returns the content, and whether the last chunk came.
fn chunks(mut text: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    while let Some(end) = text.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&text[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (content, true);
        }
        text = &text[end + 2..];
        content.extend_from_slice(&text[..size.min(text.len())]);
        text = text.get(size + 2..).unwrap_or_default();
    }
    (content, false)
}

/// What the service received of one upload.
struct Upload {
    /// The number of the case, from the path.
    case: String,
    content: Vec<u8>,
    whole: bool,
}

/// A service that does what the current case says, and reports what it received.
fn service(case: Arc<Mutex<Option<Case>>>, received: Sender<Upload>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (case, received) = (case.lock().unwrap().clone().expect("a case"), received.clone());
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(WAIT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let head = read_until(&mut stream, "\r\n\r\n");
                if case.upload {
                    if case.slow {
                        std::thread::sleep(Duration::from_millis(150));
                    }
                    let number =
                        head.split(' ').nth(1).and_then(|path| path.strip_prefix("/up/")).expect("a number");
                    let (content, whole) = receive(&mut stream, &head);
                    let _ = received.send(Upload { case: number.into(), content, whole });
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                } else {
                    // Otherwise the next upload could meet the end of a connection that was kept.
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n{}\r\n", case.field());
                    let socket = stream.try_clone().unwrap();
                    case.send(&mut stream, &socket);
                    // A second handle would keep the connection after a reset.
                    drop(socket);
                }
            });
        }
    });
    address
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Waits for what the service received of a case. Returns `None` when the upload was interrupted, the proxy has ended the client's
/// connection, and the service received nothing of it.
fn uploaded(
    at: u64,
    case: &Case,
    client: Option<Box<dyn Stream>>,
    received: &Receiver<Upload>,
) -> Result<Option<Upload>, String> {
    // A client that reset its connection has nothing more to read, and any end but the time limit's is one.
    let ended = case.ending != Ending::Whole
        && client.is_none_or(|mut client| {
            let end = client.read_to_end(&mut Vec::new());
            !end.is_err_and(|why| matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
        });
    // The service's thread may be late under load: what it received is reported within a second or two, or did not reach it.
    let until = Instant::now() + if ended { Duration::from_secs(3) } else { WAIT };
    loop {
        match received.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(upload) if upload.case == at.to_string() => return Ok(Some(upload)),
            // A case before this one that was given up.
            Ok(_) => {}
            Err(_) if ended => return Ok(None),
            Err(why) => return Err(why.to_string()),
        }
    }
}

/// Runs a case. Returns false when the service received nothing of an interrupted upload.
fn run(edge: &Edge, at: u64, case: &Case, received: &Receiver<Upload>) -> Result<bool, String> {
    let (mut stream, socket): (Box<dyn Stream>, TcpStream) = if case.over_tls {
        let stream = tls(edge.tls(), &http1(edge.root())).unwrap();
        stream.sock.set_read_timeout(Some(WAIT)).unwrap();
        let socket = stream.sock.try_clone().unwrap();
        (Box::new(stream), socket)
    } else {
        let stream = TcpStream::connect(edge.plain()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let socket = stream.try_clone().unwrap();
        (Box::new(stream), socket)
    };
    let (got, whole) = if case.upload {
        write!(stream, "POST /up/{at} HTTP/1.1\r\nHost: a.test\r\n{}\r\n", case.field()).unwrap();
        case.send(&mut stream, &socket);
        drop(socket);
        let mut client = Some(stream);
        if case.ending == Ending::Reset {
            client = None;
        } else if case.ending == Ending::Whole {
            let answer = read_until(client.as_mut().expect("a client"), "\r\n\r\n");
            if !answer.starts_with("HTTP/1.1 200") {
                return Err(format!("answered {answer}"));
            }
        }
        match uploaded(at, case, client, received)? {
            Some(upload) => (upload.content, upload.whole),
            None => return Ok(false),
        }
    } else {
        write!(stream, "GET /down HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        if case.slow {
            std::thread::sleep(Duration::from_millis(150));
        }
        let head = read_until(&mut stream, "\r\n\r\n");
        receive(&mut stream, &head)
    };
    let sent = case.content();
    if got != sent {
        let same = got.iter().zip(&sent).take_while(|(a, b)| a == b).count();
        return Err(format!("{} of {} bytes, the first {same} as they were sent", got.len(), sent.len()));
    }
    // What was cut short is never taken for all of it. Without a length only a reset tells it.
    let all = case.ending == Ending::Whole || (case.framing == Framing::Close && case.ending == Ending::Cut);
    if whole != all { Err(format!("whole: {whole}")) } else { Ok(true) }
}

#[test]
fn whatever_was_read_from_one_side_is_written_to_the_other() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("DELIVERY_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    let case = Arc::new(Mutex::new(None));
    let (sender, received) = channel();
    let edge = Edge::before(service(case.clone(), sender), 1);
    let (mut interrupted, mut absent) = (0, 0);
    for at in 0..number("DELIVERY_CASES").unwrap_or(120) {
        let seed = seed.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
        let now = Case::new(&mut Numbers(seed));
        *case.lock().unwrap() = Some(now.clone());
        interrupted += u32::from(now.upload && now.ending != Ending::Whole);
        match run(&edge, at, &now, &received) {
            Ok(reached) => absent += u32::from(!reached),
            Err(why) => panic!("{why}: DELIVERY_SEED={seed} DELIVERY_CASES=1: {now:?}"),
        }
    }
    // They are exceptions: an end that overtakes the connection to the service.
    assert!(
        absent <= 3 + interrupted / 3,
        "{absent} of {interrupted} interrupted uploads never reached the service"
    );
}
