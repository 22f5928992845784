package node

import (
	"sync/atomic"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
)

// timedMax bounds the calls that are followed at once; others are answered
// without times.
const timedMax = 256

// timed is the Replier of a call that is to be measured. The core has no clock:
// the loop notes when it sees the call go through. The loop writes until the
// entry is handed to the applier, which answers.
type timed struct {
	to       replica.Replier
	came     time.Time
	proposed time.Time // it is in a log entry
	saving   time.Time
	saved    time.Time
	decided  time.Time // a majority has the entry
	ended    atomic.Bool
}

// measured is who takes the answer to a client's request.
func (n *Node) measured(to replica.Replier, req *wire.Request) replica.Replier {
	if req.Mode != wire.Timed {
		return to
	}
	return &timed{to: to, came: time.Now()}
}

// follows has the loop note what becomes of a call that was submitted just now.
func (n *Node) follows(to replica.Replier) {
	if w, ok := to.(*timed); ok && len(n.timed) < timedMax && n.replica.IsLeader() {
		n.timed = append(n.timed, w)
	}
}

// proposed is told after each output of the core: what waited for a log entry
// has one now, and what is to be applied was decided.
func (n *Node) proposed(works []replica.Work) {
	now := time.Now()
	for _, w := range n.timed {
		if w.proposed.IsZero() {
			w.proposed = now
		}
	}
	for i := range works {
		for _, t := range works[i].Tickets {
			if w, ok := t.To.(*timed); ok && !w.proposed.IsZero() {
				w.decided = now
			}
		}
	}
	left := n.timed[:0]
	for _, w := range n.timed {
		if w.decided.IsZero() && !w.ended.Load() {
			left = append(left, w)
		}
	}
	clear(n.timed[len(left):])
	n.timed = left
}

// saving and saved enclose a write to the log: that of all that was proposed and
// not written yet.
func (n *Node) saving() {
	now := time.Now()
	for _, w := range n.timed {
		if w.saving.IsZero() && !w.proposed.IsZero() {
			w.saving = now
		}
	}
}

func (n *Node) saved() {
	now := time.Now()
	for _, w := range n.timed {
		if w.saved.IsZero() && !w.saving.IsZero() {
			w.saved = now
		}
	}
}

// Reply implements replica.Replier.
func (w *timed) Reply(id uint64, result []byte) {
	w.ended.Store(true)
	if t, ok := w.times(result); ok {
		if b, err := command.AppendTimed(nil, result, t); err == nil {
			result = b
		}
	}
	w.to.Reply(id, result)
}

// times is where the time went until now: as this node saw it, or as the leader
// told it in the result.
func (w *timed) times(result []byte) (command.Times, bool) {
	now := time.Now()
	if !w.decided.IsZero() {
		return command.Times{
			Queue: w.proposed.Sub(w.came).Microseconds(), Replicate: w.decided.Sub(w.proposed).Microseconds(),
			Fsync: w.saved.Sub(w.saving).Microseconds(), Apply: now.Sub(w.decided).Microseconds(),
		}, true
	}
	d := codec.NewDecoder(result)
	r, err := command.DecodeResult(&d)
	if err != nil || r.Times == nil {
		return command.Times{}, false
	}
	t := *r.Times
	t.Forward = max(now.Sub(w.came).Microseconds()-t.Total(), 0)
	return t, true
}
