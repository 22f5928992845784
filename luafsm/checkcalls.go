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

// methodCall checks self:m() and object:m() against what the method may call,
// and that there is such a method.
func (c *checker) methodCall(e *ast.FuncCallExpr) {
	if o, _ := c.receiver(e.Receiver); o != nil {
		c.understood(o)
		if !c.reaches(o, e.Method, e.Line()) && c.inMachine() {
			c.report(e.Method, e.Line(), "the definition of %s has no state; write %s:%s(...)", o.name, o.name, e.Method)
		}
		return
	}
	if p := c.placeOf(e.Receiver); p.root && !c.reaches(p.object, e.Method, e.Line()) {
		c.missing(p.object, e.Method, e.Line())
	}
}

// inMachine says whether the code stands in a method that runs in the machine.
func (c *checker) inMachine() bool {
	kind, _ := c.fn.context()
	return kind != 0 && kind != kindLocal
}

// loadMissing are functions that a chunk can't call: it runs again on every
// machine that restores, at another time.
var loadMissing = map[string]bool{"now": true, "index": true, "random": true, "caller": true, "emit": true, "after": true, "cancel": true}

// functionCall checks X.replicated.m(...), what a chunk calls, and functions that
// change the state or have an effect.
func (c *checker) functionCall(e *ast.FuncCallExpr) {
	switch f := e.Func.(type) {
	case *ast.AttrGetExpr:
		o, kind := c.receiver(f.Object)
		if k, ok := f.Key.(*ast.StringExpr); ok && o != nil && o.methods[k.Value] == kind {
			c.reaches(o, k.Value, k.Line())
		}
		c.writes(e, f)
	case *ast.IdentExpr:
		if c.find(f.Value) != nil {
			return
		}
		if c.fn.chunk && loadMissing[f.Value] {
			c.report(f.Value, f.Line(), "%s: not available while the script is loaded; call it in a method", f.Value)
		}
		c.writes(e, f)
		c.effect(e, f)
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
// a helper. It says whether it has reported something.
func (c *checker) reaches(o *checked, method string, line int) bool {
	if o = c.class(o); o == nil || c.dry {
		return false
	}
	from, _ := c.fn.context()
	if from != 0 {
		text := wrongCall(from, o, method)
		if text != "" {
			c.report(method, line, "%s", text)
		}
		return text != ""
	}
	if !c.fn.chunk {
		c.calls = append(c.calls, helperCall{c.fn, o, method, c.spot(method, line)})
	}
	return false
}

// spot is where report would report something.
func (c *checker) spot(name string, line int) Finding {
	n := len(c.pending)
	c.report(name, line, "")
	f := c.pending[n].f
	c.pending = c.pending[:n]
	return f
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
	used := &helperUse{by: c.users()}
	for _, call := range c.calls {
		if text := wrongUse(call, used); text != "" {
			call.at.Text = text
			c.findings = append(c.findings, call.at)
		}
	}
	c.checkEffects(used)
}

// wrongUse looks for a method that may not make the call. The one with the first
// name is named, so that the text does not depend on the order of a map.
func wrongUse(call helperCall, used *helperUse) (text string) {
	best := ""
	for kind, name := range used.methods(call.fn) {
		why := wrongCall(kind, call.object, call.method)
		if why != "" && (best == "" || name < best) {
			best, text = name, why+"; "+name+" does so through this function"
		}
	}
	return text
}

// helperUse is who uses the helpers of a script.
type helperUse struct {
	by    map[*checkedFunc][]*checkedFunc
	found map[*checkedFunc]map[command.MethodKind]string
}

// methods is the methods that use a helper, themselves or through others: of each
// kind the one with the first name. There may be thousands of them, and as many
// calls in the helper.
func (u *helperUse) methods(helper *checkedFunc) map[command.MethodKind]string {
	if first, ok := u.found[helper]; ok {
		return first
	}
	first := map[command.MethodKind]string{}
	seen := map[*checkedFunc]bool{}
	todo := []*checkedFunc{helper}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for ; f != nil && !seen[f]; f = f.outer {
			seen[f] = true
			todo = append(todo, u.by[f]...)
			if f.method == 0 {
				continue
			}
			name := f.object.name + ":" + f.name
			if old, ok := first[f.method]; !ok || name < old {
				first[f.method] = name
			}
		}
	}
	if u.found == nil {
		u.found = map[*checkedFunc]map[command.MethodKind]string{}
	}
	u.found[helper] = first
	return first
}
