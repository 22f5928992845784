package state

import lua "github.com/yuin/gopher-lua"

// Observer is told what commits change in the section of objects. It is the
// writer's, and must not write.
type Observer interface {
	// Wants says whether anything of an object is to be told.
	Wants(object string) bool
	// Changed tells of one place that has another value than before the call, nil
	// if none any more. The path begins with the object's name and is valid until
	// Changed returns. A table whose content changed is told of place by place, but
	// one in which an Insert or Remove moved values is told of as a whole. Places
	// within a place that is told are left out.
	Changed(path []lua.LValue, value lua.LValue)
}

// Observe has o told of all commits from now on; nil ends it. Commits within an
// outer transaction, a dry run, are not told of.
func (s *Store) Observe(o Observer) { s.observer = o }

// slot is where a value sits.
type slot struct {
	t *Table
	k key
}

// written is a slot that a call wrote to.
type written struct {
	slot
	old   lua.LValue // before the call
	moved bool       // it has a table in which values moved
	told  bool       // it is a place of its own
}

// changes is the working space of one observation, kept for the next.
type changes struct {
	list []written
	at   map[slot]int // of list
	path []lua.LValue
}

// observe tells the observer what the outermost transaction, whose headers are
// settled, has changed.
func (s *Store) observe() {
	c := &s.changes
	objects := s.Root()
	for i := range s.log {
		e := &s.log[i]
		name, ok := objectOf(objects, e.t)
		if e.t == objects {
			name, ok = e.key.s, true
		}
		if !ok || !s.observer.Wants(name) {
			continue
		}
		if e.op == opSet {
			c.add(slot{e.t, e.key}, e.old, false)
		} else if e.t != objects {
			c.add(slot{e.t.h.parent, e.t.h.key}, &e.t.ud, true)
		}
	}
	if len(c.list) == 0 {
		return
	}
	for i := range c.list {
		w := &c.list[i]
		w.told = w.moved || w.t.out(w.k, w.t.at(nil).get(w.k, w.k.index())) != w.old
	}
	for i := range c.list {
		if w := &c.list[i]; w.told && !c.covered(w.t) {
			s.observer.Changed(c.pathTo(objects, w), orNil(w.t.at(nil).get(w.k, w.k.index())))
		}
	}
	const keepMax = 1024
	if len(c.list) > keepMax {
		*c = changes{}
		return
	}
	clear(c.list)
	clear(c.at)
	c.list = c.list[:0]
}

// objectOf is the name of the object that t belongs to.
func objectOf(objects, t *Table) (string, bool) {
	for t.h.parent != nil {
		if t.h.parent == objects {
			return t.h.key.s, true
		}
		t = t.h.parent
	}
	return "", false // another section, or taken out of the state by this call
}

func (c *changes) add(at slot, old lua.LValue, moved bool) {
	if i, ok := c.at[at]; ok {
		c.list[i].moved = c.list[i].moved || moved
		return
	}
	if c.at == nil {
		c.at = map[slot]int{}
	}
	c.at[at] = len(c.list)
	c.list = append(c.list, written{slot: at, old: old, moved: moved})
}

// covered says whether t lies in a place that is told.
func (c *changes) covered(t *Table) bool {
	for ; t.h.parent != nil; t = t.h.parent {
		if i, ok := c.at[slot{t.h.parent, t.h.key}]; ok && c.list[i].told {
			return true
		}
	}
	return false
}

// pathTo is the path of a slot, from the object's name down.
func (c *changes) pathTo(objects *Table, w *written) []lua.LValue {
	n := 1
	for t := w.t; t != objects; t = t.h.parent {
		n++
	}
	clear(c.path)
	c.path = c.path[:0]
	for range n {
		c.path = append(c.path, nil)
	}
	c.path[n-1] = w.k.value()
	for t := w.t; t != objects; t = t.h.parent {
		n--
		c.path[n-1] = t.h.key.value()
	}
	return c.path
}
