"""HTTP/1.1 requirements of RFC 9110 and 9112 for gateways: what to refuse and what to forward."""

import re
import socket

OK, REFUSED = "answered", "refused"


def talk(server, request, wait=3.0, parts=None):
    """Send bytes, and return everything received until the end or a pause."""
    with socket.create_connection(("127.0.0.1", server.plain), 5) as stream:
        stream.settimeout(wait)
        closed, got = False, b""
        try:
            for part in parts or [request]:
                stream.sendall(part)
            while True:
                part = stream.recv(65536)
                if not part:
                    closed = True
                    break
                got += part
                if complete(got, request):
                    stream.settimeout(0.3)
        except socket.timeout:
            pass
        except OSError:
            closed = True
        return got, closed


def complete(got, request):
    """Return whether a complete response has arrived."""
    head, found, body = got.partition(b"\r\n\r\n")
    if not found:
        return False
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return request.startswith(b"HEAD") or (length is not None and len(body) >= int(length[1]))


def status(got):
    found = re.match(rb"HTTP/1\.[01] (\d{3})", got)
    return int(found[1]) if found else None


HOST = b"Host: a.test\r\n"


def request(fields=b"", line=b"GET / HTTP/1.1", host=HOST, body=b""):
    return line + b"\r\n" + host + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# Must not reach the origin as a request: gets 400 (or another 4xx or 5xx), or the connection is closed.
REFUSE = [
    ("no Host", "RFC 9112 3.2", request(host=b"")),
    ("two Hosts", "RFC 9112 3.2", request(b"Host: b.test\r\n")),
    ("a Host with a space", "RFC 9112 3.2", request(host=b"Host: a.test b.test\r\n")),
    ("a Host with a path", "RFC 9112 3.2", request(host=b"Host: a.test/x\r\n")),
    ("a space before the colon", "RFC 9112 5.1", request(b"X-A : 1\r\n")),
    ("an empty field name", "RFC 9110 5.1", request(b": 1\r\n")),
    ("a field name with a space", "RFC 9110 5.1", request(b"X A: 1\r\n")),
    ("a field name with a bracket", "RFC 9110 5.1", request(b"X(A): 1\r\n")),
    ("a line without a colon", "RFC 9112 5", request(b"X-A\r\n")),
    ("Content-Length of letters", "RFC 9112 6.3", request(b"Content-Length: abc\r\n", b"POST / HTTP/1.1", body=b"abc")),
    ("Content-Length with a sign", "RFC 9112 6.3", request(b"Content-Length: +3\r\n", b"POST / HTTP/1.1", body=b"abc")),
    ("a negative Content-Length", "RFC 9112 6.3", request(b"Content-Length: -1\r\n", b"POST / HTTP/1.1")),
    ("a hexadecimal Content-Length", "RFC 9112 6.3", request(b"Content-Length: 0x3\r\n", b"POST / HTTP/1.1", body=b"abc")),
    ("an empty Content-Length", "RFC 9112 6.3", request(b"Content-Length:\r\n", b"POST / HTTP/1.1")),
    ("a Content-Length beyond 64 bits", "RFC 9112 6.3", request(b"Content-Length: 99999999999999999999999\r\n", b"POST / HTTP/1.1")),
    ("two Content-Lengths that differ", "RFC 9112 6.3", request(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"POST / HTTP/1.1", body=b"abcd")),
    ("a list of Content-Lengths that differ", "RFC 9112 6.3", request(b"Content-Length: 3, 4\r\n", b"POST / HTTP/1.1", body=b"abcd")),
    ("chunked not last", "RFC 9112 6.3", request(b"Transfer-Encoding: chunked, gzip\r\n", b"POST / HTTP/1.1", body=b"0\r\n\r\n")),
    ("chunked twice", "RFC 9112 6.1", request(CHUNKED + CHUNKED, b"POST / HTTP/1.1", body=b"0\r\n\r\n")),
    ("a coding that is only like chunked", "RFC 9112 6.1", request(b"Transfer-Encoding: xchunked\r\n", b"POST / HTTP/1.1", body=b"0\r\n\r\n")),
    ("an unknown coding", "RFC 9112 6.1", request(b"Transfer-Encoding: foo, chunked\r\n", b"POST / HTTP/1.1", body=b"0\r\n\r\n")),
    ("chunked with a vertical tab", "RFC 9112 6.1", request(b"Transfer-Encoding: \x0bchunked\r\n", b"POST / HTTP/1.1", body=b"0\r\n\r\n")),
    ("a chunk size that is no number", "RFC 9112 7.1", request(CHUNKED, b"POST / HTTP/1.1", body=b"g\r\nx\r\n0\r\n\r\n")),
    ("a chunk size with a prefix", "RFC 9112 7.1", request(CHUNKED, b"POST / HTTP/1.1", body=b"0x1\r\nx\r\n0\r\n\r\n")),
    ("a chunk size beyond 64 bits", "RFC 9112 7.1", request(CHUNKED, b"POST / HTTP/1.1", body=b"fffffffffffffffff1\r\nx\r\n0\r\n\r\n")),
    ("a chunk longer than its size", "RFC 9112 7.1", request(CHUNKED, b"POST / HTTP/1.1", body=b"1\r\nxyz\r\n0\r\n\r\n")),
    ("NUL in a value", "RFC 9110 5.5", request(b"X-A: a\0b\r\n")),
    ("CR alone in a value", "RFC 9112 2.2", request(b"X-A: a\rb\r\n")),
    ("a method with a bracket", "RFC 9110 9.1", request(line=b"G(T / HTTP/1.1")),
    ("no target", "RFC 9112 3", request(line=b"GET HTTP/1.1")),
    ("a target with a control", "RFC 9112 3.2", request(line=b"GET /a\x01b HTTP/1.1")),
    ("a version that is no number", "RFC 9112 2.3", request(line=b"GET / HTTP/1.x")),
    ("HTTP/2.0 in text", "RFC 9110 2.5", request(line=b"GET / HTTP/2.0")),
    ("no version with fields", "RFC 9112 2.3", request(line=b"GET / ")),
    ("CONNECT", "RFC 9110 9.3.6", b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    ("a target of 100 KiB", "RFC 9112 3", request(line=b"GET /" + b"a" * 100_000 + b" HTTP/1.1")),
    ("fields of 1 MiB", "RFC 9110 5.4", request(b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(1000)))),
    ("TLS spoken to the plain port", "RFC 9112 2.2", b"\x16\x03\x01\x00\x05hello\r\n\r\n"),
]


def refused(server, origin, bytes_):
    origin.take()
    got, closed = talk(server, bytes_)
    found, reached = status(got), [one for one in origin.take() if not one["head"].startswith(b"GET /benign")]
    if reached and (found or 0) < 400:
        return "fail", f"{found}, and the origin got it"
    if found is None and not closed:
        return "fail", "neither an answer nor an end"
    if found is not None and found < 400:
        return "fail", f"answered {found}"
    return "pass", str(found) if found else "closed"


def forwarded(server, origin, bytes_, wait=3.0):
    """Return the only request that reached the origin, and the status of the response."""
    origin.take()
    got, closed = talk(server, bytes_, wait)
    requests = origin.take()
    return status(got), (requests[0] if len(requests) == 1 else None), got, closed


def names(one):
    return [name for name, _ in one["fields"]]


def either(server, origin, bytes_, good):
    """Check that it is refused, or forwarded in a form that is unambiguous."""
    found, one, _, closed = forwarded(server, origin, bytes_)
    if one is None:
        return ("pass", f"{found or 'closed'}") if found is None or found >= 400 else ("fail", f"answered {found}")
    return ("pass", "passed on safely") if good(one, closed) else ("fail", one["head"].decode("latin-1"))


def checks(server, origin):
    for name, where, bytes_ in REFUSE:
        yield name, where, lambda bytes_=bytes_: refused(server, origin, bytes_)

    def both(bytes_):
        return lambda: either(server, origin, bytes_, lambda one, closed: closed and b"content-length" not in names(one))

    body = b"3\r\nabc\r\n0\r\n\r\n"
    yield "Content-Length, then Transfer-Encoding", "RFC 9112 6.3", both(request(b"Content-Length: 6\r\n" + CHUNKED, b"POST / HTTP/1.1", body=body))
    yield "Transfer-Encoding, then Content-Length", "RFC 9112 6.3", both(request(CHUNKED + b"Content-Length: 6\r\n", b"POST / HTTP/1.1", body=body))
    yield "Transfer-Encoding in HTTP/1.0", "RFC 9112 6.1", both(request(CHUNKED, b"POST / HTTP/1.0", body=body))
    folded = request(b"X-A: 1\r\n 2\r\n")
    yield "a folded line", "RFC 9112 5.2", lambda: either(server, origin, folded, lambda one, _: b"\n " not in one["head"])
    spaced = b"GET / HTTP/1.1\r\n X-A: 1\r\nHost: a.test\r\n\r\n"
    yield "a space after the request line", "RFC 9112 2.2", lambda: either(server, origin, spaced, lambda one, _: b"x-a" not in names(one))
    other = b"GET http://a.test/abs HTTP/1.1\r\nHost: b.test\r\n\r\n"
    yield "an absolute target with another Host", "RFC 9112 3.2.2", lambda: either(server, origin, other, lambda one, _: dict(one["fields"])[b"host"] == b"a.test")

    def passed(bytes_, good, wait=3.0):
        def run():
            found, one, got, closed = forwarded(server, origin, bytes_, wait)
            if one is None:
                return "fail", f"answered {found}, and the origin did not get it"
            return ("pass", "") if good(found, one, got, closed) else ("fail", (one["head"] + b"|" + got[:200]).decode("latin-1"))
        return run

    yield "fields that Connection names are not passed on", "RFC 9110 7.6.1", passed(
        request(b"Connection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n"),
        lambda _, one, *__: b"x-hop" not in names(one) and b"x-end" in names(one))
    yield "Keep-Alive, TE and Proxy-Connection are not passed on", "RFC 9110 7.6.1", passed(
        request(b"Keep-Alive: 5\r\nTE: gzip\r\nProxy-Connection: keep-alive\r\n"),
        lambda _, one, *__: not {b"keep-alive", b"te", b"proxy-connection"} & set(names(one)))
    yield "Upgrade to nothing known is not passed on", "RFC 9110 7.8", passed(
        request(b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        lambda found, one, *_: found == 200 and b"upgrade" not in names(one))
    yield "content in chunks arrives whole", "RFC 9112 7.1", passed(
        request(CHUNKED, b"POST / HTTP/1.1", body=b"3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"),
        lambda found, one, *_: found == 200 and one["body"] == b"abcde")
    yield "content of a length arrives whole", "RFC 9112 6.3", passed(
        request(b"Content-Length: 5\r\n", b"POST / HTTP/1.1", body=b"abcde"),
        lambda found, one, *_: found == 200 and one["body"] == b"abcde")
    yield "an unknown method is passed on", "RFC 9110 9.1", passed(
        request(line=b"BREW / HTTP/1.1"), lambda found, one, *_: found == 200 and one["head"].startswith(b"BREW "))
    yield "OPTIONS *", "RFC 9110 9.3.7", passed(
        request(line=b"OPTIONS * HTTP/1.1"), lambda found, one, *_: found == 200 and one["head"].startswith(b"OPTIONS "))
    yield "a Host with an empty port", "RFC 3986 3.2.3", passed(
        request(host=b"Host: a.test:\r\n"),
        lambda found, one, *_: found == 200 and dict(one["fields"])[b"host"] == b"a.test")
    yield "a later minor version", "RFC 9110 2.5", passed(
        request(line=b"GET / HTTP/1.2"),
        lambda found, one, *_: found == 200 and one["head"].startswith(b"GET / HTTP/1."))
    yield "an empty line before the request", "RFC 9112 2.2", passed(b"\r\n" + request(), lambda found, *_: found == 200)
    yield "HEAD has no content", "RFC 9110 9.3.2", passed(
        request(line=b"HEAD /size/10 HTTP/1.1"), lambda found, _, got, __: found == 200 and got.endswith(b"\r\n\r\n"))
    yield "HTTP/1.0 ends with its answer", "RFC 9112 9.3", passed(
        request(line=b"GET / HTTP/1.0"), lambda found, _, __, closed: found == 200 and closed)
    yield "Connection: close ends with its answer", "RFC 9112 9.6", passed(
        request(b"Connection: close\r\n"), lambda found, _, __, closed: found == 200 and closed)
    yield "a connection is kept", "RFC 9112 9.3", passed(request(), lambda found, _, __, closed: found == 200 and not closed)
    yield "the percent-encoding of a target stays", "RFC 9110 4.2.3", passed(
        request(line=b"GET /a%41%7e?x=%20 HTTP/1.1"), lambda found, one, *_: one["head"].startswith(b"GET /a%41%7e?x=%20 "))
    yield "a Date in an answer of its own", "RFC 9110 6.6.1", lambda: dated(server)
    yield "three requests at once are answered in order", "RFC 9112 9.3.2", lambda: pipelined(server, origin)
    yield "Expect: 100-continue", "RFC 9110 10.1.1", lambda: expects(server, origin)
    yield "an unknown host gets no answer", "its configuration", lambda: unknown(server, origin)


def dated(server):
    got, _ = talk(server, request(b"X A: 1\r\n"))
    if status(got) is None:
        return "pass", "there is none"
    return ("pass", "") if re.search(rb"(?i)\r\ndate: ", got) else ("fail", got[:200].decode("latin-1"))


def pipelined(server, origin):
    origin.take()
    got, _ = talk(server, b"".join(request(line=b"GET /size/%d HTTP/1.1" % n) for n in (1, 2, 3)), 1.0)
    lengths = [int(n) for n in re.findall(rb"(?i)content-length: (\d+)", got)]
    return ("pass", "") if lengths == [1, 2, 3] else ("fail", str(lengths))


def expects(server, origin):
    with socket.create_connection(("127.0.0.1", server.plain), 5) as stream:
        stream.settimeout(5)
        stream.sendall(request(b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"POST / HTTP/1.1"))
        got = stream.recv(65536)
        if not got.startswith(b"HTTP/1.1 100"):
            return "fail", got[:100].decode("latin-1")
        stream.sendall(b"abc")
        while b" 200 " not in got:
            part = stream.recv(65536)
            if not part:
                return "fail", got[:200].decode("latin-1")
            got += part
        return "pass", ""


def unknown(server, origin):
    origin.take()
    got, closed = talk(server, request(host=b"Host: unknown.test\r\n"))
    return ("pass", "closed") if not got and closed and not origin.take() else ("fail", got[:100].decode("latin-1"))
