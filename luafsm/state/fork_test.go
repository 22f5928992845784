package state

import (
	"fmt"
	"math/rand/v2"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// TestFork: a call on a fork sees and changes what it would on the store itself,
// while that store goes on writing, and neither sees anything of the other.
func TestFork(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(seed)
		for range 30 {
			w.call()
		}
		v := w.s.Publish()
		was := w.m.clone()
		s, view := v.Fork()
		f := &world{s: s, m: w.m.clone(), r: rand.New(rand.NewPCG(seed, 2))}
		done := make(chan error)
		go func() { // the race detector looks on
			s.Begin()
			for range 20 {
				f.write()
			}
			if err := s.Commit(); err != nil {
				done <- err
				return
			}
			done <- same(view, s.Root(), f.m)
		}()
		for range 10 {
			w.call()
		}
		if err := <-done; err != nil {
			t.Fatalf("seed %d: fork: %v", seed, err)
		}
		if err := same(nil, w.s.Root(), w.m); err != nil {
			t.Fatalf("seed %d: store: %v", seed, err)
		}
		if err := same(v, v.Root(), was); err != nil {
			t.Fatalf("seed %d: version: %v", seed, err)
		}
		v.Release()
	}
}

// TestForkCommit: what a Commit refuses and tells is that of the store itself.
func TestForkCommit(t *testing.T) {
	n := func(f float64) lua.LValue { return lua.LNumber(f) }
	for name, call := range map[string]func(s *Store, a *Table){
		"two places": func(s *Store, a *Table) { set(a, "again", at(a, "p").UserData()) },
		"inside":     func(s *Store, a *Table) { set(at(a, "p", "q"), "up", a.UserData()) },
		"function":   func(s *Store, a *Table) { set(at(a, "p"), "f", &lua.LFunction{}) },
		"moved":      func(s *Store, a *Table) { p := at(a, "p"); set(a, "p", lua.LNil); set(a, "r", p.UserData()) },
		"replaced":   func(s *Store, a *Table) { set(a, "p", n(1)) },
		"untouched":  func(s *Store, a *Table) { set(a, "p", at(a, "p").UserData()) },
		"inserted":   func(s *Store, a *Table) { must(at(a, "list").Insert(1, n(7))); set(at(a, "list", 3), "x", n(2)) },
		"shifted": func(s *Store, a *Table) {
			_, err := at(a, "list").Remove(1)
			must(err)
			set(at(a, "list", 1), "x", n(3))
		},
		"sorted": func(s *Store, a *Table) {
			l := at(a, "list")
			one, two := l.GetIndex(nil, 1), l.GetIndex(nil, 2)
			must(l.SetIndex(1, two))
			must(l.SetIndex(2, one))
		},
	} {
		g := newGrove()
		g.Begin()
		set(g.a, "list", g.list(n(1), g.tab("x", n(1)), g.tab("x", n(5))))
		must(g.Commit())
		v := g.Publish()
		s, view := v.Fork()
		outcome := func(s *Store, view *Version) string {
			seen := &toldBy{view: view}
			s.Observe(seen)
			root, _ := TableOf(s.Root().GetString(nil, "a"))
			s.Begin()
			call(s, root)
			if err := s.Commit(); err != nil {
				return err.Error()
			}
			b, err := AppendValue(nil, view, s.Root().UserData(), Limits{Depth: DepthMax + 1})
			must(err)
			return fmt.Sprintf("%v\n%x\nwork %d slots %d moves %d bytes %d", seen.lines, b, s.Work, s.Slots, s.Moves, s.Bytes)
		}
		forked := outcome(s, view)
		g.Work, g.Slots, g.Moves, g.Bytes = 0, 0, 0, 0
		if own := outcome(g.Store, nil); own != forked {
			t.Errorf("%s: fork\n%s\nstore\n%s", name, forked, own)
		}
		v.Release()
	}
}

// toldBy collects what an observer of a store that is read with a view is told.
type toldBy struct {
	view  *Version
	lines []string
}

func (o *toldBy) Wants(string) bool { return true }

func (o *toldBy) Changed(path []lua.LValue, value lua.LValue) {
	b, err := AppendValue(nil, o.view, value, Limits{Depth: DepthMax + 1})
	must(err)
	o.lines = append(o.lines, fmt.Sprintf("%v=%x", path, b))
}
