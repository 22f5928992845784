// Package luaast puts right in the syntax tree what gopher-lua 1.1.2 compiles
// otherwise than Lua 5.1 means it.
//
// It reads a local variable where it stands, not where the expression does: in
// a, b = b, a the second value is what the first assignment has left. And it
// takes local f = function for local function f, whose body sees f itself.
//
// Both the machine and client-side Lua compile with it. It knows syntax only.
package luaast

import (
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// hidden begins names that no source can spell.
const hidden = "\x00"

// Statement returns what stands for s: s itself if nothing about it is wrong.
// Statements and functions within s are the caller's to pass as well.
func Statement(s ast.Stmt) ast.Stmt {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return assignment(s)
	case *ast.LocalAssignStmt:
		if f, ok := onlyFunction(s); ok && !IsLocalFunction(s) {
			s.Exprs[0] = plain(f)
		}
	}
	return s
}

// IsLocalFunction tells local function f, in whose body f is known, from
// local f = function. The parser makes the same of both, but for a last line.
func IsLocalFunction(s *ast.LocalAssignStmt) bool {
	_, ok := onlyFunction(s)
	return ok && s.LastLine() != 0
}

func onlyFunction(s *ast.LocalAssignStmt) (*ast.FunctionExpr, bool) {
	if len(s.Names) != 1 || len(s.Exprs) != 1 {
		return nil, false
	}
	f, ok := s.Exprs[0].(*ast.FunctionExpr)
	return f, ok
}

// plain is f as an expression that the compiler does not know for a function:
// false or f.
func plain(f *ast.FunctionExpr) ast.Expr {
	no := &ast.FalseExpr{}
	e := &ast.LogicalOpExpr{Operator: "or", Lhs: no, Rhs: f}
	at(no, f.Line(), f.Line())
	at(e, f.Line(), f.LastLine())
	return e
}

// assignment makes of an assignment to several places, one of them a variable, a
// block that reads everything before it assigns anything, from right to left as
// Lua does:
//
//	do local o, k = t, i  local v, w = x, t[i]  o[k] = w  t = v end
func assignment(s *ast.AssignStmt) ast.Stmt {
	if len(s.Lhs) < 2 || !anyVariable(s.Lhs) {
		return s
	}
	b := &block{line: s.Line(), last: s.LastLine()}
	to := make([]ast.Expr, len(s.Lhs))
	for i, e := range s.Lhs {
		to[i] = e
		if a, ok := e.(*ast.AttrGetExpr); ok {
			place := &ast.AttrGetExpr{Object: b.keep(a.Object), Key: b.keep(a.Key)}
			at(place, a.Line(), a.LastLine())
			to[i] = place
		}
	}
	names := make([]string, len(to))
	for i := range to {
		names[i] = b.name()
	}
	b.local(names, s.Rhs)
	for i := len(to) - 1; i >= 0; i-- {
		one := &ast.AssignStmt{Lhs: []ast.Expr{to[i]}, Rhs: []ast.Expr{b.ident(names[i])}}
		at(one, b.line, b.last)
		b.stmts = append(b.stmts, one)
	}
	do := &ast.DoBlockStmt{Stmts: b.stmts}
	at(do, b.line, b.last)
	return do
}

func anyVariable(l []ast.Expr) bool {
	for _, e := range l {
		if _, ok := e.(*ast.IdentExpr); ok {
			return true
		}
	}
	return false
}

// block is the statements that stand for an assignment.
type block struct {
	stmts      []ast.Stmt
	line, last int
	names      int
}

func (b *block) name() string {
	b.names++
	return hidden + strconv.Itoa(b.names)
}

// keep has e read now; constants needn't be.
func (b *block) keep(e ast.Expr) ast.Expr {
	switch e.(type) {
	case *ast.StringExpr, *ast.NumberExpr, *ast.TrueExpr, *ast.FalseExpr:
		return e
	}
	n := b.name()
	b.local([]string{n}, []ast.Expr{One(e)})
	return b.ident(n)
}

// One has a call or ... give one value, where a list would take all.
func One(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}

func (b *block) local(names []string, values []ast.Expr) {
	if len(values) == 1 {
		if f, ok := values[0].(*ast.FunctionExpr); ok {
			values = []ast.Expr{plain(f)}
		}
	}
	s := &ast.LocalAssignStmt{Names: names, Exprs: values}
	at(s, b.line, 0)
	b.stmts = append(b.stmts, s)
}

func (b *block) ident(name string) ast.Expr {
	e := &ast.IdentExpr{Value: name}
	at(e, b.line, b.line)
	return e
}

func at(p ast.PositionHolder, line, last int) {
	p.SetLine(line)
	p.SetLastLine(last)
}
