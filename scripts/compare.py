#!/usr/bin/env python3
"""Measures headwater beside nginx, lighttpd and h2o, in turn and in one run.

Each server has CPU 0 and one worker, the client has CPU 1. A round measures
every server once, so that what drifts (clocks, neighbours) meets all of them;
figures are medians over the rounds, and a ratio is the median of the rounds'
ratios. CPU is the server's own: user and system time per request. A client that
was itself the bottleneck is marked *: the server could have done more.

    scripts/compare.sh                           all cases, five rounds of three seconds
    scripts/compare.sh small large --rounds 9
    scripts/compare.sh --markdown                the table of the README
    scripts/compare.sh --servers headwater,nginx --client wrk
    scripts/compare.sh --quick                   whether it works, in some ten seconds

Leaves a folder: index.html with the table and, by headwater load, a page for each
server and case (of the last round); compare.json with all figures.

What is installed of the other servers is measured: apt-get install nginx-light lighttpd h2o
HEADWATER names another binary than target/release/headwater.
Exits 1 if any server gave a wrong answer.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import clients
import servers
from clients import CLIENT_CPU, SERVER_CPU, machine

CASES = {name: case for name, case in clients.CASES.items() if name != "crowd"}
QUICK_SECONDS = 0.3


def one_round(running, case, seconds, work, client=clients.headwater, folder=None):
    """What each server does in this case now."""
    found = {}
    for server in running:
        kept = dict(report=os.path.abspath(f"{folder}/{case}-{server.name}")) if folder else {}
        found[server.name] = client(server, case, seconds, work, **kept)
    return found


def summary(rounds, name):
    """Medians of one server's figures, and its ratios to headwater's."""
    out = {key: statistics.median(r[name][key] for r in rounds) for key in ("rate", "cpu_us", "p50_us", "p99_us")}
    out["wrong"] = [r[name]["wrong"] for r in rounds if r[name]["wrong"]]
    out["saturated"] = sum(r[name]["saturated"] for r in rounds)
    if "headwater" in rounds[0] and name != "headwater":
        for key in ("rate", "cpu_us", "p50_us"):
            ratios = [r["headwater"][key] / r[name][key] for r in rounds if r[name][key]]
            out[f"headwater_{key}_ratio"] = statistics.median(ratios) if ratios else 0.0
    return out


def text(case, figures):
    lines = [f"\n{case}: {clients.CASES[case][0]}",
             f"  {'':10} {'req/s':>11} {'CPU us/req':>11} {'p50 us':>9} {'p99 us':>9}   headwater's: CPU, req/s"]
    for name, f in figures.items():
        mark = "*" if f["saturated"] else " "
        line = f"  {name:10} {f['rate']:10.0f}{mark} {f['cpu_us']:11.2f} {f['p50_us']:9.0f} {f['p99_us']:9.0f}"
        if "headwater_rate_ratio" in f:
            line += f"   x {f['headwater_cpu_us_ratio']:.2f}, x {f['headwater_rate_ratio']:.2f}"
        lines.append(line + (f"   WRONG: {f['wrong'][0]}" if f["wrong"] else ""))
    return "\n".join(lines)


def markdown(result, names):
    lines = ["\n| case | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for case, figures in result.items():
        # What pipelining is about is the rate, and everything else the cost.
        cells = [f"{figures[n]['cpu_us']:.1f} us, {figures[n]['rate']:,.0f}/s" for n in names]
        lines.append(f"| {CASES[case][0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\nCPU time of the server per request, and requests per second."


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="scripts/compare.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all of them if none is named")
    parser.add_argument("--servers", default=",".join(servers.COMMANDS))
    parser.add_argument("--client", default="headwater", choices=["headwater", "wrk"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="length of each measurement; whole seconds with wrk")
    parser.add_argument("--quick", action="store_true", help="one round, too short to say anything of the servers")
    parser.add_argument("--arguments", default="", help="more arguments for `headwater serve`")
    parser.add_argument("--markdown", action="store_true", help="print a table for a page too")
    parser.add_argument("--out", metavar="DIR", help="folder for the report [default: compare-DATE-TIME]")
    options = parser.parse_args(arguments)
    options.cases = options.cases or list(CASES)
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"no case {unknown[0]}; choose from {', '.join(CASES)}")
    options.servers = options.servers.split(",")
    if unknown := [name for name in options.servers if name not in servers.COMMANDS]:
        parser.error(f"no server {unknown[0]}; choose from {', '.join(servers.COMMANDS)}")
    if options.quick:
        options.rounds, options.seconds = 1, QUICK_SECONDS
    options.out = options.out or time.strftime("compare-%Y%m%d-%H%M%S")
    return options


def main():
    options = options_of(sys.argv[1:])
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        sys.exit("the comparison needs CPU 0 for the server and CPU 1 for the client")
    if options.client == "wrk" and not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    names = [name for name in options.servers if servers.installed(name)]
    os.makedirs(options.out, exist_ok=True)
    with open(f"{options.out}/compare.txt", "w") as table:
        def say(line):
            print(line, flush=True)
            print(line, file=table, flush=True)
        for name in set(options.servers) - set(names):
            say(f"{name} is not installed and is left out")
        if "bbr" in machine() and "--congestion" not in options.arguments:
            say("note: this host paces (bbr); headwater by itself doesn't on loopback, the others can't be told."
                "\n      --arguments='--congestion kernel' measures it with pacing, too")
        say(f"{machine()}\nclient {options.client}, {options.rounds} rounds of {options.seconds:g} s, medians")
        result = measured(options, names, say)
        if options.markdown:
            print(markdown(result, names))
    with open(f"{options.out}/compare.json", "w") as f:
        json.dump(dict(machine=machine(), client=options.client, rounds=options.rounds, seconds=options.seconds,
                       cases=result), f, indent=1)
    subprocess.run([servers.release_binary(), "load", "index", options.out], check=True, stdout=subprocess.DEVNULL)
    print(f"report: {options.out}")
    sys.exit(any(f["wrong"] for figures in result.values() for f in figures.values()))


def measured(options, names, say):
    """The figures by case and server; each case is said when it is known."""
    result, running = {}, []
    client = {"headwater": clients.headwater, "wrk": clients.wrk}[options.client]
    folder = options.out if options.client == "headwater" else None
    with tempfile.TemporaryDirectory(prefix="headwater-compare-") as work:
        clients.prepare(work)
        try:
            for name in names:
                running.append(servers.Server(name, f"{work}/www", work, SERVER_CPU, options.arguments.split()))
            for case in options.cases:
                rounds = [one_round(running, case, options.seconds, work, client, folder)
                          for _ in range(options.rounds)]
                result[case] = {name: summary(rounds, name) for name in names}
                say(text(case, result[case]))
        finally:
            for server in running:
                server.stop()
    return result


if __name__ == "__main__":
    main()
