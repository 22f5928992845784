package state

import (
	"bytes"
	"math"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// Numbers that are equal, or no numbers, have one form in tables, by whatever
// way they came: the digest, which sees bits, is then that of the dump.
func TestNumbersAreCanonical(t *testing.T) {
	const canonical = 0x7ff8000000000000
	for _, c := range []struct {
		name  string
		f     float64
		wants uint64
	}{
		{"-0", math.Copysign(0, -1), 0},
		{"0", 0, 0},
		{"NaN", math.NaN(), canonical},
		{"-NaN", math.Float64frombits(0xfff8000000000000), canonical},
		{"NaN with a payload", math.Float64frombits(0x7ff8000000000123), canonical},
		{"signalling NaN", math.Float64frombits(0x7ff0000000000001), canonical},
	} {
		v := lua.LNumber(c.f)
		for way, write := range map[string]func(*Table){
			"Set":               func(tb *Table) { must(tb.Set(lua.LString("x"), v)) },
			"SetString":         func(tb *Table) { must(tb.SetString("x", v)) },
			"SetIndex":          func(tb *Table) { must(tb.SetIndex(1, v)) },
			"SetIndex, in map":  func(tb *Table) { must(tb.SetIndex(7, v)) },
			"Insert":            func(tb *Table) { must(tb.SetIndex(1, lua.LTrue)); must(tb.Insert(1, v)) },
			"Insert at the end": func(tb *Table) { must(tb.Insert(1, v)) },
			"overwritten":       func(tb *Table) { must(tb.SetString("x", lua.LTrue)); must(tb.SetString("x", v)) },
			"new table": func(tb *Table) {
				sub := tb.Store().NewTable(0, 0)
				must(sub.SetIndex(1, v))
				must(sub.SetString("x", v))
				must(tb.SetString("sub", sub.UserData()))
			},
		} {
			s := NewStore()
			s.Begin()
			tb := s.NewTable(0, 0)
			must(s.Root().SetString("t", tb.UserData()))
			must(s.Commit()) // tb is in the state
			s.Begin()
			write(tb)
			must(s.Commit())
			seen := 0
			var look func(tb *Table)
			look = func(tb *Table) {
				tb.Each(nil, func(_, v lua.LValue) bool {
					if sub, ok := TableOf(v); ok {
						look(sub)
					}
					if n, ok := v.(lua.LNumber); ok {
						if seen++; math.Float64bits(float64(n)) != c.wants {
							t.Errorf("%s, %s: %x in the table", c.name, way, math.Float64bits(float64(n)))
						}
					}
					return true
				})
			}
			look(tb)
			if seen == 0 {
				t.Errorf("%s, %s: no number", c.name, way)
			}
			version := s.Publish()
			restored, err := Restore(bytes.NewReader(dumpOf(t, version)))
			version.Release()
			if err != nil || restored.Digest() != s.Digest() {
				t.Errorf("%s, %s: %v, or the digests differ", c.name, way, err)
			}
		}
	}
}
