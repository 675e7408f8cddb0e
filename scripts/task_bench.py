#!/usr/bin/env python3
"""Measures the task layer beside tokio, rayon, a thread per task and Go, in turn.

A measurement is a process of its own that does one thing with one contender and
as many workers as the others. A round measures every contender once, so that
what drifts (clocks, neighbours) meets all of them; figures are medians over the
rounds, and a ratio is the median of the rounds' ratios.

    scripts/task_bench.py                      all parts, five rounds
    scripts/task_bench.py shapes --rounds 9
    scripts/task_bench.py latency --contenders headwater,tokio,rayon
    scripts/task_bench.py --markdown           tables for a page
    scripts/task_bench.py --quick              everything once and short: does it work?

shapes   time per task, by shape of the work
latency  from a task's intended start to its first instruction: an open loop of
         short (10 us) and long (1 ms) tasks at 50% and 90% utilisation; headwater
         has priorities and checkpoints for them, and is measured once without
feed     requests a second and their latency; each gathers 50 posts, ranks them
         and renders them as JSON; clients ask again as soon as they are answered

`recorded` is headwater with its flight recorder on.

Builds what it measures (cargo build --release --bench task_bench), or takes the
program named in TASK_BENCH. Go is measured where `go` is found.
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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONTENDERS = ["headwater", "recorded", "tokio", "rayon", "threads", "go"]
# Without priorities and checkpoints, which the others don't have: for latency alone.
NO_HINTS = ", no hints"
# What each contender could be beaten by: the ratio is to the best of them.
RIVALS = ["tokio", "rayon"]
SHAPES = {
    "chained": "each task spawns the next",
    "ping-pong": "pairs that answer one another",
    "yield": "200 tasks that yield",
    "outside": "many, spawned from outside",
    "inside": "many, spawned by a task",
    "fork-join": "tree of joins",
    "skewed": "one spawns, all others steal",
}
UTILISATIONS = [0.5, 0.9]
BUFFERS = {"pooled": "a pool of buffers", "worker": "buffers of the worker"}


def build(work):
    """The programs by contender, and what is left out."""
    program = os.environ.get("TASK_BENCH")
    if not program:
        text = subprocess.run(["cargo", "build", "--release", "--bench", "task_bench", "--message-format=json"],
                              cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        messages = [json.loads(line) for line in text.splitlines()]
        program = next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "task_bench")
    programs = {name: program for name in CONTENDERS}
    if shutil.which("go"):
        programs["go"] = f"{work}/task_bench_go"
        subprocess.run(["go", "build", "-o", programs["go"], "."], cwd=f"{ROOT}/benches/task_bench/go", check=True)
    else:
        print("note: Go is left out: there is no `go` on the path (apt-get install golang-go)")
        del programs["go"]
    return programs


class Bench:
    def __init__(self, programs, options):
        self.programs = {name: programs[name] for name in options.contenders if name in programs}
        self.workers = options.workers
        self.quick = options.quick
        self.rounds = options.rounds
        self.spins = None

    def run(self, name, part, *arguments):
        program = self.programs[name.removesuffix(NO_HINTS)]
        command = [program, part, name.removesuffix(NO_HINTS), *arguments, "--workers", str(self.workers)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout)

    def seconds(self, usual, short=0.05):
        return ["--seconds", str(short if self.quick else usual)]

    def calibrate(self):
        """The same work for all, whatever the clock does meanwhile."""
        program = next(p for name, p in self.programs.items() if name != "go")
        text = subprocess.run([program, "calibrate", "--workers", str(self.workers)],
                              capture_output=True, text=True, check=True).stdout
        self.spins = str(json.loads(text)["spins_per_us"])

    def in_turn(self, cases, names=None):
        """For each case {contender: figures, one a round}; the rounds are outermost."""
        found = {case: {} for case in cases}
        for number in range(self.rounds):
            for case, measure in cases.items():
                for name in names or self.programs:
                    figures = measure(name, number)
                    if figures is not None:
                        found[case].setdefault(name, []).append(figures)
        return found


def median(rounds, *path):
    def at(figures):
        for key in path:
            figures = figures[key]
        return figures
    return statistics.median(at(figures) for figures in rounds)


def ratio(by_name, name, rivals, *path):
    """The median over the rounds of a contender's figure to the best of its rivals'."""
    rivals = [by_name[r] for r in rivals if r in by_name and r != name]
    if not rivals or name not in by_name:
        return None
    ratios = []
    for number, own in enumerate(by_name[name]):
        figures = [own] + [rival[number] for rival in rivals]
        for key in path:
            figures = [f[key] for f in figures]
        if min(figures[1:]) > 0:
            ratios.append(figures[0] / min(figures[1:]))
    return statistics.median(ratios) if ratios else None


def table(title, head, rows, markdown):
    print(f"\n{title}\n")
    if markdown:
        print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
        for row in rows:
            print("| " + " | ".join(row) + " |")
    else:
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        for row in [head, *rows]:
            cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
            print("  " + "  ".join(cells).rstrip())
    sys.stdout.flush()


def times(value):
    return "-" if value is None else f"x {value:.2f}"


def shapes(bench, markdown):
    def measure(shape):
        def one(name, _):
            figures = bench.run(name, "shape", shape, *bench.seconds(0.2))
            return figures if figures["ns_per_task"] is not None else None
        return one
    found = bench.in_turn({shape: measure(shape) for shape in SHAPES})
    names = list(bench.programs)
    rows = []
    for shape, by_name in found.items():
        cells = [f"{median(by_name[n], 'ns_per_task'):,.0f} ({median(by_name[n], 'cpu_ns_per_task'):,.0f})"
                 if n in by_name else "-" for n in names]
        rows.append([SHAPES[shape], *cells, times(ratio(by_name, "headwater", RIVALS, "ns_per_task"))])
    table("Time per task in ns (and CPU time); the last column is headwater's to the better of tokio and rayon.",
          ["shape", *names, "ratio"], rows, markdown)
    return found


def latency(bench, markdown):
    bench.calibrate()
    names = [n for name in bench.programs for n in ([name, name + NO_HINTS] if name == "headwater" else [name])]

    def measure(utilisation):
        def one(name, number):
            no_hints = ["--no-hints"] if name.endswith(NO_HINTS) else []
            return bench.run(name, "latency", "--utilisation", str(utilisation), "--spins-per-us", bench.spins,
                             "--seed", str(number + 1), *no_hints, *bench.seconds(2.0))
        return one
    found = bench.in_turn({u: measure(u) for u in UTILISATIONS}, names)
    for utilisation, by_name in found.items():
        rows = []
        for name, rounds in by_name.items():
            cells = [f"{median(rounds, kind, p):,.0f}" for kind in ("all", "short", "long") for p in ("p50", "p99", "p999")]
            rows.append([name, *cells, f"{median(rounds, 'lag', 'p99'):,.0f}", f"{median(rounds, 'cpu_busy'):.2f}",
                         f"{median(rounds, 'refused'):,.0f}", times(ratio(by_name, name, RIVALS, "all", "p99"))])
        table(f"Scheduling latency in us at {utilisation:.0%} utilisation (P50, P99, P99.9 of all, of the 10 us and of the"
              " 1 ms tasks),\nlag of the generator (P99), CPUs busy, tasks refused, and P99 to the better of tokio and rayon.",
              ["contender", *(f"{kind} {p}" for kind in ("all", "short", "long") for p in ("50", "99", "99.9")),
               "lag 99", "CPUs", "refused", "ratio"], rows, markdown)
        late = [name for name, rounds in by_name.items() if median(rounds, "lag", "p99") > 500]
        if late:
            print(f"\nnote: the generator itself was late for {', '.join(late)}: more than 500 us for one turn in a hundred")
    return {str(u): by_name for u, by_name in found.items()}


def feed(bench, markdown):
    def measure(buffers):
        return lambda name, _: bench.run(name, "feed", "--buffers", buffers, *bench.seconds(1.2, 0.4))
    found = bench.in_turn({buffers: measure(buffers) for buffers in BUFFERS})
    rows = []
    for buffers, by_name in found.items():
        for name, rounds in by_name.items():
            # Beside a thread per request with pooled buffers, in the same round.
            spawned = found["pooled"].get("threads")
            pair = {"own": rounds, "spawned": spawned} if spawned else {}
            rate = ratio(pair, "own", ["spawned"], "requests_per_s")
            p99 = ratio(pair, "own", ["spawned"], "latency", "p99")
            rows.append([f"{name}, {BUFFERS[buffers]}", f"{median(rounds, 'requests_per_s'):,.0f}",
                         *(f"{median(rounds, 'latency', p):,.0f}" for p in ("p50", "p99", "p999")),
                         f"{median(rounds, 'cpu_us'):.1f}", times(rate), times(p99)])
    table("Feed: requests/s, latency in us, CPU us per request; rate and P99 to those of a thread per request with pooled buffers.",
          ["contender", "req/s", "p50", "p99", "p99.9", "CPU us", "rate", "P99"], rows, markdown)
    return found


PARTS = {"shapes": shapes, "latency": latency, "feed": feed}


def machine(workers):
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, {workers} workers"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=CONTENDERS,
                        help=f"of {','.join(CONTENDERS)}")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="of each pool; one per CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all of it works")
    parser.add_argument("--markdown", action="store_true", help="tables for a page")
    parser.add_argument("--json", metavar="FILE", help="write all figures of all rounds to a file too")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]}; choose from {', '.join(PARTS)}")
    if unknown := [name for name in options.contenders if name not in CONTENDERS]:
        parser.error(f"no contender {unknown[0]}; choose from {', '.join(CONTENDERS)}")
    if options.contenders == ["go"]:
        parser.error("go alone is compared with nothing: name another contender, too")
    if options.quick:
        options.rounds = 1
    with tempfile.TemporaryDirectory(prefix="headwater-tasks-") as work:
        programs = build(work)
        print(f"{machine(options.workers)}\n{options.rounds} rounds, medians")
        bench = Bench(programs, options)
        result = {part: PARTS[part](bench, options.markdown) for part in parts}
    if options.json:
        with open(options.json, "w") as f:
            json.dump(dict(machine=machine(options.workers), rounds=options.rounds, parts=result), f, indent=1)


if __name__ == "__main__":
    main()
