package replica

import (
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// Replicas compare their states. About once a second the leader tells all the
// digest at the index that it has applied; every voter answers all with its own
// at that index, and at every multiple of digestEvery they do so unasked. Each
// member judges itself only: when a majority of the voters has another digest
// than this member, its state is wrong. It then stops serving and has raft fetch
// a snapshot, which replaces the machine. docs/DETERMINISM.md says what that is
// worth.

const (
	// digestTicks is how often the leader asks; less than a second of the
	// drivers' 20 ms.
	digestTicks = 40
	// checksMax bounds the indexes under comparison. A replica that is behind
	// keeps them until it gets there.
	checksMax = 128
)

// Divergence says where the state of this member was found to be another than
// that of a majority of the voters.
type Divergence struct {
	After    raft.Index // the last index at which it agreed, or was restored
	At       raft.Index // where it was found: it happened after After, not after At
	Own      [16]byte   // digest at At
	Majority [16]byte
	Healed   raft.Index // of the snapshot that replaced the state; 0: not yet
}

// Consistency says how the state of this member compares with the others'.
type Consistency struct {
	Agreed raft.Index // the last index at which a majority had the same digest
	// Diverged: this member is out of service, and Last says why.
	Diverged bool
	// Undecided: voters have different digests, and none is that of a majority.
	// Nobody can tell who is right: all go on serving.
	Undecided bool
	Count     uint64     // of divergences since the start
	Last      Divergence // if Count is not 0
}

// digestCheck compares the digests at an index.
type digestCheck struct {
	index raft.Index
	own   [16]byte
	known bool // own is
	asked bool // the applier was asked for it
	tell  bool // the leader wants to know it
	heard []digestVote
	age   int // rounds of digestTicks
}

type digestVote struct {
	from raft.ID
	sum  [16]byte
}

// consistency is the part of a replica that compares.
type consistency struct {
	checks   []digestCheck // by index
	floor    raft.Index    // checks up to here were given up
	agreed   raft.Index
	restored raft.Index // the machine is of a snapshot of this index
	split    raft.Index // where the voters were found undecided; 0: nowhere
	diverged bool
	last     Divergence
	count    uint64
	agreeing []raft.ID // voters that had the majority's digest
	askIn    int       // ticks
	handIn   int       // ticks until the next attempt to hand over
	handed   int       // attempts
}

// Consistency of this member's state with the others'.
func (r *Replica) Consistency() Consistency {
	c := &r.consistency
	return Consistency{Agreed: c.agreed, Diverged: c.diverged, Undecided: c.split != 0, Count: c.count, Last: c.last}
}

// check finds or makes the comparison at an index. nil if that is too old.
func (r *Replica) check(i raft.Index) *digestCheck {
	c := &r.consistency
	k, found := slices.BinarySearchFunc(c.checks, i, func(x digestCheck, i raft.Index) int {
		switch {
		case x.index < i:
			return -1
		case x.index > i:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return &c.checks[k]
	case i <= c.floor:
		return nil
	}
	c.checks = slices.Insert(c.checks, k, digestCheck{index: i})
	if len(c.checks) > checksMax {
		c.floor = c.checks[0].index
		c.checks = slices.Delete(c.checks, 0, 1)
		if k--; k < 0 {
			return nil
		}
	}
	return &c.checks[k]
}

// tickDigests lets the leader ask, and does what a wrong state needs.
func (r *Replica) tickDigests() {
	c := &r.consistency
	if c.diverged {
		r.tickDiverged()
	}
	if c.askIn--; c.askIn > 0 {
		return
	}
	c.askIn = digestTicks
	for i := range c.checks {
		x := &c.checks[i]
		if x.age++; x.age >= 2 { // who has not answered by now is not there
			r.undecided(x)
		}
	}
	if !r.IsLeader() || r.applied.Index == 0 {
		return
	}
	if x := r.check(r.applied.Index); x != nil {
		x.own, x.known = r.applied.Digest, true
		r.tellDigest(x)
		r.judge(x)
	}
}

// stepDigest takes what another member says.
func (r *Replica) stepDigest(from raft.ID, d *wire.Digest) {
	fromLeader := from == r.Leader()
	if d.Index+digestsKept < r.applied.Index {
		return // of a member that is far behind
	}
	x := r.check(d.Index)
	if x == nil {
		return
	}
	k, found := slices.BinarySearchFunc(x.heard, from, func(v digestVote, id raft.ID) int {
		if v.from < id {
			return -1
		}
		return int(min(v.from-id, 1))
	})
	if found {
		x.heard[k].sum = d.Sum
	} else if _, member := r.raft.Config().Member(from); member {
		x.heard = slices.Insert(x.heard, k, digestVote{from, d.Sum})
	}
	if fromLeader {
		x.tell = true
		if x.known {
			r.tellDigest(x)
		}
		r.lookUp(x)
	}
	r.judge(x)
}

// lookUp asks the applier for its digest, once the stream of work has passed the
// index.
func (r *Replica) lookUp(x *digestCheck) {
	if x.tell && !x.known && !x.asked && x.index <= r.emitted {
		x.asked = true
		r.out.Work = append(r.out.Work, Work{Kind: WorkDigest, Meta: raft.SnapshotMeta{Index: x.index}})
	}
}

func (r *Replica) lookUpDigests() {
	for i := range r.consistency.checks {
		r.lookUp(&r.consistency.checks[i])
	}
}

// digestsDone takes the applier's digests.
func (r *Replica) digestsDone(own []Digest) {
	for _, d := range own {
		x := r.check(d.Index)
		if x == nil {
			continue
		}
		x.asked = false
		if !d.Found {
			x.tell = false
			continue
		}
		x.own, x.known = d.Sum, true
		r.tellDigest(x)
		r.judge(x)
	}
}

// tellDigest tells all members, if this one's word counts.
func (r *Replica) tellDigest(x *digestCheck) {
	config := r.raft.Config()
	if !votes(config, r.cfg.Self.ID) {
		return
	}
	for _, m := range config.Members {
		if m.ID != r.cfg.Self.ID {
			r.out.Peer = append(r.out.Peer, PeerSend{m.ID, wire.PeerMessage{Digest: &wire.Digest{Index: x.index, Sum: x.own}}})
		}
	}
}

func votes(c raft.Configuration, id raft.ID) bool {
	m, ok := c.Member(id)
	return ok && m.Role == raft.Voter || slices.Contains(c.Outgoing, id)
}

// has tells whether a voter has a digest.
func (r *Replica) has(x *digestCheck, id raft.ID, sum [16]byte) bool {
	if id == r.cfg.Self.ID {
		return x.known && x.own == sum
	}
	return slices.Contains(x.heard, digestVote{id, sum})
}

// majority finds the digest that a majority of the voters has, in a joint
// configuration of each half.
func (r *Replica) majority(x *digestCheck) (sum [16]byte, ok bool) {
	config := r.raft.Config()
	var voters []raft.ID
	for _, m := range config.Members {
		if m.Role == raft.Voter {
			voters = append(voters, m.ID)
		}
	}
	most := func(half []raft.ID, sum [16]byte) bool {
		n := 0
		for _, id := range half {
			if r.has(x, id, sum) {
				n++
			}
		}
		return n > len(half)/2
	}
	for _, v := range append([]digestVote{{r.cfg.Self.ID, x.own}}, x.heard...) {
		if most(voters, v.sum) && (len(config.Outgoing) == 0 || most(config.Outgoing, v.sum)) {
			return v.sum, true
		}
	}
	return sum, false
}

// judge compares this member with the majority.
func (r *Replica) judge(x *digestCheck) {
	c := &r.consistency
	if !x.known || c.diverged {
		return
	}
	sum, ok := r.majority(x)
	switch {
	case !ok:
	case sum == x.own:
		c.agreed = max(c.agreed, x.index)
		if c.split != 0 && c.split <= x.index {
			c.split = 0
			r.note("the digest %x at index %d is that of a majority again", sum, x.index)
		}
	default:
		r.diverge(x, sum)
	}
}

// undecided looks at a comparison that had its time: when voters differ and no
// digest has a majority, nobody can tell who is wrong.
func (r *Replica) undecided(x *digestCheck) {
	c := &r.consistency
	if _, ok := r.majority(x); ok || !x.known || c.diverged || x.index <= c.agreed {
		return
	}
	config := r.raft.Config()
	for _, v := range x.heard {
		if v.sum == x.own || !votes(config, v.from) {
			continue
		}
		if c.split == 0 {
			r.note("the states of the voters differ and none is that of a majority: at index %d the digest is %x here and %x at %016x; "+
				"all go on serving, an operator has to decide", x.index, x.own, v.sum, uint64(v.from))
		}
		c.split = max(c.split, x.index)
		return
	}
}

// diverge takes this member out of service: a majority has another digest.
func (r *Replica) diverge(x *digestCheck, majority [16]byte) {
	c := &r.consistency
	c.diverged, c.split, c.handIn = true, 0, 0
	c.count++
	after := max(c.restored, min(c.agreed, x.index-1))
	c.last = Divergence{After: after, At: x.index, Own: x.own, Majority: majority}
	c.agreeing = nil
	for _, v := range x.heard {
		if v.sum == majority {
			c.agreeing = append(c.agreeing, v.from)
		}
	}
	r.note("diverged: the digest at index %d is %x here and %x at a majority of the voters; it happened after index %d. "+
		"Out of service until a snapshot has replaced the state", x.index, x.own, majority, c.last.After)
	for _, p := range r.open {
		r.fail(p.ticket, command.CodeNoLeader, r.outOfService())
	}
	r.open, r.openBytes, r.tickPending = nil, 0, false
	for _, q := range append(r.readQueue, r.leaseQueue...) {
		r.fail(q.Ticket, command.CodeDiverged, r.outOfService())
	}
	r.readsEnd(r.readQueue)
	r.readsEnd(r.leaseQueue)
	r.readQueue, r.leaseQueue = nil, nil
	for _, s := range r.readable {
		r.readsEnd(s.queries)
		r.emitReads(s.queries)
	}
	r.readable = nil
	r.tickDiverged()
}

// tickDiverged asks for the snapshot as soon as no dump of the wrong state is
// under way, and hands over if this member leads.
func (r *Replica) tickDiverged() {
	c := &r.consistency
	if r.IsLeader() {
		if r.onlyVoter() {
			c.diverged = false
			r.note("the only voter keeps its state, the digest of which was not that of a majority at index %d", c.last.At)
			return
		}
		if c.handIn--; c.handIn < 0 {
			c.handIn = digestTicks
			r.handOver()
		}
	}
	if !r.dumping && r.installing == 0 && !r.raft.Refetching() {
		r.raft.Refetch()
	}
}

func (r *Replica) onlyVoter() bool {
	config, n := r.raft.Config(), 0
	for _, m := range config.Members {
		if m.Role == raft.Voter {
			n++
		}
	}
	return n == 1 && len(config.Outgoing) == 0 && votes(config, r.cfg.Self.ID)
}

// handOver makes another one lead, each time from another one on: first those
// with the majority's digest.
func (r *Replica) handOver() {
	c := &r.consistency
	to := slices.Clone(c.agreeing)
	for _, m := range r.raft.Config().Members {
		if !slices.Contains(to, m.ID) {
			to = append(to, m.ID)
		}
	}
	for range to {
		c.handed++
		if r.raft.Transfer(to[(c.handed-1)%len(to)]) == nil {
			return
		}
	}
	r.note("diverged, and no other voter can lead")
}

// outOfService is the answer of a diverged member.
func (r *Replica) outOfService() string {
	d := &r.consistency.last
	return fmt.Sprintf("this replica is out of service: its state differs from that of a majority since index %d to %d; nothing happened", d.After+1, d.At)
}

// refuses answers a request that a diverged member must not serve. What only
// changes who is a member or leads does not depend on the state.
func (r *Replica) refuses(t Ticket, op wire.Op, wasForwarded bool) bool {
	if !r.consistency.diverged || op == wire.OpMember || op == wire.OpTransfer {
		return false
	}
	code := command.CodeDiverged
	if wasForwarded { // the member that was asked is in order; another leader will be too
		code = command.CodeNoLeader
	}
	r.fail(t, code, r.outOfService())
	return true
}

// withhold answers those whose call is committed, but whose result this member
// would make from a wrong state.
func (r *Replica) withhold(tickets []Ticket) []Ticket {
	if !r.consistency.diverged {
		return tickets
	}
	for _, t := range tickets {
		r.fail(t, command.CodeTimeout, "the call was committed, but this replica's state differs from that of a majority: outcome unknown")
	}
	return nil
}

// replaced begins anew with a machine of a snapshot.
func (r *Replica) replaced(i raft.Index) {
	c := &r.consistency
	c.checks, c.floor, c.restored = nil, 0, i
	if c.agreed > i { // these entries are applied once more
		c.agreed = i
	}
	if !c.diverged || r.raft.Refetching() {
		return
	}
	c.diverged, c.last.Healed = false, i
	r.note("healed: the state was replaced by that of the snapshot at index %d", i)
}
