package raft

import "fmt"

// Config has the settings of a member. Zero values take the defaults.
type Config struct {
	ID ID

	// ElectionTicks without a word from a leader start an election, after up to
	// as many more, drawn at random. It is also how long a leader that hears of
	// no majority goes on, how long a transfer of leadership may take and how
	// long a read waits at a follower. Default 10.
	ElectionTicks int
	// HeartbeatTicks between heartbeats; less than half of ElectionTicks.
	// Default 1.
	HeartbeatTicks int
	// Seed of the random election timeouts and of the first ReadID, mixed with
	// ID. It must be another one at each start of a member: an answer to a read
	// that it asked for in an earlier life would otherwise pass for one to a
	// new read (scenario 71; found by seed 10 of TestRandomWorlds).
	Seed uint64

	// AppendBytesMax bounds the entries of one append. A larger entry travels
	// alone. Default 1 MiB.
	AppendBytesMax uint64
	// InflightMessagesMax and InflightBytesMax bound what is on its way to one
	// follower, so that a slow one costs no memory. Defaults 256 and 16 MiB.
	InflightMessagesMax int
	InflightBytesMax    uint64
	// UncommittedBytesMax bounds what a leader has accepted and not committed.
	// One entry is always let in. Default 128 MiB.
	UncommittedBytesMax uint64
	// EntryBytesMax bounds the data of one entry. Default 72 MiB: an entry must
	// fit a frame of the peer protocol.
	EntryBytesMax uint64

	// SnapshotChunkBytes is the length of one part of a snapshot, and
	// SnapshotChunksInflightMax how many of them are on their way. Defaults
	// 256 KiB and 16.
	SnapshotChunkBytes        uint32
	SnapshotChunksInflightMax int

	// CompactKeepEntries and CompactKeepBytes bound the tail that Compact leaves
	// before the snapshot, so that a follower a little behind needs no
	// snapshot. Whichever is reached first counts. Defaults 4096 and 16 MiB.
	CompactKeepEntries int
	CompactKeepBytes   uint64
	// CompactHoldBytes bounds the tail that is kept for followers that are alive
	// and need it: a snapshot on its way is worth nothing when the entries after
	// it are gone before it arrived (scenario 77). A dead follower holds
	// nothing. Default 64 MiB.
	CompactHoldBytes uint64

	// PromiseMs and LeaseMs switch leases on, for ReadByLease: for how long a
	// member promises to help nobody else to lead, and for how long a leader
	// relies on such a promise. They are only safe while no member's clock (the
	// one of SetTime) runs faster than another's by a factor of PromiseMs/LeaseMs
	// or more, and none stands still while the others run. All members must have
	// the same. The price is that who lost its leader, or has just started,
	// votes and campaigns only PromiseMs later. 0, the default: no leases.
	PromiseMs, LeaseMs uint64
}

// Limits that no setting changes.
const (
	// MaxMembers bounds a configuration.
	MaxMembers = 128
	// MaxRemoved bounds the ids that are remembered as removed.
	MaxRemoved = 4096
	// MaxNameBytes bounds the name and the address of a member.
	MaxNameBytes = 255
	// MaxSnapshotChunkBytes bounds one part of a snapshot.
	MaxSnapshotChunkBytes = 64 << 20
	// MaxTermJump bounds how far a message may raise the term. Terms grow by one
	// an election, so a member would have to miss four thousand million of them
	// (at one a second 136 years) before a correct message was refused; a
	// damaged one could otherwise use up the terms (scenario 11).
	MaxTermJump = 1 << 32
	// MaxReads bounds the reads under way at one member. More are lost at once.
	MaxReads = 1 << 16
	// maxNotes bounds the notes of one Output.
	maxNotes = 16
	// entryOverhead is what an entry counts beside its data, so that empty
	// entries are bounded too.
	entryOverhead = 64
)

func (c *Config) setDefaults() {
	set(&c.ElectionTicks, 10)
	set(&c.HeartbeatTicks, 1)
	set(&c.AppendBytesMax, 1<<20)
	set(&c.InflightMessagesMax, 256)
	set(&c.InflightBytesMax, 16<<20)
	set(&c.UncommittedBytesMax, 128<<20)
	set(&c.EntryBytesMax, 72<<20)
	set(&c.SnapshotChunkBytes, 256<<10)
	set(&c.SnapshotChunksInflightMax, 16)
	set(&c.CompactKeepEntries, 4096)
	set(&c.CompactKeepBytes, 16<<20)
	set(&c.CompactHoldBytes, 64<<20)
}

func set[T int | uint32 | uint64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (c *Config) validate() error {
	switch {
	case c.ID == 0:
		return fmt.Errorf("raft: config: id 0")
	case c.ElectionTicks < 3 || c.HeartbeatTicks < 1 || 2*c.HeartbeatTicks >= c.ElectionTicks:
		return fmt.Errorf("raft: config: heartbeat of %d ticks and election timeout of %d: want 2*heartbeat < election, election at least 3",
			c.HeartbeatTicks, c.ElectionTicks)
	case c.InflightMessagesMax < 1 || c.SnapshotChunksInflightMax < 1 || c.CompactKeepEntries < 0:
		return fmt.Errorf("raft: config: negative limit")
	case c.LeaseMs > 0 && c.LeaseMs >= c.PromiseMs:
		return fmt.Errorf("raft: config: a lease of %d ms on promises for %d ms: want a shorter lease", c.LeaseMs, c.PromiseMs)
	case c.SnapshotChunkBytes > MaxSnapshotChunkBytes:
		return fmt.Errorf("raft: config: snapshot chunk of %d bytes, at most %d", c.SnapshotChunkBytes, MaxSnapshotChunkBytes)
	}
	return nil
}

// random is a splitmix64 generator: timeouts need to differ, not to be secret.
type random uint64

func (s *random) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (s *random) below(n int) int { return int(s.next() % uint64(n)) }
