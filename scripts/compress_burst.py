#!/usr/bin/env python3
"""Does work for some requests delay the others?

Small cached requests go to the server at a fixed rate, answered or not, first
alone, then beside a burst of requests that each cost CPU time: files that are
compressed for the first time (--with compress), large ones whose digest is
wanted (--with digest), listings of a folder of 50,000 files (--with listing).
They leave at a fixed rate, too. "sent again" is the same burst where its answers
are there already: what sending them costs; for listings, which are never kept,
it is another burst.

Server and clients share the CPUs of --cpus, with a shard on each of them. The
one who measures goes before all others there (SCHED_FIFO), so that it sees how
late answers are, not how late it is itself; the one who sends the burst takes
what all others leave (SCHED_IDLE), as if it were elsewhere. Figures are medians
over the rounds; a ratio is the median of the rounds' ratios. Run by
compress-burst.sh.
"""
import argparse
import multiprocessing
import os
import random
import selectors
import socket
import statistics
import sys
import tempfile
import time

import open_loop
import servers

HOT_FILE_BYTES = 1024
QUIET_SECONDS = 3
BURST_SECONDS_MAX = 120
SETTLE_SECONDS = 1.2
LISTED_FILES = 50_000
DIGEST_FILE_BYTES = 256 << 20
WORDS = 4000
PIECE = 1 << 18


def make_texts(folder, count, size):
    """Texts that compress to about a third, each of its own."""
    choose = random.Random(1)
    words = ["".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(2, 11))) for _ in range(WORDS)]
    for index in range(count):
        text = " ".join(choose.choices(words, k=size // 7))[:size]
        with open(f"{folder}/burst-{index}.html", "w") as f:
            f.write(text.ljust(size, "."))


def make_files(folder, options):
    with open(f"{folder}/hot.txt", "wb") as f:
        f.write(b"x" * HOT_FILE_BYTES)
    if "compress" in options.kinds:
        make_texts(folder, options.files, options.kilobytes << 10)
    if "digest" in options.kinds:
        for index in range(options.digests):
            with open(f"{folder}/digest-{index}.bin", "wb") as f:
                f.truncate(DIGEST_FILE_BYTES)
    if "listing" in options.kinds:
        os.mkdir(f"{folder}/listed")
        for index in range(LISTED_FILES):
            open(f"{folder}/listed/file-{index:05}.bin", "wb").close()


def requests_of(kind, options):
    get = lambda method, path, field: f"{method} {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode()
    if kind == "compress":
        field = f"Accept-Encoding: {options.coding}"
        return [get("GET", f"/burst-{index}.html", field) for index in range(options.files)]
    if kind == "digest":
        return [get("HEAD", f"/digest-{index}.bin", "Want-Repr-Digest: sha-256=1") for index in range(options.digests)]
    return [get("GET", "/listed/", "Accept-Encoding: identity")] * options.listings


def touch(folder, kind, options):
    """Makes the files of the burst new ones, of which nothing is known."""
    names = {"compress": [f"burst-{index}.html" for index in range(options.files)],
             "digest": [f"digest-{index}.bin" for index in range(options.digests)]}
    for name in names.get(kind, []):
        os.utime(f"{folder}/{name}")
    time.sleep(SETTLE_SECONDS)  # a cached file is looked at once a second


class Line:
    """A connection of the burst with one request on it at a time."""

    def __init__(self, address):
        self.socket = socket.create_connection(address)
        self.head, self.left = b"", None

    def ask(self, request):
        self.socket.sendall(request)
        self.head, self.left = b"", None

    def take(self, is_head):
        """Whether the answer is whole now."""
        piece = self.socket.recv(PIECE)
        if not piece:
            sys.exit("the server closed a connection of the burst")
        if self.left is None:
            self.head += piece
            if b"\r\n\r\n" not in self.head:
                return False
            self.head, piece = self.head.split(b"\r\n\r\n", 1)
            self.head = self.head.decode("latin-1").lower()
            self.left = 0 if is_head else int(self.head.split("content-length: ")[1].split("\r\n")[0])
        self.left -= len(piece)
        return self.left <= 0

    def what(self):
        what = self.head.split(" ")[1]
        if "content-encoding: " in self.head:
            what += " " + self.head.split("content-encoding: ")[1].split("\r\n")[0]
        return what + (" with digest" if "repr-digest: " in self.head else "")


def burst(address, requests, rate, parallel, report):
    """Sends all requests at a rate, at most `parallel` at a time; reports seconds and what came."""
    open_loop.go_last()
    waiting, seen, start = requests[::-1], {}, time.monotonic()
    is_head = requests[0].startswith(b"HEAD")
    idle = [Line(address) for _ in range(parallel)]
    polls, sent = selectors.DefaultSelector(), 0
    while (waiting or polls.get_map()) and time.monotonic() - start < BURST_SECONDS_MAX:
        due = start + sent / rate
        if waiting and idle and time.monotonic() >= due:
            line = idle.pop(0)
            line.ask(waiting.pop())
            polls.register(line.socket, selectors.EVENT_READ, line)
            sent += 1
            continue
        patience = max(0.0, due - time.monotonic()) if waiting and idle else 1.0
        if not polls.get_map():
            time.sleep(patience)
            continue
        for key, _ in polls.select(patience):
            if key.data.take(is_head):
                what = key.data.what()
                seen[what] = seen.get(what, 0) + 1
                polls.unregister(key.fileobj)
                idle.append(key.data)
    report.send((time.monotonic() - start, seen))


def beside(server, kind, options):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    arguments = (server.address, requests_of(kind, options), options.rates[kind], options.parallel, sender)
    other = multiprocessing.Process(target=burst, args=arguments, daemon=True)
    before = server.cpu_seconds()
    other.start()
    found = hot(server, options, receiver.poll)
    seconds, seen = receiver.recv()
    other.join()
    return found, dict(seconds=seconds, seen=seen, cpu=server.cpu_seconds() - before)


def hot(server, options, is_over):
    return open_loop.latencies(server.address, "/hot.txt", HOT_FILE_BYTES, 1 / options.rate, options.connections, is_over)


def one_round(server, kind, options):
    end = time.monotonic() + QUIET_SECONDS
    found = {"quiet": (hot(server, options, lambda: time.monotonic() > end), None)}
    touch(options.folder, kind, options)
    found["burst"] = beside(server, kind, options)
    time.sleep(SETTLE_SECONDS)
    found["sent again"] = beside(server, kind, options)
    return found


def show(kind, rounds):
    print(f"\n{kind}")
    print(f"  {'':12} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'p99.9 ms':>9} {'max ms':>8} {'p99/quiet':>10}   the burst")
    quiet = [open_loop.percentile(r["quiet"][0], 0.99) for r in rounds]
    for state in rounds[0]:
        column = lambda share: statistics.median(open_loop.percentile(r[state][0], share) for r in rounds)
        ratio = statistics.median(open_loop.percentile(r[state][0], 0.99) / q for r, q in zip(rounds, quiet))
        line = (f"  {state:12} {column(0.5):8.3f} {column(0.9):8.3f} {column(0.99):8.3f} {column(0.999):9.3f} "
                f"{statistics.median(r[state][0][-1] * 1e3 for r in rounds):8.3f} {ratio:10.2f}")
        if rounds[0][state][1]:
            seconds = statistics.median(r[state][1]["seconds"] for r in rounds)
            cpu = statistics.median(r[state][1]["cpu"] for r in rounds)
            seen = ", ".join(f"{count} x {what}" for what, count in sorted(rounds[-1][state][1]["seen"].items()))
            line += f"   {seconds:.1f} s, {cpu:.1f} s of the server's CPU: {seen}"
        print(line)
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to put the files; default: a temporary folder in TMPDIR")
    parser.add_argument("--with", dest="kinds", default="compress,digest,listing", help="of compress, digest, listing")
    parser.add_argument("--files", type=int, default=600, help="files to compress")
    parser.add_argument("--kilobytes", type=int, default=256, help="of each")
    parser.add_argument("--files-rate", type=float, default=200, help="of these a second")
    parser.add_argument("--coding", default="gzip", help="what the burst accepts")
    parser.add_argument("--digests", type=int, default=16, help="files to digest, of 256 MB")
    parser.add_argument("--digests-rate", type=float, default=5, help="of these a second")
    parser.add_argument("--listings", type=int, default=30, help="requests for the listing")
    parser.add_argument("--listings-rate", type=float, default=6, help="of these a second")
    parser.add_argument("--parallel", type=int, default=32, help="requests of the burst at a time")
    parser.add_argument("--rate", type=int, default=2000, help="small requests a second")
    parser.add_argument("--connections", type=int, default=8, help="of the small requests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpus", default="0,1", help="of the server and of the clients")
    parser.add_argument("--arguments", default="", help="more arguments for `headwater serve`")
    options = parser.parse_args()
    options.kinds = options.kinds.split(",")
    options.rates = dict(compress=options.files_rate, digest=options.digests_rate, listing=options.listings_rate)
    if unknown := [kind for kind in options.kinds if kind not in ("compress", "digest", "listing")]:
        parser.error(f"no kind of burst {unknown[0]}; choose from compress, digest, listing")
    cpus = {int(cpu) for cpu in options.cpus.split(",")}
    if not cpus <= os.sched_getaffinity(0):
        sys.exit(f"this needs the CPUs {options.cpus}; choose others with --cpus")
    os.sched_setaffinity(0, cpus)
    with tempfile.TemporaryDirectory(prefix="headwater-burst-", dir=options.folder) as work:
        os.chmod(work, 0o755)
        options.folder = f"{work}/www"
        os.mkdir(options.folder)
        make_files(options.folder, options)
        arguments = ["--browse", *options.arguments.split()]
        server = servers.Server("headwater", options.folder, work, cpus, arguments)
        print(f"{options.rate} requests a second for 1 KB on {options.connections} connections, CPUs {options.cpus}; "
              f"bursts of at most {options.parallel} requests at a time; medians of {options.rounds} rounds")
        try:
            open_loop.go_first()
            for kind in options.kinds:
                show(kind, [one_round(server, kind, options) for _ in range(options.rounds)])
        finally:
            open_loop.go_with_others()
            server.stop()


if __name__ == "__main__":
    main()
