#!/usr/bin/env python3
"""How long a changed file is still served as it was, and what finding out costs.

usage: staleness.py [--changes N] NAME=BINARY[,FLAG...] ...

For each server: a small file is changed N times, by rename over it and by appending, while one reader polls it without
a pause on a kept-alive connection. Printed: the time from the change until the first response that shows it, whether the
first request that was begun after the change showed it, and the server's CPU time per request of a cached file that does
not change.
"""
import argparse, os, socket, subprocess, sys, tempfile, threading, time

CLOCK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def get(self, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        length = next(int(l[15:]) for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:"))
        while len(self.buffer) < length:
            self.more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise EOFError("the server closed the connection")
        self.buffer += piece


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def staleness(port, root, changes, by_rename):
    """Milliseconds from each change to the response that shows it; how many next requests missed it."""
    path, staged = os.path.join(root, "list.m3u8"), os.path.join(root, ".next")
    text = b"#EXTM3U\n" * 20
    open(path, "wb").write(text)
    time.sleep(1.5)
    done_at, lags, missed = [0.0], [], 0
    client = Client(port)
    for number in range(changes):
        until = time.monotonic() + 0.05
        while time.monotonic() < until:  # cached, and settled
            client.get("/list.m3u8")
        line = b"segment%06d.ts\n" % number

        def change():
            if by_rename:
                with open(staged, "wb") as f:
                    f.write(text + line)
                os.rename(staged, path)
            else:
                with open(path, "ab") as f:
                    f.write(line)
            done_at[0] = time.monotonic()

        writer = threading.Thread(target=change)
        writer.start()
        writer.join()
        first = True
        while True:
            if client.get("/list.m3u8").endswith(line):
                break
            missed += first
            first = False
        lags.append((time.monotonic() - done_at[0]) * 1000)
    return lags, missed


def cost(pid, port, root):
    open(os.path.join(root, "small.txt"), "wb").write(b"s" * 1024)
    time.sleep(0.1)
    client = Client(port)
    burst, rounds = 16, 6000
    request = b"GET /small.txt HTTP/1.1\r\nhost: a\r\n\r\n" * burst
    one = len(client_answer(client, request[: len(request) // burst]))
    before = cpu_s(pid)
    for _ in range(rounds):
        client.socket.sendall(request)
        got = 0
        while got < one * burst:
            got += len(client.socket.recv(1 << 18))
    return (cpu_s(pid) - before) / (burst * rounds) * 1e6


def client_answer(client, request):
    client.socket.sendall(request)
    time.sleep(0.05)
    return client.socket.recv(1 << 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY[,FLAG...]")
    args = parser.parse_args()
    print("| server | change | p50 ms | p99 ms | max ms | next request missed it | CPU us/request |")
    print("|---|---|---|---|---|---|---|")
    for server in args.servers:
        name, command = server.split("=", 1)
        command = command.split(",")
        with tempfile.TemporaryDirectory() as root:
            port = free_port()
            process = subprocess.Popen(
                [command[0], "serve", root, "--listen", f"127.0.0.1:{port}", "--admin", "off", *command[1:]],
                stderr=subprocess.DEVNULL,
            )
            try:
                time.sleep(0.8)
                spent = min(cost(process.pid, port, root) for _ in range(3))
                for by_rename in (True, False):
                    lags, missed = staleness(port, root, args.changes, by_rename)
                    print(
                        f"| {name} | {'rename' if by_rename else 'append'} | {percentile(lags, 0.5):.2f} "
                        f"| {percentile(lags, 0.99):.2f} | {max(lags):.2f} | {missed} of {len(lags)} | {spent:.2f} |",
                        flush=True,
                    )
            finally:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
