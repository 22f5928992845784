package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// TestVersionsConcurrent has readers compare their versions with the models of
// then, again and again, on their own goroutines, while calls go on.
func TestVersionsConcurrent(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(seed)
		var readers sync.WaitGroup
		errs := make(chan error, 1)
		slots := make(chan struct{}, 6) // versions held at once
		for step := range 150 {
			w.call()
			if w.r.IntN(2) == 0 {
				continue
			}
			slots <- struct{}{}
			v, m, digest := w.s.Publish(), w.m.clone(), w.s.Digest()
			again := 1 + w.r.IntN(20)
			readers.Go(func() {
				defer func() { v.Release(); <-slots }()
				for i := range again {
					err := same(v, v.Root(), m)
					if err == nil && v.Digest() != digest {
						err = fmt.Errorf("digest of a version changed")
					}
					if err == nil && i == 0 {
						err = restoresTo(v)
					}
					if err != nil {
						select {
						case errs <- fmt.Errorf("seed %d step %d: %w", seed, step, err):
						default:
						}
						return
					}
					runtime.Gosched()
				}
			})
		}
		readers.Wait()
		select {
		case err := <-errs:
			t.Fatal(err)
		default:
		}
		w.checkIdle(t)
	}
}

func restoresTo(v *Version) error {
	var b bytes.Buffer
	if err := v.Dump(&b); err != nil {
		return err
	}
	s, err := Restore(&b)
	if err == nil && s.Digest() != v.Digest() {
		err = fmt.Errorf("restored digest differs")
	}
	return err
}

// checkIdle says that nothing of released versions is left.
func (w *world) checkIdle(t *testing.T) {
	t.Helper()
	for w.s.Sweep(1) {
	}
	if n := w.s.Versions(); n != 0 || len(w.s.shadow) != 0 || w.s.live != 0 {
		t.Fatalf("%d versions, %d tables with old contents, live %d after the last Release", n, len(w.s.shadow), w.s.live)
	}
	var walk func(*Table)
	walk = func(tb *Table) {
		if tb.shadowed || tb.cur.Load().prev.Load() != nil {
			t.Fatal("a table keeps an old content")
		}
		tb.Each(nil, func(_, v lua.LValue) bool {
			if sub, ok := TableOf(v); ok {
				walk(sub)
			}
			return true
		})
	}
	walk(w.s.Root())
}

// large is one table with a model of its numbers and strings.
type large struct {
	s *Store
	t *Table
	m *mTable
	r *rand.Rand
}

func newLarge(seed uint64) *large {
	l := &large{s: NewStore(), m: newModel(), r: rand.New(rand.NewPCG(seed, 2))}
	l.s.Begin()
	l.t = l.s.NewTable(0, 0)
	must(l.s.Root().SetString("x", l.t.UserData()))
	must(l.s.Commit())
	return l
}

func (l *large) set(k, v any) {
	must(l.t.Set(toLua(k), toLua(v)))
	assignModel(l.m, k, v)
}

// phase does n writes that mostly grow or mostly shrink the table.
func (l *large) phase(n int, grow bool) {
	for range n {
		var v any
		if (l.r.IntN(5) > 0) == grow {
			v = float64(l.r.IntN(100))
		}
		switch l.r.IntN(6) {
		case 0:
			if n := l.t.Len(nil); v == nil {
				l.set(float64(max(n, 1)), v)
			} else {
				l.set(float64(n+1), v)
			}
		case 1:
			l.set(float64(1+l.r.IntN(1500)), v)
		default:
			l.set(fmt.Sprint("k", l.r.IntN(3000)), v)
		}
	}
}

// TestLarge grows and shrinks a table of many nodes and chunks, with versions
// held across, and calls that roll back.
func TestLarge(t *testing.T) {
	type held struct {
		v *Version
		m *mTable
	}
	for seed := range uint64(4) {
		l := newLarge(seed)
		var old []held
		for i, grow := range []bool{true, true, false, true, false, false, false} {
			l.s.Begin()
			before := l.m.clone()
			l.phase(500, !grow)
			l.s.Rollback()
			l.m = before
			l.s.Begin()
			for i := range 600 { // a long sequence, too
				if grow {
					l.set(float64(l.t.Len(nil)+1), float64(i))
				} else if n := l.t.Len(nil); n > 0 {
					l.set(float64(n), nil)
				}
			}
			l.phase(1500, grow)
			must(l.s.Commit())
			old = append(old, held{l.s.Publish(), l.m.clone()})
			for _, h := range old {
				if x, _ := TableOf(h.v.Root().GetString(h.v, "x")); same(h.v, x, h.m) != nil {
					t.Fatalf("seed %d phase %d: %v", seed, i, same(h.v, x, h.m))
				}
			}
			if err := same(nil, l.t, l.m); err != nil {
				t.Fatalf("seed %d phase %d: %v", seed, i, err)
			}
			if l.r.IntN(2) == 0 {
				j := l.r.IntN(len(old))
				old[j].v.Release()
				old = append(old[:j], old[j+1:]...)
			}
		}
		root := newModel()
		root.vals["x"] = l.m
		w := &world{s: l.s, m: root, r: l.r}
		w.checkContent(t, fmt.Sprint("seed ", seed))
		for _, h := range old {
			h.v.Release()
		}
		w.checkIdle(t)
	}
}

// TestShift inserts and removes at random positions of a sequence of several
// chunks, in calls that end either way.
func TestShift(t *testing.T) {
	s := NewStore()
	s.Begin()
	x := s.NewTable(0, 0)
	must(s.Root().SetString("x", x.UserData()))
	must(s.Commit())
	r := rand.New(rand.NewPCG(7, 7))
	var m []float64
	for step := range 400 {
		s.Begin()
		before := append([]float64(nil), m...)
		digest := s.Digest()
		for range 1 + r.IntN(20) {
			if grow := step%200 < 100; len(m) == 0 || (r.IntN(3) > 0) == grow {
				pos, val := 1+r.IntN(len(m)+1), float64(r.IntN(1000))
				must(x.Insert(pos, lua.LNumber(val)))
				m = append(m[:pos-1], append([]float64{val}, m[pos-1:]...)...)
			} else {
				pos := 1 + r.IntN(len(m))
				got, err := x.Remove(pos)
				if err != nil || got != lua.LNumber(m[pos-1]) {
					t.Fatalf("step %d: removed %v, %v, want %v", step, got, err, m[pos-1])
				}
				m = append(m[:pos-1], m[pos:]...)
			}
		}
		if r.IntN(2) == 0 {
			s.Rollback()
			if m = before; s.Digest() != digest {
				t.Fatalf("step %d: Rollback changed the digest", step)
			}
		} else {
			must(s.Commit())
		}
		if x.Len(nil) != len(m) {
			t.Fatalf("step %d: length %d, want %d", step, x.Len(nil), len(m))
		}
		for i, want := range m {
			if got := x.GetIndex(nil, i+1); got != lua.LNumber(want) {
				t.Fatalf("step %d: [%d] = %v, want %v", step, i+1, got, want)
			}
		}
		if r.IntN(5) == 0 {
			s.Publish().Release()
		}
	}
	model := newModel()
	model.vals["x"] = newModel()
	for i, v := range m {
		model.vals["x"].(*mTable).vals[float64(i+1)] = v
	}
	(&world{s: s, m: model, r: r}).checkContent(t, "end")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestChurn says that a million keys that come and go leave nothing, also with
// a version published and released around every write, and one held on.
func TestChurn(t *testing.T) {
	s := NewStore()
	s.Begin()
	x := s.NewTable(0, 0)
	must(s.Root().SetString("x", x.UserData()))
	must(s.Commit())
	held := s.Publish()
	start := heap()
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	for i := range n {
		s.Begin()
		must(x.SetString(fmt.Sprint("k", i), lua.LNumber(i)))
		must(x.SetIndex(i+1, lua.LNumber(i)))
		if i >= 100 {
			must(x.SetString(fmt.Sprint("k", i-100), lua.LNil))
			must(x.SetIndex(i-100+1, lua.LNil))
		}
		must(s.Commit())
		if i%10 == 0 {
			s.Publish().Release()
		}
	}
	if x.Count(nil) != 200 {
		t.Fatal(x.Count(nil))
	}
	if end := heap(); end > start+1<<20 {
		t.Errorf("%d bytes more after the churn", end-start)
	}
	chain := 0
	for c := x.cur.Load(); c != nil; c = c.prev.Load() {
		chain++
	}
	if chain > 3 {
		t.Errorf("%d contents of a table for one version held", chain)
	}
	held.Release()
	runtime.KeepAlive(s)
}

// TestMemory measures the limit of the memory per entry.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	const n = 1_000_000
	for _, order := range []string{"ascending", "random"} {
		start := heap()
		s := NewStore()
		s.Begin()
		x := s.NewTable(0, 0)
		must(s.Root().SetString("x", x.UserData()))
		must(s.Commit())
		perm := rand.New(rand.NewPCG(1, 1)).Perm(n)
		for i := range n {
			if order == "random" {
				i = perm[i]
			}
			s.Begin()
			must(x.SetString(fmt.Sprintf("key%09d", i), lua.LNumber(i+1e6)))
			must(s.Commit())
		}
		perm = nil
		per := (heap() - start) / n
		t.Logf("%s: %d bytes per entry", order, per)
		if per > 160 {
			t.Errorf("%s: %d bytes per entry, want at most 160", order, per)
		}
		runtime.KeepAlive(s)
	}
}
