package replica

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// WorkKind says what the applier is to do.
type WorkKind uint8

const (
	WorkApply   WorkKind = iota + 1 // apply Entry, answer Tickets
	WorkRead                        // publish a version, run Queries on it
	WorkDryRun                      // try DryRun.Payload out and roll it back
	WorkDump                        // publish a version, write it to a snapshot as Meta says
	WorkInstall                     // check and restore the received snapshot Meta, replace the machine
	WorkDigest                      // report the digest at Meta.Index
)

// Work is one thing for the applier. The order of works is part of their
// meaning.
type Work struct {
	Kind    WorkKind
	Entry   raft.Entry
	Tickets []Ticket // one per index of Entry, nil when nobody waits here
	Queries []Query
	DryRun  DryRun
	Clock   int64 // DryRun: the leader's time, ms
	Meta    raft.SnapshotMeta
	Replace bool // WorkInstall: also if the machine is further
}

// DryRun is a command to be tried out.
type DryRun struct {
	Ticket  Ticket
	Payload []byte
	Propose bool   // propose it if it succeeds
	Result  []byte // filled in by the applier
}

// Reply is an answer for a client.
type Reply struct {
	Ticket Ticket
	Result []byte
}

// PeerSend is a message other than raft's for a peer.
type PeerSend struct {
	To  raft.ID
	Msg wire.PeerMessage
}

// Output is what the driver carries out. Its slices belong to the driver.
type Output struct {
	Save         raft.Save
	Messages     []raft.Message // leave when their After is durable
	Peer         []PeerSend
	Work         []Work
	Replies      []Reply
	Chunks       []raft.SnapshotChunk // parts of a snapshot, in order: store them
	DropSnapshot bool                 // the receipt under way was given up
	Compacted    raft.Index           // if not 0: log records up to it may go
	Changed      bool                 // role, term, leader or configuration
	Notes        []string
}

// Done is what the applier reports.
type Done struct {
	Applied   Applied
	Bytes     uint64 // of the entries it applied
	DryRuns   []DryRun
	Digests   []Digest
	Installed *Installed
}

// Installed says how the installation of a snapshot ended.
type Installed struct {
	Meta raft.SnapshotMeta
	Err  error
}

// Done takes the applier's report.
func (r *Replica) Done(d Done) {
	r.unapplied -= min(d.Bytes, r.unapplied)
	if d.Applied.Index >= r.applied.Index || d.Installed != nil {
		r.applied = d.Applied
	}
	if r.tickPending && r.tickIndex != 0 && r.applied.Index >= r.tickIndex {
		r.tickPending = false
		r.proposeTimerTick() // more may be due
	}
	for _, dry := range d.DryRuns {
		r.dryRuns--
		r.dryRunBytes -= len(dry.Payload)
		r.dryRunDone(dry)
	}
	if in := d.Installed; in != nil {
		r.installing--
		r.raft.SnapshotInstalled(in.Meta, in.Err)
		if in.Err == nil {
			r.snapshot, r.snapshotAt = in.Meta, r.ran
		}
		if in.Err == nil && r.raft.Handed() == in.Meta.Index { // forward to it, or back
			r.config = in.Meta.Config
			r.emitted, r.emittedTerm = in.Meta.Index, in.Meta.Term
			r.covered(in.Meta.Index)
			r.replaced(in.Meta.Index)
		}
	}
	r.digestsDone(d.Digests)
	r.raft.Applied(r.applied.Index)
	r.considerDump()
}

// Dumped says that a snapshot is on disk, or why not.
func (r *Replica) Dumped(meta raft.SnapshotMeta, err error) {
	r.dumping = false
	tickets := r.dumpingTickets
	r.dumpingTickets = nil
	for _, t := range tickets {
		if err != nil {
			r.fail(t, command.CodeOverloaded, "snapshot failed: "+err.Error())
			continue
		}
		r.reply(t, command.AppendOK(nil, uint64(meta.Index), codec.AppendUint(codec.AppendArrayLen(nil, 1), uint64(meta.Index))))
	}
	if err != nil {
		r.dumpWait = min(max(2*r.dumpWait, dumpWaitMinMs), dumpWaitMaxMs)
		r.note("snapshot at index %d failed: %v", meta.Index, err)
		return
	}
	r.dumpWait = 0
	if r.consistency.diverged {
		r.tickDiverged() // the snapshot holds a wrong state; a newer one replaces it
		return
	}
	if meta.Index > r.snapshot.Index {
		r.snapshot = meta
		r.raft.Compact(meta)
	}
}

// considerDump asks for a dump when it is time. One is under way at a time, and
// none behind the installation of a snapshot: the machine will then be at the
// index of that and not at emitted (seed 29 of internal/sim).
func (r *Replica) considerDump() {
	if r.dumping || r.installing > 0 || r.applied.Index == 0 || r.emitted == 0 || r.consistency.diverged || r.raft.Refetching() {
		return
	}
	fresh := uint64(r.emitted - min(r.emitted, r.snapshot.Index))
	c := r.cfg
	due := r.dumpWanted
	if fresh > 0 && r.ran-r.snapshotAt >= r.dumpWait {
		due = due ||
			c.SnapshotEntries > 0 && fresh >= c.SnapshotEntries ||
			c.SnapshotBytes > 0 && r.raft.LogBytes() >= c.SnapshotBytes ||
			c.SnapshotIntervalMs > 0 && r.ran-r.snapshotAt >= c.SnapshotIntervalMs
	}
	if i := r.raft.SnapshotWanted(); i != 0 && r.emitted >= i && r.ran-r.snapshotAt >= wantedEveryMs {
		due = true
	}
	if !due {
		return
	}
	config := r.config
	if mutant.On(mutant.SnapshotOldConfig) && r.snapshot.Index != 0 {
		config = r.snapshot.Config
	}
	r.dumping, r.dumpWanted, r.snapshotAt = true, false, r.ran
	r.dumpingTickets, r.dumpTickets = r.dumpTickets, nil
	r.out.Work = append(r.out.Work, Work{Kind: WorkDump, Meta: raft.SnapshotMeta{Index: r.emitted, Term: r.emittedTerm, Config: config}})
}

// HasOutput tells whether Output would have anything.
func (r *Replica) HasOutput() bool {
	return len(r.open) > 0 || len(r.readQueue) > 0 || len(r.leaseQueue) > 0 || len(r.out.Work) > 0 || len(r.out.Replies) > 0 ||
		len(r.out.Peer) > 0 || r.raft.HasOutput()
}

// Output closes the open batch and takes all that is to be carried out.
func (r *Replica) Output() Output {
	r.reignChanged()
	r.flush()
	r.beginReads()
	o := r.raft.Output()
	r.reignChanged()
	for i := range o.Committed {
		r.emit(o.Committed[i])
	}
	r.lookUpDigests()
	r.readsAnswered(o.Reads, o.LostReads)
	r.releaseReads()
	out := r.out
	r.out = Output{}
	out.Save, out.Messages = o.Save, o.Messages
	out.Chunks, out.DropSnapshot = o.Chunks, o.DropSnapshot
	out.Compacted, out.Changed = o.Compacted, o.Changed
	out.Notes = append(out.Notes, o.Notes...)
	for _, c := range o.Chunks {
		if c.Offset+uint64(len(c.Data)) == c.Meta.Bytes {
			r.installing++
			out.Work = append(out.Work, Work{Kind: WorkInstall, Meta: c.Meta, Replace: r.raft.Refetching()})
		}
	}
	return out
}

// emit hands a committed entry to the applier.
func (r *Replica) emit(e raft.Entry) {
	if e.First() != r.emitted+1 {
		panic(fmt.Sprintf("replica: committed entry covers %d to %d after %d", e.First(), e.Index, r.emitted))
	}
	r.emitted, r.emittedTerm = e.Index, e.Term
	r.unapplied += uint64(len(e.Data))
	if e.Kind == raft.EntryConfig {
		c, err := raft.DecodeConfiguration(e.Data)
		if err != nil {
			panic(fmt.Sprintf("replica: committed configuration at %d: %v", e.Index, err))
		}
		r.config = c
	}
	r.out.Work = append(r.out.Work, Work{Kind: WorkApply, Entry: e, Tickets: r.withhold(r.claim(e))})
}

// note adds a fact for the log.
func (r *Replica) note(format string, args ...any) {
	r.out.Notes = append(r.out.Notes, fmt.Sprintf(format, args...))
}
