package state

import lua "github.com/yuin/gopher-lua"

// Next returns the entry after k in canonical order, the first for nil; ok is
// false after the last. k may just have been removed: when it was in the
// sequence, what is left of the sequence has moved among the numbers, and all
// entries are visited once. Only if entries before k are removed, k itself is
// not, and both were in the sequence, booleans and smaller numbers may be
// missed; Iter has no such case.
func (t *Table) Next(view *Version, k lua.LValue) (key, value lua.LValue, ok bool, err error) {
	c := t.at(view)
	after, i := noKey, 0
	if k != nil && k != lua.LNil {
		if after, i, err = t.keyOf(k); err != nil || after.n == 0 {
			return nil, nil, false, ErrNext
		}
	}
	if after == noKey || i > 0 && i <= c.arr.n {
		if i < c.arr.n {
			return number(float64(i + 1)), t.out(indexKey(i+1), c.arr.get(i+1)), true, nil
		}
		after = noKey
	} else if i == c.arr.n+1 { // the end of the sequence was removed
		after = noKey
	}
	if it := c.mapAfter(after); it != nil {
		return t.luaKey(it.key), t.out(it.key, it.val), true, nil
	}
	return lua.LNil, lua.LNil, false, nil
}

// noKey sorts before all keys.
var noKey key

// Iter visits the entries of a table in the order that is canonical when it
// starts: the sequence first. Whatever is assigned or removed meanwhile, an
// entry that stays is visited once; one that is added is visited if it sorts
// later, a key that extends the sequence sorting among the numbers.
type Iter struct {
	t    *Table
	view *Version
	n    int // length of the sequence at the start
	i    int // last index visited
	last key // last key visited after the sequence
}

// Iter starts a traversal.
func (t *Table) Iter(view *Version) Iter { return Iter{t: t, view: view, n: t.Len(view)} }

// Next returns the next entry; ok is false after the last.
func (it *Iter) Next() (k, v lua.LValue, ok bool) {
	c := it.t.at(it.view)
	for it.i < it.n {
		it.i++
		if v := c.get(indexKey(it.i), it.i); v != nil {
			return number(float64(it.i)), it.t.out(indexKey(it.i), v), true
		}
	}
	for {
		m := c.mapAfter(it.last)
		j := it.n + 1 // of the sequence as it is now, the next index that wasn't in it
		if it.last.n >= indexKey(j).n {
			if j = c.arr.n + 1; it.last.n < indexKey(j).n {
				j = int(it.last.number()) + 1
			}
		}
		if j <= c.arr.n && (m == nil || indexKey(j).less(m.key)) {
			it.last = indexKey(j)
			return number(float64(j)), it.t.out(it.last, c.arr.get(j)), true
		}
		if m == nil {
			return lua.LNil, lua.LNil, false
		}
		it.last = m.key
		if i := m.key.index(); i == 0 || i > it.n {
			return it.t.luaKey(m.key), it.t.out(m.key, m.val), true
		}
	}
}

// Each calls yield for every entry in canonical order until it says false. The
// table isn't to be changed meanwhile.
func (t *Table) Each(view *Version, yield func(k, v lua.LValue) bool) {
	c := t.at(view)
	for i := 1; i <= c.arr.n; i++ {
		if !yield(number(float64(i)), t.out(indexKey(i), c.arr.get(i))) {
			return
		}
	}
	c.mapEach(func(it *item) bool { return yield(t.luaKey(it.key), t.out(it.key, it.val)) })
}
