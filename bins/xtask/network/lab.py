"""The servers under test and the link to their clients. It runs in a network and a mount namespace of its own; clients are in a second
one, behind the link."""

import asyncio
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

from link import SERVER

# By the length of the chain that a handshake takes.
NAMES = {"small.test": 0, "middle.test": 60, "large.test": 180, "huge.test": 420}
EDGE, NGINX, CADDY, BBR, FRONT = 443, 444, 445, 446, 447
ORIGIN = 8080
CHUNK = bytes(65536)


async def origin(reader, writer):
    """Answers `/size/N` with N bytes, and takes uploads."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            if b"expect: 100-continue" in lower:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if b"transfer-encoding: chunked" in lower:
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    await reader.readexactly(size + 2)
                await reader.readuntil(b"\r\n")
            elif b"content-length:" in lower:
                left = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                while left:
                    left -= len(await reader.read(min(left, 1 << 18)))
            target = head.split(b" ")[1]
            size = int(target.split(b"/")[2]) if target.startswith(b"/size/") else 2
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size)
            while size:
                writer.write(CHUNK[: min(size, len(CHUNK))])
                size -= min(size, len(CHUNK))
                await writer.drain()
            await writer.drain()
    except (OSError, EOFError, ValueError):
        pass
    finally:
        writer.close()


async def serve():
    server = await asyncio.start_server(origin, "127.0.0.1", ORIGIN, limit=1 << 20)
    async with server:
        await server.serve_forever()


def make_certificates(folder):
    """Makes an authority, and a certificate for each name, whose length is made by further names."""
    script = "set -e\nopenssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=CA\n"
    for name, more in NAMES.items():
        names = ",".join([f"DNS:{name}"] + [f"DNS:a-longer-name-of-this-site-number-{n:03}.{name}" for n in range(more)])
        script += f"""mkdir -p acme/{name}
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout acme/{name}/key.pem -out leaf.csr -subj /CN={name}
printf 'subjectAltName={names}\\nextendedKeyUsage=serverAuth\\nbasicConstraints=CA:FALSE\\n' > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile leaf.ext -out acme/{name}/fullchain.pem
chmod 640 acme/{name}/key.pem
"""
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, capture_output=True)


def edge_configuration(folder, port=EDGE, congestion=None):
    text = f'congestion = "{congestion}"\n' if congestion else ""
    text += f'[certificates]\nfolder = "{folder}/acme"\n[sandbox]\nmode = "off"\n[log]\nformat = "off"\n'
    text += f'[[listen]]\naddress = "{SERVER}:{port}"\ntls = true\nhttp3 = true\n'
    for name in NAMES:
        text += f'[[site]]\nhosts = "{name}"\nupstream = "http://127.0.0.1:{ORIGIN}"\n'
    return text


def front_configuration(folder):
    """An edge on the side of the clients, whose services are behind the link: the same edge by HTTP/2 and by HTTP/1.1."""
    text = f'[sandbox]\nmode = "off"\n[log]\nformat = "off"\n[[listen]]\naddress = "127.0.0.1:{FRONT}"\n'
    for scheme in ("h2", "https"):
        text += f'[[site]]\nhosts = "{scheme}.test"\nplain = "serve"\nupstream = "{scheme}"\n'
        text += f'[upstream.{scheme}]\ntarget = "{scheme}://{SERVER}:{EDGE}"\nhost = "small.test"\n'
        text += f'tls = {{ server_name = "small.test", ca = "{folder}/ca.pem" }}\n'
    return text


def nginx_configuration(folder):
    servers = "".join(
        f"""server {{
        listen {SERVER}:{NGINX} ssl; listen {SERVER}:{NGINX} quic{" reuseport" if at == 0 else ""};
        server_name {name};
        ssl_certificate {folder}/acme/{name}/fullchain.pem; ssl_certificate_key {folder}/acme/{name}/key.pem;
        location / {{ proxy_pass http://origin; }}
    }}
    """
        for at, name in enumerate(NAMES)
    )
    return f"""daemon off; worker_processes 2; error_log stderr warn; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 0; http2 on; quic_gso on;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream origin {{ server 127.0.0.1:{ORIGIN}; keepalive 32; }}
    proxy_http_version 1.1; proxy_set_header Connection "";
    {servers}
}}
"""


def caddy_configuration(folder):
    text = "{\n\tadmin off\n\tauto_https off\n\thttp_port 8081\n}\n"
    for name in NAMES:
        text += f"https://{name}:{CADDY} {{\n\tbind {SERVER}\n\ttls {folder}/acme/{name}/fullchain.pem {folder}/acme/{name}/key.pem\n"
        text += f"\treverse_proxy 127.0.0.1:{ORIGIN}\n}}\n"
    return text


class Lab:
    """Servers on this side, clients on the other."""

    def __init__(self, folder, edge, tools, long):
        self.folder, self.tools, self.processes = pathlib.Path(folder), os.path.abspath(tools), []
        self.ca, self.curl = str(self.folder / "ca.pem"), f"{self.tools}/newer/curl"
        os.chmod(folder, 0o755)
        make_certificates(folder)
        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        holder = self.start("holder", ["unshare", "-n", "sh", "-c", "ip link set lo up; echo; exec sleep infinity"], pipe=True)
        holder.stdout.readline()
        self.client = ["nsenter", "-t", str(holder.pid), "-n"]
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        here = pathlib.Path(__file__).parent
        command = [sys.executable, "-B", str(here / "link.py"), str(holder.pid), str(theirs.fileno())]
        self.start("link", command, pass_fds=[theirs.fileno()])
        theirs.close()
        self.control = ours.makefile("rw")
        if self.control.readline() != "ready\n":
            raise SystemExit(f"the link does not work: {self.log('link')}")
        self.ports = {"edge": EDGE, "nginx": NGINX}
        self.write("edge.toml", edge_configuration(folder))
        self.start("edge", [os.path.abspath(edge), "run", "--workers", "2", "--config", str(self.folder / "edge.toml")])
        self.write("nginx.conf", nginx_configuration(folder))
        library = f"{self.tools}/newer-nginx/usr/lib/x86_64-linux-gnu"
        nginx = [f"{library}/ld-linux-x86-64.so.2", "--library-path", library, f"{self.tools}/newer-nginx/usr/sbin/nginx"]
        self.start("nginx", [*nginx, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", "stderr"])
        if long:
            self.ports["caddy"] = CADDY
            self.write("Caddyfile", caddy_configuration(folder))
            command = [f"{self.tools}/newer-caddy/usr/bin/caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]
            self.start("caddy", command)
            self.write("bbr.toml", edge_configuration(folder, BBR, "bbr"))
            self.start("bbr", [os.path.abspath(edge), "run", "--workers", "2", "--config", str(self.folder / "bbr.toml")])
            self.write("front.toml", front_configuration(folder))
            front = [os.path.abspath(edge), "run", "--workers", "1", "--config", str(self.folder / "front.toml")]
            self.start("front", [*self.client, *front])
            self.until_listening("bbr", BBR)
        for name, port in self.ports.items():
            self.until_listening(name, port)

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def start(self, name, command, pipe=False, pass_fds=()):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE if pipe else log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
            start_new_session=True, pass_fds=pass_fds, env={**os.environ, "HOME": str(self.folder)},
        )
        self.processes.append(process)
        return process

    def until_listening(self, name, port):
        end = time.monotonic() + 30
        while True:
            try:
                return socket.create_connection((SERVER, port), 1).close()
            except OSError:
                if time.monotonic() > end:
                    raise SystemExit(f"{name} does not listen: {self.log(name)}")
                time.sleep(0.1)

    def link(self, both=None, up=None, down=None, **more):
        """Changes the link; returns what passed until now: bytes up and down, and packets that a device did not take."""
        both = both or {}
        wanted = {"up": {**both, **(up or {})}, "down": {**both, **(down or {})}, **more}
        self.control.write(json.dumps(wanted) + "\n")
        self.control.flush()
        return json.loads(self.control.readline())

    def alive(self):
        """Returns the programs that ended by themselves."""
        return [" ".join(process.args[:1]) for process in self.processes if process.poll() is not None]

    def on_client(self, command, limit):
        """Runs a program on the other side of the link. Returns its status and output."""
        try:
            done = subprocess.run([*self.client, *command], capture_output=True, timeout=limit, cwd=self.folder)
            return done.returncode, done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as ended:
            return None, (ended.stdout or b"").decode(errors="replace")

    def fetch(self, who, version, paths, host="small.test", seconds=60, more=()):
        """Fetches paths over one connection by curl. Returns its status, and of each path: HTTP status, bytes, seconds to the first
        byte, seconds in all."""
        port = BBR if who == "bbr" else self.ports[who]
        command = [self.curl, "-sS", "--cacert", self.ca, "--resolve", f"{host}:{port}:{SERVER}", version, "-Z"]
        command += ["--max-time", str(seconds), "-w", "%{http_code} %{size_download} %{time_starttransfer} %{time_total}\n", *more]
        for path in paths:
            command += ["-o", "/dev/null", f"https://{host}:{port}{path}"]
        status, output = self.on_client(command, seconds + 20)
        lines = [line.split() for line in output.splitlines()]
        return status, [(int(code), int(size), float(first), float(total)) for code, size, first, total in lines]

    def through_front(self, scheme, path, seconds=60, more=()):
        """Fetches a path through the edge on the clients' side. Returns the seconds that it took, or None."""
        command = [self.curl, "-sS", "--http1.1", "--max-time", str(seconds), "--resolve", f"{scheme}.test:{FRONT}:127.0.0.1"]
        command += ["-o", "/dev/null", "-w", "%{http_code} %{time_total}", *more, f"http://{scheme}.test:{FRONT}{path}"]
        _, output = self.on_client(command, seconds + 20)
        code, total = output.split() if output.count(" ") == 1 else ("0", "0")
        return float(total) if code == "200" else None

    def stop(self):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
