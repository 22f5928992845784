package state

import (
	"encoding/binary"
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
	// What search looks at instead of the items, each of which is a cache line and
	// its string another one. skip bytes are the same in all keys, which then are
	// strings, and heads has the eight bytes behind them, padded with zeros; skip
	// -1 says that heads has key.n. Keys of one order have heads of that order.
	skip  int
	heads [nodeMax]uint64
}

// search finds the position of k in a sorted slice, or where it would be.
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

// search finds the position of k among the items of n, or where it would be.
func (n *node) search(k key) (int, bool) {
	h, ok := n.head(k)
	if !ok {
		return n.outside(k), false
	}
	lo, hi := 0, len(n.items)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if n.heads[m] < h {
			lo = m + 1
		} else {
			hi = m
		}
	}
	end := lo
	for end < len(n.items) && n.heads[end] == h {
		end++
	}
	if lo < end {
		i, ok := search(n.items[lo:end], k)
		if lo += i; ok {
			return lo, true
		}
	}
	if n.skip > 0 && len(n.items) > 0 && !n.shares(k, min(lo, len(n.items)-1)) {
		return n.outside(k), false
	}
	return lo, false
}

// head is what heads would have for k; false if k can't share the first skip
// bytes.
func (n *node) head(k key) (uint64, bool) {
	if n.skip < 0 {
		return k.n, true
	}
	if !k.isString() || len(k.s) < n.skip {
		return 0, false
	}
	return eightBytes(k.s[n.skip:]), true
}

// shares says whether k, a string of at least skip bytes, begins as item i does.
func (n *node) shares(k key, i int) bool {
	return n.items[i].key.s[:n.skip] == k.s[:n.skip]
}

// outside is the position of a key that doesn't share the first bytes of the
// others: before or behind all.
func (n *node) outside(k key) int {
	if len(n.items) == 0 || k.less(n.items[0].key) {
		return 0
	}
	return len(n.items)
}

// eightBytes are the first bytes of s as a number that sorts as they do.
func eightBytes(s string) uint64 {
	if len(s) >= 8 {
		return binary.BigEndian.Uint64([]byte(s[:8]))
	}
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

// index computes skip and heads anew.
func (n *node) index() {
	n.skip = -1
	if len(n.items) == 0 {
		return
	}
	first, last := n.items[0].key, n.items[len(n.items)-1].key
	if first.isString() && last.isString() { // and so are those between
		n.skip = 0
		for n.skip < min(len(first.s), len(last.s)) && first.s[n.skip] == last.s[n.skip] {
			n.skip++
		}
	}
	for i := range n.items {
		n.heads[i], _ = n.head(n.items[i].key)
	}
}

// put inserts an item at position i.
func (n *node) put(i int, it item) {
	n.items = slices.Insert(n.items, i, it)
	copy(n.heads[i+1:len(n.items)], n.heads[i:])
	n.rehead(i)
}

// replace puts another item at position i and returns the one before.
func (n *node) replace(i int, it item) item {
	old := n.items[i]
	n.items[i] = it
	n.rehead(i)
	return old
}

// rehead gives the new item i its head.
func (n *node) rehead(i int) {
	h, ok := n.head(n.items[i].key)
	neighbour := i + 1
	if neighbour == len(n.items) {
		neighbour = i - 1
	}
	if !ok || neighbour < 0 || n.skip > 0 && !n.shares(n.items[i].key, neighbour) {
		n.index()
		return
	}
	n.heads[i] = h
}

// take removes item i.
func (n *node) take(i int) item {
	it := n.items[i]
	copy(n.heads[i:], n.heads[i+1:len(n.items)])
	n.items = slices.Delete(n.items, i, i+1)
	return it
}

func (n *node) get(k key) lua.LValue {
	for {
		i, ok := n.search(k)
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
		i, ok := n.search(k)
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
	n := &node{epoch: s.epoch, items: make([]item, 0, nodeMax), skip: -1}
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
	c.skip, c.heads = n.skip, n.heads
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
	left.index()
	right.index()
	n.put(i, mid)
	n.kids = slices.Insert(n.kids, i+1, right)
}

// insert sets k in the tree under n, which is owned and not full, and returns
// the value that was there.
func (s *Store) insert(n *node, k key, v lua.LValue) lua.LValue {
	for {
		i, ok := n.search(k)
		if ok {
			old := n.items[i].val
			n.items[i].val = v
			return old
		}
		if n.kids == nil {
			n.put(i, item{k, v})
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
		i, ok := n.search(k)
		if n.kids == nil {
			if !ok {
				panic("state: remove of an absent key")
			}
			return n.take(i)
		}
		if len(n.kids[i].items) <= nodeMin {
			s.fill(n, i)
			continue
		}
		kid := s.ownKid(n, i)
		if ok {
			return n.replace(i, s.removeLast(kid))
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
	return n.take(len(n.items) - 1)
}

// fill gives the kid i of n an item more than the minimum: from a neighbour that
// has one to spare, or by joining the two.
func (s *Store) fill(n *node, i int) {
	switch {
	case i > 0 && len(n.kids[i-1].items) > nodeMin:
		left, kid := s.ownKid(n, i-1), s.ownKid(n, i)
		kid.put(0, n.replace(i-1, left.take(len(left.items)-1)))
		if last := len(left.kids) - 1; last >= 0 {
			kid.kids = slices.Insert(kid.kids, 0, left.kids[last])
			left.kids = slices.Delete(left.kids, last, last+1)
		}
	case i < len(n.items) && len(n.kids[i+1].items) > nodeMin:
		kid, right := s.ownKid(n, i), s.ownKid(n, i+1)
		kid.put(len(kid.items), n.replace(i, right.take(0)))
		if right.kids != nil {
			kid.kids = append(kid.kids, right.kids[0])
			right.kids = slices.Delete(right.kids, 0, 1)
		}
	default:
		if i == len(n.items) {
			i--
		}
		kid, right := s.ownKid(n, i), n.kids[i+1]
		kid.items = append(append(kid.items, n.take(i)), right.items...)
		kid.kids = append(kid.kids, right.kids...)
		kid.index()
		n.kids = slices.Delete(n.kids, i+1, i+2)
	}
}
