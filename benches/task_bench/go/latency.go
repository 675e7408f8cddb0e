package main

import (
	"fmt"
	"math"
	"runtime"
	"sort"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	shortUs      = 10.0
	longUs       = 1000.0
	turnsPerSMax = 5_000.0
	warmUpS      = 0.2
	patience     = 20 * time.Second
)

// The generator that the other contenders use, with the same numbers.
type random uint64

func newRandom(seed uint64) random { return random(seed*0x9e3779b97f4a7c15 | 1) }

func (r *random) next() uint64 {
	*r ^= *r >> 12
	*r ^= *r << 25
	*r ^= *r >> 27
	return uint64(*r) * 0x2545f4914f6cdd1d
}

func (r *random) below(bound uint64) uint64     { return r.next() % bound }
func (r *random) share() float64                { return float64(r.next()>>11+1) / (1 << 53) }
func (r *random) gap(perSecond float64) float64 { return -math.Log(r.share()) / perSecond }

type load struct {
	utilisation float64
	workers     int
	seconds     float64
	longShare   float64
	spinsPerUs  float64
	seed        uint64
}

type turn struct {
	at   time.Duration
	long []bool
}

func (l load) turns() (turns []turn, count int) {
	r := newRandom(l.seed)
	meanUs := shortUs + l.longShare*(longUs-shortUs)
	tasksPerS := l.utilisation * float64(l.workers) * 1e6 / meanUs
	turnsPerS := math.Min(tasksPerS, turnsPerSMax)
	mean := tasksPerS / turnsPerS
	for at := r.gap(turnsPerS); at <= l.seconds; at += r.gap(turnsPerS) {
		tasks, sum := 0, r.gap(1)
		for mean > 1 && sum < mean {
			tasks++
			sum += r.gap(1)
		}
		if mean <= 1 {
			tasks = 1
		}
		long := make([]bool, tasks)
		for i := range long {
			long[i] = r.share() <= l.longShare
		}
		turns = append(turns, turn{time.Duration(at * 1e9), long})
		count += tasks
	}
	return turns, count
}

func (l load) offer() {
	turns, count := l.turns()
	begun := make([]int64, count)
	lag := make([]time.Duration, 0, len(turns))
	runtime.LockOSThread()
	inFront()
	before := cpuUsed()
	start := time.Now()
	next := 0
	for _, turn := range turns {
		sleepUntil(start.Add(turn.at))
		lag = append(lag, time.Since(start)-turn.at)
		for _, long := range turn.long {
			us := shortUs
			if long {
				us = longUs
			}
			slot, spins := &begun[next], uint64(us*l.spinsPerUs)
			go func() {
				atomic.StoreInt64(slot, int64(time.Since(start)))
				spin(spins)
			}()
			next++
		}
	}
	cpuBusy := (cpuUsed() - before).Seconds() / time.Since(start).Seconds()
	for i, end := 0, time.Now().Add(patience); i < count; {
		if atomic.LoadInt64(&begun[i]) != 0 {
			i++
		} else if time.Now().After(end) {
			panic("the pool never began all tasks")
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	warmUp := time.Duration(math.Min(warmUpS, l.seconds/10) * 1e9)
	var all, short, long []time.Duration
	next = 0
	for _, turn := range turns {
		for _, isLong := range turn.long {
			latency := time.Duration(begun[next]) - turn.at
			next++
			if turn.at < warmUp {
				continue
			}
			all = append(all, latency)
			if isLong {
				long = append(long, latency)
			} else {
				short = append(short, latency)
			}
		}
	}
	fmt.Printf("{\"tasks\":%d,\"refused\":0,\"cpu_busy\":%.3f,%s,%s,%s,%s}\n", count, cpuBusy,
		percentiles("lag", lag), percentiles("all", all), percentiles("short", short), percentiles("long", long))
}

// A sleep of the kernel's: those of Go end when its scheduler comes by.
func sleepUntil(at time.Time) {
	for left := time.Until(at); left > 0; left = time.Until(at) {
		span := syscall.NsecToTimespec(int64(left))
		syscall.Nanosleep(&span, nil)
	}
}

// Puts this thread, and none that it starts, in front of others (sched(7)).
func inFront() {
	const fifo, resetOnFork, setTimerSlack = 1, 0x40000000, 29
	priority := int32(1)
	syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, fifo|resetOnFork, uintptr(unsafe.Pointer(&priority)))
	syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
}

func sortDurations(times []time.Duration) {
	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
}
