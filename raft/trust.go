package raft

import "github.com/syncsh/syncsh/internal/mutant"

// distrust is the state of a member that may have lost entries which it
// acknowledged (Initial.Untrusted, scenarios 56 and 69).
type distrust struct {
	active bool
	// term when the loss was noticed. The leader of a higher one never got an
	// acknowledgement from before.
	term Term
	// stream of that term in which old acknowledgements may still be under way.
	stream uint64
	// renewed: the leader's present stream is a new one.
	renewed bool
	// goal is the leader's commit index when the stream was new; known tells that
	// it is set.
	goal  Index
	known bool
}

// untrusted tells whether this member must keep out of elections.
func (r *Raft) untrusted() bool { return r.distrust.active && !mutant.On(mutant.UntrustedVotes) }

// doubtful handles a leader's message at a member that is not trusted: until
// the leader has begun a new stream nothing is taken from it.
func (r *Raft) doubtful(m *Message) bool {
	d := &r.distrust
	if !d.active {
		return false
	}
	if !d.renewed {
		if m.Term > d.term || d.stream != 0 && m.Stream > d.stream {
			d.renewed = true
		} else {
			d.stream = max(d.stream, m.Stream)
			r.send(Message{Kind: MsgHeartbeatReply, To: m.From, Term: r.term, Stream: m.Stream, LogIndex: r.log.last(), Reject: true})
			return true
		}
	}
	if m.Kind == MsgAppend && !d.known {
		d.known, d.goal = true, m.Commit
	}
	return m.Term == d.term && m.Stream <= d.stream
}

// lostLog is called when a leader says that this member acknowledged more than
// it has: it must have lost it (scenario 69).
func (r *Raft) lostLog(m *Message) {
	r.note("the log ends at %d, but leader %d knows %d to be here: entries were lost", r.log.last(), m.From, max(m.LogIndex, m.Commit))
	r.distrust = distrust{active: true, term: r.term}
	r.doubtful(m)
}

// regainTrust ends the distrust when all that may have been committed with
// this member's help is durable here again. What the leader knew to be committed
// is not enough: a new one doesn't know how far its predecessor came. But that is
// all before the leader's first entry, so an entry of its own term must be
// committed (seed 8712 of TestRandomWorlds).
func (r *Raft) regainTrust() {
	d := &r.distrust
	if !d.active || !d.known || r.commit < d.goal || r.durable < r.commit {
		return
	}
	if t, ok := r.log.term(r.commit); ok && t == r.term {
		r.note("caught up to %d: takes part in elections again", r.commit)
		r.distrust = distrust{}
		r.changed = true
	}
}
