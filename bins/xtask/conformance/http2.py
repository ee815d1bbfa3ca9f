"""HTTP/2 (RFC 9113) and HPACK (RFC 7541), with the checks of h2spec, section by section."""

import struct

from wire2 import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITIZED, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Connection, block, frame, head, headers, settings,
)

GET = headers(1, head())
OPEN = headers(1, head("POST", more=[("content-length", "4")]), END_HEADERS)
# Without a length, so that no origin can respond before the end.
ENDLESS = headers(1, head("POST"), END_HEADERS)
WINDOW = struct.pack(">I", 1)
CANCEL = struct.pack(">I", 8)
DEPENDS = struct.pack(">IB", 0, 16)


def refused(*frames, codes=(), stream=None, scope=None, settle=True):
    """Check that these frames end the stream or the connection, with one of these codes if the RFC names one."""

    def run(server):
        with Connection(server) as one:
            if settle:
                one.settled()
            one.send(*frames)
            error = one.error(stream)
            if error is None:
                return "fail", "nothing happened"
            if scope == "connection" and error[0] == "stream":
                return "fail", f"the stream only: {error[1]}"
            if error[0] != "closed" and codes and error[1] not in codes:
                # Refused, but not in the way the RFC prescribes.
                return "partly", f"{error[1]} instead of {' or '.join(codes)}"
            return "pass", error[1] or "closed"

    return run


def answered(*frames, stream=1, status=(200,), preface=PREFACE + settings()):
    def run(server):
        with Connection(server, preface) as one:
            one.settled()
            one.send(*frames)
            found = one.answer(stream)
            return ("pass", "") if found in status else ("fail", f"answered {found}")

    return run


def ignored(*frames, or_ends=False):
    """Check that the connection stays open or, where that is allowed, ends without an error."""

    def run(server):
        with Connection(server) as one:
            one.settled()
            one.send(*frames)
            if one.works():
                return "pass", ""
            return ("pass", "closed") if or_ends and one.closed else ("fail", "the connection does not go on")

    return run


def malformed(fields, more=b"", flags=END_HEADERS | END_STREAM, or_dropped=False):
    """A malformed request is a stream error of PROTOCOL_ERROR, or gets 400 (RFC 9113 8.1.1)."""

    def run(server):
        with Connection(server) as one:
            one.settled()
            one.send(headers(1, fields, flags), more)
            found = one.until(lambda kind, _, stream, __: kind in (HEADERS, RST_STREAM) and stream == 1 or kind == GOAWAY)
            if found is None:
                return ("pass", "closed") if one.closed else ("fail", "nothing happened")
            kind, _, _, payload = found
            if kind == HEADERS:
                status = dict(one.decoder.decode(payload)).get(":status")
                if or_dropped and status == "200":
                    return "partly", "dropped instead of refused"
                return ("pass" if status == "400" else "fail"), f"answered {status}"
            code = int.from_bytes(payload[4:8] if kind == GOAWAY else payload[:4], "big")
            return ("pass" if code == 1 else "fail"), {1: "PROTOCOL_ERROR"}.get(code, str(code))

    return run


def after(first, then, codes, scope=None):
    """The second request follows the response to the first."""

    def run(server):
        with Connection(server) as one:
            one.settled()
            one.send(first)
            one.answer()
            one.send(then)
            error = one.error()
            if error is None:
                return "fail", "nothing happened"
            good = error[0] == "closed" or error[1] in codes
            return ("pass" if good else "fail"), f"{error[1] or 'closed'}"

    return run


PROTOCOL, SIZE, CLOSED, FLOW, COMPRESSION = (
    ("PROTOCOL_ERROR",), ("FRAME_SIZE_ERROR",), ("STREAM_CLOSED",), ("FLOW_CONTROL_ERROR",), ("COMPRESSION_ERROR",),
)
BIG = b"x" * 16384


def bad_preface(server):
    with Connection(server, b"INVALID CONNECTION PREFACE\r\n\r\n" + settings()) as one:
        return ("pass", "") if one.error() else ("fail", "nothing happened")


def ping(server):
    return ("pass", "") if Connection(server).settled().works() else ("fail", "no PING came back")


def ping_ack(server):
    with Connection(server).settled() as one:
        one.send(frame(PING, ACK, payload=b"unasked!"))
        one.send(frame(PING, payload=b"judgment"))
        found = one.until(lambda kind, *_: kind == PING)
        return ("pass", "") if found and found[3] == b"judgment" else ("fail", str(found))


def settings_ack(server):
    with Connection(server, PREFACE + settings((3, 100))) as one:
        found = one.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        return ("pass", "") if found else ("fail", "it was not acknowledged")


def window_of(size, more=()):
    """Content stops at the window of the stream and continues when the window grows."""

    def run(server):
        with Connection(server, PREFACE + settings((4, size))) as one:
            one.settled()
            one.send(headers(1, head(path="/size/10")))
            got = 0

            def content(kind, flags, stream, payload):
                nonlocal got
                got += len(payload) if kind == DATA else 0
                return kind == RST_STREAM or kind == DATA and bool(flags & END_STREAM)

            early = one.until(content, 0.5)
            if early or got > size:
                return "fail", f"{got} bytes in a window of {size}"
            one.send(*more, frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)))
            done = one.until(content)
            return ("pass", "") if done and got == 10 else ("fail", f"{got} bytes of 10")

    return run


def streams(server):
    with Connection(server).settled() as one:
        limit = next((int.from_bytes(p[n + 2 : n + 6], "big") for k, f, _, p in one.frames if k == SETTINGS and not f & ACK
                      for n in range(0, len(p), 6) if p[n : n + 2] == b"\0\3"), None)
        if limit is None or limit > 1000:
            return "none", f"it allows {limit}"
        for n in range(limit + 1):
            one.send(headers(2 * n + 1, head("POST", more=[("content-length", "4")]), END_HEADERS))
        error = one.error()
        good = error and (error[0] == "closed" or error[1] in ("PROTOCOL_ERROR", "REFUSED_STREAM"))
        return ("pass" if good else "fail"), str(error and error[1])


def many_settings(server):
    return answered(GET, preface=PREFACE + settings((4, 100), (4, 65535)))(server)


PADS = frame(DATA, PADDED | END_STREAM, 1, b"\xffabcd")
SECTIONS = [
    ("3.4 a wrong preface", bad_preface),
    ("4.1 a frame of an unknown type", ignored(frame(0xEE, 0xFF, 0, b"x" * 8))),
    ("4.1 undefined flags", ignored(frame(PING, 0xFE, payload=b"undefine"))),
    ("4.1 the reserved bit", ignored(frame(PING, 0, 0x80000000, b"reserved"))),
    ("4.2 DATA of 2^14 bytes", answered(headers(1, head("POST"), END_HEADERS), frame(DATA, END_STREAM, 1, BIG))),
    ("4.2 DATA beyond SETTINGS_MAX_FRAME_SIZE", refused(OPEN, frame(DATA, END_STREAM, 1, BIG + b"x" * (1 << 20)), codes=SIZE)),
    ("4.2 HEADERS beyond SETTINGS_MAX_FRAME_SIZE", refused(headers(1, block(head()) + b"\0\1a" + b"\x7f\x81\x7f" + BIG + b"x" * (1 << 20)), codes=SIZE, scope="connection")),
    ("4.3 a field block that cannot be decoded", refused(headers(1, b"\xff\xff\xff\xff\xff\xff"), codes=COMPRESSION, scope="connection")),
    ("4.3 PRIORITY inside of a field block", refused(headers(1, head(), END_STREAM), frame(PRIORITY, 0, 1, DEPENDS), codes=PROTOCOL, scope="connection")),
    ("4.3 HEADERS of another stream inside of a field block", refused(headers(1, head(), END_STREAM), headers(3, head()), codes=PROTOCOL, scope="connection")),
    ("5.1 idle: DATA", refused(frame(DATA, END_STREAM, 1, b"test"), codes=PROTOCOL + CLOSED)),
    ("5.1 idle: RST_STREAM", refused(frame(RST_STREAM, 0, 1, CANCEL), codes=PROTOCOL, scope="connection")),
    ("5.1 idle: WINDOW_UPDATE", refused(frame(WINDOW_UPDATE, 0, 1, WINDOW), codes=PROTOCOL, scope="connection")),
    ("5.1 idle: CONTINUATION", refused(frame(CONTINUATION, END_HEADERS, 1, block(head())), codes=PROTOCOL, scope="connection")),
    ("5.1 half closed: DATA", refused(headers(1, head(path="/size/1000000")), frame(DATA, END_STREAM, 1, b"test"), codes=CLOSED + PROTOCOL)),
    ("5.1 half closed: HEADERS", refused(headers(1, head(path="/size/1000000")), GET, codes=CLOSED + PROTOCOL)),
    ("5.1 half closed: CONTINUATION", refused(headers(1, head(path="/size/1000000")), frame(CONTINUATION, END_HEADERS, 1, block(head())), codes=CLOSED + PROTOCOL)),
    ("5.1 closed by RST_STREAM: DATA", refused(OPEN, frame(RST_STREAM, 0, 1, CANCEL), frame(DATA, END_STREAM, 1, b"test"), codes=CLOSED + PROTOCOL)),
    ("5.1 closed by RST_STREAM: HEADERS", refused(OPEN, frame(RST_STREAM, 0, 1, CANCEL), GET, codes=CLOSED + PROTOCOL)),
    ("5.1 closed: DATA", after(GET, frame(DATA, END_STREAM, 1, b"test"), CLOSED + PROTOCOL)),
    ("5.1 closed: HEADERS", after(GET, GET, CLOSED + PROTOCOL)),
    ("5.1 closed: CONTINUATION", after(GET, frame(CONTINUATION, END_HEADERS, 1, block(head())), CLOSED + PROTOCOL)),
    ("5.1.1 a stream of an even number", refused(headers(2, head()), codes=PROTOCOL, scope="connection")),
    ("5.1.1 a stream of a smaller number", after(headers(5, head()), headers(3, head()), PROTOCOL + CLOSED)),
    ("5.1.2 more streams than are allowed", streams),
    ("5.3 PRIORITY changes nothing", answered(frame(PRIORITY, 0, 3, DEPENDS), GET)),
    ("5.5 an unknown frame in a stream", answered(headers(1, head("POST"), END_HEADERS), frame(0xEE, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b"test"))),
    ("5.5 an unknown frame inside of a field block", refused(headers(1, head(), END_STREAM), frame(0xEE, 0, 1, b"x"), codes=PROTOCOL, scope="connection")),
    ("6.1 DATA on the connection", refused(OPEN, frame(DATA, 0, 0, b"test"), codes=PROTOCOL, scope="connection")),
    ("6.1 padding as long as the frame", refused(OPEN, PADS, codes=PROTOCOL, scope="connection")),
    ("6.1 DATA with padding", answered(OPEN, frame(DATA, PADDED | END_STREAM, 1, b"\3test\0\0\0"))),
    ("6.2 HEADERS with padding", answered(frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\2" + block(head()) + b"\0\0"))),
    ("6.2 HEADERS with a priority", answered(frame(HEADERS, PRIORITIZED | END_HEADERS | END_STREAM, 1, DEPENDS + block(head())))),
    ("6.2 HEADERS on the connection", refused(headers(0, head()), codes=PROTOCOL, scope="connection")),
    ("6.2 padding as long as the frame", refused(frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\xff" + block(head())), codes=PROTOCOL, scope="connection")),
    ("6.3 PRIORITY on the connection", refused(frame(PRIORITY, 0, 0, DEPENDS), codes=PROTOCOL, scope="connection")),
    ("6.3 PRIORITY of a wrong length", refused(OPEN, frame(PRIORITY, 0, 1, b"\0\0\0\1"), codes=SIZE)),
    ("6.4 RST_STREAM on the connection", refused(frame(RST_STREAM, 0, 0, CANCEL), codes=PROTOCOL, scope="connection")),
    ("6.4 RST_STREAM of a wrong length", refused(OPEN, frame(RST_STREAM, 0, 1, b"\0\0\1"), codes=SIZE, scope="connection")),
    ("6.5 SETTINGS with ACK and content", refused(frame(SETTINGS, ACK, payload=b"\0"), codes=SIZE, scope="connection")),
    ("6.5 SETTINGS on a stream", refused(frame(SETTINGS, 0, 1, b""), codes=PROTOCOL, scope="connection")),
    ("6.5 SETTINGS of a wrong length", refused(frame(SETTINGS, payload=b"\0\3\0"), codes=SIZE, scope="connection")),
    ("6.5.2 SETTINGS_ENABLE_PUSH of 2", refused(settings((2, 2)), codes=PROTOCOL, scope="connection")),
    ("6.5.2 SETTINGS_INITIAL_WINDOW_SIZE of 2^31", refused(settings((4, 1 << 31)), codes=FLOW, scope="connection")),
    ("6.5.2 SETTINGS_MAX_FRAME_SIZE below 2^14", refused(settings((5, 16383)), codes=PROTOCOL, scope="connection")),
    ("6.5.2 SETTINGS_MAX_FRAME_SIZE above 2^24-1", refused(settings((5, 1 << 24)), codes=PROTOCOL, scope="connection")),
    ("6.5.2 an unknown setting", ignored(settings((0xEE, 1)))),
    ("6.5.3 the last of several values counts", many_settings),
    ("6.5.3 SETTINGS are acknowledged", settings_ack),
    ("6.6 PUSH_PROMISE from a client", refused(OPEN, frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(head())), codes=PROTOCOL, scope="connection")),
    ("6.7 PING", ping),
    ("6.7 PING with ACK", ping_ack),
    ("6.7 PING on a stream", refused(frame(PING, 0, 1, b"judgment"), codes=PROTOCOL, scope="connection")),
    ("6.7 PING of a wrong length", refused(frame(PING, payload=b"six..."), codes=SIZE, scope="connection")),
    ("6.8 GOAWAY on a stream", refused(frame(GOAWAY, 0, 1, b"\0" * 8), codes=PROTOCOL, scope="connection")),
    ("6.9 WINDOW_UPDATE of 0 on the connection", refused(frame(WINDOW_UPDATE, 0, 0, b"\0" * 4), codes=PROTOCOL, scope="connection")),
    ("6.9 WINDOW_UPDATE of 0 on a stream", refused(OPEN, frame(WINDOW_UPDATE, 0, 1, b"\0" * 4), codes=PROTOCOL)),
    ("6.9 WINDOW_UPDATE of a wrong length", refused(frame(WINDOW_UPDATE, payload=b"\0\0\1"), codes=SIZE, scope="connection")),
    ("6.9.1 content keeps to the window", window_of(1)),
    ("6.9.1 a connection's window beyond 2^31-1", refused(frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), codes=FLOW, scope="connection")),
    ("6.9.1 a stream's window beyond 2^31-1", refused(OPEN, frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), codes=FLOW)),
    ("6.9.2 the initial window changes later", window_of(0, [settings((4, 1))])),
    ("6.9.2 a window may become negative", window_of(3, [settings((4, 2))])),
    ("6.10 several CONTINUATION", answered(headers(1, block(head())[:10], END_STREAM), frame(CONTINUATION, 0, 1, block(head())[10:20]), frame(CONTINUATION, END_HEADERS, 1, block(head())[20:]))),
    ("6.10 CONTINUATION on the connection", refused(headers(1, head(), END_STREAM), frame(CONTINUATION, END_HEADERS, 0, b""), codes=PROTOCOL, scope="connection")),
    ("6.10 CONTINUATION after END_HEADERS", refused(headers(1, head("POST"), END_HEADERS), frame(CONTINUATION, END_HEADERS, 1, block([("x-a", "1")])), codes=PROTOCOL, scope="connection")),
    ("6.10 CONTINUATION after DATA", refused(ENDLESS, frame(DATA, 0, 1, b"test"), frame(CONTINUATION, END_HEADERS, 1, block([("x-a", "1")])), codes=PROTOCOL, scope="connection")),
    ("7 GOAWAY with an unknown code", ignored(frame(GOAWAY, payload=b"\0\0\0\0\0\0\0\xff"), or_ends=True)),
    ("8.1 trailers without END_STREAM", refused(ENDLESS, frame(DATA, 0, 1, b"test"), headers(1, [("x-a", "1")], END_HEADERS), codes=PROTOCOL)),
    ("8.1 trailers", answered(headers(1, head("POST"), END_HEADERS), frame(DATA, 0, 1, b"test"), headers(1, [("x-a", "1")]))),
    ("8.2.1 a name in upper case", malformed(head(more=[("X-A", "1")]))),
    ("8.2.1 a name with a space", malformed(head(more=[("x a", "1")]))),
    ("8.2.1 a value with a line feed", malformed(head(more=[("x-a", "1\n2")]))),
    ("8.2.1 a value with NUL", malformed(head(more=[("x-a", "1\x002")]))),
    ("8.2.1 a value that begins with a space", malformed(head(more=[("x-a", " 1")]))),
    ("8.2.2 connection", malformed(head(more=[("connection", "keep-alive")]))),
    ("8.2.2 transfer-encoding", malformed(head("POST", more=[("transfer-encoding", "chunked")]))),
    ("8.2.2 te other than trailers", malformed(head(more=[("te", "trailers, deflate")]))),
    ("8.3 an unknown pseudo-field", malformed(head(more=[(":test", "1")]))),
    ("8.3 a pseudo-field of answers", malformed(head(more=[(":status", "200")]))),
    ("8.3 a pseudo-field in trailers", malformed(head("POST"), frame(DATA, 0, 1, b"test") + headers(1, [(":method", "GET")]), END_HEADERS, or_dropped=True)),
    ("8.3 a pseudo-field after others", malformed([(":method", "GET"), (":scheme", "https"), (":path", "/"), ("x-a", "1"), (":authority", "a.test")])),
    ("8.3.1 an empty :path", malformed(head(path=""))),
    ("8.3.1 no :method", malformed(head()[1:])),
    ("8.3.1 no :scheme", malformed([one for one in head() if one[0] != ":scheme"])),
    ("8.3.1 no :path", malformed([one for one in head() if one[0] != ":path"])),
    ("8.3.1 two :method", malformed([(":method", "GET"), *head()])),
    ("8.3.1 two :scheme", malformed([(":scheme", "https"), *head()])),
    ("8.3.1 two :path", malformed([(":path", "/"), *head()])),
    ("8.3.1 :authority and another host", malformed(head(more=[("host", "b.test")]))),
    ("8.1.1 content-length of another length, one frame", malformed(head("POST", more=[("content-length", "1")]), frame(DATA, END_STREAM, 1, b"test"), END_HEADERS)),
    ("8.1.1 content-length of another length, two frames", malformed(head("POST", more=[("content-length", "9")]), frame(DATA, 0, 1, b"te") + frame(DATA, END_STREAM, 1, b"st"), END_HEADERS)),
    ("8.1.1 content-length without content", malformed(head("POST", more=[("content-length", "4")]))),
    ("HPACK 2.3.3 an index beyond the tables", refused(headers(1, block(head()) + b"\xc6"), codes=COMPRESSION, scope="connection")),
    ("HPACK 4.2 a table size after fields", refused(headers(1, block(head()) + b"\x20"), codes=COMPRESSION, scope="connection")),
    ("HPACK 5.2 padding of more than 7 bits", refused(headers(1, block(head()) + b"\0\1a\x84\x49\x50\x9f\xff"), codes=COMPRESSION, scope="connection")),
    ("HPACK 5.2 padding that is not of EOS", refused(headers(1, block(head()) + b"\0\1a\x83\x49\x50\x90"), codes=COMPRESSION, scope="connection")),
    ("HPACK 5.2 EOS inside", refused(headers(1, block(head()) + b"\0\1a\x88\xf2\xb2\x4a\x84\xff\xff\xff\xff"), codes=COMPRESSION, scope="connection")),
    ("HPACK 6.1 an index of 0", refused(headers(1, block(head()) + b"\x80"), codes=COMPRESSION, scope="connection")),
    ("HPACK 6.3 a table larger than allowed", refused(headers(1, b"\x3f\xe1\xff\x03" + block(head())), codes=COMPRESSION, scope="connection")),
]


def checks(server, origin):
    for name, do in SECTIONS:
        section, _, rest = name.partition(" ")
        if section == "HPACK":
            number, _, rest = rest.partition(" ")
            yield rest, f"RFC 7541 {number}", lambda do=do: do(server)
        else:
            yield rest, f"RFC 9113 {section}", lambda do=do: do(server)
