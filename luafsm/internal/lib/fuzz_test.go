package lib

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzMeter is a small budget, for inputs of a fuzzer.
func fuzzMeter() *testMeter { return &testMeter{maxSteps: 100000, maxBytes: 1 << 20} }

// overrun fails when more was charged than a batch or one walk over the
// pattern beyond the budget.
func overrun(t *testing.T, m *testMeter, slack int) {
	t.Helper()
	if m.steps > m.maxSteps+2*meterBatch+slack {
		t.Errorf("%d steps of %d", m.steps, m.maxSteps)
	}
}

// knownError fails on an error that is neither the budget's nor the script's.
func knownError(t *testing.T, err error) {
	t.Helper()
	var e Error
	if err != nil && err != errBudget && !errors.As(err, &e) {
		t.Errorf("unknown error %v", err)
	}
}

func FuzzPattern(f *testing.F) {
	for _, p := range []string{"(a*(.)%w(%s*))", "%b()", "%f[%a]%a+", "^[^%]%-a-z]-(.?)%1$", "[a", "%", "((()", ".-.-.-b", "[]]", "[^]", "%1", "()%1", "a?a?a?aaa"} {
		f.Add("hello (a(b)) aaa\x00\xff", p, int64(1))
	}
	f.Fuzz(func(t *testing.T, s, p string, init int64) {
		inside := func(m Match, ok bool) {
			if !ok {
				return
			}
			for _, c := range m.Values() {
				if c.IsPosition() {
					c.End = c.Start
				}
				if c.Start < 0 || c.Start > c.End || c.End > len(s) {
					t.Fatalf("capture %v of %d bytes", c, len(s))
				}
			}
		}
		slack := 2*len(p) + len(s) + setSteps
		m := fuzzMeter()
		match, ok, err := FindPattern(m, s, p, init)
		inside(match, ok)
		knownError(t, err)
		overrun(t, m, slack)
		m = fuzzMeter()
		match, ok, err = Find(m, s, p, init, false)
		inside(match, ok)
		knownError(t, err)

		m = fuzzMeter()
		out, n, err := Gsub(m, s, p, func(m Match) (string, bool, error) {
			inside(m, true)
			return s[m.Start:m.End], m.Start%2 == 0, nil
		}, -1)
		knownError(t, err)
		overrun(t, m, slack)
		if err == nil && (out != s || n > len(s)+1) {
			t.Errorf("gsub by the match itself gives %q, %d", out, n)
		}
		m = fuzzMeter()
		for g, n := NewGmatch(s, p), 0; ; n++ {
			match, ok, err := g.Next(m)
			knownError(t, err)
			inside(match, ok)
			if !ok {
				break
			}
			if n > len(s) {
				t.Fatal("gmatch doesn't end")
			}
		}
	})
}

// both gives numbers and texts.
type both struct {
	f float64
	s string
}

func (b both) Number(int) (float64, error) { return b.f, nil }
func (b both) String(int) (string, error)  { return b.s, nil }

func FuzzFormat(f *testing.F) {
	for _, s := range []string{"%d %5.2s|%-+ #05.3x", "%q%c%u", "%.99f %99.99e", "%100d", "%", "%%", "%#g%#.0e%#o", "%.200f", "%-+ #0-d"} {
		f.Add(s, 1.5, "text\x00\"")
		f.Add(s, math.Inf(-1), "")
	}
	f.Fuzz(func(t *testing.T, format string, x float64, s string) {
		m := fuzzMeter()
		out, err := Format(m, format, both{x, s})
		knownError(t, err)
		// A result that is the end of the format is not built, nor charged.
		if err == nil && len(out) != m.bytes && !strings.HasSuffix(format, out) {
			t.Errorf("%d bytes charged for %d", m.bytes, len(out))
		}
	})
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"0x1F", " -1.5e3 ", "1e999", ".", "0x", "nan", "1_0", "5e-324", "0b1"} {
		f.Add(s, 16)
	}
	f.Fuzz(func(t *testing.T, s string, base int) {
		if x, ok := ParseNumber(s); ok {
			if x != x {
				t.Errorf("%q is NaN", s)
			}
			if strings.Trim(s, " \t\n\v\f\r+-.0123456789abcdefABCDEFxX") != "" {
				t.Errorf("%q is a number", s)
			}
			text := FormatNumber(x)
			y, ok := ParseNumber(text)
			if math.Abs(x) <= math.MaxFloat64 && (!ok || FormatNumber(y) != text) {
				t.Errorf("%q prints as %q and reads as %v", s, text, y)
			}
		}
		if x, ok := ParseBase(s, base); ok && x != x {
			t.Errorf("%q in base %d is NaN", s, base)
		}
	})
}

// writer makes canonical text of the events.
type writer struct {
	b     []byte
	after bool // a value or key was written at this level
}

func (w *writer) put(b []byte, err error) error { w.b, w.after = b, true; return err }
func (w *writer) sep() []byte {
	if w.after {
		w.b = append(w.b, ',')
	}
	return w.b
}
func (w *writer) Null() error            { return w.put(append(w.sep(), "null"...), nil) }
func (w *writer) Number(f float64) error { return w.put(AppendJSONNumber(w.sep(), f)) }
func (w *writer) String(s string) error  { return w.put(AppendJSONString(w.sep(), s)) }
func (w *writer) BeginArray() error      { w.b = append(w.sep(), '['); w.after = false; return nil }
func (w *writer) EndArray() error        { return w.put(append(w.b, ']'), nil) }
func (w *writer) BeginObject() error     { w.b = append(w.sep(), '{'); w.after = false; return nil }
func (w *writer) EndObject() error       { return w.put(append(w.b, '}'), nil) }
func (w *writer) Bool(v bool) error {
	if v {
		return w.put(append(w.sep(), "true"...), nil)
	}
	return w.put(append(w.sep(), "false"...), nil)
}

func (w *writer) Key(s string) error {
	b, err := AppendJSONString(w.sep(), s)
	w.b, w.after = append(b, ':'), false
	return err
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,null,true,false],"b":{"c":"\u00e9\ud83d\ude00\n"}}`, `[[[`, `"\ud800"`, `{"a":1,"a":2}`, `1e999`, "\"\xff\"", `[1,]`, "-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := fuzzMeter()
		w := &writer{}
		err := ParseJSON(m, s, w)
		knownError(t, err)
		overrun(t, m, 0)
		if err != nil {
			return
		}
		if !utf8.Valid(w.b) {
			t.Errorf("%q gives invalid UTF-8", s)
		}
		again := &writer{}
		if err := ParseJSON(&testMeter{}, string(w.b), again); err != nil || string(again.b) != string(w.b) {
			t.Errorf("%q gives %q, which gives %q, %v", s, w.b, again.b, err)
		}
	})
}
