"""An edge and a node of edge-proxyd, between clients and applications: TLS and HTTP/3 outside, plain HTTP over addresses of a
tailnet inside; and beside them nginx, configured as the documentation of each application says. It runs in network and mount
namespaces of its own, with its own /etc/hosts."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

# The names of the sites through the edge and the node, and through nginx.
DOMAIN = "home.test"
BESIDE = "nginx.test"
NODE = "100.64.0.2"
NGINX = "127.0.0.2"

# What every documentation of a site behind nginx begins with.
USUAL = """proxy_set_header Host $host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
"""
SWITCHES = """proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
"""


class Lab:
    """The proxies, and the programs that were started beside them."""

    def __init__(self, folder, edge, tools, quick):
        self.folder, self.edge, self.tools, self.quick = folder, os.path.abspath(edge), os.path.abspath(tools), quick
        self.sites, self.processes, self.facts = {}, [], []
        # The facts through nginx, and through whom the clients go now.
        self.beside, self.through = {}, "edge"
        self.environment = {**os.environ, "HOME": folder, "NO_COLOR": "1"}
        for name in list(self.environment):
            if name.lower().endswith("_proxy"):
                del self.environment[name]
        self.ca = f"{folder}/ca.pem"
        self.directives, self.servers, self.postgres = {}, [], None

    def path(self, name):
        return os.path.join(self.folder, name)

    def work(self, name):
        """A path of the clients' own, for each way that they go."""
        return self.path(f"{name}-{self.through}")

    def site(self, name, port, edge="", node="", scheme="http", upstream="", nginx=None):
        """Adds a site for an application at this port of loopback. The texts are further keys of the site at each hop, of the
        application as the node's upstream, and the directives of nginx's server, by default those that pass everything on."""
        self.sites[name] = (port, edge, node, scheme, upstream)
        usual = f"location / {{ {USUAL} proxy_pass http://127.0.0.1:{port}; }}"
        self.directives[name] = usual if nginx is None else nginx

    def start(self, name, command, port=None, environment=None, folder=None, wait=60):
        """Starts a program, and waits until its port takes connections."""
        log = open(self.path(f"{name}.log"), "wb")
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder or self.folder,
            env={**self.environment, **(environment or {})},
            start_new_session=True,
        )
        self.processes.append(process)
        end = time.monotonic() + wait
        while port:
            address = port if isinstance(port, tuple) else ("127.0.0.1", port)
            try:
                socket.create_connection(address, 1).close()
                return process
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{name} does not listen at {address}:\n{self.log(name)}")
                time.sleep(0.1)
        return process

    def log(self, name, lines=20):
        with open(self.path(f"{name}.log"), errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def run(self, command, limit=120, environment=None, folder=None, content=None):
        """Runs a program to its end, and returns its output. A failure is an error with its output."""
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=limit,
            input=content,
            cwd=folder or self.folder,
            env={**self.environment, **(environment or {})},
        )
        output = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:4])} ended with {done.returncode}: {output[-2000:]}")
        return output

    def attempt(self, command, environment=None, limit=120):
        """Runs a program that may fail, and returns its status and output."""
        settings = {**self.environment, **(environment or {})}
        return subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=self.folder, env=settings)

    def fact(self, name, ok, detail="", compared=True):
        """Prints and keeps a fact. Through nginx it is kept to be compared, unless no proxy has to do with it."""
        if not compared:
            self.beside[name] = (bool(ok), "")
        if self.through == "nginx":
            self.beside[name] = (bool(ok), str(detail)[:200])
            return
        self.facts.append((name, bool(ok)))
        print(f"{'ok' if ok else 'FAILED':<7} {name}{': ' + str(detail) if detail else ''}", flush=True)

    def fails_alone(self, names, explained):
        """Returns whether one of these facts holds for edge-proxyd and not for nginx, without an explanation."""
        ours = dict(self.facts)
        return any(not self.beside[name][0] and ours.get(name, True) and name not in explained for name in names)

    def compare(self, explained):
        """Prints where nginx differs. A difference that is not explained is a fact that fails, and so is an explanation of none."""
        ours = dict(self.facts)
        for name in sorted(set(ours) | set(self.beside)):
            theirs, detail = self.beside.get(name, (None, "not seen"))
            if theirs == ours.get(name):
                continue
            reason = explained.get(name)
            if self.quick and reason is None and ours.get(name) is True:
                # The short form runs beside other work, and is about edge-proxyd. The long one asks for the reason.
                print(f"{'note':<7} beside nginx: {name}: nginx fails ({detail})", flush=True)
                continue
            ok = reason is not None and ours.get(name) is True
            self.fact(f"beside nginx: {name}", ok, f"nginx {'passes' if theirs else 'fails'} ({detail}): {reason or 'NOT EXPLAINED'}")
        for name in explained:
            if name in ours and self.beside.get(name, (None, ""))[0] == ours[name]:
                self.fact(f"beside nginx: {name}", False, "the difference that is explained is gone")

    def certificates(self):
        """Makes an authority, and a certificate for all sites."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": self.folder}
        names = ",".join(f"DNS:{name}.{domain}" for name in self.sites for domain in [DOMAIN, BESIDE])
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run(
            ["openssl", "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=CA"],
            **quiet,
        )
        os.makedirs(self.path("acme/site"), exist_ok=True)
        subprocess.run(
            ["openssl", "req", *curve, "-keyout", "acme/site/key.pem", "-out", "site.csr", "-subj", "/CN=site"], **quiet
        )
        with open(self.path("site.ext"), "w") as file:
            file.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "20", "-extfile", "site.ext"]
        subprocess.run(
            ["openssl", "x509", "-req", "-in", "site.csr", *sign, "-out", "acme/site/fullchain.pem"], **quiet
        )
        os.chmod(self.path("acme/site/key.pem"), 0o640)

    def proxies(self):
        """Starts the edge and the node."""
        self.certificates()
        edge = f"""[certificates]
folder = "{self.path('acme')}"
[sandbox]
mode = "off"
[[listen]]
address = "127.0.0.1:80"
[[listen]]
address = "127.0.0.1:443"
tls = true
http3 = true
"""
        node = f"""[sandbox]
mode = "off"
[[listen]]
address = "{NODE}:80"
h2c = true
[trust]
ranges = "100.64.0.0/10"
"""
        for name, (port, at_edge, at_node, scheme, upstream) in self.sites.items():
            host = f'[[site]]\nhosts = "{name}.{DOMAIN}"\n'
            edge += f'{host}upstream = "{scheme}://{NODE}:80"\n{at_edge}\n'
            node += f'{host}plain = "serve"\nupstream = "{name}"\n{at_node}\n'
            node += f'[upstream.{name}]\ntarget = "{scheme}://127.0.0.1:{port}"\n{upstream}\n'
        for name, text, address in [("node", node, (NODE, 80)), ("edge", edge, ("127.0.0.1", 443))]:
            with open(self.path(f"{name}.toml"), "w") as file:
                file.write(text)
            command = [self.edge, "run", "--config", self.path(f"{name}.toml")]
            self.start(f"proxy-{name}", command, address)

        self.nginx()

    def nginx(self):
        """Starts nginx with a server for each site."""
        servers = "".join(
            f"""server {{
listen {NGINX}:443 ssl;
http2 on;
server_name {name}.{BESIDE};
{directives}
}}
"""
            for name, directives in self.directives.items()
        )
        temporary = "".join(
            f"{kind}_temp_path {self.path(f'beside-{kind}')};\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        config = self.path("beside.conf")
        with open(config, "w") as file:
            file.write(
                f"""daemon off; user root; pid {self.path('beside.pid')}; error_log stderr;
events {{}}
http {{
access_log off;
{temporary}
ssl_certificate {self.path('acme/site/fullchain.pem')};
ssl_certificate_key {self.path('acme/site/key.pem')};
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
{servers}
}}
"""
            )
        root = f"{self.tools}/newer-nginx"
        libraries = f"{root}/usr/lib/x86_64-linux-gnu"
        command = [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", libraries, f"{root}/usr/sbin/nginx"]
        self.start("beside", [*command, "-p", self.folder, "-c", config, "-e", "stderr"], (NGINX, 443))

    def stop(self):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def own_hosts(names):
    """Gives this mount namespace an /etc/hosts with these names at loopback, and brings up the addresses."""
    # Without a fixed name, which another account may have used. The mount keeps the content after the file is deleted.
    with tempfile.NamedTemporaryFile("w", prefix="hosts-") as file:
        file.write("127.0.0.1 localhost " + " ".join(f"{name}.{DOMAIN}" for name in names) + "\n")
        file.write(f"{NGINX} " + " ".join(f"{name}.{BESIDE}" for name in names) + "\n")
        file.flush()
        os.chmod(file.name, 0o644)
        for command in [
            ["mount", "--make-rprivate", "/"],
            ["mount", "--bind", file.name, "/etc/hosts"],
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "add", f"{NODE}/32", "dev", "lo"],
        ]:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{' '.join(command)}: {done.stderr}")
