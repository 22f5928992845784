package replica

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// Hands does for an Applier what it must not do itself.
type Hands interface {
	// Read runs queries on a version, answers them and releases the version.
	Read(v *luafsm.Version, queries []Query)
	// Dump writes a version to a snapshot and releases it; the driver tells the
	// replica by Dumped.
	Dump(v *luafsm.Version, meta raft.SnapshotMeta)
	// Install checks the received snapshot, makes it durable and restores a
	// machine from it.
	Install(meta raft.SnapshotMeta) (*luafsm.Machine, error)
	// Changed takes what an applied entry has done that is watched.
	Changed(changes []luafsm.Change)
	// Replaced hears that the machine was replaced by one from a snapshot, which
	// reports nothing until it is watched anew.
	Replaced(index raft.Index)
}

// Watcher is a Replier that wants, behind the answer to its query, what changes.
// Watch is called at the query's place in the stream of work: what entries before
// it did is in the version that the query reads, what those after it do is in
// Changed.
type Watcher interface {
	Replier
	Watch(m *luafsm.Machine)
}

// Applier owns the machine and does the Work of a replica, in order. It may run
// on another goroutine than the replica.
type Applier struct {
	machine *luafsm.Machine
	hands   Hands
	results luafsm.Results
	tickets []Ticket // of the entry that is being applied
	digests digests
}

// NewApplier returns an applier of a machine.
func NewApplier(m *luafsm.Machine, h Hands) *Applier {
	a := &Applier{machine: m, hands: h}
	a.results.Each = a.answer
	a.digests.add(m.Index(), m.Digest())
	return a
}

// Err is why the machine can't go on: the log raised its version above what this
// program runs. The driver stops; no further work may be done.
func (a *Applier) Err() error { return a.machine.Err() }

// State is where the machine stands.
func (a *Applier) State() Applied {
	s := Applied{Index: a.machine.Index(), Clock: a.machine.Clock(), Digest: a.machine.Digest(), Version: a.machine.Version()}
	if t, ok := a.machine.NextTimer(); ok {
		s.NextTimer = max(t, 1)
	}
	return s
}

// Do does one work and adds to the report. The caller sets done.Applied with
// State once per batch of works.
func (a *Applier) Do(w *Work, done *Done) {
	switch w.Kind {
	case WorkApply:
		a.apply(w, done)
	case WorkRead:
		for i := range w.Queries {
			if watcher, ok := w.Queries[i].Ticket.To.(Watcher); ok {
				watcher.Watch(a.machine)
			}
		}
		a.hands.Read(a.machine.Publish(), w.Queries)
	case WorkDryRun:
		dry := w.DryRun
		dry.Result = a.machine.DryRun(dry.Payload, w.Clock, nil)
		done.DryRuns = append(done.DryRuns, dry)
	case WorkDump:
		if i := a.machine.Index(); i != w.Meta.Index {
			panic(fmt.Sprintf("replica: dump of index %d, the machine is at %d", w.Meta.Index, i))
		}
		a.hands.Dump(a.machine.Publish(), w.Meta)
	case WorkInstall:
		done.Installed = &Installed{w.Meta, a.install(w, done)}
	case WorkDigest:
		done.Digests = append(done.Digests, a.digests.find(w.Meta.Index))
	}
}

// install replaces the machine. The log may have brought it further than the
// snapshot meanwhile (scenario 47), unless its state is known to be wrong.
func (a *Applier) install(w *Work, done *Done) error {
	meta := w.Meta
	if i := a.machine.Index(); i >= meta.Index && !w.Replace && !mutant.On(mutant.StaleSnapshot) {
		return fmt.Errorf("snapshot of index %d is older than the machine, which is at %d", meta.Index, i)
	}
	m, err := a.hands.Install(meta)
	if err != nil {
		return err
	}
	if i := m.Index(); i != meta.Index {
		return fmt.Errorf("snapshot of index %d restored a machine at %d", meta.Index, i)
	}
	a.machine = m
	a.digests.reset()
	a.digests.add(meta.Index, m.Digest())
	done.Digests = nil
	a.hands.Replaced(meta.Index)
	return nil
}

// apply applies one entry and answers those who wait for it.
func (a *Applier) apply(w *Work, done *Done) {
	done.Bytes += uint64(len(w.Entry.Data))
	if w.Entry.Index <= a.machine.Index() {
		// A snapshot that was installed in between covers it.
		unknown := command.AppendError(nil, 0, command.CodeTimeout, "a snapshot that was installed covers the call; outcome unknown", "", nil)
		for _, t := range w.Tickets {
			if t.To != nil {
				t.To.Reply(t.ID, unknown)
			}
		}
		return
	}
	a.tickets = w.Tickets
	a.machine.Apply(w.Entry, &a.results)
	a.tickets = nil
	if a.machine.Err() != nil {
		return // not applied: the driver stops
	}
	a.remember(w.Entry, done)
	if changes := a.machine.Changes(); changes != nil {
		a.hands.Changed(changes)
	}
	if w.Tickets != nil && w.Entry.Kind != raft.EntryBatch {
		ok := command.AppendOK(nil, uint64(w.Entry.Index), nil)
		for _, t := range w.Tickets {
			if t.To != nil {
				t.To.Reply(t.ID, ok)
			}
		}
	}
}

// answer hands a result on as soon as it is there: all those of an entry
// together may be more than the memory holds.
func (a *Applier) answer(i int, result []byte) {
	if a.tickets == nil || a.machine.Err() != nil { // the driver stops: nothing more was applied
		return
	}
	if t := a.tickets[i]; t.To != nil {
		t.To.Reply(t.ID, result)
	}
}
