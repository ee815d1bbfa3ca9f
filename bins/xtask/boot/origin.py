"""A service behind the edge: /slow/N sends a byte a second for N seconds, everything else is answered at once."""
import socket
import threading
import time

server = socket.create_server(("127.0.0.1", 3000), backlog=512)


def serve(peer):
    try:
        head = b""
        while b"\r\n\r\n" not in head:
            part = peer.recv(4096)
            if not part:
                return
            head += part
        if head.startswith(b"GET /slow/"):
            seconds = int(head[len(b"GET /slow/"):].split(b" ")[0])
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % seconds)
            for _ in range(seconds):
                peer.sendall(b".")
                time.sleep(1)
        else:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    except OSError:
        pass
    finally:
        peer.close()


while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
