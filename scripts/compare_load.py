#!/usr/bin/env python3
"""Measures `headwater load` beside wrk as clients of one server, in turn and in one run.

The server has CPU 0 and one worker, the clients have CPU 1. A round runs every
client once against every server, so that what drifts meets all of them; figures are
medians over the rounds, and a ratio is the median of the rounds' ratios. CPU is
the client's own, user and system, from its start to its end.

    scripts/compare_load.py                      all cases against nginx, five rounds of three seconds
    scripts/compare_load.py pipelined --server headwater
    scripts/compare_load.py --rates              the rates that come of the rates asked for

Needs wrk, and nginx unless another server is named:
    apt-get install wrk nginx-light
Build headwater first (cargo build --release), or name a binary in HEADWATER.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import servers
from compare import CLIENT_CPU, PIPELINE_DEPTH, SECONDS_PER_UNIT, SERVER_CPU, machine, prepare

# name: (what it is, bytes of the file, connections, requests deep, a connection per request)
CASES = {
    "small": ("1 KB files, 64 connections", 1 << 10, 64, 1, False),
    "pipelined": (f"5 byte files, 64 connections, {PIPELINE_DEPTH} requests deep", 5, 64, PIPELINE_DEPTH, False),
    "page": ("16 KB files, 64 connections", 16 << 10, 64, 1, False),
    "large": ("10 MB files, 8 connections", 10 << 20, 8, 1, False),
    "churn": ("1 KB files, a connection per request", 1 << 10, 64, 1, True),
    "crowd": ("1 KB files, 10,000 connections", 1 << 10, 10_000, 1, False),
}


def timed(command, work):
    """Its output, and the CPU seconds that it took."""
    with open(f"{work}/out", "w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=work,
                                 preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CPU}))
        _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
        out.seek(0)
        return out.read(), used.ru_utime + used.ru_stime


def run_wrk(case, url, seconds, work):
    _, _, connections, deep, churn = CASES[case]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", "pipeline.lua"] if deep > 1 else []
    command += ["-H", "Connection: close"] if churn else []
    text, cpu = timed([*command, url], work)
    done = re.search(r"(\d+) requests in", text)
    if not done or int(done[1]) == 0:
        sys.exit(f"wrk got no answers: {text}")
    latency = {int(percent): float(number) * SECONDS_PER_UNIT[unit] * 1e6
               for percent, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", text)}
    wrong = "; ".join(re.findall(r"(?:Socket errors|Non-2xx).*", text))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    return dict(rate=rate, cpu_us=cpu / int(done[1]) * 1e6, busy=cpu / seconds,
                p50_us=latency.get(50, 0.0), p99_us=latency.get(99, 0.0), wrong=wrong)


def run_headwater(case, url, seconds, work, more=()):
    _, _, connections, deep, churn = CASES[case]
    command = [servers.release_binary(), "load", url, f"-c{connections}", f"-d{seconds}s", "--json", "-", *more]
    command += ["--connection-per-request"] if churn else ["--pipeline", str(deep)]
    text, cpu = timed(command, work)
    if not text.startswith("{"):
        sys.exit(f"headwater load failed: {text}")
    told = json.loads(text)
    return dict(rate=told["rate_per_s"], cpu_us=cpu / told["requests"] * 1e6, busy=cpu / seconds,
                p50_us=told["service_time_us"]["p50"], p99_us=told["service_time_us"]["p99"],
                wrong="" if told["errors_total"] == 0 else str(told["errors"]), told=told)


CLIENTS = {"headwater": run_headwater, "wrk": run_wrk}


def compare(options, server, work):
    for case in options.cases or CASES:
        url = f"http://127.0.0.1:{server.port}/{CASES[case][1]}.html"
        rounds = [{name: run(case, url, options.seconds, work) for name, run in CLIENTS.items()}
                  for _ in range(options.rounds)]
        print(f"\n{case}: {CASES[case][0]}, server {server.name}")
        print(f"  {'client':10} {'req/s':>10} {'CPU us/req':>11} {'req/s of a full core':>21} "
              f"{'busy':>6} {'p50 us':>9} {'p99 us':>9}")
        for name in CLIENTS:
            of = {key: statistics.median(r[name][key] for r in rounds)
                  for key in ("rate", "cpu_us", "busy", "p50_us", "p99_us")}
            wrong = [r[name]["wrong"] for r in rounds if r[name]["wrong"]]
            print(f"  {name:10} {of['rate']:10.0f} {of['cpu_us']:11.2f} {1e6 / of['cpu_us']:21.0f} "
                  f"{of['busy']:6.0%} {of['p50_us']:9.0f} {of['p99_us']:9.0f}"
                  + (f"   WRONG: {wrong[0]}" if wrong else ""))
        ratios = {key: statistics.median(r["headwater"][key] / r["wrk"][key] for r in rounds)
                  for key in ("cpu_us", "rate")}
        print(f"  headwater/wrk: CPU x {ratios['cpu_us']:.2f}, requests/s x {ratios['rate']:.2f}", flush=True)


def rates(options, server, work):
    """What comes of rates up to what the server gives."""
    url = f"http://127.0.0.1:{server.port}/{CASES['small'][1]}.html"
    most = run_headwater("small", url, options.seconds, work)["rate"]
    print(f"\nthe most that {server.name} gives: {most:.0f} req/s")
    print(f"  {'asked':>8} {'of the most':>12} {'got':>9} {'off by':>8} {'response p50':>13} {'p99':>9} "
          f"{'lag p50':>8} {'p99':>8} {'max':>9} {'CPU us/req':>11}")
    for share in (0.01, 0.1, 0.2, 0.4, 0.6, 0.8):
        asked = int(most * share)
        r = run_headwater("small", url, options.seconds, work, ["--rate", str(asked)])
        told = r["told"]
        response, lag = told["response_time_us"], told["generator_lag_us"]
        print(f"  {asked:8} {share:12.0%} {r['rate']:9.0f} {r['rate'] / asked - 1:8.2%} {response['p50']:13.0f} "
              f"{response['p99']:9.0f} {lag['p50']:8.1f} {lag['p99']:8.0f} {lag['max']:9.0f} {r['cpu_us']:11.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all of them if none is named")
    parser.add_argument("--server", default="nginx", choices=servers.COMMANDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of each measurement")
    parser.add_argument("--rates", action="store_true", help="measure how exact rates are instead")
    options = parser.parse_args()
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}")
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        sys.exit("the measurement needs CPUs 0 and 1")
    for needed in ("wrk", options.server):
        if not servers.installed(needed):
            sys.exit(f"{needed} is not installed: apt-get install wrk nginx-light")
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        prepare(work)
        with servers.Server(options.server, f"{work}/www", work, SERVER_CPU) as server:
            (rates if options.rates else compare)(options, server, work)


if __name__ == "__main__":
    main()
