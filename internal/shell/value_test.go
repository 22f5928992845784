package shell

import (
	"errors"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
)

func TestFormat(t *testing.T) {
	l := lua.NewState()
	defer l.Close()
	for _, c := range []struct{ expr, want, json string }{
		{`5`, `5`, `5`},
		{`-1.5`, `-1.5`, `-1.5`},
		{`1e15`, `1000000000000000`, `1000000000000000`},
		{`2^53`, `9.007199254740992e+15`, `9.007199254740992e+15`},
		{`0.1`, `0.1`, `0.1`},
		{`1/0`, `math.huge`, ``},
		{`nil`, `nil`, `null`},
		{`true`, `true`, `true`},
		{`{}`, `{}`, `{}`},
		{`{1, 2, {}}`, `{1, 2, {}}`, `[1,2,{}]`},
		{`{a = 1, b = {1, 2}}`, `{a = 1, b = {1, 2}}`, `{"a":1,"b":[1,2]}`},
		{`{1, x = 2, [true] = 3, [-1] = 4, ["a b"] = 5, [1.5] = 6, ["end"] = 7}`, `{1, [true] = 3, [-1] = 4, [1.5] = 6, ["a b"] = 5, ["end"] = 7, x = 2}`, `{"-1":4,"1":1,"1.5":6,"a b":5,"end":7,"true":3,"x":2}`},
		{`{"q\"\\\n\1"}`, `{"q\"\\\n\001"}`, `["q\"\\\n\u0001"]`},
		{`{[1] = 1, [3] = 3}`, `{1, [3] = 3}`, `{"1":1,"3":3}`},
	} {
		if err := l.DoString("return " + c.expr); err != nil {
			t.Fatal(err)
		}
		v := l.Get(-1)
		l.Pop(1)
		if got := Format(v); got != c.want {
			t.Errorf("%s: %s, want %s", c.expr, got, c.want)
		}
		if got, err := JSON(v); err == nil && got != c.json || err != nil && c.json != "" {
			t.Errorf("%s: JSON %s %v, want %s", c.expr, got, err, c.json)
		}
		// What is sent comes back the same.
		b, err := AppendValue(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		d := codec.NewDecoder(b)
		back, err := decodeValue(&d, 0)
		if err != nil || Format(back) != c.want {
			t.Errorf("%s: came back as %s, %v", c.expr, Format(back), err)
		}
	}
}

func TestFormatCycle(t *testing.T) {
	tb := &lua.LTable{Metatable: lua.LNil}
	tb.RawSetString("me", tb)
	if got := Format(tb); got != "{me = {...}}" {
		t.Fatal(got)
	}
	if _, err := AppendValue(nil, tb); err == nil {
		t.Fatal("a table inside itself was sent")
	}
	if _, err := JSON(tb); err == nil {
		t.Fatal("a table inside itself was written")
	}
}

// A single huge key must not make gopher-lua allocate an array up to it.
func TestHugeKeyRefused(t *testing.T) {
	b := codec.AppendMapLen(nil, 1)
	b = codec.AppendInt(codec.AppendInt(b, 60_000_000), 1)
	d := codec.NewDecoder(b)
	if _, err := decodeValue(&d, 0); err == nil {
		t.Fatal("accepted")
	}
}

// What is wrong in another way than by being unfinished counts as complete.
func TestComplete(t *testing.T) {
	for src, want := range map[string]bool{
		"counter:inc()": true, "for i = 1, 2 do": false, "f(": false, "x = {": false, "if a then b() end": true,
		"x = = 1": true, "[[long": false, "--[[ comment": false, `"abc`: true, "": true, "function f()": false, "1 +": false,
	} {
		_, err := compileInput(src, "input", 1)
		if got := !errors.Is(err, ErrIncomplete); got != want {
			t.Errorf("%q: %v", src, got)
		}
	}
}

func TestIsClient(t *testing.T) {
	for src, want := range map[string]bool{
		"print(counter:inc())": true, "#!/usr/bin/env -S syncsh run\nprint(1)": true, "": true, "local objects = {}": true,
		`object "end"`: false, `local X = object("x")`: false, lockSource: false, "garbage \\0": false, "function X.replicated:m( return end": false,
	} {
		if got := IsClient(src); got != want {
			t.Errorf("%q: %v", src, got)
		}
	}
}

func TestDefinesObjects(t *testing.T) {
	for src, want := range map[string]bool{
		lockSource: true, `local h = object("hits", "counter")`: false, `object("hits", "counter")`: false,
		`local X = object("x", {version = 2})`: true, `print(1)`: false, `X = object "x"`: true,
	} {
		if got := definesObjects(src); got != want {
			t.Errorf("%q: %v", src, got)
		}
	}
}
