package raft

import "testing"

// A follower applies, and may dump, what its own disk does not hold yet. Stable
// storage keeps the log up to there until what is written is what it should be: a
// crash after the deletion would else leave the end of a conflicting log behind the
// snapshot, and nothing to tell by (scenarios 49, 76).
func TestCompactedWaitsForTheDisk(t *testing.T) {
	config := Configuration{Members: []Member{{ID: 1, Role: Voter}, {ID: 2, Role: Voter}, {ID: 3, Role: Voter}}}
	r, err := New(Config{ID: 2, CompactKeepEntries: 1}, Initial{HardState: HardState{Term: 1, Commit: 1}, Entries: []Entry{Bootstrap(config)}})
	if err != nil {
		t.Fatal(err)
	}
	step := func(from ID, term Term, prev Index, prevTerm Term, last Index, commit Index) Output {
		t.Helper()
		m := Message{Kind: MsgAppend, From: from, To: 2, Term: term, LogIndex: prev, LogTerm: prevTerm, Commit: commit}
		for i := prev + 1; i <= last; i++ {
			m.Entries = append(m.Entries, Entry{Index: i, Term: term, Span: 1, Kind: EntryBatch})
		}
		if err := r.Step(m); err != nil {
			t.Fatal(err)
		}
		return r.Output()
	}
	r.Stored(step(1, 2, 1, 1, 25, 1).Save.LSN)
	out := step(3, 3, 17, 2, 22, 22)
	if !out.Save.Truncate || out.Save.TruncateTo != 17 || len(out.Committed) == 0 {
		t.Fatalf("the conflict at 18 led to %+v", out)
	}
	r.Applied(22)
	r.Compact(SnapshotMeta{Index: 22, Term: 3, Config: config})
	if got := r.Output().Compacted; got != 0 {
		t.Errorf("the log up to %d may go while the truncation to 17 is under way", got)
	}
	r.Stored(out.Save.LSN)
	if got := r.Output().Compacted; got != 21 {
		t.Errorf("the log up to %d may go when all is on disk, want 21", got)
	}
}
