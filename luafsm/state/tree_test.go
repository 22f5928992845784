package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// A small world for the tree check: objects a and b, each with tables p (with a
// table q in it) and list (of two tables).
type grove struct {
	*Store
	a, b *Table
}

func newGrove() *grove {
	g := &grove{Store: NewStore()}
	g.Begin()
	for _, name := range []string{"a", "b"} {
		o := g.tab("p", g.tab("q", g.tab("n", lua.LNumber(1))), "list", g.list(g.tab("n", lua.LNumber(1)), g.tab("n", lua.LNumber(2))))
		must(g.Root().SetString(name, o))
	}
	must(g.Commit())
	g.a, g.b = at(g.Root(), "a"), at(g.Root(), "b")
	return g
}

func (g *grove) tab(kv ...any) *lua.LUserData {
	t := g.NewTable(0, 0)
	for i := 0; i < len(kv); i += 2 {
		must(t.SetString(kv[i].(string), kv[i+1].(lua.LValue)))
	}
	return t.UserData()
}

func (g *grove) list(vs ...lua.LValue) *lua.LUserData {
	t := g.NewTable(0, 0)
	for i, v := range vs {
		must(t.SetIndex(i+1, v))
	}
	return t.UserData()
}

// at follows a path of names and indexes.
func at(t *Table, path ...any) *Table {
	for _, k := range path {
		v := lua.LValue(lua.LNumber(0))
		switch k := k.(type) {
		case string:
			v = t.GetString(nil, k)
		case int:
			v = t.GetIndex(nil, k)
		}
		sub, ok := TableOf(v)
		if !ok {
			panic(fmt.Sprint("no table at ", path))
		}
		t = sub
	}
	return t
}

func set(t *Table, k string, v lua.LValue) { must(t.SetString(k, v)) }

var fn lua.LValue = &lua.LFunction{}

var treeCases = []struct {
	name string
	do   func(g *grove)
	want string // error; empty for none
}{
	{"nothing", func(g *grove) {}, ""},
	{"a scalar", func(g *grove) { set(g.a, "x", lua.LNumber(1)) }, ""},
	{"a new table", func(g *grove) { set(g.a, "x", g.tab("y", g.tab())) }, ""},
	{"two places, new", func(g *grove) {
		x := g.tab()
		set(g.a, "x", x)
		set(g.a, "y", x)
	}, "a table sits in two places: a.x and a.y; use copy(t)"},
	{"two places, new, within", func(g *grove) {
		x := g.tab()
		set(g.a, "x", g.tab("l", g.list(lua.LNumber(1), x)))
		set(g.b, "y", x)
	}, "a table sits in two places: b.y and a.x.l[2]; use copy(t)"},
	{"two places, twice in a new table", func(g *grove) {
		x := g.tab()
		set(g.a, "x", g.list(x, x))
	}, "a table sits in two places: a.x[1] and a.x[2]; use copy(t)"},
	{"two places, old", func(g *grove) { set(g.a, "x", at(g.b, "p").UserData()) },
		"a table sits in two places: a.x and b.p; use copy(t)"},
	{"two places, old in the same table", func(g *grove) { set(g.a, "x", at(g.a, "p").UserData()) },
		"a table sits in two places: a.p and a.x; use copy(t)"},
	{"two places, old in a new table", func(g *grove) { set(g.a, "x", g.tab("y", at(g.b, "p", "q").UserData())) },
		"a table sits in two places: b.p.q and a.x.y; use copy(t)"},
	{"inside itself, old", func(g *grove) { set(g.a, "x", g.a.UserData()) },
		"a table sits inside itself: a and a.x; use copy(t)"},
	{"inside itself, deeper", func(g *grove) { set(at(g.a, "p", "q"), "x", at(g.a, "p").UserData()) },
		"a table sits inside itself: a.p and a.p.q.x; use copy(t)"},
	{"inside itself, new", func(g *grove) {
		x := g.tab("y", g.tab())
		tx, _ := TableOf(x)
		set(at(tx, "y"), "z", x)
		set(g.a, "x", x)
	}, "a table sits inside itself: a.x and a.x.y.z; use copy(t)"},
	{"a section in the state", func(g *grove) { set(g.a, "x", g.Root().UserData()) },
		"a table sits inside itself: objects and a.x; use copy(t)"},
	{"moved", func(g *grove) {
		set(g.b, "x", at(g.a, "p").UserData())
		set(g.a, "p", lua.LNil)
	}, ""},
	{"moved down into a new table in its own place", func(g *grove) {
		set(g.a, "p", g.tab("wrapped", at(g.a, "p").UserData()))
	}, ""},
	{"moved up", func(g *grove) { set(g.a, "p", at(g.a, "p", "q").UserData()) }, ""},
	{"moved below a table that moves below it", func(g *grove) {
		p, q := at(g.a, "p"), at(g.a, "p", "q")
		set(p, "q", lua.LNil)
		set(g.a, "p", q.UserData())
		set(q, "p", p.UserData())
	}, ""},
	{"cycle that nothing reaches", func(g *grove) {
		set(at(g.a, "p", "q"), "x", at(g.a, "p").UserData())
		set(g.a, "p", lua.LNil)
	}, ""},
	{"swapped", func(g *grove) {
		a, b := at(g.a, "p"), at(g.b, "p")
		set(g.a, "p", b.UserData())
		set(g.b, "p", a.UserData())
	}, ""},
	{"swapped in a list", func(g *grove) {
		l := at(g.a, "list")
		x, y := l.GetIndex(nil, 1), l.GetIndex(nil, 2)
		must(l.SetIndex(1, y))
		must(l.SetIndex(2, x))
	}, ""},
	{"shifted in a list", func(g *grove) { must(at(g.a, "list").Insert(1, lua.LNumber(0))) }, ""},
	{"shifted, then cut by a hole", func(g *grove) {
		must(at(g.a, "list").Insert(1, g.tab()))
		must(at(g.a, "list").SetIndex(2, lua.LNil))
	}, ""},
	{"taken from a list and put back at its end", func(g *grove) {
		v, err := at(g.a, "list").Remove(1)
		must(err)
		must(at(g.a, "list").SetIndex(2, v))
	}, ""},
	{"doubled in a list", func(g *grove) {
		l := at(g.a, "list")
		must(l.Insert(1, l.GetIndex(nil, 2)))
	}, "a table sits in two places: a.list[1] and a.list[3]; use copy(t)"},
	{"detached and attached again", func(g *grove) {
		p := at(g.a, "p")
		set(g.a, "p", lua.LNil)
		set(at(p, "q"), "n", lua.LNumber(7))
		set(g.a, "p", p.UserData())
	}, ""},
	{"a table out of one that goes", func(g *grove) {
		p := at(g.a, "p")
		set(g.b, "x", at(p, "q").UserData())
		set(g.a, "p", lua.LNil)
		set(at(p, "q"), "n", lua.LNumber(7))
	}, ""},
	{"a table out of one that goes and comes back", func(g *grove) {
		p := at(g.a, "p")
		set(g.a, "p", lua.LNil)
		set(g.b, "x", at(p, "q").UserData())
		set(g.b, "y", p.UserData())
	}, "a table sits in two places: b.x and b.y.q; use copy(t)"},
	{"a reference from a table that goes", func(g *grove) {
		p := at(g.a, "p")
		set(p, "x", at(g.b, "p").UserData())
		set(g.a, "p", lua.LNil)
	}, ""},
	{"written in a table that goes", func(g *grove) {
		p := at(g.a, "p")
		set(g.a, "p", lua.LNil)
		set(p, "f", fn)
		set(at(p, "q"), "x", p.UserData())
	}, ""},
	{"a function", func(g *grove) { set(at(g.a, "p"), "x", fn) }, "a.p.x: functions can't be replicated"},
	{"a function that is gone at the end", func(g *grove) {
		set(g.a, "x", fn)
		set(g.a, "x", lua.LNumber(1))
	}, ""},
	{"a function in a list", func(g *grove) {
		must(at(g.a, "list").Insert(1, fn))
		must(at(g.a, "list").Insert(1, lua.LTrue))
	}, "a.list[2]: functions can't be replicated"},
	{"a function deep in a new table", func(g *grove) {
		set(g.a, "x", g.tab("y y", g.list(lua.LTrue, g.tab("f", fn))))
	}, `a.x["y y"][2].f: functions can't be replicated`},
	{"userdata", func(g *grove) { set(g.a, "x", &lua.LUserData{}) }, "a.x: userdata can't be replicated"},
	{"a thread", func(g *grove) { set(g.a, "x", &lua.LState{}) }, "a.x: threads can't be replicated"},
	{"a table as a key", func(g *grove) {
		x := g.NewTable(0, 0)
		must(x.Set(g.tab(), lua.LTrue))
		set(g.a, "x", x.UserData())
	}, "a.x: tables can't be keys in replicated state"},
	{"a metatable", func(g *grove) {
		x := g.NewTable(0, 0)
		must(x.SetMetatable(g.NewTable(0, 0)))
		set(g.a, "x", x.UserData())
	}, "a.x: tables with a metatable can't be replicated"},
	{"a table of the script", func(g *grove) {
		x := g.NewTable(0, 0)
		x.Freeze()
		set(g.a, "x", g.tab("y", x.UserData()))
	}, "a.x.y: tables of the script can't be replicated; use copy(t)"},
	{"as deep as may be", func(g *grove) { set(g.a, "x", g.chain(DepthMax-1)) }, ""},
	{"too deep", func(g *grove) { set(g.a, "x", g.chain(DepthMax)) }, "a: tables are nested deeper than 100"},
	{"a chain without end", func(g *grove) { set(g.a, "x", g.chain(100_000)) }, "a: tables are nested deeper than 100"},
	{"an object too deep", func(g *grove) { set(g.Root(), "c", g.chain(DepthMax+1)) }, "c: tables are nested deeper than 100"},
	{"an old table moved too deep", func(g *grove) {
		c := g.chain(DepthMax - 2)
		t, _ := TableOf(c)
		for t.Count(nil) > 0 {
			t = at(t, "t")
		}
		set(t, "t", at(g.a, "p").UserData())
		set(g.a, "p", lua.LNil)
		set(g.a, "x", c)
	}, "a: tables are nested deeper than 100"},
	{"an object that goes", func(g *grove) { set(g.Root(), "a", lua.LNil) }, ""},
}

// chain is a table in a table, n of them.
func (g *grove) chain(n int) *lua.LUserData {
	v := g.tab()
	for range n - 1 {
		v = g.tab("t", v)
	}
	return v
}

func TestTree(t *testing.T) {
	for _, c := range treeCases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			g := newGrove()
			digest := g.Digest()
			model := modelOf(g.Root())
			g.Begin()
			c.do(g)
			err := g.Commit()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				(&world{s: g.Store, m: modelOf(g.Root()), r: newWorld(1).r}).checkContent(t, c.name)
				return
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if !errors.Is(err, ErrTree) {
				t.Error("not an ErrTree")
			}
			g.Rollback()
			if g.Digest() != digest {
				t.Fatal("Rollback left another digest")
			}
			(&world{s: g.Store, m: model, r: newWorld(1).r}).checkContent(t, c.name)
			g.Begin() // the state is as usable as before
			set(at(g.a, "p", "q"), "n", lua.LNumber(2))
			must(g.Commit())
			g.Begin()
			set(at(g.a, "p", "q"), "n", lua.LNumber(1))
			must(g.Commit())
			if g.Digest() != digest {
				t.Fatal("digest went astray after a Rollback")
			}
		})
	}
}

// modelOf makes a model of a table.
func modelOf(t *Table) *mTable {
	m := newModel()
	t.Each(nil, func(k, v lua.LValue) bool {
		m.vals[fromLua(k)] = fromLua(v)
		return true
	})
	return m
}

func fromLua(v lua.LValue) any {
	switch v := v.(type) {
	case lua.LBool:
		return bool(v)
	case lua.LNumber:
		return float64(v)
	case lua.LString:
		return string(v)
	}
	t, _ := TableOf(v)
	return modelOf(t)
}

// TestWritesRefused has the writes that fail at once.
func TestWritesRefused(t *testing.T) {
	g := newGrove()
	nan := lua.LNumber(0) / lua.LNumber(negZero())
	outside := g.NewTable(0, 0)
	frozen := g.NewTable(0, 0)
	must(frozen.SetString("sub", g.tab()))
	frozen.Freeze()
	if err := g.a.SetString("x", lua.LTrue); err != ErrNoCall {
		t.Errorf("outside a call: %v", err)
	}
	g.Begin()
	defer g.Rollback()
	for name, c := range map[string]struct{ got, want error }{
		"nil key":            {g.a.Set(lua.LNil, lua.LTrue), ErrNilKey},
		"NaN key":            {g.a.Set(nan, lua.LTrue), ErrNaNKey},
		"table key":          {g.a.Set(outside.UserData(), lua.LTrue), ErrKey},
		"function key":       {g.a.Set(fn, lua.LTrue), ErrKey},
		"metatable":          {g.a.SetMetatable(outside), ErrMetatable},
		"frozen":             {frozen.Set(lua.LTrue, lua.LTrue), ErrFrozen},
		"frozen within":      {at(frozen, "sub").SetIndex(1, lua.LTrue), ErrFrozen},
		"frozen insert":      {frozen.Insert(1, lua.LTrue), ErrFrozen},
		"insert beyond":      {g.a.Insert(2, lua.LTrue), ErrPosition},
		"table key outside":  {outside.Set(frozen.UserData(), lua.LTrue), nil},
		"removal of no key":  {outside.Set(fn, lua.LNil), nil},
		"nil metatable in":   {g.a.SetMetatable(nil), nil},
		"metatable outside":  {outside.SetMetatable(frozen), nil},
		"huge index is free": {g.a.SetIndex(67108863, lua.LTrue), nil},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func negZero() float64 { z := 0.0; return -z }

// isTree is what Commit has to find out, the slow way.
func isTree(t *Table, seen map[*Table]bool, depth int) bool {
	if seen[t] || depth > DepthMax {
		return false
	}
	seen[t] = true
	ok := true
	t.Each(nil, func(_, v lua.LValue) bool {
		if sub, is := TableOf(v); is {
			ok = isTree(sub, seen, depth+1)
		} else {
			ok = plain(v)
		}
		return ok
	})
	return ok
}

// TestTreeRandom puts tables, old and new, in the state or out of it, into each
// other at random, and compares the check with a walk of the whole state.
func TestTreeRandom(t *testing.T) {
	accepted, refused := 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 4))
		g := newGrove()
		for range 4 {
			digest, model := g.Digest(), modelOf(g.Root())
			var pool []*Table
			for t := range collect(g.Root()) {
				pool = append(pool, t)
			}
			slices.SortFunc(pool, func(a, b *Table) int { return strings.Compare(g.pathOf(a), g.pathOf(b)) })
			g.Begin()
			for range 2 {
				pool = append(pool, g.NewTable(0, 0))
			}
			for range 1 + r.IntN(7) {
				to := pool[r.IntN(len(pool))]
				k := []lua.LValue{lua.LString("p"), lua.LString("q"), lua.LString("x"), lua.LNumber(1), lua.LNumber(2)}[r.IntN(5)]
				switch r.IntN(8) {
				case 0:
					must(to.Set(k, fn))
				case 1, 2, 3:
					must(to.Set(k, lua.LNil))
				case 4:
					must(to.Insert(1, pool[r.IntN(len(pool))].UserData()))
				case 5:
					if to.Len(nil) > 0 {
						_, err := to.Remove(1)
						must(err)
					}
				default:
					must(to.Set(k, pool[r.IntN(len(pool))].UserData()))
				}
			}
			want := isTree(g.Root(), map[*Table]bool{}, 0)
			err := g.Commit()
			if (err == nil) != want {
				t.Fatalf("seed %d: %v, but a tree: %v", seed, err, want)
			}
			if err != nil {
				refused++
				g.Rollback()
				if g.Digest() != digest {
					t.Fatalf("seed %d: Rollback left another digest", seed)
				}
			} else {
				accepted++
				model = modelOf(g.Root())
			}
			b := build(t, model, r)
			if err := sameHeaders(g.Root(), b.Root()); err != nil || b.Digest() != g.Digest() {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	if accepted < 1000 || refused < 1000 {
		t.Errorf("%d accepted, %d refused: the test sees too little", accepted, refused)
	}
}

// collect is the tables in t.
func collect(t *Table) map[*Table]bool {
	all := map[*Table]bool{}
	t.Each(nil, func(_, v lua.LValue) bool {
		if sub, ok := TableOf(v); ok {
			all[sub] = true
			for t := range collect(sub) {
				all[t] = true
			}
		}
		return true
	})
	return all
}

// TestShrinks says that what was large and is small again takes little.
func TestShrinks(t *testing.T) {
	s := NewStore()
	x := s.NewTable(0, 0)
	for _, v := range []lua.LValue{lua.LTrue, lua.LNil} {
		for i := range 2000 {
			must(x.SetString(fmt.Sprint(i), v))
			must(x.SetIndex(1+i, v))
		}
		for i := 2000; i > 0; i-- {
			must(x.SetIndex(i, v))
		}
	}
	if c := x.cur.Load(); c.root != nil || c.arr.dir != nil || len(c.small)+len(c.arr.head) > 0 {
		t.Errorf("%+v", c)
	}
}
