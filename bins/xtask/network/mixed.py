"""A client of one connection with a large download and small requests beside it. It runs on the far side of the link.

usage: mixed.py h2|h3 HOST ADDRESS PORT CA SECONDS [PRIORITIES]; prints the seconds that each small answer took, a line each."""

import asyncio
import socket
import ssl
import sys
import time

LARGE, SMALL, PAUSE = "/size/80000000", "/size/1000", 0.4


class Times:
    """Small requests that are open, and what the finished ones took."""

    def __init__(self):
        self.open, self.took = {}, []

    def began(self, stream):
        self.open[stream] = time.monotonic()

    def ended(self, stream):
        if stream in self.open:
            self.took.append(time.monotonic() - self.open.pop(stream))

    def show(self):
        now = time.monotonic()
        for took in self.took + [now - began for began in self.open.values()]:
            print(f"{took:.3f}")


def h2(host, address, port, ca, seconds, priorities):
    import h2.config
    import h2.connection
    import h2.events
    import h2.settings

    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    wire = context.wrap_socket(socket.create_connection((address, port), 10), server_hostname=host)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    # As browsers have them.
    connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 6 << 20})
    connection.increment_flow_control_window(15 << 20)
    times, stream = Times(), 1

    def ask(path, urgency):
        nonlocal stream
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path)]
        if priorities:
            fields.append(("priority", f"u={urgency}"))
        connection.send_headers(stream, fields, end_stream=True)
        if path == SMALL:
            times.began(stream)
        stream += 2

    ask(LARGE, 5)
    wire.sendall(connection.data_to_send())
    begin = time.monotonic()
    following = begin + 1
    while time.monotonic() < begin + seconds:
        wire.settimeout(max(0.01, min(following, begin + seconds) - time.monotonic()))
        try:
            received = wire.recv(1 << 16)
        except TimeoutError:
            received = None
        if received == b"":
            break
        for event in connection.receive_data(received) if received else []:
            if isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                times.ended(event.stream_id)
        if time.monotonic() >= following:
            ask(SMALL, 0)
            following += PAUSE
        wire.settimeout(10)
        wire.sendall(connection.data_to_send())
    times.show()


def h3(host, address, port, ca, seconds, priorities):
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration

    times = Times()

    class Client(QuicConnectionProtocol):
        http = None

        def quic_event_received(self, event):
            for found in self.http.handle_event(event) if self.http else []:
                if isinstance(found, (DataReceived, HeadersReceived)) and found.stream_ended:
                    times.ended(found.stream_id)

        def ask(self, path, urgency):
            stream = self._quic.get_next_available_stream_id()
            fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", host.encode()), (b":path", path.encode())]
            if priorities:
                fields.append((b"priority", b"u=%d" % urgency))
            self.http.send_headers(stream, fields, end_stream=True)
            if path == SMALL:
                times.began(stream)
            self.transmit()

    async def run():
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=H3_ALPN, server_name=host, max_data=15 << 20, max_stream_data=6 << 20
        )
        configuration.load_verify_locations(ca)
        async with connect(address, port, configuration=configuration, create_protocol=Client) as client:
            client.http = H3Connection(client._quic)
            client.ask(LARGE, 5)
            end = time.monotonic() + seconds
            await asyncio.sleep(1)
            while time.monotonic() < end:
                client.ask(SMALL, 0)
                await asyncio.sleep(PAUSE)
            times.show()
            sys.stdout.flush()

    asyncio.run(run())


if __name__ == "__main__":
    version, host, address, port, ca, seconds = sys.argv[1:7]
    {"h2": h2, "h3": h3}[version](host, address, int(port), ca, float(seconds), sys.argv[7:] == ["priorities"])
