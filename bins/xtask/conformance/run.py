"""Runs the judges against the servers, and says what they said: as JSON, and as a table in Markdown."""

import argparse
import importlib
import json
import pathlib
import sys
import tempfile
import time
import traceback

import lab

JUDGES = ["http1", "http2", "quic", "tls", "clients", "slow"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", required=True, help="the program edge-proxyd")
    parser.add_argument("--nginx", help="the folder with an nginx unpacked")
    parser.add_argument("--tools", required=True, help="the folder of tools")
    parser.add_argument("--quick", action="store_true", help="what is done in less than a minute")
    parser.add_argument("--only", help="these judges, with commas between")
    parser.add_argument("--markdown", help="where the table is written")
    args = parser.parse_args()
    judges = args.only.split(",") if args.only else JUDGES
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
            for judge in judges:
                module = importlib.import_module(judge)
                module.TOOLS, module.QUICK = pathlib.Path(args.tools), args.quick
                began = time.monotonic()
                for server in servers:
                    run(judge, module, server, origin, results)
                versions.update(getattr(module, "VERSIONS", {}))
                print(f"{judge}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        finally:
            for server in servers:
                server.stop()
    names = [server.name for server in servers]
    failed = [key for key, found in results.items() if found.get("edge-proxyd", ("fail", ""))[0] == "fail"]
    for judge, check, where in failed:
        detail = results[judge, check, where].get("edge-proxyd", ("", "was not run"))[1]
        print(f"edge-proxyd failed: {judge}: {check} ({where}): {detail}")
    for name in names:
        said = [found[name][0] for found in results.values() if name in found]
        print(f"{name}: {said.count('pass')} passed, {said.count('partly')} in other words, {said.count('fail')} failed, {said.count('none')} do not apply")
    if args.markdown:
        pathlib.Path(args.markdown).write_text(markdown(results, names, versions))
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def run(judge, module, server, origin, results):
    for check, where, do in module.checks(server, origin):
        try:
            verdict, detail = do()
        except Exception as why:
            traceback.print_exc()
            verdict, detail = "fail", f"{type(why).__name__}: {why}"
        if not server.alive():
            verdict, detail = "fail", "it ended or panicked"
        results.setdefault((judge, check, where), {})[server.name] = (verdict, detail)


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
    for judge, title in TITLES.items():
        rows = [(key, found) for key, found in results.items() if key[0] == judge]
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
