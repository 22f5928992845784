package state

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// mixed is {10, 20, 30, [true]=1, [-1]=1, [2.5]=1, a=1, b=1}.
func mixed(s *Store) *Table {
	t := s.NewTable(0, 0)
	for i := range 3 {
		must(t.SetIndex(i+1, lua.LNumber(10*(i+1))))
	}
	must(t.Set(lua.LTrue, lua.LNumber(1)))
	must(t.Set(lua.LNumber(-1), lua.LNumber(1)))
	must(t.Set(lua.LNumber(2.5), lua.LNumber(1)))
	must(t.SetString("b", lua.LNumber(1)))
	must(t.SetString("a", lua.LNumber(1)))
	return t
}

// TestTraversal changes a table while it is traversed by Iter and by Next.
func TestTraversal(t *testing.T) {
	clear := func(t *Table, k lua.LValue) { must(t.Set(k, lua.LNil)) }
	for _, c := range []struct {
		name       string
		at         func(t *Table, k lua.LValue)
		iter, next string
	}{
		{"nothing", func(*Table, lua.LValue) {},
			"1 2 3 true -1 2.5 a b", "1 2 3 true -1 2.5 a b"},
		{"clear each", clear,
			"1 2 3 true -1 2.5 a b", "1 true -1 2 2.5 3 a b"},
		{"clear the second", func(t *Table, k lua.LValue) {
			if k == lua.LNumber(2) {
				clear(t, k)
			}
		}, "1 2 3 true -1 2.5 a b", "1 2 true -1 2.5 3 a b"},
		{"clear the last of the sequence", func(t *Table, k lua.LValue) {
			if k == lua.LNumber(3) {
				clear(t, k)
			}
		}, "1 2 3 true -1 2.5 a b", "1 2 3 true -1 2.5 a b"},
		{"clear strings", func(t *Table, k lua.LValue) {
			if _, ok := k.(lua.LString); ok {
				clear(t, k)
			}
		}, "1 2 3 true -1 2.5 a b", "1 2 3 true -1 2.5 a b"},
		{"clear one ahead", func(t *Table, k lua.LValue) {
			if k == lua.LTrue {
				clear(t, lua.LNumber(-1))
			}
		}, "1 2 3 true 2.5 a b", "1 2 3 true 2.5 a b"},
		{"assign", func(t *Table, k lua.LValue) { must(t.Set(k, lua.LTrue)) },
			"1 2 3 true -1 2.5 a b", "1 2 3 true -1 2.5 a b"},
		{"add before and behind", func(t *Table, k lua.LValue) {
			if k == lua.LString("a") {
				must(t.SetString("aa", lua.LTrue))
				must(t.SetString("A", lua.LTrue))
				must(t.SetIndex(4, lua.LTrue))
			}
		}, "1 2 3 true -1 2.5 a aa b", "1 2 3 true -1 2.5 a aa b"},
		{"extend the sequence", func(t *Table, k lua.LValue) {
			if k == lua.LNumber(2) {
				must(t.SetIndex(4, lua.LTrue))
				must(t.SetIndex(6, lua.LTrue))
			}
		}, "1 2 3 true -1 2.5 4 6 a b", "1 2 3 4 true -1 2.5 6 a b"},
		{"extend it from a number", func(t *Table, k lua.LValue) {
			if k == lua.LNumber(2.5) {
				must(t.SetIndex(4, lua.LTrue))
				must(t.SetIndex(5, lua.LTrue))
			}
		}, "1 2 3 true -1 2.5 4 5 a b", "1 2 3 true -1 2.5 a b"},
		{"clear an earlier one of the sequence", func(t *Table, k lua.LValue) {
			if k == lua.LNumber(2) {
				clear(t, lua.LNumber(1))
			}
		}, "1 2 3 true -1 2.5 a b", "1 2 2.5 3 a b"}, // the case that Next's comment names
	} {
		s := NewStore()
		tb := mixed(s)
		var got []string
		it := tb.Iter(nil)
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			got = append(got, k.String())
			c.at(tb, k)
		}
		if g := strings.Join(got, " "); g != c.iter {
			t.Errorf("%s: Iter %s, want %s", c.name, g, c.iter)
		}
		tb, got = mixed(s), nil
		for k, _, ok, err := tb.Next(nil, nil); ok; k, _, ok, err = tb.Next(nil, k) {
			must(err)
			got = append(got, k.String())
			c.at(tb, k)
		}
		if g := strings.Join(got, " "); g != c.next {
			t.Errorf("%s: Next %s, want %s", c.name, g, c.next)
		}
	}
}

// TestRefKeys has the order of keys that have none of their own.
func TestRefKeys(t *testing.T) {
	s := NewStore()
	tb := s.NewTable(0, 0)
	a, b, c := s.NewTable(0, 0).UserData(), fn, s.NewTable(0, 0).UserData()
	for i, k := range []lua.LValue{b, a, lua.LString("s"), c} {
		must(tb.Set(k, lua.LNumber(i)))
	}
	order := func() (out []lua.LValue) {
		for k, _, ok, err := tb.Next(nil, nil); ok; k, _, ok, err = tb.Next(nil, k) {
			must(err)
			out = append(out, k)
			must(tb.Set(k, lua.LTrue))
		}
		return out
	}
	if got := fmt.Sprint(order()); got != fmt.Sprint([]lua.LValue{lua.LString("s"), b, a, c}) {
		t.Error(got)
	}
	must(tb.Set(a, lua.LNil))
	if k, _, _, err := tb.Next(nil, a); k != c || err != nil {
		t.Error("after a removed key: ", k, err)
	}
	if tb.Get(nil, a) != lua.LNil || tb.Get(nil, c) != lua.LTrue {
		t.Error("values")
	}
	if _, _, _, err := tb.Next(nil, s.NewTable(0, 0).UserData()); err != ErrNext {
		t.Error(err)
	}
}

// TestIterStays says that what stays is visited once, whatever else happens.
func TestIterStays(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := &world{s: NewStore(), m: newModel(), r: r}
		tb := w.s.NewTable(0, 0)
		for range 40 {
			must(tb.Set(toLua(w.key()), lua.LTrue))
		}
		stays := map[lua.LValue]bool{}
		tb.Each(nil, func(k, _ lua.LValue) bool { stays[k] = true; return true })
		seen := map[lua.LValue]bool{}
		it := tb.Iter(nil)
		for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
			if seen[k] || tb.Get(nil, k) != v {
				t.Fatalf("seed %d: %v twice, or with another value", seed, k)
			}
			seen[k] = true
			for range r.IntN(4) {
				x := toLua(w.key())
				if r.IntN(2) == 0 {
					must(tb.Set(x, lua.LNil))
					delete(stays, x)
				} else {
					must(tb.Set(x, lua.LFalse))
				}
			}
		}
		for k := range stays {
			if !seen[k] {
				t.Fatalf("seed %d: %v not visited", seed, k)
			}
		}
	}
}

// TestKeys has the equalities of keys and the canonical forms of values.
func TestKeys(t *testing.T) {
	s := NewStore()
	tb := s.NewTable(0, 0)
	must(tb.Set(lua.LNumber(negZero()), lua.LNumber(negZero())))
	if v := tb.Get(nil, lua.LNumber(0)); v.String() != "0" {
		t.Error("-0 is stored as ", v)
	}
	must(tb.Set(lua.LNumber(1e300), lua.LTrue))
	must(tb.Set(lua.LString("1"), lua.LNumber(1)))
	must(tb.Set(lua.LNumber(1), lua.LNumber(2)))
	if tb.Count(nil) != 4 || tb.Len(nil) != 1 || tb.GetString(nil, "1") != lua.LNumber(1) {
		t.Error("count ", tb.Count(nil), " length ", tb.Len(nil))
	}
	if again := tb.UserData(); again != tb.UserData() {
		t.Error("another userdata")
	}
	if got, ok := TableOf(tb.UserData()); !ok || got != tb {
		t.Error("TableOf")
	}
}

// TestCharges says what Slots, Work and Moves count.
func TestCharges(t *testing.T) {
	s := NewStore()
	tb := s.NewTable(0, 0)
	charge := func(do func()) [3]uint64 {
		s.Slots, s.Work, s.Moves = 0, 0, 0
		do()
		return [3]uint64{s.Slots, s.Work, s.Moves}
	}
	for _, c := range []struct {
		name string
		do   func()
		want [3]uint64
	}{
		{"hundred values", func() {
			for i := range 100 {
				must(tb.SetIndex(i+1, lua.LTrue))
			}
		}, [3]uint64{100, 0}},
		{"assign", func() { must(tb.SetIndex(1, lua.LFalse)) }, [3]uint64{}},
		{"hole", func() { must(tb.SetIndex(41, lua.LNil)) }, [3]uint64{0, 0, 59}},
		{"far", func() { must(tb.SetIndex(1e6, lua.LTrue)) }, [3]uint64{1, 0}},
		{"filled", func() { must(tb.SetIndex(41, lua.LTrue)) }, [3]uint64{1, 0, 59}},
		{"insert", func() { must(tb.Insert(1, lua.LTrue)) }, [3]uint64{1, 100}},
		{"remove", func() { _, err := tb.Remove(2); must(err) }, [3]uint64{0, 99}},
	} {
		if got := charge(c.do); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Moves says before a Set what it will move, in the state twice, and stops
// counting where it is told.
func TestMoves(t *testing.T) {
	s := NewStore()
	tb := s.NewTable(0, 0)
	for i := range 100 {
		must(tb.SetIndex(i+1, lua.LTrue))
	}
	must(tb.SetString("x", lua.LTrue))
	set := func(i int, v lua.LValue, want int) {
		t.Helper()
		k := lua.LNumber(i)
		if got := tb.Moves(k, v, 1000); got != want {
			t.Errorf("[%d] = %v: %d moves, want %d", i, v, got, want)
		}
		s.Moves = 0
		must(tb.Set(k, v))
		if s.Moves != uint64(want) {
			t.Errorf("[%d] = %v moved %d, want %d", i, v, s.Moves, want)
		}
	}
	all := func() {
		for i := 1; i < 100; i += 13 {
			n := (100 - i) * (1 + map[bool]int{true: 1}[tb.InState()])
			set(i, lua.LNil, n)
			if got := tb.Moves(lua.LNumber(i), lua.LTrue, 10); 100-i > 10 && got > 20 {
				t.Errorf("%d were counted, 10 asked for", got)
			}
			set(i, lua.LTrue, n)
		}
		set(100, lua.LNil, 0)
		set(100, lua.LTrue, 0)
		set(300, lua.LTrue, 0)
		set(300, lua.LNil, 0)
		set(50, lua.LFalse, 0)
	}
	all()
	s.Begin()
	must(s.Root().SetString("t", tb.UserData()))
	must(s.Commit())
	s.Begin()
	before := s.Digest()
	all()
	s.Rollback()
	if s.Digest() != before || tb.Len(nil) != 100 || tb.GetIndex(nil, 51) != lua.LTrue {
		t.Error("not as before")
	}
	for _, k := range []lua.LValue{lua.LString("x"), lua.LNumber(1.5), lua.LNumber(-1), lua.LNumber(0), lua.LTrue} {
		if n := tb.Moves(k, lua.LNil, 1000); n != 0 {
			t.Errorf("%v: %d moves", k, n)
		}
	}
}
