package main

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	posts    = 100_000
	gathered = 50
)

type post struct {
	id, author, likes, comments, ageS uint64
	text                              string
}

type ranked struct {
	rank float64
	id   uint64
}

type scratch struct {
	ranked []ranked
	json   []byte
}

func newStore() map[uint64]*post {
	r := newRandom(1)
	store := make(map[uint64]*post, posts)
	for id := uint64(0); id < posts; id++ {
		words := make([]string, 5+r.below(10))
		for i := range words {
			words[i] = fmt.Sprintf("w%x", r.below(1<<24))
		}
		store[id] = &post{id, r.below(5_000), r.below(10_000), r.below(500), r.below(86_400 * 7),
			"\"" + strings.Join(words, " ") + "\""}
	}
	return store
}

func answer(store map[uint64]*post, request uint64, s *scratch) int {
	r := newRandom(request)
	s.ranked, s.json = s.ranked[:0], s.json[:0]
	reader := r.next()
	for len(s.ranked) < gathered {
		p := store[r.below(posts)]
		affinity := ((reader ^ p.author) * 0x9e3779b97f4a7c15) >> 54
		interest := float64(p.likes) + 3*float64(p.comments) + float64(affinity)
		s.ranked = append(s.ranked, ranked{interest / math.Pow(2+float64(p.ageS)/3600, 1.5), p.id})
	}
	sort.Slice(s.ranked, func(a, b int) bool { return s.ranked[a].rank > s.ranked[b].rank })
	s.json = append(s.json, `{"items":[`...)
	for place, item := range s.ranked {
		if place > 0 {
			s.json = append(s.json, ',')
		}
		s.json = store[item.id].write(item.rank, s.json)
	}
	s.json = append(s.json, "]}"...)
	return len(s.json)
}

func (p *post) write(rank float64, json []byte) []byte {
	json = strconv.AppendUint(append(json, `{"id":`...), p.id, 10)
	json = strconv.AppendUint(append(json, `,"author":`...), p.author, 10)
	json = strconv.AppendUint(append(json, `,"likes":`...), p.likes, 10)
	json = strconv.AppendUint(append(json, `,"comments":`...), p.comments, 10)
	json = strconv.AppendFloat(append(json, `,"rank":`...), rank, 'f', 3, 64)
	json = append(json, `,"text":"`...)
	for i := 0; i < len(p.text); i++ {
		if c := p.text[i]; c == '"' || c == '\\' {
			json = append(json, '\\')
		}
		json = append(json, p.text[i])
	}
	return append(json, `"}`...)
}

type answered struct{ sent, done time.Time }

// Lets clients ask for as long as told: a goroutine per request with pooled
// buffers, or goroutines that stay, each with its own.
func feed(clients int, buffers string, workers int, seconds float64) {
	store := newStore()
	pool := sync.Pool{New: func() any { return new(scratch) }}
	answers := make(chan answered, clients)
	requests := make(chan func(*scratch), clients)
	if buffers == "worker" {
		for i := 0; i < workers; i++ {
			go func() {
				s := new(scratch)
				for request := range requests {
					request(s)
				}
			}()
		}
	}
	number := uint64(0)
	send := func(sent time.Time) {
		number++
		request := number
		run := func(s *scratch) {
			answer(store, request, s)
			answers <- answered{sent, time.Now()}
		}
		if buffers == "worker" {
			requests <- run
			return
		}
		go func() {
			s := pool.Get().(*scratch)
			run(s)
			pool.Put(s)
		}()
	}
	start := time.Now()
	warmUp := time.Duration(math.Min(warmUpS, seconds/4) * 1e9)
	warm, end := start.Add(warmUp), start.Add(time.Duration(seconds*1e9))
	for i := 0; i < clients; i++ {
		send(time.Now())
	}
	var latencies []time.Duration
	var since time.Time
	var cpu time.Duration
	for waiting := clients; waiting > 0; {
		a := <-answers
		if a.done.After(end) {
			waiting--
			continue
		}
		if a.done.After(warm) {
			if since.IsZero() {
				since, cpu = time.Now(), cpuUsed()
			}
			latencies = append(latencies, a.done.Sub(a.sent))
		}
		send(a.done)
	}
	count := float64(len(latencies))
	fmt.Printf("{\"requests_per_s\":%.0f,\"refused\":0,\"cpu_us\":%.2f,%s}\n", count/end.Sub(since).Seconds(),
		float64(cpuUsed()-cpu)/1e3/count, percentiles("latency", latencies))
}
