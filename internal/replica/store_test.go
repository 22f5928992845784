package replica

import (
	"errors"
	"testing"

	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// loaded opens a directory with segments so small that a few saves fill one.
func loaded(t *testing.T, m *persist.MemFS) (*persist.Dir, []raft.Entry) {
	t.Helper()
	d, err := persist.Open("/data", persist.Options{FS: m, Sync: true, SegmentBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if d.Identity().NodeID == 0 {
		if err := d.SetIdentity(persist.Identity{NodeID: 1, Name: "n1"}); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := d.Load()
	if err != nil {
		t.Fatal(err)
	}
	return d, rec.Entries
}

// Scenario 55: what finds no room on the disk is not durable for those who wait for
// it, and is when Reserve has found room and it is synced. A power failure just
// then loses nothing of it, in either mode: Reserve syncs what was held.
func TestStoreWithoutRoom(t *testing.T) {
	for name, mode := range map[string]Durability{"fsync": Fsync, "async": Async} {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(20) { // each keeps another part of what was not synced
				storeWithoutRoom(t, mode, seed)
			}
		})
	}
}

func storeWithoutRoom(t *testing.T, mode Durability, seed int64) {
	t.Helper()
	m := persist.NewMemFS()
	d, _ := loaded(t, m)
	s := NewStore(d, mode, luafsm.Options{})
	m.SetRoom(0)
	const saves = 40
	last := raft.LSN(0)
	for i := raft.LSN(1); i <= saves; i++ {
		e := raft.Entry{Index: raft.Index(i), Term: 1, Span: 1, Kind: raft.EntryBatch, Data: make([]byte, 300)}
		err := s.Save(raft.Save{LSN: i, Entries: []raft.Entry{e}})
		switch {
		case err == nil && last == i-1:
			last = i
		case !errors.Is(err, persist.ErrNoRoom):
			t.Fatalf("save %d behind %d: %v", i, last, err)
		}
		if s.Durable() != last {
			t.Fatalf("save %d: durable is said of %d, room was found up to %d", i, s.Durable(), last)
		}
	}
	if last == 0 || last == saves {
		t.Fatalf("%d of %d saves found room", last, saves)
	}
	if err := s.Reserve(); !errors.Is(err, persist.ErrNoRoom) || s.Durable() != last {
		t.Fatalf("without room: %v, durable %d", err, s.Durable())
	}
	m.SetRoom(-1)
	if err := s.Reserve(); err != nil || s.Durable() != saves {
		t.Fatalf("with room again: %v, durable %d", err, s.Durable())
	}
	m.Crash(seed)
	if _, entries := loaded(t, m); len(entries) != saves {
		t.Fatalf("seed %d: a power failure leaves %d of %d entries that were said to be durable", seed, len(entries), saves)
	}
}
