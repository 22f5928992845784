package state

import lua "github.com/yuin/gopher-lua"

// A fork is a store whose state begins as that of a version and goes its own way:
// what is tried out on it nobody else sees, and no writer waits for it. Only what
// is looked at costs something. Contents stay those of the version until they are
// written to; a table of the version becomes one of the fork's own when it is
// reached from above.
//
// The header of a table is its writer's, so a fork makes its own: place and
// nesting are right as far as it was looked at, the digest means nothing.
type fork struct {
	view *Version
	made map[*Table]*Table // of the tables of the version
}

// Fork returns a store with the state of v, and the version that its tables are
// read with. The caller holds v for as long as it uses either. Nothing is to be
// published of the store.
func (v *Version) Fork() (*Store, *Version) {
	// Publish leaves the epoch behind that of a version to its forks: what they
	// make is newer than all that v has and older than all that the writer makes,
	// so that one view shows the tables of both.
	s := &Store{epoch: v.epoch + 1, live: v.epoch, changed: true}
	s.fork = &fork{made: map[*Table]*Table{}}
	s.fork.view = &Version{store: s, epoch: s.epoch, fork: s.fork}
	for _, sec := range v.sections {
		t := s.reach(sec.t, nil, stringKey(sec.name))
		t.h.root = true
		s.sections = append(s.sections, section{sec.name, t})
	}
	return s, s.fork.view
}

// reach is the fork's own of a table of the version that sits at k of up, which
// is nil for a section.
func (s *Store) reach(t, up *Table, k key) *Table {
	if own := s.fork.made[t]; own != nil {
		return own
	}
	own := &Table{store: s, forked: true}
	own.ud.Value, own.ud.Metatable = own, Metatable
	own.cur.Store(t.at(s.fork.view))
	own.h = header{parent: up, key: k, kh: k.hash(), inState: true}
	s.fork.made[t] = own
	if up != nil {
		s.countKid(up, 1, 1)
	}
	return own
}

// out is the value at k of t as it is handed out.
func (t *Table) out(k key, v lua.LValue) lua.LValue {
	if !t.forked {
		return v
	}
	return t.reached(k, v)
}

func (t *Table) reached(k key, v lua.LValue) lua.LValue {
	if sub, ok := TableOf(v); ok && sub.store != t.store {
		return &t.store.reach(sub, t, k).ud
	}
	return v
}

// tableIn is the table that v is; in a fork one that was reached, nil for others.
func (s *Store) tableIn(v lua.LValue) *Table {
	t, ok := TableOf(v)
	if ok && s.fork != nil && t.store != s {
		return s.fork.made[t]
	}
	return t
}
