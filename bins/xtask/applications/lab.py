"""An edge and a node of edge-proxyd, between clients and applications: TLS and HTTP/3 outside, plain HTTP over addresses of a
tailnet inside. It runs in network and mount namespaces of its own, with its own /etc/hosts."""

import os
import signal
import socket
import subprocess
import sys
import time

DOMAIN = "home.test"
NODE = "100.64.0.2"


class Lab:
    """The proxies, and the programs that were started beside them."""

    def __init__(self, folder, edge, tools, quick):
        self.folder, self.edge, self.tools, self.quick = folder, os.path.abspath(edge), os.path.abspath(tools), quick
        self.sites, self.processes, self.facts = {}, [], []
        self.environment = {**os.environ, "HOME": folder, "NO_COLOR": "1"}
        for name in list(self.environment):
            if name.lower().endswith("_proxy"):
                del self.environment[name]
        self.ca = f"{folder}/ca.pem"

    def path(self, name):
        return os.path.join(self.folder, name)

    def site(self, name, port, edge="", node="", scheme="http"):
        """Adds a site for an application at this port of loopback. The texts are further keys of the site at each hop."""
        self.sites[name] = (port, edge, node, scheme)
        return f"{name}.{DOMAIN}"

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

    def fact(self, name, ok, detail=""):
        """Prints and keeps a fact."""
        self.facts.append((name, ok))
        print(f"{'ok' if ok else 'FAILED':<7} {name}{': ' + str(detail) if detail else ''}", flush=True)

    def certificates(self):
        """Makes an authority, and a certificate for all sites."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": self.folder}
        names = ",".join(f"DNS:{name}.{DOMAIN}" for name in self.sites)
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
        for name, (port, at_edge, at_node, scheme) in self.sites.items():
            host = f'[[site]]\nhosts = "{name}.{DOMAIN}"\n'
            edge += f'{host}upstream = "{scheme}://{NODE}:80"\n{at_edge}\n'
            node += f'{host}plain = "serve"\nupstream = "{scheme}://127.0.0.1:{port}"\n{at_node}\n'
        for name, text, address in [("node", node, (NODE, 80)), ("edge", edge, ("127.0.0.1", 443))]:
            with open(self.path(f"{name}.toml"), "w") as file:
                file.write(text)
            command = [self.edge, "run", "--config", self.path(f"{name}.toml")]
            self.start(f"proxy-{name}", command, address)

    def stop(self):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def own_hosts(names):
    """Gives this mount namespace an /etc/hosts with these names at loopback, and brings up the addresses."""
    path = "/tmp/hosts-of-the-applications"
    with open(path, "w") as file:
        file.write("127.0.0.1 localhost " + " ".join(f"{name}.{DOMAIN}" for name in names) + "\n")
    for command in [
        ["mount", "--make-rprivate", "/"],
        ["mount", "--bind", path, "/etc/hosts"],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{NODE}/32", "dev", "lo"],
    ]:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
