// Package wire is what goes over the service port: frames of msgpack between
// clients and nodes, and between peers.
//
// A connection starts with a preamble of eight bytes, "SYNCSH", a role (C for a
// client, P for a peer) and the protocol version, sent by the one who dials.
// After it both sides send frames: four bytes little-endian length of the body,
// then the body, a msgpack array whose first value is the frame's type. The
// first frame of each side is a Hello (client), Welcome (node) or PeerHello.
//
// docs/FORMATS.md has the byte tables. Everything a stranger can send is
// bounded and answered with an error; nothing is allocated on the word of a
// length alone.
package wire

import (
	"math"
	"time"

	"github.com/syncsh/syncsh/raft"
)

// Version of both protocols. Another one is refused with a message that names both.
const Version = 2

// Limits of frames.
const (
	FrameBytesMax      = 80 << 20 // results and arguments may reach 64 MiB together
	HelloFrameBytesMax = 4 << 10  // before the hello was accepted
	NameBytesMax       = 255      // names, addresses, build strings
)

// Role of the side that dials.
type Role byte

const (
	RoleClient Role = 'C'
	RolePeer   Role = 'P'
	RoleGossip Role = 'G' // memberlist's streams follow the preamble, not frames
)

// Client frames.
const (
	FrameHello   = 1 // [1, version, client name]
	FrameWelcome = 2 // [2, version, cluster, node name, node id, build]
	FrameRequest = 3 // [3, id, op, mode, timeout ms, payload binary]
	FrameReply   = 4 // [4, id, result] where result is a command.Result
	FrameRefuse  = 5 // [5, message] the connection is closed after it

	// Of watches, after the reply:
	FrameChange   = 6 // [6, request, index, [[[key...], value]...]] what one call changed
	FrameEvent    = 7 // [7, request, [index, number, object, topic, [value...]]]
	FrameWatchEnd = 8 // [8, request, index, reason] the watch is over
	FrameAlive    = 9 // [9] nothing has happened
)

// Op says what a Request wants.
type Op uint8

const (
	OpPropose  Op = 1  // payload: a command (command.Call, Create, Drop, Setting). Result: the command's
	OpQuery    Op = 2  // payload: a query
	OpDeploy   Op = 3  // payload: a command.Deploy; dry run on the leader, then proposed. Values: report lines (strings)
	OpCheck    Op = 4  // payload: a command; dry run only
	OpStatus   Op = 5  // no payload, or [what to tell more]; values: one binary, a NodeStatus in msgpack
	OpSnapshot Op = 6  // no payload; takes a dump now; values: its index
	OpMember   Op = 7  // payload: [action, member id]; see MemberPromote; answered when the change is committed
	OpTransfer Op = 8  // payload: [member id], 0 for any; answered when the transfer was begun
	OpBackup   Op = 9  // payload: a BackupRead; values: a Backup, or one binary
	OpWatch    Op = 10 // payload: a Watch; values: the value at the place, or a Replay; frames follow

	opMax = OpWatch
)

// Actions of OpMember.
const (
	MemberPromote = 1 // a learner becomes a voter
	MemberRemove  = 2
)

// Mode of a read: one of those below, or what Bounded returns.
type Mode uint64

const (
	Linearizable Mode = 0 // default: a ReadIndex round
	Stale        Mode = 1 // at once, from what the asked node has applied
	Lease        Mode = 2 // as linearizable, without the round while the leader has a lease
	bounded      Mode = 3 // the bound in ms stands above the low byte

	// Timed is of an OpPropose: the answer says where the time went.
	Timed Mode = 4
)

// Bounded is the mode of reads that have all that was acknowledged up to so long
// before the node took them. Parts of a millisecond are dropped.
func Bounded(within time.Duration) Mode {
	return bounded | Mode(min(max(within.Milliseconds(), 0), math.MaxUint32))<<8
}

// Within is the bound of a bounded read in ms; false for other reads.
func (m Mode) Within() (ms uint64, ok bool) { return uint64(m >> 8), m&0xff == bounded }

// valid tells whether an operation has such a mode.
func (m Mode) valid(op Op) bool {
	ms, ok := m.Within()
	return m <= Lease || ok && ms <= math.MaxUint32 || m == Timed && op == OpPropose
}

// String names the mode as the command line does.
func (m Mode) String() string {
	if _, ok := m.Within(); ok {
		return "bounded"
	}
	return [...]string{"linearizable", "stale", "lease", "?", "timed", "?"}[min(m, 5)]
}

// Request is what a client asks.
type Request struct {
	ID        uint64 // chosen by the client, unique among its open requests on this connection
	Op        Op
	Mode      Mode
	TimeoutMs uint32 // after it the node answers CodeTimeout; 0: the node's default
	Payload   []byte
}

// Welcome is a node's answer to a Hello.
type Welcome struct {
	Version  int
	Cluster  string // 32 hex digits; empty while the node has none
	NodeName string
	NodeID   raft.ID
	Build    string
}

// NodeStatus is what one node says of itself and of what it knows.
type NodeStatus struct {
	Cluster       string         `msgpack:"cluster" json:"cluster"`
	Name          string         `msgpack:"name" json:"name"`
	ID            string         `msgpack:"id" json:"id"` // 16 hex digits
	Addr          string         `msgpack:"addr" json:"addr"`
	Role          string         `msgpack:"role" json:"role"` // leader, follower, candidate, learner, observer, joining
	Term          uint64         `msgpack:"term" json:"term"`
	Leader        string         `msgpack:"leader" json:"leader"` // name of the leader, empty when unknown
	Commit        uint64         `msgpack:"commit" json:"commit"`
	Applied       uint64         `msgpack:"applied" json:"applied"`
	Digest        string         `msgpack:"digest" json:"digest"`
	DigestIndex   uint64         `msgpack:"digest_index" json:"digest_index"`
	Diverged      bool           `msgpack:"diverged" json:"diverged"`
	Version       string         `msgpack:"version" json:"version"`
	Machine       int            `msgpack:"machine_version" json:"machine_version"` // of the semantics of scripts, in force
	Durability    string         `msgpack:"durability" json:"durability"`           // fsync, async, memory
	SnapshotIndex uint64         `msgpack:"snapshot_index" json:"snapshot_index"`
	LogFirst      uint64         `msgpack:"log_first" json:"log_first"`
	LogBytes      uint64         `msgpack:"log_bytes" json:"log_bytes"`
	UptimeSeconds float64        `msgpack:"uptime_seconds" json:"uptime_seconds"`
	Members       []MemberStatus `msgpack:"members" json:"members"`

	AgreedIndex uint64      `msgpack:"agreed_index" json:"agreed_index"` // last index at which a majority of the voters had the same digest
	Undecided   bool        `msgpack:"undecided" json:"undecided"`       // voters differ, and no digest is that of a majority
	Divergence  *Divergence `msgpack:"divergence,omitempty" json:"divergence,omitempty"`
	DiskFull    string      `msgpack:"disk_full,omitempty" json:"disk_full,omitempty"` // why no calls are taken; empty while there is room

	Arch     string `msgpack:"arch" json:"arch"`           // operating system and architecture, as linux/amd64
	ClockMs  int64  `msgpack:"clock_ms" json:"clock_ms"`   // the wall clock when the node answered, Unix time
	FilesMax int    `msgpack:"files_max" json:"files_max"` // how many files its process may have open

	Calls *Calls `msgpack:"calls,omitempty" json:"calls,omitempty"` // if asked for
}

// Divergence is the last time that a node's state was not that of a majority of
// the voters. It happened behind index After, up to index At.
type Divergence struct {
	Count          uint64 `msgpack:"count" json:"count"` // since the node started
	After          uint64 `msgpack:"after" json:"after"`
	At             uint64 `msgpack:"at" json:"at"`
	OwnDigest      string `msgpack:"own_digest" json:"own_digest"` // at At
	MajorityDigest string `msgpack:"majority_digest" json:"majority_digest"`
	HealedBy       uint64 `msgpack:"healed_by" json:"healed_by"` // index of the snapshot that replaced the state; 0: none yet
}

// MemberStatus is one member as a node knows it from the configuration and gossip.
type MemberStatus struct {
	Name  string `msgpack:"name" json:"name"`
	ID    string `msgpack:"id" json:"id"`
	Addr  string `msgpack:"addr" json:"addr"`
	Role  string `msgpack:"role" json:"role"`   // voter, learner, observer
	Alive bool   `msgpack:"alive" json:"alive"` // gossip's opinion
}

// Peer frames. A peer connection carries frames one way, from the one who
// dialed; answers take the other's own connection.
const (
	FramePeerHello    = 16 // [16, version, cluster, from id, to id, name, addr]; answered by FramePeerWelcome or FrameRefuse
	FramePeerWelcome  = 17 // [17]
	FrameRaft         = 18 // [18, message fields...]; entries go without their indexes, which follow from the message's
	FrameForward      = 19 // [19, id, op, mode, timeout ms, payload]: a follower passes a client's request to the leader, once
	FrameForwardReply = 20 // [20, id, result]
	FrameJoin         = 21 // [21, id, role, name, addr]: let me in, to the leader
	FrameDigest       = 22 // [22, index, digest]
	FrameRuns         = 23 // [23, machine version]: what the sender's program runs, to the leader
	FrameJoinRefused  = 24 // [24, id, addr]: not let in, that member has the name and answers
)

// PeerHello is the first frame of a peer connection.
type PeerHello struct {
	Version  int
	Cluster  string
	From, To raft.ID
	Name     string
	Addr     string // where From is reached
}

// PeerMessage is any peer frame after the hello: exactly one of its parts is set.
type PeerMessage struct {
	From         raft.ID // filled in by the receiver from the hello
	Raft         *raft.Message
	Forward      *Request // ID is of the forwarding node's choosing
	ForwardReply *ForwardReply
	Join         *raft.Member
	JoinRefused  *JoinRefused
	Digest       *Digest
	Runs         *Runs
}

// JoinRefused is the leader's answer to a Join under a member's name.
type JoinRefused struct {
	By   raft.ID // who has the name
	Addr string  // where that one is reached
}

// ForwardReply brings a leader's result back to the node that forwarded.
type ForwardReply struct {
	ID     uint64
	Result []byte // an encoded command.Result
}

// Runs is the highest version of the machine that a member's program runs.
type Runs struct{ Machine int }

// Digest is a replica's digest of the state at an index.
type Digest struct {
	Index raft.Index
	Sum   [16]byte
}
