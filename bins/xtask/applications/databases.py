"""Applications with a database: a reader of feeds, and a server of Matrix."""

import base64
import contextlib
import hashlib
import http.client
import http.cookies
import http.server
import json
import os
import re
import ssl
import threading
import time
import urllib.parse

import lab as labs
import postgres

FEED = """<?xml version="1.0"?>
<rss version="2.0"><channel><title>News</title><link>http://127.0.0.1:3013/</link><description>x</description>
<item><title>First &amp; last</title><link>http://127.0.0.1:3013/1</link><guid>1</guid><description>Text</description></item>
</channel></rss>
"""


class Client:
    """A client of one site, from an address of its own, over one connection."""

    def __init__(self, lab, host, address="127.0.0.1", timeout=60):
        context = ssl.create_default_context(cafile=lab.ca)
        self.connection = http.client.HTTPSConnection(
            host, context=context, timeout=timeout, source_address=(address, 0)
        )

    def ask(self, method, path, body=None, fields=None):
        """Returns the status, the fields and the content."""
        self.connection.request(method, path, body, fields or {})
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()


def miniflux(lab):
    """miniflux with PostgreSQL: a login by its form, a feed, and its entries."""
    server = postgres.of(lab)

    class Feed(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/rss+xml")
            self.end_headers()
            self.wfile.write(FEED.encode())

        def log_message(self, *_):
            pass

    feeds = http.server.ThreadingHTTPServer(("127.0.0.1", 3013), Feed)
    threading.Thread(target=feeds.serve_forever, daemon=True).start()
    environment = {
        "DATABASE_URL": server.url("miniflux"),
        "RUN_MIGRATIONS": "1",
        "CREATE_ADMIN": "1",
        "ADMIN_USERNAME": "ann",
        "ADMIN_PASSWORD": "a long password",
        "LISTEN_ADDR": "127.0.0.1:3012",
        "BASE_URL": f"https://miniflux.{labs.DOMAIN}/",
        "DISABLE_SCHEDULER_SERVICE": "1",
    }
    lab.start("miniflux", [f"{lab.tools}/applications/bin/miniflux"], 3012, environment)
    # As miniflux's documentation has it.
    nginx = f"location / {{ {labs.USUAL} proxy_redirect off; proxy_pass http://127.0.0.1:3012; }}"
    lab.site("miniflux", 3012, nginx=nginx)

    def drive(host):
        client, jar = Client(lab, host), http.cookies.SimpleCookie()

        def browse(method, path, body=None):
            fields = {"Cookie": "; ".join(f"{name}={one.value}" for name, one in jar.items())} if jar else {}
            if body is not None:
                fields["Content-Type"] = "application/x-www-form-urlencoded"
                body = urllib.parse.urlencode(body)
            status, received, content = client.ask(method, path, body, fields)
            for line in received.get_all("Set-Cookie") or []:
                jar.load(line)
            return status, received, content.decode()

        token = re.search(r'name="csrf" value="([^"]+)"', browse("GET", "/")[2]).group(1)
        form = {"csrf": token, "username": "ann", "password": "a long password"}
        status, received, _ = browse("POST", "/login", form)
        home = browse("GET", "/unread")[0]
        secure = all(one["secure"] for one in jar.values())
        detail = (status, received["Location"], home, secure)
        lab.fact("miniflux takes a login by its form, with cookies for TLS alone", (status, home, secure) == (302, 200, True), detail)

        fields = {"Authorization": "Basic " + base64.b64encode(b"ann:a long password").decode(), "Content-Type": "application/json"}
        wanted = json.dumps({"feed_url": f"http://127.0.0.1:3013/{lab.through}.xml", "category_id": 1})
        made, _, content = client.ask("POST", "/v1/feeds", wanted, fields)
        feed = json.loads(content).get("feed_id")
        entries = json.loads(client.ask("GET", f"/v1/feeds/{feed}/entries", None, fields)[2]).get("entries", [])
        titles = [entry["title"] for entry in entries]
        change = json.dumps({"entry_ids": [entry["id"] for entry in entries], "status": "read"})
        marked = client.ask("PUT", "/v1/entries", change, fields)[0]
        lab.fact("miniflux fetches a feed and keeps its entries", (made, titles, marked) == (201, ["First & last"], 204), (made, titles, marked))

    return drive


SYNAPSE = """server_name: "{domain}"
public_baseurl: "https://synapse.{domain}/"
pid_file: "{folder}/pid"
report_stats: false
media_store_path: "{folder}/media"
signing_key_path: "{folder}/signing.key"
macaroon_secret_key: "a"
form_secret: "b"
trusted_key_servers: []
suppress_key_server_warning: true
enable_registration: true
enable_registration_without_verification: true
max_upload_size: "50M"
listeners:
  - {{ port: 3014, type: http, tls: false, x_forwarded: true, bind_addresses: ["127.0.0.1"], resources: [{{ names: [client] }}] }}
database:
  name: psycopg2
  args: {{ user: synapse, password: "{password}", dbname: synapse, host: 127.0.0.1, port: 5432, cp_min: 1, cp_max: 4 }}
"""


def synapse(lab):
    """matrix-synapse with PostgreSQL: a long poll that an event ends and one that its time ends, and media of 50 MB."""
    server = postgres.of(lab)
    folder = lab.path("synapse")
    os.makedirs(folder)
    with open(f"{folder}/homeserver.yaml", "w") as file:
        file.write(SYNAPSE.format(domain=labs.DOMAIN, folder=folder, password=server.passwords["synapse"]))
    with open(f"{folder}/signing.key", "w") as file:
        file.write(f"ed25519 a_test {base64.b64encode(os.urandom(32)).decode().rstrip('=')}\n")
    command = ["/usr/bin/python3", "-m", "synapse.app.homeserver", "-c", f"{folder}/homeserver.yaml"]
    lab.start("synapse", command, 3014, {"PYTHONPATH": f"{lab.tools}/python-synapse"}, folder, wait=120)
    # As Synapse's documentation has it.
    fields = "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;"
    nginx = (
        "location ~ ^(/_matrix|/_synapse/client) { proxy_pass http://127.0.0.1:3014; client_max_body_size 50M; "
        f"{fields} proxy_set_header Host $host:$server_port; proxy_http_version 1.1; }}"
    )
    lab.site("synapse", 3014, nginx=nginx)

    def drive(host):
        address = "127.0.0.31" if lab.through == "edge" else "127.0.0.32"
        name = f"ann-{lab.through}-{os.urandom(4).hex()}"
        client = Client(lab, host, address)
        fields = {"Content-Type": "application/json"}

        def ask(method, path, body=None, by=client, limit="/_matrix/client/v3"):
            content = None if body is None else json.dumps(body)
            status, _, content = by.ask(method, limit + path, content, fields)
            if status != 200:
                raise RuntimeError(f"{method} {path}: {status} {content[:300]}")
            return json.loads(content)

        account = {"username": name, "password": "a long password", "auth": {"type": "m.login.dummy"}}
        fields["Authorization"] = f"Bearer {ask('POST', '/register', account)['access_token']}"
        room = ask("POST", "/createRoom", {"room_alias_name": name, "preset": "private_chat"})["room_id"]
        alias = urllib.parse.quote(f"#{name}:{labs.DOMAIN}", safe="")
        found = ask("GET", f"/directory/room/{alias}")["room_id"]
        lab.fact("synapse finds a room by its alias (a path with %23 and %3A)", found == room)

        since = ask("GET", "/sync?timeout=0")["next_batch"]
        answers = {}

        def wait():
            began = time.monotonic()
            answer = ask("GET", f"/sync?timeout=30000&since={since}", by=Client(lab, host, address))
            answers["woken"] = (time.monotonic() - began, answer)

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(1.5)
        place = f"/rooms/{urllib.parse.quote(room, safe='')}/send/m.room.message/1"
        sent = ask("PUT", place, {"msgtype": "m.text", "body": "hello"})["event_id"]
        waiting.join(60)
        took, answer = answers.get("woken", (0, {}))
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
        woken = 1 < took < 15 and sent in [event["event_id"] for event in events]
        lab.fact("synapse's long poll ends with an event", woken, f"after {took:.1f} s")

        seconds, since = 5 if lab.quick else 30, answer["next_batch"]
        # What follows the message, such as counts, is taken before the wait.
        for _ in range(5):
            began = time.monotonic()
            since = ask("GET", f"/sync?timeout={seconds * 1000}&since={since}")["next_batch"]
            took = time.monotonic() - began
            if took > seconds - 1:
                break
        lab.fact("synapse's long poll ends by its own time", seconds - 1 < took < seconds + 10, f"after {took:.1f} s")

        content = os.urandom((5 if lab.quick else 50) * 1024 * 1024)
        path = lab.work("media")
        with open(path, "wb") as file:
            file.write(content)
        # Over HTTP/3 at the edge; nginx's documentation of Synapse has HTTP/2.
        version = "--http3-only" if lab.through == "edge" else "--http2"
        curl = [f"{lab.tools}/newer/curl", "-sS", version, "--cacert", lab.ca, "--max-time", "120"]
        curl += ["--interface", address, "-H", f"Authorization: {fields['Authorization']}"]
        upload = ["-H", "Content-Type: application/octet-stream", "--data-binary", f"@{path}"]
        said = lab.run([*curl, *upload, f"https://{host}/_matrix/media/v3/upload?filename=blob"], 150)
        media = urllib.parse.urlsplit(json.loads(said)["content_uri"])
        lab.run([*curl, "-o", f"{path}-back", f"https://{host}/_matrix/client/v1/media/download/{media.netloc}{media.path}"], 150)
        with open(f"{path}-back", "rb") as file:
            same = hashlib.sha256(file.read()).digest() == hashlib.sha256(content).digest()
        lab.fact(f"synapse takes and gives media of {len(content) >> 20} MB", same)

        # Synapse writes the addresses of its users down every few seconds.
        end, seen = time.monotonic() + 20, None
        while seen != address and time.monotonic() < end:
            time.sleep(0.5)
            devices = ask("GET", "/devices")["devices"]
            with contextlib.suppress(IndexError):
                seen = devices[0].get("last_seen_ip")
        lab.fact("synapse knows the client's address", seen == address, seen)

    return drive
