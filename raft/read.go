package raft

import "github.com/syncsh/syncsh/internal/mutant"

// pendingRead is a read that waits for an index.
type pendingRead struct {
	id    ReadID
	from  ID     // the member that asked for it; 0: this one
	round uint64 // leader: the round that answers it, 0 before one has begun
	index Index  // leader: the commit index when the round began
	since uint64 // follower: the tick when it came
	lease bool   // the leader's lease may answer it
}

// Read asks for the index that a linearizable read must wait for (§6.4). The
// answer is in Reads or LostReads of an Output. A leader confirms by a round of
// heartbeats that it still leads; one round serves all reads that came before it
// began (scenario 30). A follower asks the leader.
//
// Every Read gets a new id and a new index: an answer to an old question never
// serves a newer one (scenario 71).
func (r *Raft) Read() ReadID { return r.read(false) }

// ReadByLease is a Read that a leader with a lease answers at once, on what
// Config says of clocks. Without a lease it is a Read.
func (r *Raft) ReadByLease() ReadID { return r.read(true) }

func (r *Raft) read(lease bool) ReadID {
	r.lastRead++
	id := r.lastRead
	if lease && r.leased() {
		r.answers = append(r.answers, ReadState{id, r.commit})
		return id
	}
	if len(r.reads) >= MaxReads || r.leader == 0 {
		r.lostReads = append(r.lostReads, id)
		return id
	}
	r.reads = append(r.reads, pendingRead{id: id, since: r.now, lease: lease})
	r.dirty = true
	return id
}

// beginRound gives all reads that wait a round of heartbeats that begins now, and
// the commit index of now. Before the leader has committed an entry of its term
// it does not know what is committed: the reads wait (scenario 16).
func (r *Raft) beginRound() {
	if r.commit < r.termStart && !mutant.On(mutant.ReadBeforeNoop) {
		return
	}
	k := len(r.reads)
	for k > 0 && r.reads[k-1].round == 0 {
		k--
	}
	if k == len(r.reads) {
		return
	}
	r.round++
	for i := range r.reads[k:] {
		r.reads[k+i].round, r.reads[k+i].index = r.round, r.commit
	}
	r.confirmReads()
}

func (r *Raft) roundOf(p *progress) uint64 {
	if p.id == r.id {
		return r.round
	}
	return p.roundAcked
}

// confirmReads answers the reads whose round a majority has answered.
func (r *Raft) confirmReads() {
	if len(r.reads) == 0 {
		return
	}
	q := r.quorumValue(r.roundOf)
	if mutant.On(mutant.ReadWithoutRound) {
		q = r.round
	}
	n := 0
	for n < len(r.reads) && r.reads[n].round != 0 && r.reads[n].round <= q {
		p := &r.reads[n]
		if p.from == 0 {
			r.answers = append(r.answers, ReadState{p.id, p.index})
		} else {
			r.answerRead(Message{To: p.from, Round: uint64(p.id), LogIndex: p.index})
		}
		n++
	}
	r.reads = r.reads[:copy(r.reads, r.reads[n:])]
}

// answerRead tells a member the index that its read must wait for.
func (r *Raft) answerRead(m Message) {
	m.Kind, m.Term = MsgReadReply, r.term
	r.send(m)
	if p := r.progressOf(m.To); p != nil {
		p.awaited, r.dirty = max(p.awaited, m.LogIndex), true
	}
}

// askLeader sends one question for all reads that came since the last. A lease
// must do for all of them to do for the question.
func (r *Raft) askLeader() {
	n := len(r.reads)
	if r.leader == 0 || n == 0 || r.reads[n-1].id <= r.asked {
		return
	}
	lease := true
	for k := n; k > 0 && r.reads[k-1].id > r.asked; k-- {
		lease = lease && r.reads[k-1].lease
	}
	r.asked = r.reads[n-1].id
	r.send(Message{Kind: MsgRead, To: r.leader, Term: r.term, Round: uint64(r.asked), Lease: lease})
}

// handleRead is a follower's question.
func (r *Raft) handleRead(m *Message) {
	if r.state != Leader || len(r.reads) >= MaxReads {
		r.send(Message{Kind: MsgReadReply, To: m.From, Term: r.term, Round: m.Round, Reject: true})
		return
	}
	if m.Lease && r.leased() {
		r.answerRead(Message{To: m.From, Round: m.Round, LogIndex: r.commit, Lease: true})
		return
	}
	r.reads = append(r.reads, pendingRead{id: ReadID(m.Round), from: m.From})
	r.dirty = true
}

// handleReadReply answers all reads up to the one that was asked for: they came
// before the question was sent. An answer by lease leaves those that wanted more.
func (r *Raft) handleReadReply(m *Message) {
	if r.state != Follower || m.From != r.leader || ReadID(m.Round) > r.asked {
		return
	}
	open := r.reads[:0]
	for _, p := range r.reads {
		switch {
		case p.id > ReadID(m.Round), m.Lease && !p.lease:
			open = append(open, p)
		case m.Reject:
			r.lostReads = append(r.lostReads, p.id)
		default:
			r.answers = append(r.answers, ReadState{p.id, m.LogIndex})
		}
	}
	r.reads = open
}

// tickReads gives up reads that a follower's leader did not answer.
func (r *Raft) tickReads() {
	n := 0
	for n < len(r.reads) && r.now-r.reads[n].since >= uint64(r.cfg.ElectionTicks) {
		r.lostReads = append(r.lostReads, r.reads[n].id)
		n++
	}
	r.reads = r.reads[:copy(r.reads, r.reads[n:])]
}

// loseReads gives up all reads: the leader that would have answered is not it any
// more. Followers that asked find out by themselves.
func (r *Raft) loseReads() {
	for _, p := range r.reads {
		if p.from == 0 && mutant.On(mutant.DeposedReads) && r.state == Leader {
			r.answers = append(r.answers, ReadState{p.id, max(p.index, r.commit)})
		} else if p.from == 0 {
			r.lostReads = append(r.lostReads, p.id)
		}
	}
	r.reads = r.reads[:0]
	r.asked = r.lastRead
}
