package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// told collects what an observer is told, as text, and repeats it in a copy.
type told struct {
	only  string // an object; empty: all
	lines []string
	copy  *Store
}

func (o *told) Wants(object string) bool { return o.only == "" || o.only == object }

func (o *told) Changed(path []lua.LValue, new lua.LValue) {
	line := ""
	for _, k := range path {
		kk, _, _ := (&Table{}).keyOf(k)
		line = joinPath(line, kk)
	}
	b, err := AppendValue(nil, nil, new, Limits{Depth: DepthMax + 1})
	must(err)
	if o.copy != nil {
		t := o.copy.Root()
		for _, k := range path[:len(path)-1] {
			t, _ = TableOf(t.Get(nil, k))
		}
		v, err := o.copy.Copy(nil, new, Limits{Depth: DepthMax + 1}, nil)
		must(err)
		must(t.Set(path[len(path)-1], v))
	}
	o.lines = append(o.lines, fmt.Sprintf("%s=%x", line, b))
}

func TestObserve(t *testing.T) {
	n := func(f float64) lua.LValue { return lua.LNumber(f) }
	for _, k := range []struct {
		name string
		call func(g *grove)
		want string
	}{
		{"nothing", func(*grove) {}, ""},
		{"a field", func(g *grove) { set(g.a, "x", n(1)) }, "a.x=01"},
		{"the same value", func(g *grove) { set(at(g.a, "p"), "x", lua.LNil); set(at(g.a, "p", "q"), "n", n(1)) }, ""},
		{"deep, and the last of two", func(g *grove) { set(at(g.a, "p", "q"), "n", n(2)); set(at(g.a, "p", "q"), "n", n(3)) }, "a.p.q.n=03"},
		{"there and back", func(g *grove) { set(g.a, "x", n(2)); set(g.a, "x", lua.LNil) }, ""},
		{"gone", func(g *grove) { set(at(g.a, "p"), "q", lua.LNil) }, "a.p.q=c0"},
		{"written, then gone", func(g *grove) { set(at(g.a, "p", "q"), "n", n(2)); set(g.a, "p", lua.LNil) }, "a.p=c0"},
		{"gone and put back", func(g *grove) {
			p := at(g.a, "p")
			set(g.a, "p", lua.LNil)
			set(at(p, "q"), "n", n(2))
			set(g.a, "p", p.UserData())
		}, "a.p.q.n=02"},
		{"moved", func(g *grove) {
			q := at(g.a, "p", "q")
			set(at(g.a, "p"), "q", lua.LNil)
			set(g.b, "q", q.UserData())
			set(q, "n", n(2))
		}, "a.p.q=c0;b.q=81a16e02"},
		{"a new table, filled later", func(g *grove) {
			v := g.tab()
			set(g.a, "x", v)
			sub, _ := TableOf(v)
			set(sub, "y", n(1))
		}, "a.x=81a17901"},
		{"appended", func(g *grove) { must(at(g.a, "list").SetIndex(3, n(9))) }, "a.list[3]=09"},
		{"inserted", func(g *grove) { must(at(g.a, "list").Insert(1, n(9))) }, "a.list=930981a16e0181a16e02"},
		{"gone, put back, and inserted", func(g *grove) {
			l := at(g.a, "list")
			set(g.a, "list", lua.LNil)
			set(g.a, "list", l.UserData())
			must(l.Insert(1, n(9)))
		}, "a.list=930981a16e0181a16e02"},
		{"removed, and written where it moved", func(g *grove) {
			second, _ := TableOf(at(g.a, "list").GetIndex(nil, 2))
			_, err := at(g.a, "list").Remove(1)
			must(err)
			set(second, "n", n(5))
		}, "a.list=9181a16e05"},
		{"an object", func(g *grove) { set(g.Root(), "b", lua.LNil); set(g.Root(), "c", g.tab("x", n(1))) }, "b=c0;c=81a17801"},
		{"another section", func(g *grove) { set(g.Section("other"), "x", n(1)) }, ""},
	} {
		t.Run(k.name, func(t *testing.T) {
			g := newGrove()
			o := &told{}
			g.Observe(o)
			g.Begin()
			k.call(g)
			g.Rollback()
			g.Begin()
			g.Begin()
			k.call(g)
			must(g.Commit())
			g.Rollback() // as a dry run
			if len(o.lines) > 0 {
				t.Fatalf("told of a call that was undone: %s", o.lines)
			}
			g.Begin()
			k.call(g)
			must(g.Commit())
			if got := strings.Join(o.lines, ";"); got != k.want {
				t.Errorf("got  %s\nwant %s", got, k.want)
			}
		})
	}
}

func TestObserveOneObject(t *testing.T) {
	g := newGrove()
	o := &told{only: "b"}
	g.Observe(o)
	g.Begin()
	set(g.a, "x", lua.LTrue)
	set(g.b, "x", lua.LTrue)
	must(g.Commit())
	if got := strings.Join(o.lines, ";"); got != "b.x=c3" {
		t.Errorf("got %s", got)
	}
}

// Whatever calls do, what is told turns a copy of the state before into one of
// the state after, and a call that leaves the state as it was is told nothing of.
func TestObserveRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		s, o := NewStore(), &told{copy: NewStore()}
		s.Observe(o)
		for call := range 60 {
			before := s.Digest()
			o.lines = nil
			o.copy.Begin()
			s.Begin()
			inserts := randomWrites(r, s)
			if err := s.Commit(); err != nil {
				s.Rollback()
				inserts = false
			}
			if err := o.copy.Commit(); err != nil {
				t.Fatalf("seed %d call %d: %v", seed, call, err)
			}
			if s.Digest() != o.copy.Digest() {
				t.Fatalf("seed %d call %d: the copy differs after %s", seed, call, o.lines)
			}
			if s.Digest() == before && len(o.lines) > 0 && !inserts && !slices.ContainsFunc(o.lines, isTable) {
				t.Fatalf("seed %d call %d: nothing has changed, told %s", seed, call, o.lines)
			}
		}
	}
}

// isTable: a table that was replaced by an equal one is told of.
func isTable(line string) bool {
	_, value, _ := strings.Cut(line, "=")
	return value[0] == '8' || value[0] == '9'
}

// randomWrites makes a few writes to random tables of the state, and says whether
// any moved values.
func randomWrites(r *rand.Rand, s *Store) (inserts bool) {
	tables := func() (all []*Table) {
		var walk func(t *Table)
		walk = func(t *Table) {
			if slices.Contains(all, t) {
				return
			}
			all = append(all, t)
			t.Each(nil, func(_, v lua.LValue) bool {
				if sub, ok := TableOf(v); ok {
					walk(sub)
				}
				return true
			})
		}
		s.Root().Each(nil, func(_, v lua.LValue) bool { sub, _ := TableOf(v); walk(sub); return true })
		return all
	}
	for range 1 + r.IntN(6) {
		all := tables()
		if len(all) == 0 || r.IntN(12) == 0 {
			v := lua.LValue(s.NewTable(0, 0).UserData())
			if r.IntN(3) == 0 {
				v = lua.LNil
			}
			must(s.Root().SetString(string(rune('a'+r.IntN(3))), v))
			continue
		}
		t := all[r.IntN(len(all))]
		value := []lua.LValue{lua.LNil, lua.LNumber(r.IntN(3)), lua.LTrue, lua.LString("s"), s.NewTable(0, 0).UserData(), all[r.IntN(len(all))].UserData()}[r.IntN(6)]
		switch n := t.Len(nil); r.IntN(6) {
		case 0:
			must(t.Insert(1+r.IntN(n+1), value))
			inserts = true
		case 1:
			if n > 0 {
				_, err := t.Remove(1 + r.IntN(n))
				must(err)
				inserts = true
			}
		case 2:
			must(t.SetIndex(1+r.IntN(4), value))
		default:
			must(t.SetString(string(rune('p'+r.IntN(4))), value))
		}
	}
	return inserts
}
