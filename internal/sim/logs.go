package main

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/raft"
)

// position names an entry by its last index.
type position struct {
	index raft.Index
	term  raft.Term
}

// link is the entry at a position and what it follows on.
type link struct {
	sum  uint64
	prev position // term 0: not known
	by   *member
}

// onDisk is what is durable of a member's log: what it may count on, and others
// with it. It outlives the process, as the disk does.
type onDisk struct {
	base raft.Index // of the snapshot that the log begins behind
	tail []position
}

// has tells whether a committed position is there.
func (d *onDisk) has(p position) bool {
	if p.index <= d.base {
		return true
	}
	k, ok := slices.BinarySearchFunc(d.tail, p.index, func(x position, i raft.Index) int { return cmp.Compare(x.index, i) })
	return ok && d.tail[k] == p
}

func (d *onDisk) last() raft.Index {
	if n := len(d.tail); n > 0 {
		return d.tail[n-1].index
	}
	return d.base
}

// save follows a Save that is durable.
func (d *onDisk) save(s *raft.Save) {
	if s.Reset != nil {
		d.base, d.tail = s.Reset.Index, nil
	}
	if s.Truncate {
		n := len(d.tail)
		for n > 0 && d.tail[n-1].index > s.TruncateTo {
			n--
		}
		d.tail = d.tail[:n]
	}
	for i := range s.Entries {
		d.tail = append(d.tail, position{s.Entries[i].Index, s.Entries[i].Term})
	}
}

// logs is what is known of all logs: every entry that was ever in one, every
// vote, and what is committed.
type logs struct {
	entries map[position]link
	votes   map[vote]raft.ID // whom a member voted for
	leaders map[raft.Term]*member

	began     map[raft.Term]bool // an entry of the term was committed
	committed position
	// committedIn is the term of the leader that committed it.
	committedIn raft.Term
}

type vote struct {
	by   raft.ID
	term raft.Term
}

func (l *logs) init() {
	*l = logs{entries: map[position]link{}, votes: map[vote]raft.ID{}, leaders: map[raft.Term]*member{}, began: map[raft.Term]bool{}}
}

// taken notes entries that a member's log takes, behind prev. Two entries of the
// same index and term must be the same and follow on the same: so by induction
// the logs up to there are equal (log matching, §3.5).
func (h *history) taken(m *member, entries []raft.Entry, prev position) {
	for i := range entries {
		e := &entries[i]
		sum := fnv.New64a()
		sum.Write(e.Data)
		got := link{sum.Sum64() ^ uint64(e.Span)<<32 ^ uint64(e.Kind), position{e.First() - 1, prev.term}, m}
		if prev.index != e.First()-1 {
			got.prev.term = 0
		}
		at := position{e.Index, e.Term}
		was, known := h.logs.entries[at]
		if known && was.prev.term == 0 {
			was.prev.term = got.prev.term
		}
		if known && (was.sum != got.sum || was.prev.index != got.prev.index || got.prev.term != 0 && was.prev.term != got.prev.term) {
			h.w.fail(logMatching, "%v has entry %d/%d behind %d/%d, %v has another one there or behind %d/%d", m, at.index, at.term,
				got.prev.index, got.prev.term, was.by, was.prev.index, was.prev.term)
		}
		if !known {
			was = got
		}
		h.logs.entries[at] = was
		prev = at
	}
}

// saves looks at what a member gives to its disk.
func (h *history) saves(m *member, s *raft.Save) {
	if len(s.Entries) == 0 {
		return
	}
	prev := position{}
	first := s.Entries[0].First() - 1
	if n := len(m.saves); n > 0 { // the disk is behind
		if e := m.saves[n-1].out.Save.Entries; len(e) > 0 && e[len(e)-1].Index == first {
			prev = position{first, e[len(e)-1].Term}
		}
	} else if k, ok := slices.BinarySearchFunc(m.durable.tail, first, func(x position, i raft.Index) int { return cmp.Compare(x.index, i) }); ok {
		prev = m.durable.tail[k]
	}
	if s.Reset != nil {
		prev = position{s.Reset.Index, s.Reset.Term}
	}
	h.taken(m, s.Entries, prev)
}

// commits looks at what a leader has committed: it must be on the disks of a
// majority, or a crash could take it back. In a world with durability async that
// is what was handed to the operating system, and a member that lost some of it
// and has not made it good may be counted. And it must be of the leader's own
// term: what is older is committed with such an entry only (§3.6.2).
func (h *history) commits(m *member, out *replica.Output) {
	at := position{}
	for i := range out.Work {
		if w := &out.Work[i]; w.Kind == replica.WorkApply {
			at = position{w.Entry.Index, w.Entry.Term}
		}
	}
	if at.index <= h.logs.committed.index || m.replica.State() != raft.Leader {
		return
	}
	if at.term != m.replica.Term() {
		h.w.fail(commitOwnTerm, "%v commits %d/%d in term %d", m, at.index, at.term, m.replica.Term())
	}
	now := m.replica.Config()
	if !h.onMajority(now, at) && !h.onMajority(m.config, at) {
		h.w.fail(commitDurable, "%v commits %d/%d in term %d, which is not on the disks of a majority of {%v}", m, at.index, at.term, m.replica.Term(), now)
	}
	h.logs.committed, h.logs.committedIn = at, m.replica.Term()
	h.logs.began[at.term] = true
}

// changes looks at the configurations that a leader appends: each when the one before
// it is committed, a joint one included, and an entry of its own term. Two leaders
// could else each commit a change that the other's majority does not know (§4.1,
// scenarios 34 and 35). And more than one voter changes by a joint one only (§4.3).
func (h *history) changes(m *member, s *raft.Save) {
	term, commit := m.replica.Term(), m.replica.Commit()
	for _, e := range s.Entries {
		if e.Kind != raft.EntryConfig || e.Term != term || m.replica.State() != raft.Leader {
			continue
		}
		c, err := raft.DecodeConfiguration(e.Data)
		if err != nil {
			h.w.fail(logMatching, "%v appends %d/%d: %v", m, e.Index, e.Term, err)
		}
		was := m.config
		if m.change.at.term == term {
			was = m.change.config
		}
		switch {
		case !h.logs.began[term] || m.change.at.term == term && m.change.at.index > commit:
			h.w.fail(changesInTurn, "%v appends a configuration at %d in term %d behind that at %d/%d, its commit is %d", m, e.Index, term,
				m.change.at.index, m.change.at.term, commit)
		case !c.Joint() && !was.Joint() && votersMoved(was, c) > 1:
			h.w.fail(changesInTurn, "%v changes {%v} to {%v} at once", m, was, c)
		}
		m.change = change{position{e.Index, e.Term}, c}
	}
}

// change is a configuration that a leader has appended.
type change struct {
	at     position
	config raft.Configuration
}

// votersMoved counts the voters that are in one of two configurations only.
func votersMoved(a, b raft.Configuration) (n int) {
	for _, x := range [2][2]raft.Configuration{{a, b}, {b, a}} {
		for _, m := range x[0].Members {
			if other, ok := x[1].Member(m.ID); m.Role == raft.Voter && (!ok || other.Role != raft.Voter) {
				n++
			}
		}
	}
	return n
}

// onMajority tells whether a majority of each half of a configuration has a
// position on disk.
func (h *history) onMajority(c raft.Configuration, at position) bool {
	var voters []raft.ID
	for _, m := range c.Members {
		if m.Role == raft.Voter {
			voters = append(voters, m.ID)
		}
	}
	for _, half := range [][]raft.ID{voters, c.Outgoing} {
		n := 0
		for _, id := range half {
			if m := h.w.machine(id); m != nil && (m.durable.has(at) || h.w.atRisk == m && h.w.profile.async) {
				n++
			}
		}
		if len(half) > 0 && n <= len(half)/2 {
			return false
		}
	}
	return len(voters) > 0
}

// leads looks at a member that says it leads a term.
func (h *history) leads(m *member, term raft.Term) {
	if other := h.logs.leaders[term]; other != nil && other != m {
		h.w.fail(electionSafety, "%v and %v both lead term %d", m, other, term)
	}
	h.logs.leaders[term] = m
}

// elected looks at a new leader: it must have all that was committed in terms
// before its own (§3.4). By log matching it is enough to look at the last.
func (h *history) elected(m *member, term raft.Term) {
	h.w.stats.elections++
	if c := h.logs.committed; term > h.logs.committedIn && !m.durable.has(c) {
		h.w.fail(leaderComplete, "%v leads term %d with a log up to %d, but %d/%d was committed in term %d", m, term, m.durable.last(),
			c.index, c.term, h.logs.committedIn)
	}
}

// says looks at what a message of raft claims of its sender.
func (h *history) says(m *member, msg *raft.Message) {
	switch msg.Kind {
	case raft.MsgVote:
		h.votes(m, msg.Term, m.id)
	case raft.MsgVoteReply:
		if !msg.Reject {
			h.votes(m, msg.Term, msg.To)
		}
	case raft.MsgAppend, raft.MsgSnapshot:
		h.leads(m, msg.Term)
	case raft.MsgHeartbeat:
		h.leads(m, msg.Term)
	}
}

func (h *history) votes(m *member, term raft.Term, to raft.ID) {
	if was, ok := h.logs.votes[vote{m.id, term}]; ok && was != to {
		h.w.fail(oneVote, "%v votes for %d in term %d, and voted for %d before", m, to, term, was)
	}
	h.logs.votes[vote{m.id, term}] = to
}
