package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// The check at the end of a call.
//
// Before the call the tables in the state form a tree. The log has every edge
// (a table, a table in it) that the call removed or added, so the old tree
// falls into pieces: a piece starts at a section, at a table that lost its
// place, or at a table that got another one, and ends where the next piece
// starts. Tables that are new to the state are pieces of their own. The edges
// between pieces are then followed from the sections: a piece reached twice
// sits in two places, one that is never reached is garbage, whatever it holds.
// No table is looked at but those written, those that are new, and those above
// them.

// ErrTree is what every TreeError is, for errors.Is.
var ErrTree = errors.New("state is not a tree of values")

// ErrorKind of a TreeError.
type ErrorKind uint8

// Kinds of a TreeError.
const (
	KindValue     ErrorKind = iota + 1 // a function, thread or userdata
	KindKey                            // such a value, or a table, as a key
	KindMetatable                      // a table with a metatable
	KindFrozen                         // a table of the script itself
	KindTwoPlaces
	KindInside // a table inside itself
	KindDepth
)

// TreeError is returned by Commit when the call leaves the state no tree of
// values.
type TreeError struct {
	Kind            ErrorKind
	Path, OtherPath string
	Type            string // plural, of a value or key that isn't allowed
}

func (e *TreeError) Error() string {
	switch e.Kind {
	case KindTwoPlaces:
		return fmt.Sprintf("a table sits in two places: %s and %s; use copy(t)", e.Path, e.OtherPath)
	case KindInside:
		return fmt.Sprintf("a table sits inside itself: %s and %s; use copy(t)", e.Path, e.OtherPath)
	case KindFrozen:
		return fmt.Sprintf("%s: tables of the script can't be replicated; use copy(t)", e.Path)
	case KindDepth:
		return fmt.Sprintf("%s: tables are nested deeper than %d", e.Path, DepthMax)
	case KindKey:
		return fmt.Sprintf("%s: %s can't be keys in replicated state", e.Path, e.Type)
	}
	return fmt.Sprintf("%s: %s can't be replicated", e.Path, e.Type)
}

func (e *TreeError) Unwrap() error { return ErrTree }

// check is the working space of one check, kept for the next.
type check struct {
	mark   uint64
	nodes  []checkNode
	deltas []delta
	edges  []edge
	queue  []int32
	fresh  []*Table
}

// checkNode is a table that the check came across. Nodes are numbered in the order
// of the log, which is the same on every replica.
type checkNode struct {
	t       *Table
	fresh   bool  // not in the state before
	lost    bool  // its old place is gone
	cut     bool  // starts a piece
	placed  bool  // reached
	scanned bool  // for values that must not be
	parent  int32 // node it was reached from
	first   int32 // first of its piece's edges, -1 if none
	last    int32
}

// delta is one edge that the log added or removed.
type delta struct {
	from, to int32
	by       int32
	at       int32 // position in the log
}

// edge of a piece to another, or to a value that must not be.
type edge struct {
	from *Table
	to   int32 // node; -1 for a fault
	next int32 // of the same piece
	kind ErrorKind
	key  key
	typ  string
}

// settle makes the headers and the digest right after the writes of f, or says
// why they can't be.
func (s *Store) settle(f *frame) error {
	if s.collect(f) {
		if err := s.checkTree(); err != nil {
			return err
		}
	}
	s.rekey(f)
	touched := s.saved[f.saved:]
	for i := range touched {
		s.climb(touched[i].t)
	}
	s.Work += uint64(len(s.log) - f.log)
	return nil
}

// nodeOf gives t a node.
func (s *Store) nodeOf(t *Table) int32 {
	c := &s.check
	if t.mark == c.mark {
		return t.node
	}
	t.mark, t.node = c.mark, int32(len(c.nodes))
	c.nodes = append(c.nodes, checkNode{t: t, fresh: !t.h.inState, parent: -1, first: -1, last: -1})
	return t.node
}

// collect takes the edges from the log; false says that there are none, nor
// values that must not be.
func (s *Store) collect(f *frame) bool {
	c := &s.check
	c.reset()
	faults := false
	for i := f.log; i < len(s.log); i++ {
		e := &s.log[i]
		if t, ok := TableOf(e.old); ok {
			from := s.nodeOf(e.t)
			c.deltas = append(c.deltas, delta{from, s.nodeOf(t), -1, int32(i)})
		}
		if plain(e.new) {
			continue
		}
		if t, ok := TableOf(e.new); ok {
			from := s.nodeOf(e.t)
			c.deltas = append(c.deltas, delta{from, s.nodeOf(t), 1, int32(i)})
		} else {
			faults = true
		}
	}
	if faults {
		s.collectFaults(f)
	}
	return faults || len(c.deltas) > 0
}

// collectFaults adds an edge for each value in the log that must not be and is
// still there.
func (s *Store) collectFaults(f *frame) {
	c := &s.check
	for i := f.log; i < len(s.log); i++ {
		e := &s.log[i]
		if _, ok := TableOf(e.new); ok || plain(e.new) {
			continue
		}
		n := s.nodeOf(e.t)
		if e.op == opSet && e.t.at(nil).get(e.key, e.key.index()) == e.new {
			c.edges = append(c.edges, edge{from: e.t, to: -1, kind: KindValue, key: e.key, typ: plural(e.new)})
		}
		if e.op == opSet || c.nodes[n].scanned {
			continue
		}
		c.nodes[n].scanned = true // what was inserted may have moved since
		s.Work += uint64(e.t.Count(nil))
		e.t.at(nil).eachValue(func(k key, v lua.LValue) bool {
			if _, ok := TableOf(v); !ok && !plain(v) {
				c.edges = append(c.edges, edge{from: e.t, to: -1, kind: KindValue, key: k, typ: plural(v)})
			}
			return true
		})
	}
}

func plain(v lua.LValue) bool {
	switch v.(type) {
	case nil, lua.LNumber, lua.LString, lua.LBool:
		return true
	}
	return false
}

func (c *check) reset() {
	const keepMax = 1024
	if cap(c.nodes) > keepMax || cap(c.edges) > keepMax || cap(c.deltas) > keepMax {
		*c = check{mark: c.mark}
	}
	c.mark++
	clear(c.nodes)
	clear(c.edges)
	clear(c.fresh)
	c.nodes, c.deltas, c.edges, c.queue, c.fresh = c.nodes[:0], c.deltas[:0], c.edges[:0], c.queue[:0], c.fresh[:0]
}

func (s *Store) checkTree() error {
	s.sumDeltas()
	if err := s.walkFresh(); err != nil {
		return err
	}
	s.group()
	if err := s.place(); err != nil {
		return err
	}
	return s.relink()
}

// sumDeltas turns the deltas into edges: what is added and not removed again.
func (s *Store) sumDeltas() {
	c := &s.check
	slices.SortFunc(c.deltas, func(a, b delta) int {
		return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.from, b.from), cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by))
	})
	sums := c.deltas[:0]
	for _, d := range c.deltas {
		if n := len(sums); n > 0 && sums[n-1].to == d.to && sums[n-1].from == d.from {
			sums[n-1].by += d.by
			continue
		}
		sums = append(sums, d)
	}
	slices.SortFunc(sums, func(a, b delta) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by), cmp.Compare(a.from, b.from))
	})
	for _, d := range sums {
		to := &c.nodes[d.to]
		if d.by < 0 {
			to.lost = true
		}
		for ; d.by > 0; d.by-- {
			c.edges = append(c.edges, edge{from: c.nodes[d.from].t, to: d.to})
		}
	}
}

// walkFresh adds the edges out of tables that are new to the state, and what
// must not be in them.
func (s *Store) walkFresh() error {
	c := &s.check
	for i := 0; i < len(c.nodes); i++ { // nodes grow as the walk goes on
		n := &c.nodes[i]
		if !n.fresh {
			continue
		}
		t := n.t
		if s.Fresh != nil {
			if err := s.Fresh(t.Count(nil)); err != nil {
				return err
			}
		}
		if t.meta != nil {
			c.edges = append(c.edges, edge{from: t, to: -1, kind: KindMetatable})
		}
		if t.frozen {
			c.edges = append(c.edges, edge{from: t, to: -1, kind: KindFrozen})
			continue
		}
		s.Work += uint64(t.Count(nil))
		t.at(nil).eachValue(func(k key, v lua.LValue) bool {
			if k.isRef() {
				c.edges = append(c.edges, edge{from: t, to: -1, kind: KindKey, typ: plural(t.luaKey(k))})
			}
			if plain(v) {
				return true
			}
			if sub, ok := TableOf(v); ok {
				c.edges = append(c.edges, edge{from: t, to: s.nodeOf(sub)})
			} else {
				c.edges = append(c.edges, edge{from: t, to: -1, kind: KindValue, key: k, typ: plural(v)})
			}
			return true
		})
	}
	return nil
}

// eachValue visits all entries in canonical order.
func (c *content) eachValue(yield func(key, lua.LValue) bool) {
	for i := 1; i <= c.arr.n; i++ {
		if !yield(indexKey(i), c.arr.get(i)) {
			return
		}
	}
	c.mapEach(func(it *item) bool { return yield(it.key, it.val) })
}

// group finds where the pieces start and gives each its edges.
func (s *Store) group() {
	c := &s.check
	for i := range c.edges {
		if to := c.edges[i].to; to >= 0 {
			c.nodes[to].cut = true
		}
	}
	for i := range c.nodes {
		n := &c.nodes[i]
		n.cut = n.cut || n.lost || n.fresh || n.t.h.root
	}
	for i, n := 0, len(c.nodes); i < n; i++ { // the old place of a table that got another
		if m := &c.nodes[i]; m.cut && !m.fresh && !m.lost && m.t.h.parent != nil {
			c.edges = append(c.edges, edge{from: m.t.h.parent, to: int32(i)})
		}
	}
	for i := range c.edges {
		top := s.nodeOf(s.top(c.edges[i].from))
		c.edges[i].next = -1
		if n := &c.nodes[top]; n.last < 0 {
			n.first, n.last = int32(i), int32(i)
		} else {
			c.edges[n.last].next = int32(i)
			n.last = int32(i)
		}
	}
}

// top is the table at which the piece of t starts.
func (s *Store) top(t *Table) *Table {
	for {
		if t.mark == s.check.mark && s.check.nodes[t.node].cut || t.h.parent == nil {
			return t
		}
		t = t.h.parent
		s.Work++
	}
}

// place follows the edges from the sections.
func (s *Store) place() error {
	c := &s.check
	for i := range c.nodes {
		if c.nodes[i].t.h.root {
			c.nodes[i].placed = true
			c.queue = append(c.queue, int32(i))
		}
	}
	for q := 0; q < len(c.queue); q++ {
		for i := c.nodes[c.queue[q]].first; i >= 0; i = c.edges[i].next {
			e := &c.edges[i]
			if e.to < 0 {
				return s.fault(e)
			}
			from := s.nodeOf(e.from) // may move the nodes
			to := &c.nodes[e.to]
			if to.placed {
				return s.twoPlaces(e)
			}
			to.placed, to.parent = true, from
			c.queue = append(c.queue, e.to)
		}
	}
	return nil
}

// relink makes the headers follow: old places are left, then new ones taken,
// from the leaves up, so that heights and sums of new tables are complete when
// they are counted.
func (s *Store) relink() error {
	c := &s.check
	for i := range c.nodes {
		n := &c.nodes[i]
		p := n.t.h.parent
		if p == nil || !n.lost && (!n.placed || c.nodes[n.parent].t == p) {
			continue
		}
		s.touch(n.t)
		s.touch(p)
		p.h.sum = p.h.sum.sub(n.t.h.contrib)
		s.countKid(p, n.t.height(), -1)
		n.t.h.parent, n.t.h.contrib = nil, u128{}
	}
	for q := len(c.queue) - 1; q >= 0; q-- {
		n := &c.nodes[c.queue[q]]
		if n.fresh {
			s.adopt(n.t)
		}
		if n.t.h.root || n.t.h.parent != nil {
			continue
		}
		p := c.nodes[n.parent].t
		if n.t.height() > DepthMax {
			return &TreeError{Kind: KindDepth, Path: s.deepPath(n.t)}
		}
		s.touch(n.t)
		n.t.h.parent = p
		s.countKid(p, n.t.height(), 1)
	}
	for i := range c.nodes {
		if t := c.nodes[i].t; t.h.root && t.height() > DepthMax+1 {
			return &TreeError{Kind: KindDepth, Path: s.highest(t)}
		}
	}
	return nil
}

// highest is the path of the first table in a section that is nested too deep.
func (s *Store) highest(section *Table) (path string) {
	section.at(nil).eachValue(func(k key, v lua.LValue) bool {
		if sub := s.tableIn(v); sub != nil && sub.h.parent == section && sub.height() > DepthMax {
			path = s.rootPath(section, k)
		}
		return path == ""
	})
	return path
}

// adopt computes the sum of a table that comes into the state. The tables in it
// were adopted before it.
func (s *Store) adopt(t *Table) {
	s.touch(t)
	t.h.inState = true
	t.at(nil).eachValue(func(k key, v lua.LValue) bool {
		kh := k.hash()
		if sub, ok := TableOf(v); ok {
			s.touch(sub)
			sub.h.key, sub.h.kh = k, kh
			sub.h.contrib = sub.contribution()
			t.h.sum = t.h.sum.add(sub.h.contrib)
		} else {
			t.h.sum = t.h.sum.add(scalar(kh, v))
		}
		return true
	})
}

// rekey tells the tables that sit under another key than before.
func (s *Store) rekey(f *frame) {
	for i := f.log; i < len(s.log); i++ {
		e := &s.log[i]
		if e.op != opSet {
			if e.t.h.kids.top() > 0 {
				s.rekeyRange(e.t, e.key.index(), e.at+1)
			}
			continue
		}
		if sub, ok := TableOf(e.new); ok && sub.h.parent == e.t && e.t.at(nil).get(e.key, e.key.index()) == e.new {
			s.rekeyOne(sub, e.key)
		}
	}
}

// rekeyRange does it for indexes that an insert or remove has moved. Some may
// have left the sequence since.
func (s *Store) rekeyRange(t *Table, from, to int) {
	c := t.at(nil)
	for i := from; i <= to; i++ {
		if sub := s.tableIn(c.get(indexKey(i), i)); sub != nil && sub.h.parent == t {
			s.rekeyOne(sub, indexKey(i))
		}
	}
}

func (s *Store) rekeyOne(t *Table, k key) {
	kh, p := k.hash(), t.h.parent
	if t.h.key == k && t.h.contrib != (u128{}) {
		return
	}
	s.touch(t)
	s.touch(p)
	t.h.key, t.h.kh = k, kh
	c := t.contribution()
	p.h.sum = p.h.sum.sub(t.h.contrib).add(c)
	t.h.contrib = c
}

// climb brings a changed sum up to the section and the digest.
func (s *Store) climb(t *Table) {
	for t.h.parent != nil {
		c := t.contribution()
		if c == t.h.contrib {
			return
		}
		p := t.h.parent
		s.touch(t)
		s.touch(p)
		p.h.sum = p.h.sum.sub(t.h.contrib).add(c)
		t.h.contrib = c
		t = p
	}
	if !t.h.root {
		return // garbage
	}
	c := u128{} // of an empty section: the same as of none
	if t.Count(nil) > 0 {
		c = t.contribution()
	}
	s.digest = s.digest.sub(t.h.contrib).add(c) // t is saved: its sum has changed
	t.h.contrib = c
}

// fault is the error for a value that must not be.
func (s *Store) fault(e *edge) error {
	err := &TreeError{Kind: e.kind, Path: s.pathOf(e.from), Type: e.typ}
	switch e.kind {
	case KindValue:
		err.Path = joinPath(err.Path, e.key)
	case KindMetatable:
		err.Type = "tables with a metatable"
	}
	return err
}

// twoPlaces is the error for an edge to a table that is placed already.
func (s *Store) twoPlaces(e *edge) error {
	c := &s.check
	to := &c.nodes[e.to]
	err := &TreeError{Kind: KindTwoPlaces}
	for t := e.from; t != nil; t = s.above(t) {
		if t == to.t {
			err.Kind = KindInside
			break
		}
	}
	if to.t.h.root {
		err.Path = s.sectionPath(to.t)
		err.OtherPath = s.placePath(e.from, to.t, 0)
		return err
	}
	first := c.nodes[to.parent].t
	second := 0
	if first == e.from {
		second = 1
	}
	err.Path, err.OtherPath = s.placePath(first, to.t, 0), s.placePath(e.from, to.t, second)
	return err
}

// above is the table that t is placed in, as far as the check knows.
func (s *Store) above(t *Table) *Table {
	c := &s.check
	if t.mark == c.mark {
		if n := &c.nodes[t.node]; n.parent >= 0 {
			return c.nodes[n.parent].t
		}
		if c.nodes[t.node].lost {
			return nil
		}
	}
	return t.h.parent
}

// placePath is the path of the occurrence number nth of sub in t.
func (s *Store) placePath(t, sub *Table, nth int) string {
	k := t.find(sub, nth)
	if t.h.root {
		return s.rootPath(t, k)
	}
	return joinPath(s.pathOf(t), k)
}

// find looks for the key of sub in t; only errors need it.
func (t *Table) find(sub *Table, nth int) (found key) {
	t.at(nil).eachValue(func(k key, v lua.LValue) bool {
		if t.store.tableIn(v) == sub {
			if found = k; nth == 0 {
				return false
			}
			nth--
		}
		return true
	})
	return found
}

// pathDepthMax bounds the path of an error.
const pathDepthMax = DepthMax + 2

// pathOf is the path of a table: name.key.key.
func (s *Store) pathOf(t *Table) string {
	var keys []key
	for !t.h.root {
		up := s.above(t)
		if up == nil {
			break
		}
		k := up.find(t, 0)
		keys = append(keys, k)
		if t = up; len(keys) > pathDepthMax {
			break
		}
	}
	if len(keys) == 0 {
		return s.sectionPath(t)
	}
	p := s.rootPath(t, keys[len(keys)-1])
	for i := len(keys) - 2; i >= 0; i-- {
		p = joinPath(p, keys[i])
	}
	return p
}

// deepPath is where tables nested too deep start: the object's entry.
func (s *Store) deepPath(t *Table) string {
	for range 1 << 20 {
		up := s.above(t)
		if up == nil || up.h.root {
			break
		}
		t = up
	}
	return s.pathOf(t)
}

// rootPath is the path of an entry of a section; for objects just the name.
func (s *Store) rootPath(t *Table, k key) string {
	if name := s.sectionPath(t); name != ObjectsSection {
		return joinPath(name, k)
	}
	return joinPath("", k)
}

func (s *Store) sectionPath(t *Table) string {
	for _, sec := range s.sections {
		if sec.t == t {
			return sec.name
		}
	}
	return "?"
}

// pathBytesMax is about how long the path of an error gets.
const pathBytesMax = 256

// joinPath appends a key to a path as one would write it, and says "..." for
// those at which the path is long enough.
func joinPath(p string, k key) string {
	const more = "..."
	switch {
	case strings.HasSuffix(p, more):
		return p
	case len(p) > pathBytesMax:
		return p + more
	case k.isRef():
		return p + "[?]"
	case k.isString():
		if !isName(k.s) {
			const show = 40
			if len(k.s) > show {
				return p + "[" + strconv.Quote(k.s[:show]) + "...]"
			}
			return p + "[" + strconv.Quote(k.s) + "]"
		}
		if p == "" {
			return k.s
		}
		return p + "." + k.s
	case k.isNumber():
		if i := k.index(); i != 0 {
			return p + "[" + strconv.Itoa(i) + "]"
		}
		return p + "[" + strconv.FormatFloat(k.number(), 'g', 14, 64) + "]"
	case k.n == keyTrue:
		return p + "[true]"
	}
	return p + "[false]"
}

func isName(s string) bool {
	const nameMax = 64
	if len(s) > nameMax {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
