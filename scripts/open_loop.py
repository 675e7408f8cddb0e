"""Small requests at a fixed rate, answered or not: the ground that cold.py and
compress_burst.py stand on. A request leaves when it is due, whether those before
it were answered, so that a stall is seen by all requests that it held up."""
import collections
import os
import select
import socket
import sys
import time

CONNECT_SECONDS_MAX = 60
IDLE_SECONDS_MAX = 1.0


def go_first():
    """Puts this process before others on its CPU; what it starts later is not."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        print("without the right to a real-time priority; latencies include waits for a CPU")


def go_last():
    """Leaves the CPUs to all others: this process stands for clients elsewhere."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def go_with_others():
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def percentile(latencies, share):
    """In milliseconds, of sorted latencies in seconds."""
    return latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1e3


class _Connection:
    """A connection on which every answer is as long as the first."""

    def __init__(self, address, request, body_bytes):
        self.socket = socket.create_connection(address, CONNECT_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)
        first = b""
        while b"\r\n\r\n" not in first or len(first.split(b"\r\n\r\n", 1)[1]) < body_bytes:
            piece = self.socket.recv(65536)
            if not piece:
                sys.exit("the server closed the connection of the small requests")
            first += piece
        if not first.startswith(b"HTTP/1.1 200"):
            sys.exit(f"the small requests are not answered: {first[:100]}")
        self.answer_bytes, self.received, self.due = len(first), 0, collections.deque()

    def take(self, latencies):
        piece = self.socket.recv(65536)
        if not piece:
            sys.exit("the server closed the connection of the small requests")
        self.received += len(piece)
        while self.received >= self.answer_bytes:
            self.received -= self.answer_bytes
            latencies.append(time.perf_counter() - self.due.popleft())


def latencies(address, path, body_bytes, interval, connections, is_over):
    """Latencies in seconds, sorted, of requests for a small file that leave every `interval`
    seconds, by turns on so many connections, until `is_over()`."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    lines = [_Connection(address, request, body_bytes) for _ in range(connections)]
    by_number = {line.socket.fileno(): line for line in lines}
    found, sent, next_due = [], 0, time.perf_counter()
    over = False
    while not over or any(line.due for line in lines):
        over = over or is_over()
        now = time.perf_counter()
        if now >= next_due and not over:
            line = lines[sent % connections]
            line.socket.sendall(request)
            line.due.append(next_due)
            sent += 1
            next_due += interval
            continue
        # select waits to the microsecond, epoll only to the millisecond
        ready = select.select(by_number, [], [], IDLE_SECONDS_MAX if over else max(0.0, next_due - now))[0]
        for number in ready:
            by_number[number].take(found)
    for line in lines:
        line.socket.close()
    return sorted(found)
