package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/syncsh/syncsh/gossip"
	"github.com/syncsh/syncsh/raft"
)

// book knows where members are reached: gossip's newest word first, then what
// a peer said when it connected, then the configuration's hint.
type book struct {
	mu     sync.Mutex
	gossip map[raft.ID]gossip.Member
	said   map[raft.ID]string
	config map[raft.ID]raft.Member
	names  map[raft.ID]string

	removed map[raft.ID]bool // ids that were members once
}

func newBook() *book {
	return &book{said: map[raft.ID]string{}, names: map[raft.ID]string{}}
}

// heard notes what a peer said of itself.
func (b *book) heard(id raft.ID, name, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said[id], b.names[id] = addr, name
}

func (b *book) setGossip(members []gossip.Member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gossip = make(map[raft.ID]gossip.Member, len(members))
	for _, m := range members {
		b.gossip[m.Meta.ID] = m
		b.names[m.Meta.ID] = m.Name
	}
}

func (b *book) setConfig(c raft.Configuration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.config
	b.config = make(map[raft.ID]raft.Member, len(c.Members))
	b.removed = make(map[raft.ID]bool, len(c.Removed))
	for _, id := range c.Removed {
		b.removed[id] = true
	}
	for _, id := range c.Outgoing { // its vote still counts: it must get through, and be reached (§4.3)
		delete(b.removed, id)
		if m, ok := was[id]; ok {
			b.config[id] = m
		}
	}
	for _, m := range c.Members {
		b.config[m.ID] = m
		if b.names[m.ID] == "" {
			b.names[m.ID] = m.Name
		}
	}
}

// addr is where a member is reached, empty when nobody said.
func (b *book) addr(id raft.ID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, ok := b.gossip[id]; ok && m.State == gossip.Alive && m.Meta.Addr != "" {
		return m.Meta.Addr
	}
	if a := b.said[id]; a != "" {
		return a
	}
	return b.config[id].Addr
}

// wasRemoved tells whether an id was a member once. Such a node may never have
// received the entry that removed it, so it is told when it connects.
func (b *book) wasRemoved(id raft.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.removed[id]
}

// full tells whether a member said that its disk is.
func (b *book) full(id raft.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gossip[id].Meta.Full
}

// pace is how long saves take at a member that is alive and has room.
func (b *book) pace(id raft.ID) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.gossip[id]
	return m.Meta.Pace, ok && m.State == gossip.Alive && !m.Meta.Full
}

// alive is gossip's opinion.
func (b *book) alive(id raft.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.gossip[id]
	return ok && m.State == gossip.Alive
}

// name of a member for people.
func (b *book) name(id raft.ID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.names[id]; s != "" {
		return s
	}
	return fmt.Sprintf("%016x", uint64(id))
}

func (n *Node) nameOf(id raft.ID) string {
	if id == n.id {
		return n.cfg.Name
	}
	return n.book.name(id)
}
