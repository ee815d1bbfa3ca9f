"""A server of SSH as Forgejo's built-in one: each connection begins with a PROXY header of version 2, and the log has the client's
address. What follows goes to the SSH server of this machine.

  proxied.py LISTEN PORT     for example 100.64.0.2:2222 2022
"""

import socket
import socketserver
import struct
import sys
import threading

HOST, PORT = sys.argv[1].rsplit(":", 1)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def exactly(peer, length):
    data = b""
    while len(data) < length:
        part = peer.recv(length - len(data))
        if not part:
            raise ConnectionError("the header is cut short")
        data += part
    return data


def pump(source, sink):
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        head = exactly(self.request, 16)
        if not head.startswith(SIGNATURE + b"\x21\x11"):
            print(f"refused: {head!r}", flush=True)
            return
        rest = exactly(self.request, struct.unpack("!H", head[14:])[0])
        print("client", socket.inet_ntoa(rest[:4]), flush=True)
        server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
        threading.Thread(target=pump, args=(server, self.request), daemon=True).start()
        pump(self.request, server)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100


Server((HOST, int(PORT)), Connection).serve_forever()
