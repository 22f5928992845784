package luafsm

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// Kinds of methods, those of Description and two more.
const (
	kindReplicated = command.Replicated
	kindQuery      = command.QueryOnly
	kindLocal      = command.Local
	kindInit       = command.MethodKind(100)
	kindMigrate    = command.MethodKind(101)
)

// method of a definition.
type method struct {
	name   string
	kind   command.MethodKind
	fn     *lua.LFunction // nil for a local method: it runs at clients only
	params []string
	doc    string
	line   int
}

// definition is what a script says of an object.
type definition struct {
	name      string
	prototype string // of object(name, prototype): the object whose methods it has
	version   int
	script    string
	doc       string
	line      int
	methods   map[string]*method
	order     []*method // sorted by name
	init      *method
	migrate   *method
	functions map[*lua.LFunction]bool // of the methods, init and migrate
}

// program is scripts, loaded into a Lua state of its own.
type program struct {
	x      *exec
	defs   map[string]*definition
	names  map[string]bool // of all methods: a quick answer for fields that are none
	broken bool            // the Lua state can't be trusted to be as on other replicas: rebuild it

	loading *source // the script whose chunk runs
}

// namespace is the value of X.replicated and X.query, and, with kind local, of X
// itself.
type namespace struct {
	def  *definition
	kind command.MethodKind
}

// namespaceMeta is the metatable of namespaces. init fills it, as its functions
// refer to it.
var namespaceMeta = operators()

func init() {
	namespaceMeta.RawSetString("__index", goFunction(namespaceIndex))
	namespaceMeta.RawSetString("__newindex", goFunction(namespaceNewIndex))
	namespaceMeta.RawSetString("__len", goFunction(badLen))
}

// newProgram makes an empty program whose tables come from store.
func newProgram(store *state.Store, lim *limits, print func(object, text string)) *program {
	p := &program{defs: map[string]*definition{}, names: map[string]bool{}}
	p.x = &exec{prog: p, store: store, roots: &roots{}, limits: lim, print: print}
	p.x.entries = func(n int) error { return p.x.Steps(n + 1) }
	p.x.copies = func(n int) error { p.x.copied += n; return p.x.Steps(n / bytesPerStep) }
	p.x.decoded = func(n int) error { return firstError(p.x.memory(tableBytes+slotBytes*n), p.x.Steps(2*tableSteps+n)) }
	p.x.fresh = func(n int) error { return p.x.Steps(freshSteps + n/freshPerStep) }
	p.newState()
	p.sandbox()
	return p
}

func (p *program) newState() {
	L := lua.NewState(lua.Options{CallStackSize: callDepthMax, RegistrySize: registersMax, SkipOpenLibs: true})
	L.G.MainThread, L.G.CurrentThread = L, L
	L.Panic = onPanic
	L.SetContext(p.x)
	p.x.L = L
}

// renew gives p the Lua state of a new program. What calls may have left is in
// the stacks, which are new; what the chunks have made stays, as no call can
// change it: functions are of no state, and tables are frozen.
func (p *program) renew() {
	old := p.x.L
	p.newState()
	L := p.x.L
	L.G, L.Env = old.G, old.Env
	L.G.MainThread, L.G.CurrentThread = L, L
	p.broken = false
}

// loadLimits are those of chunks: constants, as a chunk runs again on every
// machine that restores, whatever the settings are by then, and must see the same.
var loadLimits = func() limits {
	l := defaultLimits()
	l.scriptBytes = settingMax("script_bytes") // a deploy has held new scripts against the setting
	return l
}()

// load runs the chunks of scripts, in order. The error is a *failure.
func (p *program) load(c *code) (err error) {
	lim := p.x.limits
	p.x.mode, p.x.limits = modeLoad, &loadLimits
	defer func() { p.x.limits = lim }()
	for _, s := range c.compiled {
		if err = p.x.portion(chunkSteps, func() error { return p.loadScript(s) }); err != nil {
			return err
		}
	}
	p.x.mode = 0
	return p.finish()
}

func (p *program) loadScript(s *compiled) error {
	p.loading = s.src
	defer func() { p.loading = nil }()
	fn := p.x.L.NewFunctionFromProto(s.proto)
	r := p.x.protect(func() {
		p.x.L.Push(fn)
		p.x.L.Call(0, 0)
	})
	if r != nil {
		code, text := p.x.message(r)
		return &failure{code, text}
	}
	return nil
}

// compile turns rewritten source into code.
func compile(src *source) (proto *lua.FunctionProto, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s:1:1: the script can't be compiled", src.name)
		}
	}()
	proto, err = lua.Compile(src.chunk, src.name)
	if err != nil {
		if c, ok := err.(*lua.CompileError); ok {
			text := c.Message
			if strings.HasPrefix(text, "register overflow") { // a long function, or one expression in it
				text = "too many local variables and parts of an expression in one function, at most 200 at a time"
			}
			return nil, fmt.Errorf("%s:%d:1: %s", src.name, max(c.Line, 1), text)
		}
		return nil, err
	}
	keepKeysBoxed(proto)
	return proto, checkUpvalues(proto)
}

// keepKeysBoxed makes t.name take the instruction of t[k]. That of names passes
// the name as a Go string, and boxes it again, an allocation, for each access to
// a table of ours; constants that are operands of t[k] are boxed already.
func keepKeysBoxed(p *lua.FunctionProto) {
	const opShift, rest = 26, 1<<26 - 1 // the layout of gopher-lua's instructions
	for i, inst := range p.Code {
		switch int(inst >> opShift) {
		case lua.OP_GETTABLEKS:
			p.Code[i] = uint32(lua.OP_GETTABLE)<<opShift | inst&rest
		case lua.OP_SETTABLEKS:
			p.Code[i] = uint32(lua.OP_SETTABLE)<<opShift | inst&rest
		}
	}
	for _, c := range p.FunctionPrototypes {
		keepKeysBoxed(c)
	}
}

// checkUpvalues refuses functions with more variables of outer functions than
// gopher-lua counts right.
func checkUpvalues(p *lua.FunctionProto) error {
	if len(p.DbgUpvalues) > upvaluesMax {
		return fmt.Errorf("%s:%d:1: function with more than %d variables of outer functions", p.SourceName, p.LineDefined, upvaluesMax)
	}
	for _, c := range p.FunctionPrototypes {
		if err := checkUpvalues(c); err != nil {
			return err
		}
	}
	return nil
}

// finish checks the definitions together, and freezes what methods can reach.
func (p *program) finish() error {
	var names []string
	for n := range p.defs {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		d := p.defs[n]
		if d.prototype != "" {
			proto := p.defs[d.prototype]
			if proto == nil || proto.prototype != "" {
				return &failure{command.CodeBadArgument, fmt.Sprintf("%s:%d:1: object %q: no script defines methods of %q", d.script, d.line, n, shown(d.prototype))}
			}
		}
		for _, m := range d.methods {
			p.names[m.name] = true
			d.order = append(d.order, m)
		}
		slices.SortFunc(d.order, func(a, b *method) int {
			if a.name < b.name {
				return -1
			}
			return 1
		})
	}
	fz := freezer{seen: map[*lua.LFunction]bool{}, L: p.x.L}
	for _, n := range names {
		d := p.defs[n]
		d.functions = map[*lua.LFunction]bool{}
		for _, m := range append(slices.Clone(d.order), d.init, d.migrate) {
			if m != nil && m.fn != nil {
				d.functions[m.fn] = true
				fz.function(m.fn)
			}
		}
	}
	if fz.err != nil {
		return fz.err
	}
	return nil
}

// class is the definition whose methods the object has; nil if no script
// defines it any more.
func (p *program) class(o *object) *definition {
	d := p.defs[o.class]
	if d != nil && d.prototype != "" {
		d = p.defs[d.prototype]
	}
	return d
}

// freezer makes what methods share between calls unchangeable: the tables that
// they reach, and it refuses functions that keep changing variables, and
// iterators, which keep their place.
type freezer struct {
	L    *lua.LState
	at   *lua.FunctionProto // the function of the script whose variables are looked at
	seen map[*lua.LFunction]bool
	done map[*state.Table]bool
	err  error
}

func (z *freezer) function(f *lua.LFunction) {
	if f.IsG {
		if f.Env == iteratorEnv && z.err == nil {
			z.err = &failure{command.CodeBadArgument, fmt.Sprintf("%s:%d:1: the function uses an iterator that pairs or gmatch made when the script was loaded, and that would go on from call to call; call pairs or gmatch in the method",
				z.at.SourceName, z.at.LineDefined)}
		}
		return
	}
	if z.seen[f] {
		return
	}
	z.seen[f] = true
	outer := z.at
	z.at = f.Proto
	defer func() { z.at = outer }()
	if changed := assigned(f.Proto); len(changed) > 0 && z.err == nil {
		name := "?"
		// The first, whatever the map's order: the text is a result like others.
		if i := slices.Min(slices.Collect(maps.Keys(changed))); i < len(f.Proto.DbgUpvalues) {
			name = f.Proto.DbgUpvalues[i]
		}
		z.err = &failure{command.CodeBadArgument, fmt.Sprintf("%s:%d:1: the function changes %s, a variable that would live on between calls; keep data in self",
			f.Proto.SourceName, f.Proto.LineDefined, name)}
	}
	for i := range f.Upvalues {
		_, v := z.L.GetUpvalue(f, i+1)
		z.value(v)
	}
}

func (z *freezer) value(v lua.LValue) {
	if f, ok := v.(*lua.LFunction); ok {
		z.function(f)
		return
	}
	t, ok := state.TableOf(v)
	if !ok || z.done[t] {
		return
	}
	if z.done == nil {
		z.done = map[*state.Table]bool{}
	}
	z.done[t] = true
	t.Freeze()
	if m := t.Metatable(); m != nil {
		z.value(m.UserData())
	}
	t.Each(nil, func(k, v lua.LValue) bool {
		z.value(k)
		z.value(v)
		return true
	})
}

// Opcodes of gopher-lua that assigned looks for.
const (
	opBits      = 26
	opGetUpval  = lua.OP_GETUPVAL
	opSetUpval  = lua.OP_SETUPVAL
	opClosure   = lua.OP_CLOSURE
	opArgBMask  = 0x1ff
	opArgBxMask = 0x3ffff
)

// assigned is the upvalues, by number, that a function or one within it assigns
// to.
func assigned(p *lua.FunctionProto) map[int]bool {
	out := map[int]bool{}
	for pc := 0; pc < len(p.Code); pc++ {
		inst := p.Code[pc]
		switch int(inst >> opBits) {
		case opSetUpval:
			out[int(inst&opArgBMask)] = true
		case opClosure:
			child := p.FunctionPrototypes[inst&opArgBxMask]
			inner := assigned(child)
			for i := range len(child.DbgUpvalues) { // one pseudo instruction each says what is captured
				pc++
				inst := p.Code[pc]
				if int(inst>>opBits) == opGetUpval && inner[i] {
					out[int(inst&opArgBMask)] = true
				}
			}
		}
	}
	return out
}
