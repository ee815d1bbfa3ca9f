"""Real applications behind an edge and a node of edge-proxyd, each driven by its own client; then the same through nginx, configured
as its documentation says. Prints a line a fact, and one for each difference."""

import argparse
import sys
import tempfile
import time
import traceback

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--edge", required=True, help="the program edge-proxyd")
parser.add_argument("--tools", required=True, help="the folder of the tools")
parser.add_argument("--quick", action="store_true", help="less content, and without what takes long to start")
parser.add_argument("--only", help="applications, with commas between them")
arguments = parser.parse_args()
for folder in ["python-applications-long", "python-applications", "python"]:
    sys.path.insert(0, f"{arguments.tools}/{folder}")

import calendars  # noqa: E402
import databases  # noqa: E402
import lab as labs  # noqa: E402
import notifications  # noqa: E402
import repositories  # noqa: E402
import streams  # noqa: E402

APPLICATIONS = {
    "git": repositories.git,
    "limit": repositories.limit,
    "npm": repositories.verdaccio,
    "registry": repositories.images,
    "calendar": calendars.radicale,
    "dav": calendars.wsgidav,
    "mqtt": streams.mosquitto,
    "grpc": streams.grpc,
    "headscale": streams.headscale,
    "jupyter": streams.jupyter,
    "ntfy": notifications.ntfy,
    "miniflux": databases.miniflux,
    "synapse": databases.synapse,
}
# The differences between nginx by each documentation and edge-proxyd, by the name of the fact.
EXPLAINED = {
    "headscale's tunnel is there after 10 minutes without a byte": "its documentation leaves proxy_read_timeout at 60 s, which ends "
    "a tunnel without a byte; not waited for",
}
# Applications that take long to install or to start are left to the long form.
SLOW = {"jupyter", "npm"}

names = arguments.only.split(",") if arguments.only else [n for n in APPLICATIONS if not (arguments.quick and n in SLOW)]
labs.own_hosts(names)
began = time.monotonic()
with tempfile.TemporaryDirectory(prefix="applications-") as folder:
    lab = labs.Lab(folder, arguments.edge, arguments.tools, arguments.quick)
    folders = [f"{lab.tools}/python-applications{more}" for more in ["", "-long"]]
    lab.environment["PYTHONPATH"] = ":".join(folders)
    lab.environment["PYTHONNOUSERSITE"] = "1"
    try:
        drives = {name: APPLICATIONS[name](lab) for name in names}
        lab.proxies()
        for through, domain in [("edge", labs.DOMAIN), ("nginx", labs.BESIDE)]:
            lab.through = through
            for name, drive in drives.items():
                # nginx is what is compared with: a failure of its own counts only if it repeats.
                for last in [True] if through == "edge" else [False, False, True]:
                    known = set(lab.beside)
                    try:
                        drive(f"{name}.{domain}")
                        lab.beside.pop(name, None)
                    except Exception as error:
                        lab.fact(name, False, error)
                        traceback.print_exc()
                        for log in ["proxy-edge", "proxy-node"] if through == "edge" else ["beside"]:
                            print(f"{log}:\n{lab.log(log, 8)}", flush=True)
                    if last or not lab.fails_alone(set(lab.beside) - known, EXPLAINED):
                        break
                    print(f"{name} fails through nginx alone: again", flush=True)
                    for fact in set(lab.beside) - known:
                        del lab.beside[fact]
        lab.through = "edge"
        lab.compare(EXPLAINED)
    finally:
        lab.stop()
failed = [name for name, ok in lab.facts if not ok]
print(f"{len(lab.facts)} facts, {len(failed)} failed, {time.monotonic() - began:.0f} s")
sys.exit(1 if failed or not lab.facts else 0)
