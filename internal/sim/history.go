package main

import (
	"bytes"
	"hash/fnv"
	"math"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// history is what is known to be true of a world: what was applied, by whom
// first, what the state must be at every index, and what clients were told.
//
// Linearizability needs no search here, as every answer names its log index:
// the order of the indexes is the order of the calls. What is left to check is
// that each answer has the value of its index, and that no request has an index
// below one that anybody was told of before it began.
type history struct {
	w          *world
	deployed   bool       // a client knows that the scripts are there
	deployedAt raft.Index // the first time

	logs    logs
	entries map[raft.Index]appliedEntry // by last index
	configs []configAt                  // committed ones, by index
	states  []modelState                // by index
	clock   int64                       // of the last entry
	effects map[uint64]raft.Index       // index of each call, by op

	sessions sessions
	calls    map[[2]uint64]*op   // by session and serial
	refused  map[raft.Index]bool // calls of sessions that had ended

	ops   []*op // by id-1
	adds  []*op
	told  raft.Index // the highest index in any answer
	tolds []tellingTime
}

type appliedEntry struct {
	term   raft.Term
	sum    uint64
	digest [16]byte
	clock  int64
	by     *member
}

// tellingTime is when a higher index was told than ever before.
type tellingTime struct {
	at    int64
	index raft.Index
}

// toldBy is the highest index in any answer until then.
func (h *history) toldBy(at int64) raft.Index {
	for i := len(h.tolds) - 1; i >= 0; i-- {
		if h.tolds[i].at <= at {
			return h.tolds[i].index
		}
	}
	return 0
}

// modelState is what the objects hold behind an index.
type modelState struct {
	counter, ledger int64
	revision        int64 // of ledger.lua
	later           int64 // ledger:later that took effect
}

// configAt is a configuration that was committed.
type configAt struct {
	index  raft.Index
	config raft.Configuration
}

func (h *history) init(w *world) {
	*h = history{w: w, entries: map[raft.Index]appliedEntry{}, states: make([]modelState, 1),
		effects: map[uint64]raft.Index{}, calls: map[[2]uint64]*op{}, refused: map[raft.Index]bool{}}
	h.logs.init()
	h.sessions.init()
}

// top is the last index that anybody has applied.
func (h *history) top() raft.Index { return raft.Index(len(h.states) - 1) }

// begin gives a request its id.
func (h *history) begin(o *op) {
	h.ops = append(h.ops, o)
	o.id, o.floor, o.began = uint64(len(h.ops)), h.told, h.w.now
	if o.session != 0 && o.first == nil {
		h.calls[[2]uint64{o.session, o.serial}] = o
	}
	if o.kind == opAdd && o.first == nil {
		h.adds = append(h.adds, o)
	}
}

// anyAdd draws an earlier ledger:add, or makes one up.
func (h *history) anyAdd() *op {
	if len(h.adds) == 0 {
		return &op{id: math.MaxUint32}
	}
	return h.adds[h.w.rng.IntN(len(h.adds))]
}

// applied takes note that a member applied an entry, and of its state after it.
func (h *history) applied(m *member, e raft.Entry, s replica.Applied) {
	if s.Index != e.Index {
		h.w.fail(prefixAgrees, "%v is at index %d after the entry %d", m, s.Index, e.Index)
	}
	sum := fnv.New64a()
	sum.Write(e.Data)
	got := appliedEntry{e.Term, sum.Sum64() ^ uint64(e.Span)<<32 ^ uint64(e.Kind), s.Digest, s.Clock, m}
	want, known := h.entries[e.Index]
	switch {
	case !known && e.First() != h.top()+1:
		h.w.fail(prefixAgrees, "%v applied entry %d-%d/%d, the history ends at %d", m, e.First(), e.Index, e.Term, h.top())
	case !known:
		h.entries[e.Index] = got
		if s.Clock < h.clock {
			h.w.fail(clockForward, "%v has log clock %d behind entry %d, it was %d before", m, s.Clock, e.Index, h.clock)
		}
		h.clock = s.Clock
		h.extend(e)
	case want.term != got.term || want.sum != got.sum:
		h.w.fail(prefixAgrees, "%v applied entry %d/%d, %v another one: %d/%d", m, e.Index, e.Term, want.by, e.Index, want.term)
	case want.digest != got.digest:
		h.w.fail(digestsAgree, "%v has digest %x at index %d, %v had %x", m, got.digest, e.Index, want.by, want.digest)
	}
}

// extend runs the model over an entry that nobody has applied before.
func (h *history) extend(e raft.Entry) {
	if e.Kind == raft.EntryConfig {
		c, err := raft.DecodeConfiguration(e.Data)
		if err != nil {
			h.w.fail(prefixAgrees, "entry %d: %v", e.Index, err)
		}
		h.configured(e.Index, c)
	}
	if e.Kind != raft.EntryBatch {
		h.states = append(h.states, h.states[h.top()])
		return
	}
	d := codec.NewDecoder(e.Data)
	head, err := command.DecodeBatchHead(&d)
	if err != nil || head.Count != int(e.Span) {
		h.w.fail(prefixAgrees, "entry %d has a batch of %d commands for %d indexes: %v", e.Index, head.Count, e.Span, err)
	}
	h.sessions.tick(h.clock / 1000) // for good: the log clock never moves back
	for range head.Count {
		payload, err := d.Bytes()
		if err != nil {
			h.w.fail(prefixAgrees, "entry %d: %v", e.Index, err)
		}
		state := h.states[h.top()]
		cmd := codec.NewDecoder(payload)
		c, err := command.DecodeHead(&cmd)
		if err != nil {
			h.w.fail(prefixAgrees, "entry %d: %v", e.Index, err)
		}
		o := h.caller(c)
		if o == nil {
			h.states = append(h.states, state)
			continue
		}
		switch {
		case c.Kind == command.Call && o.kind == opInc:
			state.counter++
		case c.Kind == command.Call && o.kind == opAdd:
			state.ledger++
		case c.Kind == command.Call && o.kind == opLater:
			state.later++
		case c.Kind == command.Deploy:
			if h.deployedAt == 0 {
				h.deployedAt = h.top() + 1
			} else {
				h.w.stats.deploys++
			}
			state.revision = o.revision
		case c.Kind == command.Setting:
			h.sessions.set(o.setting)
		default:
			h.w.fail(prefixAgrees, "entry %d has an unknown command of kind %d", e.Index, c.Kind)
		}
		h.states = append(h.states, state)
		h.happens(o)
	}
}

// caller is whose command takes effect at the next index, nil if it is none of a
// client's, or inSession says so.
func (h *history) caller(c command.Head) *op {
	switch {
	case c.Kind == command.Open:
		h.opened(uint64(h.top()) + 1)
		return nil
	case c.Kind == command.Tick:
		return nil
	case !c.In:
		return h.ops[c.Serial-1]
	}
	return h.inSession(c)
}

// happens says that a request took effect at the top.
func (h *history) happens(o *op) {
	if at, twice := h.effects[o.id]; twice {
		h.w.fail(exactlyOnce, "%v took effect at index %d and again at %d", o, at, h.top())
	}
	if o.fate == never {
		h.w.fail(answersRight, "%v took effect at index %d after its client was told that nothing happened", o, h.top())
	}
	h.effects[o.id] = h.top()
	h.w.stats.effects++
}

// dumped checks the configuration of a snapshot that a member made.
func (h *history) dumped(m *member, meta raft.SnapshotMeta) {
	if have, must := meta.Config.String(), h.configOf(meta.Index).String(); have != must {
		h.w.fail(snapshotWhole, "%v has a snapshot at %d with the configuration {%s}, it was {%s}", m, meta.Index, have, must)
	}
}

// restored checks a machine that comes from a snapshot.
func (h *history) restored(m *member, machine *luafsm.Machine, meta raft.SnapshotMeta) {
	want, ok := h.entries[machine.Index()]
	if !ok {
		h.w.fail(snapshotWhole, "%v has a snapshot at %d, where no entry ends", m, machine.Index())
	}
	h.dumped(m, meta)
	if got := [16]byte(machine.Digest()); got != want.digest {
		h.w.fail(snapshotWhole, "%v restored digest %x from the snapshot at %d, %v had %x", m, got, machine.Index(), want.by, want.digest)
	}
}

// answered checks an answer and says what the client then knows.
func (h *history) answered(o *op, res command.Result) fate {
	s := &h.w.stats
	switch res.Code {
	case command.CodeOK:
		h.ok(o, res)
		return happened
	case command.CodeNoLeader:
		s.noLeader++
		return never
	case command.CodeOverloaded:
		s.overloaded++
		return never
	case command.CodeClosed:
		return never
	case command.CodeTimeout:
		s.timeouts++
		return unknown
	case command.CodeSession:
		if !h.refused[raft.Index(res.Index)] {
			h.w.fail(exactlyOnce, "%v is told at index %d that session %d has expired, and it has not", o, res.Index, o.session)
		}
		return never // of this try
	case command.CodeNotFound:
		if o.stale && raft.Index(res.Index) < h.deployedAt {
			return happened // read from a time before the scripts
		}
	case command.CodeBadArgument:
		if o.session != 0 && o.serial <= h.sessions.floors[o.session] {
			return unknown // a try that came after the call was settled
		}
		if o.kind == opTransfer || o.kind == opMember {
			return never // to itself, or to a learner; of one that is no learner any more
		}
	}
	h.w.fail(answersRight, "%v is answered by %v with %v: %s\n%s", o, o.to, res.Code, res.Message, res.Traceback)
	return unknown
}

// ok checks an answer that says that it happened.
func (h *history) ok(o *op, res command.Result) {
	w, index := h.w, raft.Index(res.Index)
	switch o.kind {
	case opTransfer:
		w.stats.transfers++
		return
	case opRings: // looked at in finish
		d := codec.NewDecoder(res.Values)
		if _, err := d.ArrayLen(); err == nil {
			o.value, _ = d.Int()
		}
		return
	case opLater:
		w.stats.acknowledged++
	}
	if index > h.top() {
		w.fail(answersRight, "%v has index %d, nobody has applied more than %d", o, index, h.top())
	}
	want := h.wanted(o, index)
	switch o.kind {
	case opInc, opAdd:
		w.stats.acknowledged++
	case opDeploy:
		h.deployed = true
	case opSnapshot:
		return // of any index
	case opOpen:
		if _, ok := h.sessions.floors[uint64(index)]; !ok || index <= o.floor {
			w.fail(answersRight, "%v is answered with index %d, where none was opened or before it began", o, index)
		}
	}
	if o.kind.writes() || o.kind == opDeploy {
		if at, ok := h.effects[o.call().id]; !ok || at != index {
			w.fail(ackSurvives, "%v is answered with index %d, it took effect at %d", o, index, at)
		}
		if floor := o.call().floor; index <= floor {
			w.fail(linearizable, "%v took effect at %d, but index %d was known before it began", o, index, floor)
		}
	}
	if len(want) > 0 {
		h.values(o, res, want)
	}
	if o.kind.reads() && !h.read(o, index) {
		return
	}
	if index > h.told {
		h.told = index
		h.tolds = append(h.tolds, tellingTime{w.now, index})
	}
	if first := o.call(); len(want) > 0 && !first.known {
		first.known, first.value, first.ended = true, want[0], w.now
	}
}

// wanted is the values that an answer of an index must have; nil where it has none,
// or any.
func (h *history) wanted(o *op, index raft.Index) []int64 {
	state := h.states[index]
	switch o.kind {
	case opInc, opCounter:
		return []int64{state.counter}
	case opAdd:
		return []int64{state.ledger, 1}
	case opLedger:
		return []int64{state.ledger}
	case opCount:
		if at, ok := h.effects[o.about.id]; ok && at <= index {
			return []int64{1}
		}
		return []int64{0}
	case opRevision:
		return []int64{state.revision}
	}
	return nil
}

// read checks that the index of a read is new enough. It tells whether the read was
// linearizable, so that who asks from now on must see as much.
func (h *history) read(o *op, index raft.Index) bool {
	w := h.w
	if o.stale {
		w.stats.staleReads++
		return false
	}
	if within, ok := o.mode.Within(); ok {
		w.stats.boundedReads++
		// The member measures by its own clock, which may be slow.
		if told := h.toldBy(o.began - int64(float64(within)*float64(millisecond)/(1-w.profile.drift))); index < told {
			w.fail(linearizable, "%v at %v read index %d, but %d was known %d ms before it began", o, o.to, index, told, within)
		}
		return false
	}
	if o.mode == wire.Lease && w.profile.raft.LeaseMs != 0 {
		w.stats.leaseReads++
	}
	w.stats.reads++
	if index < o.floor {
		w.fail(linearizable, "%v at %v read index %d, but index %d was known before it began", o, o.to, index, o.floor)
	}
	return true
}

// values checks the values of an answer.
func (h *history) values(o *op, res command.Result, want []int64) {
	b := codec.AppendArrayLen(nil, len(want))
	for _, v := range want {
		b = codec.AppendInt(b, v)
	}
	if !bytes.Equal(b, res.Values) {
		h.w.fail(answersRight, "%v of %v at index %d is answered with values %x, want %v", o, o.to, res.Index, res.Values, want)
	}
}

// ended looks at a request that its client has done with.
func (h *history) ended(o *op) {
	if at, ok := h.effects[o.id]; ok && o.fate == never {
		h.w.fail(answersRight, "%v took effect at index %d, but its client is told that nothing happened", o, at)
	}
}

// check holds after every event of a member.
func (h *history) check(m *member) {
	if m.replica == nil {
		return
	}
	w, r := h.w, m.replica
	commit, term, state := r.Commit(), r.Term(), r.State()
	if commit < m.commit {
		w.fail(neverBack, "%v's commit fell from %d to %d", m, m.commit, commit)
	}
	if term < m.term {
		w.fail(neverBack, "%v's term fell from %d to %d", m, m.term, term)
	}
	m.trustedAgain(r.Untrusted())
	c := r.Consistency()
	if c.Diverged || c.Undecided || c.Count > 0 {
		w.fail(digestsAgree, "%v takes a state for wrong: %+v", m, c)
	}
	if c.Agreed > m.agreed {
		m.agreed = c.Agreed
		w.stats.compared++
	}
	was, wasTerm := m.state, m.term
	m.commit, m.state, m.term, m.config = commit, state, term, r.Config()
	if was != state {
		w.log("%v is %v in term %d", m, state, term)
	}
	if state != raft.Leader || was == raft.Leader && wasTerm == term {
		return
	}
	h.leads(m, term)
	h.elected(m, term)
}

// configured notes a configuration that was committed.
func (h *history) configured(i raft.Index, c raft.Configuration) {
	s := &h.w.stats
	was := h.config()
	h.configs = append(h.configs, configAt{i, c})
	h.w.log("committed at %d: {%v}", i, c)
	if c.Joint() {
		s.joint++
	}
	for _, m := range c.Members {
		old, in := was.Member(m.ID)
		switch {
		case len(was.Members) == 0: // the founding
		case !in && m.Role == raft.Observer:
			s.observers++
		case !in:
			s.added++
		case old.Role != m.Role:
			s.promotions++
		}
	}
	for _, m := range was.Members {
		if _, in := c.Member(m.ID); !in {
			s.removed++
		}
	}
}

// config is the last configuration that is known to be committed.
func (h *history) config() raft.Configuration {
	if n := len(h.configs); n > 0 {
		return h.configs[n-1].config
	}
	return raft.Configuration{}
}

// configOf is the configuration that was in force at a committed index.
func (h *history) configOf(i raft.Index) (c raft.Configuration) {
	for _, at := range h.configs {
		if at.index <= i {
			c = at.config
		}
	}
	return c
}

// finish is the last look, when the members agree.
func (h *history) finish() {
	for _, o := range h.ops {
		at, took := h.effects[o.call().id]
		switch {
		case o.fate == happened && o.kind.writes() && !took:
			h.w.fail(ackSurvives, "%v was acknowledged and did not happen", o)
		case o.fate == never && took:
			h.w.fail(answersRight, "%v took effect at index %d, its client was told that nothing happened", o, at)
		case o.took && o.answers == 0 && o.to.up && o.to.life == o.life:
			h.w.fail(answersRight, "%v was never answered by %v, which has been up all the time", o, o.to)
		}
	}
}
