package shell

import (
	"context"
	"regexp"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// evaluate gives the values of an expression.
func evaluate(t *testing.T, expr string) []lua.LValue {
	t.Helper()
	s, _ := newTestSession(t, newFake())
	proto, err := compileInput(expr, "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	var out []lua.LValue
	err = s.do(context.Background(), func(k *task) error {
		out, err = s.callProto(k, proto)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sgr are the sequences of colours.
var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func TestPretty(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"scalar", "5", "5"},
		{"string", "'two\\nlines'", "two\nlines"},
		{"two values", "1, 'x'", "1\n\"x\""},
		{"fits", "{1, 2, {a = 'b'}}", "{1, 2, {a = \"b\"}}"},
		{"nested", "{name = 'a long enough name', list = {1, 2, 3}, ['not a name'] = {deep = {true, false}}}",
			"{\n  list = {1, 2, 3},\n  name = \"a long enough name\",\n  [\"not a name\"] = {\n    deep = {true, false},\n  },\n}"},
		{"records", "{{id = 1, owner = 'ann'}, {id = 20, owner = 'bob', open = true}, {id = 300}}",
			" id  open  owner\n  1        ann\n 20  true  bob\n300"},
		{"records by key", "{ann = {balance = 10, note = '7'}, bob = {balance = 2.5, note = ''}}",
			"KEY  balance  note\nann       10  \"7\"\nbob      2.5  \"\""},
		{"no records: a list in one", "{{id = 1, a = 'aaaaaaaaaa'}, {id = 2, list = {1, 2, 3}}}",
			"{\n  {a = \"aaaaaaaaaa\", id = 1},\n  {id = 2, list = {1, 2, 3}},\n}"},
		{"records too wide", "{{a = ('x'):rep(40)}, {a = 'y'}}",
			"{\n  {\n    a = \"" + strings.Repeat("x", 40) + "\",\n  },\n  {a = \"y\"},\n}"},
		{"escape sequences", "'\\27[2J\\155'", "\\027[2J\\155"},
		{"inside itself", "(function() local t = {name = ('x'):rep(30)} t.t = t return t end)()",
			"{\n  name = \"" + strings.Repeat("x", 30) + "\",\n  t = {...},\n}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			values := evaluate(t, c.in)
			for _, colours := range []bool{false, true} {
				p := Pretty{Width: func() int { return 30 }, Colours: colours}
				got := strings.Join(p.results(values, false), "\n")
				if colours != strings.Contains(got, "\x1b[") && c.name != "string" && c.name != "escape sequences" {
					t.Errorf("colours %v: %q", colours, got)
				}
				if got = sgr.ReplaceAllString(got, ""); got != c.want {
					t.Errorf("colours %v: got\n%s\nwant\n%s", colours, got, c.want)
				}
			}
		})
	}
}

func TestPrettyCut(t *testing.T) {
	p := Pretty{Width: func() int { return 40 }}
	for _, c := range []struct {
		name, in string
		all      int // lines of the whole
	}{
		{"list", "(function() local t = {} for i = 1, 1000 do t[i] = i end return t end)()", 1002},
		{"records", "(function() local t = {} for i = 1, 1000 do t[i] = {id = i, double = 2 * i} end return t end)()", 1001},
		{"nested", "(function() local t = {} for i = 1, 100 do t['k' .. i] = {{{('x'):rep(50)}}} end return t end)()", 702},
		{"text", "('line\\n'):rep(1000)", 1001},
	} {
		values := evaluate(t, c.in)
		got := p.results(values, false)
		if len(got) != prettyLinesMax+1 || got[prettyLinesMax] != cutText {
			t.Errorf("%s: %d lines, the last %q", c.name, len(got), got[len(got)-1])
		}
		if got := p.results(values, true); len(got) != c.all {
			t.Errorf("%s: all are %d lines, want %d", c.name, len(got), c.all)
		}
	}
	long := evaluate(t, "{('x'):rep(5000)}")
	if got := p.results(long, false); len(got) != 4 || got[3] != cutText || len(got[1]) > prettyTextMax+10 {
		t.Errorf("long string: %d lines of %d bytes", len(got), len(got[1]))
	}
	if got := p.results(long, true); len(got) != 3 || !strings.Contains(got[1], strings.Repeat("x", 5000)) {
		t.Errorf("long string, all of it: %d lines", len(got))
	}
}

func TestHighlight(t *testing.T) {
	counter := func(name string) bool { return name == "counter" }
	for in, want := range map[string]string{
		`counter:inc(5)`:        `<34>counter<0>:inc(<36>5<0>)`,
		`local x = "a\"b" -- c`: `<35>local<0> x = <32>"a\"b"<0> <90>-- c<0>`,
		`x = 'open`:             `x = <32>'open<0>`,
		`return nil, 1e-5, [[`:  `<35>return<0> <36>nil<0>, <36>1e-5<0>, <32>[[<0>`,
		`größe = 0x1F..x2`:      `größe = <36>0x1F..x2<0>`,
		``:                      ``,
	} {
		got := highlight(in, counter)
		if plain := sgr.ReplaceAllString(got, ""); plain != in {
			t.Errorf("%q became %q", in, plain)
		}
		got = regexp.MustCompile(`\x1b\[([0-9;]*)m`).ReplaceAllString(got, "<$1>")
		if got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
