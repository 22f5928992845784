package state

import "slices"

// heights counts the tables that sit in a table by their height; one without
// tables in it has height 1. So the nesting of the state is known exactly,
// whatever is moved about, and a limit on it holds equally on every replica.
type heights struct {
	low  [3]uint32 // of height 1, 2, 3
	deep *[]uint32 // see tall; nil: none. Behind a pointer because few tables have any
}

// tall are the counts of height 4 and more, none at its end zero; replaced,
// never changed in place, as headers are saved by value.
func (h *heights) tall() []uint32 {
	if h.deep == nil {
		return nil
	}
	return *h.deep
}

// top is the greatest height counted, 0 if none.
func (h *heights) top() int {
	if n := len(h.tall()); n > 0 {
		return n + len(h.low)
	}
	for i := len(h.low); i > 0; i-- {
		if h.low[i-1] > 0 {
			return i
		}
	}
	return 0
}

// count adds by, which is 1 or -1, to the tables of the given height.
func (h *heights) count(height, by int) {
	if height <= len(h.low) {
		h.low[height-1] += uint32(by)
		return
	}
	i := height - len(h.low) - 1
	d := slices.Clone(h.tall())
	for len(d) <= i {
		d = append(d, 0)
	}
	d[i] += uint32(by)
	for len(d) > 0 && d[len(d)-1] == 0 {
		d = d[:len(d)-1]
	}
	if h.deep = nil; len(d) > 0 {
		h.deep = &d
	}
}

// height of t: 1 without tables in it.
func (t *Table) height() int { return t.h.kids.top() + 1 }

// countKid tells t of a table of some height that comes (by 1) or goes (by -1),
// and those above t if that changes its height.
func (s *Store) countKid(t *Table, height, by int) {
	s.touch(t)
	before := t.height()
	t.h.kids.count(height, by)
	after := t.height()
	for before != after && t.h.parent != nil {
		t = t.h.parent
		s.touch(t)
		was := t.height()
		t.h.kids.count(before, -1)
		t.h.kids.count(after, 1)
		before, after = was, t.height()
	}
}
