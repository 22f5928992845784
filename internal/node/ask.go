package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

const (
	// askTimeout is how long an address to join has to answer at the start. It
	// delays a start only when no member of the own cluster answers before.
	askTimeout = 2 * time.Second
	// askPatience is how long members of the own cluster, started at the same time
	// perhaps, may take to outweigh one of another cluster.
	askPatience = 3 * time.Second
	askPause    = 200 * time.Millisecond
)

// ErrRefused is returned when this node can't be one of the cluster that it was
// told to join: its data is another cluster's, or its name is a member's.
var ErrRefused = errors.New("can't join")

// answer is what the node at an address said of itself, and of the members of
// its cluster if that was asked.
type answer struct {
	addr    string
	welcome wire.Welcome
	members []wire.MemberStatus
}

// askAround asks the nodes at the addresses to join, before anything is written
// or served, whether this node can be one of theirs. Who does not answer has no
// say, and later nobody has: an address that another cluster took over must not
// end a member that serves.
func (n *Node) askAround() error {
	for began := time.Now(); ; {
		answers, silent := n.askAll()
		err := n.foreign(answers)
		if err == nil {
			return n.nameTaken(answers)
		}
		if silent == 0 || time.Since(began) > askPatience {
			return err
		}
		select {
		case <-time.After(askPause):
		case <-n.ctx.Done():
			return err
		}
	}
}

// askAll asks all addresses at once, until one of the own cluster has answered.
// silent is how many gave no answer.
func (n *Node) askAll() (answers []answer, silent int) {
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	told := make(chan *answer, len(n.cfg.Join))
	for _, addr := range n.cfg.Join {
		n.group.Go(func() {
			a, err := n.ask(ctx, addr)
			if err != nil {
				n.log.Debug("no answer at the start", "addr", addr, "err", err)
				a = nil
			}
			told <- a
		})
	}
	for range n.cfg.Join {
		a := <-told
		switch {
		case a == nil:
			silent++
		case a.welcome.NodeID != n.id: // else the address is this node's own
			answers = append(answers, *a)
			if n.Cluster() != "" && a.welcome.Cluster == n.Cluster() {
				return answers, silent
			}
		}
	}
	return answers, silent
}

// foreign returns ErrRefused if nodes of another cluster answered and none of the
// own one.
func (n *Node) foreign(answers []answer) error {
	var err error
	for _, a := range answers {
		switch theirs := a.welcome.Cluster; {
		case theirs == "" || n.Cluster() == "":
		case theirs == n.Cluster():
			return nil
		case err == nil:
			err = fmt.Errorf("%w: data directory %s is of cluster %s, but %s at %s is of cluster %s; take that address out of --join, or start with an empty directory",
				ErrRefused, n.cfg.Data, n.Cluster(), a.welcome.NodeName, a.addr, theirs)
		}
	}
	return err
}

// nameTaken returns ErrRefused if another node of this name answers. A node that
// has a cluster may be a member of it already: then its name is its own.
func (n *Node) nameTaken(answers []answer) error {
	if n.Cluster() != "" {
		return nil
	}
	for _, a := range answers {
		if a.welcome.NodeName == n.cfg.Name {
			return n.refusedName(a.welcome.NodeID, a.addr)
		}
		for _, m := range a.members {
			if m.Name != n.cfg.Name || m.Addr == "" || m.Addr == n.advertise {
				continue
			}
			ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
			b, err := n.ask(ctx, m.Addr)
			cancel()
			if err == nil && idString(b.welcome.NodeID) == m.ID {
				return n.refusedName(b.welcome.NodeID, m.Addr)
			}
		}
	}
	return nil
}

func (n *Node) refusedName(by raft.ID, addr string) error {
	return fmt.Errorf("%w: the node at %s, which answers, is named %s too (its id is %s); choose another --name, or remove that member first: 'syncsh member remove %s'",
		ErrRefused, addr, n.cfg.Name, idString(by), n.cfg.Name)
}

// ask connects to a node as a client would. Only a node that may be new to the
// cluster needs the members.
func (n *Node) ask(ctx context.Context, addr string) (*answer, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	b, mark := wire.BeginFrame(wire.AppendPreamble(nil, wire.RoleClient))
	b = wire.EndFrame(wire.AppendHello(b, "node "+n.cfg.Name), mark)
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	r := wire.NewReader(conn, wire.HelloFrameBytesMax)
	frame, err := r.Next()
	if err != nil {
		return nil, err
	}
	a := &answer{addr: addr}
	if a.welcome, err = wire.DecodeWelcome(frame); err != nil {
		return nil, err
	}
	if n.Cluster() != "" || a.welcome.Cluster == "" {
		return a, nil
	}
	b, mark = wire.BeginFrame(nil)
	b = wire.AppendRequest(b, wire.Request{ID: 1, Op: wire.OpStatus, Mode: wire.Stale, TimeoutMs: uint32(askTimeout.Milliseconds())})
	if _, err := conn.Write(wire.EndFrame(b, mark)); err != nil {
		return nil, err
	}
	r.SetMax(wire.FrameBytesMax)
	if frame, err = r.Next(); err != nil {
		return nil, err
	}
	a.members, err = membersOf(frame)
	return a, err
}

// membersOf reads the members from the answer to OpStatus.
func membersOf(frame []byte) ([]wire.MemberStatus, error) {
	_, res, err := wire.DecodeReply(frame)
	if err == nil && res.Code != command.CodeOK {
		err = res.Err()
	}
	if err != nil {
		return nil, err
	}
	s, err := wire.DecodeStatusValues(res.Values)
	if err != nil {
		return nil, err
	}
	return s.Members, nil
}

// refusedTicks is for how long the leader has to refuse the name: a member whose
// process ended counts as one that answers for an election timeout.
const refusedTicks = 150 // 3 s

// joinRefused takes the leader's word that a member has this node's name. It ends
// the node when the leader keeps to it.
func (n *Node) joinRefused(why *wire.JoinRefused) error {
	if _, in := n.replica.Config().Member(n.id); in {
		return nil
	}
	if n.refusedAt == 0 || n.ticks-n.refusedLast > 2*joinTicks {
		n.refusedAt = n.ticks
	}
	n.refusedLast = n.ticks
	if n.ticks-n.refusedAt < refusedTicks {
		return nil
	}
	return n.refusedName(why.By, why.Addr)
}
