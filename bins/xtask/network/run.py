"""edge-proxyd over links as phones have them, beside nginx and Caddy: rows of a table, and facts that must hold.

usage: run.py --edge PROGRAM --tools FOLDER [--quick] [--only ROW] [--out FILE]"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from lab import NAMES, Lab
from link import SERVER

HERE = pathlib.Path(__file__).parent
VERSIONS = {"HTTP/2": ("--http2", "h2"), "HTTP/3": ("--http3-only", "h3")}
# A row may be this much worse than the better peer.
MOST = 1.3


FOOTNOTES = {
    "¹": "curl's QUIC library splits the server name over both datagrams of its ClientHello. Until the name is known, edge-proxyd "
    "acknowledges a part only for clients that completed a handshake within the last 12 hours, as the client of these rows has. At "
    "its first visit a client whose datagram is lost asks again after its own timer, which is a second.",
    "²": "More than 1.3 times the better peer. Until a client's address is validated, at most three times as many bytes are sent as it "
    "has sent: a lost datagram of a long chain is then repeated only when the client's own timer of a second has it send again. nginx "
    "and Caddy answer half a ClientHello of any client. A server whose handshakes did not complete in a tenth of the tries has no "
    "figure. Such a row fails above 2.5 s at 10% loss, and above 6 s at 20%.",
    "³": "More than 1.3 times the better peer, and less than a tenth of a second more: the download, which fills the link, has that "
    "much in the link's queue of 250 kB at 20 Mbit/s, and the small response arrives behind it. Such a row fails at twice the better "
    "peer and a tenth of a second more.",
    "⁴": "The client's first datagrams must have been answered: quinn-proto drops packets from another address before, so that a "
    "client whose port changes in the first round trip of the handshake has to begin again.",
}


# What is to be known of a comparison.
REMARKS = {
    "Congestion control of HTTP/3": "Each figure is the median of three transfers with random loss, and varies by a quarter. `cubic` is the "
    "default, since it yields where a queue is full; without loss it is the faster one. `bbr` is for paths that lose much.",
    "Services by `h2://`": "A row fails where `h2://` takes more than 1.3 times as long as `https://` and 0.3 s of slack. Its windows "
    "begin small and grow with what the service takes, which costs an upload a round trip.",
}


class Table:
    """Rows: a title, and a figure for each server. A lower figure is better."""

    def __init__(self):
        self.rows, self.failed, self.comparisons = [], [], {}

    def row(self, title, unit, figures, most=MOST, slack=0.0, mark="", note=None, worse=""):
        """Adds a row, with the mark of a footnote, or with the mark `worse` if it does not fail, but is above the better peer's by
        more than the usual. It fails if the edge's figure is missing, or above the better peer's by more than
        `most` and `slack`; with a note, which is a bound and the mark of a footnote, only if it is above that bound, too."""
        own = figures.get("edge")
        peers = [figure for who, figure in figures.items() if who != "edge" and figure is not None]
        ratio = own / min(peers) if own is not None and peers and min(peers) > 0 else None
        ok = own is not None and (not peers or own <= min(peers) * most + slack)
        if not ok and own is not None and note and own <= note[0]:
            return self.add(title, unit, figures, ratio, True, note[1])
        # A row above the usual bound has a reason, whatever its own bound is.
        if ok and ratio and ratio > MOST and worse:
            mark = worse
        self.add(title, unit, figures, ratio, ok, mark)

    def bound(self, title, unit, figures, bound):
        """Adds a row whose figure of the edge must not exceed a bound."""
        own = figures.get("edge")
        self.add(title, unit, figures, None, own is not None and own <= bound, f"≤ {bound:g}")

    def add(self, title, unit, figures, ratio, ok, wanted=""):
        self.rows.append((title, unit, figures, ratio, ok, wanted))
        if not ok:
            self.failed.append(title)
        shown = ", ".join(f"{who} {text(figure)}" for who, figure in figures.items())
        print(f"{'ok' if ok else 'FAILED':<7} {title}: {shown} {unit} {wanted}", flush=True)

    def compare(self, heading, title, figures, ok=True, unit="s"):
        """Adds a row to a table of its own, whose columns are the names of the figures."""
        self.comparisons.setdefault(heading, []).append((title, figures, ok, unit))
        if not ok:
            self.failed.append(f"{heading}: {title}")
        shown = ", ".join(f"{who} {text(figure)}" for who, figure in figures.items())
        print(f"{'ok' if ok else 'FAILED':<7} {heading}, {title}: {shown} {unit}", flush=True)

    def further(self):
        """Returns the tables of comparisons."""
        pages = ""
        for heading, rows in self.comparisons.items():
            columns = list(rows[0][1])
            remark = f"{REMARKS[heading]}\n\n" if heading in REMARKS else ""
            pages += f"\n## {heading}\n\n{remark}| link | {' | '.join(columns)} | |\n|-|{'-|' * len(columns)}-|\n"
            for title, figures, ok, unit in rows:
                cells = " | ".join(f"{text(figures.get(one))} {unit}".strip() for one in columns)
                pages += f"| {title} | {cells} | {'✓' if ok else '✗'} |\n"
        return pages

    def markdown(self, who):
        head = f"| link and work | {' | '.join(who)} | of the better peer | |\n|-|{'-|' * len(who)}-|-|\n"
        lines = ""
        for title, unit, figures, ratio, ok, wanted in self.rows:
            cells = " | ".join(f"{text(figures.get(one))} {unit}".strip() for one in who)
            lines += f"| {title} | {cells} | {f'{ratio:.2f}' if ratio else wanted} | {'✓' if ok else '✗'}{wanted if wanted in FOOTNOTES else ''} |\n"
        return head + lines


def text(figure):
    return "–" if figure is None else f"{figure:.2f}" if figure < 100 else f"{figure:.0f}"


def mbit(n):
    return n * 1e6 / 8


def each(lab, measure):
    return {who: measure(who) for who in lab.ports}


def fair(lab, table, quick):
    """Equal downloads of one connection end alike."""
    seconds = 6 if quick else 12
    for name, (version, _) in VERSIONS.items():
        for rate, count in [(10, 3)] if quick else [(10, 3), (4, 5)]:
            lab.link({"delay": 0.01}, down={"rate": mbit(rate), "queue": 100_000})

            def measure(who):
                _, found = lab.fetch(who, version, ["/size/30000000"] * count, seconds=seconds)
                sizes = [size for _, size, _, _ in found]
                return max(sizes) / max(1, min(sizes)) if len(sizes) == count else None

            title = f"{count} equal downloads, {rate} Mbit/s, {name}: most bytes to least"
            # In the short time of the quick form, beside other work, the beginnings of the downloads count for more.
            table.bound(title, "", {"edge": measure("edge")} if quick else each(lab, measure), 2.5 if quick else 1.5)


def beside(lab, table, quick):
    """Small requests beside a large download of the same connection."""
    seconds = 7 if quick else 15
    for name, (_, version) in VERSIONS.items():
        for rate, queue in [(20, 250_000)] if quick else [(20, 250_000), (2, 64_000)]:
            for priorities in [False] if quick else [False, True]:
                lab.link({"delay": 0.025}, down={"rate": mbit(rate), "queue": queue})

                def measure(who):
                    command = [sys.executable, "-B", str(HERE / "mixed.py"), version, "small.test", SERVER, str(lab.ports[who])]
                    command += [lab.ca, str(seconds), *(["priorities"] if priorities else [])]
                    _, output = lab.on_client(command, seconds + 30)
                    took = [float(line) for line in output.split()]
                    return statistics.median(took) if len(took) > 3 else None

                slack = 0.6 if quick else 0.1
                more = ", with priorities" if priorities else ""
                title = f"1 kB beside a large download, {rate} Mbit/s, {name}{more}: median"
                table.row(title, "s", each(lab, measure), 2.0, slack, worse="³")


def handshakes(lab, table, quick):
    """Handshakes over QUIC through loss in both directions."""
    for loss in [0.1] if quick else [0.1, 0.2]:
        tries = 6 if quick else 50 if loss <= 0.1 else 40
        for host in ["large.test"] if quick else list(NAMES):

            def measure(who):
                took = []
                for seed in range(tries):
                    lab.link({"delay": 0.025, "loss": loss}, seed=seed)
                    _, found = lab.fetch(who, "--http3-only", ["/size/100"], host, 20)
                    took += [first for code, _, first, _ in found if code == 200]
                return sorted(took)

            took = each(lab, measure) if not quick else {"edge": measure("edge")}
            title = f"HTTP/3 handshakes, {loss:.0%} loss each way, chain of {host.split('.')[0]} length"
            lost = {who: tries - len(found) for who, found in took.items()}
            table.bound(f"{title}: not completed of {tries}", "", lost, 0 if loss <= 0.1 else tries / 10)
            if not quick:
                # A handshake that was not completed took longer than any other.
                at = int(tries * 0.9)
                nth = {who: found[at] if len(found) > at else None for who, found in took.items()}
                # The longer the chain, the more datagrams can be lost that are no matter of the ClientHello.
                note = None if host == "small.test" and loss <= 0.1 else (2.5 if loss <= 0.1 else 6, "²")
                table.row(f"{title}: p90", "s", nth, MOST, 0.1, "¹", note, worse="²")


def hello(lab, table, quick):
    """A ClientHello in two datagrams, one of which is lost or late; the first datagrams of the server's flight lost."""
    cases = [
        ("first datagram of the ClientHello lost", {"up": {"drop": [0]}}, "small.test"),
        ("second datagram of the ClientHello lost", {"up": {"drop": [1]}}, "small.test"),
        ("first datagram of the ClientHello 300 ms late", {"up": {"late": {0: 0.3}}}, "small.test"),
        ("second datagram of the ClientHello 300 ms late", {"up": {"late": {1: 0.3}}}, "small.test"),
        ("first datagram of the server lost, long chain", {"down": {"drop": [0]}}, "large.test"),
    ]
    for title, change, host in cases[4:] if quick else cases:

        def measure(who):
            took = []
            for _ in range(2 if quick else 4):
                lab.link({"delay": 0.025}, **change)
                _, found = lab.fetch(who, "--http3-only", ["/size/100"], host, 10)
                took += [first for code, _, first, _ in found if code == 200]
            return min(took) if took else None

        table.row(f"HTTP/3, {title}: first byte", "s", each(lab, measure), MOST, 0.15, "¹" if "up" in change else "")


def uploads(lab, table, quick):
    """Uploads over long paths."""
    size = 5_000_000
    (lab.folder / "content").write_bytes(bytes(size))
    for delay in [0.05] if quick else [0.01, 0.05, 0.15]:
        versions = [("HTTP/2", "--http2"), ("HTTP/1.1", "--http1.1"), ("HTTP/3", "--http3-only")]
        for name, version in versions[: 1 if quick else 3]:

            def measure(who):
                lab.link({"delay": delay, "rate": mbit(60), "queue": 1_000_000})
                more = ["--data-binary", f"@{lab.folder}/content", "-H", "Expect:"]
                _, found = lab.fetch(who, version, ["/take"], seconds=30, more=more)
                return found[0][3] if found and found[0][0] == 200 else None

            title = f"{size // 1_000_000} MB up, round trip {delay * 2000:.0f} ms, {name}"
            table.row(title, "s", each(lab, measure), MOST, 0.3)


def downloads(lab, table, quick):
    """Downloads over long paths, and through loss."""
    cases = [(0.1, 0.0, 2)] if quick else [(0.01, 0, 10), (0.05, 0, 10), (0.1, 0, 2), (0.15, 0, 10), (0.05, 0.002, 5), (0.05, 0.01, 2)]
    for delay, loss, size in cases:

        def measure(who):
            took = []
            for seed in range(1 if not loss else 4):
                lab.link({"delay": delay}, down={"loss": loss, "rate": mbit(60), "queue": 500_000}, seed=seed)
                _, found = lab.fetch(who, "--http3-only", [f"/size/{size}000000"], seconds=60)
                took += [total for code, got, _, total in found if got == size * 1_000_000]
            return statistics.median(took) if took else None

        title = f"{size} MB down, round trip {delay * 2000:.0f} ms, {loss:.1%} loss, HTTP/3"
        if quick:
            table.bound(title, "s", {"edge": measure("edge")}, 4)
        else:
            table.row(title, "s", each(lab, measure), MOST, 0.2)


def controllers(lab, table, quick):
    """The controllers of congestion of HTTP/3, over paths of every kind."""
    if quick:
        return
    for delay in [0.01, 0.05, 0.15]:
        for loss, size in [(0, 5), (0.002, 5), (0.01, 2), (0.05, 1)]:

            def measure(who):
                took = []
                for seed in range(3 if loss else 1):
                    lab.link({"delay": delay}, down={"loss": loss, "rate": mbit(60), "queue": 500_000}, seed=seed)
                    _, found = lab.fetch(who, "--http3-only", [f"/size/{size}000000"], seconds=90)
                    took += [total for code, got, _, total in found if got == size * 1_000_000]
                return statistics.median(took) if took else None

            figures = {"cubic": measure("edge"), "bbr": measure("bbr"), "caddy": measure("caddy")}
            title = f"{size} MB down, round trip {delay * 2000:.0f} ms, {loss:.1%} loss"
            table.compare("Congestion control of HTTP/3", title, figures, figures["cubic"] is not None and figures["bbr"] is not None)
    # How a download by TCP, with the controller of this kernel, and one over HTTP/3 share a link.
    tcp = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    figures = {}
    for who, name in [("edge", "cubic"), ("bbr", "bbr")]:
        lab.link({"delay": 0.025}, down={"rate": mbit(10), "queue": 60_000})
        sizes = {}

        def fetch(version):
            _, found = lab.fetch(who, version, ["/size/60000000"], seconds=15)
            sizes[version] = found[0][1] if found else 0

        both = [threading.Thread(target=fetch, args=(version,)) for version in ("--http2", "--http3-only")]
        for one in both:
            one.start()
        for one in both:
            one.join()
        figures[f"HTTP/3 with {name}"] = sizes["--http3-only"] / max(1, sum(sizes.values()))
    table.compare("Share of HTTP/3 beside TCP", f"10 Mbit/s, round trip 50 ms, {tcp} for TCP", figures, unit="")


def hop(lab, table, quick):
    """Transfers between two edges over a long path: HTTP/2 beside HTTP/1.1."""
    if quick:
        return
    (lab.folder / "content").write_bytes(bytes(5_000_000))
    for delay in [0.01, 0.05, 0.15]:
        for title, path, more in [("down", "/size/5000000", []), ("up", "/take", ["--data-binary", f"@{lab.folder}/content"])]:
            figures = {}
            for scheme in ("h2", "https"):
                lab.link({"delay": delay, "rate": mbit(60), "queue": 1_000_000})
                # The first of each has a connection made.
                lab.through_front(scheme, "/size/100")
                took = [lab.through_front(scheme, path, more=[*more, "-H", "Expect:"]) for _ in range(3)]
                figures[f"{scheme}://"] = statistics.median(took) if None not in took else None
            two, one = figures["h2://"], figures["https://"]
            ok = two is not None and one is not None and two <= one * MOST + 0.3
            table.compare("Services by `h2://`", f"5 MB {title}, round trip {delay * 2000:.0f} ms", figures, ok)


def moving(lab, table, quick):
    """The client's address changes, as behind a NAT that forgets it: in the middle of a download, and in the handshake."""
    for title, delay, at, size in [
        ("in a download", 0.025, 0.8, 4_000_000),
        ("in the handshake, at 1.3 round trips", 0.1, 0.26, 100),
    ][: 1 if quick else 2]:

        def measure(who):
            properties = {"delay": delay, "rate": mbit(20), "queue": 100_000}
            lab.link(properties, shift=0)
            port = lab.ports[who]
            command = [*lab.client, lab.curl, "-sS", "--http3-only", "--cacert", lab.ca, "--max-time", "20", "-o", "/dev/null"]
            command += ["--resolve", f"small.test:{port}:{SERVER}", "-w", "%{size_download}", f"https://small.test:{port}/size/{size}"]
            begin = time.monotonic()
            client = subprocess.Popen(command, stdout=subprocess.PIPE)
            time.sleep(at)
            lab.link(properties, shift=77)
            got = client.communicate()[0]
            return time.monotonic() - begin if got == str(size).encode() else None

        title = f"port changes {title}, HTTP/3"
        if quick:
            table.bound(title, "s", {"edge": measure("edge")}, 8)
        else:
            table.row(title, "s", each(lab, measure), MOST, 1.0, "⁴" if "handshake" in title else "")
    lab.link()


def shrinking(lab, table, quick):
    """The path's MTU shrinks in the middle of a download."""

    def measure(who):
        properties = {"delay": 0.025, "rate": mbit(20), "queue": 100_000}
        lab.link(properties)
        begin = time.monotonic()
        later = threading.Timer(0.7, lambda: lab.link({**properties, "mtu": 1280}))
        later.start()
        _, found = lab.fetch(who, "--http3-only", ["/size/4000000"], seconds=20)
        later.join()
        return time.monotonic() - begin if found and found[0][1] == 4_000_000 else None

    title = "MTU shrinks to 1280 in a download, HTTP/3"
    if quick:
        table.bound(title, "s", {"edge": measure("edge")}, 15)
    else:
        table.row(title, "s", each(lab, measure), MOST, 1.0)
    lab.link()


ROWS = [fair, beside, handshakes, hello, uploads, downloads, controllers, hop, moving, shrinking]

PAGE = """# Networks

`cargo xtask network` generates this page: edge-proxyd with defaults, nginx and Caddy on one machine, each behind the same link, a
relay between two network namespaces with delay, loss, a rate and a queue (`bins/xtask/network`). The clients are curl with HTTP/3
(ngtcp2), aioquic and h2. A figure is a time in seconds, except where it says otherwise; lower is better. A row fails where
edge-proxyd takes more than {most} times as long as the better of the two others and a tenth to a second of slack, or where its own
bound is exceeded.

{table}
{notes}
{further}"""


def missing():
    """Returns why no link can be made here: a kernel without TUN devices, or not root."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as why:
        return f"/dev/net/tun: {why.strerror}"


def main():
    parser = argparse.ArgumentParser()
    for name in ("--edge", "--tools", "--only", "--out"):
        parser.add_argument(name)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    began, table = time.monotonic(), Table()
    if arguments.quick and (why := missing()):
        print(f"network: NOT RUN: {why}")
        return
    with tempfile.TemporaryDirectory(prefix="network-") as folder:
        lab = Lab(folder, arguments.edge, arguments.tools, not arguments.quick)
        try:
            for row in ROWS:
                if arguments.only in (None, row.__name__):
                    row(lab, table, arguments.quick)
            ended = lab.alive()
            who = list(lab.ports)
        finally:
            lab.stop()
    if ended:
        table.failed.append(f"ended by themselves: {', '.join(ended)}")
    notes = "\n".join(f"{mark} {text}" for mark, text in FOOTNOTES.items())
    if arguments.out:
        pathlib.Path(arguments.out).write_text(PAGE.format(most=MOST, table=table.markdown(who), notes=notes, further=table.further()))
    took = time.monotonic() - began
    print(f"network: {len(table.rows)} rows, {len(table.failed)} failed in {took:.0f} s {'; '.join(table.failed)}")
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
