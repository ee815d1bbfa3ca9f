"""The servers under test, each in front of the same origin, all on loopback."""

import asyncio
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time

HOSTS = ["a.test", "b.test", "early.test"]


def free_port():
    """Return a port that is free for TCP and UDP."""
    while True:
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with tcp, udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Origin:
    """An origin that responds to every request it understands, and records the bytes."""

    def __init__(self):
        self.requests = []
        self.port = None
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait(10)

    async def _serve(self, ready):
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    async def _client(self, reader, writer):
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, EOFError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        fields = [line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line]
        fields = [(name.lower(), value.strip()) for name, value in fields]
        request = {"head": head, "body": b"", "fields": fields}
        self.requests.append(request)
        values = dict(fields)
        if b"upgrade" in values and values.get(b"upgrade", b"").lower() == b"websocket":
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return False
        if values.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if values.get(b"transfer-encoding", b"").lower() == b"chunked":
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                request["body"] += (await reader.readexactly(size + 2))[:-2] if size else b""
                if size == 0:
                    while (await reader.readuntil(b"\r\n")) != b"\r\n":
                        pass
                    break
        else:
            request["body"] = await reader.readexactly(int(values.get(b"content-length", b"0")))
        method, target = head.split(b" ")[:2]
        content = b"ok"
        if target.startswith(b"/size/"):
            content = b"x" * int(target.split(b"/")[2].split(b"?")[0])
        elif target.startswith(b"/page"):
            content = b"<!doctype html><title>judged</title><p id=p>through the edge</p>"
        kind = b"text/html" if target.startswith(b"/page") else b"text/plain"
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(content))
        writer.write(answer if method == b"HEAD" else answer + content)
        await writer.drain()
        return True

    def take(self):
        """Return the requests since the last call."""
        taken, self.requests = self.requests, []
        return taken


def certificates(folder):
    """Create a CA, and one certificate for all hosts."""
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    script = f"""set -e
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 30 -subj '/CN=conformance test CA' -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
mkdir -p acme/a.test
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out acme/a.test/key.pem
chmod 640 acme/a.test/key.pem
openssl req -new -key acme/a.test/key.pem -subj /CN=a.test -out leaf.csr
printf 'subjectAltName={names}\\nbasicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth\\nauthorityKeyIdentifier=keyid\\n' > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile leaf.ext -out acme/a.test/fullchain.pem
"""
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, capture_output=True)


class Server:
    """A server under test."""

    def __init__(self, name, command, tls, plain, folder):
        self.name, self.tls, self.plain, self.folder = name, tls, plain, folder
        self.ca = str(folder.parent / "ca.pem")
        self.log = open(folder / "output.txt", "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=folder, preexec_fn=os.setsid)
        until = time.monotonic() + 20
        for port in (tls, plain):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > until or self.process.poll() is not None:
                        self.stop()
                        raise SystemExit(f"{name} does not serve: {(folder / 'output.txt').read_text()}")
                    time.sleep(0.05)

    def alive(self):
        """Return whether it still runs and has not panicked."""
        said = (self.folder / "output.txt").read_bytes()
        return self.process.poll() is None and b"panicked" not in said

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def edge_proxyd(program, folder, origin, validating=False):
    """edge-proxyd with defaults, and early data for one site. It sends Retry depending on the number of unvalidated addresses; for
    that check it has one worker and a long handshake timeout."""
    own = pathlib.Path(tempfile.mkdtemp(prefix="edge-proxyd-", dir=folder))
    more = '[timeouts]\nhandshake = "60s"\n' if validating else ""
    tls, plain = free_port(), free_port()
    (own / "edge.toml").write_text(f"""
https_port = {tls}
[[listen]]
address = "127.0.0.1:{tls}"
tls = true
http3 = true
[[listen]]
address = "127.0.0.1:{plain}"
[certificates]
folder = "{folder}/acme"
[log]
format = "off"
{more}[[site]]
hosts = ["a.test", "b.test"]
plain = "serve"
upstream = "http://127.0.0.1:{origin.port}"
[[site]]
hosts = ["early.test"]
early_data = true
upstream = "http://127.0.0.1:{origin.port}"
""")
    command = [program, "run", "--workers", "1" if validating else "2", "--config", str(own / "edge.toml")]
    server = Server("edge-proxyd", command, tls, plain, own)
    server.validating = lambda: edge_proxyd(program, folder, origin, True)
    return server


def nginx(root, folder, origin, validating=False):
    """nginx configured as a reverse proxy as in its documentation, dropping unknown names too. Retry depends on its
    configuration."""
    own = pathlib.Path(tempfile.mkdtemp(prefix="nginx-", dir=folder))
    # Its workers run as another user and store content there.
    own.chmod(0o755)
    more = "quic_retry on;" if validating else ""
    tls, plain = free_port(), free_port()
    (own / "nginx.conf").write_text(f"""
daemon off;
worker_processes 2;
error_log stderr warn;
pid {own}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {more}
    client_max_body_size 0;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    ssl_certificate {folder}/acme/a.test/fullchain.pem;
    ssl_certificate_key {folder}/acme/a.test/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:s:1m;
    http2 on;
    upstream origin {{ server 127.0.0.1:{origin.port}; keepalive 32; }}
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection "";
    server {{
        listen 127.0.0.1:{tls} ssl default_server;
        listen 127.0.0.1:{tls} quic reuseport default_server;
        listen 127.0.0.1:{plain} default_server;
        ssl_reject_handshake on;
        return 444;
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{tls} quic;
        listen 127.0.0.1:{plain};
        server_name a.test b.test;
        add_header Alt-Svc 'h3=":{tls}"';
        location / {{ proxy_pass http://origin; }}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{tls} quic;
        server_name early.test;
        ssl_early_data on;
        location / {{ proxy_pass http://origin; proxy_set_header Early-Data $ssl_early_data; }}
    }}
}}
""")
    library = pathlib.Path(root) / "usr/lib/x86_64-linux-gnu"
    command = [
        str(library / "ld-linux-x86-64.so.2"), "--library-path", str(library),
        str(pathlib.Path(root) / "usr/sbin/nginx"), "-p", str(own), "-c", str(own / "nginx.conf"), "-e", "stderr",
    ]
    server = Server("nginx", command, tls, plain, own)
    server.validating = lambda: nginx(root, folder, origin, True)
    return server
