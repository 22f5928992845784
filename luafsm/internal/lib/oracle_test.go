package lib

import (
	"fmt"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// patternItems are combined to patterns; faulty ones come about too.
var patternItems = []string{"a", "b", ".", "%a", "%d", "[ab]", "[^a]", "[a-c1]", "(", ")", "()", "%1", "%b()", "1", " ", "%s", "%W", "$", "%(", "%)", "[%a]", "[^%d]"}

// randomPattern draws a pattern and a subject.
func randomPattern(r *Rand) (s, p string) {
	for n := r.Int(0, 8); n > 0; n-- {
		s += string("aab1 ()c"[r.Int(0, 7)])
	}
	open := 0
	if r.Int(0, 4) == 0 {
		p = "^"
	}
	for n := r.Int(1, 5); n > 0; n-- {
		item := patternItems[r.Int(0, int64(len(patternItems)-1))]
		switch {
		case item == "(":
			open++
		case item == ")" && open == 0:
			continue
		case item == ")":
			open--
		}
		p += item
		if !strings.HasPrefix(item, "%b") && item != "(" && item != ")" && item != "()" && item != "%1" && item != "$" {
			p += []string{"", "", "*", "+", "-", "?"}[r.Int(0, 5)]
		}
	}
	return s, p + strings.Repeat(")", open)
}

// TestPatternOracle compares find with gopher-lua's, where both find the pattern
// well formed.
func TestPatternOracle(t *testing.T) {
	l := lua.NewState()
	defer l.Close()
	find := l.GetField(l.GetGlobal("string"), "find")
	r := NewRand(7)
	compared := 0
	for range 30000 {
		s, p := randomPattern(&r)
		m, ok, err := Find(&testMeter{}, s, p, 1, false)
		// A reference to a position never matches in Lua 5.1; gopher-lua takes
		// it for an empty text.
		if err != nil || strings.Contains(p, "()") && strings.Contains(p, "%1") {
			continue
		}
		top := l.GetTop()
		if l.CallByParam(lua.P{Fn: find, NRet: lua.MultRet, Protect: true}, lua.LString(s), lua.LString(p)) != nil {
			continue
		}
		var want []string
		for i := top + 1; i <= l.GetTop(); i++ {
			want = append(want, l.Get(i).String())
		}
		l.SetTop(top)
		got := []string{"nil"}
		if ok {
			got = []string{fmt.Sprint(m.Start + 1), fmt.Sprint(m.End)}
			for _, c := range m.Captures {
				if c.IsPosition() {
					got = append(got, fmt.Sprint(c.Start+1))
				} else {
					got = append(got, c.Text(s))
				}
			}
		}
		compared++
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("find(%q, %q) = %q, gopher-lua has %q", s, p, got, want)
		}
	}
	t.Logf("%d cases compared", compared)
	if compared < 15000 {
		t.Errorf("only %d cases were compared", compared)
	}
}
