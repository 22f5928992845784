package luafsm

import (
	"github.com/syncsh/syncsh/internal/command"
	"github.com/yuin/gopher-lua/ast"
)

// helperCall is a call of a method in a function that is no method itself. What
// is wrong with it depends on the methods that use the function.
type helperCall struct {
	fn     *checkedFunc
	object *checked
	method string
	at     Finding // without a text
}

// methodCall checks self:m() and object:m() against what the method may call.
func (c *checker) methodCall(e *ast.FuncCallExpr) {
	id, ok := e.Receiver.(*ast.IdentExpr)
	if !ok {
		return
	}
	_, own := c.fn.context()
	var o *checked
	if l := c.find(id.Value); l != nil {
		switch {
		case id.Value == "self" && own != nil:
			o = own
		case l.object != nil:
			o = l.object
		}
	} else {
		o = c.objects[id.Value]
	}
	c.reaches(o, e.Method, e.Line())
}

// loadMissing are functions that a chunk can't call: it runs again on every
// machine that restores, at another time.
var loadMissing = map[string]bool{"now": true, "index": true, "random": true, "caller": true, "emit": true, "after": true, "cancel": true}

// functionCall checks X.replicated.m(...), and what a chunk calls.
func (c *checker) functionCall(e *ast.FuncCallExpr) {
	switch f := e.Func.(type) {
	case *ast.AttrGetExpr:
		o, kind := c.receiver(f.Object)
		if k, ok := f.Key.(*ast.StringExpr); ok && o != nil && o.methods[k.Value] == kind {
			c.reaches(o, k.Value, k.Line())
		}
	case *ast.IdentExpr:
		if c.fn.chunk && loadMissing[f.Value] && c.find(f.Value) == nil {
			c.report(f.Value, f.Line(), "%s: not available while the script is loaded; call it in a method", f.Value)
		}
	}
}

// makesIterator says whether a call returns a function that keeps its place.
func (c *checker) makesIterator(e *ast.FuncCallExpr) bool {
	switch f := e.Func.(type) {
	case nil:
		return e.Method == "gmatch"
	case *ast.IdentExpr:
		return f.Value == "pairs" && c.find("pairs") == nil
	case *ast.AttrGetExpr:
		k, ok := f.Key.(*ast.StringExpr)
		return ok && k.Value == "gmatch"
	}
	return false
}

// reaches checks the call of a method where it stands, or later, if it stands in
// a helper.
func (c *checker) reaches(o *checked, method string, line int) {
	if o != nil && o.prototype != "" {
		o = c.objects[o.prototype]
	}
	if o == nil || c.dry {
		return
	}
	from, _ := c.fn.context()
	if from != 0 {
		if text := wrongCall(from, o, method); text != "" {
			c.report(method, line, "%s", text)
		}
		return
	}
	if !c.fn.chunk {
		n := len(c.pending)
		c.report(method, line, "")
		c.calls = append(c.calls, helperCall{c.fn, o, method, c.pending[n].f})
		c.pending = c.pending[:n]
	}
}

// wrongCall says why code of a kind can't call a method; empty if it can.
func wrongCall(from command.MethodKind, o *checked, method string) string {
	switch kind := o.methods[method]; {
	case from == kindLocal:
	case kind == kindLocal:
		return o.name + ":" + method + " is a local method: replicated code can't call it"
	case kind == kindReplicated && from == kindQuery:
		return o.name + ":" + method + " is a replicated method: a query can't call it"
	}
	return ""
}

// checkHelpers reports calls in helpers that a method which uses the helper,
// itself or through others, could not make.
func (c *checker) checkHelpers() {
	used := c.users()
	for _, call := range c.calls {
		if text := c.wrongUse(call, used); text != "" {
			call.at.Text = text
			c.findings = append(c.findings, call.at)
		}
	}
}

// wrongUse looks for a method that may not make the call. The one with the first
// name is named, so that the text does not depend on the order of a map.
func (c *checker) wrongUse(call helperCall, used map[*checkedFunc][]*checkedFunc) (text string) {
	best := ""
	seen := map[*checkedFunc]bool{}
	todo := []*checkedFunc{call.fn}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for ; f != nil && !seen[f]; f = f.outer {
			seen[f] = true
			todo = append(todo, used[f]...)
			if f.method == 0 {
				continue
			}
			why, name := wrongCall(f.method, call.object, call.method), f.object.name+":"+f.name
			if why != "" && (best == "" || name < best) {
				best, text = name, why+"; "+name+" does so through this function"
			}
		}
	}
	return text
}
