// One measurement of Go's scheduler, as a line of JSON: the same work and the
// same arguments as the other contenders of task_bench.
//
//	task_bench shape go fork-join
//	task_bench latency go --utilisation 0.9
//	task_bench feed go --clients 256
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: task_bench shape|latency|feed go [SHAPE] [--flags]")
		os.Exit(2)
	}
	part, rest := os.Args[1], os.Args[3:]
	shape := ""
	if part == "shape" {
		if len(rest) == 0 {
			fmt.Fprintln(os.Stderr, "shape: which one?")
			os.Exit(2)
		}
		shape, rest = rest[0], rest[1:]
	}
	flags := flag.NewFlagSet(part, flag.ExitOnError)
	workers := flags.Int("workers", 2, "threads that run Go code at one time")
	seconds := flags.Float64("seconds", 1, "length of the measurement")
	utilisation := flags.Float64("utilisation", 0.5, "offered work per worker")
	longShare := flags.Float64("long-share", 0.01, "share of the tasks that take 1 ms instead of 10 us")
	spinsPerUs := flags.Float64("spins-per-us", 0, "as calibrate gives it")
	seed := flags.Uint64("seed", 1, "of the arrivals")
	clients := flags.Int("clients", 256, "requests in flight")
	buffers := flags.String("buffers", "pooled", "pooled or worker")
	flags.Parse(rest)
	runtime.GOMAXPROCS(*workers)
	switch part {
	case "shape":
		timeShape(shape, *seconds)
	case "latency":
		load := load{*utilisation, *workers, *seconds, *longShare, *spinsPerUs, *seed}
		load.offer()
	case "feed":
		feed(*clients, *buffers, *workers, *seconds)
	default:
		fmt.Fprintf(os.Stderr, "no part %q\n", part)
		os.Exit(2)
	}
}

func cpuUsed() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// In microseconds; sorts its argument.
func percentiles(name string, times []time.Duration) string {
	at := func(share float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return float64(times[int(share*float64(len(times)-1))]) / 1e3
	}
	sortDurations(times)
	return fmt.Sprintf("%q:{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}",
		name, at(0.5), at(0.99), at(0.999), at(1))
}
