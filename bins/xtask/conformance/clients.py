"""Third-party clients: curl with three versions of HTTP, h2load, a browser."""

import os
import re
import subprocess
import tempfile

QUICK = False
TOOLS = None


def says(good, detail=""):
    return ("pass" if good else "fail"), detail


def curl(server, *arguments, port=None):
    command = [str(TOOLS / "newer/curl"), "-sS", "--max-time", "20", "--cacert", server.ca]
    for host in ("a.test", "unknown.test"):
        command += ["--resolve", f"{host}:{server.tls}:127.0.0.1", "--resolve", f"{host}:{server.plain}:127.0.0.1"]
    return subprocess.run([*command, *arguments], capture_output=True)


def version(server, flag, wanted):
    found = curl(server, flag, "-o", os.devnull, "-w", "%{http_code} %{http_version}", f"https://a.test:{server.tls}/")
    return says(found.stdout == f"200 {wanted}".encode(), (found.stdout + found.stderr).decode())


def transfer(server, origin, flag):
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(4 << 20))
        file.flush()
        origin.take()
        up = curl(server, flag, "-T", file.name, "-o", os.devnull, "-w", "%{http_code}", f"https://a.test:{server.tls}/up")
        file.seek(0)
        arrived = any(one["body"] == file.read() for one in origin.take())
    down = curl(server, flag, "-o", os.devnull, "-w", "%{size_download}", f"https://a.test:{server.tls}/size/4194304")
    return says(up.stdout == b"200" and arrived and down.stdout == b"4194304", (up.stderr + down.stderr).decode())


def upgraded(server):
    """curl discovers HTTP/3 by Alt-Svc."""
    with tempfile.NamedTemporaryFile() as cache:
        url = f"https://a.test:{server.tls}/"
        curl(server, "--alt-svc", cache.name, "-o", os.devnull, url)
        found = curl(server, "--alt-svc", cache.name, "-o", os.devnull, "-w", "%{http_version}", url)
    return says(found.stdout == b"3", found.stdout.decode())


def h2load(server, origin, *arguments):
    requests = "600" if QUICK else "3000"
    command = ["h2load", "-n", requests, "-c", "20", "-t", "1", *arguments, "--connect-to", f"127.0.0.1:{server.tls}", f"https://a.test:{server.tls}/"]
    output = subprocess.run(command, capture_output=True, timeout=120).stdout.decode()
    found = re.search(r"status codes: (\d+) 2xx", output)
    return says(found and found[1] == requests, f"{found and found[1]} of {requests}")


def spki(server):
    script = "openssl x509 -in \"$chain\" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"
    chain = str(server.folder.parent / "acme/a.test/fullchain.pem")
    return subprocess.run(["sh", "-c", script], env={**os.environ, "chain": chain}, capture_output=True).stdout.decode().strip()


def browser(server, origin, quic):
    origin.take()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            "/usr/bin/chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
            f"--ignore-certificate-errors-spki-list={spki(server)}", "--host-resolver-rules=MAP a.test 127.0.0.1",
            f"--origin-to-force-quic-on=a.test:{server.tls}" if quic else "--disable-quic",
            "--dump-dom", "--virtual-time-budget=2000", f"https://a.test:{server.tls}/page",
        ]
        found = subprocess.run(command, capture_output=True, timeout=60)
    reached = any(one["head"].startswith(b"GET /page ") for one in origin.take())
    return says(b"through the edge" in found.stdout and reached, "" if reached else found.stdout[:80].decode("latin-1"))


def checks(server, origin):
    for flag, number in (("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")):
        yield f"a request over HTTP/{number}", "curl", lambda flag=flag, number=number: version(server, flag, number)
        yield f"4 MiB up and down over HTTP/{number}", "curl", lambda flag=flag: transfer(server, origin, flag)
    yield "HTTP/3 is found by Alt-Svc", "curl", lambda: upgraded(server)
    yield "20 connections, HTTP/1.1", "h2load", lambda: h2load(server, origin, "--h1")
    yield "20 connections of 10 streams, HTTP/2", "h2load", lambda: h2load(server, origin, "-m", "10")
    if not QUICK:
        yield "a page over HTTP/2", "Chromium", lambda: browser(server, origin, False)
        yield "a page over HTTP/3", "Chromium", lambda: browser(server, origin, True)
