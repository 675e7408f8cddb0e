"""The clients that drive a server in the comparisons, headwater load and wrk, and what they ask for: the
ground that compare.py, compare_load.py and variants.py stand on, beside servers.py."""
import json
import os
import platform
import re
import shlex
import subprocess

import servers

SERVER_CPU, CLIENT_CPU = 0, 1
PIPELINE_DEPTH = 16
KB, MB = 1 << 10, 1 << 20

# name: (what it is, bytes of the file, connections, requests deep, a connection per request)
CASES = {
    "small": ("1 KB files, 64 connections", KB, 64, 1, False),
    "pipelined": (f"5 byte files, 64 connections, {PIPELINE_DEPTH} requests deep", 5, 64, PIPELINE_DEPTH, False),
    "page": ("16 KB files, 64 connections", 16 * KB, 64, 1, False),
    "medium": ("100 KB files, 32 connections", 100 * KB, 32, 1, False),
    "segment": ("1 MB files, 16 connections", MB, 16, 1, False),
    "large": ("10 MB files, 8 connections", 10 * MB, 8, 1, False),
    "churn": ("1 KB files, a connection per request", KB, 64, 1, True),
    "crowd": ("1 KB files, 10,000 connections", KB, 10_000, 1, False),
}
SECONDS_PER_UNIT = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def prepare(work):
    """The files that are asked for, and the script that wrk needs for pipelining."""
    os.chmod(work, 0o755)
    os.mkdir(f"{work}/www")
    for size in {size for _, size, *_ in CASES.values()}:
        with open(f"{work}/www/{size}.html", "wb") as f:
            f.write(os.urandom(size))
    with open(f"{work}/pipeline.lua", "w") as f:
        f.write(f"""local burst
function init() burst = string.rep(wrk.format(nil, wrk.path), {PIPELINE_DEPTH}) end
function request() return burst end
""")


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
        congestion = f.read().strip()
    return (f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
            f"congestion control {congestion}")


def url(server, case):
    return f"http://127.0.0.1:{server.port}/{CASES[case][1]}.html"


def on_client_cpu(command, work):
    """Its output, and the CPU seconds that it took."""
    with open(f"{work}/client.out", "w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=work,
                                 preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CPU}))
        _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
        out.seek(0)
        return out.read(), used.ru_utime + used.ru_stime


def wrk(server, case, seconds, work, more=()):
    """What wrk finds; `requests` is 0 and `wrong` says why where that is nothing."""
    _, _, connections, deep, churn = CASES[case]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", *more]
    command += ["-s", "pipeline.lua"] if deep > 1 else []
    command += ["-H", "Connection: close"] if churn else []
    before = server.cpu_seconds()
    text, cpu = on_client_cpu([*command, url(server, case)], work)
    server_cpu = server.cpu_seconds() - before
    done = re.search(r"(\d+) requests in", text)
    requests = int(done[1]) if done else 0
    latency = {int(percent): float(number) * SECONDS_PER_UNIT[unit] * 1e6
               for percent, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", text)}
    wrong = "; ".join(re.findall(r"(?:Socket errors|Non-2xx).*", text))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return dict(requests=requests, rate=float(rate[1]) if rate else 0.0, client_cpu_us=cpu / max(requests, 1) * 1e6,
                cpu_us=server_cpu / max(requests, 1) * 1e6, busy=cpu / seconds,
                p50_us=latency.get(50, 0.0), p99_us=latency.get(99, 0.0), saturated=False,
                wrong=wrong if requests else f"no answers: {text.strip()[-200:]}")


def headwater(server, case, seconds, work, more=(), report=None):
    """What headwater load measures, and its whole JSON; with `report` its page and JSON go there."""
    _, _, connections, deep, churn = CASES[case]
    command = [servers.release_binary(), "load", url(server, case), f"-c{connections}", f"-d{round(seconds * 1000)}ms",
               "--pid", str(server.process.pid), *more]
    command += ["--connection-per-request"] if churn else ["--pipeline", str(deep)]
    command += ["--report", f"{report}.html"] if report else []
    text, cpu = on_client_cpu([*command, "--json", "-"], work)
    if not text.startswith("{"):
        return dict(requests=0, rate=0.0, client_cpu_us=0.0, cpu_us=0.0, busy=0.0, p50_us=0.0, p99_us=0.0,
                    saturated=False, wrong=f"{shlex.join(command)}: {text.strip()[-200:]}")
    if report:
        with open(f"{report}.json", "w") as f:
            f.write(text)
    told = json.loads(text)
    requests, times = told["requests"], told["service_time_us"]
    failed = {name: count for name, count in told["errors"].items() if count}
    return dict(requests=requests, rate=told["rate_per_s"], client_cpu_us=cpu / max(requests, 1) * 1e6,
                cpu_us=told["server_cpu_us_per_request"], busy=cpu / seconds, p50_us=times["p50"], p99_us=times["p99"],
                saturated=told["verdict"] == "SATURATED CLIENT", told=told,
                wrong=str(failed) if failed else "" if requests else "no answers")
