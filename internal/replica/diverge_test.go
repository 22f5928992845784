package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// TestFollowerDiverges: a follower whose state is wrong is out of service within
// a second, is healed by a snapshot of the leader, and stays so after a restart,
// while the others serve.
func TestFollowerDiverges(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	for range 10 {
		c.inc(2)
	}
	c.ticks(2 * digestTicks)
	agreed := m.r.Consistency().Agreed
	if agreed != m.r.Applied().Index {
		t.Fatalf("agreed at %d, applied %d", agreed, m.r.Applied().Index)
	}
	m.spoil, m.hold = agreed+1, true
	c.inc(2)
	c.inc(2)
	c.wantGet(3, wire.Stale, 1011)
	c.ticks(digestTicks)
	s := m.r.Consistency()
	if d := s.Last; !s.Diverged || s.Count != 1 || d.After != agreed || d.At != agreed+2 || d.Own == d.Majority || d.Healed != 0 {
		t.Fatalf("%+v, agreed at %d", s, agreed)
	}
	if d := s.Last; d.Own != m.r.Applied().Digest || d.Majority != c.member(1).r.Applied().Digest {
		t.Fatalf("%+v, digests %x %x", d, m.r.Applied().Digest, c.member(1).r.Applied().Digest)
	}
	c.until("the snapshot", func() bool { return len(m.works) > 0 })
	c.wantRefused(3)
	for id := range raft.ID(2) {
		c.inc(id + 1)
		c.wantGet(id+1, wire.Linearizable, 13+uint64(id))
	}
	m.hold = false
	c.settle()
	if s := m.r.Consistency(); s.Diverged || s.Count != 1 || s.Last.Healed < s.Last.At {
		t.Fatalf("%+v", s)
	}
	c.wantEqual()
	c.wantGet(3, wire.Linearizable, 14)
	c.inc(3)
	c.ticks(2 * digestTicks)
	if s := m.r.Consistency(); s.Agreed != m.r.Applied().Index || s.Diverged || s.Count != 1 {
		t.Fatalf("%+v, applied %+v", s, m.r.Applied())
	}
	m.start(raft.Configuration{})
	c.ticks(2 * digestTicks)
	c.wantEqual()
	c.wantGet(3, wire.Stale, 15)
	for _, m := range c.members[:2] {
		if s := m.r.Consistency(); s.Count != 0 || s.Undecided {
			t.Errorf("member %d: %+v", m.id, s)
		}
	}
}

// TestLeaderDiverges: a leader whose state is wrong hands over, then heals.
func TestLeaderDiverges(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.leader()
	c.inc(2)
	c.ticks(2 * digestTicks)
	m.spoil, m.hold = m.r.Applied().Index+1, true
	c.inc(2)
	c.ticks(digestTicks)
	if !m.r.Consistency().Diverged {
		t.Fatalf("%+v", m.r.Consistency())
	}
	c.until("another leader", func() bool { return !m.r.IsLeader() && m.r.Leader() != 0 })
	c.wantRefused(m.id)
	c.inc(2)
	c.inc(3)
	c.wantGet(2, wire.Linearizable, 4)
	m.hold = false
	c.until("the end of it", func() bool { return !m.r.Consistency().Diverged })
	c.wantEqual()
	c.wantGet(m.id, wire.Linearizable, 4)
}

// TestDivergedLeaderRefuses: while no other voter can lead, a leader with a wrong
// state refuses what is forwarded, answers calls under way with "unknown", and
// dumps and sends nothing.
func TestDivergedLeaderRefuses(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.leader()
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	// The votes of the others arrive, but no leadership can be handed over.
	x := m.r.Applied()
	right := c.member(2).r.Applied().Digest
	m.r.Submit(m, wire.Request{ID: 1000, Op: wire.OpPropose, Payload: inc()})
	m.run() // in the log
	m.r.Submit(m, wire.Request{ID: 1001, Op: wire.OpPropose, Payload: inc()})
	for _, id := range []raft.ID{2, 3} {
		c.member(id).down = true
		if err := m.r.Step(wire.PeerMessage{From: id, Digest: &wire.Digest{Index: x.Index, Sum: right}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	m.r.cfg.SnapshotEntries = 1
	m.r.consistency.askIn = 0
	m.r.Tick(c.now)
	m.run()
	if len(m.dumped) > 0 {
		t.Error("dumps its wrong state")
	}
	c.member(2).down, c.member(3).down = false, false
	if err := m.r.Step(wire.PeerMessage{From: 2, Forward: &wire.Request{ID: 7, Op: wire.OpPropose, Payload: inc()}}, m); err != nil {
		t.Fatal(err)
	}
	c.settle()
	for id, want := range map[uint64]command.Code{1000: command.CodeTimeout, 1001: command.CodeNoLeader, 7: command.CodeNoLeader} {
		if got, ok := m.answers[id]; !ok || got.Code != want {
			t.Errorf("request %d: answered %v, %+v", id, ok, got)
		}
	}
	c.until("the end of it", func() bool { return !m.r.Consistency().Diverged && !m.r.IsLeader() })
	c.wantEqual()
	c.wantGet(1, wire.Linearizable, 2)
}

// TestObserverDiverges: who does not vote compares with those who do.
func TestObserverDiverges(t *testing.T) {
	c := newTrio(t, 1, 1)
	m := c.member(2)
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	c.until("divergence", func() bool { return m.r.Consistency().Count == 1 })
	c.until("the end of it", func() bool { return !m.r.Consistency().Diverged })
	c.wantEqual()
	if s := c.member(1).r.Consistency(); s.Count != 0 || s.Agreed == 0 {
		t.Errorf("the only voter: %+v", s)
	}
	for _, x := range c.member(1).r.consistency.checks {
		if len(x.heard) > 0 {
			t.Errorf("the observer said what its digest at %d is", x.index)
		}
	}
}

// TestUndecided: two voters that differ: nobody is in the minority. Both say so
// and serve.
func TestUndecided(t *testing.T) {
	for _, voters := range []int{2, 3} {
		c := newTrio(t, voters, 0)
		c.ticks(2 * digestTicks)
		if voters == 3 {
			c.member(3).down = true
		}
		c.member(2).spoil = c.member(2).r.Applied().Index + 1
		c.inc(1)
		c.ticks(5 * digestTicks)
		for id := raft.ID(1); id <= 2; id++ {
			if s := c.member(id).r.Consistency(); !s.Undecided || s.Diverged {
				t.Errorf("%d voters, member %d: %+v", voters, id, s)
			}
			if notes := strings.Join(c.member(id).notes, "\n"); strings.Count(notes, "an operator has to decide") != 1 {
				t.Errorf("%d voters, member %d says: %s", voters, id, notes)
			}
		}
		c.wantGet(1, wire.Linearizable, 1)
		c.wantGet(2, wire.Linearizable, 1000)
		if voters == 2 {
			continue
		}
		c.member(3).down = false // now there is a majority
		c.until("the end of it", func() bool { return c.member(2).r.Consistency().Last.Healed != 0 })
		c.ticks(3 * digestTicks)
		c.wantEqual()
		for _, m := range c.members {
			if s := m.r.Consistency(); s.Undecided || s.Diverged || s.Agreed != m.r.Applied().Index {
				t.Errorf("member %d: %+v", m.id, s)
			}
		}
	}
}

// TestMajorityIsRight: two of three that are wrong in the same way are right by
// definition; the third takes their state over.
func TestMajorityIsRight(t *testing.T) {
	c := newTrio(t, 3, 0)
	c.ticks(2 * digestTicks)
	for _, m := range c.members[1:] {
		m.spoil = m.r.Applied().Index + 1
	}
	c.inc(2)
	c.until("the end of it", func() bool { return c.member(1).r.Consistency().Last.Healed != 0 })
	c.until("a leader", func() bool { return c.member(1).r.Leader() != 0 })
	c.wantEqual()
	c.wantGet(1, wire.Linearizable, 1000)
}

// TestRestartDiverged: snapshots of the wrong state, on the disk before it was
// found out or under way then, don't bring it back.
func TestRestartDiverged(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	c.ask(3, wire.Request{Op: wire.OpSnapshot})
	m.hold = true
	c.ticks(digestTicks)
	if !m.r.Consistency().Diverged || m.r.Snapshot().Index == 0 {
		t.Fatalf("%+v, snapshot %+v", m.r.Consistency(), m.r.Snapshot())
	}
	m.start(raft.Configuration{}) // from the wrong snapshot
	c.until("divergence again", func() bool { return m.r.Consistency().Diverged })
	m.hold = false
	c.until("the end of it", func() bool { return m.r.Consistency().Last.Healed != 0 })
	c.wantEqual()

	// Once more, with a dump under way that is slower than the comparison, and no
	// later entry: the two snapshots have one index.
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	c.ask(3, wire.Request{Op: wire.OpSnapshot})
	slow := m.dumped
	if m.dumped = nil; len(slow) != 1 {
		t.Fatal("no dump")
	}
	c.ticks(2 * digestTicks)
	if s := m.r.Consistency(); !s.Diverged || m.r.raft.Refetching() {
		t.Fatalf("%+v: refetching %v beside a dump", s, m.r.raft.Refetching())
	}
	slow[0]()
	c.until("the end of it", func() bool { return m.r.Consistency().Last.Healed != 0 && !m.r.Consistency().Diverged })
	c.wantEqual()
	m.start(raft.Configuration{})
	c.ticks(2 * digestTicks)
	c.wantEqual()
	if s := m.r.Consistency(); s.Count != 0 {
		t.Errorf("after the restart: %+v", s)
	}
}

// TestDigestMarks: at every multiple of digestEvery the digests are compared
// without being asked for.
func TestDigestMarks(t *testing.T) {
	c := newTrio(t, 3, 0)
	for i := range 3 * digestEvery {
		c.member(1).r.Submit(c.member(1), wire.Request{ID: uint64(i + 1000), Op: wire.OpPropose, Payload: inc()})
		if i%1000 == 999 {
			c.settle()
		}
	}
	c.settle()
	c.ticks(1) // the followers learn of the last commit
	for _, m := range c.members {
		if s := m.r.Consistency(); s.Agreed < 3*digestEvery {
			t.Errorf("member %d: %+v", m.id, s)
		}
	}
}

// TestDigestRing: the last digests are found, and nothing else is.
func TestDigestRing(t *testing.T) {
	var d digests
	for i := raft.Index(1); i <= 3*digestsKept; i += 2 {
		d.add(i, [16]byte{byte(i), byte(i >> 8)})
	}
	for i := raft.Index(0); i < 3*digestsKept+5; i++ {
		got := d.find(i)
		if want := i%2 == 1 && i > digestsKept && i <= 3*digestsKept; got.Found != want || want && got.Sum != [16]byte{byte(i), byte(i >> 8)} {
			t.Fatalf("at %d: %+v", i, got)
		}
	}
}

// TestOldDigests: what can't be compared any more is forgotten; the number of
// comparisons is bounded.
func TestOldDigests(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(2)
	for i := range raft.Index(10 * checksMax) {
		if err := m.r.Step(wire.PeerMessage{From: 3, Digest: &wire.Digest{Index: 1000 + i*7%512}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := &m.r.consistency
	if len(s.checks) != checksMax || s.floor == 0 || s.diverged {
		t.Errorf("%d checks, floor %d", len(s.checks), s.floor)
	}
	if !slices.IsSortedFunc(s.checks, func(a, b digestCheck) int { return int(a.index) - int(b.index) }) || s.checks[0].index <= s.floor {
		t.Error("not in order")
	}
}

// TestReadsUnderWay: queries that wait for an index when the state is found
// wrong are refused.
func TestReadsUnderWay(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	right := c.member(1).r.Applied()
	submit := func(id uint64) {
		req := getRequest(wire.Linearizable)
		req.ID = id
		m.r.Submit(m, req)
	}
	submit(1000)
	m.run() // the leader is asked
	m.r.readable = []readyRead{{right.Index + 100, []Query{{Ticket: Ticket{To: m, ID: 1001}}}}}
	m.r.Submit(m, wire.Request{ID: 1002, Op: wire.OpQuery, Mode: wire.Stale, Payload: getRequest(wire.Stale).Payload})
	m.run() // in time
	submit(1003)
	for _, id := range []raft.ID{1, 2} {
		if err := m.r.Step(wire.PeerMessage{From: id, Digest: &wire.Digest{Index: right.Index, Sum: right.Digest}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.settle()
	for id, want := range map[uint64]command.Code{1000: command.CodeDiverged, 1001: command.CodeDiverged, 1002: command.CodeOK, 1003: command.CodeDiverged} {
		if got, ok := m.answers[id]; !ok || got.Code != want {
			t.Errorf("query %d: answered %v, %+v", id, ok, got)
		}
	}
}

// TestDigestOfLater: a replica that is behind compares when it gets there.
func TestDigestOfLater(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	at := m.r.Applied().Index + 1
	if err := m.r.Step(wire.PeerMessage{From: 1, Digest: &wire.Digest{Index: at}}, nil); err != nil {
		t.Fatal(err)
	}
	c.inc(1)
	x := m.r.check(at)
	if !x.known || x.own != m.r.Applied().Digest || m.r.Applied().Index != at {
		t.Errorf("%+v, applied %+v", x, m.r.Applied())
	}
	if y := c.member(2).r.check(at); !slices.Contains(y.heard, digestVote{3, x.own}) {
		t.Errorf("not told to member 2: %+v", y)
	}
}

// TestRandomDivergence: one state at a time becomes wrong, while members go down
// and come back, restart, dump and change leadership. In the end all are equal
// and in service.
func TestRandomDivergence(t *testing.T) {
	healed := uint64(0)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newTrio(t, []int{3, 3, 5}[seed%3], int(seed%2))
		c.every = 10
		for range 60 {
			c.randomEvent(rng)
		}
		for _, m := range c.members {
			m.down, m.spoil = false, 0
		}
		c.until(fmt.Sprintf("agreement, seed %d", seed), c.agree)
		for _, m := range c.members {
			healed += m.r.Consistency().Count
		}
	}
	if t.Logf("%d divergences", healed); healed < 10 {
		t.Errorf("only %d divergences", healed)
	}
}

func (c *trio) randomEvent(rng *rand.Rand) {
	m := c.members[rng.IntN(len(c.members))]
	down := slices.ContainsFunc(c.members, func(m *member) bool { return m.down })
	switch x := rng.IntN(20); {
	case x < 8:
		c.ask(m.id, wire.Request{Op: wire.OpPropose, Payload: inc(), TimeoutMs: 100})
	case x < 13:
		c.ticks(rng.IntN(2 * digestTicks))
	case x == 13 && !down:
		m.down = true
	case x <= 14:
		for _, m := range c.members {
			m.down = false
		}
	case x == 15 && !m.down:
		m.start(raft.Configuration{})
	case x == 16 && !m.down:
		c.ask(m.id, wire.Request{Op: wire.OpSnapshot})
	case x == 17 && !m.down:
		c.ask(m.id, wire.Request{Op: wire.OpTransfer, Payload: wire.AppendTransfer(nil, c.members[rng.IntN(len(c.members))].id)})
	case !m.down && c.right():
		m.spoil = m.a.State().Index + 1
	}
}

// right tells whether no state is wrong, or about to be.
func (c *trio) right() bool {
	for _, m := range c.members {
		if m.down || m.spoil != 0 || m.a.State() != c.members[0].a.State() {
			return false
		}
	}
	return true
}

func (c *trio) agree() bool {
	for _, m := range c.members {
		s := m.r.Consistency()
		if s.Diverged || s.Undecided || s.Agreed != m.r.Applied().Index || m.a.State() != c.members[0].a.State() || m.r.Leader() == 0 {
			return false
		}
	}
	return true
}
