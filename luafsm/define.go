package luafsm

import (
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// Names of the language and of functions, which no object may have.
var reserved = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range []string{"and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not", "or",
		"repeat", "return", "then", "true", "until", "while", "self", "arg", "async", "_G", "_VERSION"} {
		m[n] = true
	}
	for n := range globalNames {
		m[n] = true
	}
	for n := range alternatives {
		m[n] = true
	}
	return m
}()

// badName says why name can't be that of an object; empty if it can.
func badName(name string) string {
	switch {
	case name == "":
		return "an object needs a name"
	case len(name) > nameBytesMax:
		return "the name of an object is too long"
	case !isIdentifier(name):
		return "the name of an object is made of letters, digits and _, and begins with a letter or _"
	case reserved[name]:
		return "'" + name + "' is a name of the language"
	}
	return ""
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// objectFunction is object(name [, options]) in a script's chunk.
func objectFunction(L *lua.LState) int {
	x := execOf(L)
	p := x.prog
	if x.mode != modeLoad || p.loading == nil {
		throwf(L, "object: objects are defined when the script is loaded, not by methods")
	}
	name, ok := L.Get(1).(lua.LString)
	if !ok {
		wrongType(L, 1, "string")
	}
	if why := badName(string(name)); why != "" {
		throwf(L, "object: %s", why)
	}
	d := &definition{name: string(name), version: 1, script: p.loading.name, methods: map[string]*method{}}
	if dbg, ok := L.GetStack(1); ok {
		if _, err := L.GetInfo("l", dbg, lua.LNil); err == nil {
			d.line = dbg.CurrentLine
		}
	}
	d.doc = p.loading.doc(d.line)
	if other := p.defs[d.name]; other != nil {
		throwf(L, "object %s is already defined at %s:%d", d.name, other.script, other.line)
	}
	switch o := L.Get(2).(type) {
	case *lua.LNilType:
	case lua.LString:
		d.prototype = string(o)
	default:
		x.objectOptions(d, checkTable(L, 2))
	}
	p.defs[d.name] = d
	L.Push(newNamespace(d, kindLocal))
	return 1
}

func (x *exec) objectOptions(d *definition, t *state.Table) {
	t.Each(nil, func(k, v lua.LValue) bool {
		if k != lua.LString("version") {
			throwf(x.L, "object %s: unknown option '%s'", d.name, shown(x.toString(k)))
		}
		n, ok := v.(lua.LNumber)
		i, whole := lib.Integer(float64(n))
		if !ok || !whole || i < 1 || i > versionMax {
			throwf(x.L, "object %s: version must be a positive integer", d.name)
		}
		d.version = int(i)
		return true
	})
}

func newNamespace(d *definition, kind command.MethodKind) *lua.LUserData {
	return &lua.LUserData{Value: &namespace{d, kind}, Metatable: namespaceMeta}
}

func namespaceOf(L *lua.LState) *namespace {
	n, ok := L.Get(1).(*lua.LUserData).Value.(*namespace)
	if !ok {
		throwf(L, "not an object")
	}
	return n
}

// namespaceIndex is X.replicated, X.query and X.replicated.name: a method as a
// function.
func namespaceIndex(L *lua.LState) int {
	x := execOf(L)
	n := namespaceOf(L)
	name, _ := L.Get(2).(lua.LString)
	x.key(name)
	switch {
	case n.kind == kindLocal && name == "replicated":
		L.Push(newNamespace(n.def, kindReplicated))
		return 1
	case n.kind == kindLocal && name == "query":
		L.Push(newNamespace(n.def, kindQuery))
		return 1
	}
	m := n.def.methods[string(name)]
	switch {
	case m == nil || m.kind != n.kind:
		L.Push(lua.LNil)
	case m.kind == kindLocal:
		throwf(L, "%s:%s is a local method: it runs where it is called from, not in replicated code", n.def.name, m.name)
	case m.kind == kindReplicated && x.mode == modeQuery:
		throwf(L, "%s:%s is a replicated method: a query can't call it", n.def.name, m.name)
	default:
		L.Push(m.fn)
	}
	return 1
}

// namespaceNewIndex is function X.replicated:name() and its like.
func namespaceNewIndex(L *lua.LState) int {
	x := execOf(L)
	n := namespaceOf(L)
	d := n.def
	name, ok := L.Get(2).(lua.LString)
	fn, isFn := L.Get(3).(*lua.LFunction)
	if x.mode != modeLoad {
		throwf(L, "%s: methods are defined when the script is loaded; keep data in self", d.name)
	}
	if !ok || !isFn || fn.IsG || len(name) > nameBytesMax || !isIdentifier(string(name)) {
		throwf(L, "%s: only methods can be defined here; keep data in self", d.name)
	}
	if d.prototype != "" {
		throwf(L, "%s has the methods of %s and none of its own", d.name, d.prototype)
	}
	m := newMethod(string(name), n.kind, fn)
	if src := x.prog.loading; src != nil && src.name == fn.Proto.SourceName {
		m.doc = src.doc(m.line)
	}
	switch {
	case n.kind == kindLocal && name == "init":
		m.kind, d.init = kindInit, m
		return 0
	case n.kind == kindLocal && name == "migrate":
		m.kind, d.migrate = kindMigrate, m
		return 0
	case n.kind == kindLocal && (name == "replicated" || name == "query"):
		throwf(L, "%s.%s is where methods are defined, not one itself", d.name, name)
	case n.kind != kindLocal && (name == "init" || name == "migrate"):
		throwf(L, "%s.%s: write function %s:%s", d.name, name, d.name, name)
	}
	if old := d.methods[m.name]; old != nil {
		throwf(L, "%s:%s is already defined at line %d", d.name, m.name, old.line)
	}
	if m.kind == kindLocal {
		m.fn = nil
	}
	d.methods[m.name] = m
	return 0
}

func newMethod(name string, kind command.MethodKind, fn *lua.LFunction) *method {
	m := &method{name: name, kind: kind, fn: fn, line: fn.Proto.LineDefined}
	for i := range int(fn.Proto.NumParameters) {
		if p := fn.Proto.DbgLocals[i].Name; i > 0 || p != "self" {
			m.params = append(m.params, p)
		}
	}
	if fn.Proto.IsVarArg != 0 {
		m.params = append(m.params, "...")
	}
	return m
}
