package node

import (
	"fmt"
	"runtime"
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

// answerStatus answers OpStatus, on the loop's goroutine. What was counted of
// calls is put together on another one: it takes the time of some calls.
func (n *Node) answerStatus(to replica.Replier, req wire.Request) {
	ask, err := wire.DecodeStatusAsk(req.Payload)
	if err != nil {
		to.Reply(req.ID, command.AppendError(nil, 0, command.CodeBadArgument, "status: "+err.Error(), "", nil))
		return
	}
	s := n.status()
	if ask&wire.AskCalls == 0 {
		to.Reply(req.ID, statusResult(&s))
		return
	}
	n.group.Go(func() {
		s.Calls = n.calls.report(n.calls.now())
		to.Reply(req.ID, statusResult(&s))
		n.flushReplies()
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
