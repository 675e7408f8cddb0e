#!/usr/bin/env python3
"""Do the latencies of `headwater load` at a rate agree with those of other tools that count
from the moment at which a request was due?

nginx has CPU 0, the clients CPU 1. nginx's worker is stopped for a while (SIGSTOP) in every
period, so that most of the P99 is known: of requests that are due evenly, those in a stop of
S seconds wait from S down to nothing, and with a stop in every T seconds the P99 is S - T/100.
A round runs every client once; figures are medians over the rounds.

    scripts/load_agreement.py                    three rounds of ten seconds
    scripts/load_agreement.py --rate 5000 --stop 0.4

The clients:
    headwater  headwater load --rate: due on a schedule of all connections, late ones sent at once
    wrk2       its method, in this script: every connection has a schedule of its own, one that is
               late catches up at twice its rate, and a latency runs from
               start + completed / rate of the connection
    oha        oha -q RATE --latency-correction, where it is installed (cargo install oha)

Needs nginx: apt-get install nginx-light
Build headwater first (cargo build --release), or name a binary in HEADWATER.
"""
import argparse
import json
import os
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

import servers
from clients import CLIENT_CPU, SERVER_CPU, machine

CATCH_UP = 2
"""wrk2's own factor."""
PATH = "/small.html"
BODY_BYTES = 1024
FIRST_STOP_S = 0.5


def stops(pid, options, over):
    """Stops the process for `options.stop` in every `options.period` seconds."""
    at = time.monotonic() + FIRST_STOP_S
    while not over.wait(max(0.0, at - time.monotonic())):
        os.kill(pid, signal.SIGSTOP)
        # An exact end: the stop is what is measured.
        while (left := at + options.stop - time.monotonic()) > 0:
            time.sleep(left)
        os.kill(pid, signal.SIGCONT)
        at += options.period


def run_headwater(url, options):
    command = [servers.release_binary(), "load", url, "-c", str(options.connections), "--rate", str(options.rate),
               "-d", f"{options.seconds}s", "--json", "-"]
    told = json.loads(on_client_cpu(command))
    times = told["response_time_us"]
    return {50: times["p50"] / 1e3, 90: times["p90"] / 1e3, 99: times["p99"] / 1e3}, told["rate_per_s"]


def run_oha(url, options):
    command = ["oha", "-c", str(options.connections), "-q", str(options.rate), "-z", f"{options.seconds}s",
               "--latency-correction", "--no-tui", "--output-format", "json", url]
    told = json.loads(on_client_cpu(command))
    times = told["latencyPercentiles"]
    return {p: times[f"p{p}"] * 1e3 for p in (50, 90, 99)}, told["summary"]["requestsPerSec"]


def on_client_cpu(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CPU}))
    if not done.stdout.startswith("{"):
        sys.exit(f"{command[0]} failed with {done.returncode}")
    return done.stdout


class Wrk2Connection:
    """One connection by wrk2's method: a schedule of its own, and one request under way."""

    def __init__(self, address, interval, start):
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self.interval, self.start = interval, start
        self.completed, self.received, self.answer_bytes = 0, 0, None
        self.under_way, self.next_send = False, start
        self.catch_up_start, self.catch_up_completed = None, 0

    def send(self):
        self.socket.sendall(self.request)
        self.under_way = True

    def take(self, now, latencies):
        piece = self.socket.recv(65536)
        if not piece:
            sys.exit("the server closed a connection")
        if self.answer_bytes is None:
            self.answer_bytes = piece.index(b"\r\n\r\n") + 4 + BODY_BYTES
        self.received += len(piece)
        if self.received < self.answer_bytes:
            return
        self.received = 0
        latencies.append(now - (self.start + self.completed * self.interval))
        self.completed += 1
        self.under_way = False
        due = self.start + self.completed * self.interval
        if due > now:
            self.catch_up_start, self.next_send = None, due
            return
        if self.catch_up_start is None:
            self.catch_up_start, self.catch_up_completed = now, self.completed
        since = self.completed - self.catch_up_completed
        self.next_send = max(now, self.catch_up_start + since * self.interval / CATCH_UP)


def run_wrk2_method(url, options):
    os.sched_setaffinity(0, {CLIENT_CPU})
    host, port = url.split("/")[2].split(":")
    interval = options.connections / options.rate
    start = time.perf_counter() + 0.1
    lines = [Wrk2Connection((host, int(port)), interval, start) for _ in range(options.connections)]
    poll = select.epoll()
    by_number = {line.socket.fileno(): line for line in lines}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    # Connections begin apart, as they do where each is made after the other.
    for index, line in enumerate(lines):
        line.start += index * interval / len(lines)
        line.next_send = line.start
    latencies, end = [], start + options.seconds
    while (now := time.perf_counter()) < end:
        waiting = end
        for line in lines:
            if line.under_way:
                continue
            if line.next_send <= now:
                line.send()
            else:
                waiting = min(waiting, line.next_send)
        for number, _ in poll.poll(min(0.001, max(0.0, waiting - now))):
            by_number[number].take(time.perf_counter(), latencies)
    for line in lines:
        line.socket.close()
    os.sched_setaffinity(0, {SERVER_CPU, CLIENT_CPU})
    latencies.sort()
    at = lambda percent: latencies[min(len(latencies) - 1, len(latencies) * percent // 100)] * 1e3
    return {p: at(p) for p in (50, 90, 99)}, len(latencies) / options.seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="length of each measurement")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--stop", type=float, default=0.3, help="seconds of each stop")
    parser.add_argument("--period", type=float, default=1.0, help="seconds from one stop to the next")
    options = parser.parse_args()
    if not servers.installed("nginx"):
        sys.exit("nginx is not installed: apt-get install nginx-light")
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        sys.exit("the measurement needs CPUs 0 and 1")
    clients = {"headwater": run_headwater, "wrk2": run_wrk2_method}
    if shutil.which("oha"):
        clients["oha"] = run_oha
    else:
        print("oha is not installed, and left out: cargo install oha")
    print(machine())
    rounds = []
    with tempfile.TemporaryDirectory() as work:
        os.mkdir(f"{work}/www")
        with open(f"{work}/www{PATH}", "w") as f:
            f.write("x" * BODY_BYTES)
        with servers.Server("nginx", f"{work}/www", work, SERVER_CPU) as server:
            worker = server.pids()[-1]
            url = f"http://127.0.0.1:{server.port}{PATH}"
            for _ in range(options.rounds):
                results = {}
                for name, run in clients.items():
                    over = threading.Event()
                    thread = threading.Thread(target=stops, args=(worker, options, over))
                    thread.start()
                    try:
                        results[name] = run(url, options)
                    finally:
                        over.set()
                        thread.join()
                rounds.append(results)
    expected = (options.stop - options.period / 100) * 1e3
    print(f"{options.rate} requests/s on {options.connections} connections, the server stopped for "
          f"{options.stop * 1e3:.0f} ms in every {options.period:g} s: P99 by the formula {expected:.0f} ms")
    print(f"  {'client':10} {'req/s':>8} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9}  headwater's p99 / this")
    for name in clients:
        of = {p: statistics.median(r[name][0][p] for r in rounds) for p in (50, 90, 99)}
        rate = statistics.median(r[name][1] for r in rounds)
        ratio = statistics.median(r["headwater"][0][99] / r[name][0][99] for r in rounds)
        print(f"  {name:10} {rate:8.0f} {of[50]:9.2f} {of[90]:9.1f} {of[99]:9.1f}  {ratio:.3f}")


if __name__ == "__main__":
    main()
