package node

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/syncsh/syncsh/raft"
)

// asyncFile stands in the data directory while the log may lack what was
// acknowledged if the machine went down: a node with durability async runs on
// it, or did and has not filled it up since. It holds the machine's boot id.
const asyncFile = "async"

// mayLack tells whether the log may have less than was acknowledged: it was last
// used with durability async, and the machine went down before the node closed
// it. The end of the process alone loses nothing, as what was written is with
// the operating system; the boot id tells the two apart (scenario 56).
func (n *Node) mayLack() bool {
	was, err := n.dir.ReadNote(asyncFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	now := bootID()
	return err != nil || now == "" || strings.TrimSpace(string(was)) != now
}

// distrust decides whether the core is told that the log may lack something. A
// member that is the only voter has nobody to be filled up from: what it lost is
// lost, as durability async says.
func (n *Node) distrust(init raft.Initial) bool {
	if !n.mayLack() {
		return false
	}
	if onlyVoter(n.id, init) {
		n.log.Warn("the machine went down: calls that were acknowledged shortly before may be lost")
		return false
	}
	n.log.Warn("the log may lack what was acknowledged before the machine went down; out of elections until a leader has filled it up; if a majority of the voters says so, there will be none: see syncsh recover --help")
	return true
}

// onlyVoter tells whether the newest configuration in what was recovered has no
// other voter than id.
func onlyVoter(id raft.ID, init raft.Initial) bool {
	config := init.Snapshot.Config
	for _, e := range init.Entries {
		if e.Kind != raft.EntryConfig {
			continue
		}
		if c, err := raft.DecodeConfiguration(e.Data); err == nil {
			config = c
		}
	}
	if len(config.Outgoing) > 0 {
		return false
	}
	found := false
	for _, m := range config.Members {
		if m.Role == raft.Voter && m.ID != id {
			return false
		}
		found = found || m.Role == raft.Voter
	}
	return found
}

// markTrusted leaves word for the next start: with async the boot id of now, else
// nothing. It is not called while the log may lack something, so that a second
// start before it was filled up finds the old word.
func (n *Node) markTrusted() error {
	if n.cfg.Durability != "async" {
		return n.unmark()
	}
	now := bootID() + "\n"
	if was, err := n.dir.ReadNote(asyncFile); err == nil && string(was) == now {
		return nil // so that a start on a full disk has nothing to write
	}
	return n.dir.WriteNote(asyncFile, []byte(now))
}

// unmark is called once everything is on disk.
func (n *Node) unmark() error { return n.dir.RemoveNote(asyncFile) }

// watchTrust notices that the leader has filled up the log.
func (n *Node) watchTrust() error {
	if !n.distrusted || n.replica.Status().Untrusted {
		return nil
	}
	if n.room.own != nil {
		return nil // the log has not all of it yet, or the mark would find no space
	}
	n.distrusted = false
	if err := n.store.Sync(); err != nil {
		return err
	}
	return n.markTrusted()
}

// bootID names this run of the machine, empty where the system has none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
