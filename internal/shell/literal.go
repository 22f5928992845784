package shell

import (
	"context"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// ParseArg reads an argument of the command line: a Lua literal (5, -1.5, true,
// nil, "x", {a = 1, 2}) where it is one, else the text itself.
func ParseArg(arg string) lua.LValue {
	if strings.Contains(arg, "--") || strings.HasPrefix(arg, "#") { // no comments
		return lua.LString(arg)
	}
	stmts, err := parse.Parse(strings.NewReader("return "+arg+"\n"), "argument")
	if err != nil || len(stmts) != 1 {
		return lua.LString(arg)
	}
	if ret, ok := stmts[0].(*ast.ReturnStmt); ok && len(ret.Exprs) == 1 {
		if v, ok := literal(ret.Exprs[0], 0); ok {
			return v
		}
	}
	return lua.LString(arg)
}

// literal is the value of an expression that is a constant.
func literal(e ast.Expr, depth int) (lua.LValue, bool) {
	if depth > depthMax {
		return nil, false
	}
	switch e := e.(type) {
	case *ast.NilExpr:
		return lua.LNil, true
	case *ast.TrueExpr:
		return lua.LTrue, true
	case *ast.FalseExpr:
		return lua.LFalse, true
	case *ast.StringExpr:
		return lua.LString(e.Value), true
	case *ast.NumberExpr:
		return numberLiteral(e.Value)
	case *ast.UnaryMinusOpExpr:
		n, ok := e.Expr.(*ast.NumberExpr)
		if !ok {
			return nil, false
		}
		v, ok := numberLiteral(n.Value)
		if !ok {
			return nil, false
		}
		return -v.(lua.LNumber), true
	case *ast.TableExpr:
		return tableLiteral(e, depth)
	}
	return nil, false
}

func numberLiteral(s string) (lua.LValue, bool) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		v, err := strconv.ParseUint(hex, 16, 64)
		return lua.LNumber(v), err == nil
	}
	v, err := strconv.ParseFloat(s, 64)
	return lua.LNumber(v), err == nil && !strings.Contains(s, "_")
}

func tableLiteral(e *ast.TableExpr, depth int) (lua.LValue, bool) {
	t := &lua.LTable{Metatable: lua.LNil}
	next := 1
	for _, f := range e.Fields {
		v, ok := literal(f.Value, depth+1)
		if !ok {
			return nil, false
		}
		if f.Key == nil {
			t.RawSetInt(next, v)
			next++
			continue
		}
		k, ok := literal(f.Key, depth+1)
		if !ok || setField(t, k, v) != nil {
			return nil, false
		}
	}
	return t, true
}

// Call calls a method of an object, of any kind, and prints its results.
func (s *Session) Call(ctx context.Context, name, method string, args []lua.LValue) error {
	return s.do(ctx, func(t *task) error {
		if err := s.refresh(t.thread); err != nil {
			return err
		}
		if _, err := s.findMethod(name, method); err != nil {
			return err
		}
		p := s.proxyOf(name)
		results, err := call(t.thread, s.method(t.thread, p.Value.(*proxy), method), append([]lua.LValue{p}, args...)...)
		if err != nil {
			return err
		}
		if s.json.Load() && len(results) == 0 {
			s.writeLine("null")
		}
		return s.printResults(results)
	})
}
