//! HTTP/2 frame by frame over TLS, to send arbitrary frames and observe every response.

// Shared by several test programs, none of which uses all of it.
#![allow(dead_code)]

use edge_http::h3::qpack::huffman;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::tls_client;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ended by END_STREAM.
    Stream,
    /// Ended by RST_STREAM with this code.
    Reset(u32),
    /// Ended with its connection, by GOAWAY with this code.
    GoAway(u32),
    /// Ended with its connection, without GOAWAY.
    Closed,
    /// Not ended while the client waits.
    Silence,
}

/// All frames received on one stream.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sections: Vec<Vec<(String, String)>>,
    pub(crate) content: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn status(&self) -> Option<&str> {
        let last = self.sections.iter().rev().find_map(|fields| fields.iter().find(|(n, _)| n == ":status"));
        last.map(|(_, value)| value.as_str())
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.sections.iter().flatten().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// Encodes field lines as literals (RFC 7541 §6.2.2), whatever they contain.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                out.push(text.len() as u8);
            } else {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push(rest as u8 | 128);
                    rest >>= 7;
                }
                out.push(rest as u8);
            }
            out.extend_from_slice(text);
        }
    }
    out
}

/// A client's connection.
pub(crate) struct Http2 {
    tls: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
    input: Vec<u8>,
    start: usize,
    next: u32,
    /// The send windows of the connection (0) and of streams.
    windows: HashMap<u32, i64>,
    initial: i64,
    /// Bytes of received content by which the windows of the connection (0) and of streams are to be reopened.
    owed: HashMap<u32, u32>,
    broken: bool,
}

/// Number of bytes by which a window is reopened at once. Clients do not reopen windows for each frame, which would cost
/// the proxy more than content in small frames, and counts as a flood if it goes on for long.
const REOPENED: u32 = 8192;

impl Http2 {
    pub(crate) fn connect(address: SocketAddr, root: &str, name: &str) -> Self {
        Self::try_connect(address, Arc::new(tls_client(root, &[b"h2"])), name).unwrap()
    }

    /// Connects with the receive window of the connection that it has at first (RFC 9113 §6.9.2): 65,535 bytes. Those
    /// of streams have this size.
    pub(crate) fn with_windows(address: SocketAddr, root: &str, name: &str, streams: u32) -> Self {
        let mut this = Self::shake_hands(address, Arc::new(tls_client(root, &[b"h2"])), name).unwrap();
        this.begin(streams);
        this
    }

    /// Connects with this configuration. Returns the error of a handshake that fails.
    pub(crate) fn try_connect(
        address: SocketAddr,
        config: Arc<rustls::ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let mut this = Self::shake_hands(address, config, name)?;
        this.begin(1 << 20);
        this.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes());
        Ok(this)
    }

    fn shake_hands(
        address: SocketAddr,
        config: Arc<rustls::ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let session = rustls::ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
        let tls = rustls::StreamOwned::new(session, stream);
        let windows = HashMap::from([(0, 65_535)]);
        let mut this = Self {
            tls,
            input: Vec::new(),
            start: 0,
            next: 1,
            windows,
            initial: 65_535,
            owed: HashMap::new(),
            broken: false,
        };
        while this.tls.conn.is_handshaking() {
            this.tls.conn.complete_io(&mut this.tls.sock)?;
        }
        this.tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        Ok(this)
    }

    /// Sends SETTINGS with this window of streams, and without a dynamic table, so that field sections can be decoded
    /// one by one.
    fn begin(&mut self, window: u32) {
        self.frame(SETTINGS, 0, 0, &[&[0, 1, 0, 0, 0, 0, 0, 4][..], &window.to_be_bytes()].concat());
    }

    /// Returns the kind of the handshake.
    pub(crate) fn handshake_kind(&self) -> Option<rustls::HandshakeKind> {
        self.tls.conn.handshake_kind()
    }

    /// Sends bytes that need not be whole frames.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.broken |= self.tls.write_all(bytes).is_err();
    }

    /// Sends a frame. A closed connection is noticed when reading.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(9 + payload.len());
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.broken |= self.tls.write_all(&bytes).is_err();
    }

    /// Returns whether the connection no longer accepts data.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Returns the end of each of these streams, once all have ended or nothing arrives for this long. Windows are not
    /// reopened.
    pub(crate) fn ends(&mut self, streams: &[u32], patience: Duration) -> HashMap<u32, End> {
        self.tls.sock.set_read_timeout(Some(patience)).unwrap();
        let mut ends = HashMap::new();
        while ends.len() < streams.len() {
            let end = match self.receive() {
                Ok((HEADERS | DATA, flags, of, _)) if flags & END_STREAM != 0 => (of, End::Stream),
                Ok((RST_STREAM, _, of, payload)) => {
                    (of, End::Reset(u32::from_be_bytes(payload[..4].try_into().unwrap())))
                }
                Ok(_) => continue,
                Err(end) => {
                    for stream in streams {
                        ends.entry(*stream).or_insert(end);
                    }
                    break;
                }
            };
            ends.entry(end.0).or_insert(end.1);
        }
        ends
    }

    /// Opens a stream with these fields.
    pub(crate) fn open(&mut self, fields: &[Field<'_>], end: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        let end = if end { END_STREAM } else { 0 };
        self.frame(HEADERS, END_HEADERS | end, stream, &block(fields));
        stream
    }

    /// Opens a stream with the usual pseudo-header fields and these.
    pub(crate) fn request(
        &mut self,
        method: &str,
        authority: &str,
        path: &str,
        more: &[Field<'_>],
        end: bool,
    ) -> u32 {
        let usual: [Field<'_>; 4] = [
            (b":method", method.as_bytes()),
            (b":scheme", b"https"),
            (b":authority", authority.as_bytes()),
            (b":path", path.as_bytes()),
        ];
        self.open(&[&usual[..], more].concat(), end)
    }

    /// Sends a complete request without content, and returns its response.
    pub(crate) fn get(&mut self, authority: &str, path: &str) -> Answer {
        let stream = self.request("GET", authority, path, &[], true);
        self.answer(stream)
    }

    pub(crate) fn data(&mut self, stream: u32, content: &[u8], end: bool) {
        self.frame(DATA, u8::from(end), stream, content);
        *self.windows.get_mut(&0).unwrap() -= content.len() as i64;
        let initial = self.initial;
        *self.windows.entry(stream).or_insert(initial) -= content.len() as i64;
    }

    /// Returns the send window of a stream as it is known now.
    pub(crate) fn window(&mut self, stream: u32) -> usize {
        let own = *self.windows.entry(stream).or_insert(self.initial);
        usize::try_from(own.min(self.windows[&0])).unwrap_or(0)
    }

    /// Reads a frame. Returns the whole answer if the frame begins it or ends the stream, and `None` otherwise.
    pub(crate) fn part_of_answer(&mut self, stream: u32) -> Option<Answer> {
        match self.receive() {
            Ok((HEADERS, flags, of, payload)) if of == stream => {
                let mut answer = if flags & END_STREAM != 0 {
                    Answer { sections: Vec::new(), content: Vec::new(), end: End::Stream }
                } else {
                    self.answer(stream)
                };
                answer.sections.insert(0, fields(&payload));
                Some(answer)
            }
            Ok((RST_STREAM, _, of, payload)) if of == stream => {
                let end = End::Reset(u32::from_be_bytes(payload[..4].try_into().unwrap()));
                Some(Answer { sections: Vec::new(), content: Vec::new(), end })
            }
            Ok(_) => None,
            Err(end) => Some(Answer { sections: Vec::new(), content: Vec::new(), end }),
        }
    }

    /// Returns the send window of a stream; waits until it is not empty.
    pub(crate) fn room(&mut self, stream: u32) -> usize {
        loop {
            let own = *self.windows.entry(stream).or_insert(self.initial);
            let room = own.min(self.windows[&0]);
            if room > 0 {
                return (room as usize).min(16_384);
            }
            let (kind, _, of, payload) = self.receive().expect("no window came");
            assert!(kind != RST_STREAM && kind != GOAWAY, "frame {kind} on {of}: {payload:?}");
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Returns the next frame. Frames of the connection are already handled.
    fn receive(&mut self) -> Result<(u8, u8, u32, Vec<u8>), End> {
        loop {
            if let Some(head) = self.bytes().get(..9) {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                let (kind, flags) = (head[3], head[4]);
                let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
                if let Some(payload) = self.bytes().get(9..9 + length) {
                    let payload = payload.to_vec();
                    self.start += 9 + length;
                    self.note(kind, flags, stream, &payload);
                    return Ok((kind, flags, stream, payload));
                }
            }
            self.input.drain(..self.start);
            self.start = 0;
            let mut part = [0; 65_536];
            match self.tls.read(&mut part) {
                Ok(n @ 1..) => self.input.extend_from_slice(&part[..n]),
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => return Err(End::Silence),
                _ => return Err(End::Closed),
            }
        }
    }

    fn note(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            SETTINGS if flags & 1 == 0 => {
                for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                    let initial = i64::from(u32::from_be_bytes(setting[2..6].try_into().unwrap()));
                    let more = initial - self.initial;
                    self.initial = initial;
                    self.windows.iter_mut().filter(|(of, _)| **of != 0).for_each(|(_, left)| *left += more);
                }
                self.frame(SETTINGS, 1, 0, &[]);
            }
            PING if flags & 1 == 0 => self.frame(PING, 1, 0, payload),
            WINDOW_UPDATE => {
                *self.windows.entry(stream).or_insert(self.initial) += i64::from(number(0));
            }
            _ => {}
        }
    }

    /// Returns the next frame of any stream: type, flags, stream and payload. Reopens the windows by the length of
    /// content, in steps of [`REOPENED`] bytes.
    pub(crate) fn next(&mut self) -> Result<(u8, u8, u32, Vec<u8>), End> {
        self.reopen();
        let frame = self.next_without_window()?;
        self.reopen();
        Ok(frame)
    }

    /// Reopens each window that lacks [`REOPENED`] bytes or more.
    fn reopen(&mut self) {
        let due: Vec<(u32, u32)> =
            self.owed.iter().filter(|(_, size)| **size >= REOPENED).map(|(of, size)| (*of, *size)).collect();
        for (of, size) in due {
            self.owed.remove(&of);
            self.frame(WINDOW_UPDATE, 0, of, &size.to_be_bytes());
        }
    }

    /// Returns the next frame as [`next`](Self::next) does. The windows are not reopened before the next call of that.
    pub(crate) fn next_without_window(&mut self) -> Result<(u8, u8, u32, Vec<u8>), End> {
        let frame = self.receive()?;
        if frame.0 == DATA {
            let size = frame.3.len() as u32;
            *self.owed.entry(0).or_default() += size;
            *self.owed.entry(frame.2).or_default() += size;
            if frame.1 & END_STREAM != 0 {
                self.owed.remove(&frame.2);
            }
        }
        Ok(frame)
    }

    /// Widens the connection's receive window by this many bytes, as browsers do.
    pub(crate) fn widen(&mut self, bytes: u32) {
        self.frame(SETTINGS, 0, 0, &[&[0, 4][..], &bytes.to_be_bytes()].concat());
        self.frame(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes());
    }

    /// Reads everything of one stream until it ends. Content goes to `sink`.
    pub(crate) fn read(&mut self, stream: u32, mut sink: impl FnMut(&[u8]) -> bool) -> Answer {
        let mut answer = Answer { sections: Vec::new(), content: Vec::new(), end: End::Silence };
        let mut section = Vec::new();
        loop {
            let (kind, flags, of, payload) = match self.receive() {
                Ok(frame) => frame,
                Err(end) => return Answer { end, ..answer },
            };
            if kind == GOAWAY && payload[4..8] != [0; 4] {
                answer.end = End::GoAway(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                return answer;
            }
            if kind == DATA && !payload.is_empty() {
                let size = (payload.len() as u32).to_be_bytes();
                self.frame(WINDOW_UPDATE, 0, 0, &size);
                if flags & END_STREAM == 0 && of == stream {
                    self.frame(WINDOW_UPDATE, 0, stream, &size);
                }
            }
            if of != stream {
                continue;
            }
            match kind {
                HEADERS | CONTINUATION => {
                    assert_eq!(flags & 0x28, 0, "padding or priority, which nobody sends");
                    section.extend_from_slice(&payload);
                    if flags & END_HEADERS != 0 {
                        answer.sections.push(fields(&std::mem::take(&mut section)));
                    }
                }
                DATA if !sink(&payload) => return answer,
                RST_STREAM => {
                    answer.end = End::Reset(u32::from_be_bytes(payload[..4].try_into().unwrap()));
                    return answer;
                }
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                answer.end = End::Stream;
                return answer;
            }
        }
    }

    /// Reads everything of one stream until it ends.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let mut content = Vec::new();
        let answer = self.read(stream, |part| {
            content.extend_from_slice(part);
            true
        });
        Answer { content, ..answer }
    }

    /// Reads the content of one stream until it has this many bytes.
    pub(crate) fn content(&mut self, stream: u32, enough: usize) -> (Answer, Vec<u8>) {
        let mut content = Vec::new();
        let answer = self.read(stream, |part| {
            content.extend_from_slice(part);
            content.len() < enough
        });
        (answer, content)
    }
}

/// Decodes a field section without the dynamic table (RFC 7541 §6).
fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
    fn integer(bytes: &mut &[u8], bits: u32) -> usize {
        let mask = (1usize << bits) - 1;
        let mut value = usize::from(bytes[0]) & mask;
        *bytes = &bytes[1..];
        let mut shift = 0;
        while value >= mask {
            let b = bytes[0];
            *bytes = &bytes[1..];
            value += usize::from(b & 127) << shift;
            shift += 7;
            if b & 128 == 0 {
                break;
            }
        }
        value
    }
    fn text(bytes: &mut &[u8]) -> String {
        let coded = bytes[0] & 128 != 0;
        let length = integer(bytes, 7);
        let (raw, rest) = bytes.split_at(length);
        *bytes = rest;
        let mut plain = raw.to_vec();
        if coded {
            plain.clear();
            huffman::decode(raw, &mut plain).unwrap();
        }
        String::from_utf8(plain).unwrap()
    }
    let mut all = Vec::new();
    while let Some(first) = bytes.first() {
        if first & 0x80 != 0 {
            let (name, value) = STATIC[integer(&mut bytes, 7) - 1];
            all.push((name.to_owned(), value.to_owned()));
        } else if first & 0xe0 == 0x20 {
            integer(&mut bytes, 5);
        } else {
            let bits = if first & 0x40 != 0 { 6 } else { 4 };
            let name = match integer(&mut bytes, bits) {
                0 => text(&mut bytes),
                index => STATIC[index - 1].0.to_owned(),
            };
            all.push((name, text(&mut bytes)));
        }
    }
    all
}

/// The static table (RFC 7541, Appendix A).
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];
