"""A link between two network namespaces: a relay between two TUN devices, with delay, jitter, loss, a rate with a queue, an MTU,
and changes to single datagrams. It runs in a process of its own and obeys lines of JSON."""

import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
SERVER, CLIENT = "10.99.0.1", "10.99.0.2"
UDP = 17


def tun(name, own, peer):
    """Makes a TUN device in this namespace, with an address and the route to the other end. Returns its descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    for command in [
        ["ip", "address", "add", own, "peer", peer, "dev", name],
        ["ip", "link", "set", name, "up", "txqueuelen", "5000"],
    ]:
        subprocess.run(command, check=True)
    return device


class Way:
    """One direction of the link."""

    def __init__(self, out):
        self.out, self.free, self.datagrams = out, 0.0, 0
        self.passed, self.lost = 0, 0
        self.set({})

    def set(self, wanted):
        """Takes new properties; what is not named is as on a perfect link."""
        self.delay, self.jitter = wanted.get("delay", 0.0), wanted.get("jitter", 0.0)
        self.loss, self.rate, self.queue = wanted.get("loss", 0.0), wanted.get("rate", 0), wanted.get("queue", 1 << 20)
        self.mtu = wanted.get("mtu", 1 << 16)
        # Of the datagrams from now on: those that are lost, and the seconds by which others come later.
        self.drop, self.late = set(wanted.get("drop", [])), {int(n): s for n, s in wanted.get("late", {}).items()}
        self.datagrams = 0

    def due(self, packet, now):
        """Returns when a packet comes out of the link. None if it is lost."""
        late = 0.0
        if packet[9] == UDP:
            n, self.datagrams = self.datagrams, self.datagrams + 1
            if n in self.drop:
                return None
            late = self.late.get(n, 0.0)
        if len(packet) > self.mtu or (self.loss and random.random() < self.loss):
            return None
        if self.rate:
            begin = max(now, self.free)
            if (begin - now) * self.rate > self.queue:
                return None
            self.free = now = begin + len(packet) / self.rate
        return now + self.delay + late + (random.random() * self.jitter if self.jitter else 0.0)


def shifted(packet, offset, by):
    """Changes the port of a UDP datagram at this offset, as a NAT does that forgot a client. No checksum is allowed over IPv4."""
    if packet[9] != UDP or not by:
        return packet
    header = (packet[0] & 0x0F) * 4
    changed = bytearray(packet)
    at = header + offset
    port = (int.from_bytes(packet[at : at + 2], "big") - 1024 + by) % (65536 - 1024) + 1024
    changed[at : at + 2] = port.to_bytes(2, "big")
    changed[header + 6 : header + 8] = b"\0\0"
    return bytes(changed)


def main(client_namespace, control):
    """Relays until the control connection closes."""
    near = tun("wan0", SERVER, CLIENT)
    # The other device is made by a process that is in the other namespace, and handed over.
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    there = [sys.executable, "-B", __file__, "device", str(theirs.fileno())]
    subprocess.run(["nsenter", "-t", client_namespace, "-n", *there], pass_fds=[theirs.fileno()], check=True)
    far = socket.recv_fds(ours, 1, 1)[1][0]
    control = socket.socket(fileno=int(control))
    up, down = Way(near), Way(far)
    shift, wait, order, heap = 0, 0, 0, []
    poll = select.poll()
    for descriptor in (near, far, control.fileno()):
        poll.register(descriptor, select.POLLIN)
    control.sendall(b"ready\n")
    while True:
        now = time.monotonic()
        while heap and heap[0][0] <= now:
            _, _, way, packet = heapq.heappop(heap)
            try:
                os.write(way.out, packet)
                way.passed += len(packet)
            except BlockingIOError:
                way.lost += 1
        wait = max(0, heap[0][0] - now) * 1000 if heap else 1000
        # Shorter than what poll can wait for: looked at again at once.
        for descriptor, _ in poll.poll(int(wait)):
            if descriptor == control.fileno():
                text = control.recv(65536)
                if not text:
                    return
                for line in text.splitlines():
                    wanted = json.loads(line)
                    up.set(wanted.get("up", {}))
                    down.set(wanted.get("down", {}))
                    shift = wanted.get("shift", 0)
                    random.seed(wanted.get("seed", 1))
                    control.sendall(json.dumps([up.passed, down.passed, up.lost, down.lost]).encode() + b"\n")
                continue
            way = up if descriptor == far else down
            for _ in range(64):
                try:
                    packet = os.read(descriptor, 65536)
                except BlockingIOError:
                    break
                if packet[0] >> 4 != 4:
                    continue
                now = time.monotonic()
                due = way.due(packet, now)
                if due is not None:
                    packet = shifted(packet, 0 if way is up else 2, shift if way is up else -shift)
                    order += 1
                    heapq.heappush(heap, (due, order, way, packet))


if __name__ == "__main__":
    if sys.argv[1] == "device":
        device = tun("lan0", CLIENT, SERVER)
        socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"."], [device])
    else:
        main(sys.argv[1], sys.argv[2])
