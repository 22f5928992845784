package node

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// seen is what people were told last.
type seen struct {
	role   string
	term   uint64
	leader string
}

// role of this node for people: leader, follower, candidate, learner, observer,
// joining.
func (n *Node) role() string {
	st := n.replica.State()
	switch st {
	case raft.Leader:
		return "leader"
	case raft.Candidate, raft.PreCandidate:
		return "candidate"
	}
	for _, m := range n.replica.Config().Members {
		if m.ID == n.id {
			switch m.Role {
			case raft.Learner:
				return "learner"
			case raft.Observer:
				return "observer"
			}
			return "follower"
		}
	}
	return "joining"
}

// statusAskBytesMax bounds the payload of an OpStatus, which the loop reads.
const statusAskBytesMax = 4 << 10

// answerStatus answers OpStatus, on the loop's goroutine. All that one drain of
// the inbox has of them get one answer: a client that asks without end would
// otherwise keep the loop from its heartbeats.
func (n *Node) answerStatus(to replica.Replier, req wire.Request) {
	ask, err := uint64(0), error(nil)
	if size := len(req.Payload); size > statusAskBytesMax {
		err = fmt.Errorf("a question of %d bytes, at most %d are read", size, statusAskBytesMax)
	} else {
		ask, err = wire.DecodeStatusAsk(req.Payload)
	}
	if err != nil {
		to.Reply(req.ID, command.AppendError(nil, 0, command.CodeBadArgument, "status: "+err.Error(), "", nil))
		return
	}
	t := &n.told
	if t.status == nil {
		s := n.status()
		t.status, t.result = &s, statusResult(&s)
	}
	if ask&wire.AskCalls == 0 {
		to.Reply(req.ID, t.result)
		return
	}
	t.report(n, reportAsk{to, req.ID})
}

// told is how the questions for the status are answered that one drain of the
// inbox has.
type told struct {
	status *wire.NodeStatus // nil: nobody has asked; the loop's, like result
	result []byte

	mu        sync.Mutex
	reporting bool
	asked     []reportAsk
	last      wire.NodeStatus // the newest that was asked for
}

// reportAsk is who asked what was counted of calls.
type reportAsk struct {
	to replica.Replier
	id uint64
}

// drained begins a new drain; the loop calls it.
func (t *told) drained() { t.status, t.result = nil, nil }

// report answers with what was counted of calls. It is put together on another
// goroutine, as it takes the time of some calls; on one, for all who ask meanwhile.
func (t *told) report(n *Node, ask reportAsk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked, t.last = append(t.asked, ask), *t.status
	if t.reporting {
		return
	}
	t.reporting = true
	n.group.Go(func() {
		for {
			t.mu.Lock()
			asked, s := t.asked, t.last
			t.asked = nil
			t.reporting = len(asked) > 0
			t.mu.Unlock()
			if len(asked) == 0 {
				return
			}
			s.Calls = n.calls.report(n.calls.now())
			result := statusResult(&s)
			for _, a := range asked {
				a.to.Reply(a.id, result)
			}
			n.flushReplies()
		}
	})
}

// statusResult is the answer to OpStatus.
func statusResult(s *wire.NodeStatus) []byte {
	b, err := wire.EncodeNodeStatus(s)
	if err != nil {
		return command.AppendError(nil, 0, command.CodeBadArgument, err.Error(), "", nil)
	}
	values := codec.AppendBytes(codec.AppendArrayLen(nil, 1), b)
	return command.AppendOK(nil, s.Applied, values)
}

// status may be called on the loop's goroutine only.
func (n *Node) status() wire.NodeStatus {
	s := n.bootStatus()
	if n.replica == nil {
		return s
	}
	st, applied := n.replica.Status(), n.replica.Applied()
	s.Role = n.role()
	s.Term = uint64(st.Term)
	if st.Leader != 0 {
		s.Leader = n.nameOf(st.Leader)
	}
	s.Commit = uint64(st.Commit)
	s.Applied = uint64(applied.Index)
	s.Digest = fmt.Sprintf("%x", applied.Digest)
	s.DigestIndex = uint64(applied.Index)
	s.Machine = applied.Version
	s.SnapshotIndex = uint64(n.replica.Snapshot().Index)
	s.LogFirst = uint64(st.FirstIndex)
	s.LogBytes = st.LogBytes
	addConsistency(&s, n.replica.Consistency())
	s.DiskFull = n.replica.Room().Refuse
	for _, m := range st.Config.Members {
		addr := n.book.addr(m.ID)
		alive := m.ID == n.id || n.book.alive(m.ID)
		if m.ID == n.id {
			addr = n.advertise
		}
		s.Members = append(s.Members, wire.MemberStatus{
			Name: n.nameOf(m.ID), ID: idString(m.ID), Addr: addr, Role: roleName(m.Role), Alive: alive,
		})
	}
	return s
}

// addConsistency says how the state compares with that of the other members.
func addConsistency(s *wire.NodeStatus, c replica.Consistency) {
	s.AgreedIndex, s.Diverged, s.Undecided = uint64(c.Agreed), c.Diverged, c.Undecided
	if c.Count > 0 {
		s.Divergence = &wire.Divergence{
			Count: c.Count, After: uint64(c.Last.After), At: uint64(c.Last.At), HealedBy: uint64(c.Last.Healed),
			OwnDigest: fmt.Sprintf("%x", c.Last.Own), MajorityDigest: fmt.Sprintf("%x", c.Last.Majority),
		}
	}
}

// bootStatus is what can be said before there is a replica.
func (n *Node) bootStatus() wire.NodeStatus {
	return wire.NodeStatus{
		Cluster: n.Cluster(), Name: n.cfg.Name, ID: idString(n.id), Addr: n.advertise, Role: "joining",
		Version: n.cfg.Build, Durability: n.cfg.Durability, UptimeSeconds: time.Since(n.started).Seconds(),
		Arch: runtime.GOOS + "/" + runtime.GOARCH, ClockMs: n.cfg.Now().UnixMilli(), FilesMax: FilesMax(),
	}
}

func idString(id raft.ID) string { return fmt.Sprintf("%016x", uint64(id)) }

func roleName(r raft.Role) string {
	switch r {
	case raft.Voter:
		return "voter"
	case raft.Learner:
		return "learner"
	case raft.Observer:
		return "observer"
	}
	return "unknown"
}
