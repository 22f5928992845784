package state

import (
	"slices"
	"sync/atomic"

	lua "github.com/yuin/gopher-lua"
)

// content is what a table holds in one or more epochs. Once a version may read
// it, only prev is changed.
type content struct {
	epoch uint64
	prev  atomic.Pointer[content] // an older content that a version still needs
	arr   array
	small []item // the map part, sorted, while root is nil
	root  *node
	count int // items of the map part
}

// at returns the content that v sees.
func (t *Table) at(v *Version) *content {
	c := t.cur.Load()
	if v != nil {
		if v.fork != nil {
			if own := v.fork.made[t]; own != nil { // what holds t was not written to
				return own.cur.Load()
			}
		}
		for c.epoch > v.epoch {
			p := c.prev.Load()
			if p == nil {
				return &noContent // made after v: a table that v can't reach
			}
			c = p
		}
	}
	return c
}

var noContent content

// mut returns the content for writing.
func (t *Table) mut() *content {
	c := t.cur.Load()
	s := t.store
	s.changed = true
	if c.epoch > s.live {
		return c
	}
	n := &content{epoch: s.epoch, small: slices.Clone(c.small), root: c.root, count: c.count}
	c.arr.copyTo(&n.arr)
	n.prev.Store(c)
	s.prune(n)
	t.cur.Store(n)
	if !t.shadowed {
		t.shadowed = true
		s.shadow = append(s.shadow, t)
	}
	return n
}

func (c *content) mapGet(k key) lua.LValue {
	if c.root != nil {
		return c.root.get(k)
	}
	if i, ok := search(c.small, k); ok {
		return c.small[i].val
	}
	return nil
}

// mapAfter finds the first item of the map whose key is greater than k.
func (c *content) mapAfter(k key) *item {
	if c.root != nil {
		return c.root.after(k)
	}
	i, ok := search(c.small, k)
	if ok {
		i++
	}
	if i < len(c.small) {
		return &c.small[i]
	}
	return nil
}

func (c *content) mapEach(yield func(*item) bool) {
	if c.root != nil {
		c.root.each(yield)
		return
	}
	for i := range c.small {
		if !yield(&c.small[i]) {
			return
		}
	}
}

// mapSet sets k in the map part, v nil removes it. It returns the old value.
func (s *Store) mapSet(c *content, k key, v lua.LValue) lua.LValue {
	if c.root != nil {
		return s.treeSet(c, k, v)
	}
	i, ok := search(c.small, k)
	if ok {
		old := c.small[i].val
		if v != nil {
			c.small[i].val = v
			return old
		}
		c.small = slices.Delete(c.small, i, i+1)
		if len(c.small) == 0 {
			c.small = nil
		}
		c.count--
		return old
	}
	if v == nil {
		return nil
	}
	c.count++
	if len(c.small) < smallMax {
		c.small = slices.Insert(c.small, i, item{k, v})
		return nil
	}
	c.root = s.newNode(false)
	c.root.items = append(c.root.items, c.small...)
	c.root.index()
	c.small = nil
	s.insert(c.root, k, v)
	return nil
}

func (s *Store) treeSet(c *content, k key, v lua.LValue) lua.LValue {
	if v == nil {
		if c.root.get(k) == nil {
			return nil
		}
		c.root = s.own(c.root)
		old := s.remove(c.root, k).val
		if len(c.root.items) == 0 && c.root.kids != nil {
			c.root = c.root.kids[0]
		}
		c.count--
		if c.count == smallMax/2 { // not at smallMax, lest a map that goes up and down by one be rebuilt each time
			small := make([]item, 0, smallMax)
			c.root.each(func(it *item) bool { small = append(small, *it); return true })
			c.root, c.small = nil, small
		}
		return old
	}
	c.root = s.own(c.root)
	if len(c.root.items) == nodeMax {
		up := s.newNode(true)
		up.kids = append(up.kids, c.root)
		c.root = up
		s.split(up, 0, k)
	}
	old := s.insert(c.root, k, v)
	if old == nil {
		c.count++
	}
	return old
}

// set sets k, which is index i if that isn't 0, keeps the sequence maximal, and
// returns the old value.
func (t *Table) set(k key, i int, v lua.LValue) lua.LValue {
	s, c := t.store, t.mut()
	switch {
	case i == 0 || i > c.arr.n+1:
		return s.mapSet(c, k, v)
	case i == c.arr.n+1:
		if v == nil {
			return nil
		}
		s.arrayPush(&c.arr, v)
		for c.count > 0 {
			v := s.mapSet(c, indexKey(c.arr.n+1), nil)
			if v == nil {
				break
			}
			s.arrayPush(&c.arr, v)
			s.Moves++
		}
		return nil
	case v != nil:
		return s.arraySet(&c.arr, i, v)
	}
	s.Moves += uint64(c.arr.n - i)
	for k := i + 1; k <= c.arr.n; k++ { // upwards: a tree that is filled so is dense
		s.mapSet(c, indexKey(k), c.arr.get(k))
	}
	for c.arr.n > i {
		s.arrayPop(&c.arr)
	}
	return s.arrayPop(&c.arr)
}

// moves is how many entries set would move for k, which is index i: those behind
// the place that is cleared go into the map, those behind one that is filled
// come out of it. The count ends at most.
func (c *content) moves(i int, clear bool, most int) int {
	switch {
	case i < 1 || i > c.arr.n+1:
		return 0
	case clear:
		return max(c.arr.n-i, 0)
	case i <= c.arr.n || c.count == 0:
		return 0
	}
	n := 0
	for n < most && c.mapGet(indexKey(i+1+n)) != nil {
		n++
	}
	return n
}

func (c *content) get(k key, i int) lua.LValue {
	if i > 0 && i <= c.arr.n {
		return c.arr.get(i)
	}
	if c.count == 0 {
		return nil
	}
	return c.mapGet(k)
}
