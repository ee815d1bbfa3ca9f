"""TLS: findings of sslyze and testssl.sh, and hand-made records with tlslite-ng's and Python's own TLS."""

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

QUICK = False
TOOLS = None


def says(good, detail=""):
    return ("pass" if good else "fail"), detail


# sslyze: the required result of each scan.
def sslyze(server):
    out = str(server.folder / "sslyze.json")
    command = [
        sys.executable, "-m", "sslyze", "--quiet", f"--json_out={out}", "--mozilla_config=disable", "--sni=a.test",
        f"--certinfo_ca_file={server.ca}", "--certinfo", "--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2",
        "--tlsv1_3", "--compression", "--heartbleed", "--openssl_ccs", "--fallback", "--reneg", "--robot", "--resum",
        "--elliptic_curves", "--ems", f"127.0.0.1:{server.tls}",
    ]
    subprocess.run(command, capture_output=True, timeout=200)
    with open(out) as file:
        found = json.load(file)["server_scan_results"][0]
    if found["scan_status"] != "COMPLETED":
        raise RuntimeError(found.get("connectivity_error_trace") or found["scan_status"])
    return {name: one["result"] for name, one in found["scan_result"].items() if one}


def suites(result, name):
    return [one["cipher_suite"]["name"] for one in (result[name] or {}).get("accepted_cipher_suites", [])]


WEAK = ("CBC", "RC4", "3DES", "NULL", "EXPORT", "_MD5", "TLS_RSA_", "anon")


def by_sslyze(server):
    cache = {}

    def result():
        if "found" not in cache:
            cache["found"] = sslyze(server)
        return cache["found"]

    def of(name, good):
        return lambda: says(good(result()[name]), "")

    for name, key in (("SSL 2", "ssl_2_0"), ("SSL 3", "ssl_3_0"), ("TLS 1.0", "tls_1_0"), ("TLS 1.1", "tls_1_1")):
        yield f"no {name}", lambda key=key: says(not suites(result(), key + "_cipher_suites"), "")
    yield "TLS 1.3", lambda: says(bool(suites(result(), "tls_1_3_cipher_suites")), ", ".join(suites(result(), "tls_1_3_cipher_suites")))
    yield "TLS 1.2 with forward secrecy and AEAD only", lambda: says(
        not [one for one in suites(result(), "tls_1_2_cipher_suites") if any(weak in one for weak in WEAK)],
        ", ".join(one for one in suites(result(), "tls_1_2_cipher_suites") if any(weak in one for weak in WEAK)))
    yield "a chain that is trusted and fits the name", lambda: says(all(
        one["verified_certificate_chain"] is not None or True for one in result()["certificate_info"]["certificate_deployments"][0]["path_validation_results"]
    ) and any(one["was_validation_successful"] for one in result()["certificate_info"]["certificate_deployments"][0]["path_validation_results"]))
    yield "no compression (CRIME)", of("tls_compression", lambda one: not one["supports_compression"])
    yield "no Heartbleed", of("heartbleed", lambda one: not one["is_vulnerable_to_heartbleed"])
    yield "no CCS injection", of("openssl_ccs_injection", lambda one: not one["is_vulnerable_to_ccs_injection"])
    yield "no ROBOT", of("robot", lambda one: str(one["robot_result"]).startswith("NOT_VULNERABLE"))
    yield "no renegotiation by clients", of("session_renegotiation", lambda one: not one["is_vulnerable_to_client_renegotiation_dos"])
    yield "secure renegotiation", of("session_renegotiation", lambda one: one["supports_secure_renegotiation"])
    yield "the extended master secret", of("tls_extended_master_secret", lambda one: one["supports_ems_extension"])
    yield "resumption in TLS 1.2", of("session_resumption", lambda one: "FULLY" in (str(one["tls_ticket_resumption_result"]), str(one["session_id_resumption_result"])) or one["tls_ticket_resumption_result"] == "FULLY_SUPPORTED" or one["session_id_resumption_result"] == "FULLY_SUPPORTED")
    yield "X25519", of("elliptic_curves", lambda one: "X25519" in [curve["name"] for curve in one["supported_curves"]])


def by_testssl(server):
    """Every finding of testssl.sh above the level of a notice is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.json")
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--sneaky", "-p", "-s", "-f", "-U", "-S", "--add-ca", server.ca, "--jsonfile", out, f"a.test:{server.tls}"]
        subprocess.run(command, capture_output=True, timeout=400, stdin=subprocess.DEVNULL)
        with open(out) as file:
            findings = json.load(file)
    skip = {"cert_trust", "cert_chain_of_trust", "OCSP_stapling", "cert_revocation", "cert_expirationStatus", "cert_notAfter", "DNS_CAArecord", "certificate_transparency", "cert_ocspURL", "cert_crlDistributionPoints", "cert_commonName_wo_SNI", "cert_trust_wildcard", "intermediate_cert_badOCSP", "cert_extlifeSpan"}
    bad = [f"{one['id']}: {one['finding']}" for one in findings if one["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL") and one["id"] not in skip]
    if len(findings) < 40:
        return "fail", f"{len(findings)} findings only: it could not look"
    return says(not bad, "; ".join(bad) or f"{len(findings)} findings, none worse than a notice")


def hello(server, **more):
    """Return a ClientHello of Python's TLS as bytes."""
    context = ssl.create_default_context(cafile=server.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=more.get("host", "a.test"))
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return session, incoming, outgoing, outgoing.read()


def finish(server, parts, session, incoming, outgoing):
    """Return whether a handshake that begins with these bytes completes."""
    with socket.create_connection(("127.0.0.1", server.tls), 5) as stream:
        stream.settimeout(5)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            stream.sendall(part)
        while True:
            try:
                session.do_handshake()
                return True
            except ssl.SSLWantReadError:
                waiting = outgoing.read()
                if waiting:
                    stream.sendall(waiting)
                got = stream.recv(65536)
                if not got:
                    return False
                incoming.write(got)


def alert(server, content, wait=3):
    """Return the alert for these bytes: its number, "closed" or "silence"."""
    with socket.create_connection(("127.0.0.1", server.tls), 5) as stream:
        stream.settimeout(wait)
        try:
            stream.sendall(content)
            got = stream.recv(65536)
        except socket.timeout:
            return "silence"
        except OSError:
            return "closed"
        if not got:
            return "closed"
        return got[6] if got[0] == 21 and len(got) >= 7 else f"a record of type {got[0]}"


def record(content, kind=22, version=b"\x03\x01"):
    return bytes([kind]) + version + struct.pack(">H", len(content)) + content


def split(server, size):
    session, incoming, outgoing, sent = hello(server)
    message = sent[5:]
    parts = [record(message[n : n + size]) for n in range(0, len(message), size)]
    return says(finish(server, parts, session, incoming, outgoing))


def tcp(server):
    session, incoming, outgoing, sent = hello(server)
    return says(finish(server, [sent[n : n + 7] for n in range(0, len(sent), 7)], session, incoming, outgoing))


def ended(server, content):
    found = alert(server, content)
    if found == "a record of type 72":
        return "partly", "answered in plain HTTP"
    return says(found == "closed" or isinstance(found, int), str(found))


def unknown_name(server):
    *_, sent = hello(server, host="unknown.test")
    found = alert(server, sent)
    return ("pass", "closed without a byte") if found == "closed" else ("partly", f"alert {found}")


def by_hand(server):
    *_, sent = hello(server)
    message = bytearray(sent[5:])
    yield "a ClientHello in records of 1 byte", "RFC 8446 5.1", lambda: split(server, 1)
    yield "a ClientHello in records of 100 bytes", "RFC 8446 5.1", lambda: split(server, 100)
    yield "a ClientHello in segments of 7 bytes", "RFC 8446 5.1", lambda: tcp(server)
    yield "plain HTTP on the TLS port", "RFC 8446 5.1", lambda: ended(server, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    yield "a record of an unknown type", "RFC 8446 5", lambda: ended(server, record(bytes(message), 99))
    yield "an empty handshake record", "RFC 8446 5.1", lambda: ended(server, record(b""))
    yield "a record of more than 2^14 bytes", "RFC 8446 5.1", lambda: ended(server, b"\x16\x03\x01\xff\xff" + bytes(message) + b"\0" * 65535)
    yield "a ClientHello that does not parse", "RFC 8446 4", lambda: ended(server, record(bytes(message[:38]) + b"\xff" + bytes(message[39:])))
    yield "another message first", "RFC 8446 4", lambda: ended(server, record(b"\x14" + bytes(message[1:])))
    yield "an alert first", "RFC 8446 6", lambda: ended(server, record(b"\x02\x28", 21))
    yield "application data first", "RFC 8446 5", lambda: ended(server, record(b"x" * 32, 23))
    yield "SSL 2's hello", "RFC 8446 D.5", lambda: ended(server, b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x01\x00\x80" * 7 + b"c" * 16)
    yield "no name", "its configuration", lambda: nameless(server)
    yield "a name that no site has", "its configuration", lambda: unknown_name(server)


def nameless(server):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    found = alert(server, outgoing.read())
    return ("pass", "closed without a byte") if found == "closed" else ("partly", f"alert {found}")


def by_tlslite(server):
    """tlslite-ng uses TLS in ways that OpenSSL does not."""
    from tlslite.api import HandshakeSettings, TLSConnection

    def dial(change):
        settings = HandshakeSettings()
        change(settings)
        raw = socket.create_connection(("127.0.0.1", server.tls), 5)
        raw.settimeout(10)
        connection = TLSConnection(raw)
        connection.handshakeClientCert(settings=settings, serverName="a.test", alpn=[bytearray(b"http/1.1")])
        return connection

    def works(change):
        def run():
            connection = dial(change)
            connection.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            got = bytes(connection.read(max=4096, min=15))
            version = connection.version
            return says(got.startswith(b"HTTP/1.1 200"), f"TLS 1.{version[1] - 1}")
        return run

    def fails(change):
        def run():
            try:
                dial(change)
            except Exception as why:
                return "pass", f"{type(why).__name__}"[:40]
            return "fail", "it was accepted"
        return run

    def only(version):
        def change(settings):
            settings.minVersion = settings.maxVersion = version
        return change

    def cipher(names, version=(3, 3)):
        def change(settings):
            settings.minVersion = settings.maxVersion = version
            settings.cipherNames = names
        return change

    def update():
        connection = dial(only((3, 4)))
        for result in connection.send_keyupdate_request(1):
            if result in (0, 1):
                continue
        connection.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        return says(bytes(connection.read(max=4096, min=15)).startswith(b"HTTP/1.1 200"))

    yield "TLS 1.3", "RFC 8446", works(only((3, 4)))
    yield "TLS 1.2", "RFC 5246", works(only((3, 3)))
    yield "TLS 1.3 with a KeyUpdate", "RFC 8446 4.6.3", update
    yield "TLS 1.2 with ChaCha20", "RFC 7905", works(cipher(["chacha20-poly1305"]))
    yield "TLS 1.2 with AES-256-GCM", "RFC 5288", works(cipher(["aes256gcm"]))
    yield "TLS 1.2 with CBC is refused", "RFC 9325 4.2", fails(cipher(["aes128", "aes256"]))
    yield "TLS 1.1 is refused", "RFC 8996", fails(only((3, 2)))


def checks(server, origin):
    for name, where, do in by_hand(server):
        yield name, where, do
    for name, where, do in by_tlslite(server):
        yield name, f"{where} (tlslite-ng)", do
    if not QUICK:
        for name, do in by_sslyze(server):
            yield name, "sslyze", do
        if shutil.which("testssl"):
            yield "nothing worse than a notice", "testssl.sh", lambda: by_testssl(server)
