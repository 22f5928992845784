package replica

import (
	"fmt"
	"sync"

	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// Durability says what Saved stands for.
type Durability uint8

const (
	Fsync  Durability = iota + 1 // on disk
	Async                        // handed to the operating system; Flush makes it durable now and then
	Memory                       // nowhere: only snapshots are kept, in a file system in memory
)

// Forgets tells whether the end of the process loses all that a member knew, its
// vote and what it acknowledged included. Such a member must not come back as the
// voter that it was: it draws a new id at each start, is let in as a learner, and
// the old id counts until an operator removes it.
func (d Durability) Forgets() bool { return d == Memory && !mutant.On(mutant.MemoryComesBack) }

// Store carries out what a replica wants stored, on a data directory. Save,
// Receive, Compact and Sync belong to the goroutine of the replica; Dump,
// Install and Fill may run on others.
type Store struct {
	dir        *persist.Dir
	durability Durability
	machine    luafsm.Options // of machines that are restored
	durable    raft.LSN
	taken      raft.LSN // handed over to the log; above durable while it has no room
	unflushed  bool
	term       raft.Term // as synced last
	vote       raft.ID

	mu       sync.Mutex // of what follows
	receiver *persist.SnapshotReceiver
	meta     raft.SnapshotMeta
}

// NewStore returns a store on a directory that was loaded. Machines that it
// restores get the options.
func NewStore(dir *persist.Dir, d Durability, machine luafsm.Options) *Store {
	return &Store{dir: dir, durability: d, machine: machine}
}

// Durable is the last LSN that messages may rely on.
func (s *Store) Durable() raft.LSN { return s.durable }

// Save writes one save and, as the durability says, syncs. After
// persist.ErrNoRoom the save is kept and not durable: messages that depend on it
// do not leave, and Reserve tells when it is. Any other error is final: the
// member stops.
func (s *Store) Save(save raft.Save) error {
	var err error
	switch {
	case s.durability == Memory:
	case s.durability == Fsync || s.mustSync(save):
		if err = s.dir.Append(save); err == nil {
			s.taken = save.LSN
			err = s.dir.Sync()
		}
		s.unflushed = err != nil
	default:
		if err = s.dir.Append(save); err == nil {
			s.taken = save.LSN
			err = s.dir.Flush()
		}
		s.unflushed = true
	}
	if err != nil {
		if mutant.On(mutant.RoomInvented) {
			s.durable = s.taken
		}
		return err
	}
	s.taken, s.durable = save.LSN, save.LSN
	return nil
}

// Reserve returns persist.ErrNoRoom while the disk has no space for more log
// than fits the present segment. It is to be called now and then: it stores
// what Save could not once there is space, and Durable then says so.
func (s *Store) Reserve() error {
	if s.durability == Memory {
		return nil
	}
	if err := s.dir.Reserve(); err != nil {
		return err
	}
	if s.taken == s.durable {
		return nil
	}
	if err := s.dir.Sync(); err != nil {
		return err
	}
	s.durable, s.unflushed = s.taken, false
	return nil
}

// mustSync tells whether a save is synced in every mode that has a disk: a
// member that may have lost its vote could give it twice, and one that lost a
// configuration could count the wrong quorum.
func (s *Store) mustSync(save raft.Save) bool {
	sync := save.Reset != nil
	if hs := save.HardState; hs != nil {
		sync = sync || hs.Term != s.term || hs.Vote != s.vote
		s.term, s.vote = hs.Term, hs.Vote
	}
	for i := range save.Entries {
		sync = sync || save.Entries[i].Kind == raft.EntryConfig
	}
	return sync
}

// Room is what is known of the room for the log without looking again: nil or
// persist.ErrNoRoom.
func (s *Store) Room() error { return s.dir.Room() }

// Sync makes durable what an asynchronous store has handed over. After
// persist.ErrNoRoom that holds for all that was acknowledged: what found no room
// never was.
func (s *Store) Sync() error {
	if !s.unflushed {
		return nil
	}
	err := s.dir.Sync()
	s.unflushed = err != nil
	return err
}

// Compact gives up log records up to an index that a snapshot covers.
func (s *Store) Compact(upTo raft.Index) error {
	if s.durability == Memory {
		return nil
	}
	return s.dir.Compact(upTo)
}

// Receive stores parts of a snapshot that is on its way. drop comes before the
// chunks: the transfer they begin is another one. A chunk that can't be stored
// ends the receipt; the core sees no progress and the leader starts again.
func (s *Store) Receive(chunks []raft.SnapshotChunk, drop bool) error {
	if len(chunks) == 0 && !drop {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if drop && s.receiver != nil {
		s.receiver.Abort()
		s.receiver = nil
	}
	for i := range chunks {
		c := &chunks[i]
		if s.receiver == nil || c.Offset == 0 {
			if s.receiver != nil {
				s.receiver.Abort()
			}
			r, err := s.dir.ReceiveSnapshot(c.Meta)
			if err != nil {
				return err
			}
			s.receiver, s.meta = r, c.Meta
		}
		if err := s.receiver.WriteAt(c.Data, c.Offset); err != nil {
			return err
		}
	}
	return nil
}

// Install finishes the receipt of a snapshot and restores a machine from it.
func (s *Store) Install(meta raft.SnapshotMeta) (*luafsm.Machine, error) {
	s.mu.Lock()
	r, got := s.receiver, s.meta
	s.receiver = nil
	s.mu.Unlock()
	if r == nil || got.Sum != meta.Sum || got.Index != meta.Index {
		return nil, fmt.Errorf("snapshot of index %d is not the one that arrived", meta.Index)
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	return s.Restore(meta)
}

// Restore reads a machine from a snapshot.
func (s *Store) Restore(meta raft.SnapshotMeta) (*luafsm.Machine, error) {
	r, err := s.dir.OpenSnapshot(meta)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return luafsm.Restore(r, s.machine)
}

// Dump writes a version to a snapshot and makes it durable.
func (s *Store) Dump(v *luafsm.Version, meta raft.SnapshotMeta) (raft.SnapshotMeta, error) {
	w, err := s.dir.CreateSnapshot(meta.Index, meta.Term, meta.Config)
	if err != nil {
		return meta, err
	}
	if err := v.Dump(w); err != nil {
		w.Abort()
		return meta, err
	}
	return w.Finish()
}

// Fill reads the bytes of a chunk that is to be sent.
func (s *Store) Fill(c *raft.SnapshotChunk) error {
	c.Data = make([]byte, c.Length)
	if c.Length == 0 {
		return nil // asks whether all that arrived was installed
	}
	n, err := s.dir.ReadRaw(c.Meta, c.Offset, c.Data)
	if err != nil {
		return err
	}
	if n != int(c.Length) {
		return fmt.Errorf("snapshot of index %d: %d of %d bytes at %d", c.Meta.Index, n, c.Length, c.Offset)
	}
	return nil
}
