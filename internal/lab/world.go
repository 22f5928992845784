// Package lab is a whole cluster on one goroutine, in virtual time, for specs:
// the replica, applier, store and machine of production (internal/replica, raft,
// persist, luafsm) with clocks, a network and disks that follow from a seed.
//
// # What it promises
//
// Equal seeds and equal use give equal worlds: nothing in here looks at the
// machine's clock, at random sources of its own or at the order of a map. Time
// passes only in Step, from one event to the next, however far away that is.
// Clients are as those of package client: a call goes to a node, is tried again
// elsewhere when its answer is lost, and happens exactly once.
//
// # What it asks of the caller
//
// All methods are called by one goroutine at a time. A World whose Err is not
// nil does nothing more.
//
// # Beside internal/sim
//
// The simulator looks for bugs of the cluster: it breaks all that can break and
// checks every log, vote and digest after every event. A lab looks for bugs of
// the objects that people write: its faults are those that a correct cluster
// survives with all that it promises, few enough that calls come to their end
// within seconds, and it checks nothing that the spec does not. It is in the
// binary that people use, which internal/sim with its checks and planted bugs
// must not be.
//
// # Where to start reading
//
// world.go has time and the World, member.go what drives a replica, network.go
// the messages between them, client.go the clients, control.go what a spec does to
// nodes, faults.go what goes wrong by itself.
package lab

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

const (
	// NodesMax bounds a cluster.
	NodesMax = 9
	// eventsMax ends a world that makes events without letting time pass: a day of
	// five nodes has fewer.
	eventsMax = 50_000_000
	// start is what the clocks show at the beginning, in ms since 1970:
	// 2027-01-15 08:00:00 UTC.
	start = 1_800_000_000_000
)

// Config of a World.
type Config struct {
	Seed  uint64
	Nodes int // voters, n1, n2 and so on
	// Memo, if set, is shared with other worlds that get the same scripts.
	Memo *luafsm.Memo
	// Story, if set, is told what happens: one line each.
	Story func(line string)
}

// World is one cluster and all that can happen to it.
type World struct {
	conf   Config
	rng    *rand.Rand
	now    time.Duration // since the beginning
	seq    uint64
	events eventQueue
	count  int
	err    error

	members []*member
	cut     map[link]bool // by themselves, see faults.go
	apart   map[link]bool // by Cut
	faults  faults
	stats   Stats
}

// New returns a world whose nodes are about to start.
func New(conf Config) *World {
	w := &World{conf: conf, rng: rand.New(rand.NewPCG(conf.Seed, 0x6c6162)), cut: map[link]bool{}, apart: map[link]bool{}}
	var founding raft.Configuration
	for i := range conf.Nodes {
		m := newMember(w, raft.ID(i+1))
		w.members = append(w.members, m)
		founding.Members = append(founding.Members, raft.Member{ID: m.id, Role: raft.Voter, Name: m.name, Addr: m.name})
	}
	for _, m := range w.members {
		m.founding = founding
		w.after(w.between(0, 20*time.Millisecond), m.start)
	}
	return w
}

// Event is something that is to happen.
type Event struct {
	at  time.Duration
	seq uint64 // equal times keep the order in which they were made
	run func() // nil once it was stopped
}

// Stop keeps an event from happening.
func (e *Event) Stop() { e.run = nil }

type eventQueue []*Event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(*Event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

// After makes something happen later.
func (w *World) After(delay time.Duration, run func()) *Event { return w.after(delay, run) }

func (w *World) after(delay time.Duration, run func()) *Event {
	w.seq++
	e := &Event{w.now + max(delay, 0), w.seq, run}
	heap.Push(&w.events, e)
	return e
}

// Step lets the next event happen. It is false when there is none, or when
// something went wrong.
func (w *World) Step() (ok bool) {
	if w.err != nil {
		return false
	}
	defer func() {
		if x := recover(); x != nil {
			w.err = fmt.Errorf("seed %d: panic after %v of virtual time: %v\n%s", w.conf.Seed, w.now, x, debug.Stack())
			ok = false
		}
	}()
	for len(w.events) > 0 {
		e := heap.Pop(&w.events).(*Event)
		if e.run == nil {
			continue
		}
		w.now = e.at
		if w.count++; w.count > eventsMax {
			w.fail(fmt.Errorf("more than %d events in %v of virtual time", eventsMax, w.now))
			return false
		}
		e.run()
		return w.err == nil
	}
	return false
}

// fail ends the world: this is a bug of the cluster or of this package.
func (w *World) fail(err error) {
	if w.err == nil {
		w.err = fmt.Errorf("seed %d: after %v of virtual time: %w", w.conf.Seed, w.now, err)
	}
}

// Err is what went wrong with the world itself.
func (w *World) Err() error { return w.err }

// Elapsed is how much virtual time has passed.
func (w *World) Elapsed() time.Duration { return w.now }

// Now is what a clock without error shows.
func (w *World) Now() time.Time { return time.UnixMilli(start).UTC().Add(w.now) }

// Rand draws a number from 0 up to n-1.
func (w *World) Rand(n int) int { return w.rng.IntN(n) }

// Float draws a number from 0 up to 1.
func (w *World) Float() float64 { return w.rng.Float64() }

// Stats is what happened so far.
func (w *World) Stats() Stats { return w.stats }

// Tell adds a line to the story.
func (w *World) Tell(format string, args ...any) {
	if w.conf.Story != nil {
		w.conf.Story(fmt.Sprintf("%10.3f s  ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}

// between draws a duration.
func (w *World) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(max(high-low, 1))))
}

// anyMember draws a member, up or down.
func (w *World) anyMember() *member { return w.members[w.rng.IntN(len(w.members))] }

// Stats counts what went wrong by itself: a run in which nothing did shows
// nothing.
type Stats struct {
	Crashes   int `json:"crashes"`   // nodes that lost power or were killed
	Leaders   int `json:"leaders"`   // of these, those that led
	Cuts      int `json:"cuts"`      // of links, or of a node from all others
	Pauses    int `json:"pauses"`    // nodes that stood still
	Transfers int `json:"transfers"` // of leadership
	Lost      int `json:"lost"`      // messages between nodes
	Late      int `json:"late"`      // messages between nodes that took much longer
	Doubled   int `json:"doubled"`   // messages between nodes that came twice
	Unheard   int `json:"unheard"`   // requests and answers of clients that were lost
	Retries   int `json:"retries"`   // tries of calls after the first
}

// Add adds the counts of another world.
func (s *Stats) Add(o Stats) {
	s.Crashes += o.Crashes
	s.Leaders += o.Leaders
	s.Cuts += o.Cuts
	s.Pauses += o.Pauses
	s.Transfers += o.Transfers
	s.Lost += o.Lost
	s.Late += o.Late
	s.Doubled += o.Doubled
	s.Unheard += o.Unheard
	s.Retries += o.Retries
}

// Faults is how much went wrong.
func (s Stats) Faults() int {
	return s.Crashes + s.Cuts + s.Pauses + s.Transfers + s.Lost + s.Late + s.Doubled + s.Unheard
}

func (s Stats) String() string {
	return fmt.Sprintf("%d crashes (%d of leaders), %d cuts, %d pauses, %d transfers; messages: %d lost, %d late, %d doubled; clients: %d requests or answers lost, %d tries again",
		s.Crashes, s.Leaders, s.Cuts, s.Pauses, s.Transfers, s.Lost, s.Late, s.Doubled, s.Unheard, s.Retries)
}
