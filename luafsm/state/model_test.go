package state

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// A plain model of a state: maps of Go, in which a table is a *mTable.
type mTable struct {
	vals map[any]any // keys: bool, float64, string; values: these and *mTable
}

func newModel() *mTable { return &mTable{vals: map[any]any{}} }

func (m *mTable) clone() *mTable {
	c := newModel()
	for k, v := range m.vals {
		if sub, ok := v.(*mTable); ok {
			v = sub.clone()
		}
		c.vals[k] = v
	}
	return c
}

func (m *mTable) len() int {
	n := 0
	for m.vals[float64(n+1)] != nil {
		n++
	}
	return n
}

// keys in canonical order, written out from the contract and not from key.go.
func (m *mTable) keys() []any {
	var keys []any
	for k := range m.vals {
		keys = append(keys, k)
	}
	n := m.len()
	class := func(k any) int {
		switch k := k.(type) {
		case float64:
			if k == math.Trunc(k) && k >= 1 && k <= float64(n) {
				return 0
			}
			return 2
		case bool:
			return 1
		}
		return 3
	}
	slices.SortFunc(keys, func(a, b any) int {
		if c := class(a) - class(b); c != 0 {
			return c
		}
		less := false
		switch a := a.(type) {
		case float64:
			less = a < b.(float64)
		case bool:
			less = !a
		case string:
			less = a < b.(string)
		}
		if less {
			return -1
		}
		return 1
	})
	return keys
}

func toLua(v any) lua.LValue {
	switch v := v.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	}
	panic(v)
}

// same compares a table, as view sees it, with a model: by Get, Len, Count,
// Next, Iter and Each.
func same(view *Version, t *Table, m *mTable) error {
	if t.Len(view) != m.len() {
		return fmt.Errorf("len %d, model %d", t.Len(view), m.len())
	}
	if t.Count(view) != len(m.vals) {
		return fmt.Errorf("count %d, model %d", t.Count(view), len(m.vals))
	}
	var each []lua.LValue
	t.Each(view, func(k, _ lua.LValue) bool { each = append(each, k); return true })
	k := lua.LValue(nil)
	it := t.Iter(view)
	for i, mk := range m.keys() {
		next, v, ok, err := t.Next(view, k)
		if err != nil || !ok || next != toLua(mk) {
			return fmt.Errorf("next(%v) = %v %v %v, model %v", k, next, ok, err, mk)
		}
		ik, iv, ok := it.Next()
		if !ok || ik != next || iv != v || i >= len(each) || each[i] != next {
			return fmt.Errorf("after %v: Next %v, Iter %v, Each %v", k, next, ik, each)
		}
		if t.Get(view, next) != v {
			return fmt.Errorf("get %v: %v, next gave %v", next, t.Get(view, next), v)
		}
		mv := m.vals[mk]
		if sub, ok := mv.(*mTable); ok {
			st, ok := TableOf(v)
			if !ok {
				return fmt.Errorf("%v: %v, model has a table", mk, v)
			}
			if err := same(view, st, sub); err != nil {
				return fmt.Errorf("%v: %w", mk, err)
			}
		} else if v != toLua(mv) {
			return fmt.Errorf("%v: %v, model %v", mk, v, mv)
		}
		k = next
	}
	if next, _, ok, _ := t.Next(view, k); ok {
		return fmt.Errorf("next(%v) = %v, model ends", k, next)
	}
	if ik, _, ok := it.Next(); ok {
		return fmt.Errorf("Iter gives %v at the end", ik)
	}
	return nil
}

// build makes a store with the content of the model, in an order drawn from r.
func build(t testing.TB, m *mTable, r *rand.Rand) *Store {
	s := NewStore()
	s.Begin()
	fillFrom(s, s.Root(), m, r)
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	return s
}

func fillFrom(s *Store, t *Table, m *mTable, r *rand.Rand) {
	keys := m.keys()
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, k := range keys {
		v := m.vals[k]
		if sub, ok := v.(*mTable); ok {
			st := s.NewTable(0, 0)
			fillFrom(s, st, sub, r)
			must(t.Set(toLua(k), st.UserData()))
		} else {
			must(t.Set(toLua(k), toLua(v)))
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func dumpOf(t testing.TB, v *Version) []byte {
	var b bytes.Buffer
	if err := v.Dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// world is a store and its model under random calls.
type world struct {
	s *Store
	m *mTable
	r *rand.Rand
}

func (w *world) key() any {
	switch w.r.IntN(8) {
	case 0:
		return w.r.IntN(2) == 0
	case 1:
		return float64(w.r.IntN(9)-4) / 2
	case 2, 3:
		return fmt.Sprint("key", w.r.IntN(40))
	case 4:
		return string([]byte("a\x00b\xffkey1")[:w.r.IntN(9)])
	}
	return float64(1 + w.r.IntN(24))
}

func (w *world) scalar() any {
	switch w.r.IntN(4) {
	case 0:
		return w.r.IntN(2) == 0
	case 1:
		return fmt.Sprint(w.r.IntN(5))
	}
	return float64(w.r.IntN(6))
}

// pick walks down to some table of the state, never the root.
func (w *world) pick() (*Table, *mTable) {
	t, m := w.s.Root(), w.m
	for depth := 0; ; depth++ {
		var subs []any
		for _, k := range m.keys() {
			if _, ok := m.vals[k].(*mTable); ok {
				subs = append(subs, k)
			}
		}
		if len(subs) == 0 || depth > 0 && w.r.IntN(3) == 0 {
			return t, m
		}
		k := subs[w.r.IntN(len(subs))]
		t, _ = TableOf(t.Get(nil, toLua(k)))
		m = m.vals[k].(*mTable)
	}
}

// write does one random change to both.
func (w *world) write() {
	t, m := w.pick()
	switch w.r.IntN(12) {
	case 0: // a new table
		if t == w.s.Root() {
			return
		}
		sub, msub := w.s.NewTable(0, 0), newModel()
		for range w.r.IntN(4) {
			k, v := w.key(), w.scalar()
			must(sub.Set(toLua(k), toLua(v)))
			msub.vals[k] = v
		}
		k := w.key()
		must(t.Set(toLua(k), sub.UserData()))
		m.vals[k] = msub
	case 1: // move a table, or two places swap
		if t == w.s.Root() {
			return
		}
		a, b := w.key(), w.key()
		va, vb := t.Get(nil, toLua(a)), t.Get(nil, toLua(b))
		must(t.Set(toLua(a), vb))
		must(t.Set(toLua(b), va))
		ma, mb := m.vals[a], m.vals[b]
		assignModel(m, a, mb)
		assignModel(m, b, ma)
	case 2, 3: // insert
		n := m.len()
		pos := 1 + w.r.IntN(n+1)
		if t == w.s.Root() {
			return
		}
		v := w.scalar()
		must(t.Insert(pos, toLua(v)))
		for i := n; i >= pos; i-- {
			m.vals[float64(i+1)] = m.vals[float64(i)]
		}
		m.vals[float64(pos)] = v
	case 4: // remove
		n := m.len()
		if n == 0 {
			return
		}
		pos := 1 + w.r.IntN(n)
		if _, err := t.Remove(pos); err != nil {
			panic(err)
		}
		for i := pos; i < n; i++ {
			m.vals[float64(i)] = m.vals[float64(i+1)]
		}
		delete(m.vals, float64(n))
	case 5, 6:
		k := w.key()
		must(t.Set(toLua(k), lua.LNil))
		delete(m.vals, k)
	default:
		if t == w.s.Root() {
			return
		}
		k, v := w.key(), w.scalar()
		must(t.Set(toLua(k), toLua(v)))
		m.vals[k] = v
	}
}

func assignModel(m *mTable, k, v any) {
	if v == nil {
		delete(m.vals, k)
	} else {
		m.vals[k] = v
	}
}

// seed gives the world its objects.
func (w *world) seed() {
	w.s.Begin()
	for _, name := range []string{"a", "b"} {
		must(w.s.Root().SetString(name, w.s.NewTable(0, 0).UserData()))
		w.m.vals[name] = newModel()
	}
	must(w.s.Commit())
}

func newWorld(seed uint64) *world {
	w := &world{s: NewStore(), m: newModel(), r: rand.New(rand.NewPCG(seed, 1))}
	w.seed()
	return w
}

// call does some writes and ends them either way.
func (w *world) call() {
	before := w.m.clone()
	digest := w.s.Digest()
	w.s.Begin()
	for range 1 + w.r.IntN(6) {
		w.write()
	}
	if w.r.IntN(3) == 0 {
		w.s.Rollback()
		w.m = before
		if w.s.Digest() != digest {
			panic("Rollback changed the digest")
		}
		return
	}
	must(w.s.Commit())
}

// TestModel holds random calls against the model, and what must be a function
// of the content against a store freshly built from the model.
func TestModel(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		w := newWorld(seed)
		for step := range 120 {
			if w.r.IntN(8) == 0 { // a dry run of several calls
				before, digest := w.m.clone(), w.s.Digest()
				w.s.Begin()
				for range 3 {
					w.call()
				}
				w.s.Rollback()
				w.m = before
				if w.s.Digest() != digest {
					t.Fatalf("seed %d step %d: digest after a dry run", seed, step)
				}
			} else {
				w.call()
			}
			if err := same(nil, w.s.Root(), w.m); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			if step%10 == 9 {
				w.checkContent(t, fmt.Sprintf("seed %d step %d", seed, step))
			}
		}
	}
}

// checkContent compares digest, dump, encoding and the tree of headers with
// those of equal stores of another history, and of the restored dump.
func (w *world) checkContent(t *testing.T, at string) {
	t.Helper()
	v := w.s.Publish()
	defer v.Release()
	dump := dumpOf(t, v)
	restored, err := Restore(bytes.NewReader(dump))
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	for _, o := range []*Store{build(t, w.m, w.r), restored} {
		if o.Digest() != w.s.Digest() {
			t.Fatalf("%s: digest depends on the history", at)
		}
		ov := o.Publish()
		if !bytes.Equal(dump, dumpOf(t, ov)) {
			t.Fatalf("%s: dump depends on the history", at)
		}
		ov.Release()
		a, err1 := w.s.AppendValue(nil, nil, w.s.Root().UserData(), Limits{Depth: DepthMax + 1})
		b, err2 := o.AppendValue(nil, nil, o.Root().UserData(), Limits{Depth: DepthMax + 1})
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Fatalf("%s: encoding depends on the history: %v %v", at, err1, err2)
		}
		if err := same(nil, o.Root(), w.m); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if err := sameHeaders(w.s.Root(), o.Root()); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
	}
}

// sameHeaders compares what the tables of two equal states know of their places.
func sameHeaders(a, b *Table) error {
	if a.h.sum != b.h.sum || a.h.contrib != b.h.contrib || a.h.kh != b.h.kh || a.h.key != b.h.key || a.h.kids.low != b.h.kids.low ||
		!slices.Equal(a.h.kids.tall(), b.h.kids.tall()) || a.h.inState != b.h.inState {
		return fmt.Errorf("headers %+v and %+v", a.h, b.h)
	}
	var err error
	a.Each(nil, func(k, v lua.LValue) bool {
		sa, ok := TableOf(v)
		if !ok {
			return true
		}
		sb, _ := TableOf(b.Get(nil, k))
		if sa.h.parent != a || sb.h.parent != b {
			err = fmt.Errorf("%v: wrong parent", k)
		} else if err = sameHeaders(sa, sb); err != nil {
			err = fmt.Errorf("%v: %w", k, err)
		}
		return err == nil
	})
	return err
}
