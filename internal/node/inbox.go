package node

import (
	"sync"
	"time"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// Requests that wait for the loop, in number and bytes; more are answered
// `overloaded` by the connection's own goroutine. One is always let in.
const (
	inboxRequestsMax = 1 << 16
	inboxBytesMax    = 128 << 20
	// inboxOwnMax bounds the requests of one connection. What it sends beyond is not
	// read until the loop has taken those: a client that asks without end would have
	// the loop work them off by ten thousands, and all others refused.
	inboxOwnMax = 4096
)

// request is a client's request on its way to the loop.
type request struct {
	from replica.Replier
	req  wire.Request
}

// peerInput is a message of a peer on its way to the loop.
type peerInput struct {
	msg wire.PeerMessage
	at  time.Time // when it came; of forwarded calls that are measured only
}

// inputs is what the loop drains at once.
type inputs struct {
	requests []request
	bytes    int // of the requests
	peers    []peerInput
	lost     []raft.ID // connections of these peers broke
	done     []replica.Done
	dumped   []dumped
	calls    []func() // things to do on the loop's goroutine
	failed   error    // why the applier has stopped
}

type dumped struct {
	meta raft.SnapshotMeta
	err  error
}

// inbox collects the loop's inputs. Whoever adds wakes the loop at most once
// per drain: waking is most of the cost of a fast path.
type inbox struct {
	mu     sync.Mutex
	in     inputs
	drains uint64        // times that the loop has taken what was here
	taken  chan struct{} // closed at the next one; nil while nobody waits for it
	wake   chan struct{} // capacity 1
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// ownRequests are those of one connection that wait for the loop; guarded by
// inbox.mu.
type ownRequests struct {
	n      int
	drains uint64 // when n was counted
}

// add changes the inputs under the lock and wakes the loop.
func (b *inbox) add(change func(*inputs)) {
	b.mu.Lock()
	change(&b.in)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// addRequests hands over a burst of requests of a connection; it tells how many
// found room, and whether as many of the connection's wait now as may.
func (b *inbox) addRequests(burst []request, own *ownRequests) (taken int, full bool) {
	b.add(func(in *inputs) {
		for taken < len(burst) && (len(in.requests)+taken == 0 ||
			len(in.requests)+taken < inboxRequestsMax && in.bytes < inboxBytesMax) {
			in.bytes += len(burst[taken].req.Payload)
			taken++
		}
		in.requests = append(in.requests, burst[:taken]...)
		if own.drains != b.drains {
			*own = ownRequests{drains: b.drains}
		}
		own.n += taken
		full = own.n >= inboxOwnMax
	})
	return taken, full
}

// drained is closed when the loop has taken the requests of a connection; nil if it
// has already.
func (b *inbox) drained(own *ownRequests) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if own.drains != b.drains {
		return nil
	}
	if b.taken == nil {
		b.taken = make(chan struct{})
	}
	return b.taken
}

// take swaps the inputs against an emptied set that the loop has worked off.
func (b *inbox) take(spare inputs) inputs {
	clear(spare.requests)
	clear(spare.peers)
	clear(spare.done)
	clear(spare.calls)
	spare = inputs{requests: spare.requests[:0], peers: spare.peers[:0], lost: spare.lost[:0], done: spare.done[:0],
		dumped: spare.dumped[:0], calls: spare.calls[:0]}
	b.mu.Lock()
	in := b.in
	b.in = spare
	b.drains++
	if b.taken != nil {
		close(b.taken)
		b.taken = nil
	}
	b.mu.Unlock()
	return in
}
