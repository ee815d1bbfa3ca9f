"""ntfy: messages over SSE, a stream of JSON and WebSocket, and a limit for each client by its address."""

import json
import ssl

import databases
import lab as labs


def ntfy(lab):
    """ntfy: messages arrive at once over each of its streams, and its limit counts clients by their own addresses."""
    config = lab.path("ntfy.yml")
    with open(config, "w") as file:
        file.write(f'base-url: "https://ntfy.{labs.DOMAIN}"\nlisten-http: "127.0.0.1:3011"\nbehind-proxy: true\n')
    lab.start("ntfy", [f"{lab.tools}/applications/bin/ntfy", "serve", "--config", config], 3011)
    # As ntfy's documentation has it.
    nginx = (
        f"location / {{ proxy_pass http://127.0.0.1:3011; {labs.SWITCHES} proxy_buffering off; proxy_request_buffering off; "
        "proxy_redirect off; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; "
        "proxy_connect_timeout 3m; proxy_send_timeout 3m; proxy_read_timeout 3m; client_max_body_size 0; }"
    )
    # It takes the last entry of X-Forwarded-For for the client.
    lab.site("ntfy", 3011, upstream='forwarded = "client"', nginx=nginx)

    def drive(host):
        from websockets.sync import client as websocket

        network = "127.0.1" if lab.through == "edge" else "127.0.2"
        topic = f"/news-{lab.through}"
        writer = databases.Client(lab, host, f"{network}.1")

        def publish(text):
            return writer.ask("POST", topic, text.encode())[0]

        def read(form):
            """The message of a stream, which is published once the stream is open."""
            reader = databases.Client(lab, host, f"{network}.2", 20).connection
            reader.request("GET", f"{topic}/{form}")
            response = reader.getresponse()
            while True:
                line = response.readline()
                if not line:
                    return None
                text = line.decode().strip().removeprefix("data: ")
                event = json.loads(text) if text.startswith("{") else {}
                if event.get("event") == "open":
                    publish(f"by {form}")
                if event.get("event") == "message":
                    return event["message"]

        for form in ["sse", "json"]:
            said = read(form)
            lab.fact(f"ntfy's message arrives over its stream ({form})", said == f"by {form}", said)

        context = ssl.create_default_context(cafile=lab.ca)
        with websocket.connect(f"wss://{host}{topic}/ws", ssl=context, open_timeout=20, proxy=None) as stream:
            opened = json.loads(stream.recv(20))["event"]
            publish("by ws")
            message = json.loads(stream.recv(20))
        lab.fact("ntfy's message arrives over WebSocket", (opened, message.get("message")) == ("open", "by ws"), message.get("message"))

        # The limit is 60 requests at once, and one every 5 s.
        # Each over a connection of its own: nginx may close one whose request was answered before it was read.
        def more(address):
            return databases.Client(lab, host, f"{network}.{address}").ask("POST", f"{topic}-more", b"x")[0]

        statuses, alone = [more(3) for _ in range(75)], more(4)
        taken = statuses.count(200)
        limited = statuses.count(429) == 75 - taken and 60 <= taken < 75
        lab.fact("ntfy limits a client by its own address, and no other one", limited and alone == 200, f"{taken} of 75, then another's {alone}")

    return drive
