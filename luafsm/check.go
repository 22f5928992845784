package luafsm

import (
	"fmt"
	"slices"
	"sort"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/luaast"
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/yuin/gopher-lua/ast"
)

// alternatives are names of Lua that replicated code has not, and what there is
// instead.
var alternatives = map[string]string{
	"os": "use now()", "os.time": "use now()", "os.clock": "use now()", "os.date": "format now() at the client", "os.getenv": "pass it as an argument", "os.exit": "use error()",
	"io": "do it in a local method", "debug": "there is nothing in its place", "package": "deploy scripts together", "require": "deploy scripts together",
	"load": "deploy the code", "loadstring": "deploy the code", "loadfile": "deploy the code", "dofile": "deploy the code",
	"coroutine": "write a function", "collectgarbage": "leave it out", "getfenv": "leave it out", "setfenv": "leave it out", "newproxy": "use a table", "module": "use local functions", "gcinfo": "leave it out",
	"sleep": "use after()", "every": "use after()", "_G": "keep data in self", "_VERSION": "leave it out",
	"string.dump": "leave it out", "math.randomseed": "random() is seeded by the log", "table.foreach": "use pairs", "table.foreachi": "use ipairs", "table.setn": "leave it out",
}

// Check reports what a deploy of the scripts would refuse before it runs them.
func Check(scripts []command.Script) []Finding {
	if err := checkScripts(scripts, 0); err != nil {
		return []Finding{{File: scripts0(scripts), Line: 1, Col: 1, Text: err.Error()}}
	}
	_, out, _ := check(scripts, nil, defaultLimits().scriptBytes, func(int) error { return nil })
	return out
}

func scripts0(s []command.Script) string {
	if len(s) == 0 {
		return ""
	}
	return s[0].Name
}

// check is Check with the objects that are there already. It returns the code of
// the scripts, too, if it finds nothing. What the work costs is charged before;
// the error is that of charge.
func check(scripts []command.Script, known map[string]*object, bytesMax int, charge func(steps int) error) (list []*compiled, out []Finding, err error) {
	var all []*checker
	objects, fields := map[string]*checked{}, map[string]bool{}
	for _, s := range scripts {
		if err := charge(len(s.Source) / scanBytesPerStep); err != nil {
			return nil, nil, err
		}
		src, f := readSource(s.Name, s.Source, bytesMax)
		if f == nil {
			if err := charge(src.steps()); err != nil {
				return nil, nil, err
			}
			f = src.parse()
		}
		if f != nil {
			out = append(out, *f)
			continue
		}
		c := &checker{src: src, objects: objects, fields: fields, known: known, assigned: map[int]bool{}, refs: map[*checkedFunc]map[*local]bool{}}
		c.collect()
		all = append(all, c)
	}
	for _, c := range all {
		c.run()
		out = append(out, c.findings...)
	}
	for _, c := range all { // what only the compiler finds
		if slices.ContainsFunc(out, func(f Finding) bool { return f.File == c.src.name }) {
			continue
		}
		one, f := compileSource(c.src)
		if f != nil {
			out = append(out, *f)
		}
		list = append(list, one)
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
	out = slices.Compact(out)
	return list, out[:min(len(out), findingsMax)], nil
}

// checked is an object that the scripts define.
type checked struct {
	name      string
	prototype string
	methods   map[string]command.MethodKind
	// made counts the calls that define it, held those whose definition a variable
	// holds, and other the uses of those variables that no rule here knows: it may
	// get methods there.
	made, held, other int
}

// complete says whether all methods of o are known.
func (o *checked) complete() bool { return o.made == o.held && o.other == 0 }

// local is a variable.
type local struct {
	name   string
	n      int          // its number among all variables of the script
	fn     *checkedFunc // that declares it
	object *checked     // when it holds a definition
	body   *checkedFunc // when it holds a local function
	holds  statePlace   // of the state: self, or a variable that was made of it
	// keeps says that the chunk put an iterator into it, which keeps its place.
	keeps bool
}

// checkedFunc is a function of the script; the chunk is the first.
type checkedFunc struct {
	outer  *checkedFunc
	method command.MethodKind // 0: a helper or the chunk
	name   string             // of a method
	object *checked
	chunk  bool
}

// context is the method that a function belongs to.
func (f *checkedFunc) context() (command.MethodKind, *checked) {
	for ; f != nil; f = f.outer {
		if f.method != 0 {
			return f.method, f.object
		}
	}
	return 0, nil
}

// finding that counts only if its function runs in the machine.
type pending struct {
	fn *checkedFunc
	f  Finding
	// loading: it does not count in a function that runs only while the script is
	// loaded. client: it counts at clients, too.
	loading, client bool
}

type checker struct {
	src      *source
	objects  map[string]*checked
	known    map[string]*object
	fn       *checkedFunc
	vars     []*local // in scope, innermost last
	declared int
	assigned map[int]bool    // variables, by number, that are assigned to after they were declared
	fields   map[string]bool // names of fields that some script assigns to
	pending  []pending
	calls    []helperCall
	effects  []helperEffect
	refs     map[*checkedFunc]map[*local]bool // local functions that a function names
	findings []Finding
	seen     map[string]int // identifiers per line, to find their columns
	dry      bool           // collect: definitions only
}

// collect learns which objects and methods the script defines.
func (c *checker) collect() {
	c.dry = true
	c.walk()
	c.dry = false
}

func (c *checker) walk() {
	c.fn = &checkedFunc{chunk: true}
	c.vars, c.declared, c.seen = nil, 0, map[string]int{}
	c.block(c.src.chunk)
}

func (c *checker) run() {
	c.walk()
	c.checkHelpers()
	client, chunk := c.clientOnly(), c.chunkOnly()
	for _, p := range c.pending {
		if (!client[p.fn] || p.client) && !(p.loading && chunk[p.fn]) {
			c.findings = append(c.findings, p.f)
		}
	}
}

// chunkOnly is the helpers that only the chunk, and other such helpers, name.
// One that gets into a method in another way is found when the script is loaded.
func (c *checker) chunkOnly() map[*checkedFunc]bool {
	return c.namedBy(func(f, h *checkedFunc, out map[*checkedFunc]bool) bool { return f.chunk || f == h || out[f] })
}

// clientOnly is the helpers that only local methods, and other such helpers,
// use: they never run in the machine.
func (c *checker) clientOnly() map[*checkedFunc]bool {
	out := c.namedBy(c.atClient)
	for _, p := range c.pending {
		if p.fn != nil && c.atClient(p.fn, nil, out) {
			out[p.fn] = true
		}
	}
	return out
}

// namedBy is the helpers h that no function f names but those for which allowed
// says so, given the helpers found so far.
func (c *checker) namedBy(allowed func(f, h *checkedFunc, out map[*checkedFunc]bool) bool) map[*checkedFunc]bool {
	out := map[*checkedFunc]bool{}
	used := c.users()
	for changed := true; changed; {
		changed = false
		for h, by := range used {
			if out[h] || slices.ContainsFunc(by, func(f *checkedFunc) bool { return !allowed(f, h, out) }) {
				continue
			}
			out[h], changed = true, true
		}
	}
	return out
}

// users are the functions that name each helper.
func (c *checker) users() map[*checkedFunc][]*checkedFunc {
	used := map[*checkedFunc][]*checkedFunc{}
	for by, names := range c.refs {
		for l := range names {
			used[l.body] = append(used[l.body], by)
		}
	}
	return used
}

// atClient says whether f, or a function around it, runs at clients only. A
// helper's use of itself says nothing.
func (c *checker) atClient(f, self *checkedFunc, out map[*checkedFunc]bool) bool {
	for ; f != nil; f = f.outer {
		if f.method == kindLocal || out[f] || f == self {
			return true
		}
	}
	return false
}

// report adds a finding at the next identifier name of the line.
func (c *checker) report(name string, line int, format string, args ...any) {
	if c.dry {
		return
	}
	key := fmt.Sprintf("%d %s", line, name)
	col := c.src.find(name, line, max(c.seen[key]-1, 0))
	c.pending = append(c.pending, pending{fn: c.fn, f: Finding{c.src.name, line, col, fmt.Sprintf(format, args...)}})
}

// reportAtClients is report for what is wrong at clients, too.
func (c *checker) reportAtClients(name string, line int, format string, args ...any) {
	n := len(c.pending)
	c.report(name, line, format, args...)
	for i := range c.pending[n:] {
		c.pending[n+i].client = true
	}
}

// note counts an identifier of the text.
func (c *checker) note(name string, line int) { c.seen[fmt.Sprintf("%d %s", line, name)]++ }

func (c *checker) find(name string) *local {
	for i := len(c.vars) - 1; i >= 0; i-- {
		if c.vars[i].name == name {
			return c.vars[i]
		}
	}
	return nil
}

func (c *checker) declare(name string, line int) *local {
	if line > 0 {
		c.note(name, line)
	}
	c.declared++
	l := &local{name: name, n: c.declared, fn: c.fn}
	c.vars = append(c.vars, l)
	return l
}

func (c *checker) block(list []ast.Stmt) {
	n := len(c.vars)
	for _, s := range list {
		c.stmt(s)
	}
	c.vars = c.vars[:n]
}

func (c *checker) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		for i, e := range s.Lhs {
			var v ast.Expr
			if i < len(s.Rhs) {
				v = s.Rhs[i]
			}
			c.assign(e, v)
		}
		c.exprs(s.Rhs)
	case *ast.LocalAssignStmt:
		c.localAssign(s)
	case *ast.FuncCallStmt:
		c.expr(s.Expr)
	case *ast.DoBlockStmt:
		c.block(s.Stmts)
	case *ast.WhileStmt:
		c.expr(s.Condition)
		c.block(s.Stmts)
	case *ast.RepeatStmt:
		n := len(c.vars)
		for _, s := range s.Stmts {
			c.stmt(s)
		}
		c.expr(s.Condition)
		c.vars = c.vars[:n]
	case *ast.IfStmt:
		c.expr(s.Condition)
		c.block(s.Then)
		c.block(s.Else)
	case *ast.NumberForStmt:
		c.note(s.Name, s.Line())
		c.expr(s.Init)
		c.expr(s.Limit)
		if s.Step != nil {
			c.expr(s.Step)
		}
		n := len(c.vars)
		c.declare(s.Name, 0)
		c.block(s.Stmts)
		c.vars = c.vars[:n]
	case *ast.GenericForStmt:
		for _, v := range s.Names {
			c.note(v, s.Line())
		}
		c.exprs(s.Exprs)
		part := c.visits(s.Exprs)
		n := len(c.vars)
		for i, v := range s.Names {
			if l := c.declare(v, 0); i == 1 {
				l.holds = part
			}
		}
		c.block(s.Stmts)
		c.vars = c.vars[:n]
	case *ast.FuncDefStmt:
		c.funcDef(s)
	case *ast.ReturnStmt:
		c.exprs(s.Exprs)
	}
}

func (c *checker) localAssign(s *ast.LocalAssignStmt) {
	if luaast.IsLocalFunction(s) {
		l := c.declare(s.Names[0], s.Line())
		l.body = c.function(s.Exprs[0].(*ast.FunctionExpr), 0, nil, false, l)
		return
	}
	for _, n := range s.Names {
		c.note(n, s.Line())
	}
	c.exprs(s.Exprs)
	held := make([]statePlace, len(s.Names)) // before the first name is declared, as it may be one that they use
	for i := range min(len(s.Names), len(s.Exprs)) {
		held[i] = c.placeOf(s.Exprs[i])
	}
	for i, n := range s.Names {
		l := c.declare(n, 0)
		l.holds = held[i]
		if i < len(s.Exprs) {
			if call, ok := s.Exprs[i].(*ast.FuncCallExpr); ok {
				dry := c.dry
				c.dry = true // what is wrong with it was reported with the call
				l.object = c.definition(call)
				c.dry = dry
				if l.object != nil && dry {
					l.object.held++
				}
				l.keeps = i == 0 && c.fn.chunk && c.makesIterator(call)
			}
		}
	}
}

// definition is the object that a call of object() defines.
func (c *checker) definition(call *ast.FuncCallExpr) *checked {
	f, ok := call.Func.(*ast.IdentExpr)
	if !ok || f.Value != "object" || c.find("object") != nil {
		return nil
	}
	var name *ast.StringExpr
	if len(call.Args) > 0 {
		name, _ = call.Args[0].(*ast.StringExpr)
	}
	if name == nil {
		c.report("object", call.Line(), "object: the name must be a string")
		return nil
	}
	if why := badName(name.Value); why != "" {
		c.report("object", call.Line(), "object: %s", why)
	}
	if !c.fn.chunk {
		c.report("object", call.Line(), "object: objects are defined when the script is loaded, not by methods")
	}
	o := c.objects[name.Value]
	if o == nil {
		o = &checked{name: name.Value, methods: map[string]command.MethodKind{}}
		c.objects[name.Value] = o
	}
	if len(call.Args) < 2 {
		return o
	}
	switch a := call.Args[1].(type) {
	case *ast.StringExpr:
		o.prototype = a.Value
		if !c.dry && c.objects[a.Value] == nil && c.known[a.Value] == nil {
			c.report("object", call.Line(), "object %s: no script defines %s", o.name, a.Value)
		}
	case *ast.TableExpr:
		for _, f := range a.Fields {
			k, ok := f.Key.(*ast.StringExpr)
			switch {
			case !ok:
				c.report("object", call.Line(), "object %s: options are written {version = 2}", o.name)
			case k.Value != "version":
				c.note(k.Value, k.Line())
				c.report(k.Value, k.Line(), "object %s: unknown option '%s'", o.name, k.Value)
			case !wholeVersion(f.Value):
				c.report("object", call.Line(), "object %s: version must be a positive integer", o.name)
			}
		}
	default:
		c.report("object", call.Line(), "object %s: the second argument is options, written {version = 2}, or the name of another object", o.name)
	}
	return o
}

// wholeVersion says whether e may be the version of an object.
func wholeVersion(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.NumberExpr:
		f, ok := lib.ParseNumber(e.Value)
		n, whole := lib.Integer(f)
		return ok && whole && n >= 1 && n <= versionMax
	case *ast.StringExpr, *ast.TableExpr, *ast.FunctionExpr, *ast.NilExpr, *ast.TrueExpr, *ast.FalseExpr:
		return false
	}
	return true // known when the script is loaded
}

// funcDef is function X:m(), function X.query:m() and their like.
func (c *checker) funcDef(s *ast.FuncDefStmt) {
	if s.Name.Func != nil {
		if id, ok := s.Name.Func.(*ast.IdentExpr); ok {
			c.assign(id, s.Func)
			c.function(s.Func, 0, nil, false, nil)
			return
		}
		a := s.Name.Func.(*ast.AttrGetExpr)
		c.expr(a)
		if o, kind := c.receiver(a.Object); o != nil {
			k := a.Key.(*ast.StringExpr)
			c.report(k.Value, k.Line(), "write function %s:%s(...), with a colon: methods have self", o.name, k.Value)
			c.function(s.Func, kind, o, false, nil)
			return
		}
		c.change(a, s.Func)
		c.function(s.Func, 0, nil, false, nil)
		return
	}
	c.expr(s.Name.Receiver)
	c.note(s.Name.Method, s.Line())
	o, kind := c.receiver(s.Name.Receiver)
	if o == nil {
		key := &ast.StringExpr{Value: s.Name.Method}
		key.SetLine(s.Line())
		c.change(&ast.AttrGetExpr{Object: s.Name.Receiver, Key: key}, s.Func)
		c.function(s.Func, 0, nil, true, nil)
		return
	}
	c.understood(o)
	name := s.Name.Method
	switch {
	case kind == 0:
		c.report(name, s.Line(), "methods are written %s:m, %s.replicated:m or %s.query:m", o.name, o.name, o.name)
	case kind == kindLocal && name == "init":
		kind = kindInit
	case kind == kindLocal && name == "migrate":
		kind = kindMigrate
	case c.dry:
		if _, twice := o.methods[name]; twice {
			o.methods[name] = 0
		} else {
			o.methods[name] = kind
		}
	case o.methods[name] == 0:
		c.report(name, s.Line(), "%s:%s is defined twice", o.name, name)
	}
	c.function(s.Func, kind, o, true, nil).name = name
}

// receiver is the object and kind of methods that X, X.replicated or X.query
// stands for.
func (c *checker) receiver(e ast.Expr) (*checked, command.MethodKind) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if l := c.find(e.Value); l != nil && l.object != nil {
			return l.object, kindLocal
		}
	case *ast.AttrGetExpr:
		id, ok1 := e.Object.(*ast.IdentExpr)
		k, ok2 := e.Key.(*ast.StringExpr)
		if !ok1 || !ok2 {
			return nil, 0
		}
		l := c.find(id.Value)
		if l == nil || l.object == nil {
			return nil, 0
		}
		switch k.Value {
		case "replicated":
			return l.object, kindReplicated
		case "query":
			return l.object, kindQuery
		}
		return l.object, 0
	}
	return nil, 0
}

func (c *checker) function(f *ast.FunctionExpr, kind command.MethodKind, o *checked, self bool, name *local) *checkedFunc {
	inner := &checkedFunc{outer: c.fn, method: kind, object: o}
	if name != nil {
		name.body = inner
	}
	c.fn = inner
	n := len(c.vars)
	if self {
		if l := c.declare("self", 0); kind != 0 {
			l.holds = statePlace{object: o, root: true}
		}
	}
	for _, p := range f.ParList.Names {
		c.declare(p, f.Line())
	}
	c.block(f.Stmts)
	c.vars = c.vars[:n]
	c.fn = inner.outer
	return inner
}

// assign checks what is assigned to. The value is nil if it is not one expression.
func (c *checker) assign(e, value ast.Expr) {
	id, ok := e.(*ast.IdentExpr)
	if !ok {
		c.expr(e)
		c.change(e, value)
		return
	}
	c.note(id.Value, id.Line())
	l := c.find(id.Value)
	if l != nil {
		c.assigned[l.n] = true
	}
	switch {
	case l == nil:
		c.report(id.Value, id.Line(), "assignment to global '%s'; write local, or keep data in self", id.Value)
	case l.fn.chunk && !c.fn.chunk:
		c.report(id.Value, id.Line(), "assignment to '%s', a variable of the script; keep data in self", id.Value)
		if !c.dry {
			c.pending[len(c.pending)-1].loading = true
		}
	}
}

func (c *checker) exprs(l []ast.Expr) {
	for _, e := range l {
		c.expr(e)
	}
}

func (c *checker) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		c.use(e)
	case *ast.AttrGetExpr:
		c.attr(e)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if k, ok := f.Key.(*ast.StringExpr); ok {
				c.note(k.Value, k.Line())
			} else if f.Key != nil {
				c.expr(f.Key)
			}
			c.expr(f.Value)
		}
	case *ast.FuncCallExpr:
		c.call(e)
	case *ast.LogicalOpExpr:
		c.expr(e.Lhs)
		c.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		c.expr(e.Lhs)
		c.expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		c.expr(e.Lhs)
		c.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		c.expr(e.Lhs)
		c.expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		c.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		c.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		c.expr(e.Expr)
	case *ast.FunctionExpr:
		c.function(e, 0, nil, false, nil)
	}
}

// use is a variable that is read.
func (c *checker) use(e *ast.IdentExpr) {
	c.note(e.Value, e.Line())
	if l := c.find(e.Value); l != nil {
		if l.object != nil && c.dry {
			l.object.other++
		}
		if l.keeps && !c.fn.chunk {
			c.report(e.Value, e.Line(), "'%s' is an iterator that the script made when it was loaded, and would go on from call to call; call pairs or gmatch in the method", e.Value)
		}
		if l.body != nil {
			if c.refs[c.fn] == nil {
				c.refs[c.fn] = map[*local]bool{}
			}
			c.refs[c.fn][l] = true
		}
		return
	}
	if globalNames[e.Value] || c.objects[e.Value] != nil || c.known[e.Value] != nil {
		return
	}
	if alt, ok := alternatives[e.Value]; ok {
		c.report(e.Value, e.Line(), "%s: not available in replicated code; %s", e.Value, alt)
		return
	}
	c.report(e.Value, e.Line(), "unknown name '%s'", e.Value)
}

// attr is a.b; names of libraries are known.
func (c *checker) attr(e *ast.AttrGetExpr) {
	id, isName := e.Object.(*ast.IdentExpr)
	k, isField := e.Key.(*ast.StringExpr)
	if !isName || !isField || c.find(id.Value) != nil || c.objects[id.Value] != nil {
		c.expr(e.Object)
		if o, kind := c.receiver(e.Object); o != nil && isField && (kind != kindLocal || k.Value != "replicated" && k.Value != "query") {
			c.understood(o)
		}
		if isField {
			c.note(k.Value, k.Line())
		} else {
			c.expr(e.Key)
		}
		return
	}
	full := id.Value + "." + k.Value
	_, isLib := libraries[id.Value]
	alt, hasAlt := alternatives[full]
	if !isLib && !hasAlt || isLib && isLibrary(id.Value, k.Value) {
		c.expr(e.Object)
		c.note(k.Value, k.Line())
		return
	}
	c.note(id.Value, id.Line())
	c.note(k.Value, k.Line())
	if hasAlt {
		c.report(id.Value, id.Line(), "%s: not available in replicated code; %s", full, alt)
	} else {
		c.report(id.Value, id.Line(), "unknown name '%s'", full)
	}
}

func (c *checker) call(e *ast.FuncCallExpr) {
	if e.Func != nil {
		c.expr(e.Func)
		if o := c.definition(e); o != nil && c.dry && o.prototype == "" {
			o.made++
		}
		c.functionCall(e)
		c.exprs(e.Args)
		return
	}
	c.expr(e.Receiver)
	c.note(e.Method, e.Line())
	c.methodCall(e)
	c.exprs(e.Args)
}

// compileFinding reads the position out of an error of compile.
func compileFinding(name string, err error) *Finding {
	f := &Finding{File: name, Line: 1, Col: 1, Text: err.Error()}
	var line, col int
	var rest string
	if n, _ := fmt.Sscanf(err.Error()[min(len(name), len(err.Error())):], ":%d:%d:", &line, &col); n == 2 {
		rest = err.Error()[len(fmt.Sprintf("%s:%d:%d: ", name, line, col)):]
		f.Line, f.Col, f.Text = line, col, rest
	}
	return f
}
