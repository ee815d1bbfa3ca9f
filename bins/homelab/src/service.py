"""An application of a node. It reports the fields of requests, counts requests that must arrive once, and stores rows in its
database, if it has one. It exits when the database stops, as many applications do, and waits for the database at start."""

import base64
import collections
import hashlib
import http.server
import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time

NAME, LISTEN = sys.argv[1:3]
PSQL, DATABASE = (sys.argv[3:5] + [None, None])[:2]
seen = collections.Counter()
lock = threading.Lock()


def sql(statement):
    command = [PSQL, "-qAtX", "-h", "127.0.0.1", "-U", DATABASE, "-d", DATABASE, "-v", "ON_ERROR_STOP=1", "-c", statement]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True).stdout.decode().strip()


class Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "-"

    def log_message(self, *args):
        pass

    def say(self, value, status=200):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        # What followed an answer to HEAD would be taken for the beginning of the next answer.
        if self.command != "HEAD":
            self.wfile.write(text)

    def serve(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with lock:
            seen[self.path] += 1
        if self.path.startswith("/count?of="):
            self.say({"count": seen[self.path.split("=", 1)[1]]})
        elif self.path.startswith("/keep/") and self.command == "POST":
            try:
                sql(f"INSERT INTO kept VALUES ({int(self.path.rsplit('/', 1)[1])})")
            except Exception:
                os._exit(1)
            self.say({"kept": self.path})
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        elif self.headers.get("Upgrade", "").lower() == "tailscale-control-protocol":
            self.control()
        else:
            self.say({
                "service": NAME, "method": self.command, "path": self.path, "content": len(content),
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
            })

    do_GET = do_POST = do_HEAD = serve

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            length = head[1] & 127
            if length == 126:
                length = struct.unpack("!H", self.rfile.read(2))[0]
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            if head[0] & 15 == 8:
                self.wfile.write(b"\x88\x00")
                return
            answer = f"{text.decode()} from {self.headers.get('X-Real-IP')}".encode()
            self.wfile.write(bytes([129, len(answer)]) + answer)
            self.wfile.flush()

    def control(self):
        """Switch to frames, as headscale does: a type and a length of two bytes before each. Every frame is sent back."""
        if self.command != "POST" or self.path != "/ts2021" or not self.headers.get("X-Tailscale-Handshake"):
            self.say({"error": "no handshake"}, 400)
            return
        self.send_response(101)
        self.send_header("Upgrade", "tailscale-control-protocol")
        self.send_header("Connection", "upgrade")
        self.end_headers()
        self.close_connection = True
        address = self.headers.get("X-Real-IP", "").encode()
        self.wfile.write(struct.pack("!BH", 2, len(address)) + address)
        self.wfile.flush()
        while len(head := self.rfile.read(3)) == 3:
            self.wfile.write(head + self.rfile.read(struct.unpack("!BH", head)[1]))
            self.wfile.flush()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self):
        if self.address_family == socket.AF_UNIX:
            if os.path.exists(self.server_address):
                os.unlink(self.server_address)
            self.socket.bind(self.server_address)
            os.chmod(self.server_address, 0o777)
        else:
            super().server_bind()

    def get_request(self):
        request, address = super().get_request()
        return request, address or ("-", 0)


def watch():
    while True:
        time.sleep(0.3)
        try:
            socket.create_connection(("127.0.0.1", 5432), 5).close()
        except OSError:
            os._exit(1)


if DATABASE:
    while True:
        try:
            sql("CREATE TABLE IF NOT EXISTS kept (number bigint)")
            break
        except Exception:
            time.sleep(0.2)
    threading.Thread(target=watch, daemon=True).start()
if LISTEN.startswith("unix:"):
    Server.address_family = socket.AF_UNIX
    where = LISTEN[5:]
else:
    host, port = LISTEN.rsplit(":", 1)
    where = (host, int(port))
Server(where, Application).serve_forever()
