#!/usr/bin/env python3
"""The checks of interop.sh that no command line client can make.

    interop_client.py run HOST:PORT FOLDER            all of them; exits 1 if one failed
    interop_client.py parts HEAD BODY FILE RANGE...   is a multipart answer what the ranges ask for?
"""
import email.parser
import email.policy
import hashlib
import http.client
import os
import random
import re
import socket
import sys
import time

SOCKET_SECONDS_MAX = 20
failed = 0


def check(name, expected, found):
    global failed
    if expected == found:
        print(f"  ok    {name}")
    else:
        failed += 1
        print(f"  FAIL  {name}\n        expected {expected!r:.300}\n        found    {found!r:.300}")
    sys.stdout.flush()


def multipart(content_type, body):
    """The (content-range, bytes) pairs of a multipart/byteranges body."""
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    boundary = message.get_boundary().encode()
    found = []
    for piece in body.split(b"--" + boundary)[1:-1]:
        head, _, data = piece[2:].partition(b"\r\n\r\n")
        content_range = re.search(rb"(?i)^content-range: *(.*?)\r?$", head, re.M)[1]
        found.append((content_range.decode(), data[:-2]))
    return found


def expected_parts(file, ranges):
    size, out = os.path.getsize(file), []
    with open(file, "rb") as f:
        for text in ranges:
            first, last = map(int, text.split("-"))
            f.seek(first)
            out.append((f"bytes {first}-{last}/{size}", f.read(last - first + 1)))
    return out


def parts(head, body, file, *ranges):
    content_type = re.search(r"(?i)^content-type: *(.*?)\r?$", open(head, newline="").read(), re.M)[1]
    found = multipart(content_type, open(body, "rb").read())
    expected = expected_parts(file, ranges)
    if found != expected:
        print([r for r, _ in found], "instead of", [r for r, _ in expected])
        sys.exit(1)


class Client:
    """A bare socket with just enough HTTP to read answers one by one."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, SOCKET_SECONDS_MAX)
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def answer(self, has_body=True):
        """Status, fields, body of the next answer; None at the end of the stream."""
        line = self.reader.readline()
        if not line:
            return None
        fields = {}
        while (field := self.reader.readline().strip()):
            name, _, value = field.partition(b":")
            fields[name.decode().lower()] = value.strip().decode()
        body = self.reader.read(int(fields.get("content-length", 0))) if has_body else b""
        return int(line.split()[1]), fields, body

    def ended(self):
        return self.reader.read(1) == b""


def get(path, *lines, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def pipelining(address, site):
    hello, medium = (open(f"{site}/{n}", "rb").read() for n in ("hello.txt", "medium.bin"))
    with Client(address) as client:
        client.socket.sendall(get("/hello.txt") * 1000)
        right = sum(client.answer()[::2] == (200, hello) for _ in range(1000))
        check("1000 requests in one write", 1000, right)
    mix = [("/hello.txt", 200, hello), ("/medium.bin", 200, medium), ("/none", 404, None),
           ("/empty.txt", 200, b""), ("/tree/", 200, None), ("/medium.bin", 200, medium)] * 20
    with Client(address) as client:
        client.socket.sendall(b"".join(get(path) for path, _, _ in mix))
        right = 0
        for _, status, body in mix:
            answer = client.answer()
            right += answer[0] == status and body in (None, answer[2])
        check("120 mixed requests in one write are answered in their order", 120, right)
    with Client(address) as client:
        client.socket.sendall(get("/big.bin", method="HEAD") + get("/hello.txt"))
        size, hello_found = int(client.answer(has_body=False)[1]["content-length"]), client.answer()[2]
        check("a request after a HEAD", (os.path.getsize(f"{site}/big.bin"), hello), (size, hello_found))
    with Client(address) as client:
        client.socket.sendall(get("/hello.txt") * 3 + get("/hello.txt", "Connection: close") + get("/medium.bin"))
        answers = [client.answer() for _ in range(4)]
        check("nothing is answered after Connection: close",
              ([200] * 4, "close", True),
              ([a[0] for a in answers], answers[3][1].get("connection"), client.ended()))


def pieces(address, site):
    hello = open(f"{site}/hello.txt", "rb").read()
    with Client(address) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in get("/hello.txt", "User-Agent: slow") * 2:
            client.socket.send(bytes([byte]))
        check("requests that come byte by byte", [(200, hello)] * 2, [client.answer()[::2] for _ in range(2)])
    with Client(address) as client:
        client.socket.sendall(get("/hello.txt"))
        client.socket.shutdown(socket.SHUT_WR)
        check("an answer for a client that has closed its side", (200, hello, True),
              (*client.answer()[::2], client.ended()))
    with Client(address) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.socket.sendall(get("/medium.bin") * 50)
        time.sleep(0.2)  # not to wait for something, but to let the server's buffers fill up
        medium = open(f"{site}/medium.bin", "rb").read()
        check("5 MB for a client that starts to read late", 50,
              sum(client.answer()[2] == medium for _ in range(50)))


def bodies(address, site):
    hello = open(f"{site}/hello.txt", "rb").read()
    with Client(address) as client:
        body = b"x" * 1000
        client.socket.sendall(get("/hello.txt", "Content-Length: 1000", method="POST") + body
                              + get("/hello.txt", "Transfer-Encoding: chunked", method="POST")
                              + b"3e8\r\n" + body + b"\r\n0\r\n\r\n" + get("/hello.txt"))
        check("bodies that nobody wanted are skipped", [405, 405, 200], [client.answer()[0] for _ in range(3)])
    with Client(address) as client:
        client.socket.sendall(get("/hello.txt", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST")
                              + b"0\r\n\r\n" + get("/hello.txt"))
        check("two lengths are refused and the connection ends", (400, None),
              (client.answer()[0], client.answer()))
    for name, request, status in [
        ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
        ("a bare LF in a field", b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
        ("a folded line", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        ("a head of 20 KB", get("/", "A: " + "x" * 20000), 431),
        ("a target of 10 KB", get("/" + "x" * 10000), 414),
        ("HTTP/3.0 in text", b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    ]:
        with Client(address) as client:
            client.socket.sendall(request)
            check(f"{name} is {status}", status, client.answer()[0])
    with Client(address) as client:
        client.socket.sendall(get("/hello.txt"))
        check("the server goes on", (200, hello), client.answer()[::2])


def ranges(address, site):
    chance = random.Random(1)  # the same ranges in every run
    connection = http.client.HTTPConnection(*address, timeout=SOCKET_SECONDS_MAX)
    size, right = os.path.getsize(f"{site}/big.bin"), 0
    with open(f"{site}/big.bin", "rb") as f:
        for _ in range(300):
            first = chance.randrange(size)
            last = min(size - 1, first + chance.choice([0, 99, 4096, 65536, 1 << 20]))
            connection.request("GET", "/big.bin", headers={"Range": f"bytes={first}-{last}"})
            answer = connection.getresponse()
            body = answer.read()
            f.seek(first)
            right += (answer.status == 206 and answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
                      and body == f.read(last - first + 1))
    check("300 random ranges of 300 MB on one connection", 300, right)
    wanted = ["0-0", "99999999-100000999", "314572790-314572799"]
    connection.request("GET", "/big.bin", headers={"Range": "bytes=" + ",".join(wanted)})
    answer = connection.getresponse()
    check("three ranges", (206, expected_parts(f"{site}/big.bin", wanted)),
          (answer.status, multipart(answer.headers["content-type"], answer.read())))


def conditions(address, site):
    connection = http.client.HTTPConnection(*address, timeout=SOCKET_SECONDS_MAX)

    def ask(path="/medium.bin", **fields):
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()

    answer, medium = ask()
    tag, date = answer.headers["etag"], answer.headers["last-modified"]
    early = "Mon, 01 Jan 2001 00:00:00 GMT"
    check("the whole file", hashlib.sha256(open(f"{site}/medium.bin", "rb").read()).digest(),
          hashlib.sha256(medium).digest())
    for name, status, fields in [
        ("If-None-Match with the tag", 304, dict(If_None_Match=f'"x", W/{tag}')),
        ("If-None-Match wins over If-Modified-Since", 200, dict(If_None_Match='"x"', If_Modified_Since=date)),
        ("If-Modified-Since", 304, dict(If_Modified_Since=date)),
        ("If-Match with another tag", 412, dict(If_Match='"x"')),
        ("If-Unmodified-Since of long ago", 412, dict(If_Unmodified_Since=early)),
        ("If-Range with the tag", 206, dict(If_Range=tag, Range="bytes=0-9")),
        ("If-Range with another tag", 200, dict(If_Range='"x"', Range="bytes=0-9")),
        ("a range in an unknown unit is ignored", 200, dict(Range="lines=0-9")),
    ]:
        answer, body = ask(**fields)
        whole = {200: medium, 206: medium[:10], 304: b""}.get(status, body)
        check(f"{name} is {status}", (status, True), (answer.status, body == whole))
    path = f"{site}/changing.txt"
    open(path, "w").write("old")
    tag = ask("/changing.txt")[0].headers["etag"]
    os.rename(path, path + ".old")
    open(path, "w").write("new, and longer")
    end = time.monotonic() + 5  # the cache may show the old file for its second
    while ask("/changing.txt", If_None_Match=tag)[0].status == 304 and time.monotonic() < end:
        pass
    check("a file that was replaced", b"new, and longer", ask("/changing.txt", If_None_Match=tag)[1])


def run(address, site):
    host, port = address.rsplit(":", 1)
    for checks in (pipelining, pieces, bodies, ranges, conditions):
        try:
            checks((host, int(port)), site)
        except Exception as e:  # an answer that isn't one: the other checks still have their turn
            check(f"{checks.__name__} to their end", "no exception", f"{type(e).__name__}: {e}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    {"run": run, "parts": parts}[sys.argv[1]](*sys.argv[2:])
