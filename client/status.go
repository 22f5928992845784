package client

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// NodeStatus is what one node says of itself and of what it knows.
type NodeStatus = wire.NodeStatus

// Member is one member as a node knows it.
type Member = wire.MemberStatus

const (
	// statusTimeout is how long a member has to say that it is alive.
	statusTimeout = 1500 * time.Millisecond
	// statusAtOnce bounds how many members are asked at a time.
	statusAtOnce = 32
)

// Status is the cluster at a glance, in JSON as `syncsh status --json` prints it.
type Status struct {
	Healthy   bool         `json:"healthy"` // there is a leader, and a majority of the voters follows it
	Cluster   string       `json:"cluster"`
	Leader    string       `json:"leader"` // its name; empty when there is none that answers
	Term      uint64       `json:"term"`
	Voters    int          `json:"voters"`
	Tolerates int          `json:"tolerates"` // how many more voters may fail, of those that follow the leader
	Index     StatusIndex  `json:"index"`
	Nodes     []StatusNode `json:"nodes"`
}

// StatusIndex is how far the cluster is.
type StatusIndex struct {
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
}

// StatusNode is one member.
type StatusNode struct {
	Name          string  `json:"name"`
	ID            string  `json:"id"`
	Addr          string  `json:"addr"`
	Role          string  `json:"role"` // leader, follower, candidate, learner, observer
	Term          uint64  `json:"term"`
	Commit        uint64  `json:"commit"`
	Applied       uint64  `json:"applied"`
	Digest        string  `json:"digest"`
	DigestIndex   uint64  `json:"digest_index"`
	Alive         bool    `json:"alive"` // it answered
	Diverged      bool    `json:"diverged"`
	Version       string  `json:"version"`
	Durability    string  `json:"durability"`
	SnapshotIndex uint64  `json:"snapshot_index"`
	LogFirst      uint64  `json:"log_first"`
	LogBytes      uint64  `json:"log_bytes"`
	UptimeSeconds float64 `json:"uptime_seconds"`

	Leader      string           `json:"leader,omitempty"`       // whom it follows; empty when it hears no leader
	AgreedIndex uint64           `json:"agreed_index,omitempty"` // last index at which a majority of the voters had the same digest
	Undecided   bool             `json:"undecided,omitempty"`    // voters differ, and no digest is that of a majority
	Divergence  *wire.Divergence `json:"divergence,omitempty"`   // the last one since the node started
	DiskFull    string           `json:"disk_full,omitempty"`    // why the node takes no calls into the log

	Arch     string `json:"arch,omitempty"`            // operating system and architecture
	Machine  int    `json:"machine_version,omitempty"` // of the semantics of scripts, in force
	FilesMax int    `json:"files_max,omitempty"`       // how many files its process may have open
	// RoundTripMs is how long its answer took. ClockOffsetMs is its wall clock less
	// that of who asks, wrong by at most half of the round trip; nil when it did not say.
	RoundTripMs   float64  `json:"round_trip_ms,omitempty"`
	ClockOffsetMs *float64 `json:"clock_offset_ms,omitempty"`

	Calls *wire.Calls `json:"calls,omitempty"` // of CallStatus
}

// timed is what a node said, and when it was asked and answered.
type timed struct {
	*NodeStatus
	asked, answered time.Time
}

// clock adds what the times say.
func (a *timed) clock(n *StatusNode) {
	trip := a.answered.Sub(a.asked)
	n.RoundTripMs = float64(trip.Microseconds()) / 1000
	if a.ClockMs != 0 {
		offset := float64(time.UnixMilli(a.ClockMs).Sub(a.asked.Add(trip/2)).Microseconds()) / 1000
		n.ClockOffsetMs = &offset
	}
}

// NodeStatus asks the connected node for its status.
func (c *Client) NodeStatus(ctx context.Context) (*NodeStatus, error) { return c.nodeStatus(ctx, nil) }

func (c *Client) nodeStatus(ctx context.Context, ask []byte) (*NodeStatus, error) {
	res, err := c.Exec(ctx, wire.OpStatus, Stale, ask)
	if err != nil {
		return nil, err
	}
	s, err := decodeStatus(res)
	if err != nil {
		return nil, badArgument("the node's answer can't be read: %v", err)
	}
	c.mu.Lock()
	c.learned(s)
	c.mu.Unlock()
	return s, nil
}

func decodeStatus(res command.Result) (*NodeStatus, error) {
	s, err := wire.DecodeStatusValues(res.Values)
	if err != nil {
		return nil, err
	}
	if s.Members == nil {
		s.Members = []Member{} // in JSON it is a list also while there is no cluster
	}
	slices.SortFunc(s.Members, func(x, y Member) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return s, nil
}

// Members lists the members as the connected node knows them.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	s, err := c.NodeStatus(ctx)
	if err != nil {
		return nil, err
	}
	return s.Members, nil
}

// Status asks every member, each at its own address.
func (c *Client) Status(ctx context.Context) (*Status, error) { return c.status(ctx, nil) }

// CallStatus is Status, and tells what each member has counted of the calls of
// its clients. Members older than this question don't.
func (c *Client) CallStatus(ctx context.Context) (*Status, error) {
	return c.status(ctx, wire.AppendStatusAsk(nil, wire.AskCalls))
}

func (c *Client) status(ctx context.Context, ask []byte) (*Status, error) {
	asked := time.Now()
	first, err := c.nodeStatus(ctx, ask)
	if err != nil {
		return nil, err
	}
	answers := c.askAll(ctx, &timed{first, asked, time.Now()}, ask)
	says, when := make([]*NodeStatus, len(answers)), map[string]*timed{}
	for i, a := range answers {
		if a != nil {
			says[i], when[a.ID] = a.NodeStatus, a
		}
	}
	s := aggregate(first, says)
	for i := range s.Nodes {
		if a := when[s.Nodes[i].ID]; a != nil {
			a.clock(&s.Nodes[i])
		}
	}
	return s, nil
}

// askAll asks the members that first knows; nil stands for one that did not
// answer.
func (c *Client) askAll(ctx context.Context, first *timed, ask []byte) []*timed {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	out := make([]*timed, len(first.Members))
	turn := make(chan struct{}, statusAtOnce)
	var all sync.WaitGroup
	for i, m := range first.Members {
		if m.ID == first.ID {
			out[i] = first
			continue
		}
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			// Another node may have taken the address over.
			if s, err := c.askNode(ctx, m.Addr, ask); err == nil && s.ID == m.ID && s.Cluster == first.Cluster {
				out[i] = s
			}
		})
	}
	all.Wait()
	return out
}

// askNode asks one node over a connection of its own.
func (c *Client) askNode(ctx context.Context, addr string, ask []byte) (*timed, error) {
	k, err := c.openConn(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer k.nc.Close()
	defer context.AfterFunc(ctx, func() { k.nc.Close() })()
	b, mark := wire.BeginFrame(nil)
	b = wire.AppendRequest(b, wire.Request{ID: 1, Op: wire.OpStatus, Mode: Stale, TimeoutMs: uint32(statusTimeout.Milliseconds()), Payload: ask})
	asked := time.Now()
	if _, err := k.nc.Write(wire.EndFrame(b, mark)); err != nil {
		return nil, err
	}
	frame, err := k.frames.Next()
	if err != nil {
		return nil, err
	}
	answered := time.Now()
	_, res, err := wire.DecodeReply(frame)
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		return nil, err
	}
	s, err := decodeStatus(res)
	if err != nil {
		return nil, err
	}
	return &timed{s, asked, answered}, nil
}

// aggregate makes one picture of what the members say: answers[i] is of
// first.Members[i]. The newest term knows the leader.
func aggregate(first *NodeStatus, answers []*NodeStatus) *Status {
	newest := first
	for _, a := range answers {
		if a != nil && (a.Term > newest.Term || a.Term == newest.Term && (a.Role == "leader" || newest.Leader == "" && a.Leader != "")) {
			newest = a
		}
	}
	s := &Status{Cluster: first.Cluster, Term: newest.Term, Nodes: []StatusNode{}}
	s.Index = StatusIndex{first.Commit, first.Applied}
	able := 0
	for i, m := range first.Members {
		n := statusNode(m, answers[i])
		s.Nodes = append(s.Nodes, n)
		s.Index.Commit = max(s.Index.Commit, n.Commit)
		s.Index.Applied = max(s.Index.Applied, n.Applied)
		if n.Alive && n.Name == newest.Leader {
			s.Leader = n.Name
		}
		if m.Role == "voter" {
			s.Voters++
			// A node that is cut off from the others may still answer clients: it counts
			// when it hears the leader.
			if n.Alive && !n.Diverged && n.Leader != "" && n.Leader == newest.Leader && n.Term == newest.Term {
				able++
			}
		}
	}
	majority := s.Voters/2 + 1
	s.Healthy = s.Leader != "" && able >= majority
	s.Tolerates = max(able-majority, 0)
	slices.SortFunc(s.Nodes, func(x, y StatusNode) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return s
}

// statusNode is one member's line. Of one that does not answer only what the
// configuration says is known; a voter is shown as a follower.
func statusNode(m Member, a *NodeStatus) StatusNode {
	if a == nil {
		role := m.Role
		if role == "voter" {
			role = "follower"
		}
		return StatusNode{Name: m.Name, ID: m.ID, Addr: m.Addr, Role: role}
	}
	return StatusNode{
		Name: m.Name, ID: m.ID, Addr: m.Addr, Role: a.Role, Term: a.Term, Commit: a.Commit, Applied: a.Applied,
		Digest: a.Digest, DigestIndex: a.DigestIndex, Alive: true, Diverged: a.Diverged, Version: a.Version,
		Durability: a.Durability, SnapshotIndex: a.SnapshotIndex, LogFirst: a.LogFirst, LogBytes: a.LogBytes, UptimeSeconds: a.UptimeSeconds,
		Leader: a.Leader, AgreedIndex: a.AgreedIndex, Undecided: a.Undecided, Divergence: a.Divergence, DiskFull: a.DiskFull,
		Arch: a.Arch, Machine: a.Machine, FilesMax: a.FilesMax, Calls: a.Calls,
	}
}
