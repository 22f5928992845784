package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/syncsh/syncsh/raft"
)

// Virtual time is in microseconds since the start of the world.
const (
	microsecond = int64(1)
	millisecond = 1000 * microsecond
	second      = 1000 * millisecond
)

const (
	// faultTime is how long a world runs under faults.
	faultTime = 20 * second
	// calmerTimes is how often a world in which hardly a call took effect, or hardly
	// anything went wrong, goes on for as long again; the former with fewer faults.
	calmerTimes = 2
	// healTime is how long after the last fault the members may take to agree:
	// ten of the longest election timeouts, and what a snapshot in small parts
	// needs.
	healTime = 30 * second
	// storyLines is how many of the last events a failure shows.
	storyLines = 120
	// eventsMax ends a world that makes events without letting time pass.
	eventsMax = 5_000_000
)

// event is something that happens at a time; equal times keep the order in
// which they were made.
type event struct {
	at  int64
	seq uint64
	run func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// world is one cluster, all that can happen to it, and what is known to be true
// of it. Everything in it follows from the seed.
type world struct {
	seed    uint64
	rng     *rand.Rand
	now     int64
	seq     uint64
	events  eventQueue
	count   int
	profile profile
	faults  bool  // false once the world has healed
	calm    int64 // how much rarer faults are than the profile says
	// atRisk is the one member whose disk may lack what it acknowledged, until it
	// is trusted again or was removed: of an async world one that lost power, or is
	// about to, of a memory world one that ended, else one whose disk is damaged. No
	// other one may be at risk then, as no cluster survives the loss of a majority.
	atRisk *member

	members  []*member           // in service
	machines map[raft.ID]*member // all that ever were
	founding raft.Configuration
	revision int64 // of the newest deploy
	net      network
	clients  []*client
	history  history
	stats    stats

	telling bool
	print   func(line string) // every line of the story, if not nil
	story   []string
	next    int    // where the next line goes in story
	hash    uint64 // of the whole story: equal seeds tell equal stories
}

// newWorld makes the world of a seed. print, if not nil, takes the whole story.
func newWorld(seed uint64, telling bool, print func(string)) *world {
	w := &world{seed: seed, machines: map[raft.ID]*member{}, rng: rand.New(rand.NewPCG(seed, 0x73796e637368)), faults: true, calm: 1, telling: telling, print: print}
	w.profile = drawProfile(w.rng)
	w.net.init(w)
	w.history.init(w)
	w.makeMembers()
	w.makeClients()
	w.log("%v", w.profile)
	return w
}

// run plays the world to its end and returns what was broken.
func (w *world) run() (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case *failure:
			err = x
		default:
			err = &failure{ownInvariant, fmt.Errorf("panic: %v\n%s", x, trace())}
		}
	}()
	for _, m := range w.members {
		w.after(w.between(0, 100*millisecond), m.start)
	}
	w.nemesis()
	w.runUntil(faultTime)
	for range calmerTimes {
		switch {
		case w.stats.effects < effectsMin:
			w.log("little has happened: the faults become rarer")
			w.calm *= 4
		case w.stats.faults() < faultsMin:
			w.log("little has gone wrong: the faults go on")
		default:
			w.heal()
			return nil
		}
		w.runUntil(w.now + faultTime)
	}
	w.heal()
	return nil
}

// runUntil lets everything happen that is due by t.
func (w *world) runUntil(t int64) {
	for len(w.events) > 0 && w.events[0].at <= t {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		if w.count++; w.count > eventsMax {
			w.fail(simulatorItself, "more than %d events in %s", eventsMax, stamp(w.now))
		}
		e.run()
	}
	w.now = max(w.now, t)
}

// after makes something happen later.
func (w *world) after(delay int64, run func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + max(delay, 0), w.seq, run})
}

// between draws a duration.
func (w *world) between(low, high int64) int64 { return low + w.rng.Int64N(max(high-low, 1)) }

// chance is true with probability p while there are faults.
func (w *world) chance(p float64) bool { return w.faults && w.rng.Float64() < p }

func stamp(t int64) string { return fmt.Sprintf("%d.%06d s", t/second, t%second) }

// log adds a line to the story. Nobody listens when many seeds are played: one
// that fails is played again for it.
func (w *world) log(format string, args ...any) {
	if !w.telling {
		return
	}
	line := fmt.Sprintf("%10.6f ", float64(w.now)/float64(second)) + fmt.Sprintf(format, args...)
	for i := 0; i < len(line); i++ { // FNV-1a
		w.hash = (w.hash ^ uint64(line[i])) * 0x100000001b3
	}
	if w.print != nil {
		w.print(line)
	}
	if len(w.story) < storyLines {
		w.story = append(w.story, line)
		return
	}
	w.story[w.next] = line
	w.next = (w.next + 1) % storyLines
}

// lastEvents is the end of the story.
func (w *world) lastEvents() string {
	return strings.Join(append(w.story[w.next:len(w.story):len(w.story)], w.story[:w.next]...), "\n")
}

// machine finds one by its id, also one that was switched off.
func (w *world) machine(id raft.ID) *member { return w.machines[id] }

// anyMember draws a member, up or down.
func (w *world) anyMember() *member { return w.members[w.rng.IntN(len(w.members))] }
