"""QUIC (RFC 9000, 9001) and HTTP/3 (RFC 9114, 9204) with aioquic as the client."""

import asyncio
import contextlib
import os
import socket
import ssl
import time

import pylsqpack
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived, StreamReset
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.tls import Epoch

ERRORS = {
    0x100: "NO_ERROR", 0x101: "GENERAL_PROTOCOL_ERROR", 0x102: "INTERNAL_ERROR", 0x103: "STREAM_CREATION_ERROR",
    0x104: "CLOSED_CRITICAL_STREAM", 0x105: "FRAME_UNEXPECTED", 0x106: "FRAME_ERROR", 0x107: "EXCESSIVE_LOAD",
    0x108: "ID_ERROR", 0x109: "SETTINGS_ERROR", 0x10A: "MISSING_SETTINGS", 0x10B: "REQUEST_REJECTED",
    0x10C: "REQUEST_CANCELLED", 0x10D: "REQUEST_INCOMPLETE", 0x10E: "MESSAGE_ERROR", 0x200: "QPACK_DECOMPRESSION_FAILED",
    0x201: "QPACK_ENCODER_STREAM_ERROR", 0x202: "QPACK_DECODER_STREAM_ERROR", 0x0A: "PROTOCOL_VIOLATION",
}


class Client(QuicConnectionProtocol):
    """Collect responses by stream, and the end of the connection or of streams."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.answers, self.resets, self.raw, self.ended, self.changed = {}, {}, {}, None, asyncio.Event()

    def start(self):
        self.http = H3Connection(self._quic)
        return self

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.ended = event.error_code
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code
        if self.http is not None:
            for found in self.http.handle_event(event):
                answer = self.answers.setdefault(getattr(found, "stream_id", None), {"body": b"", "done": False})
                if isinstance(found, HeadersReceived) and "status" not in answer:
                    answer["status"] = int(dict(found.headers)[b":status"])
                elif isinstance(found, DataReceived):
                    answer["body"] += found.data
                answer["done"] = getattr(found, "stream_ended", False)
        self.changed.set()

    async def until(self, wanted, wait=5):
        end = time.monotonic() + wait
        while not wanted():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except asyncio.TimeoutError:
                return wanted()
        return True

    def ask(self, method=b"GET", path=b"/", body=None, host=b"a.test"):
        stream = self._quic.get_next_available_stream_id()
        fields = [(b":method", method), (b":scheme", b"https"), (b":authority", host), (b":path", path)]
        self.http.send_headers(stream, fields, end_stream=body is None)
        if body is not None:
            self.http.send_data(stream, body, True)
        self.transmit()
        return stream

    async def answer(self, stream, wait=10):
        await self.until(lambda: self.answers.get(stream, {}).get("done") or self.ended is not None, wait)
        return self.answers.get(stream, {})


def configured(server, host="a.test", **more):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=host, **more)
    configuration.load_verify_locations(server.ca)
    return configuration


def to(server, configuration=None, **more):
    return connect("127.0.0.1", server.tls, configuration=configuration or configured(server), create_protocol=Client, **more)


def ran(what):
    async def within():
        return await asyncio.wait_for(what, 30)

    return asyncio.run(within())


def says(good, detail=""):
    return ("pass" if good else "fail"), detail


async def get(server):
    async with to(server) as client:
        found = await client.start().answer(client.ask())
        return says(found.get("status") == 200 and found["body"] == b"ok", str(found.get("status")))


async def large(server, origin):
    async with to(server) as client:
        client.start()
        body = os.urandom(1 << 20)
        origin.take()
        up, down = client.ask(b"POST", b"/up", body), client.ask(path=b"/size/1000000")
        up, down = await client.answer(up), await client.answer(down)
        arrived = any(one["body"] == body for one in origin.take())
        return says(arrived and up.get("status") == 200 and len(down.get("body", b"")) == 1_000_000)


async def many(server):
    async with to(server) as client:
        client.start()
        streams = [client.ask(path=b"/size/%d" % n) for n in range(50)]
        found = [await client.answer(stream) for stream in streams]
        return says(all(len(one.get("body", b"?" * 99)) == n for n, one in enumerate(found)))


async def chacha(server):
    from aioquic.tls import CipherSuite

    async with to(server, configured(server, cipher_suites=[CipherSuite.CHACHA20_POLY1305_SHA256])) as client:
        return says((await client.start().answer(client.ask())).get("status") == 200)


async def early(server, origin):
    tickets = []
    async with to(server, configured(server, "early.test"), session_ticket_handler=tickets.append) as client:
        await client.start().answer(client.ask(host=b"early.test"))
        await client.until(lambda: bool(tickets), 3)
    if not tickets or not tickets[-1].max_early_data_size:
        return "fail", "no ticket for early data"
    origin.take()
    configuration = configured(server, "early.test", session_ticket=tickets[-1])
    async with to(server, configuration, wait_connected=False) as client:
        client.start()
        found = await client.answer(client.ask(host=b"early.test"))
        accepted = client._quic.tls.early_data_accepted
        marked = any((b"early-data", b"1") in one["fields"] for one in origin.take())
        return says(found.get("status") == 200 and accepted and marked, f"accepted: {accepted}, Early-Data: {marked}")


async def resumed(server):
    tickets = []
    async with to(server, session_ticket_handler=tickets.append) as client:
        await client.start().answer(client.ask())
        await client.until(lambda: bool(tickets), 3)
    if not tickets:
        return "fail", "no ticket"
    async with to(server, configured(server, session_ticket=tickets[-1])) as client:
        found = await client.start().answer(client.ask())
        return says(found.get("status") == 200 and client._quic.tls.session_resumed)


async def key_update(server):
    async with to(server) as client:
        client.start()
        first = await client.answer(client.ask())
        client._quic.request_key_update()
        second = await client.answer(client.ask())
        client._quic.request_key_update()
        third = await client.answer(client.ask())
        return says([one.get("status") for one in (first, second, third)] == [200] * 3)


async def another_id(server):
    async with to(server) as client:
        client.start()
        await client.answer(client.ask())
        client.change_connection_id()
        return says((await client.answer(client.ask())).get("status") == 200)


async def another_port(server):
    """The client's port changes, as behind a NAT; several times, as another worker may receive its packets then."""
    survived = [await moved(server) for _ in range(5)]
    return says(all(survived), f"{sum(survived)} of {len(survived)}")


async def moved(server):
    async with to(server) as client:
        client.start()
        await client.answer(client.ask())
        loop = asyncio.get_running_loop()
        fresh = socket.socket(socket.AF_INET6 if client._transport.get_extra_info("sockname")[0].count(":") else socket.AF_INET, socket.SOCK_DGRAM)
        fresh.bind(("::", 0) if fresh.family == socket.AF_INET6 else ("127.0.0.1", 0))
        old = client._transport
        fresh.setblocking(False)
        transport, _ = await loop.create_datagram_endpoint(lambda: client, sock=fresh)
        old.abort()
        client.connection_lost = lambda _: None
        client._transport = transport
        found = await client.answer(client.ask(path=b"/size/50000"), 4)
        return found.get("status") == 200 and len(found["body"]) == 50_000


def version(server):
    """A packet of an unknown version gets Version Negotiation."""
    packet = b"\xc0" + b"\xba\xba\xba\xba" + b"\x08" + os.urandom(8) + b"\x08" + os.urandom(8) + os.urandom(1200)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(2)
        sender.sendto(packet, ("127.0.0.1", server.tls))
        try:
            got = sender.recv(2048)
        except socket.timeout:
            # A server should list its versions; one that ignores all unknown clients does not.
            return "partly", "silence, as to every stranger"
        return says(got[0] & 0x80 and got[1:5] == b"\0\0\0\0" and b"\0\0\0\1" in got[5:])


def small(server):
    """A first datagram of less than 1200 bytes gets no response (RFC 9000 14.1)."""
    packet = b"\xc0" + b"\0\0\0\1" + b"\x08" + os.urandom(8) + b"\x00\x00" + b"\x41\x00" + os.urandom(256)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1)
        sender.sendto(packet, ("127.0.0.1", server.tls))
        try:
            return "fail", f"{len(sender.recv(2048))} bytes"
        except socket.timeout:
            return "pass", ""


async def stranger(server):
    """An unknown name gets not a single packet."""
    configuration = configured(server, "unknown.test", verify_mode=ssl.CERT_NONE)
    seen = []

    class Counting(Client):
        def datagram_received(self, data, addr):
            seen.append(len(data))
            super().datagram_received(data, addr)

    try:
        async with connect("127.0.0.1", server.tls, configuration=configuration, create_protocol=Counting, wait_connected=False) as client:
            await client.until(lambda: client.ended is not None, 1.5)
            client._quic._close_pending = False
            client._transport.abort()
    except (ConnectionError, OSError):
        pass
    return says(not seen, f"{len(seen)} packets, {sum(seen)} bytes" if seen else "")


# Twice the number of unvalidated clients that a worker keeps.
UNPROVED = 2000


@contextlib.contextmanager
def validating(server):
    """A server that sends Retry: edge-proxyd because of many unvalidated addresses, nginx by its configuration."""
    other, held = server.validating(), []
    try:
        held = half_open(other) if server.name == "edge-proxyd" else []
        yield other
    finally:
        for sender in held:
            sender.close()
        other.stop()


def half_open(server):
    """Send first flights without more, until all get Retry, or there were many; return their sockets. One ClientHello, encrypted
    with the keys derived from a connection ID each."""
    hello = QuicConnection(configuration=configured(server))
    hello.connect(("127.0.0.1", server.tls), time.time())
    source, content = hello.host_cid, bytes(hello._crypto_streams[Epoch.INITIAL].sender._buffer)
    crypto = b"\x06\x00" + encode_uint_var(len(content)) + content
    payload = crypto.ljust(1180 - len(source), b"\0")
    length = (0x4000 | (2 + len(payload) + 16)).to_bytes(2, "big")
    senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(60)]
    # The limit of one address is reached before the total; the first address is that of the client that asks afterwards.
    for n, sender in enumerate(senders):
        sender.bind((f"127.0.1.{n + 1}" if n else "127.0.0.1", 0))
    for _ in range(UNPROVED // len(senders)):
        for sender in senders:
            chosen = os.urandom(8)
            header = b"\xc1\0\0\0\1\x08" + chosen + bytes([len(source)]) + source + b"\0" + length + b"\0\0"
            keys = CryptoPair()
            keys.setup_initial(chosen, is_client=True, version=1)
            sender.sendto(keys.encrypt_packet(header, payload, 0), ("127.0.0.1", server.tls))
        # Wait for each response, so that nothing is lost in the kernel's queue.
        if all([is_retry(sender) for sender in senders]):
            break
    return senders


def is_retry(sender):
    """Return whether the newest response is a Retry (RFC 9000 17.2.5)."""
    sender.settimeout(1)
    newest = b"\0"
    try:
        while True:
            newest = sender.recv(2048)
            sender.setblocking(False)
            # Late packets of an earlier response do not count.
            if newest[0] & 0xF0 == 0xF0:
                return True
    except (BlockingIOError, socket.timeout):
        return False


async def retried(server):
    """A client that gets Retry validates its address and is served."""
    async with to(server) as client:
        found = await client.start().answer(client.ask())
        return says(client._quic._retry_count == 1 and found.get("status") == 200, f"{client._quic._retry_count} Retry, then {found.get('status')}")


def kinds(receiver, seconds):
    """Return the types of received packets."""
    found, end = set(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        receiver.settimeout(left)
        try:
            buffer = Buffer(data=receiver.recv(2048))
        except socket.timeout:
            break
        while not buffer.eof():
            at, header = buffer.tell(), pull_quic_header(buffer, host_cid_length=8)
            found.add(header.packet_type)
            buffer.seek(min(at + header.packet_length, buffer.capacity))
    return found


def stolen(server):
    """A token is valid only at the address that it was sent to (RFC 9000 8.1.3)."""
    client, there = QuicConnection(configuration=configured(server)), ("127.0.0.1", server.tls)
    done = []

    def sent(by):
        for datagram, _ in client.datagrams_to_send(time.time()):
            by.sendto(datagram, there)

    def heard(by, wanted, seconds):
        end = time.monotonic() + seconds
        while not wanted() and time.monotonic() < end:
            by.settimeout(0.2)
            try:
                client.receive_datagram(by.recv(2048), there, time.time())
            except socket.timeout:
                timer = client.get_timer()
                if timer is not None and timer <= time.time():
                    client.handle_timer(time.time())
            sent(by)
            while (event := client.next_event()) is not None:
                done.extend([event] if isinstance(event, HandshakeCompleted) else [])
        return wanted()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.3", 0))
        client.connect(there, time.time())
        sent(own)
        own.settimeout(10)
        try:
            client.receive_datagram(own.recv(2048), there, time.time())
        except socket.timeout:
            return "fail", "silence"
        if not client._retry_count:
            return "fail", "no Retry"
        first = [datagram for datagram, _ in client.datagrams_to_send(time.time())]
        for datagram in first:
            other.sendto(datagram, there)
        if QuicPacketType.HANDSHAKE in kinds(other, 1.5):
            return "fail", "taken from another address"
        for datagram in first:
            own.sendto(datagram, there)
        return says(heard(own, lambda: bool(done), 20), "from its own address" if done else "refused from its own address too")


def frame(kind, content=b""):
    return encode_uint_var(kind) + encode_uint_var(len(content)) + content


class Raw(Client):
    """HTTP/3 by hand: only the check's bytes are sent."""

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.raw[event.stream_id] = self.raw.get(event.stream_id, b"") + event.data
        super().quic_event_received(event)

    def refused(self, stream):
        """Return whether the response on a stream is 4xx, from its first frame, which needs no dynamic table."""
        got = self.raw.get(stream, b"")
        try:
            buffer = Buffer(data=got)
            kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
            _, fields = pylsqpack.Decoder(0, 0).feed_header(0, buffer.pull_bytes(length))
        except Exception:
            return False
        return kind == 1 and dict(fields).get(b":status", b"").startswith(b"4")

    async def error(self, stream=None, wait=3):
        await self.until(lambda: self.ended is not None or stream in self.resets or self.refused(stream), wait)
        code = self.ended if self.ended is not None else self.resets.get(stream)
        return None if code is None else ERRORS.get(code, hex(code))

    def put(self, stream, content, end=False):
        self._quic.send_stream_data(stream, content, end)
        self.transmit()


SETTINGS = frame(4)
LINES = b"\0\0" + b"\xd1" + b"\xd7" + b"\xc1" + b"\x50\x06a.test"
GET = frame(1, LINES)


def by_hand(control, requests, codes, uni=(), stream_too=True):
    """Send bytes on the control stream, on request streams, and on unidirectional streams; check the end."""

    async def run(server):
        async with connect("127.0.0.1", server.tls, configuration=configured(server), create_protocol=Raw) as client:
            if control is not None:
                client.put(client._quic.get_next_available_stream_id(is_unidirectional=True), b"\0" + control)
            for content, end in uni:
                client.put(client._quic.get_next_available_stream_id(is_unidirectional=True), content, end)
            stream = None
            for content, end in requests:
                stream = client._quic.get_next_available_stream_id()
                client.put(stream, content, end)
            error = await client.error(stream if stream_too else None)
            if not codes:
                return says(error is None, str(error))
            if error is None and MESSAGE[0] in codes and client.refused(stream):
                return "pass", "answered 4xx"
            if error is None:
                return "fail", "nothing happened"
            return ("pass", error) if error in codes else ("partly", f"{error} instead of {' or '.join(codes)}")

    return run


def extra(*fields, pseudo=LINES):
    lines = b"".join(b"\x27" + bytes([len(n) - 7]) + n + bytes([len(v)]) + v if len(n) >= 7 else bytes([0x20 | len(n)]) + n + bytes([len(v)]) + v for n, v in fields)
    return frame(1, pseudo + lines)


def answers(control, content):
    """It is ignored, and the request gets a response."""

    async def run(server):
        async with to(server) as client:
            client.start()
            uni = client._quic.get_next_available_stream_id(is_unidirectional=True)
            if control:
                client._quic.send_stream_data(uni, control)
            stream = client._quic.get_next_available_stream_id()
            client._quic.send_stream_data(stream, content, True)
            client.transmit()
            found = await client.answer(stream, 3)
            return says(found.get("status") == 200, f"{found.get('status')} {client.ended}")

    return run


UNEXPECTED, MESSAGE, CLOSED = ("FRAME_UNEXPECTED",), ("MESSAGE_ERROR",), ("CLOSED_CRITICAL_STREAM",)
DATA = frame(0, b"test")
BY_HAND = [
    ("DATA before HEADERS", "RFC 9114 4.1", by_hand(SETTINGS, [(DATA, True)], UNEXPECTED)),
    ("HEADERS after trailers", "RFC 9114 4.1", by_hand(SETTINGS, [(GET + DATA + extra(pseudo=b"\0\0") + extra(pseudo=b"\0\0"), True)], UNEXPECTED)),
    ("no HEADERS at all", "RFC 9114 4.1", by_hand(SETTINGS, [(b"", True)], ("REQUEST_INCOMPLETE",) + MESSAGE)),
    ("a name in upper case", "RFC 9114 4.2", by_hand(SETTINGS, [(extra((b"X-A", b"1")), True)], MESSAGE)),
    ("connection", "RFC 9114 4.2", by_hand(SETTINGS, [(extra((b"connection", b"close")), True)], MESSAGE)),
    ("an unknown pseudo-field", "RFC 9114 4.3", by_hand(SETTINGS, [(extra((b":test", b"1")), True)], MESSAGE)),
    ("a pseudo-field in trailers", "RFC 9114 4.3", by_hand(SETTINGS, [(GET + DATA + extra((b":path", b"/"), pseudo=b"\0\0"), True)], MESSAGE)),
    ("no :path", "RFC 9114 4.3.1", by_hand(SETTINGS, [(frame(1, b"\0\0\xd1\xd7\x50\x06a.test"), True)], MESSAGE)),
    ("content-length of another length", "RFC 9114 4.1.2", by_hand(SETTINGS, [(extra((b"content-length", b"9")) + DATA, True)], MESSAGE)),
    ("content-length without content", "RFC 9114 4.1.2", by_hand(SETTINGS, [(extra((b"content-length", b"9")), True)], MESSAGE)),
    ("another frame before SETTINGS", "RFC 9114 6.2.1", by_hand(frame(7, b"\0"), [], ("MISSING_SETTINGS",))),
    ("two SETTINGS", "RFC 9114 7.2.4", by_hand(SETTINGS + SETTINGS, [], UNEXPECTED)),
    ("a setting of HTTP/2", "RFC 9114 7.2.4.1", by_hand(frame(4, b"\x02\x01"), [], ("SETTINGS_ERROR",))),
    ("a setting twice", "RFC 9114 7.2.4", by_hand(frame(4, b"\x06\x40\x64\x06\x40\x64"), [], ("SETTINGS_ERROR",))),
    ("SETTINGS on a request", "RFC 9114 7.2.4", by_hand(SETTINGS, [(SETTINGS, False)], UNEXPECTED)),
    ("DATA on the control stream", "RFC 9114 7.2.1", by_hand(SETTINGS + DATA, [], UNEXPECTED)),
    ("HEADERS on the control stream", "RFC 9114 7.2.2", by_hand(SETTINGS + GET, [], UNEXPECTED)),
    ("a frame of HTTP/2", "RFC 9114 7.2.8", by_hand(SETTINGS, [(frame(6, b"judgment"), False)], UNEXPECTED)),
    ("a frame of HTTP/2 on the control stream", "RFC 9114 7.2.8", by_hand(SETTINGS + frame(8, b"\0"), [], UNEXPECTED)),
    ("PUSH_PROMISE from a client", "RFC 9114 7.2.5", by_hand(SETTINGS, [(frame(5, b"\0" + LINES), False)], UNEXPECTED)),
    ("MAX_PUSH_ID on a request", "RFC 9114 7.2.7", by_hand(SETTINGS, [(frame(13, b"\1"), False)], UNEXPECTED)),
    ("MAX_PUSH_ID that shrinks", "RFC 9114 7.2.7", by_hand(SETTINGS + frame(13, b"\5") + frame(13, b"\4"), [], ("ID_ERROR",))),
    ("GOAWAY that grows", "RFC 9114 5.2", by_hand(SETTINGS + frame(7, b"\0") + frame(7, b"\4"), [], ("ID_ERROR",))),
    ("CANCEL_PUSH of nothing", "RFC 9114 7.2.3", by_hand(SETTINGS + frame(3, b"\7"), [], ("ID_ERROR",))),
    ("two control streams", "RFC 9114 6.2.1", by_hand(SETTINGS, [], ("STREAM_CREATION_ERROR",), [(b"\0" + SETTINGS, False)])),
    ("a push stream from a client", "RFC 9114 6.2.2", by_hand(SETTINGS, [], ("STREAM_CREATION_ERROR",), [(b"\1\0", False)])),
    ("the control stream ends", "RFC 9114 6.2.1", by_hand(None, [], CLOSED, [(b"\0" + SETTINGS, True)])),
    ("the QPACK encoder stream ends", "RFC 9204 4.2", by_hand(SETTINGS, [], CLOSED, [(b"\2", True)])),
    ("two QPACK encoder streams", "RFC 9204 4.2", by_hand(SETTINGS, [], ("STREAM_CREATION_ERROR",), [(b"\2", False), (b"\2", False)])),
    ("a frame that ends too late", "RFC 9114 7.1", by_hand(SETTINGS, [(GET + b"\0\x44\0x", True)], ("FRAME_ERROR",))),
    ("a static index beyond the table", "RFC 9204 3.1", by_hand(SETTINGS, [(frame(1, LINES + b"\xff\x40"), True)], ("QPACK_DECOMPRESSION_FAILED",))),
    ("a dynamic index that was never made", "RFC 9204 2.2.3", by_hand(SETTINGS, [(frame(1, b"\2\0\x80"), True)], ("QPACK_DECOMPRESSION_FAILED",))),
    ("a capacity larger than allowed", "RFC 9204 4.1.3", by_hand(SETTINGS, [], ("QPACK_ENCODER_STREAM_ERROR",), [(b"\2\x3f\xff\xff\x7f", False)])),
    ("an acknowledgement of nothing", "RFC 9204 4.4.1", by_hand(SETTINGS, [], ("QPACK_DECODER_STREAM_ERROR",), [(b"\3\x84", False)])),
    ("an increment of 0", "RFC 9204 4.4.3", by_hand(SETTINGS, [], ("QPACK_DECODER_STREAM_ERROR",), [(b"\3\0", False)])),
    ("a frame of an unknown type", "RFC 9114 9", answers(b"", frame(0x21, b"grease") + GET)),
    ("a stream of an unknown type", "RFC 9114 6.2", answers(b"\x21grease", GET)),
    ("content of a length", "RFC 9114 4.1.2", answers(b"", extra((b"content-length", b"4")) + DATA)),
]


def checks(server, origin):
    async def handshake():
        async with to(server) as client:
            return says(client._quic.tls.alpn_negotiated == "h3", client._quic.tls.alpn_negotiated)

    yield "a handshake, and ALPN h3", "RFC 9114 3.1", lambda: ran(handshake())
    yield "a request", "RFC 9114 4", lambda: ran(get(server))
    yield "1 MiB up and down", "RFC 9000 4", lambda: ran(large(server, origin))
    yield "50 requests at once", "RFC 9000 2", lambda: ran(many(server))
    yield "ChaCha20", "RFC 9001 5.3", lambda: ran(chacha(server))
    yield "resumption", "RFC 9001 4.5", lambda: ran(resumed(server))
    yield "0-RTT, marked for the origin", "RFC 9001 4.6, RFC 8470", lambda: ran(early(server, origin))
    yield "key updates", "RFC 9001 6", lambda: ran(key_update(server))
    yield "another connection id", "RFC 9000 5.1", lambda: ran(another_id(server))
    yield "another port of the client", "RFC 9000 9", lambda: ran(another_port(server))
    yield "an unknown version", "RFC 9000 6", lambda: version(server)
    yield "a first packet that is too small", "RFC 9000 14.1", lambda: small(server)
    yield "a name that no site has: silence", "its configuration", lambda: ran(stranger(server))
    for name, where, do in BY_HAND:
        yield name, where, lambda do=do: ran(do(server))

    def asked(check):
        with validating(server) as other:
            return check(other)

    yield "Retry is followed, and the request served", "RFC 9000 8.1.2", lambda: asked(lambda other: ran(retried(other)))
    yield "Retry's token from another address", "RFC 9000 8.1.3", lambda: asked(stolen)
