#!/usr/bin/env python3
"""Measures headwater beside nginx, lighttpd and h2o, in turn and in one run.

Each server has CPU 0 and one worker, the client has CPU 1. A round measures
every server once, so that what drifts (clocks, neighbours) meets all of them;
figures are medians over the rounds, and a ratio is the median of the rounds'
ratios. CPU is the server's own: user and system time per request.

    scripts/compare.py                           all cases, five rounds of three seconds
    scripts/compare.py small large --rounds 9
    scripts/compare.py --markdown                the table of the README
    scripts/compare.py --servers headwater,nginx --json figures.json

Needs wrk, and what is installed of the other servers is measured:
    apt-get install wrk nginx-light lighttpd h2o
Build headwater first (cargo build --release), or name a binary in HEADWATER.
Exits 1 if any server gave a wrong answer.
"""
import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import servers

SERVER_CPU, CLIENT_CPU = 0, 1
PIPELINE_DEPTH = 16
KB, MB = 1 << 10, 1 << 20

# name: (what it is, bytes of the file, connections, what else wrk is told)
CASES = {
    "small": ("1 KB files, 64 connections", KB, 64, []),
    "pipelined": (f"5 byte files, 64 connections, {PIPELINE_DEPTH} requests deep", 5, 64, ["-s", "pipeline.lua"]),
    "page": ("16 KB files, 64 connections", 16 * KB, 64, []),
    "medium": ("100 KB files, 32 connections", 100 * KB, 32, []),
    "segment": ("1 MB files, 16 connections", MB, 16, []),
    "large": ("10 MB files, 8 connections", 10 * MB, 8, []),
    "churn": ("1 KB files, a connection per request", KB, 64, ["-H", "Connection: close"]),
}
SECONDS_PER_UNIT = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def prepare(work):
    os.chmod(work, 0o755)
    os.mkdir(f"{work}/www")
    for size in {size for _, size, _, _ in CASES.values()}:
        with open(f"{work}/www/{size}.html", "wb") as f:
            f.write(os.urandom(size))
    with open(f"{work}/pipeline.lua", "w") as f:
        f.write(f"""local burst
function init() burst = string.rep(wrk.format(nil, wrk.path), {PIPELINE_DEPTH}) end
function request() return burst end
""")


def run_wrk(server, case, seconds, work):
    """Requests done, requests a second, latencies in microseconds by percentile, what went wrong."""
    _, size, connections, more = CASES[case]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more,
               f"http://127.0.0.1:{server.port}/{size}.html"]
    text = subprocess.run(command, capture_output=True, text=True, cwd=work, timeout=seconds + 60,
                          preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CPU})).stdout
    done = re.search(r"(\d+) requests in", text)
    if not done or int(done[1]) == 0:
        return 1, 0.0, {}, f"no answers: {text.strip()[-200:]}"
    latency = {int(percent): float(number) * SECONDS_PER_UNIT[unit] * 1e6
               for percent, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", text)}
    wrong = "; ".join(re.findall(r"(?:Socket errors|Non-2xx).*", text))
    return int(done[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), latency, wrong


def one_round(running, case, seconds, work):
    """What each server does in this case now."""
    found = {}
    for server in running:
        before = server.cpu_seconds()
        done, rate, latency, wrong = run_wrk(server, case, seconds, work)
        cpu = server.cpu_seconds() - before
        found[server.name] = dict(rate=rate, cpu_us=cpu / done * 1e6, cpu_busy=cpu / seconds,
                                  p50_us=latency.get(50, 0.0), p99_us=latency.get(99, 0.0), wrong=wrong)
    return found


def summary(rounds, name):
    """Medians of one server's figures, and its ratios to headwater's."""
    out = {key: statistics.median(r[name][key] for r in rounds)
           for key in ("rate", "cpu_us", "cpu_busy", "p50_us", "p99_us")}
    out["wrong"] = [r[name]["wrong"] for r in rounds if r[name]["wrong"]]
    if "headwater" in rounds[0] and name != "headwater":
        for key in ("rate", "cpu_us", "p50_us"):
            ratios = [r["headwater"][key] / r[name][key] for r in rounds if r[name][key]]
            out[f"headwater_{key}_ratio"] = statistics.median(ratios) if ratios else 0.0
    return out


def print_text(case, figures):
    print(f"\n{case}: {CASES[case][0]}")
    print(f"  {'':10} {'req/s':>10} {'CPU us/req':>11} {'CPU busy':>9} {'p50 us':>9} {'p99 us':>9}   headwater's: CPU, req/s")
    for name, f in figures.items():
        line = (f"  {name:10} {f['rate']:10.0f} {f['cpu_us']:11.2f} {f['cpu_busy']:8.0%} "
                f"{f['p50_us']:9.0f} {f['p99_us']:9.0f}")
        if "headwater_rate_ratio" in f:
            line += f"   x {f['headwater_cpu_us_ratio']:.2f}, x {f['headwater_rate_ratio']:.2f}"
        print(line + (f"   WRONG: {f['wrong'][0]}" if f["wrong"] else ""))


def print_markdown(result, names):
    print("\n| case | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for case, figures in result.items():
        # What pipelining is about is the rate, and everything else the cost.
        cells = [f"{figures[n]['cpu_us']:.1f} us, {figures[n]['rate']:,.0f}/s" for n in names]
        print(f"| {CASES[case][0]} | " + " | ".join(cells) + " |")
    print("\nCPU time of the server per request, and requests per second.")


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
        congestion = f.read().strip()
    return (f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
            f"congestion control {congestion}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all of them if none is named")
    parser.add_argument("--servers", default=",".join(servers.COMMANDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of each measurement")
    parser.add_argument("--arguments", default="", help="more arguments for `headwater serve`")
    parser.add_argument("--markdown", action="store_true", help="print a table for a page too")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file too")
    options = parser.parse_args()
    cases = options.cases or list(CASES)
    if unknown := [case for case in cases if case not in CASES]:
        parser.error(f"no case {unknown[0]}; choose from {', '.join(CASES)}")
    names = options.servers.split(",")
    if unknown := [name for name in names if name not in servers.COMMANDS]:
        parser.error(f"no server {unknown[0]}; choose from {', '.join(servers.COMMANDS)}")
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        sys.exit("the comparison needs CPU 0 for the server and CPU 1 for the client")
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    for name in [name for name in names if not servers.installed(name)]:
        print(f"{name} is not installed and is left out")
        names.remove(name)
    if "bbr" in machine() and "--congestion" not in options.arguments:
        print("note: this host paces (bbr); headwater by itself doesn't on loopback, the others can't be told."
              "\n      --arguments='--congestion kernel' measures it with pacing, too")
    print(f"{machine()}\n{options.rounds} rounds of {options.seconds} s, medians")
    result = {}
    with tempfile.TemporaryDirectory(prefix="headwater-compare-") as work:
        prepare(work)
        running = []
        try:
            for name in names:
                running.append(servers.Server(name, f"{work}/www", work, SERVER_CPU, options.arguments.split()))
            for case in cases:
                rounds = [one_round(running, case, options.seconds, work) for _ in range(options.rounds)]
                result[case] = {name: summary(rounds, name) for name in names}
                print_text(case, result[case])
                sys.stdout.flush()
        finally:
            for server in running:
                server.stop()
    if options.markdown:
        print_markdown(result, names)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(dict(machine=machine(), rounds=options.rounds, seconds=options.seconds, cases=result), f, indent=1)
    sys.exit(any(f["wrong"] for figures in result.values() for f in figures.values()))


if __name__ == "__main__":
    main()
