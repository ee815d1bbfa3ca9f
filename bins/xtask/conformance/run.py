"""Run the conformance suites against the servers, and print the results or write them as a table in Markdown."""

import argparse
import importlib
import json
import pathlib
import sys
import tempfile
import time
import traceback

import lab

SUITES = ["http1", "http2", "quic", "tls", "clients", "slow"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", required=True, help="the edge-proxyd program")
    parser.add_argument("--nginx", help="the folder of an unpacked nginx")
    parser.add_argument("--tools", required=True, help="the tools folder")
    parser.add_argument("--quick", action="store_true", help="only checks that take less than a minute")
    parser.add_argument("--only", help="only these suites, separated by commas")
    parser.add_argument("--markdown", help="write the table to this file")
    args = parser.parse_args()
    suites = args.only.split(",") if args.only else SUITES
    results, versions = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        lab.certificates(folder)
        origin = lab.Origin()
        servers = [lab.edge_proxyd(str(pathlib.Path(args.edge).resolve()), folder, origin)]
        try:
            if args.nginx:
                servers.append(lab.nginx(pathlib.Path(args.nginx).resolve(), folder, origin))
            for suite in suites:
                module = importlib.import_module(suite)
                module.TOOLS, module.QUICK = pathlib.Path(args.tools), args.quick
                began = time.monotonic()
                for server in servers:
                    run(suite, module, server, origin, results)
                versions.update(getattr(module, "VERSIONS", {}))
                print(f"{suite}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        finally:
            for server in servers:
                server.stop()
    names = [server.name for server in servers]
    failed = [key for key, found in results.items() if found.get("edge-proxyd", ("fail", ""))[0] == "fail"]
    for suite, check, where in failed:
        detail = results[suite, check, where].get("edge-proxyd", ("", "was not run"))[1]
        print(f"edge-proxyd failed: {suite}: {check} ({where}): {detail}")
    for name in names:
        said = [found[name][0] for found in results.values() if name in found]
        print(f"{name}: {said.count('pass')} passed, {said.count('partly')} refused in another way, {said.count('fail')} failed, {said.count('none')} do not apply")
    if args.markdown:
        pathlib.Path(args.markdown).write_text(markdown(results, names, versions))
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def run(suite, module, server, origin, results):
    for check, where, do in module.checks(server, origin):
        try:
            verdict, detail = do()
        except Exception as why:
            traceback.print_exc()
            verdict, detail = "fail", f"{type(why).__name__}: {why}"
        if not server.alive():
            verdict, detail = "fail", "the server exited or panicked"
        results.setdefault((suite, check, where), {})[server.name] = (verdict, detail)


TITLES = {
    "http1": "HTTP/1.1: requests by hand",
    "http2": "HTTP/2: frames by hand, with hyper-h2's hyperframe and hpack, in the order of h2spec's sections",
    "quic": "QUIC and HTTP/3: aioquic",
    "tls": "TLS: sslyze, testssl.sh, tlslite-ng",
    "clients": "Clients: curl, h2load, Chromium",
    "slow": "Slow clients: slowhttptest",
}


def markdown(results, names, versions):
    signs = {"pass": "✓", "partly": "≈", "fail": "✗", "none": "–"}
    lines = []
    for suite, title in TITLES.items():
        rows = [(key, found) for key, found in results.items() if key[0] == suite]
        if not rows:
            continue
        lines += [f"## {title}", ""]
        said = {name: [found.get(name, ("none", ""))[0] for _, found in rows] for name in names}
        counts = [f"{name}: {said[name].count('pass')} ✓, {said[name].count('partly')} ≈, {said[name].count('fail')} ✗" for name in names]
        lines += [", ".join(counts) + ".", "", f"| check | by | {' | '.join(names)} |", "|-|-|" + "-|" * len(names)]
        for (_, check, where), found in rows:
            cells = []
            for name in names:
                verdict, detail = found.get(name, ("none", ""))
                detail = " ".join(str(detail).split()).replace("|", "\\|")[:90]
                detail = "".join(c for c in detail if c.isprintable())
                cells.append(f"{signs[verdict]} {detail}".strip())
            lines.append(f"| {check} | {where} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
