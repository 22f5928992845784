package state

import (
	"errors"
	"sync/atomic"

	"github.com/syncsh/syncsh/internal/mutant"
	lua "github.com/yuin/gopher-lua"
)

// Metatable is the metatable of the userdata of tables made after it is set. The
// machine sets it once, before the first table is made.
var Metatable lua.LValue = lua.LNil

var (
	// ErrNilKey is returned when a value is assigned to the key nil.
	ErrNilKey = errors.New("table index is nil")
	// ErrNaNKey is returned when a value is assigned to the key NaN.
	ErrNaNKey = errors.New("table index is NaN")
	// ErrFrozen is returned by writes to a table that Freeze was called on.
	ErrFrozen = errors.New("tables of the script can't be changed by methods; keep data in self")
	// ErrKey is returned when a key of a table in the state is no boolean, number
	// or string.
	ErrKey = errors.New("keys of replicated tables are strings, numbers and booleans")
	// ErrMetatable is returned when a table in the state is given a metatable.
	ErrMetatable = errors.New("tables with a metatable can't be replicated")
	// ErrNoCall is returned by writes to a table in the state outside of
	// Begin and Commit.
	ErrNoCall = errors.New("replicated state can't be changed here")
	// ErrNext is returned by Next for a key that was never in the table.
	ErrNext = errors.New("invalid key to 'next'")
	// ErrPosition is returned by Insert and Remove outside of the sequence.
	ErrPosition = errors.New("position out of bounds")
)

// Table is a table as scripts see it. Readers with a version use nothing of it
// but cur and ud; all else is the writer's.
type Table struct {
	ud    lua.LUserData
	store *Store
	cur   atomic.Pointer[content]
	h     header
	meta  *Table
	refs  *refs

	seq      uint64 // the transaction that saved h last
	mark     uint64 // the tree check that gave it node last
	node     int32
	frozen   bool
	shadowed bool // listed in Store.shadow
	forked   bool // see fork: values are handed out by out
}

// header is what a table knows of its place in the state. The tree of headers is
// right after each Commit; within a call, sum follows the values that aren't
// tables, and the rest waits for the next Commit.
type header struct {
	parent  *Table
	sum     u128   // of the contributions of all entries
	contrib u128   // what parent's sum has of this table
	key     key    // under which parent has it; of a section, its name
	kh      uint64 // hash of key, which may be long
	kids    heights
	inState bool
	root    bool // a section
}

// refs orders keys that have no order of their own. A removed key keeps its
// place until the table is gone, which is soon: it is never in a state.
type refs struct {
	place map[lua.LValue]int
	list  []lua.LValue
}

// NewTable makes a table that is in no state yet. The hints are counts of
// values to make room for; they are not trusted.
func (s *Store) NewTable(arrayHint, hashHint int) *Table {
	const hintMax = 64
	t := &Table{store: s}
	t.ud.Value, t.ud.Metatable = t, Metatable
	c := &content{epoch: s.epoch}
	if arrayHint > 0 {
		c.arr.head = make([]lua.LValue, 0, min(arrayHint, hintMax))
	}
	if hashHint > 0 {
		c.small = make([]item, 0, min(hashHint, smallMax))
	}
	t.cur.Store(c)
	return t
}

// UserData is the table as a Lua value: always the same pointer.
func (t *Table) UserData() *lua.LUserData { return &t.ud }

// TableOf returns the table that v is.
func TableOf(v lua.LValue) (*Table, bool) {
	ud, ok := v.(*lua.LUserData)
	if !ok {
		return nil, false
	}
	t, ok := ud.Value.(*Table)
	return t, ok
}

// Store is the one that made the table.
func (t *Table) Store() *Store { return t.store }

// InState says whether the table was in the state after the last Commit.
func (t *Table) InState() bool { return t.h.inState }

// Frozen says whether Freeze was called.
func (t *Table) Frozen() bool { return t.frozen }

// Freeze makes the table, and all tables in it, refuse writes for ever. Tables
// in the state are left as they are.
func (t *Table) Freeze() {
	todo := []*Table{t}
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if t.frozen || t.h.inState {
			continue
		}
		t.frozen = true
		if t.meta != nil {
			todo = append(todo, t.meta)
		}
		t.Each(nil, func(k, v lua.LValue) bool {
			for _, v := range [2]lua.LValue{k, v} {
				if c, ok := TableOf(v); ok {
					todo = append(todo, c)
				}
			}
			return true
		})
	}
}

// Metatable is what SetMetatable set, nil if nothing.
func (t *Table) Metatable() *Table { return t.meta }

// SetMetatable sets or, with nil, removes the metatable that scripts see.
func (t *Table) SetMetatable(m *Table) error {
	switch {
	case t.frozen:
		return ErrFrozen
	case t.h.inState && m != nil:
		return ErrMetatable
	}
	t.meta = m
	return nil
}

// keyOf makes a key of a Lua value; i is its index when it can be one. For a
// table, function or thread that has no place in t yet, n is 0.
func (t *Table) keyOf(v lua.LValue) (k key, i int, err error) {
	switch v := v.(type) {
	case lua.LString:
		return stringKey(string(v)), 0, nil
	case lua.LNumber:
		f := float64(v)
		if f != f {
			return key{}, 0, ErrNaNKey
		}
		return numberKey(f), floatIndex(f), nil
	case lua.LBool:
		return boolKey(bool(v)), 0, nil
	case nil, *lua.LNilType:
		return key{}, 0, ErrNilKey
	}
	if t.refs != nil {
		if i, ok := t.refs.place[v]; ok {
			return key{n: keyRefMin + uint64(i)}, 0, nil
		}
	}
	return key{}, 0, nil
}

// refWork is what the place of a key without an order of its own costs in
// Store.Work: a map has it, and it is never given back.
const refWork = 16

// newRef gives v a place in the order of insertion.
func (t *Table) newRef(v lua.LValue) key {
	if t.refs == nil {
		t.refs = &refs{place: make(map[lua.LValue]int)}
	}
	i := len(t.refs.list)
	t.refs.place[v] = i
	t.refs.list = append(t.refs.list, v)
	t.store.Work += refWork
	return key{n: keyRefMin + uint64(i)}
}

// luaKey is the key as Lua has it.
func (t *Table) luaKey(k key) lua.LValue {
	if k.isRef() {
		return t.refs.list[k.n-keyRefMin]
	}
	return k.value()
}

// Get returns the value at k, LNil if there is none.
func (t *Table) Get(v *Version, k lua.LValue) lua.LValue {
	kk, i, err := t.keyOf(k)
	if err != nil {
		return lua.LNil
	}
	return t.out(kk, orNil(t.at(v).get(kk, i)))
}

// GetIndex is Get of a number.
func (t *Table) GetIndex(v *Version, i int) lua.LValue {
	k := numberKey(float64(i))
	return t.out(k, orNil(t.at(v).get(k, i)))
}

// GetString is Get of a string.
func (t *Table) GetString(v *Version, s string) lua.LValue {
	k := stringKey(s)
	return t.out(k, orNil(t.at(v).get(k, 0)))
}

func orNil(v lua.LValue) lua.LValue {
	if v == nil {
		return lua.LNil
	}
	return v
}

// Set assigns v to k; nil removes. Functions and the like are refused by Commit,
// not here, if they are then still there. It counts a created entry in
// Store.Slots and moved ones in Store.Work.
func (t *Table) Set(k, v lua.LValue) error {
	if t.frozen {
		return ErrFrozen
	}
	kk, i, err := t.keyOf(k)
	if err != nil {
		return err
	}
	if kk.n == 0 || kk.isRef() {
		if t.h.inState {
			return ErrKey
		}
		if kk.n == 0 {
			if v == nil || v == lua.LNil {
				return nil
			}
			kk = t.newRef(k)
		}
	}
	return t.assign(kk, i, v)
}

// SetIndex is Set of a number.
func (t *Table) SetIndex(i int, v lua.LValue) error {
	if t.frozen {
		return ErrFrozen
	}
	return t.assign(numberKey(float64(i)), i, v)
}

// SetString is Set of a string.
func (t *Table) SetString(k string, v lua.LValue) error {
	if t.frozen {
		return ErrFrozen
	}
	return t.assign(stringKey(k), 0, v)
}

// stored is v as tables hold it: nil for LNil, numbers canonical.
func stored(v lua.LValue) lua.LValue {
	switch v := v.(type) {
	case lua.LNumber:
		return number(float64(v))
	case *lua.LNilType:
		return nil
	}
	return v
}

// Moves is how many entries Set would move between the sequence and the map to
// keep the sequence maximal, up to most: those of a large table take long, and a
// caller with a budget asks before. What a Rollback moves back counts as well.
func (t *Table) Moves(k, v lua.LValue, most int) int {
	f, ok := k.(lua.LNumber)
	if !ok {
		return 0
	}
	n := t.at(nil).moves(floatIndex(float64(f)), v == nil || v == lua.LNil, most)
	if t.h.inState {
		n *= 2
	}
	return n
}

func (t *Table) assign(k key, i int, v lua.LValue) error {
	if i < 0 {
		i = 0
	}
	v = stored(v)
	s := t.store
	s.Bytes += longBytes(v) + uint64(len(k.s)&^(longMin-1))
	if !t.h.inState {
		if t.set(k, i, v) == nil && v != nil {
			s.Slots++
		}
		return nil
	}
	if len(s.frames) == 0 {
		return ErrNoCall
	}
	moved := s.Moves
	old := t.out(k, t.set(k, i, v)) // finds k once, and leaves the header as it is for touch
	s.Moves += s.Moves - moved
	s.Bytes += longBytes(old)
	if old == v {
		return nil
	}
	s.touch(t)
	kh := k.hash()
	if !(mutant.On(mutant.DigestSkipped) && v == nil) {
		t.h.sum = t.h.sum.sub(scalar(kh, old)).add(scalar(kh, v))
	}
	s.log = append(s.log, entry{op: opSet, t: t, key: k, old: old, new: v})
	if old == nil {
		s.Slots++
	}
	return nil
}

// longMin is the length from which on strings are counted in Store.Bytes: what a
// shorter one takes is paid with its slot.
const longMin = 64

func longBytes(v lua.LValue) uint64 {
	if s, ok := v.(lua.LString); ok && len(s) >= longMin {
		return uint64(len(s))
	}
	return 0
}

// Insert puts v at pos of the sequence, 1 <= pos <= n+1, and moves up what was
// there, counting it in Store.Work.
func (t *Table) Insert(pos int, v lua.LValue) error {
	n := t.Len(nil)
	switch {
	case t.frozen:
		return ErrFrozen
	case pos < 1 || pos > n+1:
		return ErrPosition
	case pos == n+1:
		return t.SetIndex(pos, v)
	}
	s := t.store
	v = stored(v)
	if v == nil { // as in Lua: the others move, and a hole is left
		if err := t.Insert(pos, lua.LFalse); err != nil {
			return err
		}
		return t.SetIndex(pos, nil)
	}
	s.Slots++
	s.Bytes += longBytes(v)
	s.Work += uint64(n - pos + 1)
	if t.h.inState {
		if len(s.frames) == 0 {
			return ErrNoCall
		}
		s.touch(t)
		t.h.sum = t.h.sum.add(t.shifted(pos, 1)).add(scalar(indexKey(pos).hash(), v))
		s.log = append(s.log, entry{op: opInsert, t: t, key: indexKey(pos), at: n, new: v})
	}
	c := t.mut()
	s.arrayInsert(&c.arr, pos, v)
	last := c.arr.get(n + 1)
	s.arrayPop(&c.arr)
	t.set(indexKey(n+1), n+1, last) // brings what follows in the map
	return nil
}

// Remove takes the value at pos of the sequence, 1 <= pos <= n, and moves down
// what followed, counting it in Store.Work.
func (t *Table) Remove(pos int) (lua.LValue, error) {
	n := t.Len(nil)
	switch {
	case t.frozen:
		return lua.LNil, ErrFrozen
	case pos < 1 || pos > n:
		return lua.LNil, ErrPosition
	case pos == n:
		v := t.GetIndex(nil, n)
		return v, t.SetIndex(n, nil)
	}
	s := t.store
	s.Work += uint64(n - pos)
	v := t.GetIndex(nil, pos)
	if t.h.inState {
		if len(s.frames) == 0 {
			return lua.LNil, ErrNoCall
		}
		s.touch(t)
		t.h.sum = t.h.sum.sub(scalar(indexKey(pos).hash(), v)).add(t.shifted(pos+1, -1))
		s.log = append(s.log, entry{op: opRemove, t: t, key: indexKey(pos), at: n, old: v})
	}
	s.arrayRemove(&t.mut().arr, pos)
	return v, nil
}

// shifted is what the sum gains when the values of the sequence from pos on, but
// for tables, move by so many places.
func (t *Table) shifted(pos, by int) (sum u128) {
	a := &t.at(nil).arr
	for i := pos; i <= a.n; i++ {
		sum = sum.add(rehashed(indexKey(i).hash(), indexKey(i+by).hash(), a.get(i)))
	}
	return sum
}

// Rehash is how many bytes of strings an Insert or a Remove at pos hashes, as all
// that moves in the state is counted under another key, and rehashBytes more for
// each string: a caller with a budget asks before.
func (t *Table) Rehash(pos int) (n uint64) {
	if !t.h.inState {
		return 0
	}
	a := &t.at(nil).arr
	for i := max(pos, 1); i <= a.n; i++ {
		if s, ok := a.get(i).(lua.LString); ok {
			n += rehashBytes + uint64(len(s))
		}
	}
	return n
}

// rehashBytes is what it takes to come to the bytes of a string, in bytes hashed.
const rehashBytes = 64

// Len is the length of the sequence: the largest n with 1..n all there.
func (t *Table) Len(v *Version) int { return t.at(v).arr.n }

// Count is the number of entries.
func (t *Table) Count(v *Version) int {
	c := t.at(v)
	return c.arr.n + c.count
}
