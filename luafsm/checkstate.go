package luafsm

import "github.com/yuin/gopher-lua/ast"

// What the checker knows of state: self, objects by their names, and variables
// that were made of them and never assigned to. What it can't follow it lets
// pass; the machine finds it when it runs.

// statePlace is a table of the state, or something in it.
type statePlace struct {
	object *checked // whose state it is; nil if no script of this check defines it
	root   bool     // all of the state: self
	part   bool     // of the state
}

func (p statePlace) known() bool { return p.root || p.part }

// placeOf is the place that an expression surely stands for; none if it may be
// something else.
func (c *checker) placeOf(e ast.Expr) statePlace {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if l := c.find(e.Value); l != nil {
			if c.assigned[l.n] {
				return statePlace{}
			}
			return l.holds
		}
		if o := c.objects[e.Value]; o != nil || c.known[e.Value] != nil {
			return statePlace{object: o, root: true}
		}
	case *ast.AttrGetExpr:
		if p := c.placeOf(e.Object); p.known() {
			return statePlace{object: p.object, part: true}
		}
	}
	return statePlace{}
}

// visits is the place of the values that a loop over exprs goes through.
func (c *checker) visits(exprs []ast.Expr) statePlace {
	call, ok := exprs[0].(*ast.FuncCallExpr)
	if !ok || len(exprs) != 1 || len(call.Args) != 1 {
		return statePlace{}
	}
	f, ok := call.Func.(*ast.IdentExpr)
	if !ok || f.Value != "pairs" && f.Value != "ipairs" || c.find(f.Value) != nil {
		return statePlace{}
	}
	if p := c.placeOf(call.Args[0]); p.known() {
		return statePlace{object: p.object, part: true}
	}
	return statePlace{}
}

// class is what defines the methods of o; nil if no script of this check does.
func (c *checker) class(o *checked) *checked {
	if o != nil && o.prototype != "" {
		return c.objects[o.prototype]
	}
	return o
}

// understood takes back that the use of a variable with the definition of o, which
// was counted just now, is one that no rule knows.
func (c *checker) understood(o *checked) {
	if c.dry {
		o.other--
	}
}

// missing reports the call of a method that o hasn't. A field may hold a function
// during a call, so names of fields are let pass.
func (c *checker) missing(o *checked, method string, line int) {
	d := c.class(o)
	if d == nil || c.dry || c.fn.chunk || c.fields[method] || !d.complete() {
		return
	}
	if _, ok := d.methods[method]; !ok {
		c.reportAtClients(method, line, "%s has no method '%s'", o.name, method)
	}
}

// change checks an assignment to a field.
func (c *checker) change(e, value ast.Expr) {
	a, ok := e.(*ast.AttrGetExpr)
	if !ok {
		return
	}
	k, isField := a.Key.(*ast.StringExpr)
	if o, kind := c.receiver(a.Object); o != nil && kind != 0 {
		// X.replicated.m = f defines a method, too. X.replicated[name] = f does it
		// out of sight.
		if isField && c.dry {
			o.methods[k.Value] = kind
		}
		return
	}
	if isField && c.dry {
		c.fields[k.Value] = true
	}
	p := c.placeOf(a.Object)
	if c.dry || !p.known() {
		return
	}
	at, line := rootName(a), a.Line()
	if isField {
		at, line = k.Value, k.Line()
	}
	kind, _ := c.fn.context()
	d := c.class(p.object)
	_, isNil := value.(*ast.NilExpr)
	switch {
	case kind == kindQuery:
		c.report(at, line, "query methods can't change state")
	case kind == kindLocal && p.root:
		c.reportAtClients(at, line, "local methods can't change state; call a replicated method")
	case kind != 0 && kind != kindLocal && p.root && isField && d != nil && d.methods[k.Value] != 0 && !isNil:
		c.report(at, line, "%s.%s can't be assigned: %s has a method of that name", p.object.name, k.Value, p.object.name)
	}
}

// rootName is the variable that a path begins with.
func rootName(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.AttrGetExpr:
			e = x.Object
		case *ast.IdentExpr:
			return x.Value
		default:
			return ""
		}
	}
}

// writers are functions that change their first argument.
var writers = map[string]bool{"rawset": true, "setmetatable": true, "table.insert": true, "table.remove": true, "table.sort": true}

// writes checks the call of a function that changes its first argument.
func (c *checker) writes(e *ast.FuncCallExpr, f ast.Expr) {
	var name, last string
	switch f := f.(type) {
	case *ast.IdentExpr:
		name, last = f.Value, f.Value
	case *ast.AttrGetExpr:
		lib, ok1 := f.Object.(*ast.IdentExpr)
		k, ok2 := f.Key.(*ast.StringExpr)
		if !ok1 || !ok2 || c.find(lib.Value) != nil {
			return
		}
		name, last = lib.Value+"."+k.Value, k.Value
	}
	if !writers[name] || len(e.Args) == 0 {
		return
	}
	if key, ok := e.Args[min(1, len(e.Args)-1)].(*ast.StringExpr); ok && name == "rawset" && c.dry {
		c.fields[key.Value] = true
	}
	if kind, _ := c.fn.context(); kind == kindQuery && !c.dry && c.placeOf(e.Args[0]).known() {
		c.report(last, e.Line(), "%s: query methods can't change state", name)
	}
}

// effects are functions that only replicated code may call.
var effects = map[string]bool{"emit": true, "after": true, "cancel": true}

// helperEffect is a call of one of them in a function that is no method.
type helperEffect struct {
	fn   *checkedFunc
	name string
	at   Finding // without a text
}

// effect checks the call of emit, after and cancel.
func (c *checker) effect(e *ast.FuncCallExpr, f *ast.IdentExpr) {
	if !effects[f.Value] || c.dry || c.fn.chunk {
		return
	}
	kind, own := c.fn.context()
	switch {
	case kind == kindQuery:
		c.report(f.Value, f.Line(), "%s: not available in query methods", f.Value)
	case kind == 0:
		c.effects = append(c.effects, helperEffect{c.fn, f.Value, c.spot(f.Value, f.Line())})
	case f.Value == "after" && c.fn.method != 0 && kind != kindLocal && len(e.Args) > 1:
		// In a function within the method another object's method may run it.
		name, ok := e.Args[1].(*ast.StringExpr)
		if m, known := own.methods[nameOf(name)]; ok && own.complete() && (!known || m != kindReplicated && m != 0) {
			c.report(f.Value, f.Line(), "after: %s has no replicated method '%s'", own.name, shown(name.Value))
		}
	}
}

func nameOf(s *ast.StringExpr) string {
	if s == nil {
		return ""
	}
	return s.Value
}

// checkEffects reports emit, after and cancel in helpers that none but queries
// use. One that others use, too, may have been told by whom.
func (c *checker) checkEffects(used *helperUse) {
	for _, e := range c.effects {
		methods := used.methods(e.fn)
		if name, ok := methods[kindQuery]; ok && len(methods) == 1 {
			e.at.Text = e.name + ": not available in query methods; " + name + " calls it through this function"
			c.findings = append(c.findings, e.at)
		}
	}
}
