package raft

// A caller may find that its state is wrong although the log is right: memory
// that failed, a defect in what applies the entries. It then needs the state of
// another member, and nothing else: what it voted, stored and acknowledged stays
// as it is and goes on. So this is no part of replication. The follower says in
// its heartbeat replies from which index on a snapshot would do; the leader sends
// one beside the appends; the follower takes it although it covers what is
// committed here, and hands out again what follows it.

// Refetch asks the leader, whoever that is and will be, for a snapshot that is not
// older than what was handed out so far. It ends with the installation of one;
// until then Compact is ignored and, at a leader, no snapshot is sent: they would
// spread the wrong state. The caller has no dump under way, and begins none:
// a newer snapshot of the wrong state on its disk would win over the right one.
//
// After SnapshotInstalled the entries behind the snapshot come in Committed once
// more.
func (r *Raft) Refetch() {
	if r.refetch == 0 {
		r.refetch = max(r.handed, 1)
	}
}

// Refetching tells whether a Refetch has not ended yet.
func (r *Raft) Refetching() bool { return r.refetch != 0 }

// Handed is the last index that was handed out in Committed or covered by a
// snapshot that was installed.
func (r *Raft) Handed() Index { return r.handed }

// SnapshotWanted returns the index that the next snapshot of this leader must
// reach for a follower that is in need of it (see Refetch); 0 for none.
func (r *Raft) SnapshotWanted() Index {
	var i Index
	if r.state != Leader || r.refetch != 0 {
		return 0
	}
	for _, p := range r.progress {
		if p.wants > r.snapshot.Index && r.alive(p) {
			i = max(i, p.wants)
		}
	}
	return i
}

// refetches tells whether a snapshot of what is committed here is to be taken
// nevertheless.
func (r *Raft) refetches(meta *SnapshotMeta) bool {
	if r.refetch == 0 || meta.Index < r.refetch {
		return false
	}
	t, ok := r.log.term(meta.Index)
	return ok && t == meta.Term
}

// refetched ends a Refetch when a snapshot that is new enough was installed.
func (r *Raft) refetched(meta *SnapshotMeta) {
	if r.refetch == 0 || meta.Index < r.refetch {
		return
	}
	r.refetch = 0
	r.handed, r.applied = meta.Index, meta.Index
	r.note("the state was replaced by that of snapshot %d/%d", meta.Index, meta.Term)
}

// refetchAlone ends the Refetch of a leader that has become the only voter: there
// is no other state that could be the right one.
func (r *Raft) refetchAlone() {
	if r.refetch != 0 && r.config().alone(r.id) && r.commit == r.log.last() {
		r.refetch = 0
		r.note("the only voter keeps its state")
	}
}

// wanted notes what a heartbeat reply says of the follower's need.
func (r *Raft) wanted(p *progress, i Index) {
	if i > r.log.last() {
		r.note("ignored %d's wish for a snapshot at %d: the log ends at %d", p.id, i, r.log.last())
		return
	}
	if (i == 0) != (p.wants == 0) && p.state != Snapshot {
		p.transfer = transfer{} // of an earlier need
	}
	p.wants = i
}

// beginRefetch begins the transfer that a follower waits for, once there is a
// snapshot that is new enough.
func (r *Raft) beginRefetch(p *progress) {
	if p.wants != 0 && p.state != Snapshot && p.transfer.meta.Index < p.wants && r.snapshot.Index >= p.wants && r.alive(p) {
		p.transfer = transfer{meta: r.snapshot}
	}
}
