#!/usr/bin/env python3
"""Does a slow disk delay anybody but those who read from it?

Drops big files from the page cache, downloads them from one server while small
cached requests go to the same server at a fixed rate on a connection of their
own, and tells the latencies of the latter. A request leaves when it is due,
whether those before it were answered or not, so that a stall is seen by all
requests that it held up. The
server has CPU 0 and one worker, the clients have CPU 1. Rounds alternate the
servers; figures are medians over the rounds. "alone" is the same without
downloads. The disk is the one under --folder, as fast as it is. Run by cold.sh.
"""
import argparse
import multiprocessing
import os
import selectors
import socket
import statistics
import sys
import tempfile
import time

import open_loop
import servers

SERVER_CPU, CLIENT_CPU = 0, 1
CHUNK = 1 << 20
ALONE_SECONDS = 2
ROUND_SECONDS_MAX = 60
HOT_FILE_BYTES = 1024
DROP_ATTEMPTS = 40


def make_files(folder, count, size):
    for index in range(count):
        with open(f"{folder}/cold-{index}.bin", "wb") as f:
            for _ in range(size // CHUNK):
                f.write(os.urandom(CHUNK))
            os.fsync(f.fileno())
    with open(f"{folder}/hot.txt", "wb") as f:
        f.write(b"x" * HOT_FILE_BYTES)


def is_cached(fd, offset):
    try:
        return os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False


def drop(folder, count, size):
    """Takes the files out of the page cache (posix_fadvise(2)) and makes sure of it."""
    for index in range(count):
        fd = os.open(f"{folder}/cold-{index}.bin", os.O_RDONLY)
        for attempt in range(DROP_ATTEMPTS):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if not any(is_cached(fd, offset) for offset in range(0, size, CHUNK)):
                break
            time.sleep(0.05)  # pages that a socket or a disk still holds can't be dropped
        else:
            sys.exit(f"{folder} keeps its files in memory (tmpfs?); choose a folder on a disk with --folder")
        os.close(fd)


def download(address, count, size, parallel, report):
    """Downloads all files, `parallel` at a time; reports the bytes and the seconds."""
    os.sched_setaffinity(0, {CLIENT_CPU})
    waiting = list(range(count))
    polls, buffer, received = selectors.DefaultSelector(), bytearray(CHUNK), 0
    start = time.monotonic()

    def begin():
        connection = socket.create_connection(address)
        request = f"GET /cold-{waiting.pop(0)}.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        polls.register(connection, selectors.EVENT_READ)

    for _ in range(min(parallel, count)):
        begin()
    while polls.get_map() and time.monotonic() - start < ROUND_SECONDS_MAX:
        for key, _ in polls.select(1):
            found = key.fileobj.recv_into(buffer)
            received += found
            if found == 0:
                polls.unregister(key.fileobj)
                key.fileobj.close()
                if waiting:
                    begin()
    report.send((received, time.monotonic() - start))


def hot(address, interval, is_over):
    """Latencies in seconds of small requests that leave at a fixed rate on one connection."""
    return open_loop.latencies(address, "/hot.txt", HOT_FILE_BYTES, interval, 1, is_over)


def beside_downloads(server, options):
    """Latencies while all the files are downloaded, and the downloads' MB/s."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    arguments = (server.address, options.files, options.size, options.parallel, sender)
    downloads = multiprocessing.Process(target=download, args=arguments, daemon=True)
    downloads.start()
    latencies = hot(server.address, options.interval_ms / 1e3, receiver.poll)
    received, seconds = receiver.recv()
    downloads.join()
    if received < options.files * options.size:
        sys.exit(f"{server.name} gave {received} bytes of {options.files * options.size}")
    return latencies, received / seconds / 1e6


def one_round(server, options):
    """For each state: p50, p99 and greatest latency in milliseconds, and the downloads' MB/s."""
    end = time.monotonic() + ALONE_SECONDS
    found = {"alone": (hot(server.address, options.interval_ms / 1e3, lambda: time.monotonic() > end), 0.0)}
    drop(options.folder, options.files, options.size)
    found["cold downloads"] = beside_downloads(server, options)
    found["the same, cached"] = beside_downloads(server, options)
    at = open_loop.percentile
    return {state: (at(latencies, 0.5), at(latencies, 0.99), latencies[-1] * 1e3, rate)
            for state, (latencies, rate) in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to put the files; default: a temporary folder in TMPDIR")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--megabytes", type=int, default=64, help="of each file")
    parser.add_argument("--parallel", type=int, default=32, help="downloads at a time")
    parser.add_argument("--interval-ms", type=float, default=2, help="between two small requests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default="headwater,nginx")
    options = parser.parse_args()
    options.size = options.megabytes * CHUNK
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        sys.exit("this needs CPU 0 for the server and CPU 1 for the clients")
    os.sched_setaffinity(0, {CLIENT_CPU})
    names = [name for name in options.servers.split(",") if servers.installed(name)]
    with tempfile.TemporaryDirectory(prefix="headwater-cold-", dir=options.folder) as work:
        os.chmod(work, 0o755)
        options.folder = f"{work}/www"
        os.mkdir(options.folder)
        make_files(options.folder, options.files, options.size)
        running, rounds = [], {name: [] for name in names}
        try:
            for name in names:
                running.append(servers.Server(name, options.folder, work, SERVER_CPU))
            open_loop.go_first()  # before the downloads on their CPU
            for _ in range(options.rounds):
                for server in running:
                    rounds[server.name].append(one_round(server, options))
        finally:
            open_loop.go_with_others()
            for server in running:
                server.stop()
    print(f"{options.files} cold files of {options.megabytes} MB, {options.parallel} downloads at a time; a request "
          f"for 1 KB every {options.interval_ms:g} ms; latencies in ms, medians of {options.rounds} rounds")
    print(f"{'':10} {'beside':18} {'p50':>9} {'p99':>9} {'max':>9} {'MB/s':>7}")
    for state in next(iter(rounds.values()))[0]:
        for name, found in rounds.items():
            p50, p99, greatest, rate = (statistics.median(column) for column in zip(*(r[state] for r in found)))
            print(f"{name:10} {state:18} {p50:9.2f} {p99:9.2f} {greatest:9.2f} {rate:7.0f}")


if __name__ == "__main__":
    main()
