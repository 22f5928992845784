package node

import (
	"errors"
	"fmt"
	"strings"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

const (
	// roomTicks is how often the node looks whether the disk has space for the log:
	// once a second.
	roomTicks = 50
	// handOverTicks is how often a leader with a full disk offers the lead: an
	// attempt refuses calls for an election timeout.
	handOverTicks = 500
)

// roomWatch is what the node knows of the room for the log. The loop's.
type roomWatch struct {
	own     error  // why the own disk has no room; nil while it has
	offered uint64 // ticks at the last offer of the lead
}

// save stores a save. While the disk has no room it is kept by the store, and
// nothing that depends on it leaves.
func (n *Node) save(save raft.Save) error {
	began := monotonic()
	err := n.store.Save(save)
	n.pace.add(monotonic() - began)
	switch {
	case err == nil:
		n.replica.Saved(save.LSN)
		// The next segment may have been tried in vain since: a second later this one
		// may be full, and calls that wait for the disk are neither refused nor done.
		err = n.store.Room()
	case !errors.Is(err, persist.ErrNoRoom):
		return err
	}
	if n.room.own == nil && err != nil {
		n.noticeRoom(err)
	}
	return nil
}

// watchRoom asks for the next segment of the log ahead of need, and goes on
// where the disk was full (scenario 55).
func (n *Node) watchRoom() error {
	err := n.store.Reserve()
	if err != nil && !errors.Is(err, persist.ErrNoRoom) {
		return err
	}
	n.replica.Saved(n.store.Durable())
	n.noticeRoom(err)
	n.offerLead()
	return nil
}

// noticeRoom tells the replica, the log and the others what the disks allow.
func (n *Node) noticeRoom(own error) {
	was := n.room.own
	n.room.own = own
	n.replica.SetRoom(replica.Room{Full: own != nil, Refuse: n.refuse()})
	if (was != nil) == (own != nil) {
		return
	}
	if own != nil {
		n.log.Error("disk full: no calls are taken into the log until there is space again; reads go on", "err", own)
	} else {
		n.log.Warn("the disk has space again: calls are taken")
	}
	n.publishMeta()
}

// refuse is why no calls are taken: the own disk is full, or those of so many
// others that no majority could store them.
func (n *Node) refuse() string {
	if n.room.own != nil {
		return fmt.Sprintf("the disk of %s has no space for the log; nothing happened; free some, the node then goes on by itself", n.cfg.Name)
	}
	if !n.replica.IsLeader() {
		return ""
	}
	config := n.replica.Config()
	var full []string
	voters, room := 0, 0
	for _, m := range config.Members {
		if m.Role != raft.Voter {
			continue
		}
		voters++
		if m.ID != n.id && n.book.full(m.ID) {
			full = append(full, n.nameOf(m.ID))
		} else {
			room++
		}
	}
	if len(full) == 0 || room > voters/2 {
		return ""
	}
	return fmt.Sprintf("the disks of %s have no space for the log, and the others are no majority; nothing happened", strings.Join(full, ", "))
}

// offerLead hands leadership from a full disk to a voter whose disk is not, if
// gossip knows one. If all are full the leader stays: reads go on.
func (n *Node) offerLead() {
	if n.room.own == nil || !n.replica.IsLeader() {
		return
	}
	if n.room.offered != 0 && n.ticks-n.room.offered < handOverTicks {
		return
	}
	for _, m := range n.replica.Config().Members {
		if m.ID == n.id || m.Role != raft.Voter || !n.book.alive(m.ID) || n.book.full(m.ID) {
			continue
		}
		if err := n.replica.Transfer(m.ID); err != nil {
			n.log.Debug("leadership not offered", "to", n.nameOf(m.ID), "err", err)
			continue
		}
		n.room.offered = n.ticks
		n.log.Warn("disk full: leadership is handed over", "to", n.nameOf(m.ID))
		return
	}
}
