//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// leading is the target of a step that is for whoever leads then.
const leading = -1

// step is one fault: after a gap it is there for a while.
type step struct {
	class     string
	target    int  // a node, or leading
	other     int  // another node: the fallback of leading, the other end of a link
	reject    bool // of cut links
	gap, hold time.Duration
	amount    time.Duration // of delays and clocks
}

func (s step) String() string {
	target := fmt.Sprintf("n%d", s.target+1)
	if s.target == leading {
		target = "the leader"
	}
	return fmt.Sprintf("%s %s (other n%d, reject %v, amount %v) for %v", s.class, target, s.other+1, s.reject, s.amount, s.hold)
}

// lanes are the faults by what they strike; one of each lane is there at a time.
var lanes = []struct {
	name    string
	classes []string
}{
	{"process", []string{"kill", "pause", "power", "stop", "pause", "transfer", "blackout"}},
	{"disk", []string{"disk slow", "disk fail", "disk full", "disk stall"}},
	{"net", []string{"cut one way", "cut both ways", "isolate", "deaf", "halves", "lag", "reset clients"}},
	{"clock", []string{"clock ahead", "clock behind"}},
}

// Times of steps. A pause may be longer than the longest election timeout, 1.2 s,
// and a cut longer than what a client gives a node.
const (
	gapMin, gapMax   = 300 * time.Millisecond, 1500 * time.Millisecond
	holdMin, holdMax = 300 * time.Millisecond, 3 * time.Second
	lagMax           = 150 * time.Millisecond
	slowMax          = 100 * time.Millisecond
	// clockMax is beyond the time to live of a session, an hour.
	clockMax = 2 * time.Hour
)

// plan is what will happen to a cluster of so many nodes: the decisions follow
// from the seed alone. When they take effect, and who leads then, does not. Each
// class comes at least once, so it may take longer than length.
func plan(seed uint64, nodes int, length time.Duration) [][]step {
	all := make([][]step, len(lanes))
	for i, lane := range lanes {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		var deck []string
		for at := time.Duration(0); at < length || len(deck) > 0; {
			if len(deck) == 0 { // each class before any comes again
				for _, j := range rng.Perm(len(lane.classes)) {
					deck = append(deck, lane.classes[j])
				}
			}
			s := draw(rng, nodes)
			s.class, deck = deck[0], deck[1:]
			s.amount = amount(rng, s.class)
			all[i] = append(all[i], s)
			at += s.gap + s.hold
		}
	}
	return all
}

func draw(rng *rand.Rand, nodes int) step {
	s := step{
		target: rng.IntN(nodes), reject: rng.IntN(3) == 0,
		gap:  gapMin + time.Duration(rng.Int64N(int64(gapMax-gapMin))),
		hold: holdMin + time.Duration(rng.Int64N(int64(holdMax-holdMin))),
	}
	s.other = (s.target + 1 + rng.IntN(nodes-1)) % nodes
	if rng.IntN(2) == 0 {
		s.target = leading
	}
	return s
}

func amount(rng *rand.Rand, class string) time.Duration {
	limit := map[string]time.Duration{"disk slow": slowMax, "lag": lagMax, "clock ahead": clockMax, "clock behind": clockMax}[class]
	if limit == 0 {
		return 0
	}
	return 1 + time.Duration(rng.Int64N(int64(limit)))
}

func TestPlanRepeats(t *testing.T) {
	a, b := plan(7, 5, time.Minute), plan(7, 5, time.Minute)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed gave two plans")
	}
	if reflect.DeepEqual(a, plan(8, 5, time.Minute)) {
		t.Error("two seeds gave one plan")
	}
	for i, lane := range plan(9, 5, time.Second) {
		seen := map[string]bool{}
		for _, s := range lane {
			seen[s.class] = true
			if s.target == s.other || s.target < leading || s.target >= 5 || s.other < 0 || s.other >= 5 {
				t.Errorf("%v", s)
			}
		}
		for _, class := range lanes[i].classes {
			if !seen[class] {
				t.Errorf("a plan without %s", class)
			}
		}
	}
}
