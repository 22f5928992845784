package state

import (
	"slices"
	"sync/atomic"

	lua "github.com/yuin/gopher-lua"
)

// DepthMax is how deep tables may be nested in an object's state, the object's
// table being the first.
const DepthMax = 100

// ObjectsSection is the section that Root returns.
const ObjectsSection = "objects"

// Store is the tables of one machine and the versions of its state.
type Store struct {
	// Bytes counts the lengths of long strings put into tables, as keys and as
	// values, and of those they replace in the state: a string that sits in many
	// places is hashed, encoded and dumped as often as that.
	Bytes uint64
	// Slots counts entries created, Work entries moved within a sequence by Insert
	// and Remove, looked at by Commit, and for
	// keys without an order of their own, Moves entries that went between a
	// sequence and its map, in the state twice, as Rollback moves them back. The
	// machine charges for them and sets them back.
	Slots, Work, Moves uint64

	// Fresh is asked by Commit for each table that is new to the state, with the
	// count of its entries; its error ends the Commit. nil is never asked.
	Fresh func(entries int) error

	sections []section // sorted by name; replaced, never changed in place
	digest   u128

	// epoch is that of present writes, live that of the newest version held:
	// what is newer than live no version can see. live < epoch.
	epoch, live uint64
	changed     bool // since the last Publish
	versions    []*Version
	released    atomic.Bool // some version was
	shadow      []*Table    // tables with a content that only versions see
	sweep       int         // shadow[:sweep] is to be looked at

	frames []frame
	log    []entry
	saved  []savedHeader
	seq    uint64 // of the innermost transaction
	seqs   uint64 // last seq given
	check  check

	observer Observer // nil: nobody watches
	fork     *fork    // nil: the store is none
	changes  changes
}

type section struct {
	name string
	t    *Table
}

// frame is an open transaction.
type frame struct {
	log, saved int
	seq        uint64
	digest     u128
}

type op uint8

const (
	opSet op = iota
	opInsert
	opRemove
)

// entry of the undo log: one write to a table that is in the state.
type entry struct {
	op       op
	t        *Table
	key      key
	at       int // length of the sequence before an insert or remove
	old, new lua.LValue
}

type savedHeader struct {
	t *Table
	h header
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{epoch: 1} }

// Root is the table of objects: their names and their states.
func (s *Store) Root() *Table { return s.Section(ObjectsSection) }

// Section is a root of the state: versioned, digested and dumped like all
// others. A section that is empty counts as none.
func (s *Store) Section(name string) *Table {
	i, ok := findSection(s.sections, name)
	if ok {
		return s.sections[i].t
	}
	t := s.NewTable(0, 0)
	t.h.root, t.h.inState, t.h.key, t.h.kh = true, true, stringKey(name), stringKey(name).hash()
	s.sections = slices.Insert(slices.Clone(s.sections), i, section{name, t})
	s.changed = true
	return t
}

func findSection(l []section, name string) (int, bool) {
	for i := range l {
		if l[i].name >= name {
			return i, l[i].name == name
		}
	}
	return len(l), false
}

// Digest is that of the state after the last Commit or Rollback.
func (s *Store) Digest() Digest { return s.digest.digest() }

// Begin starts a call. Calls nest: all that was committed within an outer
// transaction goes when that is rolled back, which makes a dry run.
func (s *Store) Begin() {
	if s.released.Load() || s.sweep > 0 {
		s.tidy()
	}
	s.frames = append(s.frames, frame{log: len(s.log), saved: len(s.saved), seq: s.seq, digest: s.digest})
	s.seqs++
	s.seq = s.seqs
}

// InCall says whether a transaction is open.
func (s *Store) InCall() bool { return len(s.frames) > 0 }

// Commit ends a call and keeps what it wrote. It looks at what the call wrote
// only and adds to Work what it did. An error is a *TreeError or that of Fresh;
// the caller then calls Rollback.
func (s *Store) Commit() error {
	f := &s.frames[len(s.frames)-1]
	if err := s.settle(f); err != nil {
		return err
	}
	if s.observer != nil && len(s.frames) == 1 {
		s.observe()
	}
	s.end(f)
	return nil
}

// end closes the innermost transaction f.
func (s *Store) end(f *frame) {
	if len(s.frames) == 1 {
		s.log, s.saved = dropAll(s.log), dropAll(s.saved)
	}
	s.seq = f.seq
	s.frames = s.frames[:len(s.frames)-1]
}

// dropAll empties a list for the next call. What one huge call made of it isn't kept.
func dropAll[T any](l []T) []T {
	const keepMax = 1024
	if cap(l) > keepMax {
		return nil
	}
	clear(l)
	return l[:0]
}

// Rollback ends a call and undoes what it wrote.
func (s *Store) Rollback() {
	f := &s.frames[len(s.frames)-1]
	slots, work, moves := s.Slots, s.Work, s.Moves
	for i := len(s.log) - 1; i >= f.log; i-- {
		s.undo(&s.log[i])
	}
	for i := len(s.saved) - 1; i >= f.saved; i-- {
		s.saved[i].t.h = s.saved[i].h
	}
	clear(s.log[f.log:])
	clear(s.saved[f.saved:])
	s.log, s.saved = s.log[:f.log], s.saved[:f.saved]
	s.digest = f.digest
	s.Slots, s.Work, s.Moves = slots, work, moves
	s.end(f)
}

func (s *Store) undo(e *entry) {
	t := e.t
	switch e.op {
	case opSet:
		t.set(e.key, e.key.index(), e.old)
	case opInsert:
		c := t.mut()
		for c.arr.n > e.at+1 { // what the insert brought from the map
			k := indexKey(c.arr.n)
			s.mapSet(c, k, s.arrayPop(&c.arr))
		}
		s.arrayRemove(&c.arr, e.key.index())
	case opRemove:
		s.arrayInsert(&t.mut().arr, e.key.index(), e.old)
	}
}

// touch saves the header of a table before the transaction changes it.
func (s *Store) touch(t *Table) {
	if t.seq != s.seq {
		t.seq = s.seq
		s.saved = append(s.saved, savedHeader{t, t.h})
	}
}
