package luaast

import (
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// run returns what a script returns, with its top statements passed.
func run(t *testing.T, src string) string {
	t.Helper()
	stmts, err := parse.Parse(strings.NewReader(src), "t")
	if err != nil {
		t.Fatal(src, err)
	}
	for i := range stmts {
		stmts[i] = Statement(stmts[i])
	}
	proto, err := lua.Compile(stmts, "t")
	if err != nil {
		t.Fatal(src, err)
	}
	l := lua.NewState()
	defer l.Close()
	l.Push(l.NewFunctionFromProto(proto))
	if err := l.PCall(0, lua.MultRet, nil); err != nil {
		t.Fatal(src, err)
	}
	var out []string
	for i := 1; i <= l.GetTop(); i++ {
		out = append(out, l.Get(i).String())
	}
	return strings.Join(out, " ")
}

func TestStatement(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`local a, b = 1, 2 a, b = b, a return a, b`, "2 1"},
		{`a, b = 1, 2 a, b = b, a return a, b`, "2 1"},
		{`local a = {} local b = a a, a.x = 1, 2 return a, b.x`, "1 2"},
		{`local i, t = 1, {10, 20} i, t[i] = 2, 99 return i, t[1], t[2]`, "2 99 20"},
		{`local a a, a = 1, 2 return a`, "1"},
		{`local function f() return 1, 2 end local a, b, c = 0, 0, 0 a, b, c = f() return a, b, c`, "1 2 nil"},
		{`local function f() return {} , 1 end local x, y x, f().k = 1, 2 return x`, "1"},
		{`local x = 5 local x = function() return x end return x()`, "5"},
		{`local x = 5 local function x() return x end return x() == x`, "true"},
		{`local a, f a, f = 1, function() return a end return f()`, "1"},
	} {
		if got := run(t, c.src); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.src, got, c.want)
		}
	}
}

// TestUnchanged: what gopher-lua gets right is left as it is.
func TestUnchanged(t *testing.T) {
	for _, src := range []string{`a = b`, `t.x, t.y = t.y, t.x`, `local a, b = b, a`, `local function f() end`, `f()`} {
		stmts, err := parse.Parse(strings.NewReader(src), "t")
		if err != nil {
			t.Fatal(err)
		}
		if Statement(stmts[0]) != stmts[0] {
			t.Errorf("%s was changed", src)
		}
		if l, ok := stmts[0].(*ast.LocalAssignStmt); ok && len(l.Exprs) == 1 && !IsLocalFunction(l) {
			t.Errorf("%s is no local function", src)
		}
	}
}
