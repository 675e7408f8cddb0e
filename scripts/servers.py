"""Starts headwater and other servers on one folder, pinned to one CPU, each as
its own documentation would have it for static files: the ground that compare.sh,
cold.py, compress_burst.py and idle_memory.py stand on."""
import os
import shutil
import socket
import subprocess
import sys
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS_MAX = 5
STOP_SECONDS_MAX = 5
KEEPALIVE_SECONDS = 600
REQUESTS_PER_CONNECTION = 1_000_000_000


def release_binary():
    """The built binary, or the one that HEADWATER names."""
    repository = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    target = os.path.join(repository, os.environ.get("CARGO_TARGET_DIR", "target"))
    path = os.environ.get("HEADWATER", os.path.join(target, "release", "headwater"))
    if not os.path.exists(path):
        sys.exit(f"{path} is not there; build it with: cargo build --release")
    return os.path.abspath(path)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def headwater(folder, work, cpu, port, arguments=()):
    return [release_binary(), "serve", folder, "--listen", f"127.0.0.1:{port}", "--cores", str(cpu),
            "--admin", "off", "--idle-timeout", f"{KEEPALIVE_SECONDS}s", *arguments]


def nginx(folder, work, cpu, port):
    temporary = "".join(f"{kind}_temp_path {work}/nginx-{kind}; "
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    with open(f"{work}/nginx.conf", "w") as f:
        f.write(f"""{user} daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; {temporary}
  keepalive_timeout {KEEPALIVE_SECONDS}s; keepalive_requests {REQUESTS_PER_CONNECTION};
  open_file_cache max=10000; open_file_cache_valid 60s;
  default_type application/octet-stream; types {{ text/html html; text/plain txt; }}
  server {{ listen 127.0.0.1:{port} reuseport backlog=65535; root {folder}; }}
}}
""")
    return ["nginx", "-c", f"{work}/nginx.conf", "-e", f"{work}/nginx.log"]


def lighttpd(folder, work, cpu, port):
    with open(f"{work}/lighttpd.conf", "w") as f:
        f.write(f"""server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.network-backend = "sendfile"
server.max-fds = 16384
server.max-connections = 8192
server.max-keep-alive-requests = {REQUESTS_PER_CONNECTION}
server.max-keep-alive-idle = {KEEPALIVE_SECONDS}
mimetype.assign = (".html" => "text/html", ".txt" => "text/plain", "" => "application/octet-stream")
""")
    return ["lighttpd", "-D", "-f", f"{work}/lighttpd.conf"]


def h2o(folder, work, cpu, port):
    user = "user: root\n" if os.geteuid() == 0 else ""
    with open(f"{work}/h2o.conf", "w") as f:
        f.write(f"""{user}num-threads: 1
http1-request-timeout: {KEEPALIVE_SECONDS}
listen: {{host: 127.0.0.1, port: {port}}}
hosts: {{default: {{paths: {{"/": {{file.dir: "{folder}"}}}}}}}}
""")
    return ["h2o", "-c", f"{work}/h2o.conf"]


COMMANDS = {"headwater": headwater, "nginx": nginx, "lighttpd": lighttpd, "h2o": h2o}


def installed(name):
    # nginx and lighttpd live in sbin, which is not on everybody's path.
    os.environ["PATH"] = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return name == "headwater" or shutil.which(name) is not None


class Server:
    """A server at work on a port of its own, on this CPU or, headwater alone, on a set of them."""

    def __init__(self, name, folder, work, cpu, arguments=()):
        cpus = cpu if isinstance(cpu, set) else {cpu}
        cpu = ",".join(map(str, sorted(cpus)))
        self.name, self.port = name, free_port()
        command = COMMANDS[name](folder, work, cpu, self.port, *([arguments] if name == "headwater" else []))
        self.log = f"{work}/{name}.err"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log,
                                            preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(self.address, 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.stop()
                    sys.exit(f"{name} did not start: {open(self.log).read()}")
                time.sleep(0.02)

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def pids(self):
        """The server's process and all that it has started."""
        found = [self.process.pid]
        for pid in found:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as f:
                    found += map(int, f.read().split())
        return found

    def cpu_seconds(self):
        """User and system time so far, the kernel's workers for it included."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS_PER_SECOND

    def anonymous_bytes(self):
        """Memory of its own that is resident: RssAnon of proc(5)."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/status") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("RssAnon:")) * 1024
        return total

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
