package node

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// news is what the distributor of changes hears, in order; one of its parts is
// set.
type news struct {
	opened, dropped *watch
	changes         []luafsm.Change
	replaced        raft.Index
}

// watches distributes what the applier reports to the clients that watch. The
// applier only hands over; a goroutine of its own does the rest.
type watches struct {
	node  *Node
	open  atomic.Int64
	bytes atomic.Int64 // in the queues of all watches
	// leaderless is since when the loop has heard no leader, in milliseconds of the
	// replica's clock, or what is as bad; 0: it hears one.
	leaderless atomic.Int64

	mu        sync.Mutex
	news      []news
	newsBytes int
	newsMax   int        // watchNewsBytesMax; less in tests
	lost      raft.Index // first index whose changes found no room; 0: none
	wake      chan struct{}

	by map[*luafsm.Watch]map[*watch]bool // the distributor's
}

func newWatches(n *Node) *watches {
	return &watches{node: n, wake: make(chan struct{}, 1), newsMax: watchNewsBytesMax, by: map[*luafsm.Watch]map[*watch]bool{}}
}

// subscribe begins a watch; the loop calls it. The picture is a query in the
// replica's stream of work.
func (s *watches) subscribe(from replica.Replier, req wire.Request) {
	refuse := func(code command.Code, text string) {
		from.Reply(req.ID, command.AppendError(nil, 0, code, text, "", nil))
	}
	if n := len(req.Payload); n > watchPathBytesMax {
		refuse(command.CodeBadArgument, fmt.Sprintf("a place or topic of %d bytes, at most %d can be watched", n, watchPathBytesMax))
		return
	}
	// A copy: what is kept for long must not keep the chunk of the stream that it
	// came in.
	spec, err := wire.DecodeWatch(bytes.Clone(req.Payload))
	c, ok := from.(*clientConn)
	if !ok || err != nil {
		refuse(command.CodeBadArgument, fmt.Sprintf("unreadable watch: %v", err))
		return
	}
	w := &watch{conn: c, id: req.ID, spec: spec, mode: req.Mode}
	if w.keys, err = watchKeys(spec.Keys); err != nil {
		refuse(command.CodeBadArgument, fmt.Sprintf("path of the watch: %v", err))
		return
	}
	if s.open.Add(1) > watchesMax {
		s.open.Add(-1)
		refuse(command.CodeOverloaded, fmt.Sprintf("%d watches are open at this node", watchesMax))
		return
	}
	c.out.mu.Lock()
	if w.ended = c.out.closed; !w.ended {
		if c.watches == nil {
			c.watches = map[*watch]bool{}
		}
		c.watches[w] = true
	}
	c.out.mu.Unlock()
	if w.ended {
		s.open.Add(-1)
		return
	}
	s.node.replica.Submit(w, wire.Request{ID: req.ID, Op: wire.OpQuery, Mode: req.Mode, TimeoutMs: req.TimeoutMs})
}

// add hands something to the distributor.
func (s *watches) add(n news) {
	s.mu.Lock()
	size := 0
	for i := range n.changes {
		size += n.changes[i].Size()
	}
	switch {
	case n.changes != nil && (s.lost != 0 || s.newsBytes+size > s.newsMax):
		if s.lost == 0 {
			s.lost = n.changes[0].Index
		}
	default:
		s.news = append(s.news, n)
		s.newsBytes += size
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drop ends a watch without a word to its client.
func (s *watches) drop(w *watch) {
	out := &w.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if w.handle != nil && !w.ended {
		s.add(news{dropped: w})
	}
	s.over(w)
	s.bytes.Add(-int64(len(w.queue)))
	w.queue = nil
	delete(w.conn.watches, w)
}

// over gives back what a watch holds; conn.out.mu is held.
func (s *watches) over(w *watch) {
	if w.ended {
		return
	}
	w.ended = true
	s.open.Add(-1)
	if w.handle != nil {
		w.handle.Release()
	}
}

// dropAll ends the watches of a connection that is closed.
func (s *watches) dropAll(c *clientConn) {
	c.out.mu.Lock()
	all := slices.Collect(maps.Keys(c.watches))
	c.ready = nil
	c.out.mu.Unlock()
	for _, w := range all {
		s.drop(w)
	}
}

// run is the distributor.
func (s *watches) run() {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
		case <-tick.C:
			s.tick()
		case <-s.node.ctx.Done():
			return
		}
		if s.node.cfg.onNews != nil {
			s.node.cfg.onNews()
		}
		s.mu.Lock()
		all, lost := s.news, s.lost
		s.news, s.newsBytes, s.lost = nil, 0, 0
		s.mu.Unlock()
		for i := range all {
			s.distribute(&all[i])
		}
		if lost != 0 {
			s.endAll(wire.EndLagged, lost)
		}
	}
}

func (s *watches) distribute(n *news) {
	switch {
	case n.opened != nil:
		h := n.opened.handle
		if s.by[h] == nil {
			s.by[h] = map[*watch]bool{}
		}
		s.by[h][n.opened] = true
	case n.dropped != nil:
		s.forget(n.dropped)
	case n.replaced != 0:
		s.endAll(wire.EndReplaced, n.replaced)
	}
	for i := 0; i < len(n.changes); {
		c := &n.changes[i]
		end := i + 1
		for c.Event.Seq == 0 && end < len(n.changes) && n.changes[end].Watch == c.Watch && n.changes[end].Index == c.Index {
			end++
		}
		if c.Event.Seq != 0 {
			s.event(c)
		} else {
			s.changed(n.changes[i:end])
		}
		i = end
	}
}

// changed sends what one call did to one place.
func (s *watches) changed(changes []luafsm.Change) {
	to, index := s.by[changes[0].Watch], changes[0].Index
	if len(to) == 0 {
		return
	}
	list := make([]wire.Change, 0, len(changes))
	tooLarge := false
	for i := range changes {
		list = append(list, wire.Change{Path: changes[i].Path, Value: changes[i].Value})
		tooLarge = tooLarge || changes[i].TooLarge
	}
	var encoded []byte
	if !tooLarge {
		encoded = wire.AppendChanges(nil, list)
	}
	for w := range to {
		if tooLarge || !w.push(len(encoded), func(b []byte) []byte { return wire.AppendChange(b, w.id, uint64(index), encoded) }) {
			s.end(w, wire.EndLagged, index)
		}
	}
}

func (s *watches) event(c *luafsm.Change) {
	encoded := wire.AppendEvent(nil, wireEvent(c.Event))
	for w := range s.by[c.Watch] {
		// A watch that was asked for with a stale read may begin before its start.
		if w.spec.Start == wire.WatchAfterIndex && uint64(c.Index) <= w.spec.After ||
			w.spec.Start == wire.WatchAfterNumber && c.Event.Seq <= w.spec.After {
			continue
		}
		if !w.push(len(encoded), func(b []byte) []byte { return wire.AppendEventFrame(b, w.id, encoded) }) {
			s.end(w, wire.EndLagged, c.Index)
		}
	}
}

// end ends a watch and says why. What is queued still goes out.
func (s *watches) end(w *watch, reason uint64, index raft.Index) {
	out := &w.conn.out
	out.mu.Lock()
	if !w.ended {
		w.append(func(b []byte) []byte {
			return wire.AppendWatchEnd(b, wire.WatchEnd{Request: w.id, Index: uint64(index), Reason: reason})
		})
		s.over(w)
	}
	out.mu.Unlock()
	s.forget(w)
}

func (s *watches) endAll(reason uint64, index raft.Index) {
	for _, all := range s.by {
		for w := range all {
			s.end(w, reason, index)
		}
	}
}

func (s *watches) forget(w *watch) {
	delete(s.by[w.handle], w)
	if len(s.by[w.handle]) == 0 {
		delete(s.by, w.handle)
	}
}

// follow hears from the loop whether what this node applies is what the cluster
// agrees on.
func (s *watches) follow(inService bool, now int64) {
	switch since := s.leaderless.Load(); {
	case inService:
		s.leaderless.Store(0)
	case since == 0:
		s.leaderless.Store(max(now, 1))
	}
}

// tick tells quiet clients that the node lives, or that it knows of no leader.
func (s *watches) tick() {
	since := s.leaderless.Load()
	if since != 0 && s.node.clock.Load()-since >= leaderlessMax.Milliseconds() {
		s.endAll(wire.EndNoLeader, 0)
		return
	}
	told := map[*clientConn]bool{}
	for _, all := range s.by {
		for w := range all {
			if !told[w.conn] {
				told[w.conn] = true
				w.conn.alive()
			}
		}
	}
}
