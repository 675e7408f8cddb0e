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
import os
import statistics
import sys
import tempfile

import clients
import servers
from clients import CASES, CLIENT_CPU, SERVER_CPU, machine, prepare

CLIENTS = {"headwater": clients.headwater, "wrk": clients.wrk}


def measure(client, server, case, seconds, work, more=()):
    found = CLIENTS[client](server, case, seconds, work, more)
    if not found["requests"]:
        sys.exit(f"{client}: {found['wrong']}")
    return found


def compare(options, server, work):
    for case in options.cases or CASES:
        rounds = [{name: measure(name, server, case, options.seconds, work) for name in CLIENTS}
                  for _ in range(options.rounds)]
        print(f"\n{case}: {CASES[case][0]}, server {server.name}")
        print(f"  {'client':10} {'req/s':>10} {'CPU us/req':>11} {'req/s of a full core':>21} "
              f"{'busy':>6} {'p50 us':>9} {'p99 us':>9}")
        for name in CLIENTS:
            of = {key: statistics.median(r[name][key] for r in rounds)
                  for key in ("rate", "client_cpu_us", "busy", "p50_us", "p99_us")}
            wrong = [r[name]["wrong"] for r in rounds if r[name]["wrong"]]
            print(f"  {name:10} {of['rate']:10.0f} {of['client_cpu_us']:11.2f} {1e6 / of['client_cpu_us']:21.0f} "
                  f"{of['busy']:6.0%} {of['p50_us']:9.0f} {of['p99_us']:9.0f}"
                  + (f"   WRONG: {wrong[0]}" if wrong else ""))
        ratios = {key: statistics.median(r["headwater"][key] / r["wrk"][key] for r in rounds)
                  for key in ("client_cpu_us", "rate")}
        print(f"  headwater/wrk: CPU x {ratios['client_cpu_us']:.2f}, requests/s x {ratios['rate']:.2f}", flush=True)


def rates(options, server, work):
    """What comes of rates up to what the server gives."""
    most = measure("headwater", server, "small", options.seconds, work)["rate"]
    print(f"\nthe most that {server.name} gives: {most:.0f} req/s")
    print(f"  {'asked':>8} {'of the most':>12} {'got':>9} {'off by':>8} {'response p50':>13} {'p99':>9} "
          f"{'lag p50':>8} {'p99':>8} {'max':>9} {'CPU us/req':>11}")
    for share in (0.01, 0.1, 0.2, 0.4, 0.6, 0.8):
        asked = int(most * share)
        r = measure("headwater", server, "small", options.seconds, work, ["--rate", str(asked)])
        told = r["told"]
        response, lag = told["response_time_us"], told["generator_lag_us"]
        print(f"  {asked:8} {share:12.0%} {r['rate']:9.0f} {r['rate'] / asked - 1:8.2%} {response['p50']:13.0f} "
              f"{response['p99']:9.0f} {lag['p50']:8.1f} {lag['p99']:8.0f} {lag['max']:9.0f} {r['client_cpu_us']:11.2f}", flush=True)


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
