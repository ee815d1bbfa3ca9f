"""Slow clients: slowhttptest holds 200 connections in each of its modes, while others must be served."""

import os
import re
import socket
import subprocess
import tempfile
import time

QUICK = False
TOOLS = None
CONNECTIONS = 200


def attack(server, mode, seconds, path="/"):
    """Return whether a normal client is served all the time, and the number of connections left at the end."""
    command = ["slowhttptest", *mode, "-c", str(CONNECTIONS), "-r", "200", "-l", str(seconds), "-p", "3", "-u", f"http://a.test:{server.plain}{path}"]
    # It resolves the host with the system's resolver, so it gets its own hosts file.
    with tempfile.TemporaryDirectory() as folder:
        hosts = os.path.join(folder, "hosts")
        with open(hosts, "w") as file:
            file.write("127.0.0.1 localhost a.test\n")
        script = f"mount --bind {hosts} /etc/hosts && exec {' '.join(command)}"
        # An ordinary user may mount only in a user namespace of its own.
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
        child = subprocess.Popen(["unshare", *namespaces, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        slowest, served, until = 0.0, 0, time.monotonic() + seconds - 1
        try:
            time.sleep(1)
            while time.monotonic() < until:
                began = time.monotonic()
                if not answered(server):
                    return "fail", f"not served after {served} requests"
                slowest, served = max(slowest, time.monotonic() - began), served + 1
                time.sleep(0.1)
            output = child.communicate(timeout=seconds + 60)[0].decode("latin-1")
        finally:
            child.kill()
    closed = [int(n) for n in re.findall(r"closed:\s+(\d+)", output)]
    if "test ended" not in output.lower() and not closed:
        return "fail", f"it did not run: {output[-200:]}"
    good = served > 0 and slowest < 2
    return ("pass" if good else "fail"), f"others were served within {slowest * 1000:.0f} ms"


def answered(server):
    try:
        with socket.create_connection(("127.0.0.1", server.plain), 5) as stream:
            stream.settimeout(5)
            stream.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            return stream.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def checks(server, origin):
    seconds = 6 if QUICK else 25
    modes = [
        ("headers that never end (slowloris)", ["-H", "-i", "3"], "/"),
        ("content that never ends", ["-B", "-i", "3"], "/up"),
        ("answers that are read slowly", ["-X", "-n", "5", "-w", "10", "-y", "20", "-z", "32", "-k", "3"], "/size/300000"),
        ("ranges that overlap (Apache Killer)", ["-R", "-a", "10", "-b", "3000"], "/"),
    ]
    for name, mode, path in modes[:1] if QUICK else modes:
        yield name, "slowhttptest", lambda mode=mode, path=path: attack(server, mode, seconds, path)
