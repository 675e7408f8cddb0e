#!/usr/bin/env python3
"""How much user memory an idle keep-alive connection costs the server.

Opens many connections, makes one request on each, and divides the growth of the
server's RssAnon by their number. Exits 1 above the bound. Run by idle_memory.sh.
"""
import argparse
import os
import resource
import socket
import sys
import tempfile

import servers

DESCRIPTORS_RESERVED = 100
BATCH = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=9000)
    parser.add_argument("--bytes-max", type=int, default=1024, help="exit 1 above this many bytes a connection")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < options.connections + DESCRIPTORS_RESERVED:
        sys.exit(f"{options.connections} connections need more than {hard} descriptors; raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="headwater-idle-") as work:
        os.chmod(work, 0o755)
        with open(f"{work}/hello.txt", "w") as f:
            f.write("headwater\n" * 100)
        with servers.Server("headwater", work, work, cpu=0) as server:
            request = b"GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"

            def ask(connection):
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b"headwater\n" * 100):
                    piece = connection.recv(65536)
                    if not piece:
                        sys.exit(f"the server closed a connection after {len(connections)}: {answer[:200]!r}")
                    answer += piece

            connections = []

            def open_one():
                connections.append(socket.create_connection(server.address, 10))
                ask(connections[-1])

            open_one()  # what the first request brings into memory is there once
            before = server.anonymous_bytes()
            while len(connections) <= options.connections:
                open_one()
            after = server.anonymous_bytes()
            for connection in connections[:: len(connections) // BATCH]:
                ask(connection)  # they are alive
            each = (after - before) / (len(connections) - 1)
            print(f"{len(connections) - 1} idle connections: RssAnon grew from {before // 1024} KiB "
                  f"to {after // 1024} KiB: {each:.0f} bytes a connection (at most {options.bytes_max})")
            for connection in connections:
                connection.close()
    sys.exit(0 if each <= options.bytes_max else 1)


if __name__ == "__main__":
    main()
