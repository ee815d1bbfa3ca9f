"""The services of the book's node: two over HTTP, and an SSH server that tells the client's address in its PROXY header."""
import http.server
import socket
import threading


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"{self.headers.get('Host')} {self.headers.get('X-Forwarded-For')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


def ssh():
    server = socket.create_server(("100.64.0.2", 2222))
    while True:
        client, _ = server.accept()
        head = client.recv(16)
        rest = client.recv(int.from_bytes(head[14:16], "big"))
        client.sendall(f"SSH-2.0-Forgejo {socket.inet_ntoa(rest[:4])}\r\n".encode())
        client.close()


threading.Thread(target=ssh, daemon=True).start()
vault = http.server.ThreadingHTTPServer(("100.64.0.2", 8222), Service)
threading.Thread(target=vault.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("100.64.0.2", 3000), Service).serve_forever()
