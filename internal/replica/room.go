package replica

import (
	"slices"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// Room says what the disks allow; the driver finds out.
type Room struct {
	// Full: the own disk has no space for more log than the present segment takes.
	// That is kept for votes and what little else must be stored: entries of a
	// leader are not taken, as if they were lost on the way, but for the one that
	// begins its term.
	Full bool
	// Refuse is what callers are told instead of their calls being taken, if this
	// member leads; empty when it takes them.
	Refuse string
}

// SetRoom is called when what the disks allow changes. Reads, votes and changes of
// members and leadership go on.
func (r *Replica) SetRoom(room Room) { r.room = room }

// Room is what SetRoom said last.
func (r *Replica) Room() Room { return r.room }

// noRoomFor tells whether a peer's message is not taken for want of room. The
// leader goes on probing, and sends a snapshot if its log no longer reaches back.
// The first entry of a term is as small as the vote for its leader, who answers
// no read until it is committed (§6.4): a leader elected while the disks of a
// majority are full would answer none until one has space.
func (r *Replica) noRoomFor(m *raft.Message) bool {
	return r.room.Full && m.Kind == raft.MsgAppend && slices.ContainsFunc(m.Entries, func(e raft.Entry) bool { return e.Kind != raft.EntryNoop })
}

// refusedByRoom answers a call that the disks have no room for. The code is
// overloaded: nothing happened, and the same call may work later, at the same
// leader; another node would pass it on to that one.
func (r *Replica) refusedByRoom(t Ticket, op wire.Op) bool {
	if r.room.Refuse == "" || op != wire.OpPropose && op != wire.OpDeploy {
		return false
	}
	r.fail(t, command.CodeOverloaded, r.room.Refuse)
	return true
}
