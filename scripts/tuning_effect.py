"""What the kernel's settings do for headwater. See scripts/tuning-effect.sh.

Two network namespaces, the server's and the client's, each with one end of a link. For most
parts that is a veth pair; where the path must be long it is a pair of TUN devices with a relay
in this process between them, which delays, shapes and cuts: netem is not in every kernel. Only
settings of these two namespaces are changed, and the namespaces are removed at the end.
"""

import argparse
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from tuning_net import SERVER, Namespaces, Relay, counters, run, sockstat_bytes  # noqa: E402

HEADWATER = os.path.abspath(os.environ.get("HEADWATER", "target/release/headwater"))
PORT = 8080
class Server:
    """headwater in the server's namespace."""

    def __init__(self, spaces, folder, *flags, shared=False):
        command = [HEADWATER, "serve", folder, "--admin", "127.0.0.1:9180", *flags]
        environment = {"PATH": os.environ["PATH"]}
        passed = ()
        if shared:
            with spaces.inside("server"):
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((SERVER, PORT))
                listener.listen(65535)
            passed = (listener.fileno(),)
            # Socket activation wants the number of the process itself, which only a shell knows.
            inner = 'exec 3<&"$0"; exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@"'
            command = ["sh", "-c", inner, str(listener.fileno()), *command]
        else:
            command += ["--listen", f"{SERVER}:{PORT}"]
        self.process = subprocess.Popen(
            spaces.command("server", *command), env=environment, pass_fds=passed,
            stderr=subprocess.PIPE, text=True)
        # ip-netns(8) and sh become the program that they start.
        self.pid = self.process.pid
        if shared:
            listener.close()
        self.said = ""
        while "\n  limits" not in self.said:
            line = self.process.stderr.readline()
            if not line:
                sys.exit(f"the server ended: {self.said}")
            self.said += line
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def shards(self, spaces):
        with spaces.inside("server"), socket.create_connection(("127.0.0.1", 9180), 5) as admin:
            admin.sendall(b"GET /debug/shards HTTP/1.0\r\n\r\n")
            text = b""
            while piece := admin.recv(65536):
                text += piece
        return text.decode().split("\r\n\r\n", 1)[1]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def request(path, close=False):
    end = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{end}\r\n".encode()


def settings_of(profile):
    """The settings of a profile that a namespace may set, with this host's values."""
    found, scope = {}, None
    raw = run(HEADWATER, "sysctl", "show", profile, "--raw")
    computed = dict(re.findall(r"^-?([a-z0-9_.]+) = (.*)$", run(HEADWATER, "sysctl", "show", profile), re.M))
    for line in raw.splitlines():
        if line.startswith("#@ scope "):
            scope = line.split()[2]
        setting = re.match(r"-?([a-z0-9_.]+) = ", line)
        if setting and scope == "namespace" and not line.startswith("-"):
            found[setting[1]] = computed[setting[1]]
    return found


class Changed:
    """Settings of both namespaces, put back when the block ends."""

    def __init__(self, spaces, settings):
        self.spaces, self.settings, self.was = spaces, settings, []

    def __enter__(self):
        for who in ("server", "client"):
            for key, value in self.settings.items():
                self.was.append((who, key, self.spaces.read(who, key)))
                self.spaces.write(who, key, value)

    def __exit__(self, *_):
        for who, key, value in reversed(self.was):
            self.spaces.write(who, key, value)


def table(title, heads, rows):
    print(f"\n{title}\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


def spread(values, digits=0):
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


# ---- a burst of connections -----------------------------------------------------

BURST = 8000
STALL_S = 0.5


def burst_once(spaces, folder, stall):
    """BURST connections as fast as one client can, each with one request. With `stall` the
    server stands still for half a second meanwhile, as it does when a host is short of CPU."""
    server = Server(spaces, folder, "--cores", "0")
    names = ("ListenOverflows", "TCPReqQFullDoCookies")
    before = counters(spaces, "server", *names)
    poll, waiting, took = select.epoll(), {}, []
    pid = server.pid
    if stall:
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    with spaces.inside("client"):
        for _ in range(BURST):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((SERVER, PORT))
            waiting[one.fileno()] = (one, time.monotonic())
            poll.register(one.fileno(), select.EPOLLOUT | select.EPOLLET)
    resumed = not stall
    sent = set()
    deadline = start + 20
    while waiting and time.monotonic() < deadline:
        if not resumed and time.monotonic() - start > STALL_S:
            os.kill(pid, signal.SIGCONT)
            resumed = True
        for number, events in poll.poll(0.02, 4096):
            one, began = waiting[number]
            try:
                if number not in sent:
                    one.send(request("/1k.bin", close=True))
                    sent.add(number)
                    poll.modify(number, select.EPOLLIN)
                    continue
                one.recv(4096)
                took.append(time.monotonic() - began)
            except BlockingIOError:
                continue
            except OSError:
                pass
            poll.unregister(number)
            one.close()
            del waiting[number]
    whole = time.monotonic() - start
    lost = BURST - len(took)
    for one, _ in waiting.values():
        one.close()
    if not resumed:
        os.kill(pid, signal.SIGCONT)
    after = counters(spaces, "server", *names)
    server.stop()
    took.sort()
    deltas = [b - a for a, b in zip(before, after)]
    return {
        "rate": len(took) / whole,
        "p50": took[len(took) // 2] if took else 0,
        "p99": took[len(took) * 99 // 100] if took else 0,
        "overflows": deltas[0],
        "cookies": deltas[1],
        "lost": lost,
    }


def part_burst(spaces, folder, rounds):
    spaces.veth()
    everything = settings_of("container")
    somaxconn, syn = "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"
    cases = [
        ("kernel's defaults", {}),
        ("profile container", everything),
        (f"only {somaxconn} = 65535", {somaxconn: "65535"}),
        (f"only {syn} = 65535", {syn: "65535"}),
    ]
    for stall in (False, True):
        got = {name: [] for name, _ in cases}
        for _ in range(rounds):
            for name, settings in cases:
                with Changed(spaces, settings):
                    got[name].append(burst_once(spaces, folder, stall))
        rows = []
        for name, results in got.items():
            of = lambda field: [result[field] for result in results]
            rows.append((
                name, spread(of("rate")), spread([1000 * v for v in of("p50")]), spread([1000 * v for v in of("p99")]),
                spread(of("overflows")), spread(of("cookies")), spread(of("lost"))))
        how = f"the server stands still for {STALL_S} s" if stall else "the server runs"
        table(f"Burst of {BURST} connections, {how}; {rounds} rounds, median (least to most)",
              ["settings", "answered/s", "p50 ms", "p99 ms", "SYNs dropped, queue full", "SYN cookies", "not in 20 s"], rows)


# ---- one client far away ---------------------------------------------------------

RTT_MS, MBIT_S, QUEUE_BYTES = 200, 300, 4_000_000
CONTROLS = ("cubic", "bbr")


def fetch(sock, path):
    """One request on an open connection; gives bytes and seconds, at most a minute."""
    start = time.monotonic()
    sock.sendall(request(path))
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(65536)
    head, body = head.split(b"\r\n\r\n", 1)
    size = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
    got = len(body)
    buffer = bytearray(1 << 20)
    while got < size:
        count = sock.recv_into(buffer)
        if not count:
            sys.exit("a download was cut short")
        got += count
        if time.monotonic() - start > 60:
            break
    return got, time.monotonic() - start


def warm(client):
    """A first segment, and a pause as a player makes it."""
    fetch(client, "/1m.bin")
    time.sleep(1.5)


def part_download(spaces, folder, rounds):
    relay = Relay(spaces, RTT_MS, MBIT_S, QUEUE_BYTES)
    profile = settings_of("file-server")
    live = settings_of("live-stream")
    wmem, idle = "net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle"
    cases = [
        ("kernel's defaults", {}),
        ("profile file-server", profile),
        ("profile live-stream", live),
        ("only tcp_wmem", {wmem: profile[wmem]}),
        ("only tcp_slow_start_after_idle = 0", {idle: "0"}),
        ("only tcp_notsent_lowat", {"net.ipv4.tcp_notsent_lowat": live["net.ipv4.tcp_notsent_lowat"]}),
    ]
    for control in CONTROLS:
        got = {name: ([], []) for name, _ in cases}
        for _ in range(rounds):
            for name, settings in cases:
                with Changed(spaces, settings):
                    server = Server(spaces, folder, "--cores", "0", "--congestion", control)
                    with spaces.inside("client"):
                        client = socket.create_connection((SERVER, PORT), 20)
                    warm(client)
                    got[name][1].append(1000 * fetch(client, "/1m.bin")[1])
                    client.close()
                    with spaces.inside("client"):
                        client = socket.create_connection((SERVER, PORT), 20)
                    size, took = fetch(client, "/60m.bin")
                    got[name][0].append(size * 8 / took / 1e6)
                    client.close()
                    server.stop()
        rows = [(name, spread(large), spread(segment)) for name, (large, segment) in got.items()]
        table(f"One client over {RTT_MS} ms and {MBIT_S} Mbit/s, {control}; {rounds} rounds, median (least to most)",
              ["settings", "60 MB, Mbit/s", "1 MB after a pause of 1.5 s, ms"], rows)
    relay.close()


# ---- memory ------------------------------------------------------------------------

IDLE, STALLED = 4000, 100


def meminfo(name):
    with open("/proc/meminfo") as file:
        return int(re.search(rf"^{name}: *(\d+)", file.read(), re.M)[1]) * 1024


def user_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Private_Dirty: *(\d+)", file.read(), re.M)[1]) * 1024


def part_memory(spaces, folder, rounds):
    spaces.veth()
    live = settings_of("live-stream")
    cases = [
        ("kernel's defaults", {}),
        ("profile container", settings_of("container")),
        ("profile live-stream", live),
        ("only tcp_wmem", {"net.ipv4.tcp_wmem": live["net.ipv4.tcp_wmem"]}),
        ("only tcp_notsent_lowat", {"net.ipv4.tcp_notsent_lowat": live["net.ipv4.tcp_notsent_lowat"]}),
    ]
    got = {name: ([], [], []) for name, _ in cases}
    for _ in range(rounds):
        for name, settings in cases:
            with Changed(spaces, settings):
                server = Server(spaces, folder, "--cores", "0", "--send-period", "600s", "--idle-timeout", "600s")
                pid = server.pid
                user, slab = user_bytes(pid), meminfo("Slab")
                with spaces.inside("client"):
                    clients = []
                    for _ in range(IDLE):
                        one = socket.create_connection((SERVER, PORT), 20)
                        clients.append(one)
                for one in clients:
                    one.sendall(request("/1k.bin"))
                for one in clients:
                    one.recv(65536)
                time.sleep(0.5)
                got[name][0].append((user_bytes(pid) - user) / IDLE)
                # Both ends are on this host: each takes its half.
                got[name][1].append((meminfo("Slab") - slab) / IDLE / 2)
                for one in clients:
                    one.close()
                time.sleep(0.5)
                before = sockstat_bytes(spaces, "server")
                clients = []
                with spaces.inside("client"):
                    for _ in range(STALLED):
                        one = socket.socket()
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                        one.connect((SERVER, PORT))
                        one.sendall(request("/60m.bin"))
                        clients.append(one)
                time.sleep(2)
                got[name][2].append((sockstat_bytes(spaces, "server") - before) / STALLED / 1024)
                for one in clients:
                    one.close()
                server.stop()
                time.sleep(0.5)
    rows = [(name, spread(user), spread(kernel), spread(stalled)) for name, (user, kernel, stalled) in got.items()]
    table(f"Memory of a connection: {IDLE} idle ones, {STALLED} that take nothing of a large file; {rounds} rounds",
          ["settings", "idle: server's own, bytes", "idle: kernel's slabs, bytes", "stalled: kernel's queues, KiB"], rows)


# ---- a peer that is gone -------------------------------------------------------------

def part_dead_peer(spaces, folder, rounds):
    del folder, rounds
    relay = Relay(spaces, 20, 1000, QUEUE_BYTES)
    rows = []
    # Too long to wait for: the same formula at a hundredth, and what it comes to.
    keepalive = {"net.ipv4.tcp_keepalive_time": "6", "net.ipv4.tcp_keepalive_intvl": "1", "net.ipv4.tcp_keepalive_probes": "3"}
    computed = {
        "kernel's defaults (7200, 75, 9)": 7200 + 75 * 9,
        "profile high-connections (600, 60, 3)": 600 + 60 * 3,
    }
    for name, seconds in computed.items():
        rows.append((f"idle, SO_KEEPALIVE, {name}", seconds, "not waited for"))
    with Changed(spaces, keepalive):
        rows.append(("idle, SO_KEEPALIVE, (6, 1, 3)", 9, notice(spaces, relay, False)))
    retries = lambda count: 0.2 * (2 ** (count + 1) - 1)
    rows.append(("mid-transfer, kernel's default tcp_retries2 = 15", "924 or more", "not waited for"))
    rows.append(("mid-transfer, profile live-stream, tcp_retries2 = 8", f"{retries(8):.0f} or more", "not waited for"))
    with Changed(spaces, {"net.ipv4.tcp_retries2": "5"}):
        rows.append(("mid-transfer, tcp_retries2 = 5", f"{retries(5):.1f} or more", notice(spaces, relay, True)))
    table("A peer that is gone: seconds until its connection fails",
          ["situation", "computed, s", "measured, s"], rows)
    relay.close()


def notice(spaces, relay, sending):
    """Seconds from the cut until a connection with the kernel's own settings fails."""
    with spaces.inside("server"):
        listener = socket.create_server((SERVER, PORT + 1))
    with spaces.inside("client"):
        client = socket.create_connection((SERVER, PORT + 1), 10)
    server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    time.sleep(0.5)
    relay.cut = True
    start = time.monotonic()
    if sending:
        server.sendall(b"x" * 10000)
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.poll(60_000)
    took = time.monotonic() - start
    try:
        server.recv(1)
        why = "no error"
    except OSError as error:
        why = error.strerror
    relay.cut = False
    for one in (server, client, listener):
        one.close()
    return f"{took:.1f} ({why})"


# ---- shards' own listeners against one that all share ----------------------------------

def part_reuseport(spaces, folder, rounds):
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    spaces.veth()
    cpus = sorted(os.sched_getaffinity(0))[:2]
    cores = ",".join(map(str, cpus))
    got = {"a listener for each shard (SO_REUSEPORT)": [], "one listener for all": []}
    for _ in range(rounds):
        for name, results in got.items():
            server = Server(spaces, folder, "--cores", cores, shared="one" in name)
            before = counters(spaces, "server", "ListenOverflows")[0]
            spent = shard_ticks(server.pid)
            said = run(*spaces.command(
                "client", "wrk", "-t1", "-c64", "-d3s", "-H", "Connection: close", f"http://{SERVER}:{PORT}/1k.bin"))
            rate = float(re.search(r"Requests/sec: *([\d.]+)", said)[1])
            ticks = [after - before for before, after in zip(spent, shard_ticks(server.pid))]
            results.append((
                rate, max(ticks) / sum(ticks) * 100, counters(spaces, "server", "ListenOverflows")[0] - before,
                sum(ticks) * 1e6 / os.sysconf("SC_CLK_TCK") / (rate * 3)))
            server.stop()
    rows = [(name, *(spread(column, digits) for column, digits in zip(zip(*results), (0, 0, 0, 1))))
            for name, results in got.items()]
    table(f"A connection for each request, two shards, 64 clients; {rounds} rounds of 3 s, median (least to most)",
          ["listeners", "connections/s", "busier shard's share of CPU, %", "queue overflows", "CPU us a request"], rows)


def shard_ticks(pid):
    """CPU time of each shard's thread so far, in clock ticks."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as file:
            name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        if name.startswith("shard-"):
            fields = rest.split()
            found[name] = int(fields[11]) + int(fields[12])
    return [found[name] for name in sorted(found)]


PARTS = {
    "burst": part_burst,
    "download": part_download,
    "memory": part_memory,
    "dead-peer": part_dead_peer,
    "reuseport": part_reuseport,
}


def main():
    global CONTROLS
    parser = argparse.ArgumentParser(
        prog="scripts/tuning-effect.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"out of {', '.join(PARTS)} (all)")
    parser.add_argument("--control", choices=CONTROLS, help="only this congestion control in the part download")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case, interleaved (3)")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if options.control:
        CONTROLS = (options.control,)
    if os.geteuid():
        sys.exit("making network namespaces needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="hwte-") as folder:
        for name, size in (("1k.bin", 1000), ("1m.bin", 1 << 20), ("60m.bin", 60 << 20)):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(os.urandom(1 << 20)[:size] * max(1, size >> 20))
        for part in options.parts or PARTS:
            with Namespaces() as spaces:
                PARTS[part](spaces, folder, max(1, options.rounds))


if __name__ == "__main__":
    main()
