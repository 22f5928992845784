package luafsm

import (
	"math"
	"strconv"
	"strings"

	"github.com/syncsh/syncsh/internal/luaast"
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/yuin/gopher-lua/ast"
)

// The pass between parser and compiler. gopher-lua's own tables, concatenation,
// power and modulo never come into being in our code: their syntax becomes calls of
// functions that are bounded, charged and equal on all machines. The names of
// those functions begin with a byte that no identifier has.
const (
	hidden       = "\x00"
	hiddenTable  = hidden + "table"  // (layout, values...): a table
	hiddenBuild  = hidden + "build"  // (layout, values...): a builder, called with more
	hiddenConcat = hidden + "concat" // (values...): a string
	hiddenPow    = hidden + "pow"    // (a, b)
	hiddenMod    = hidden + "mod"    // (a, b)
	hiddenRest   = hidden + "rest"   // (...): the same values, charged for

	hiddenFor     = hidden + "for"     // (what, v): v as a number
	hiddenClosure = hidden + "closure" // (f): f, charged for

	hiddenEqual     = hidden + "eq" // (a, b)
	hiddenLess      = hidden + "lt" // (a, b)
	hiddenLessEqual = hidden + "le" // (a, b)
	hiddenMore      = hidden + "gt" // (a, b)
	hiddenMoreEqual = hidden + "ge" // (a, b)
)

// Layout of a constructor: one letter per field.
const (
	fieldItem  = 'i' // a value
	fieldPair  = 'p' // a key and a value
	fieldRest  = 'r' // all values that are left
	fieldsDone = '.' // the last part: the builder returns the table
)

// rewriter changes the AST of one script in place.
type rewriter struct {
	src     *source
	scope   *scope
	failed  *Finding
	varargs []bool            // per function: does its body use ...
	consts  []map[string]bool // per function: its constants
}

// rewrite changes the parsed script; the fault it finds is one that the compiler
// would not report, or not so that it can be understood.
func rewrite(src *source) *Finding {
	r := &rewriter{src: src, scope: &scope{}}
	r.varargs = []bool{true}
	r.consts = []map[string]bool{{}}
	src.chunk = r.block(src.chunk, false)
	return r.failed
}

func (r *rewriter) fail(line int, text string) {
	if r.failed == nil {
		r.failed = &Finding{r.src.name, max(line, 1), 1, text}
	}
}

// block rewrites statements; with open, their names stay in scope for what the
// caller does next.
func (r *rewriter) block(list []ast.Stmt, open bool) []ast.Stmt {
	if !open {
		r.scope = r.scope.inner()
		defer func() { r.scope = r.scope.outer }()
	}
	out := make([]ast.Stmt, 0, len(list))
	for _, s := range list {
		if def, ok := s.(*ast.FuncDefStmt); ok {
			s = assignment(def)
		}
		if a, ok := s.(*ast.AssignStmt); ok {
			s = luaast.Statement(a)
		}
		r.stmt(s)
		out = append(out, s)
		if l, ok := s.(*ast.LocalAssignStmt); ok && luaast.IsLocalFunction(l) {
			// local function f has to stay one, for f to be known in its body.
			c := &ast.FuncCallStmt{Expr: r.closure(r.ident(l.Names[0], l.Exprs[0]))}
			c.SetLine(l.Line())
			c.SetLastLine(l.LastLine())
			out = append(out, c)
		}
	}
	return out
}

// assignment is function a.b() as the assignment that it is.
func assignment(def *ast.FuncDefStmt) ast.Stmt {
	f, to := def.Func, def.Name.Func
	if to == nil {
		f.ParList.Names = append([]string{"self"}, f.ParList.Names...)
		key := &ast.StringExpr{Value: def.Name.Method}
		key.SetLine(def.Name.Receiver.Line())
		to = &ast.AttrGetExpr{Object: def.Name.Receiver, Key: key}
		to.SetLine(def.Name.Receiver.Line())
	}
	s := &ast.AssignStmt{Lhs: []ast.Expr{to}, Rhs: []ast.Expr{f}}
	s.SetLine(f.Line())
	s.SetLastLine(f.LastLine())
	return s
}

// closure is the value of a function expression, charged for: it may hold
// dozens of variables, each an object of its own.
func (r *rewriter) closure(f ast.Expr) ast.Expr { return r.hiddenCall(hiddenClosure, f, f) }

func (r *rewriter) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		for _, e := range s.Lhs {
			r.target(e)
		}
		r.list(s.Rhs)
	case *ast.LocalAssignStmt:
		if luaast.IsLocalFunction(s) {
			r.scope.add(s.Names[0])
			r.function(s.Exprs[0].(*ast.FunctionExpr))
			return
		}
		r.list(s.Exprs)
		for _, n := range s.Names {
			r.scope.add(n)
		}
	case *ast.FuncCallStmt:
		r.callExpr(s.Expr.(*ast.FuncCallExpr))
	case *ast.DoBlockStmt:
		s.Stmts = r.block(s.Stmts, false)
	case *ast.WhileStmt:
		s.Condition = r.expr(s.Condition)
		s.Stmts = r.block(s.Stmts, false)
	case *ast.RepeatStmt:
		r.scope = r.scope.inner()
		s.Stmts = r.block(s.Stmts, true)
		s.Condition = r.expr(s.Condition)
		r.scope = r.scope.outer
	case *ast.IfStmt:
		s.Condition = r.expr(s.Condition)
		s.Then, s.Else = r.block(s.Then, false), r.block(s.Else, false)
	case *ast.NumberForStmt:
		s.Init, s.Limit = r.bound("initial value", s.Init), r.bound("limit", s.Limit)
		if s.Step != nil {
			s.Step = r.bound("step", s.Step)
		}
		r.scope = r.scope.inner()
		r.scope.add(s.Name)
		s.Stmts = r.block(s.Stmts, false)
		r.scope = r.scope.outer
	case *ast.GenericForStmt:
		r.list(s.Exprs)
		r.scope = r.scope.inner()
		for _, n := range s.Names {
			r.scope.add(n)
		}
		s.Stmts = r.block(s.Stmts, false)
		r.scope = r.scope.outer
	case *ast.ReturnStmt:
		r.values(s.Exprs)
		if n := len(s.Exprs); n > 1 {
			// The values of a call that are handed on with others are copied by each
			// function on their way; alone they are handed on by a tail call.
			if c, ok := s.Exprs[n-1].(*ast.FuncCallExpr); ok && !c.AdjustRet {
				s.Exprs[n-1] = r.rest(c)
			}
		}
	}
}

// bound is a value of a numeric for. Lua takes strings that are numbers for it,
// gopher-lua doesn't.
func (r *rewriter) bound(what string, e ast.Expr) ast.Expr {
	e = r.expr(e)
	switch e.(type) {
	case *ast.NumberExpr, *ast.UnaryLenOpExpr:
		return e
	}
	name := &ast.StringExpr{Value: what}
	name.SetLine(e.Line())
	return r.hiddenCall(hiddenFor, e, name, luaast.One(e))
}

// target rewrites what is assigned to.
func (r *rewriter) target(e ast.Expr) {
	if a, ok := e.(*ast.AttrGetExpr); ok {
		a.Object, a.Key = r.expr(a.Object), r.expr(a.Key)
	}
}

func (r *rewriter) list(l []ast.Expr) {
	if len(l) > argumentsMax {
		r.fail(l[0].Line(), "more than "+strconv.Itoa(argumentsMax)+" expressions in a list")
	}
	for i := range l {
		l[i] = r.expr(l[i])
	}
}

// values rewrites a list whose last expression gives all its values. One that
// is ... gives them through a function that charges for them: copying them is one
// instruction, however many there are.
func (r *rewriter) values(l []ast.Expr) {
	r.list(l)
	if n := len(l); n > 0 {
		if rest, ok := l[n-1].(*ast.Comma3Expr); ok && !rest.AdjustRet {
			l[n-1] = r.rest(rest)
		}
	}
}

// rest is all values of e, charged for.
func (r *rewriter) rest(e ast.Expr) ast.Expr {
	c := r.callOf(r.ident(hiddenRest, e), e, []ast.Expr{e})
	c.AdjustRet = false
	return c
}

func (r *rewriter) function(f *ast.FunctionExpr) {
	if len(f.ParList.Names) > argumentsMax {
		r.fail(f.Line(), "more than "+strconv.Itoa(argumentsMax)+" parameters")
	}
	r.scope = r.scope.inner()
	for _, n := range f.ParList.Names {
		r.scope.add(n)
	}
	r.varargs = append(r.varargs, false)
	r.consts = append(r.consts, make(map[string]bool))
	f.Stmts = r.block(f.Stmts, false)
	r.consts = r.consts[:len(r.consts)-1]
	used := r.varargs[len(r.varargs)-1]
	r.varargs = r.varargs[:len(r.varargs)-1]
	r.scope = r.scope.outer
	if f.ParList.HasVargs && !used {
		// gopher-lua gives a function that doesn't use its ... a variable arg with
		// one of its own tables; a use of ... prevents it.
		rest := &ast.Comma3Expr{AdjustRet: true}
		local := &ast.LocalAssignStmt{Names: []string{hidden}, Exprs: []ast.Expr{rest}}
		block := &ast.DoBlockStmt{Stmts: []ast.Stmt{local}}
		for _, n := range []ast.PositionHolder{rest, local, block} {
			n.SetLine(f.Line())
			n.SetLastLine(f.Line())
		}
		f.Stmts = append([]ast.Stmt{block}, f.Stmts...)
	}
}

// constant counts a constant of the function.
func (r *rewriter) constant(text string, line int) {
	c := r.consts[len(r.consts)-1]
	if c[text] = true; len(c) == constantsMax+1 {
		r.fail(line, "more than "+strconv.Itoa(constantsMax)+" different constants and names in one function")
	}
}

func (r *rewriter) expr(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.NumberExpr:
		r.constant(e.Value, e.Line())
		return r.number(e)
	case *ast.StringExpr:
		r.constant(e.Value, e.Line())
	case *ast.IdentExpr:
		r.constant(e.Value, e.Line())
	case *ast.Comma3Expr:
		r.varargs[len(r.varargs)-1] = true
	case *ast.AttrGetExpr:
		if name, ok := r.library(e); ok {
			return r.ident(name, e)
		}
		e.Object, e.Key = r.expr(e.Object), r.expr(e.Key)
	case *ast.TableExpr:
		return r.table(e)
	case *ast.FuncCallExpr:
		r.callExpr(e)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
		return r.relation(e)
	case *ast.StringConcatOpExpr:
		return r.concat(e)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
		switch e.Operator {
		case "^":
			return r.hiddenCall(hiddenPow, e, luaast.One(e.Lhs), luaast.One(e.Rhs))
		case "%": // gopher-lua's takes up to 2000 rounds for one instruction
			return r.hiddenCall(hiddenMod, e, luaast.One(e.Lhs), luaast.One(e.Rhs))
		}
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.FunctionExpr:
		r.function(e)
		return r.closure(e)
	}
	return e
}

// relation is a comparison. One that may be of two long strings takes as long as
// they are, which a function charges for.
func (r *rewriter) relation(e *ast.RelationalOpExpr) ast.Expr {
	if short(e.Lhs) || short(e.Rhs) {
		return e
	}
	a, b := luaast.One(e.Lhs), luaast.One(e.Rhs)
	switch e.Operator {
	case "==":
		return r.hiddenCall(hiddenEqual, e, a, b)
	case "~=":
		not := &ast.UnaryNotOpExpr{Expr: r.hiddenCall(hiddenEqual, e, a, b)}
		not.SetLine(e.Line())
		not.SetLastLine(e.LastLine())
		return not
	case "<":
		return r.hiddenCall(hiddenLess, e, a, b)
	case "<=":
		return r.hiddenCall(hiddenLessEqual, e, a, b)
	case ">":
		return r.hiddenCall(hiddenMore, e, a, b)
	}
	return r.hiddenCall(hiddenMoreEqual, e, a, b)
}

// short says whether e is surely no long string.
func short(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.NumberExpr, *ast.NilExpr, *ast.TrueExpr, *ast.FalseExpr, *ast.UnaryLenOpExpr, *ast.UnaryNotOpExpr, *ast.RelationalOpExpr:
		return true
	case *ast.StringExpr:
		return len(e.Value) < bytesPerStep
	}
	return false
}

func (r *rewriter) callExpr(e *ast.FuncCallExpr) {
	if e.Func != nil {
		e.Func = r.expr(e.Func)
	} else {
		e.Receiver = r.expr(e.Receiver)
		r.constant(e.Method, e.Line())
	}
	r.values(e.Args)
}

// number makes a literal one that gopher-lua's parser of numbers, which accepts
// more and other things than Lua, reads right.
func (r *rewriter) number(e *ast.NumberExpr) ast.Expr {
	f, ok := lib.ParseNumber(e.Value)
	if !ok {
		r.fail(e.Line(), "malformed number near '"+strings.TrimSpace(e.Value)+"'")
		return e
	}
	if math.IsInf(f, 1) { // 1e999
		e.Value = "Inf"
		return e
	}
	e.Value = strconv.FormatFloat(f, 'g', -1, 64)
	return e
}

// library resolves string.format and its like when the script is loaded.
func (r *rewriter) library(e *ast.AttrGetExpr) (string, bool) {
	o, ok := e.Object.(*ast.IdentExpr)
	if !ok || r.scope.has(o.Value) {
		return "", false
	}
	k, ok := e.Key.(*ast.StringExpr)
	if !ok || !isLibrary(o.Value, k.Value) {
		return "", false
	}
	return o.Value + "." + k.Value, true
}

func (r *rewriter) ident(name string, at ast.Expr) *ast.IdentExpr {
	id := &ast.IdentExpr{Value: name}
	id.SetLine(at.Line())
	id.SetLastLine(at.LastLine())
	return id
}

// hiddenCall is an expression with one value: the call of a hidden function.
func (r *rewriter) hiddenCall(name string, at ast.Expr, args ...ast.Expr) *ast.FuncCallExpr {
	return r.callOf(r.ident(name, at), at, args)
}

func (r *rewriter) callOf(f ast.Expr, at ast.Expr, args []ast.Expr) *ast.FuncCallExpr {
	c := &ast.FuncCallExpr{Func: f, Args: args, AdjustRet: true}
	c.SetLine(at.Line())
	c.SetLastLine(at.LastLine())
	return c
}

func (r *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	var args []ast.Expr
	for cur := ast.Expr(e); ; {
		c, ok := cur.(*ast.StringConcatOpExpr)
		if !ok {
			args = append(args, luaast.One(r.expr(cur)))
			break
		}
		args = append(args, luaast.One(r.expr(c.Lhs)))
		cur = c.Rhs
	}
	return r.hiddenCall(hiddenConcat, e, args...)
}

// table turns a constructor into one call, or, when it is long, into a chain of
// calls that a builder takes.
func (r *rewriter) table(e *ast.TableExpr) ast.Expr {
	type part struct {
		layout []byte
		args   []ast.Expr
	}
	parts := []part{{}}
	for i, f := range e.Fields {
		p := &parts[len(parts)-1]
		if len(p.args) >= constructorMax {
			parts = append(parts, part{})
			p = &parts[len(parts)-1]
		}
		switch {
		case f.Key != nil:
			p.layout = append(p.layout, fieldPair)
			p.args = append(p.args, luaast.One(r.expr(f.Key)), luaast.One(r.expr(f.Value)))
		case i == len(e.Fields)-1 && manyValues(f.Value):
			p.layout = append(p.layout, fieldRest)
			p.args = append(p.args, r.expr(f.Value))
		default:
			p.layout = append(p.layout, fieldItem)
			p.args = append(p.args, luaast.One(r.expr(f.Value)))
		}
	}
	layout := func(p part, end string) ast.Expr {
		s := &ast.StringExpr{Value: string(p.layout) + end}
		s.SetLine(e.Line())
		return s
	}
	if len(parts) == 1 {
		return r.hiddenCall(hiddenTable, e, append([]ast.Expr{layout(parts[0], "")}, parts[0].args...)...)
	}
	var chain ast.Expr = r.ident(hiddenBuild, e)
	for i, p := range parts {
		end := ""
		if i == len(parts)-1 {
			end = string(fieldsDone)
		}
		chain = r.callOf(chain, e, append([]ast.Expr{layout(p, end)}, p.args...))
	}
	return chain
}

// manyValues says whether e, at the end of a list, gives all its values.
func manyValues(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		return !e.AdjustRet
	case *ast.Comma3Expr:
		return !e.AdjustRet
	}
	return false
}

// scope is the names of local variables at a place in the script.
type scope struct {
	outer *scope
	names []string
}

func (s *scope) inner() *scope { return &scope{outer: s} }

func (s *scope) add(name string) { s.names = append(s.names, name) }

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		for i := len(s.names) - 1; i >= 0; i-- {
			if s.names[i] == name {
				return true
			}
		}
	}
	return false
}
