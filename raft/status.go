package raft

// Status is a picture of a member for people and metrics.
type Status struct {
	ID         ID
	State      State
	Term       Term
	Vote       ID
	Leader     ID // 0: unknown
	Commit     Index
	Applied    Index
	LastIndex  Index
	FirstIndex Index // of the entries in memory
	LogBytes   uint64
	Snapshot   Index // of the newest snapshot
	Config     Configuration
	Transferee ID   // leader: to whom leadership is being handed
	Untrusted  bool // takes no part in elections (Initial.Untrusted)
	Followers  []FollowerStatus
}

// FollowerStatus is what a leader knows of another member.
type FollowerStatus struct {
	ID             ID
	State          ProgressState
	Match, Next    Index
	Inflight       int
	Alive          bool   // answered within an election timeout
	SnapshotOffset uint64 // how much of a snapshot arrived there
}

// Status returns the present picture. It allocates; State, Term, Leader, Commit
// and LastIndex don't.
func (r *Raft) Status() Status {
	s := Status{ID: r.id, State: r.state, Term: r.term, Vote: r.vote, Leader: r.leader, Commit: r.commit, Applied: r.applied,
		LastIndex: r.log.last(), FirstIndex: r.log.base + 1, LogBytes: r.log.bytes, Snapshot: r.snapshot.Index,
		Config: r.config().config, Transferee: r.transferee, Untrusted: r.untrusted()}
	for _, p := range r.progress {
		if p.id == r.id {
			continue
		}
		f := FollowerStatus{ID: p.id, State: p.state, Match: p.match, Next: p.next, Inflight: len(p.inflight), Alive: r.alive(p)}
		if p.state == Snapshot {
			f.SnapshotOffset = p.transfer.acked
		}
		s.Followers = append(s.Followers, f)
	}
	return s
}

// State is what this member is.
func (r *Raft) State() State { return r.state }

// Term is the present term.
func (r *Raft) Term() Term { return r.term }

// Leader is the leader of the present term, 0 when unknown.
func (r *Raft) Leader() ID { return r.leader }

// Commit is the highest index known to be committed.
func (r *Raft) Commit() Index { return r.commit }

// Untrusted tells whether this member takes no part in elections
// (Initial.Untrusted).
func (r *Raft) Untrusted() bool { return r.untrusted() }

// LastIndex is the end of the log.
func (r *Raft) LastIndex() Index { return r.log.last() }

// LogBytes is what the entries in memory take, about.
func (r *Raft) LogBytes() uint64 { return r.log.bytes }

// Config is the configuration in force, committed or not. It is shared and must
// not be written to.
func (r *Raft) Config() Configuration { return r.config().config }

// ConfigAt returns the configuration in force at an index that is not
// compacted away, for the meta of a snapshot taken there, and the term of the
// entry that ends there. False when the log has no entry that ends at i.
func (r *Raft) ConfigAt(i Index) (Configuration, Term, bool) {
	t, ok := r.log.term(i)
	if !ok || i < r.configs[0].index {
		return Configuration{}, 0, false
	}
	return r.configBefore(i).config, t, true
}
