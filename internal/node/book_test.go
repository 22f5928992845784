package node

import (
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// TestOutgoingMemberIsReached: while a configuration is joint, who leaves it still
// votes: it is not taken for removed, and its address is known.
func TestOutgoingMemberIsReached(t *testing.T) {
	n := startNode(t, Config{Name: "solo", Single: true})
	await(t, n)
	b := n.book
	one, three := raft.Member{ID: 1001, Addr: "a:1"}, raft.Member{ID: 1003, Addr: "c:1"}
	b.setConfig(raft.Configuration{Members: []raft.Member{one, three}})
	b.setConfig(raft.Configuration{Members: []raft.Member{one}, Outgoing: []raft.ID{1001, 1003}, Removed: []raft.ID{1003}})
	if b.wasRemoved(1003) || b.addr(1003) != "c:1" {
		t.Errorf("joint: removed %v, address %q", b.wasRemoved(1003), b.addr(1003))
	}
	b.setConfig(raft.Configuration{Members: []raft.Member{one}, Removed: []raft.ID{1003}})
	if !b.wasRemoved(1003) {
		t.Error("not removed afterwards")
	}
	stop(t, n)
}
