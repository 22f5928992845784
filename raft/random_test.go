package raft

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The random world: members on one goroutine from one seed, a network that
// loses, doubles and reorders, disks that are slow and lose what is not durable,
// crashes at any event. After every event the safety properties are checked;
// after all faults have ended the members must agree.

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed of the random world only")
	seedsFlag = flag.Int("seeds", 200, "how many seeds of the random world")
)

func TestRandomWorlds(t *testing.T) {
	first, n := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	total := map[string]int{}
	for seed := first; seed < first+uint64(n); seed++ {
		w := newWorld(seed)
		if err := w.run(1500); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./raft -run TestRandomWorlds -seed %d\n%s", seed, err, seed, strings.Join(w.story, "\n"))
		}
		for k, v := range w.sometimes {
			total[k] += v
		}
	}
	t.Log(total)
	if n < 100 {
		return
	}
	for _, k := range []string{"elected", "truncated", "installed", "reset", "restarted", "read", "lost read", "transfer",
		"config", "joint", "untrusted", "trusted again", "compacted", "snapshot without log", "install failed", "committed", "refetched", "replayed"} {
		if total[k] == 0 {
			t.Errorf("never happened: %s", k)
		}
	}
}

type diskImage struct {
	hs       HardState
	snapshot SnapshotMeta
	file     []byte
	entries  []Entry
}

func (d *diskImage) write(s Save) {
	if s.HardState != nil {
		d.hs = *s.HardState
	}
	if s.Reset != nil {
		d.entries = nil
	}
	if s.Truncate {
		d.cutBehind(s.TruncateTo)
	}
	d.entries = append(slices.Clip(d.entries), s.Entries...)
}

func (d *diskImage) cutBehind(i Index) {
	for n := len(d.entries); n > 0 && d.entries[n-1].Index > i; n-- {
		d.entries = d.entries[:n-1]
	}
}

func (d *diskImage) dropTo(i Index) {
	for len(d.entries) > 0 && d.entries[0].Index <= i {
		d.entries = d.entries[1:]
	}
}

type actor struct {
	id      ID
	r       *Raft
	disk    diskImage
	saves   []Save // given to the disk, not durable
	written LSN    // durable, perhaps not reported
	waiting []Message
	sum     uint64 // state: a hash over all that was applied
	applied Index
	files   []SnapshotMeta // that can be sent
	bytes   map[Index][]byte
	tmp     []byte
	install *SnapshotMeta
	commit  Index
	reads   map[ReadID]Index
	lossy   bool    // reports writes before they are durable (async)
	started uint64  // world.ms at the start of the process
	speed   float64 // of its clock, 0 without leases
	asleep  uint64  // stands still until then
}

type committedEntry struct {
	entry Entry
	sum   uint64 // of the state after it
	term  Term   // of the member that said so first
}

type entryKey struct {
	index Index
	term  Term
}

type world struct {
	rng       *rand.Rand
	actors    []*actor
	net       []Message
	cut       map[[2]ID]bool
	leaders   map[Term]ID
	entries   map[entryKey]Entry
	prevTerm  map[entryKey]Term
	committed map[Index]committedEntry // by last index
	top       Index                    // highest committed anywhere
	next      int                      // makes proposals unique
	sometimes map[string]int
	story     []string
	step      int
	faults    bool
	seed      uint64
	leases    bool
	ms        uint64 // the time, of lease_test.go
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 7)), cut: map[[2]ID]bool{}, leaders: map[Term]ID{}, entries: map[entryKey]Entry{},
		prevTerm: map[entryKey]Term{}, committed: map[Index]committedEntry{}, sometimes: map[string]int{}, faults: true, seed: seed}
	voters := []int{1, 2, 3, 3, 3, 4, 5}[w.rng.IntN(7)]
	lossy := seed%4 == 0 // these lose acknowledged entries, one member at a time
	var c Configuration
	for i := 1; i <= voters; i++ {
		c.Members = append(c.Members, Member{ID: ID(i), Role: Voter})
	}
	for i := 1; i <= voters+3; i++ {
		a := &actor{id: ID(i), bytes: map[Index][]byte{}, lossy: lossy}
		if i <= voters {
			a.disk.hs = HardState{Term: 1, Commit: 1}
			a.disk.entries = []Entry{Bootstrap(c)}
			w.entries[entryKey{1, 1}] = a.disk.entries[0]
		}
		w.actors = append(w.actors, a)
		w.boot(a, false)
	}
	return w
}

func (w *world) log(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%5d ", w.step)+fmt.Sprintf(format, args...))
	if n := len(w.story); n > 400 {
		w.story = slices.Clone(w.story[n-200:])
	}
}

type failure struct{ error }

func (w *world) fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func (w *world) boot(a *actor, untrusted bool) {
	cfg := Config{ID: a.id, Seed: w.rng.Uint64(), AppendBytesMax: 400, InflightMessagesMax: 4, InflightBytesMax: 2000, UncommittedBytesMax: 8000,
		SnapshotChunkBytes: 16, SnapshotChunksInflightMax: 2, CompactKeepEntries: 3, CompactKeepBytes: 300, CompactHoldBytes: 1000}
	a.started = w.ms
	if w.leases { // speeds from 0.9 to 1.1: less than 1.25 apart
		cfg.PromiseMs, cfg.LeaseMs = 200, 160
		a.speed = 0.9 + 0.2*w.rng.Float64()
	}
	r, err := New(cfg, Initial{HardState: a.disk.hs, Snapshot: a.disk.snapshot, Entries: a.disk.entries,
		Applied: a.disk.snapshot.Index, Untrusted: untrusted})
	if err != nil {
		w.fail("%d does not start: %v", a.id, err)
	}
	if r.reset != nil {
		w.sometimes["snapshot without log"]++
	}
	a.r, a.saves, a.written, a.waiting = r, nil, 0, nil
	a.tmp, a.install, a.commit, a.reads = nil, nil, 0, map[ReadID]Index{}
	a.files, a.bytes = nil, map[Index][]byte{}
	a.applied, a.sum = a.disk.snapshot.Index, 0
	if a.applied > 0 {
		a.files, a.bytes = []SnapshotMeta{a.disk.snapshot}, map[Index][]byte{a.applied: a.disk.file}
		a.sum = binary.BigEndian.Uint64(a.disk.file)
	}
	w.log("boot %d term=%d log=%d..%d commit=%d untrusted=%v", a.id, r.term, r.log.base, r.log.last(), r.commit, untrusted)
	w.drain(a)
}

// run does n events under faults, then heals.
func (w *world) run(n int) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case failure:
			err = x.error
		default:
			err = fmt.Errorf("panic: %v", x)
		}
	}()
	for range n {
		w.step++
		w.event()
	}
	w.heal()
	return nil
}

func (w *world) any() *actor { return w.actors[w.rng.IntN(len(w.actors))] }

func (w *world) event() {
	a := w.any()
	if w.seed%3 == 0 && w.rng.IntN(40) == 0 { // a stormy world
		w.usurp()
	}
	switch x := w.rng.IntN(1000); {
	case x < 420:
		w.deliverOne()
	case x < 620:
		a.r.Tick()
	case x < 800:
		w.writeSome(a)
	case x < 900:
		w.propose(a)
	case x < 940:
		for _, b := range w.actors { // who thinks that it leads, perhaps wrongly
			if b.r.State() == Leader && w.rng.IntN(2) == 0 {
				a = b
			}
		}
		id := a.r.Read()
		a.reads[id] = w.top
	case x < 950:
		if b := w.unsaved(); b != nil && w.rng.IntN(2) == 0 {
			a = b
		}
		w.crash(a)
	case x < 962:
		w.snapshot(a)
	case x < 970:
		if a.r.Transfer(w.any().id) == nil {
			w.sometimes["transfer"]++
		}
	case x < 974:
		a.r.LostPeer(w.any().id)
	case x < 978:
		w.usurp()
	case x < 979:
		if a.install == nil && a.applied > 0 && !slices.ContainsFunc(w.actors, outOfOrder) {
			w.sometimes["refetch"]++
			w.log("%d refetches from %d on", a.id, a.applied)
			a.r.Refetch()
		}
	case x < 985:
		k := [2]ID{a.id, w.any().id}
		w.cut[k] = !w.cut[k]
	case x < 988:
		clear(w.cut)
	default:
		w.reconfigure()
	}
	if a.install != nil && w.rng.IntN(3) == 0 {
		w.finishInstall(a)
	}
	w.serveWish(a)
	w.drain(a)
}

// outOfOrder: one member at a time has a wrong state or has lost entries; for the
// others must be able to help it.
func outOfOrder(a *actor) bool { return a.r.Refetching() || a.r.distrust.active }

// serveWish takes the snapshot that a follower waits for.
func (w *world) serveWish(a *actor) {
	if i := a.r.SnapshotWanted(); i != 0 && a.applied >= i {
		w.snapshot(a)
	}
}

// usurp makes up to two members campaign at once, as if a leader had told them
// to: neither pre-vote nor loyalty protects the leader, so that terms follow each
// other fast. Safety must not depend on either.
func (w *world) usurp() {
	for range 1 + w.rng.IntN(2) {
		if a := w.any(); a.r.State() != Leader && a.r.mayCampaign() {
			if l := w.leader(); l != nil && w.rng.IntN(2) == 0 { // behind the leader's back
				w.cut[[2]ID{a.id, l.id}], w.cut[[2]ID{l.id, a.id}] = true, true
			}
			a.r.becomeCandidate(true)
			w.drain(a)
		}
	}
}

// unsaved returns a member whose term or vote is not durable.
func (w *world) unsaved() *actor {
	for _, a := range w.actors {
		if a.r.termLSN > a.written {
			return a
		}
	}
	return nil
}

func (w *world) deliverOne() {
	if len(w.net) == 0 {
		return
	}
	i := 0 // mostly in order
	if w.faults && w.rng.IntN(4) == 0 {
		i = w.rng.IntN(len(w.net))
	}
	m := w.net[i]
	if !w.faults || w.rng.IntN(12) != 0 { // else it arrives again
		w.net = slices.Delete(w.net, i, i+1)
	}
	if w.faults && w.rng.IntN(20) == 0 {
		return
	}
	w.deliver(m)
}

func (w *world) deliver(m Message) {
	if w.cut[[2]ID{m.From, m.To}] {
		return
	}
	a := w.actors[m.To-1]
	if err := a.r.Step(m); err != nil {
		w.fail("%v: %v", m, err)
	}
	w.drain(a)
}

// writeSome makes some Saves durable and perhaps reports them.
func (w *world) writeSome(a *actor) {
	for n := w.rng.IntN(3); n >= 0 && len(a.saves) > 0; n-- {
		a.disk.write(a.saves[0])
		a.written = a.saves[0].LSN
		a.saves = a.saves[1:]
	}
	w.release(a)
	if w.rng.IntN(3) > 0 {
		a.r.Stored(a.written)
	}
}

// release lets go the messages whose Save is durable.
func (w *world) release(a *actor) {
	a.waiting = slices.DeleteFunc(a.waiting, func(m Message) bool {
		if m.After > a.written {
			return false
		}
		w.net = append(w.net, m)
		return true
	})
	if n := len(w.net); n > 300 { // the network has limits too
		w.net = w.net[n-300:]
	}
}

func (w *world) propose(a *actor) {
	if w.rng.IntN(3) > 0 {
		if l := w.leader(); l != nil {
			a = l
		}
	}
	w.next++
	data := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(w.next))
	data = append(data, make([]byte, w.rng.IntN(50))...)
	if w.rng.IntN(50) == 0 {
		data = append(data, make([]byte, 600)...)
	}
	_, last, term, err := a.r.Propose(data, uint32(1+w.rng.IntN(5)))
	if err == nil {
		w.log("%d proposes %d/%d", a.id, last, term)
		w.drain(a)
	}
}

// leader returns the leader of the highest term.
func (w *world) leader() (l *actor) {
	for _, a := range w.actors {
		if a.r.State() == Leader && (l == nil || a.r.Term() > l.r.Term()) {
			l = a
		}
	}
	return l
}

func (w *world) crash(a *actor) {
	untrusted := a.r.distrust.active
	if a.lossy && w.rng.IntN(2) == 0 && !slices.ContainsFunc(w.actors, outOfOrder) &&
		!a.r.config().alone(a.id) && len(a.disk.entries) > 0 {
		// It reported more than it had. The vote is exact in every mode.
		for _, s := range a.saves {
			if s.HardState != nil {
				a.disk.hs = *s.HardState
			}
		}
		keep := w.rng.IntN(len(a.disk.entries))
		keep = max(keep, len(a.disk.entries)-4)
		a.disk.entries = a.disk.entries[:keep]
		untrusted = true
		w.sometimes["untrusted"]++
	}
	w.sometimes["restarted"]++
	w.boot(a, untrusted)
}

func (w *world) snapshot(a *actor) {
	if a.install != nil || a.applied <= a.disk.snapshot.Index || a.r.Refetching() {
		return
	}
	c, term, ok := a.r.ConfigAt(a.applied)
	if !ok {
		w.fail("%d has no configuration at %d", a.id, a.applied)
	}
	file := binary.BigEndian.AppendUint64(nil, a.sum)
	file = append(file, make([]byte, w.rng.IntN(60))...)
	meta := SnapshotMeta{Index: a.applied, Term: term, Config: c, Bytes: uint64(len(file))}
	binary.BigEndian.PutUint64(meta.Sum[:], uint64(a.id)<<32|uint64(w.step))
	w.keepFile(a, meta, file)
	a.r.Compact(meta)
	w.sometimes["compacted"]++
}

func (w *world) keepFile(a *actor, meta SnapshotMeta, file []byte) {
	a.disk.snapshot, a.disk.file = meta, file
	a.files = append(a.files, meta)
	a.bytes[meta.Index] = file
	if len(a.files) > 2 {
		delete(a.bytes, a.files[0].Index)
		a.files = a.files[1:]
	}
}

func (w *world) finishInstall(a *actor) {
	meta := *a.install
	a.install = nil
	if w.faults && w.rng.IntN(5) == 0 {
		w.sometimes["install failed"]++
		a.r.SnapshotInstalled(meta, errors.New("no"))
		return
	}
	w.keepFile(a, meta, a.tmp)
	if w.faults && w.rng.IntN(6) == 0 {
		w.crash(a) // between the rename and the reset of the log
		return
	}
	if meta.Index <= a.applied {
		if !a.r.Refetching() {
			w.fail("%d installs a snapshot of %d, it is at %d", a.id, meta.Index, a.applied)
		}
		w.sometimes["refetched"]++
		if meta.Index < a.applied {
			w.sometimes["replayed"]++
		}
	}
	a.applied, a.sum = meta.Index, binary.BigEndian.Uint64(a.tmp)
	if g, ok := w.committed[meta.Index]; !ok || g.sum != a.sum {
		w.fail("%d installed a snapshot of %d that is not the state there", a.id, meta.Index)
	}
	w.sometimes["installed"]++
	w.log("%d installed %d", a.id, meta.Index)
	a.r.SnapshotInstalled(meta, nil)
}

func (w *world) reconfigure() {
	l := w.leader()
	if l == nil {
		return
	}
	id := func() ID { return w.any().id }
	var c ConfigChange
	for n := w.rng.IntN(2); n >= 0; n-- {
		switch w.rng.IntN(4) {
		case 0:
			c.Add = append(c.Add, Member{ID: id(), Role: Learner})
		case 1, 2:
			c.Promote = append(c.Promote, id())
		default:
			if len(l.r.config().voters) > 1 {
				c.Remove = append(c.Remove, id())
			}
		}
	}
	if i, _, err := l.r.ProposeConfig(c); err == nil {
		w.log("%d proposes config %v at %d", l.id, l.r.Config(), i)
		w.sometimes["config"]++
		if l.r.Config().Joint() {
			w.sometimes["joint"]++
		}
		w.drain(l)
	}
}

// drain carries out the Outputs of a member and checks what must hold.
func (w *world) drain(a *actor) {
	for a.r.HasOutput() {
		out := a.r.Output()
		for _, n := range out.Notes {
			w.log("%d: %s", a.id, n)
			if strings.Contains(n, "caught up to") {
				w.sometimes["trusted again"]++
			}
		}
		w.save(a, out.Save)
		for _, m := range out.Messages {
			if m.Kind == MsgSnapshot && !w.fill(a, &m) {
				continue
			}
			a.waiting = append(a.waiting, m)
		}
		if a.lossy { // reports at once
			for _, s := range a.saves {
				a.disk.write(s)
				a.written = s.LSN
			}
			a.saves = nil
			a.r.Stored(a.written)
		}
		w.release(a)
		w.apply(a, out.Committed)
		for _, rs := range out.Reads {
			if rs.Index < a.reads[rs.ID] {
				w.fail("%d's read %d got index %d, but %d was committed when it was asked", a.id, rs.ID, rs.Index, a.reads[rs.ID])
			}
			w.sometimes["read"]++
		}
		w.sometimes["lost read"] += len(out.LostReads)
		if out.DropSnapshot {
			a.tmp = nil
		}
		for _, c := range out.Chunks {
			if c.Offset == 0 {
				a.tmp = nil
			}
			if uint64(len(a.tmp)) != c.Offset {
				w.fail("%d gets a part at %d, has %d", a.id, c.Offset, len(a.tmp))
			}
			a.tmp = append(a.tmp, c.Data...)
			if uint64(len(a.tmp)) == c.Meta.Bytes {
				meta := c.Meta
				a.install = &meta
			}
		}
		if out.Compacted != 0 {
			a.disk.dropTo(out.Compacted)
			for i := range a.saves {
				for len(a.saves[i].Entries) > 0 && a.saves[i].Entries[0].Index <= out.Compacted {
					a.saves[i].Entries = a.saves[i].Entries[1:]
				}
			}
		}
		w.check(a)
	}
}

func (w *world) save(a *actor, s Save) {
	if s.Empty() {
		return
	}
	if s.Truncate {
		w.sometimes["truncated"]++
	}
	if s.Reset != nil {
		w.sometimes["reset"]++
	}
	// Log matching: index and term name one entry, and one predecessor.
	for _, e := range s.Entries {
		k := entryKey{e.Index, e.Term}
		old, ok := w.entries[k]
		if ok && (old.Span != e.Span || old.Kind != e.Kind || string(old.Data) != string(e.Data)) {
			w.fail("%d has %v where another has %v", a.id, e, old)
		}
		w.entries[k] = e
		if t, ok := a.r.log.term(e.First() - 1); ok {
			if old, ok := w.prevTerm[k]; ok && old != t {
				w.fail("%d has term %d before %v, another %d", a.id, t, e, old)
			}
			w.prevTerm[k] = t
		}
	}
	a.saves = append(a.saves, s)
}

func (w *world) fill(a *actor, m *Message) bool {
	c := *m.Snapshot
	file, ok := a.bytes[c.Meta.Index]
	if !ok || !slices.ContainsFunc(a.files, func(f SnapshotMeta) bool { return sameFile(&f, &c.Meta) }) {
		return false
	}
	c.Data = file[c.Offset : c.Offset+uint64(c.Length)]
	m.Snapshot = &c
	return true
}

func (w *world) apply(a *actor, entries []Entry) {
	for _, e := range entries {
		if e.First() != a.applied+1 {
			w.fail("%d applies %v after %d", a.id, e, a.applied)
		}
		h := fnv.New64a()
		_ = binary.Write(h, binary.BigEndian, []uint64{a.sum, uint64(e.Index), uint64(e.Term), uint64(e.Span)})
		h.Write(e.Data)
		a.applied, a.sum = e.Index, h.Sum64()
		g, ok := w.committed[e.Index]
		if !ok {
			g = committedEntry{e, a.sum, a.r.Term()}
			w.committed[e.Index] = g
			w.sometimes["committed"]++
			if e.First() != w.top+1 {
				w.fail("%d commits %v, the others are at %d", a.id, e, w.top)
			}
			w.top = e.Index
		}
		if g.entry.Term != e.Term || g.sum != a.sum {
			w.fail("%d applied %v where another applied %v", a.id, e, g.entry)
		}
		a.r.Applied(e.Index)
	}
}

// check holds after every event.
func (w *world) check(a *actor) {
	r := a.r
	if r.commit < a.commit {
		w.fail("%d's commit fell from %d to %d", a.id, a.commit, r.commit)
	}
	a.commit = r.commit
	if r.State() != Leader {
		return
	}
	if old, ok := w.leaders[r.Term()]; ok && old != a.id {
		w.fail("two leaders in term %d: %d and %d", r.Term(), old, a.id)
	} else if !ok {
		w.leaders[r.Term()] = a.id
		w.sometimes["elected"]++
		w.log("%d leads term %d", a.id, r.Term())
		// Leader completeness: it has all that was committed before its term.
		for i := w.top; i > 0; i-- {
			g, ok := w.committed[i]
			if !ok || g.term >= r.Term() {
				continue
			}
			if t, ok := r.log.term(i); i >= r.log.base && (!ok || t != g.entry.Term) {
				w.fail("leader %d of term %d lacks the committed %v", a.id, r.Term(), g.entry)
			}
			break
		}
	}
}

// heal ends all faults; the members must then agree (scenario 61).
func (w *world) heal() {
	w.faults = false
	clear(w.cut)
	w.log("heal")
	for round := range 400 {
		w.step++
		for _, a := range w.actors {
			for len(a.saves) > 0 {
				w.writeSome(a)
			}
			a.r.Stored(a.written)
			if a.install != nil {
				w.finishInstall(a)
			}
			w.ms += 3
			a.r.SetTime(a.clock(w))
			a.r.Tick()
			w.serveWish(a)
			if a.r.Refetching() && a.r.State() == Leader { // hands over
				_ = a.r.Transfer(w.any().id)
			}
			w.drain(a)
		}
		for len(w.net) > 0 {
			m := w.net[0]
			w.net = w.net[1:]
			w.deliver(m)
			for _, a := range w.actors {
				for len(a.saves) > 0 {
					w.writeSome(a)
				}
				a.r.Stored(a.written)
				w.drain(a)
			}
		}
		if round > 30 && w.agree() {
			return
		}
	}
	for _, a := range w.actors {
		s := a.r.Status()
		w.log("%d %v term=%d leader=%d commit=%d last=%d untrusted=%v {%v} %+v", a.id, s.State, s.Term, s.Leader, s.Commit, s.LastIndex, s.Untrusted, s.Config, s.Followers)
	}
	if w.stalled() {
		w.sometimes["stalled"]++
		return
	}
	w.fail("no agreement after the faults ended")
}

// stalled tells whether no member knows of a majority that it may trust: then
// there is no leader until an operator decides (Initial.Untrusted). Or whether
// the leader's state is wrong and nobody can take over, as all other voters need
// a snapshot of just that state: then nothing new is committed until it restarts.
func (w *world) stalled() bool {
	if l := w.leader(); l != nil && l.r.Refetching() {
		needed := func(p *progress) bool { return p.id != l.id && p.voter && p.state != Snapshot }
		if !slices.ContainsFunc(l.r.progress, needed) {
			return true
		}
	}
	for _, a := range w.actors {
		c := a.r.config()
		for _, half := range [][]ID{c.voters, c.config.Outgoing} {
			n := 0
			for _, id := range half {
				if w.actors[id-1].r.distrust.active {
					n++
				}
			}
			if n > 0 && len(half)-n <= len(half)/2 {
				return true
			}
		}
	}
	return false
}

func (w *world) agree() bool {
	l := w.leader()
	if l == nil || l.r.Config().Joint() || l.r.commit != l.r.log.last() || l.r.commit != w.top {
		return false
	}
	for _, m := range l.r.Config().Members {
		if a := w.actors[m.ID-1]; a.applied != l.applied || a.sum != l.sum || a.r.Refetching() {
			return false
		}
	}
	return true
}
