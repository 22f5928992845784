package state

import "sync/atomic"

// Version is the state as it was at one Publish. It is held until as many
// Releases as Retains, the one of Publish included.
type Version struct {
	store    *Store
	epoch    uint64
	digest   Digest
	sections []section
	fork     *fork // nil: no view of a fork
	refs     atomic.Int64
}

// Publish returns the present state as a version, retained for the caller. It
// takes the same short time whatever the size of the state. It isn't to be
// called between Begin and Commit.
func (s *Store) Publish() *Version {
	if len(s.frames) > 0 {
		panic("state: Publish within a call")
	}
	if n := len(s.versions); n > 0 && !s.changed && s.versions[n-1].tryRetain() {
		return s.versions[n-1]
	}
	s.tidy()
	v := &Version{store: s, epoch: s.epoch, digest: s.Digest(), sections: s.sections}
	v.refs.Store(1)
	s.versions = append(s.versions, v)
	s.live = s.epoch
	s.epoch += 2 // the one between is that of the version's forks
	s.changed = false
	return v
}

// tryRetain retains v unless it was released already.
func (v *Version) tryRetain() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Retain holds v once more; the caller holds it already.
func (v *Version) Retain() {
	if !v.tryRetain() {
		panic("state: Retain of a released version")
	}
}

// Release lets go of v. After the last, no table may be read with it.
func (v *Version) Release() {
	n := v.refs.Add(-1)
	if n < 0 {
		panic("state: Release of a released version")
	}
	if n == 0 {
		v.store.released.Store(true)
	}
}

// Digest of the state at v.
func (v *Version) Digest() Digest { return v.digest }

// Root is the table of objects at v; nil if there was none.
func (v *Version) Root() *Table { return v.Section(ObjectsSection) }

// Section is a root of the state at v; nil if it wasn't there.
func (v *Version) Section(name string) *Table {
	if i, ok := findSection(v.sections, name); ok {
		return v.sections[i].t
	}
	return nil
}

// Versions is how many are held.
func (s *Store) Versions() int {
	s.reap()
	return len(s.versions)
}

// reap forgets the versions that were released.
func (s *Store) reap() {
	if !s.released.Swap(false) {
		return
	}
	keep := s.versions[:0]
	for _, v := range s.versions {
		if v.refs.Load() > 0 {
			keep = append(keep, v)
		}
	}
	clear(s.versions[len(keep):])
	s.versions = keep
	s.live = 0
	if n := len(keep); n > 0 {
		s.live = keep[n-1].epoch
	}
	s.sweep = len(s.shadow)
}

// sweepStep is how many tables a Begin or Publish looks at after a version was
// released: more than a call writes on average, so the list shrinks; few
// enough to take a few microseconds.
const sweepStep = 32

func (s *Store) tidy() {
	s.reap()
	s.Sweep(sweepStep)
}

// Sweep drops the contents that released versions have left in up to max
// tables, and says whether more are left to look at. Begin does it too;
// a caller that is idle may do more.
func (s *Store) Sweep(max int) bool {
	s.reap()
	for ; max > 0 && s.sweep > 0; max-- {
		s.sweep--
		t := s.shadow[s.sweep]
		c := t.cur.Load()
		if s.prune(c); c.prev.Load() != nil {
			continue
		}
		t.shadowed = false
		last := len(s.shadow) - 1
		s.shadow[s.sweep] = s.shadow[last]
		s.shadow[last] = nil
		s.shadow = s.shadow[:last]
	}
	if len(s.shadow) == 0 && cap(s.shadow) > 4*sweepStep {
		s.shadow = nil
	}
	return s.sweep > 0
}

// prune cuts from the chain of c the contents that no version sees: content p,
// followed by q, is seen by the versions of epochs p.epoch to q.epoch-1.
func (s *Store) prune(c *content) {
	i := len(s.versions) // versions[i:] see a newer content
	for q := c; ; {
		for i > 0 && s.versions[i-1].epoch >= q.epoch {
			i--
		}
		p := q.prev.Load()
		for p != nil && (i == 0 || s.versions[i-1].epoch < p.epoch) {
			p = p.prev.Load()
		}
		if p != q.prev.Load() {
			q.prev.Store(p)
		}
		if p == nil {
			return
		}
		q = p
	}
}
