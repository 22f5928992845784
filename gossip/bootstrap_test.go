package gossip

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

func fresh(id raft.ID, expect int) Member {
	name := fmt.Sprintf("n%d", id)
	return Member{Name: name, State: Alive, Meta: Meta{ID: id, Addr: name + ":7400", Expect: expect}}
}

// step lets m decide once and carry out what is to be published.
func step(b *Bootstrap, m *Member, seen []Member) Decision {
	d := b.Decide(m.Name, m.Meta, seen)
	if d.Kind == Publish {
		m.Meta.Generation, m.Meta.Promise, m.Meta.View = d.State.Generation, d.State.Promise, d.View
	}
	return d
}

func TestBootstrapOfOne(t *testing.T) {
	m, b := fresh(1, 1), NewBootstrap(BootstrapState{})
	var kinds []DecisionKind
	var last Decision
	for range 3 {
		last = step(b, &m, nil)
		kinds = append(kinds, last.Kind)
	}
	if !reflect.DeepEqual(kinds, []DecisionKind{Publish, Publish, Found}) {
		t.Fatalf("got %v", kinds)
	}
	if len(last.Cluster) != 32 || len(last.Config.Members) != 1 || last.Config.Members[0] != (raft.Member{ID: 1, Role: raft.Voter, Name: "n1", Addr: "n1:7400"}) {
		t.Errorf("got %+v", last)
	}
}

func TestBootstrapOfThree(t *testing.T) {
	ms := []Member{fresh(3, 3), fresh(1, 3), fresh(2, 3), fresh(4, 3)}
	var bs []*Bootstrap
	for range ms {
		bs = append(bs, NewBootstrap(BootstrapState{}))
	}
	if d := step(bs[0], &ms[0], ms[:2]); d.Kind != Wait || d.Reason != "waiting for 3 nodes, seen 2: n1 n3" {
		t.Fatalf("got %+v", d)
	}
	var last [4]Decision
	for range 4 {
		for i := range ms {
			last[i] = step(bs[i], &ms[i], append([]Member(nil), ms...))
		}
	}
	for i := range 3 {
		if last[i].Kind != Found || last[i].Cluster != last[0].Cluster || !reflect.DeepEqual(last[i].Config, last[0].Config) {
			t.Errorf("%s: %+v", ms[i].Name, last[i])
		}
	}
	if last[3].Kind != Wait || last[3].Reason != "waiting for n1 n2 n3 to found the cluster" {
		t.Errorf("n4: %+v", last[3])
	}
	ms[0].Meta.Cluster, ms[0].Meta.HasData = last[0].Cluster, true
	if d := step(bs[3], &ms[3], ms); d.Kind != Join || d.Cluster != last[0].Cluster || len(d.Members) != 1 || d.Members[0].Name != "n3" {
		t.Errorf("n4 after the founding: %+v", d)
	}
	// One that promised founds on the word of another founder, also after a
	// restart, and though the third is gone.
	again := NewBootstrap(bs[1].State())
	ms[1].Meta.View, ms[1].Meta.Promise = "", ""
	if d := step(again, &ms[1], ms[:2]); d.Kind != Publish || d.State.Promise != bs[1].State().Promise {
		t.Fatalf("restarted: %+v", d)
	}
	if d := step(again, &ms[1], ms[:2]); d.Kind != Found || !reflect.DeepEqual(d.Config, last[0].Config) {
		t.Errorf("restarted: %+v", d)
	}
}

func TestBootstrapWaits(t *testing.T) {
	with := func(m Member, change func(*Member)) Member { change(&m); return m }
	c1, c2 := strings.Repeat("1", 32), strings.Repeat("2", 32)
	for _, c := range []struct {
		name  string
		self  Member
		seen  []Member
		words string
	}{
		{"does not found", fresh(1, 0), []Member{fresh(2, 2)}, "no cluster found yet, seen: n2"},
		{"nobody", fresh(1, 0), nil, "seen: nobody"},
		{"observer", with(fresh(1, 2), func(m *Member) { m.Meta.Observer = true }), []Member{fresh(2, 2), fresh(3, 2)}, "no cluster found yet"},
		{"another expect", fresh(1, 2), []Member{fresh(2, 3)}, "seen 1: n1"},
		{"gone", fresh(1, 2), []Member{with(fresh(2, 2), func(m *Member) { m.State = Gone })}, "seen 1: n1"},
		{"has data", fresh(1, 2), []Member{with(fresh(2, 2), func(m *Member) { m.Meta.HasData = true })}, "seen 1: n1"},
		{"copies", fresh(1, 2), []Member{fresh(2, 2), with(fresh(2, 2), func(m *Member) { m.Name = "n3" })}, "n2 n3 have the same id"},
		{"two clusters", fresh(1, 2), []Member{
			with(fresh(2, 2), func(m *Member) { m.Meta.Cluster = c1 }),
			with(fresh(3, 2), func(m *Member) { m.Meta.Cluster = c2 }),
		}, "two clusters"},
	} {
		if d := NewBootstrap(BootstrapState{}).Decide(c.self.Name, c.self.Meta, c.seen); d.Kind != Wait || !strings.Contains(d.Reason, c.words) {
			t.Errorf("%s: got %+v", c.name, d)
		}
	}
}

func TestBootstrapStateRoundTrip(t *testing.T) {
	for _, s := range []BootstrapState{{}, {Generation: 7}, {Generation: 1, Promise: strings.Repeat("a", 32), Config: configuration([]Member{fresh(1, 2), fresh(2, 2)})}} {
		b := s.Encode()
		if got, err := DecodeState(b); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
		for n := range b {
			if _, err := DecodeState(b[:n]); err == nil {
				t.Errorf("cut at %d was accepted", n)
			}
		}
	}
}

// world is a seeded simulation of nodes that decide on old and lossy news.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	expect int
	nodes  []*simNode
	// forgetful plants a bug: promises don't survive a restart.
	forgetful bool
	broken    string // the first violation
	revoked   int    // how often a generation was left
}

type simNode struct {
	Member
	boot    *Bootstrap
	disk    BootstrapState
	history []Meta       // everything it ever published
	heard   map[int]int  // per node: how many of its publications were heard; 0: never seen
	lost    map[int]bool // nodes that look gone to it
	founded *Decision
	joined  string
	started bool
}

func newWorld(t *testing.T, seed uint64, nodes, expect int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), expect: expect}
	ids := w.rng.Perm(nodes)
	for i := range nodes {
		w.nodes = append(w.nodes, &simNode{Member: fresh(raft.ID(ids[i]+1), expect), heard: map[int]int{}, lost: map[int]bool{}})
	}
	return w
}

// boot starts node n with what its disk has.
func (w *world) boot(n *simNode) {
	if w.forgetful {
		n.disk = BootstrapState{}
	}
	n.started = true
	n.boot = NewBootstrap(n.disk)
	n.Meta.Generation, n.Meta.Promise, n.Meta.View = n.disk.Generation, n.disk.Promise, n.disk.Promise
	n.history = append(n.history, n.Meta)
}

// sees is what node i knows of the others.
func (w *world) sees(i int) []Member {
	var list []Member
	for j, n := range w.nodes {
		heard := w.nodes[i].heard[j]
		if j == i || heard == 0 {
			continue
		}
		m := Member{Name: n.Name, Meta: n.history[heard-1], State: Alive}
		if w.nodes[i].lost[j] {
			m.State = Gone
		}
		list = append(list, m)
	}
	return list
}

// decide lets node i decide and carry it out; crash stops it between storing
// and publishing.
func (w *world) decide(i int, crash bool) {
	n := w.nodes[i]
	if n.founded != nil || n.joined != "" {
		return
	}
	d := n.boot.Decide(n.Name, n.Meta, w.sees(i))
	switch d.Kind {
	case Publish:
		if d.Store {
			if n.disk.Promise != "" && d.State.Promise == "" {
				w.revoked++
			}
			n.disk = d.State
		}
		if crash {
			w.boot(n)
			return
		}
		n.Meta.Generation, n.Meta.Promise, n.Meta.View = d.State.Generation, d.State.Promise, d.View
		n.history = append(n.history, n.Meta)
	case Found:
		n.founded = &d
		n.Meta.Cluster, n.Meta.HasData = d.Cluster, true
		n.history = append(n.history, n.Meta)
		w.check(n)
	case Join:
		n.joined = d.Cluster
		n.Meta.Cluster, n.Meta.HasData = d.Cluster, true
		n.history = append(n.history, n.Meta)
		w.check(n)
	}
}

// check holds a new member of a cluster against all founded sets.
func (w *world) check(n *simNode) {
	for _, o := range w.nodes {
		if o.founded == nil {
			continue
		}
		for _, c := range o.founded.Config.Members {
			if n.joined != "" && c.ID == n.Meta.ID && n.joined != o.founded.Cluster {
				w.fail("%s joined %s but is a founder of %s", n.Name, n.joined, o.founded.Cluster)
			}
			if n.founded == nil || reflect.DeepEqual(n.founded, o.founded) {
				continue
			}
			for _, d := range n.founded.Config.Members {
				if c.ID == d.ID {
					w.fail("%s founded %v and %s founded %v", n.Name, n.founded.Config.Members, o.Name, o.founded.Config.Members)
				}
			}
		}
	}
}

func (w *world) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

// chaos does random things.
func (w *world) chaos(steps int) {
	// Each seed has its own mix of news, losses and restarts.
	news := 3 + w.rng.IntN(10)
	lose := news + w.rng.IntN(4)
	restart := lose + w.rng.IntN(4)
	for range steps {
		i, j := w.rng.IntN(len(w.nodes)), w.rng.IntN(len(w.nodes))
		n := w.nodes[i]
		switch k := w.rng.IntN(restart + 5); {
		case !n.started:
			if k < 5 {
				w.boot(n)
			}
		case k < news: // some news of j arrive, not always the newest
			if have := len(w.nodes[j].history); n.heard[j] < have {
				n.heard[j] += 1 + w.rng.IntN(have-n.heard[j])
			}
		case k < lose:
			n.lost[j] = !n.lost[j]
		case k < restart:
			if n.founded == nil && n.joined == "" {
				w.boot(n)
				n.lost = map[int]bool{}
			}
		default:
			w.decide(i, w.rng.IntN(6) == 0)
		}
	}
}

// calm lets everybody hear everything until all belong to a cluster.
func (w *world) calm() {
	for _, n := range w.nodes {
		if !n.started {
			w.boot(n)
		}
		n.lost = map[int]bool{}
	}
	for range 20 * len(w.nodes) {
		for i, n := range w.nodes {
			for j, o := range w.nodes {
				n.heard[j] = len(o.history)
			}
			w.decide(i, false)
		}
	}
}

// run runs one seed; it returns what was violated.
func run(t *testing.T, seed uint64, nodes, expect int, forgetful bool) (broken string, revoked int) {
	w := newWorld(t, seed, nodes, expect)
	w.forgetful = forgetful
	w.chaos(200 + w.rng.IntN(600))
	w.calm()
	clusters := map[string]bool{}
	waiting := 0
	for _, n := range w.nodes {
		if n.Meta.Cluster == "" {
			waiting++
		} else {
			clusters[n.Meta.Cluster] = true
		}
	}
	// Disjoint sets may found a cluster each; a latecomer then asks which one.
	if waiting > 0 && len(clusters) < 2 {
		w.fail("%d of %d nodes still wait, %d clusters", waiting, nodes, len(clusters))
	}
	if nodes < 2*expect && len(clusters) != 1 {
		w.fail("%d clusters", len(clusters))
	}
	return w.broken, w.revoked
}

// Seeds per size. Three nodes of which two found see the most of conflicting
// sets, so they get more: a planted bug shows in about one of 1,250 of theirs.
const (
	simSeeds     = 200
	simSeedsMost = 5000
)

func TestBootstrapSimulation(t *testing.T) {
	revoked := 0
	for expect := 1; expect <= 5; expect++ {
		for extra := range 3 {
			seeds := uint64(simSeeds)
			if expect == 2 && extra == 1 && !testing.Short() {
				seeds = simSeedsMost
			}
			for seed := range seeds {
				broken, r := run(t, seed, expect+extra, expect, false)
				if broken != "" {
					t.Fatalf("seed %d, %d nodes, expect %d: %s", seed, expect+extra, expect, broken)
				}
				revoked += r
			}
		}
	}
	if revoked == 0 {
		t.Error("no promise was ever revoked: the simulation is too tame")
	}
}

// The simulation must see a planted bug.
func TestBootstrapSimulationSees(t *testing.T) {
	for seed := range uint64(4 * simSeedsMost) {
		if broken, _ := run(t, seed, 3, 2, true); strings.Contains(broken, " founded ") {
			t.Logf("seed %d: %s", seed, broken)
			return
		}
	}
	t.Error("promises that are lost at a restart were not noticed")
}
