"""CalDAV and WebDAV, whose methods and fields name resources by their whole address."""

import base64
import http.client
import os
import ssl

import lab as labs


def client(lab, host):
    context = ssl.create_default_context(cafile=lab.ca)

    def ask(method, path, body=None, **fields):
        connection = http.client.HTTPSConnection(host, context=context, timeout=30)
        headers = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
        headers.update({name.replace("_", "-"): value for name, value in fields.items()})
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    return ask


def radicale(lab):
    """radicale: a calendar is made, an event put, listed and moved."""
    config = lab.path("radicale.conf")
    with open(config, "w") as file:
        file.write(
            f"[server]\nhosts = 127.0.0.1:3004\n[auth]\ntype = http_x_remote_user\n"
            f"[storage]\nfilesystem_folder = {lab.path('radicale')}\n"
        )
    lab.start("radicale", ["/usr/bin/python3", "-m", "radicale", "--config", config], 3004)
    # The proxy in front says who it is, as radicale's own documentation has it.
    user = 'request_headers = { set = { X-Remote-User = "ann" } }'
    forwarded = "proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port;"
    nginx = f'location / {{ {labs.USUAL} {forwarded} proxy_set_header X-Remote-User "ann"; proxy_pass http://127.0.0.1:3004; }}'
    lab.site("calendar", 3004, edge=user, node=user, nginx=nginx)

    def drive(host):
        ask = client(lab, host)
        event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
        event += "DTSTART:20260101T100000Z\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        place = f"/ann/{lab.through}/"
        kind = '<C:mkcalendar xmlns:C="urn:ietf:params:xml:ns:caldav"/>'
        statuses = [
            ask("MKCALENDAR", place, kind)[0],
            ask("PUT", f"{place}1.ics", event, Content_Type="text/calendar")[0],
            ask("PROPFIND", place, None, Depth="1")[0],
            ask("MOVE", f"{place}1.ics", None, Destination=f"https://{host}{place}2.ics")[0],
            ask("GET", f"{place}2.ics")[0],
            ask("DELETE", f"{place}2.ics")[0],
        ]
        lab.fact("radicale takes CalDAV's methods, MOVE by its Destination too", statuses == [201, 201, 207, 201, 200, 200], statuses)

    return drive


def wsgidav(lab):
    """wsgidav: files are put, copied and moved, below a prefix that the node strips."""
    root = lab.path("dav")
    os.makedirs(root)
    command = ["/usr/bin/python3", "-m", "wsgidav.server.server_cli", "--host", "127.0.0.1", "--port", "3005"]
    lab.start("wsgidav", [*command, "--root", root, "--auth", "anonymous"], 3005)
    # It compares the scheme and the host of Destination with its own.
    rewritten = """[[site.route]]
path = "/files"
strip_prefix = "/files"
upstream = "http://127.0.0.1:3005"
request_headers = { replace = { Destination = { "https://dav.home.test/files/" = "http://dav.home.test/" } } }
"""
    nginx = f"""location /files/ {{
{labs.USUAL}
client_max_body_size 0;
set $destination $http_destination;
if ($destination ~ "^https://[^/]+/files/(.*)$") {{ set $destination http://$host/$1; }}
proxy_set_header Destination $destination;
proxy_pass http://127.0.0.1:3005/;
}}"""
    lab.site("dav", 3005, node=rewritten, nginx=nginx)

    def drive(host):
        ask = client(lab, host)
        content, place = os.urandom(1024 * 1024), f"/files/folder-{lab.through}"
        statuses = [
            ask("MKCOL", f"{place}/")[0],
            ask("PUT", f"{place}/a", content)[0],
            ask("COPY", f"{place}/a", None, Destination=f"https://{host}{place}/b%20c")[0],
            ask("MOVE", f"{place}/a", None, Destination=f"https://{host}{place}/d", Overwrite="F")[0],
            ask("PROPFIND", f"{place}/", None, Depth="1")[0],
        ]
        read = [ask("GET", f"{place}/{name}") for name in ["b%20c", "d"]]
        same = all(status == 200 and found == content for status, found in read)
        lab.fact("wsgidav takes WebDAV's methods below a prefix", statuses == [201, 201, 201, 201, 207] and same, statuses)

    return drive
