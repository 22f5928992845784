package state

import (
	"slices"

	lua "github.com/yuin/gopher-lua"
)

type item struct {
	key key
	val lua.LValue
}

// Sizes of the map part. A map of up to smallMax items is one sorted slice.
const (
	smallMax = 16
	nodeMax  = 32 // 32 items of 40 bytes fill an allocation class exactly
	nodeMin  = nodeMax/2 - 1
)

// node of the tree that holds a larger map part: a B-tree with items in inner
// nodes too. epoch is that in which it was made: a node not newer than the
// newest version held is never changed but copied.
type node struct {
	epoch uint64
	items []item
	kids  []*node // none in a leaf; else one more than items
}

// search finds the position of k, or where it would be.
func search(items []item, k key) (int, bool) {
	lo, hi := 0, len(items)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		it := &items[m].key
		if it.n < k.n || it.n == k.n && it.s < k.s {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, lo < len(items) && items[lo].key == k
}

func (n *node) get(k key) lua.LValue {
	for {
		i, ok := search(n.items, k)
		if ok {
			return n.items[i].val
		}
		if n.kids == nil {
			return nil
		}
		n = n.kids[i]
	}
}

// after finds the first item whose key is greater than k.
func (n *node) after(k key) (found *item) {
	for {
		i, ok := search(n.items, k)
		if ok {
			i++
		}
		if i < len(n.items) {
			found = &n.items[i]
		}
		if n.kids == nil {
			return found
		}
		n = n.kids[i]
	}
}

// each visits all items in order until yield says false.
func (n *node) each(yield func(*item) bool) bool {
	for i := range n.items {
		if n.kids != nil && !n.kids[i].each(yield) {
			return false
		}
		if !yield(&n.items[i]) {
			return false
		}
	}
	return n.kids == nil || n.kids[len(n.items)].each(yield)
}

func (s *Store) newNode(inner bool) *node {
	n := &node{epoch: s.epoch, items: make([]item, 0, nodeMax)}
	if inner {
		n.kids = make([]*node, 0, nodeMax+1)
	}
	return n
}

// own returns n if the writer may change it, else a copy.
func (s *Store) own(n *node) *node {
	if n.epoch > s.live {
		return n
	}
	c := s.newNode(n.kids != nil)
	c.items = append(c.items, n.items...)
	c.kids = append(c.kids, n.kids...)
	return c
}

func (s *Store) ownKid(n *node, i int) *node {
	k := s.own(n.kids[i])
	n.kids[i] = k
	return k
}

// split divides the full kid i of n. A kid that is being filled in ascending
// order keeps all but its last items, so that such maps are dense.
func (s *Store) split(n *node, i int, k key) {
	left := s.ownKid(n, i)
	at := nodeMax / 2
	if i == len(n.items) && left.items[nodeMax-1].key.less(k) {
		at = nodeMax - 2
	}
	right := s.newNode(left.kids != nil)
	mid := left.items[at]
	right.items = append(right.items, left.items[at+1:]...)
	clear(left.items[at:])
	left.items = left.items[:at]
	if left.kids != nil {
		right.kids = append(right.kids, left.kids[at+1:]...)
		clear(left.kids[at+1:])
		left.kids = left.kids[:at+1]
	}
	n.items = slices.Insert(n.items, i, mid)
	n.kids = slices.Insert(n.kids, i+1, right)
}

// insert sets k in the tree under n, which is owned and not full, and returns
// the value that was there.
func (s *Store) insert(n *node, k key, v lua.LValue) lua.LValue {
	for {
		i, ok := search(n.items, k)
		if ok {
			old := n.items[i].val
			n.items[i].val = v
			return old
		}
		if n.kids == nil {
			n.items = slices.Insert(n.items, i, item{k, v})
			return nil
		}
		if len(n.kids[i].items) == nodeMax {
			s.split(n, i, k)
			continue
		}
		n = s.ownKid(n, i)
	}
}

// remove takes k, which is there, from the tree under n, which is owned.
func (s *Store) remove(n *node, k key) item {
	for {
		i, ok := search(n.items, k)
		if n.kids == nil {
			if !ok {
				panic("state: remove of an absent key")
			}
			it := n.items[i]
			n.items = slices.Delete(n.items, i, i+1)
			return it
		}
		if len(n.kids[i].items) <= nodeMin {
			s.fill(n, i)
			continue
		}
		kid := s.ownKid(n, i)
		if ok {
			it := n.items[i]
			n.items[i] = s.removeLast(kid)
			return it
		}
		n = kid
	}
}

func (s *Store) removeLast(n *node) item {
	for n.kids != nil {
		if len(n.kids[len(n.kids)-1].items) <= nodeMin {
			s.fill(n, len(n.kids)-1)
			continue
		}
		n = s.ownKid(n, len(n.kids)-1)
	}
	it := n.items[len(n.items)-1]
	n.items[len(n.items)-1] = item{}
	n.items = n.items[:len(n.items)-1]
	return it
}

// fill gives the kid i of n an item more than the minimum: from a neighbour that
// has one to spare, or by joining the two.
func (s *Store) fill(n *node, i int) {
	switch {
	case i > 0 && len(n.kids[i-1].items) > nodeMin:
		left, kid := s.ownKid(n, i-1), s.ownKid(n, i)
		last := len(left.items) - 1
		kid.items = slices.Insert(kid.items, 0, n.items[i-1])
		n.items[i-1] = left.items[last]
		left.items[last] = item{}
		left.items = left.items[:last]
		if left.kids != nil {
			kid.kids = slices.Insert(kid.kids, 0, left.kids[last+1])
			left.kids[last+1] = nil
			left.kids = left.kids[:last+1]
		}
	case i < len(n.items) && len(n.kids[i+1].items) > nodeMin:
		kid, right := s.ownKid(n, i), s.ownKid(n, i+1)
		kid.items = append(kid.items, n.items[i])
		n.items[i] = right.items[0]
		right.items = slices.Delete(right.items, 0, 1)
		if right.kids != nil {
			kid.kids = append(kid.kids, right.kids[0])
			right.kids = slices.Delete(right.kids, 0, 1)
		}
	default:
		if i == len(n.items) {
			i--
		}
		kid, right := s.ownKid(n, i), n.kids[i+1]
		kid.items = append(append(kid.items, n.items[i]), right.items...)
		kid.kids = append(kid.kids, right.kids...)
		n.items = slices.Delete(n.items, i, i+1)
		n.kids = slices.Delete(n.kids, i+1, i+2)
	}
}
