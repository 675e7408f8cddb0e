package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batchMost   = 10_000
	pairsMost   = 1_000
	yielders    = 200
	leafSpins   = 5
	skewedSpins = 500
)

type countdown struct {
	left int64
	done chan struct{}
}

func (c *countdown) end(tasks int64) {
	if atomic.AddInt64(&c.left, -tasks) == 0 {
		c.done <- struct{}{}
	}
}

func inBatches(tasks, most int64, batch func(int64, *countdown)) time.Duration {
	start := time.Now()
	for left := tasks; left > 0; {
		count := left
		if count > most {
			count = most
		}
		end := &countdown{count, make(chan struct{}, 1)}
		batch(count, end)
		<-end.done
		left -= count
	}
	return time.Since(start)
}

var sink uint64

//go:noinline
func spin(rounds uint64) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := uint64(0); i < rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 { // Never so, which the compiler can't know.
		sink = x
	}
}

func chain(end *countdown, left int64) {
	if left <= 1 {
		end.end(atomic.LoadInt64(&end.left))
		return
	}
	go chain(end, left-1)
}

func spawnMany(count int64, end *countdown, spins uint64) {
	for i := int64(0); i < count; i++ {
		go func() {
			spin(spins)
			end.end(1)
		}()
	}
}

func tree(leaves int64) {
	if leaves <= 1 {
		spin(leafSpins)
		return
	}
	var half sync.WaitGroup
	half.Add(1)
	go func() {
		tree(leaves / 2)
		half.Done()
	}()
	tree(leaves - leaves/2)
	half.Wait()
}

func runShape(shape string, tasks int64) (time.Duration, bool) {
	switch shape {
	case "chained":
		return inBatches(tasks, tasks, func(count int64, end *countdown) { go chain(end, count) }), true
	case "ping-pong":
		return inBatches(tasks, pairsMost, func(count int64, end *countdown) {
			go func() {
				for i := int64(0); i < count; i++ {
					go func() {
						ping, pong := make(chan struct{}, 1), make(chan struct{}, 1)
						go func() {
							<-ping
							pong <- struct{}{}
						}()
						ping <- struct{}{}
						<-pong
						end.end(1)
					}()
				}
			}()
		}), true
	case "yield":
		return inBatches(tasks, tasks, func(count int64, end *countdown) {
			for n := int64(0); n < yielders; n++ {
				yields := count / yielders
				if n < count%yielders {
					yields++
				}
				go func() {
					for i := int64(0); i < yields; i++ {
						runtime.Gosched()
					}
					end.end(yields)
				}()
			}
		}), true
	case "inside":
		return inBatches(tasks, batchMost, func(count int64, end *countdown) { go spawnMany(count, end, 0) }), true
	case "skewed":
		return inBatches(tasks, batchMost, func(count int64, end *countdown) { go spawnMany(count, end, skewedSpins) }), true
	case "fork-join":
		return inBatches(tasks, tasks, func(leaves int64, end *countdown) {
			go func() {
				tree(leaves)
				end.end(leaves)
			}()
		}), true
	case "outside": // All of a Go program is inside.
		return 0, false
	}
	fmt.Fprintf(os.Stderr, "no shape %q\n", shape)
	os.Exit(2)
	return 0, false
}

// Doubles the number of tasks until they take long enough, which warms up, too.
func timeShape(shape string, seconds float64) {
	for tasks := int64(1_000); ; tasks *= 2 {
		cpu := cpuUsed()
		taken, known := runShape(shape, tasks)
		if !known {
			fmt.Println(`{"ns_per_task":null}`)
			return
		}
		cpu = cpuUsed() - cpu
		if taken.Seconds() >= seconds {
			fmt.Printf("{\"ns_per_task\":%.1f,\"cpu_ns_per_task\":%.1f}\n",
				float64(taken)/float64(tasks), float64(cpu)/float64(tasks))
			return
		}
	}
}
