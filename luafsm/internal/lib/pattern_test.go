package lib

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// show writes a match as string.find would return it: start, end, captures.
func show(s string, m Match, ok bool, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	if !ok {
		return "nil"
	}
	out := fmt.Sprint(m.Start+1, " ", m.End)
	for _, c := range m.Captures {
		if c.IsPosition() {
			out += fmt.Sprint(" @", c.Start+1)
		} else {
			out += " [" + c.Text(s) + "]"
		}
	}
	return out
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		s, p string
		init int64
		want string
	}{
		{"hello", "l", 1, "3 3"}, {"hello", "l+", 1, "3 4"}, {"hello", "xyz", 1, "nil"}, {"hello", "", 1, "1 0"},
		{"hello", "", 6, "6 5"}, {"hello", "", 100, "6 5"}, {"abc", "b", 100, "nil"}, {"hello", "l", -2, "4 4"}, {"hello", "h", -100, "1 1"},
		{"hello", "l", 0, "3 3"}, {"", "", 1, "1 0"}, {"", "^$", 1, "1 0"}, {"", ".", 1, "nil"}, {"", ".*", 1, "1 0"},
		{"abc", "^b", 1, "nil"}, {"abc", "^b", 2, "2 2"}, {"abc", "c$", 1, "3 3"}, {"a$c", "$c", 1, "2 3"}, {"a^c", "a^c", 1, "1 3"},
		{"abc", "(a)(b)(c)", 1, "1 3 [a] [b] [c]"}, {"abc", "()b()", 1, "2 2 @2 @3"}, {"abc", "((a)(b))", 1, "1 2 [ab] [a] [b]"},
		{"abc", "(a*(.)%w(%s*))", 1, "1 3 [abc] [b] []"}, {"key = value", "^(%w+)%s*=%s*(%w+)$", 1, "1 11 [key] [value]"},
		{"aaab", "a-b", 1, "1 4"}, {"aaab", "a-", 1, "1 0"}, {"<a><b>", "<.->", 1, "1 3"}, {"<a><b>", "<.*>", 1, "1 6"},
		{"aab", "a?a?a?b", 1, "1 3"}, {"b", "a?b", 1, "1 1"}, {"ab", "a?ab", 1, "1 2"}, {"aaa", "a*a", 1, "1 3"}, {"aaa", "^a-$", 1, "1 3"},
		{"THE (quick) fox", "%((%a+)%)", 1, "5 11 [quick]"}, {"f(a(b)c)d", "%b()", 1, "2 8"}, {"((a)", "%b()", 1, "2 4"}, {"(", "%b()", 1, "nil"}, {"abab", "%bab", 1, "1 2"}, {"xaax", "%baa", 1, "2 3"},
		{"THE (quick) fox", "%f[%a]%a+%f[%A]", 5, "6 10"}, {"abc", "%f[%z]", 1, "4 3"}, {"abc", "%f[a]", 1, "1 0"},
		{`"it's"`, `(["'])(.-)%1`, 1, `1 6 ["] [it's]`}, {"abcabc", "(abc)%1", 1, "1 6 [abc]"}, {"aa", "()%1", 1, "nil"},
		{"a]b", "[]]", 1, "2 2"}, {"a]b", "[^]]+", 1, "1 1"}, {"a-b", "[a-]+", 1, "1 2"}, {"a^b", "[b^]", 1, "2 2"}, {"x%y", "[%%]", 1, "2 2"}, {"m-n", "[%-]", 1, "2 2"},
		{"az09_", "[%w_]+", 1, "1 5"}, {"  x", "[^%s]", 1, "3 3"}, {"x9", "[%a-z]+", 1, "1 1"}, {"-9", "[%a-z]", 1, "1 1"}, {"caf\xc3\xa9", "%a+", 1, "1 3"}, {"\xe9", "[\x80-\xff]", 1, "1 1"},
		{"a\x00b", "%z", 1, "2 2"}, {"a\x00b", "a\x00b", 1, "1 3"}, {"a\x00b", "[^%z]+", 1, "1 1"}, {"1.5e3", "%d+%.?%d*", 1, "1 3"}, {"a.b", "%.", 1, "2 2"}, {"0xFF", "%x+", 3, "3 4"},
		{"A1 b", "%u%d%s%l", 1, "1 4"}, {"é!", "%p", 1, "3 3"}, {"\t", "%c", 1, "1 1"}, {"aB", "%A", 1, "nil"}, {"a b", "%S+", 2, "3 3"}, {"%", "%%", 1, "1 1"}, {"a", "%y", 1, "nil"}, {"y", "%y", 1, "1 1"},
		{"abc", "[a", 1, "error: malformed pattern (missing ']')"}, {"abc", "[]", 1, "error: malformed pattern (missing ']')"}, {"abc", "[^]", 1, "error: malformed pattern (missing ']')"},
		{"abc", "[%", 1, "error: malformed pattern (missing ']')"}, {"abc", "[a%]", 1, "error: malformed pattern (missing ']')"}, {"abc", "%", 1, "error: malformed pattern (ends with '%')"},
		{"abc", "(a", 1, "error: unfinished capture"}, {"abc", "a)", 1, "nil"}, {"abc", ".)", 1, "error: invalid pattern capture"}, {"abc", "%1", 1, "error: invalid capture index"}, {"abc", "(a%1)", 1, "error: invalid capture index"},
		{"abc", "%0", 1, "error: invalid capture index"}, {"abc", "%b", 1, "error: unbalanced pattern"}, {"abc", "%bx", 1, "error: unbalanced pattern"}, {"abc", "%fa", 1, "error: missing '[' after '%f' in pattern"},
		{"abc", "x%", 1, "nil"}, // the fault is never reached, as in Lua 5.1
		{"abc", strings.Repeat("()", 32), 1, "1 0" + strings.Repeat(" @1", 32)}, {"abc", strings.Repeat("()", 33), 1, "error: too many captures"},
		{"ab", "(a)?b", 1, "nil"}, {"a?b", "(a)?b", 1, "1 3 [a]"}, {"aXb", "a(.?)b", 1, "1 3 [X]"}, {"ab", "(a-)(b?)$", 1, "1 2 [a] [b]"},
	} {
		m, ok, err := Find(&testMeter{}, c.s, c.p, c.init, false)
		if got := show(c.s, m, ok, err); got != c.want {
			t.Errorf("find(%q, %q, %d) = %s, want %s", c.s, c.p, c.init, got, c.want)
		}
	}
	if _, _, err := FindPattern(&testMeter{}, "abc", "a)", 1); err != ErrPatternClose {
		t.Error("match of a lone ):", err)
	}
	m, ok, err := Find(&testMeter{}, "a.b", ".", 1, true)
	if got := show("a.b", m, ok, err); got != "2 2" {
		t.Error("plain find:", got)
	}
	if m, ok, err = Find(&testMeter{}, "abc", "b", 100, true); ok || err != nil {
		t.Error("plain find beyond the end:", m, ok, err)
	}
}

func TestGsub(t *testing.T) {
	for _, c := range []struct {
		s, p, r string
		max     int64
		want    string
	}{
		{"hello world", "o", "0", -1, "hell0 w0rld 2"}, {"hello", "", "-", -1, "-h-e-l-l-o- 6"}, {"abc", "%w", "%0%0", -1, "aabbcc 3"}, {"abc def", "(%w+) (%w+)", "%2 %1", -1, "def abc 1"},
		{"abc", "%w*", "x", -1, "xx 2"}, {"abc", "^%w", "x", -1, "xbc 1"}, {"aaa", "^a", "b", -1, "baa 1"}, {"aaa", "a", "b", 2, "bba 2"}, {"aaa", "a", "b", 0, "aaa 0"}, {"abc", "b*", "-", -1, "-a--c- 4"},
		{"abc", "x", "y", -1, "abc 0"}, {"a,b", ",", "%%", -1, "a%b 1"}, {"ab", "()b", "%1", -1, "a2 1"}, {"ab", "b", "%1", -1, "ab 1"}, {"ab", "b", "%2", -1, "error: invalid capture index"}, {"ab", "b", "%", -1, "error: invalid use of '%' in replacement string"},
		{"ab", "b", "%x", -1, "ax 1"}, {"", "", "x", -1, "x 1"}, {"", "^", "x", -1, "x 1"}, {"abc", "a", "", -1, "bc 1"}, {"abc", "", "", -1, "abc 4"}, {"  trim  ", "^%s*(.-)%s*$", "%1", -1, "trim 1"},
	} {
		got, n, err := Gsub(&testMeter{}, c.s, c.p, func(m Match) (string, bool, error) {
			text, err := Expand(&testMeter{}, c.s, c.r, m)
			return text, false, err
		}, c.max)
		got = fmt.Sprint(got, " ", n)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("gsub(%q, %q, %q, %d) = %s, want %s", c.s, c.p, c.r, c.max, got, c.want)
		}
	}
	got, n, err := Gsub(&testMeter{}, "abcd", ".", func(m Match) (string, bool, error) { return "X", m.Start%2 == 0, nil }, -1)
	if got != "aXcX" || n != 4 || err != nil {
		t.Error("gsub that keeps:", got, n, err)
	}
	stop := errors.New("stop")
	if _, _, err := Gsub(&testMeter{}, "abcd", ".", func(Match) (string, bool, error) { return "", false, stop }, -1); err != stop {
		t.Error("gsub whose function fails:", err)
	}
}

func TestGmatch(t *testing.T) {
	for _, c := range []struct{ s, p, want string }{
		{"one two", "%a+", "1 3|5 7"}, {"k=v, x=y", "(%w+)=(%w+)", "1 3 [k] [v]|6 8 [x] [y]"}, {"ab", "", "1 0|2 1|3 2"}, {"ab", "b*", "1 0|2 2|3 2"}, {"aaa", "^a", ""}, {"a^a", "^a", "2 3"}, {"", "x", ""},
	} {
		var got []string
		for g := NewGmatch(c.s, c.p); ; {
			m, ok, err := g.Next(&testMeter{})
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, show(g.Subject(), m, ok, err))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("gmatch(%q, %q): %s, want %s", c.s, c.p, s, c.want)
		}
	}
}

// TestHostilePatterns has the inputs of the threat list: each ends by the budget or
// an error, with few bytes.
func TestHostilePatterns(t *testing.T) {
	as := strings.Repeat("a", 100000)
	for _, c := range []struct {
		s, p string
		want error
	}{
		{as, ".*b", errBudget}, {as[:300], ".-.-.-.-b", errBudget}, {"", strings.Repeat("(", 4000000), ErrPatternCaptures},
		{as, strings.Repeat("a?", 2000000), ErrPatternComplex}, {as, strings.Repeat("a-", 100000) + "b", ErrPatternComplex}, {as, "(.-)%1b", errBudget},
		{as, strings.Repeat("[", 2000000), ErrPatternSet}, {as, "%b()" + strings.Repeat("%b()", 1000), nil}, {strings.Repeat("(", 100000), "%b()", errBudget},
		{as, "[" + strings.Repeat("b", 100000) + "]", nil}, {as, "[b]-[b]-[c]-[d]-[e]-[f]-[g]x", errBudget},
	} {
		m := &testMeter{maxSteps: 5000000, maxBytes: 4 << 20}
		_, _, err := Find(m, c.s, c.p, 1, false)
		if err != c.want {
			t.Errorf("find in %d bytes of %.20q: %v, want %v", len(c.s), c.p, err, c.want)
		}
		if m.bytes > frameMax*frameBytes {
			t.Errorf("%.20q took %d bytes", c.p, m.bytes)
		}
	}
	m := &testMeter{}
	s, n, err := Gsub(m, as, "a", func(Match) (string, bool, error) { return "b", false, nil }, -1)
	if err != nil || n != len(as) || s != strings.Repeat("b", len(as)) || m.steps != 5*len(as)+1+matcherSteps || m.bytes != len(as) {
		t.Errorf("gsub of 1e5 letters: %d matches, %d steps, %d bytes, %v", n, m.steps, m.bytes, err)
	}
	m = &testMeter{maxBytes: 1 << 20}
	if _, _, err = Gsub(m, as, "a", func(Match) (string, bool, error) { return as, false, nil }, -1); err != errBudget {
		t.Error("gsub that grows:", err)
	}
}
