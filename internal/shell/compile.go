package shell

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/internal/luaast"
)

// ErrIncomplete is returned when input ends where more has to follow.
var ErrIncomplete = errors.New("incomplete")

// Names of functions that rewritten code calls; no source can spell them.
const (
	nameMethod = "\x00method" // method(v, name): v, or an error when v is an object without that method
	nameAssign = "\x00assign" // assign(v, path): v, or an error when v is an object
)

// chunkKind says what a chunk is compiled for.
type chunkKind int

const (
	chunkScript chunkKind = iota // as written
	chunkInput                   // input of the REPL: its top-level locals are globals, so that they stay
)

// compileInput compiles an input of the REPL: an expression, whose values it
// returns, or statements. line is that of its first line within the whole input.
func compileInput(src, name string, line int) (*lua.FunctionProto, error) {
	lead := strings.Repeat("\n", max(line-1, 0))
	const ret = "return "
	proto, asExpr := compileChunk(lead+ret+src, name, chunkInput)
	if asExpr == nil {
		return proto, nil
	}
	proto, asStmt := compileChunk(lead+src, name, chunkInput)
	switch {
	case asStmt == nil:
		return proto, nil
	case errors.Is(asExpr, ErrIncomplete):
		return nil, asExpr
	case errors.Is(asStmt, ErrIncomplete):
		return nil, asStmt
	}
	// Of the two readings the one that got further is what was meant.
	var e, s *syntaxError
	if errors.As(asExpr, &e) && errors.As(asStmt, &s) {
		if e.line == max(line, 1) {
			e.column -= len(ret)
		}
		if e.line > s.line || e.line == s.line && e.column > s.column {
			return nil, &LuaError{Text: e.Error()}
		}
	}
	return nil, asStmt
}

// compileChunk compiles a chunk for use as client code.
func compileChunk(src, name string, kind chunkKind) (*lua.FunctionProto, error) {
	if strings.HasPrefix(src, "#") {
		src = "--" + src // a #! line
	}
	// The newline makes an unfinished string end at its line, not at the end.
	stmts, err := parse.Parse(strings.NewReader(src+"\n"), name)
	if err != nil {
		return nil, parseFailure(err, name, src)
	}
	r := rewriter{}
	if kind == chunkInput {
		stmts = topLocals(stmts)
	}
	r.block(stmts)
	proto, err := lua.Compile(stmts, name)
	if err != nil {
		var c *lua.CompileError
		if errors.As(err, &c) {
			return nil, &LuaError{Text: fmt.Sprintf("%s:%d: %s", name, c.Line, c.Message)}
		}
		return nil, &LuaError{Text: err.Error()}
	}
	return proto, nil
}

// syntaxError is an error of the parser in the form of Lua's own messages.
type syntaxError struct {
	name, message, token string
	line, column         int
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s near '%s'", e.name, e.line, e.column, e.message, e.token)
}

func (e *syntaxError) As(target any) bool {
	l, ok := target.(**LuaError)
	if ok {
		*l = &LuaError{Text: e.Error()}
	}
	return ok
}

func parseFailure(err error, name, src string) error {
	var p *parse.Error
	if !errors.As(err, &p) {
		return &LuaError{Text: fmt.Sprintf("%s: %v", name, err)}
	}
	if p.Pos.Line == parse.EOF {
		return fmt.Errorf("%s: syntax error at the end of the input: %w", name, ErrIncomplete)
	}
	token, column := strings.TrimSpace(p.Token), p.Pos.Column
	// The parser is behind the token that it can't go on with.
	if begin := column - len(token) + 1; len(token) > 1 && begin > 0 && strings.HasPrefix(textAt(src, p.Pos.Line, begin), token) {
		column = begin
	}
	if token == "" { // the parser names no token that is a single character
		token = characterAt(src, p.Pos.Line, p.Pos.Column)
	}
	return &syntaxError{name, p.Message, token, p.Pos.Line, column}
}

// textAt is the text from a line and a column in bytes on, both from 1.
func textAt(src string, line, column int) string {
	for ; line > 1; line-- {
		_, src, _ = strings.Cut(src, "\n")
	}
	if column < 1 || column > len(src) {
		return ""
	}
	return src[column-1:]
}

// characterAt is the character at a line and a column.
func characterAt(src string, line, column int) string {
	text := textAt(src, line, column)
	if text == "" {
		return ""
	}
	r, _ := utf8.DecodeRuneInString(text)
	return string(r)
}

// topLocals turns the locals that a chunk declares at its top into globals.
func topLocals(stmts []ast.Stmt) []ast.Stmt {
	for i, st := range stmts {
		local, ok := st.(*ast.LocalAssignStmt)
		if !ok {
			continue
		}
		assign := &ast.AssignStmt{Rhs: local.Exprs}
		for _, name := range local.Names {
			ident := &ast.IdentExpr{Value: name}
			ident.SetLine(local.Line())
			assign.Lhs = append(assign.Lhs, ident)
		}
		if len(assign.Rhs) == 0 {
			null := &ast.NilExpr{}
			null.SetLine(local.Line())
			assign.Rhs = []ast.Expr{null}
		}
		assign.SetLine(local.Line())
		assign.SetLastLine(local.LastLine())
		stmts[i] = assign
	}
	return stmts
}

// rewriter puts checks where client code calls a method of an object that may
// not exist, and where it assigns to a copy of an object's state: both would go
// wrong silently or with a message about a nil value.
type rewriter struct{}

func (r rewriter) block(stmts []ast.Stmt) {
	for i, st := range stmts {
		r.stmt(st)
		stmts[i] = luaast.Statement(st)
	}
}

func (r rewriter) stmt(st ast.Stmt) {
	switch st := st.(type) {
	case *ast.AssignStmt:
		for i := range st.Lhs {
			st.Lhs[i] = r.target(st.Lhs[i])
		}
		r.exprs(st.Rhs)
	case *ast.LocalAssignStmt:
		r.exprs(st.Exprs)
	case *ast.FuncCallStmt:
		r.expr(st.Expr)
	case *ast.DoBlockStmt:
		r.block(st.Stmts)
	case *ast.WhileStmt:
		r.expr(st.Condition)
		r.block(st.Stmts)
	case *ast.RepeatStmt:
		r.expr(st.Condition)
		r.block(st.Stmts)
	case *ast.IfStmt:
		r.expr(st.Condition)
		r.block(st.Then)
		r.block(st.Else)
	case *ast.NumberForStmt:
		r.expr(st.Init)
		r.expr(st.Limit)
		r.expr(st.Step)
		r.block(st.Stmts)
	case *ast.GenericForStmt:
		r.exprs(st.Exprs)
		r.block(st.Stmts)
	case *ast.FuncDefStmt:
		r.block(st.Func.Stmts)
	case *ast.ReturnStmt:
		r.exprs(st.Exprs)
	}
}

func (r rewriter) exprs(list []ast.Expr) {
	for _, e := range list {
		r.expr(e)
	}
}

func (r rewriter) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		r.expr(e.Object)
		r.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			r.expr(f.Key)
			r.expr(f.Value)
		}
	case *ast.FuncCallExpr:
		r.call(e)
	case *ast.LogicalOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		r.expr(e.Expr)
	case *ast.FunctionExpr:
		r.block(e.Stmts)
	}
}

// call rewrites v:m(...) to method(v, "m"):m(...).
func (r rewriter) call(e *ast.FuncCallExpr) {
	r.expr(e.Func)
	r.exprs(e.Args)
	if e.Receiver == nil {
		return
	}
	r.expr(e.Receiver)
	switch e.Receiver.(type) {
	case *ast.IdentExpr, *ast.AttrGetExpr:
		e.Receiver = check(nameMethod, e.Receiver, e.Method)
	}
}

// target rewrites a.b.c = x to assign(a, "a.b").b.c = x. The assignment of a
// field of a itself needs no check: objects refuse it.
func (r rewriter) target(e ast.Expr) ast.Expr {
	at, ok := e.(*ast.AttrGetExpr)
	if !ok {
		return e
	}
	r.expr(at.Key)
	inner, ok := at.Object.(*ast.AttrGetExpr)
	if !ok {
		r.expr(at.Object)
		return e
	}
	path := attrPath(e)
	for {
		r.expr(inner.Key)
		next, ok := inner.Object.(*ast.AttrGetExpr)
		if !ok {
			break
		}
		inner = next
	}
	r.expr(inner.Object)
	if _, ok := inner.Object.(*ast.IdentExpr); ok {
		inner.Object = check(nameAssign, inner.Object, path)
	}
	return e
}

func attrPath(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		return e.Value
	case *ast.AttrGetExpr:
		if k, ok := e.Key.(*ast.StringExpr); ok {
			return attrPath(e.Object) + keySuffix(lua.LString(k.Value))
		}
		return attrPath(e.Object) + "[...]"
	}
	return "?"
}

func check(name string, e ast.Expr, arg string) ast.Expr {
	fn, text := &ast.IdentExpr{Value: name}, &ast.StringExpr{Value: arg}
	out := &ast.FuncCallExpr{Func: fn, Args: []ast.Expr{e, text}, AdjustRet: true}
	for _, n := range []ast.PositionHolder{fn, text, out} {
		n.SetLine(e.Line())
		n.SetLastLine(e.LastLine())
	}
	return out
}
