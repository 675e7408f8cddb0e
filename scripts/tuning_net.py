"""Two network namespaces with a link between them, for scripts/tuning_effect.py."""

import collections
import ctypes
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import threading
import time

SERVER, CLIENT = "10.213.0.1", "10.213.0.2"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Namespaces:
    """Two namespaces, gone at the end."""

    def __init__(self):
        self.names = {who: f"hwte-{os.getpid()}-{who}" for who in ("server", "client")}

    def __enter__(self):
        for name in self.names.values():
            run("ip", "netns", "add", name)
            self.ip(name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for name in self.names.values():
            run("ip", "netns", "del", name, check=False)

    def ip(self, name, *words):
        run("ip", "-n", name, *words)

    def veth(self):
        server, client = self.names["server"], self.names["client"]
        self.ip(server, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", client)
        self.up(server, SERVER)
        self.up(client, CLIENT)

    def up(self, name, address, mtu=None):
        self.ip(name, "addr", "add", f"{address}/24", "dev", "link0")
        self.ip(name, "link", "set", "link0", "up", *(["mtu", str(mtu)] if mtu else []))

    def inside(self, who):
        """The calling thread's namespace becomes this one, until the block ends."""
        return Inside(self.names[who])

    def command(self, who, *words):
        return ["ip", "netns", "exec", self.names[who], *words]

    def read(self, who, key):
        with self.inside(who), open("/proc/thread-self/root/proc/sys/" + key.replace(".", "/")) as file:
            return " ".join(file.read().split())

    def write(self, who, key, value):
        with self.inside(who), open("/proc/thread-self/root/proc/sys/" + key.replace(".", "/"), "w") as file:
            file.write(value + "\n")


class Inside:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        if LIBC.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(there)

    def __exit__(self, *_):
        LIBC.setns(self.back, CLONE_NEWNET)
        os.close(self.back)


class Relay:
    """A long path between the namespaces: delay both ways, a rate and a queue towards the client."""

    MTU = 9000

    def __init__(self, spaces, rtt_ms, mbit_s, queue_bytes):
        self.delay = rtt_ms / 2000
        self.rate = mbit_s * 1e6 / 8
        self.queue_bytes = queue_bytes
        self.cut = False
        self.dropped = 0
        self.ends = {}
        for who, address in (("server", SERVER), ("client", CLIENT)):
            with spaces.inside(who):
                end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                # IFF_TUN without a header before each packet.
                fcntl.ioctl(end, 0x400454CA, struct.pack("16sH22x", b"link0", 0x0001 | 0x1000))
            spaces.up(spaces.names[who], address, self.MTU)
            spaces.ip(spaces.names[who], "link", "set", "link0", "txqueuelen", "20000")
            self.ends[who] = end
        self.over = False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        server, client = self.ends["server"], self.ends["client"]
        lines = {client: collections.deque(), server: collections.deque()}
        free = 0.0
        while not self.over:
            now = time.monotonic()
            due = [line[0][0] for line in lines.values() if line]
            wait = max(0.0, min(due) - now) if due else 0.05
            ready, _, _ = select.select([server, client], [], [], min(wait, 0.05))
            now = time.monotonic()
            for end in ready:
                to = client if end == server else server
                for _ in range(64):
                    try:
                        packet = os.read(end, 65536)
                    except BlockingIOError:
                        break
                    if self.cut:
                        continue
                    leave = now
                    if to == client:
                        if (free - now) * self.rate > self.queue_bytes:
                            self.dropped += 1
                            continue
                        free = max(free, now) + len(packet) / self.rate
                        leave = free
                    lines[to].append((leave + self.delay, packet))
            now = time.monotonic()
            for to, line in lines.items():
                while line and line[0][0] <= now:
                    try:
                        os.write(to, line.popleft()[1])
                    except OSError:
                        break

    def close(self):
        self.over = True
        self.thread.join()
        for end in self.ends.values():
            os.close(end)


def counters(spaces, who, *names):
    """Counters of /proc/net/netstat in a namespace."""
    with spaces.inside(who), open("/proc/thread-self/net/netstat") as file:
        rows = [line.split() for line in file if line.startswith("TcpExt:")]
    values = dict(zip(*rows))
    return [int(values.get(name, 0)) for name in names]


def sockstat_bytes(spaces, who):
    """Memory of TCP's queues, which the kernel counts for all namespaces together."""
    with spaces.inside(who), open("/proc/thread-self/net/sockstat") as file:
        found = re.search(r"^TCP:.* mem (\d+)", file.read(), re.M)
    return int(found[1]) * 4096
