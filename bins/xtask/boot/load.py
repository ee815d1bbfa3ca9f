"""One connection after another for so many seconds: prints how many were served, refused and cut off."""
import socket
import sys
import time

until = time.monotonic() + float(sys.argv[1])
address = (sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 80)
served = refused = cut = 0
longest = 0.0
while time.monotonic() < until:
    began = time.monotonic()
    try:
        with socket.create_connection(address, timeout=60) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := peer.recv(4096):
                answer += part
        if answer.startswith(b"HTTP/1.1 200"):
            served += 1
        else:
            cut += 1
    except ConnectionRefusedError:
        refused += 1
    except OSError:
        cut += 1
    longest = max(longest, time.monotonic() - began)
    time.sleep(0.01)
print(f"served={served} refused={refused} cut={cut} longest={longest:.1f}")
