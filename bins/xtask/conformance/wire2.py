"""HTTP/2 by hand: one connection, with raw frames and the responses."""

import socket
import ssl
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
ERRORS = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
]


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def block(fields):
    """Encode fields without the dynamic table, so that the order of frames does not matter."""
    out = b""
    for name, value in fields:
        name, value = name.encode("latin-1"), value.encode("latin-1")
        out += b"\0" + integer(len(name)) + name + integer(len(value)) + value
    return out


def integer(n):
    if n < 127:
        return bytes([n])
    out, n = [127], n - 127
    while n >= 128:
        out.append(n % 128 + 128)
        n //= 128
    return bytes([*out, n])


def head(method="GET", path="/", host="a.test", more=()):
    return [(":method", method), (":scheme", "https"), (":path", path), (":authority", host), *more]


def headers(stream, fields, flags=END_HEADERS | END_STREAM):
    return frame(HEADERS, flags, stream, block(fields) if isinstance(fields, list) else fields)


class Connection:
    """A connection with a completed handshake."""

    def __init__(self, server, preface=PREFACE + settings(), host="a.test"):
        context = ssl.create_default_context(cafile=server.ca)
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", server.tls), 5)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = context.wrap_socket(raw, server_hostname=host)
        self.decoder = hpack.Decoder()
        self.waiting, self.closed, self.frames = b"", False, []
        self.send(preface)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def send(self, *frames):
        try:
            for part in frames:
                self.stream.sendall(part)
        except (OSError, ssl.SSLError):
            self.closed = True

    def read(self, wait=2.0):
        """Return the next frame, or None after this time or at the end."""
        until = time.monotonic() + wait
        while True:
            if len(self.waiting) >= 9:
                length = int.from_bytes(self.waiting[:3], "big")
                if len(self.waiting) >= 9 + length:
                    kind, flags = self.waiting[3], self.waiting[4]
                    stream = int.from_bytes(self.waiting[5:9], "big") & 0x7FFFFFFF
                    payload, self.waiting = self.waiting[9 : 9 + length], self.waiting[9 + length :]
                    if kind == SETTINGS and not flags & ACK:
                        self.send(frame(SETTINGS, ACK))
                    found = (kind, flags, stream, payload)
                    self.frames.append(found)
                    return found
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.stream.settimeout(left)
            try:
                part = self.stream.recv(65536)
            except socket.timeout:
                return None
            except (OSError, ssl.SSLError):
                part = b""
            if not part:
                self.closed = True
                return None
            self.waiting += part

    def until(self, wanted, wait=3.0):
        """Read frames until one matches, and return it."""
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            found = self.read(left)
            if found is None:
                if self.closed:
                    return None
                continue
            if wanted(*found):
                return found
        return None

    def settled(self):
        """Exchange the settings of both sides."""
        self.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        return self

    def answer(self, stream=1, wait=3.0):
        """Read a stream to its end and return the status."""
        status = None

        def last(kind, flags, number, payload):
            nonlocal status
            if number != stream:
                return kind == GOAWAY
            if kind == HEADERS and status is None:
                payload = payload[1 : len(payload) - payload[0]] if flags & PADDED else payload
                status = dict(self.decoder.decode(payload)).get(":status")
            return kind == RST_STREAM or bool(kind in (HEADERS, DATA) and flags & END_STREAM)

        found = self.until(last, wait)
        return int(status) if found and found[0] in (HEADERS, DATA) and status else None

    def error(self, stream=None, wait=3.0):
        """Return how it was refused: ("connection", code), ("stream", code), ("closed", None), or None."""

        def wanted(kind, _, number, __):
            return kind == GOAWAY or kind == RST_STREAM and (stream is None or number == stream)

        found = self.until(wanted, wait)
        if found is None:
            return ("closed", None) if self.closed else None
        kind, _, _, payload = found
        code = int.from_bytes(payload[4:8] if kind == GOAWAY else payload[:4], "big")
        return ("connection" if kind == GOAWAY else "stream", ERRORS[code] if code < len(ERRORS) else hex(code))

    def works(self):
        """Check with a PING that the connection is alive."""
        self.send(frame(PING, payload=b"judgment"))
        return self.until(lambda kind, flags, _, payload: kind == PING and flags & ACK and payload == b"judgment") is not None
