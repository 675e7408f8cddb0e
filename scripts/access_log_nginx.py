"""Compares the combined access logs of nginx and headwater; see access-log-nginx.sh."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

BODY = b"0123456789" * 100
AGENT = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"

# Each is sent on a connection of its own that is closed after the answer.
REQUESTS = [
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + AGENT + b"\r\n",
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nReferer: https://example.org/a?b=c\r\n" + AGENT + b"\r\n",
    b"GET /file.txt?a=b&c=%22d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /a%20b.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /file.txt HTTP/1.0\r\n\r\n",
    b"HEAD /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=10-19\r\n\r\n",
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n",
    b'GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: a "quoted\\ \xc3\xa9\xff name\r\nReferer: "\r\n\r\n',
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent:\r\nReferer:\r\n\r\n",
    b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=5000-\r\n\r\n",
    b"POST /file.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /file.txt HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
]
# Statuses with a body that each server words in its own way.
OWN_PAGES = {b"400", b"404", b"405", b"416"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    sys.exit(f"in vain: {what}")


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def ask(port, request):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(request)
        while s.recv(65536):
            pass


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def comparable(line):
    line = re.sub(rb"\[[^]]*\]", b"[time]", line)
    match = re.match(rb'(.*" )(\d+) (\d+)( ".*)', line)
    if match and match[2] in OWN_PAGES:
        return match[1] + match[2] + b" own" + match[4]
    return line


def start_nginx(work, root, port):
    conf = os.path.join(work, "nginx.conf")
    with open(conf, "w") as file:
        file.write(
            f"""daemon off; master_process off; pid {work}/nginx.pid; error_log {work}/error.log;
            events {{}}
            http {{
              client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work};
              uwsgi_temp_path {work}; scgi_temp_path {work};
              access_log {work}/nginx.log combined;
              server {{ listen 127.0.0.1:{port}; root {root}; etag on; }}
            }}"""
        )
    return subprocess.Popen(["nginx", "-c", conf, "-p", work])


def start_headwater(binary, work, root, port):
    args = ["serve", root, "--listen", f"127.0.0.1:{port}", "--admin", "off"]
    args += ["--access-log", f"{work}/headwater.log", "--cores", str(min(os.sched_getaffinity(0)))]
    with open(f"{work}/headwater.err", "wb") as err:
        return subprocess.Popen([binary, *args], stderr=err)


def main(binary):
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o755)
        root = os.path.join(work, "root")
        os.mkdir(root)
        for name in ["file.txt", "a b.txt"]:
            with open(os.path.join(root, name), "wb") as file:
                file.write(BODY)
            # nginx answers 304 to this very date only.
            os.utime(os.path.join(root, name), (10**9, 10**9))
        ports = free_port(), free_port()
        servers = [start_nginx(work, root, ports[0]), start_headwater(binary, work, root, ports[1])]
        try:
            for port in ports:
                wait_for("a server", lambda: connects(port))
                for request in REQUESTS:
                    ask(port, request)
            logs = [os.path.join(work, name) for name in ("nginx.log", "headwater.log")]
            for log in logs:
                wait_for("all lines", lambda: read(log).count(b"\n") >= len(REQUESTS))
            lines = [[comparable(line) for line in read(log).splitlines()] for log in logs]
        finally:
            for server in servers:
                server.send_signal(signal.SIGTERM)
            for server in servers:
                server.wait(20)
    different = 0
    for theirs, ours in zip(*lines):
        if theirs != ours:
            different += 1
            print(f"FAIL\n  nginx     {theirs.decode()}\n  headwater {ours.decode()}")
    if len(lines[0]) != len(lines[1]):
        different += 1
        print(f"FAIL {len(lines[0])} lines of nginx, {len(lines[1])} of headwater")
    print(f"{len(lines[0]) - different} of {len(lines[0])} lines are equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
