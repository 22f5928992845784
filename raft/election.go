package raft

import "github.com/syncsh/syncsh/internal/mutant"

// becomeFollower ends whatever this member was. A higher term forgets the vote.
func (r *Raft) becomeFollower(term Term, leader ID) {
	if term > r.term {
		r.setTerm(term, 0)
	}
	if r.state == Leader {
		r.endReign()
	}
	if r.state != Follower {
		r.resetTimer()
	}
	if r.state != Follower || r.leader != leader {
		r.changed = true
	}
	if r.leader != leader {
		r.loseReads()
	}
	r.state, r.leader = Follower, leader
	r.votes = r.votes[:0]
}

// setTerm changes what must be durable before anything that follows from it is
// told to others (scenario 2).
func (r *Raft) setTerm(term Term, vote ID) {
	if term < r.term || term == r.term && r.vote != 0 && r.vote != vote {
		r.invariant("term %d vote %d after term %d vote %d", term, vote, r.term, r.vote)
	}
	r.changed = r.changed || term != r.term
	r.term, r.vote = term, vote
	r.termLSN = r.lsn + 1
}

// endReign drops what only a leader has.
func (r *Raft) endReign() {
	r.loseReads()
	r.progress = nil
	r.uncommitted = 0 // scenario 24
	r.transferee = 0
}

func (r *Raft) resetTimer() {
	r.elapsed = 0
	r.timeout = r.cfg.ElectionTicks + r.rand.below(r.cfg.ElectionTicks)
}

// heard notes a word of the leader of the present term.
func (r *Raft) heard(leader ID) {
	if r.state == Leader || r.leader != 0 && r.leader != leader {
		r.invariant("two leaders in term %d: %d and %d", r.term, r.leader, leader) // scenario 12
	}
	if r.state != Follower || r.leader == 0 {
		r.becomeFollower(r.term, leader)
	}
	r.resetTimer()
}

// loyal tells whether a leader is believed to be alive, or was promised to help
// nobody else: candidates are ignored (§4.2.3, scenario 7).
func (r *Raft) loyal() bool {
	return r.state == Leader || r.promising() || r.leader != 0 && r.elapsed < r.cfg.ElectionTicks
}

// mayCampaign: a member whose configuration does not say that it votes never
// asks. Neither does one that may have lost what it acknowledged (scenario 56).
//
// A voter that the log removes may still ask, and not count itself, until that
// is committed: it may be the only one whose log is long enough to win (§4.2.2;
// seed 918 of TestRandomWorlds stood still without that).
func (r *Raft) mayCampaign() bool {
	voter := r.config().isVoter(r.id) || r.configBefore(r.commit).isVoter(r.id)
	return voter && !r.untrusted() && !r.incoming.complete
}

// tickElection runs the timer of everyone but a leader.
func (r *Raft) tickElection() {
	r.elapsed++
	if r.elapsed < r.timeout || r.promising() {
		return
	}
	if r.mayCampaign() {
		r.campaign()
		return
	}
	if r.leader != 0 || r.state != Follower {
		r.becomeFollower(r.term, 0)
	}
	r.resetTimer()
}

// LostPeer says that the connection to a member broke. If it was the leader,
// it is forgotten and after a short random wait a pre-vote finds out whether
// the others lost it too (scenario 83). A leader probes that member anew, as
// what was on its way may be lost.
func (r *Raft) LostPeer(id ID) {
	if r.state == Leader {
		if p := r.progressOf(id); p != nil && p.state == Replicate {
			p.becomeProbe(p.match + 1)
		} else if p != nil && p.state == Snapshot {
			r.rewindTransfer(p)
		}
		r.dirty = true
		return
	}
	if id == 0 || id != r.leader {
		return
	}
	r.becomeFollower(r.term, 0)
	r.resetTimer()
	r.timeout = 1 + r.rand.below(max(r.cfg.ElectionTicks/4, 2))
}

// campaign asks with a pre-vote whether a vote could be won, without a new term
// that would disturb others (§9.6).
func (r *Raft) campaign() {
	if r.config().alone(r.id) {
		r.becomeCandidate(false)
		return
	}
	r.becomeFollower(r.term, 0)
	r.state, r.changed = PreCandidate, true
	r.resetTimer()
	r.recordVote(r.id, true)
	r.askVoters(Message{Kind: MsgPreVote, Term: r.term + 1})
	r.countVotes() // two halves of one voter each may both be this one
}

// becomeCandidate opens a new term. The own vote counts when it is durable.
func (r *Raft) becomeCandidate(transfer bool) {
	r.becomeFollower(r.term, 0)
	r.setTerm(r.term+1, r.id)
	r.state, r.changed = Candidate, true
	r.resetTimer()
	r.askVoters(Message{Kind: MsgVote, Term: r.term, Transfer: transfer})
}

// askVoters sends a request for votes. It leaves only after the term and the
// log that it boasts of are durable: a candidate that forgot them in a crash
// could campaign again in the same term, with a shorter log, and count old
// grants.
func (r *Raft) askVoters(m Message) {
	m.LogIndex, m.LogTerm = r.log.last(), r.log.lastTerm()
	m.After = r.savedBy(m.LogIndex)
	c := r.config()
	for _, id := range c.voters {
		if id != r.id {
			m.To = id
			r.send(m)
		}
	}
	for _, id := range c.config.Outgoing {
		if p, ok := c.config.Member(id); id != r.id && !(ok && p.Role == Voter) {
			m.To = id
			r.send(m)
		}
	}
}

// vote is one answer in an election.
type vote struct {
	id      ID
	granted bool
}

// recordVote keeps the first answer of each voter.
func (r *Raft) recordVote(id ID, granted bool) {
	for _, v := range r.votes {
		if v.id == id {
			return
		}
	}
	r.votes = append(r.votes, vote{id, granted})
}

// countVotes acts when the election is decided. Both halves of a joint
// configuration must be won; one that can't be loses it (§4.3).
func (r *Raft) countVotes() {
	won, lost := true, false
	c := r.config()
	for _, half := range [2][]ID{c.voters, c.config.Outgoing} {
		if len(half) == 0 {
			continue
		}
		yes, no := 0, 0
		for _, id := range half {
			for _, v := range r.votes {
				if v.id == id && v.granted {
					yes++
				} else if v.id == id {
					no++
				}
			}
		}
		won = won && (yes > len(half)/2 || r.ignored(half))
		lost = lost || len(half)-no <= len(half)/2
	}
	switch {
	case won && r.state == PreCandidate:
		r.becomeCandidate(false)
	case won:
		r.becomeLeader()
	case lost:
		r.becomeFollower(r.term, 0)
	}
}

// handleVote answers a candidate or pre-candidate, whoever it is: what its
// configuration says may be newer than ours, and a learner that was promoted
// without knowing it must vote or an election could fail for ever (scenario
// 74). So must a member with an empty log: it can't know yet that it is counted.
// It is safe to answer: a vote is durable, one a term, and counted only by a
// candidate whose configuration has the voter.
func (r *Raft) handleVote(m *Message) {
	last, lastTerm := r.log.last(), r.log.lastTerm()
	upToDate := m.LogTerm > lastTerm || m.LogTerm == lastTerm && m.LogIndex >= last || mutant.On(mutant.VoteLogUnchecked) // §3.6.1
	if m.Kind == MsgPreVote {
		grant := upToDate && m.Term > r.term && !r.loyal() && !r.untrusted()
		reply := Message{Kind: MsgPreVoteReply, To: m.From, Term: m.Term, Reject: !grant}
		if !grant {
			reply.Term = r.term
		}
		r.send(reply)
		return
	}
	grant := upToDate && m.Term == r.term && (r.vote == m.From || r.vote == 0 && r.leader == 0 || mutant.On(mutant.VoteTwice)) && !r.untrusted() &&
		(m.Transfer || !r.promising()) // the term may have come from others meanwhile
	if grant {
		if r.vote == 0 {
			r.setTerm(r.term, m.From)
		}
		r.resetTimer()
	}
	r.send(Message{Kind: MsgVoteReply, To: m.From, Term: r.term, Reject: !grant})
}

// handlePreVoteReply: a grant is for the term that was asked for, a refusal
// carries the voter's own.
func (r *Raft) handlePreVoteReply(m *Message) {
	if r.state != PreCandidate || !m.Reject && m.Term != r.term+1 || !r.config().isVoter(m.From) {
		return
	}
	r.recordVote(m.From, !m.Reject)
	r.countVotes()
}

func (r *Raft) handleVoteReply(m *Message) {
	if r.state != Candidate || !r.config().isVoter(m.From) {
		return // who does not vote is not counted (scenario 9)
	}
	r.recordVote(m.From, !m.Reject)
	r.countVotes()
}

// voteStored counts the own vote, which is durable now.
func (r *Raft) voteStored() {
	if r.state == Candidate && r.stored >= r.termLSN && r.config().isVoter(r.id) {
		r.recordVote(r.id, true)
		r.countVotes()
	}
}

// becomeLeader begins a reign with an entry of its own term, without which
// nothing of older terms could be committed and no read answered (§6.4).
func (r *Raft) becomeLeader() {
	r.state, r.leader, r.changed = Leader, r.id, true
	r.votes = r.votes[:0]
	r.round = 1
	r.sinceHeartbeat, r.transferee, r.toldToCampaign = 0, 0, false
	r.heartbeatDue = true
	r.uncommitted = r.log.bytesAfter(r.commit, ^uint64(0)>>1)
	r.progress = nil
	r.syncProgress()
	r.termStart = r.log.last() + 1
	r.appendOwn(EntryNoop, nil, 1)
}

// tickLeader: heartbeats, check-quorum, the patience with a transfer and with
// followers that don't answer.
func (r *Raft) tickLeader() {
	if !r.quorum(func(p *progress) bool { return r.alive(p) }) {
		// Scenario 6: nobody may wait for a leader that can't commit.
		r.note("leader %d of term %d hears from no majority", r.id, r.term)
		r.becomeFollower(r.term, 0)
		return
	}
	r.refetchAlone()
	if r.transferee != 0 {
		if r.transferTicks++; r.transferTicks >= r.cfg.ElectionTicks {
			r.note("transfer to %d abandoned", r.transferee)
			r.transferee, r.changed = 0, true
		}
	}
	r.newsDue = true
	r.sinceHeartbeat++
	if r.sinceHeartbeat >= r.cfg.HeartbeatTicks {
		r.sinceHeartbeat, r.heartbeatDue = 0, true
		if p := r.progressOf(r.transferee); p != nil {
			r.transferIfReady(p) // the first word may be lost
		}
	}
	for _, p := range r.progress {
		if p.id != r.id {
			r.tickProgress(p)
		}
	}
	r.dirty = true
}

// alive tells whether a member answered within an election timeout.
func (r *Raft) alive(p *progress) bool {
	return p.id == r.id || r.now-p.heardAt < uint64(r.cfg.ElectionTicks)
}

// quorum tells whether a majority of each half satisfies a condition.
func (r *Raft) quorum(ok func(*progress) bool) bool {
	c := r.config()
	for _, half := range [2][]ID{c.voters, c.config.Outgoing} {
		n := 0
		for _, id := range half {
			if p := r.progressOf(id); p != nil && ok(p) {
				n++
			}
		}
		if len(half) > 0 && n <= len(half)/2 && !r.ignored(half) {
			return false
		}
	}
	return true
}

// quorumValue returns the highest value that a majority of each half has
// reached.
func (r *Raft) quorumValue(of func(*progress) uint64) uint64 {
	c := r.config()
	lowest := ^uint64(0)
	for _, half := range [2][]ID{c.voters, c.config.Outgoing} {
		if len(half) == 0 || r.ignored(half) {
			continue
		}
		v := r.scratch[:0]
		for _, id := range half {
			x := of(r.progressOf(id))
			k := len(v) // insertion sort, highest first: a handful of voters
			v = append(v, x)
			for ; k > 0 && v[k-1] < x; k-- {
				v[k] = v[k-1]
			}
			v[k] = x
		}
		r.scratch = v
		lowest = min(lowest, v[len(v)/2])
	}
	return lowest
}

// ignored tells whether a half is not counted: never, but for a planted bug.
func (r *Raft) ignored(half []ID) bool {
	out := r.config().config.Outgoing
	return mutant.On(mutant.JointNewOnly) && len(out) > 0 && &half[0] == &out[0]
}

// Transfer hands leadership to a voter, 0 for the one that is best prepared: it
// is brought up to date, then told to campaign at once. New proposals are refused meanwhile. It is given up after an
// election timeout (§3.10).
func (r *Raft) Transfer(to ID) error {
	if r.state != Leader {
		return ErrNotLeader
	}
	if to == 0 && r.transferee != 0 {
		return nil
	}
	if to == 0 {
		to = r.bestPrepared()
	}
	p := r.progressOf(to)
	if to == r.id || p == nil || !p.voter || !r.alive(p) {
		return ErrBadTarget
	}
	if r.transferee == to {
		return nil
	}
	r.transferee, r.transferTicks, r.changed = to, 0, true
	r.transferIfReady(p)
	return nil
}

// bestPrepared returns the voter that answers and has most of the log, 0 when
// there is none.
func (r *Raft) bestPrepared() ID {
	var best *progress
	for _, id := range r.config().voters {
		p := r.progressOf(id)
		if id != r.id && r.alive(p) && (best == nil || p.match > best.match) {
			best = p
		}
	}
	if best == nil {
		return 0
	}
	return best.id
}

// transferIfReady tells the transferee to campaign when it has all.
func (r *Raft) transferIfReady(p *progress) {
	if r.transferee == p.id && p.match == r.log.last() {
		r.toldToCampaign = true
		r.send(Message{Kind: MsgTimeoutNow, To: p.id, Term: r.term})
	}
}

func (r *Raft) handleTimeoutNow(m *Message) {
	if m.From != r.leader || !r.mayCampaign() {
		return
	}
	r.becomeCandidate(true)
}
