"""A client for what curl does not support: WebSocket over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220), the control protocol of Tailscale,
and HTTP/3 in early data.

  client.py websocket-h2 | websocket-h3                   open a WebSocket to the application and print its message
  client.py control HOST FRAMES SILENCE                    register at headscale: send this many frames, be silent for so many seconds
  client.py early ADDRESS PORT METHOD PATH                make two connections over QUIC, the second with a request in early data
"""

import asyncio
import json
import os
import select
import socket
import ssl
import sys
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

NAME, EDGE, ROOTS = "git.example.org", "203.0.113.1", "/run/issuing.pem"
ENABLE_CONNECT_PROTOCOL = 8
PATIENCE = 15
# Contains a forged client address, which must not reach the application.
OPEN = [
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/socket"), (":authority", NAME),
    ("sec-websocket-version", "13"), ("x-real-ip", "6.6.6.6"),
]


def frame(text):
    """Return a text as one frame, masked as clients must."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))


def unframed(data):
    """Return the text of a complete frame, or None."""
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    return data[2:2 + data[1]].decode()


def control(name, count, silence):
    """Speak with headscale as its clients do. One thread writes to the connection and reads from it."""
    trust = ssl.create_default_context(cafile=ROOTS)
    trust.set_alpn_protocols(["http/1.1"])
    tls = trust.wrap_socket(socket.create_connection((EDGE, 443), PATIENCE), server_hostname=name)
    tls.sendall(
        f"POST /ts2021 HTTP/1.1\r\nHost: {name}\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n"
        "X-Tailscale-Handshake: AAEC\r\nX-Real-IP: 6.6.6.6\r\nContent-Length: 0\r\n\r\n".encode()
    )
    received = b""
    while b"\r\n\r\n" not in received:
        part = tls.recv(65_536)
        assert part, f"the connection ended behind {received}"
        received += part
    head, received = received.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"upgrade: tailscale-control-protocol" in head.lower(), head
    tls.setblocking(False)
    frames, output = [], b""

    def exchange(enough):
        """Write what there is to be written and read frames, until there are enough."""
        nonlocal received, output
        end = time.monotonic() + PATIENCE
        while len(frames) < enough:
            assert time.monotonic() < end, f"{len(frames)} of {enough} frames"
            wanted = [[tls], [tls] if output else []]
            try:
                if output:
                    output = output[tls.send(output):]
            except ssl.SSLWantReadError:
                wanted[1] = []
            except ssl.SSLWantWriteError:
                pass
            try:
                part = tls.recv(65_536)
                assert part, f"the connection ended behind {len(frames)} frames"
                received += part
            except ssl.SSLWantReadError:
                select.select(*wanted, [], 1)
            except ssl.SSLWantWriteError:
                select.select([], [tls], [], 1)
            while len(received) >= 3 and len(received) >= 3 + int.from_bytes(received[1:3], "big"):
                length = int.from_bytes(received[1:3], "big")
                frames.append(received[3:3 + length])
                received = received[3 + length:]

    exchange(1)
    address = frames.pop().decode()
    sent = [number.to_bytes(4, "big") + os.urandom(number % 200) for number in range(count)]
    output = b"".join(b"\x04" + len(frame).to_bytes(2, "big") + frame for frame in sent)
    exchange(count)
    assert frames == sent, "the frames are not those that were sent"
    time.sleep(silence)
    output = b"\x04\x00\x05still"
    exchange(count + 1)
    assert frames[-1] == b"still", frames[-1]
    return f"{count} frames both ways, another after {silence} s of silence, client {address}"


def websocket_h2():
    trust = ssl.create_default_context(cafile=ROOTS)
    trust.set_alpn_protocols(["h2"])
    tls = trust.wrap_socket(socket.create_connection((EDGE, 443), PATIENCE), server_hostname=NAME)
    assert tls.selected_alpn_protocol() == "h2", tls.selected_alpn_protocol()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    data, opened = b"", False
    while True:
        tls.sendall(connection.data_to_send())
        received = tls.recv(65_536)
        assert received, "the connection ended"
        for event in connection.receive_data(received):
            if isinstance(event, h2.events.RemoteSettingsChanged) and not opened:
                assert h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL in event.changed_settings, "no extended CONNECT"
                connection.send_headers(1, OPEN)
                opened = True
            elif isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
                assert status == "200", status
                connection.send_data(1, frame(b"hello"))
            elif isinstance(event, h2.events.DataReceived):
                data += event.data
                if (text := unframed(data)) is not None:
                    return text
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise RuntimeError(f"{event}")


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.http = H3Connection(self._quic)
        self.events = asyncio.Queue()

    def quic_event_received(self, event):
        for found in self.http.handle_event(event):
            self.events.put_nowait(found)

    async def ask(self, fields, content=None, ends=True):
        """Opens a stream, and sends its head and content."""
        fields = [(name.encode(), value.encode()) for name, value in fields]
        stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(stream, fields, end_stream=ends and content is None)
        if content is not None:
            self.http.send_data(stream, content, end_stream=ends)
        self.transmit()
        return stream

    async def answer(self):
        """The next status, and what has come with it until the stream ends."""
        status, content = None, b""
        while True:
            event = await self.events.get()
            if isinstance(event, HeadersReceived):
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, DataReceived):
                content += event.data
            if event.stream_ended:
                return status, content


def quic(address, port, ticket=None, tickets=None):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, cafile=ROOTS, server_name=NAME, session_ticket=ticket
    )
    return connect(
        address, port, configuration=configuration, create_protocol=Client, wait_connected=False,
        session_ticket_handler=tickets.append if tickets is not None else None,
    )


async def websocket_h3():
    async with quic(EDGE, 443) as client:
        client.transmit()
        await client.wait_connected()
        while client.http.received_settings is None:
            await asyncio.sleep(0.01)
        assert client.http.received_settings.get(ENABLE_CONNECT_PROTOCOL) == 1, client.http.received_settings
        stream, data = await client.ask(OPEN, ends=False), b""
        while True:
            event = await client.events.get()
            if isinstance(event, HeadersReceived):
                assert dict(event.headers)[b":status"] == b"200", event.headers
                client.http.send_data(stream, frame(b"hello"), end_stream=False)
                client.transmit()
            elif isinstance(event, DataReceived):
                data += event.data
                if (text := unframed(data)) is not None:
                    return text
            assert not event.stream_ended, "the stream ended"


async def early(address, port, method, path):
    def fields(method, path):
        return [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", path)]

    tickets = []
    async with quic(address, port, tickets=tickets) as client:
        await client.ask(fields("GET", "/"))
        status, _ = await client.answer()
        assert status == 200, status
        while not tickets:
            await asyncio.sleep(0.01)
    async with quic(address, port, ticket=tickets[-1]) as client:
        # Before the handshake: in the first flight.
        await client.ask(fields(method, path), b"" if method == "POST" else None)
        status, _ = await client.answer()
        return json.dumps({"accepted": client._quic.tls.early_data_accepted, "status": status})


async def patiently(work):
    return await asyncio.wait_for(work, PATIENCE)


match sys.argv[1:]:
    case ["websocket-h2"]:
        print(websocket_h2())
    case ["websocket-h3"]:
        print(asyncio.run(patiently(websocket_h3())))
    case ["control", name, count, silence]:
        print(control(name, int(count), int(silence)))
    case ["early", address, port, method, path]:
        print(asyncio.run(patiently(early(address, int(port), method, path))))
    case _:
        sys.exit(__doc__)
