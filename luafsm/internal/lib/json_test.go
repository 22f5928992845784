package lib

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// trace writes the events of ParseJSON.
type trace struct {
	strings.Builder
	fail bool
}

var errHandler = errors.New("handler")

func (h *trace) event(s string) error {
	h.WriteString(s)
	if h.fail {
		return errHandler
	}
	return nil
}
func (h *trace) Null() error            { return h.event("null ") }
func (h *trace) Bool(v bool) error      { return h.event(fmt.Sprint(v, " ")) }
func (h *trace) Number(f float64) error { return h.event(FormatNumber(f) + " ") }
func (h *trace) String(s string) error  { return h.event(fmt.Sprintf("%q ", s)) }
func (h *trace) BeginArray() error      { return h.event("[ ") }
func (h *trace) EndArray() error        { return h.event("] ") }
func (h *trace) BeginObject() error     { return h.event("{ ") }
func (h *trace) Key(s string) error     { return h.event(fmt.Sprintf("%q: ", s)) }
func (h *trace) EndObject() error       { return h.event("} ") }

// events hides Builder.String behind the handler's.
func parse(m Meter, s string) string {
	h := &trace{}
	err := ParseJSON(m, s, h)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(h.Builder.String())
}

func TestParseJSON(t *testing.T) {
	for _, c := range []struct{ s, want string }{
		{"null", "null"}, {" true ", "true"}, {"false", "false"}, {"0", "0"}, {"-0", "0"}, {"-1.5e+3", "-1500"}, {"1E2", "100"}, {"1e-999", "0"}, {`""`, `""`}, {`"a\"\\\/\b\f\n\r\tz"`, `"a\"\\/\b\f\n\r\tz"`}, {`"\u00e9\uD83D\uDE00"`, `"é😀"`}, {`"\u0000"`, `"\x00"`}, {`"é"`, `"é"`},
		{"[]", "[ ]"}, {"[1,2,[3]]", "[ 1 2 [ 3 ] ]"}, {"{}", "{ }"}, {`{"a":1,"b":{"a":[]}}`, `{ "a": 1 "b": { "a": [ ] } }`}, {" [ 1 , { } ] ", "[ 1 { } ]"}, {"\ufeff1", "JSON at byte 0: value expected"},
		{"", "JSON at byte 0: value expected"}, {" ", "JSON at byte 1: value expected"}, {"nul", "JSON at byte 0: value expected"}, {"1 2", "JSON at byte 2: text after the value"}, {"[1,]", "JSON at byte 3: value expected"}, {"[,1]", "JSON at byte 1: value expected"}, {"[1", "JSON at byte 2: ',' or ']' expected"}, {"[1 2]", "JSON at byte 3: ',' or ']' expected"}, {"[1}", "JSON at byte 2: ',' or ']' expected"}, {"{]", "JSON at byte 1: key expected"},
		{`{"a":1,}`, "JSON at byte 7: key expected"}, {`{"a"}`, "JSON at byte 4: ':' expected"}, {`{"a":}`, "JSON at byte 5: value expected"}, {`{a:1}`, "JSON at byte 1: key expected"}, {`{"a":1 "b":2}`, "JSON at byte 7: ',' or '}' expected"}, {`{"a":1,"\u0061":2}`, "JSON at byte 7: key occurs twice"}, {"]", "JSON at byte 0: value expected"},
		{"01", "JSON at byte 0: malformed number"}, {"-", "JSON at byte 0: malformed number"}, {"1.", "JSON at byte 0: malformed number"}, {"1e", "JSON at byte 0: malformed number"}, {".5", "JSON at byte 0: value expected"}, {"+1", "JSON at byte 0: value expected"}, {"1e999", "JSON at byte 0: number out of range"}, {"NaN", "JSON at byte 0: value expected"}, {"0x10", "JSON at byte 1: text after the value"},
		{`"abc`, "JSON at byte 0: string without end"}, {`"\`, "JSON at byte 0: string without end"}, {"\"a\nb\"", "JSON at byte 2: control character in a string"}, {`"\x"`, "JSON at byte 1: unknown escape"}, {`"\u12"`, `JSON at byte 1: malformed \u`}, {`"\ud800"`, `JSON at byte 1: malformed \u`}, {`"\ud800\u0041"`, `JSON at byte 1: malformed \u`}, {`"\udc00"`, `JSON at byte 1: malformed \u`}, {"\"\xff\"", "JSON at byte 1: string is not valid UTF-8"},
		{strings.Repeat("[", 101) + strings.Repeat("]", 101), "JSON at byte 100: nested too deep"}, {strings.Repeat("[", 4000000), "JSON at byte 100: nested too deep"}, {"//", "JSON at byte 0: value expected"},
	} {
		if got := parse(&testMeter{}, c.s); got != c.want {
			t.Errorf("%.40q: %s, want %s", c.s, got, c.want)
		}
	}
	if got := parse(&testMeter{}, strings.Repeat("[", 100)+strings.Repeat("]", 100)); strings.Contains(got, "JSON") {
		t.Error("100 levels:", got)
	}
	if got := parse(&testMeter{maxSteps: 1000}, "["+strings.Repeat("1,", 1000)+"1]"); got != "budget" {
		t.Error("many values:", got)
	}
	if got := parse(&testMeter{maxBytes: 1000}, `"`+strings.Repeat("x", 1001)+`"`); got != "budget" {
		t.Error("a long string:", got)
	}
	if err := ParseJSON(&testMeter{}, "[1]", &trace{fail: true}); err != errHandler {
		t.Error("a handler that fails:", err)
	}
}

func TestAppendJSON(t *testing.T) {
	for _, c := range []struct{ s, want string }{
		{"", `""`}, {"a\"\\/\b\f\n\r\t\x01\x1f\x7fé", `"a\"\\/\b\f\n\r\t\u0001\u001f` + "\x7f" + `é"`}, {"<>&\u2028", "\"<>&\u2028\""}, {"\xff", "string is not valid UTF-8"},
	} {
		b, err := AppendJSONString(nil, c.s)
		if err != nil {
			b = []byte(err.Error())
		}
		if string(b) != c.want {
			t.Errorf("%q: %s, want %s", c.s, b, c.want)
		}
		if err == nil && len(b) > 6*len(c.s)+2 { // quotes, and \u00xx for each byte
			t.Errorf("%q took %d bytes", c.s, len(b))
		}
	}
	for _, c := range []struct {
		f    float64
		want string
	}{
		{0, "0"}, {math.Copysign(0, -1), "0"}, {-5, "-5"}, {1<<53 - 1, "9007199254740991"}, {1 << 53, "9007199254740992"}, {1e20, "100000000000000000000"}, {1e21, "1e+21"}, {0.1, "0.1"}, {1e-6, "0.000001"}, {1.5e-7, "1.5e-7"}, {5e-324, "5e-324"}, {math.MaxFloat64, "1.7976931348623157e+308"}, {-1e-9, "-1e-9"}, {1e-10, "1e-10"},
		{math.NaN(), "JSON has no such number: nan"}, {math.Inf(-1), "JSON has no such number: -inf"},
	} {
		b, err := AppendJSONNumber(nil, c.f)
		if err != nil {
			b = []byte(err.Error())
		}
		if string(b) != c.want {
			t.Errorf("%v: %s, want %s", c.f, b, c.want)
		}
	}
	// encoding/json writes numbers as ECMAScript does, too.
	r := NewRand(12)
	for range 5000 {
		f := sample(&r, -math.MaxFloat64, math.MaxFloat64)
		want, _ := json.Marshal(f)
		if got, _ := AppendJSONNumber([]byte("x"), f); f != 0 && string(got[1:]) != string(want) {
			t.Fatalf("%v: %s, want %s", f, got[1:], want)
		}
	}
}
