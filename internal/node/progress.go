package node

import (
	"fmt"

	"github.com/syncsh/syncsh/raft"
)

// Progress is how far long work is: of What, Done of Total. Of the zero Progress
// nothing is left to do.
type Progress struct {
	What        string
	Done, Total uint64
	Bytes       bool // else indexes of the log
}

// behindTicks is how often the log says how far a node that is behind has come:
// every 2 s, so that what is quick says nothing.
const behindTicks = 100

// behind is what was told of work that is under way.
type behind struct {
	what string
	tick uint64 // when the log said so last, or the work began
	from uint64 // of catching up: where it began
}

// received tells how much of a snapshot of the leader has arrived.
func (n *Node) received(c *raft.SnapshotChunk) {
	done := c.Offset + uint64(c.Length)
	n.tell(Progress{What: "snapshot of the leader", Done: done, Total: c.Meta.Bytes, Bytes: true}, "index", c.Meta.Index)
	if done == c.Meta.Bytes {
		n.caughtUp()
	}
}

// catchesUp tells how far a node that is not ready has applied what was
// committed.
func (n *Node) catchesUp(applied, commit uint64) {
	const what = "catching up"
	if n.behind.what != what {
		n.behind.from = applied
	}
	from := min(n.behind.from, applied)
	n.tell(Progress{What: what, Done: applied - from, Total: commit - from}, "applied", applied, "commit", commit)
}

// caughtUp ends what was told of.
func (n *Node) caughtUp() {
	if n.behind.what != "" && n.cfg.Progress != nil {
		n.cfg.Progress(Progress{})
	}
	n.behind = behind{}
}

func (n *Node) tell(p Progress, attrs ...any) {
	if n.cfg.Progress != nil {
		n.cfg.Progress(p)
	}
	if n.behind.what != p.What {
		n.behind.what, n.behind.tick = p.What, n.ticks
		return
	}
	if n.ticks-n.behind.tick < behindTicks {
		return
	}
	n.behind.tick = n.ticks
	share := fmt.Sprintf("%d%%", p.Done*100/max(p.Total, 1))
	if p.Bytes {
		attrs = append(attrs, "bytes", p.Done, "of", p.Total)
	}
	n.log.Info(p.What, append(attrs, "done", share)...)
}
