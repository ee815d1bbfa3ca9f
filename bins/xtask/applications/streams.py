"""Protocols that go on in both directions: MQTT over WebSocket, gRPC, a notebook's kernel, and headscale's own."""

import contextlib
import json
import os
import select
import socket
import ssl
import threading
import time
import urllib.request
from concurrent import futures

import lab as labs

HEADSCALE = """proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
add_header Strict-Transport-Security "max-age=15552000; includeSubDomains" always;
"""


def mosquitto(lab):
    """mosquitto over WebSocket: everything that is published arrives."""
    config = lab.path("mosquitto.conf")
    with open(config, "w") as file:
        file.write("allow_anonymous true\nuser root\nlistener 3010 127.0.0.1\nlistener 3006\nprotocol websockets\n")
    lab.start("mosquitto", ["/usr/sbin/mosquitto", "-c", config], 3006)
    nginx = f"location / {{ {labs.USUAL} {labs.SWITCHES} proxy_pass http://127.0.0.1:3006; }}"
    lab.site("mqtt", 3006, nginx=nginx)

    def drive(host):
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        def connected(name):
            ready = threading.Event()
            made = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, transport="websockets")
            made.tls_set(ca_certs=lab.ca)
            made.ws_set_options(path="/mqtt")
            made.on_connect = lambda *_: ready.set()
            made.connect(host, 443, 30)
            made.loop_start()
            assert ready.wait(20), "no connection"
            return made

        got, rounds = set(), 20 if lab.quick and lab.through == "nginx" else 150
        reader = connected("reader")
        reader.on_message = lambda _client, _data, message: got.add(message.payload)
        subscribed = threading.Event()
        reader.on_subscribe = lambda *_: subscribed.set()
        reader.subscribe("t", 1)
        assert subscribed.wait(20), "not subscribed"
        # Each writer ends right after its message, which nobody acknowledges, and without close_notify, as devices do.
        for number in range(rounds):
            writer = connected(f"writer-{number}")
            writer.publish("t", str(number), 0)
            writer.disconnect()
            writer.loop_stop()
        end = time.monotonic() + 10
        while len(got) < rounds and time.monotonic() < end:
            time.sleep(0.05)
        reader.disconnect()
        lab.fact("mosquitto gets every message over WebSocket", len(got) == rounds, f"{len(got)} of {rounds}")

    return drive


def grpc(lab):
    """gRPC over HTTP/2 at both hops: calls, streams both ways, and a status in trailers."""
    nginx = "location / { client_max_body_size 0; grpc_pass grpc://127.0.0.1:3007; }"
    lab.site("grpc", 3007, scheme="h2c", nginx=nginx)

    import grpc as library

    class Service(library.GenericRpcHandler):
        def service(self, call):
            if call.method == "/t.T/Echo":
                return library.unary_unary_rpc_method_handler(lambda request, _: request)
            if call.method == "/t.T/Chat":
                return library.stream_stream_rpc_method_handler(lambda requests, _: requests)
            if call.method == "/t.T/Fail":
                def fail(_, context):
                    context.abort(library.StatusCode.FAILED_PRECONDITION, "not now: é")
                return library.unary_unary_rpc_method_handler(fail)
            return None

    server = library.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([Service()])
    server.add_insecure_port("127.0.0.1:3007")
    server.start()
    # It ends with the last reference to it.
    lab.servers.append(server)

    def drive(host):
        with open(lab.ca, "rb") as file:
            credentials = library.ssl_channel_credentials(file.read())
        with library.secure_channel(f"{host}:443", credentials) as channel:
            echo = channel.unary_unary("/t.T/Echo")
            content = os.urandom(1024 * 1024)
            chat = channel.stream_stream("/t.T/Chat")
            said = list(chat((str(number).encode() for number in range(1000)), timeout=60))
            try:
                channel.unary_unary("/t.T/Fail")(b"", timeout=30)
                status = None
            except library.RpcError as error:
                status = (error.code(), error.details())
            lab.fact("gRPC echoes a message of 1 MB", echo(content, timeout=60) == content)
            lab.fact("gRPC streams both ways", len(said) == 1000 and said[-1] == b"999")
            wanted = (library.StatusCode.FAILED_PRECONDITION, "not now: é")
            lab.fact("gRPC's status arrives in trailers", status == wanted, status)
    return drive


def headscale(lab):
    """headscale's handshake: POST /ts2021 with Upgrade: tailscale-control-protocol, then frames both ways."""
    upgrade = 'upgrade = ["websocket", "tailscale-control-protocol"]'
    # As headscale's documentation has it.
    nginx = f"location / {{ {labs.SWITCHES} proxy_set_header Host $server_name; proxy_redirect http:// https://; proxy_buffering off; {HEADSCALE} proxy_pass http://127.0.0.1:3008; }}"
    lab.site("headscale", 3008, edge=upgrade, node=upgrade, nginx=nginx)
    listener = socket.create_server(("127.0.0.1", 3008))
    heads = []

    def serve(connection):
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, rest = data.split(b"\r\n\r\n", 1)
            heads.append(head)
            protocol = b"tailscale-control-protocol"
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + protocol + b"\r\nConnection: upgrade\r\n\r\n")
            while True:
                connection.sendall(rest)
                rest = connection.recv(65536)
                if not rest:
                    return

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    def drive(host):
        context = ssl.create_default_context(cafile=lab.ca)
        frames = 5000 if lab.quick else 100000
        with context.wrap_socket(socket.create_connection((host, 443), 30), server_hostname=host) as stream:
            fields = "Upgrade: tailscale-control-protocol\r\nConnection: upgrade\r\nX-Tailscale-Handshake: AAEC"
            stream.sendall(f"POST /ts2021 HTTP/1.1\r\nHost: {host}\r\n{fields}\r\nContent-Length: 0\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += stream.recv(1)
            lab.fact("headscale's protocol is switched to through both hops", head.startswith(b"HTTP/1.1 101"), head[:40])
            frame = os.urandom(64)
            # One thread sends and receives: a TLS connection of Python's is not for two.
            stream.setblocking(False)
            content = memoryview(b"".join(number.to_bytes(4, "big") + frame for number in range(frames)))
            sent, got, wanted, whole = 0, 0, len(content), True
            pending = b""
            while got < wanted:
                moved = False
                if sent < wanted:
                    with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        sent += stream.send(content[sent : sent + 68])
                        moved = True
                try:
                    part = stream.recv(65536)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    if not moved and select.select([stream], [stream] if sent < wanted else [], [], 30) == ([], [], []):
                        break
                    continue
                if not part:
                    break
                got += len(part)
                pending += part
                while len(pending) >= 68:
                    whole &= pending[4:68] == frame
                    pending = pending[68:]
            stream.settimeout(30)
            lab.fact(f"{frames} frames pass both ways", got == wanted and whole, f"{got} of {wanted} bytes")
            if lab.through == "edge" and not lab.quick:
                # A client of headscale stays connected while nothing happens.
                time.sleep(600)
                stream.settimeout(30)
                stream.sendall(b"still here")
                lab.fact("headscale's tunnel is there after 10 minutes without a byte", stream.recv(65536) == b"still here")
        lab.fact("the handshake's field reaches headscale", b"X-Tailscale-Handshake: AAEC" in heads[-1])

    return drive


def jupyter(lab):
    """jupyter: a cell runs in a kernel over its WebSocket."""
    settings = ["--ServerApp.token=secret", "--ServerApp.allow_root=True", "--ServerApp.allow_remote_access=True"]
    settings += ["--ServerApp.port=3009", "--ServerApp.ip=127.0.0.1", "--ServerApp.open_browser=False"]
    lab.start("jupyter", ["/usr/bin/python3", "-m", "jupyter_server", *settings], 3009, wait=120)
    nginx = f"location / {{ {labs.USUAL} {labs.SWITCHES} proxy_set_header X-Scheme $scheme; proxy_buffering off; proxy_pass http://127.0.0.1:3009; }}"
    lab.site("jupyter", 3009, nginx=nginx)

    def drive(host):
        import websocket

        context = ssl.create_default_context(cafile=lab.ca)
        fields = {"Authorization": "token secret", "Content-Type": "application/json"}
        request = urllib.request.Request(f"https://{host}/api/kernels", b'{"name": "python3"}', fields, method="POST")
        with urllib.request.urlopen(request, context=context, timeout=60) as response:
            kernel = json.load(response)["id"]
        stream = websocket.create_connection(
            f"wss://{host}/api/kernels/{kernel}/channels",
            header=["Authorization: token secret"],
            sslopt={"ca_certs": lab.ca},
            origin=f"https://{host}",
            timeout=60,
        )
        head = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "1", "version": "5.3"}
        code = {"code": "print(6 * 7)", "silent": False}
        stream.send(json.dumps({"header": head, "parent_header": {}, "metadata": {}, "content": code, "channel": "shell"}))
        said = None
        end = time.monotonic() + 60
        while said is None and time.monotonic() < end:
            message = json.loads(stream.recv())
            if message["msg_type"] == "stream":
                said = message["content"]["text"]
        stream.close()
        lab.fact("jupyter runs a cell over its WebSocket", said == "42\n", repr(said))

    return drive
