package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// mayBreak tells whether a member can be lost for good: a majority of the voters
// stays intact, and it is the only one.
func (w *world) mayBreak(m *member) bool {
	l := w.leader()
	if w.atRisk != nil || l == nil || len(w.members) < 2 || m.broken || m.flipped {
		return false
	}
	now, committed := l.replica.Config(), w.history.config()
	if now.Joint() || now.String() != committed.String() {
		return false
	}
	c, in := now.Member(m.id)
	return !in || c.Role != raft.Voter || voters(now) >= 3
}

// damage breaks a member: a bit flips in what it stored, or its disk is lost.
func (w *world) damage() {
	m := w.anyMember()
	if !w.mayBreak(m) {
		return
	}
	switch w.rng.IntN(5) {
	case 0:
		w.stats.lostDisks++
		m.breaks("its disk is lost")
	case 1:
		m.flipSnapshot()
	default:
		m.kill()
		m.flipBit()
	}
}

// flipSnapshot inverts a bit of the newest snapshot while the member may be
// sending it. The receiver must notice, and so must the member at its next start.
func (m *member) flipSnapshot() {
	w := m.w
	names, err := m.disk.List(dataDir)
	if err != nil {
		return
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".snap") })
	if len(names) == 0 {
		return
	}
	path := dataDir + "/" + names[len(names)-1]
	m.flip(path)
	m.flipped, w.atRisk = true, m
	w.after(w.between(second/2, 3*second), m.kill)
}

// flip inverts a bit of a file and returns which.
func (m *member) flip(path string) int64 {
	b, err := m.disk.ReadFile(path)
	if err != nil || len(b) == 0 {
		return -1
	}
	return m.flipWithin(path, 0, int64(len(b)))
}

func (m *member) flipWithin(path string, from, to int64) int64 {
	bit := from*8 + m.w.rng.Int64N((to-from)*8)
	if err := m.disk.FlipBit(path, bit); err != nil {
		m.w.fail(simulatorItself, "%v", err)
	}
	m.w.stats.flips++
	m.w.log("%v: bit %d of %s flips", m, bit, path)
	return bit
}

// flipBit inverts a bit of what a member that is down has stored, and looks what
// becomes of it. It must be noticed, or be in a place that holds nothing. Often it
// is in the last record, which could pass for a torn write and may be all that an
// acknowledged call has in a majority.
func (m *member) flipBit() {
	w := m.w
	names, err := m.disk.List(dataDir)
	if m.up || err != nil || len(names) == 0 {
		return
	}
	was, err := m.look()
	if err != nil {
		return // its disk is not good as it is: half founded
	}
	file, from, to := m.lastRecord()
	last := file != "" && w.chance(0.3)
	path, bit := dataDir+"/"+file, int64(-1)
	if last {
		bit = m.flipWithin(path, from, to)
	} else {
		path = dataDir + "/" + names[w.rng.IntN(len(names))]
		bit = m.flip(path)
	}
	if bit < 0 {
		return
	}
	last = last || path == dataDir+"/"+file && bit/8 >= from && bit/8 < to
	now, err := m.look()
	switch {
	case errors.Is(err, persist.ErrDamage), errors.Is(err, persist.ErrFormat), errors.Is(err, persist.ErrIdentity):
		m.flipped, w.atRisk = true, m
		if last {
			w.stats.lastHits++
		}
	case err != nil:
		w.fail(diskTruth, "%v: a flipped bit is met with: %v", m, err)
	case sameLog(was, now):
		w.stats.harmless++
	case now.Torn != nil && prefixOf(now, was):
		w.fail(diskTruth, "%v: bit %d of %s is flipped, and what was stored is cut like an unfinished write: %v", m, bit, path, now.Torn)
	default:
		w.fail(diskTruth, "%v: bit %d of %s is flipped, and the log is another one: it had %d entries, has %d, term %d was %d", m, bit, path,
			len(was.Entries), len(now.Entries), now.HardState.Term, was.HardState.Term)
	}
}

// lastRecord is where the last whole record of the log is; file is empty if there
// is none behind a segment's first.
func (m *member) lastRecord() (file string, from, to int64) {
	c, err := persist.Inspect(dataDir, persist.InspectOptions{FS: m.disk.Clone()})
	if err != nil {
		return "", 0, 0
	}
	const firstRecord = 64 // docs/FORMATS.md
	err = c.Records(func(r *persist.Record) error {
		file, from, to = r.Segment, r.Offset, r.Offset+r.Bytes
		return nil
	})
	if err != nil || from <= firstRecord {
		return "", 0, 0
	}
	return file, from, to
}

// look reads a copy of the disk.
func (m *member) look() (*persist.Recovered, error) {
	dir, err := persist.Open(dataDir, persist.Options{FS: m.disk.Clone(), Sync: true, SegmentBytes: m.w.profile.segment})
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Load()
}

func logEnd(r *persist.Recovered) raft.Index {
	if n := len(r.Entries); n > 0 {
		return r.Entries[n-1].Index
	}
	if r.Snapshot != nil {
		return r.Snapshot.Index
	}
	return 0
}

// sameLog tells whether two readings come to the same. They may begin behind
// different snapshots, as a damaged one is passed over.
func sameLog(a, b *persist.Recovered) bool {
	return a.HardState.Term == b.HardState.Term && a.HardState.Vote == b.HardState.Vote && logEnd(a) == logEnd(b) && prefixOf(b, a)
}

// prefixOf tells whether the entries of a are among those of b, or behind b's
// snapshot.
func prefixOf(a, b *persist.Recovered) bool {
	for _, e := range a.Entries {
		if b.Snapshot != nil && e.Index <= b.Snapshot.Index {
			continue
		}
		if !slices.ContainsFunc(b.Entries, func(x raft.Entry) bool {
			return x.Index == e.Index && x.Term == e.Term && x.Span == e.Span && string(x.Data) == string(e.Data)
		}) {
			return false
		}
	}
	return true
}

// fillDisk leaves a disk little room for a while.
func (w *world) fillDisk() {
	m := w.anyMember()
	room := w.rng.Int64N(6000)
	w.stats.full++
	w.log("%v's disk has room for %d bytes", m, room)
	m.disk.SetRoom(room)
	w.after(w.between(100*millisecond, 3*second), func() {
		w.log("%v's disk has room again", m)
		m.disk.SetRoom(-1)
	})
}

// maybeCutTransfer cuts the transfer of a snapshot in its middle: the connection
// breaks, or the receiver goes down.
func (m *member) maybeCutTransfer(id raft.ID, c *raft.SnapshotChunk) {
	w := m.w
	to := w.machine(id)
	if c.Offset == 0 || c.Length == 0 || !w.chance(w.profile.cutSnapshots/float64(w.calm)) {
		return
	}
	w.stats.cutTransfers++
	w.log("%v's transfer of the snapshot at %d to %v is cut at %d of %d bytes", m, c.Meta.Index, to, c.Offset, c.Meta.Bytes)
	switch w.rng.IntN(4) {
	case 0:
		to.powerFailure("while it received a snapshot")
	case 1:
		to.kill()
	default:
		w.net.cutFor(m, to, w.rng.IntN(2) == 0, w.between(20*millisecond, 2*second))
	}
}
