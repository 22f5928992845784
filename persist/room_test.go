package persist

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// tryFill appends entries and syncs each until there is no room; it returns the
// last one that was durable and the first that was not.
func tryFill(t *testing.T, d *Dir, from raft.Index) (last, held raft.Index) {
	t.Helper()
	for i := from; i < from+100; i++ {
		must(t, d.Append(save(entry(i, 1, 300))))
		err := d.Sync()
		if err == nil {
			last = i
			continue
		}
		wantErr(t, err, ErrNoRoom)
		wantErr(t, err, syscall.ENOSPC)
		return last, i
	}
	t.Fatal("the disk is full and the log goes on")
	return 0, 0
}

// TestNoRoomIsFoundAhead: Reserve says that the disk is full while half of the
// segment is still free, and that it is not full any more (scenario 55, lua-facts
// 53). Nothing of a record was written meanwhile.
func TestNoRoomIsFoundAhead(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	must(t, d.Reserve())
	fill(t, d, 1, 7, 1, 300) // past the middle of 4096 bytes
	m.SetRoom(100)
	wantErr(t, d.Reserve(), ErrNoRoom, "100 are free")
	if free, _ := m.Free(testPath); free != 100 {
		t.Fatalf("trying took room: %d of 100 bytes are left", free)
	}
	hs := raft.HardState{Term: 9, Vote: 2}
	must(t, d.Append(raft.Save{HardState: &hs})) // a vote still finds room
	must(t, d.Sync())
	m.SetRoom(-1)
	must(t, d.Reserve())
	m.SetRoom(0)
	must(t, d.Reserve()) // it is reserved now
	fill(t, d, 8, 15, 1, 300)
	must(t, d.Close())
	_, rec := mustOpen(t, testOptions(m))
	if len(rec.Entries) != 15 || rec.Torn != nil {
		t.Fatalf("%s torn %v", brief(rec.Entries), rec.Torn)
	}
}

// TestNoRoomHolds: what finds no room is held, whole and in order, is not
// durable, and is when space is back; what is durable is found by a process that
// comes between (scenario 55).
func TestNoRoomHolds(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted=%v", compacted), func(t *testing.T) {
			m := NewMemFS()
			d, _ := mustOpen(t, testOptions(m))
			from := raft.Index(1)
			if compacted {
				fill(t, d, 1, 60, 1, 300)
				snapshot(t, d, 60, 1)
				must(t, d.Compact(60))
				from = 61
			}
			m.SetRoom(0)
			last, held := tryFill(t, d, from)
			if last < from+3 || held != last+1 {
				t.Fatalf("durable to %d, held %d", last, held)
			}
			for i := held + 1; i <= held+30; i++ { // more than a segment
				must(t, d.Append(save(entry(i, 1, 300))))
				wantErr(t, d.Sync(), ErrNoRoom)
				wantErr(t, d.Flush(), ErrNoRoom)
			}
			wantErr(t, d.Reserve(), ErrNoRoom)

			between := m.Clone()
			_, rec := mustOpen(t, testOptions(between))
			if n := len(rec.Entries); rec.Torn != nil || rec.Entries[n-1].Index != last {
				t.Fatalf("a process in between finds %s, torn %v; durable was %d", brief(rec.Entries), rec.Torn, last)
			}

			m.SetRoom(4096) // one more segment
			wantErr(t, d.Reserve(), ErrNoRoom)
			m.SetRoom(-1)
			must(t, d.Reserve())
			must(t, d.Sync())
			m.Crash(1)
			_, rec = mustOpen(t, testOptions(m))
			n := len(rec.Entries)
			if rec.Torn != nil || rec.Entries[n-1].Index != held+30 || rec.Entries[0].Index != from {
				t.Fatalf("%s torn %v", brief(rec.Entries), rec.Torn)
			}
		})
	}
}

// TestCompactionGivesRoom: a snapshot of what was applied frees segments, and the
// log goes on in their room although no other came free.
func TestCompactionGivesRoom(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	fill(t, d, 1, 30, 1, 300)
	snapshot(t, d, 30, 1)
	m.SetRoom(0)
	last, held := tryFill(t, d, 31)
	must(t, d.Compact(30))
	must(t, d.Reserve())
	must(t, d.Sync())
	must(t, d.Close())
	_, rec := mustOpen(t, testOptions(m))
	if n := len(rec.Entries); rec.Torn != nil || rec.Entries[n-1].Index != held {
		t.Fatalf("durable to %d, held %d, found %s", last, held, brief(rec.Entries))
	}
}

// TestWriteWithoutSpaceIsDead: a write into a segment that was made in full size
// and yet finds no space breaks the ground that the log stands on: the log is
// dead. So is one whose sync does (scenarios 55 and 80, lua-facts 53 and 54).
func TestWriteWithoutSpaceIsDead(t *testing.T) {
	for _, op := range []Op{OpWrite, OpSync} {
		m := NewMemFS()
		d, _ := mustOpen(t, testOptions(m))
		m.SetFault(func(_ int, o Op, _ string) (int, error) {
			if o == op {
				return 9, syscall.ENOSPC
			}
			return 0, nil
		})
		must(t, d.Append(save(entry(1, 1, 300))))
		wantErr(t, d.Sync(), ErrDead)
		m.SetFault(nil)
		wantErr(t, d.Reserve(), ErrDead)
	}
}

// TestNoRoomInTheMiddle: the first records of one write find room in the
// segment, the last ones do not: the log ends cleanly before these.
func TestNoRoomInTheMiddle(t *testing.T) {
	m := NewMemFS()
	o := Options{FS: m, SegmentBytes: 4 << 20, Sync: true}
	d, _ := mustOpen(t, o)
	const large = recordBytesTarget + 1000 // a record of its own
	for i := raft.Index(1); i <= 20; i++ {
		must(t, d.Append(save(entry(i, 1, large))))
		must(t, d.Sync())
	}
	snapshot(t, d, 20, 1)
	must(t, d.Compact(20))
	m.SetRoom(0)
	for i := raft.Index(21); i <= 40; i++ {
		must(t, d.Append(save(entry(i, 1, large))))
	}
	wantErr(t, d.Sync(), ErrNoRoom)
	c := m.Clone()
	o.FS = c
	_, rec := mustOpen(t, o)
	if n := len(rec.Entries); rec.Torn != nil || n == 0 || n == 20 {
		t.Fatalf("%d entries, torn %v", n, rec.Torn)
	}
	m.SetRoom(-1)
	must(t, d.Reserve())
	must(t, d.Close())
	o.FS = m
	_, rec = mustOpen(t, o)
	if rec.Torn != nil || len(rec.Entries) != 20 {
		t.Fatalf("%d entries, torn %v", len(rec.Entries), rec.Torn)
	}
}
