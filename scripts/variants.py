#!/usr/bin/env python3
"""Measures headwater beside itself: other options, or another binary.

    scripts/variants.py small pipelined --variant on= --variant 'off=--trace-buffer 0'
    scripts/variants.py small --variant new= --variant 'old=@/usr/bin/headwater'

A variant is NAME=OPTIONS, where an option that begins with @ is a binary. All
run on CPU 0, the client on CPU 1; each round measures every variant once, in an order
that turns from round to round. Figures are medians, ratios are to the first variant: the
median of the rounds' ratios, with the quartiles in brackets.
"""
import argparse
import os
import statistics
import sys
import tempfile

import clients
import compare
import servers


def parse(text):
    name, _, options = text.partition("=")
    words = options.split()
    binary = next((word[1:] for word in words if word.startswith("@")), None)
    return name, binary, [word for word in words if not word.startswith("@")]


def start(variant, work):
    name, binary, options = variant
    before = os.environ.get("HEADWATER")
    if binary:
        os.environ["HEADWATER"] = binary
    server = servers.Server("headwater", f"{work}/www", work, clients.SERVER_CPU, options)
    server.name = name
    if binary:
        os.environ.pop("HEADWATER") if before is None else os.environ.update(HEADWATER=before)
    return server


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", help=f"of {', '.join(clients.CASES)}")
    parser.add_argument("--variant", action="append", required=True, type=parse, metavar="NAME=OPTIONS")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=2, help="length of each measurement")
    options = parser.parse_args()
    print(f"{clients.machine()}\n{options.rounds} rounds of {options.seconds} s, medians")
    wrong = False
    with tempfile.TemporaryDirectory(prefix="headwater-variants-") as work:
        clients.prepare(work)
        running = []
        try:
            running += [start(variant, work) for variant in options.variant]
            for case in options.cases:
                rounds = []
                for number in range(options.rounds):
                    turn = number % len(running)
                    order = running[turn:] + running[:turn]
                    rounds.append(compare.one_round(order, case, options.seconds, work))
                print(f"\n{case}: {clients.CASES[case][0]}")
                first = running[0].name
                for server in running:
                    mine = [found[server.name] for found in rounds]
                    wrong |= any(f["wrong"] for f in mine)
                    ratios = [found[server.name]["cpu_us"] / found[first]["cpu_us"] for found in rounds]
                    low, middle, high = statistics.quantiles(ratios, n=4)
                    print(f"  {server.name:10} {statistics.median(f['rate'] for f in mine):10.0f} req/s "
                          f"{statistics.median(f['cpu_us'] for f in mine):8.3f} CPU us/req   "
                          f"x {middle:.3f} [{low:.3f}, {high:.3f}]")
                sys.stdout.flush()
        finally:
            for server in running:
                server.stop()
    sys.exit(wrong)


if __name__ == "__main__":
    main()
