package luafsm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

func newRoots() *roots {
	return &roots{byName: map[string]*object{}, byTable: map[*state.Table]*object{}}
}

// readRoots reads which objects there are.
func readRoots(store *state.Store) *roots {
	r := newRoots()
	meta := store.Section(sectionMeta)
	store.Section(sectionObjects).Each(nil, func(k, v lua.LValue) bool {
		t, ok := state.TableOf(v)
		name, isName := k.(lua.LString)
		if !ok || !isName {
			return true
		}
		o := &object{name: string(name), class: string(name), version: 1, table: t}
		if mt, ok := state.TableOf(meta.GetString(nil, o.name)); ok {
			if c, ok := mt.GetString(nil, "class").(lua.LString); ok {
				o.class = string(c)
			}
			if n, ok := mt.GetString(nil, "version").(lua.LNumber); ok {
				o.version = int(n)
			}
			if n, ok := mt.GetString(nil, "born").(lua.LNumber); ok && whole(float64(n)) {
				o.born = uint64(n)
			}
		}
		r.byName[o.name], r.byTable[t] = o, o
		return true
	})
	return r
}

// names of the objects, sorted.
func (r *roots) names() []string { return slices.Sorted(maps.Keys(r.byName)) }

// put adds an object, or replaces the one of that name.
func (r *roots) put(o *object) {
	r.remove(o.name)
	r.byName[o.name], r.byTable[o.table] = o, o
}

func (r *roots) remove(name string) {
	if o := r.byName[name]; o != nil {
		delete(r.byName, name)
		delete(r.byTable, o.table)
	}
}

func (r *roots) clone() *roots {
	return &roots{byName: maps.Clone(r.byName), byTable: maps.Clone(r.byTable)}
}

// ownRoots are the roots as the machine may change them: the first change after
// a Publish copies them, so that an entry that creates a thousand objects copies
// them once.
func (m *Machine) ownRoots() *roots {
	if m.shared {
		m.roots, m.shared = m.roots.clone(), false
		m.prog.x.roots = m.roots
	}
	return m.roots
}

// store writes what the state knows of an object.
func (m *Machine) writeMeta(o *object) error {
	t := m.store.NewTable(0, 3)
	return firstError(t.SetString("class", lua.LString(o.class)), t.SetString("version", lua.LNumber(o.version)), t.SetString("born", lua.LNumber(o.born)),
		m.store.Section(sectionMeta).SetString(o.name, t.UserData()))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// deploy makes scripts active: those of the same name are replaced, the others
// stay.
func (m *Machine) deploy(b []byte, d *codec.Decoder) []byte {
	scripts, err := command.DecodeScripts(d)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return m.refuse(b, command.CodeBadArgument, "unreadable deploy: %v", err)
	}
	if err := checkScripts(scripts, len(m.code.scripts)); err != nil {
		return m.refuse(b, command.CodeBadArgument, "%v", err)
	}
	p := newProgram(m.store, m.limits, m.opts.Print)
	m.begins(p.x, m.limits.deploySteps)
	defer p.x.fold()
	list, faults, err := m.check(scripts, p.x.Steps)
	if err != nil {
		return m.refuseFailure(b, err)
	}
	if len(faults) > 0 {
		lines := make([]string, len(faults))
		for i := range faults {
			lines[i] = faults[i].String()
		}
		return m.refuse(b, command.CodeBadArgument, "%s", strings.Join(lines, "\n"))
	}
	next, err := m.code.with(scripts, list)
	if err == nil {
		err = p.load(next)
	}
	if err != nil {
		return m.refuseFailure(b, err)
	}
	u := upgrade{m: m, p: p, roots: m.roots.clone()}
	if err := u.run(next); err != nil {
		return m.refuseFailure(b, err)
	}
	m.keepEvents(p.x)
	if err := m.store.Commit(); err != nil {
		return m.refuseFailure(b, err)
	}
	m.current.open = false
	m.code, m.roots, m.shared = next, u.roots, false
	m.install(p)
	return m.appendLines(b, u.lines)
}

func (m *Machine) appendLines(b []byte, lines []string) []byte {
	b = command.AppendOKHead(b, m.current.index)
	b = codec.AppendArrayLen(b, len(lines))
	for _, l := range lines {
		b = codec.AppendString(b, l)
	}
	return b
}

func (m *Machine) refuseFailure(b []byte, err error) []byte {
	if f, ok := err.(*failure); ok {
		return m.refuse(b, f.code, "%s", f.text)
	}
	return m.refuse(b, command.CodeScript, "%v", err)
}

// checkScripts checks what a deploy is made of, before any of it is read.
func checkScripts(scripts []command.Script, have int) error {
	if len(scripts) == 0 {
		return fmt.Errorf("deploy without scripts")
	}
	if len(scripts)+have > scriptsMax {
		return fmt.Errorf("more than %d scripts", scriptsMax)
	}
	seen := map[string]bool{}
	for _, s := range scripts {
		if why := badScriptName(s.Name); why != "" {
			return fmt.Errorf("script name %q: %s", s.Name[:min(len(s.Name), nameBytesMax)], why)
		}
		if seen[s.Name] {
			return fmt.Errorf("script %s twice in one deploy", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func badScriptName(name string) string {
	if name == "" || len(name) > nameBytesMax {
		return fmt.Sprintf("must have 1 to %d bytes", nameBytesMax)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '/' || c == '\\' || c == ':' {
			return "must be printable ASCII without spaces, slashes and colons"
		}
	}
	return ""
}

// upgrade brings the objects to what a new program says.
type upgrade struct {
	m     *Machine
	p     *program
	roots *roots // a copy, which becomes the machine's
	lines []string
}

func (u *upgrade) run(next *code) error {
	if err := u.m.writeScripts(next.scripts); err != nil {
		return err
	}
	var created []*object
	for _, name := range slices.Sorted(maps.Keys(u.p.defs)) {
		d := u.p.defs[name]
		o := u.roots.byName[name]
		switch {
		case o == nil:
			o = &object{name: name, class: name, born: u.m.current.index, table: u.m.store.NewTable(0, 0)}
			o.version = u.p.class(o).version
			created = append(created, o)
			u.roots.put(o)
			if err := firstError(u.m.writeMeta(o), u.m.store.Root().SetString(name, o.table.UserData())); err != nil {
				return err
			}
		case o.class != name:
			return &failure{command.CodeBadArgument, fmt.Sprintf("%s:%d:1: object %s exists with the methods of %s; drop it first", d.script, d.line, name, o.class)}
		}
	}
	u.p.x.roots = u.roots
	for _, o := range created {
		d := u.p.class(o)
		u.line("%s: new, version %d (%s)", o.name, o.version, u.p.defs[o.name].script)
		if err := u.p.x.portion(u.m.limits.instructions, func() error { return u.p.method(o, d.init) }); err != nil {
			return err
		}
	}
	for _, name := range u.roots.names() {
		if err := u.migrate(u.roots.byName[name]); err != nil {
			return err
		}
	}
	for _, name := range u.roots.names() {
		if err := u.hidden(u.roots.byName[name]); err != nil {
			return err
		}
	}
	return nil
}

// hidden refuses a method of the name of a field that there is: inside, the
// field would be found, outside the method.
func (u *upgrade) hidden(o *object) error {
	d := u.p.class(o)
	if d == nil {
		return nil
	}
	for _, mt := range d.order {
		if o.table.GetString(nil, mt.name) != lua.LNil {
			return &failure{command.CodeBadArgument, fmt.Sprintf("%s:%d:1: %s has a field %s, which a method can't be named like; raise the version and rename it in migrate",
				d.script, mt.line, o.name, mt.name)}
		}
	}
	return nil
}

func (u *upgrade) line(format string, args ...any) {
	u.lines = append(u.lines, fmt.Sprintf(format, args...))
}

// migrate raises the version of an object that there was before.
func (u *upgrade) migrate(o *object) error {
	d := u.p.class(o)
	if d == nil {
		if u.m.prog.class(o) != nil {
			u.line("%s: not defined any more, its state is kept", o.name)
		}
		return nil
	}
	switch {
	case d.version < o.version:
		return &failure{command.CodeBadArgument, fmt.Sprintf("%s:%d:1: object %s has version %d, the script says %d", d.script, d.line, o.name, o.version, d.version)}
	case d.version == o.version:
		return nil
	}
	from := o.version
	raised := *o
	raised.version = d.version
	u.roots.put(&raised)
	u.line("%s: version %d to %d", o.name, from, d.version)
	if err := u.m.writeMeta(&raised); err != nil {
		return err
	}
	return u.p.method(&raised, d.migrate, lua.LNumber(from))
}

// method runs init or migrate, if there is one.
func (p *program) method(o *object, mt *method, args ...lua.LValue) error {
	if mt == nil {
		return nil
	}
	x := p.x
	x.mode, x.object = modeReplicated, o.name
	r := x.protect(func() {
		call(x.L, mt.fn, 0, append([]lua.LValue{o.table.UserData()}, args...)...)
	})
	if r != nil {
		code, text := x.message(r)
		return &failure{code, text}
	}
	return nil
}

func (m *Machine) writeScripts(scripts []command.Script) error {
	t := m.store.Section(sectionScripts)
	for i, s := range scripts {
		e := m.store.NewTable(0, 2)
		if err := firstError(e.SetString("name", lua.LString(s.Name)), e.SetString("source", lua.LString(s.Source)), t.SetIndex(i+1, e.UserData())); err != nil {
			return err
		}
	}
	for i := t.Len(nil); i > len(scripts); i-- {
		if err := t.SetIndex(i, lua.LNil); err != nil {
			return err
		}
	}
	return nil
}

// readScripts is the inverse of writeScripts.
func readScripts(store *state.Store) (out []command.Script, err error) {
	store.Section(sectionScripts).Each(nil, func(_, v lua.LValue) bool {
		t, ok := state.TableOf(v)
		if !ok {
			err = fmt.Errorf("%w: script", ErrBadDump)
			return false
		}
		name, ok1 := t.GetString(nil, "name").(lua.LString)
		text, ok2 := t.GetString(nil, "source").(lua.LString)
		if !ok1 || !ok2 {
			err = fmt.Errorf("%w: script", ErrBadDump)
			return false
		}
		out = append(out, command.Script{Name: string(name), Source: string(text)})
		return true
	})
	return out, err
}

// create makes an object with the methods of another.
func (m *Machine) create(b []byte, d *codec.Decoder) []byte {
	name, err := d.String()
	proto := ""
	if err == nil {
		proto, err = d.String()
	}
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return m.refuse(b, command.CodeBadArgument, "unreadable command: %v", err)
	}
	if why := badName(name); why != "" {
		return m.refuse(b, command.CodeBadArgument, "%s", why)
	}
	if m.roots.byName[name] != nil {
		return m.refuse(b, command.CodeBadArgument, "object %s exists already", name)
	}
	like := m.roots.byName[proto]
	if like == nil {
		return m.refuse(b, command.CodeNotFound, "no object %q", clip([]byte(proto)))
	}
	def := m.prog.class(like)
	if def == nil {
		return m.refuse(b, command.CodeNotFound, "no script defines the methods of %s any more", proto)
	}
	x := m.prog.x
	m.begins(x, m.limits.instructions)
	o := &object{name: name, class: def.name, version: def.version, born: m.current.index, table: m.store.NewTable(0, 0)}
	if err := firstError(m.writeMeta(o), m.store.Root().SetString(name, o.table.UserData())); err != nil {
		return m.refuse(b, command.CodeScript, "%v", err)
	}
	roots := m.ownRoots()
	roots.put(o)
	err = m.prog.method(o, def.init)
	if err == nil {
		m.keepEvents(x)
		err = m.store.Commit()
	}
	if err != nil {
		roots.remove(name)
		return m.refuseFailure(b, err)
	}
	m.current.open = false
	return m.appendLines(b, nil)
}

// drop removes an object and its state, and its script when it defines nothing
// else.
func (m *Machine) drop(b []byte, d *codec.Decoder) []byte {
	name, err := d.String()
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return m.refuse(b, command.CodeBadArgument, "unreadable command: %v", err)
	}
	o := m.roots.byName[name]
	if o == nil {
		return m.refuse(b, command.CodeNotFound, "no object %q", clip([]byte(name)))
	}
	next := m.code
	if def := m.prog.defs[name]; def != nil {
		for other, d := range m.prog.defs {
			if other != name && d.script == def.script {
				return m.refuse(b, command.CodeBadArgument, "%s is defined by %s together with other objects; deploy %s without it first", name, def.script, def.script)
			}
		}
		for _, other := range m.roots.names() {
			if c := m.prog.class(m.roots.byName[other]); other != name && c == def {
				return m.refuse(b, command.CodeBadArgument, "%s has the methods of %s; drop it first", other, name)
			}
		}
		next = m.code.without(def.script)
	}
	m.begins(m.prog.x, m.limits.deploySteps)
	err = firstError(m.store.Root().SetString(name, lua.LNil), m.store.Section(sectionMeta).SetString(name, lua.LNil), m.writeScripts(next.scripts))
	p := m.prog
	if err == nil && next != m.code {
		p, err = reload(m.store, m.limits, m.opts.Print, next)
	}
	if err == nil {
		err = m.store.Commit()
	}
	if err != nil {
		return m.refuseFailure(b, err)
	}
	m.current.open = false
	m.code = next
	m.ownRoots().remove(name)
	m.install(p)
	return m.appendLines(b, nil)
}

// setting changes one of the limits.
func (m *Machine) setting(b []byte, d *codec.Decoder) []byte {
	name, err := d.String()
	value := 0.0
	if err == nil {
		value, err = d.Number()
	}
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return m.refuse(b, command.CodeBadArgument, "unreadable command: %v", err)
	}
	if err := checkSetting(name, value); err != nil {
		return m.refuse(b, command.CodeBadArgument, "%v", err)
	}
	m.begin()
	if err := m.store.Section(sectionSettings).SetString(name, lua.LNumber(value)); err != nil {
		return m.refuse(b, command.CodeScript, "%v", err)
	}
	m.commit()
	*m.limits = readLimits(m.store.Section(sectionSettings))
	return m.appendLines(b, nil)
}
