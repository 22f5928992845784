package shell

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// proxy stands for an object of the cluster in client code.
type proxy struct {
	name    string
	async   bool // its methods don't wait: counter.async
	other   *lua.LUserData
	methods map[string]*lua.LFunction // made when first used
}

// asyncField is the field of every object that holds its asynchronous methods.
const asyncField = "async"

// object finds what is known of an object.
func object(d *command.Description, name string) (command.Object, bool) {
	i := sort.Search(len(d.Objects), func(i int) bool { return d.Objects[i].Name >= name })
	if i < len(d.Objects) && d.Objects[i].Name == name {
		return d.Objects[i], true
	}
	return command.Object{}, false
}

// FindMethod finds what is known of a method; the error says what there is instead.
func FindMethod(d *command.Description, name, method string) (command.Method, error) {
	o, ok := object(d, name)
	if !ok {
		return command.Method{}, notFound("no object '%s'%s", name, suggestObject(name, objectNames(d)))
	}
	var names []string
	for _, m := range o.Methods {
		if m.Name == method {
			return m, nil
		}
		names = append(names, m.Name)
	}
	hint := suggest(method, names)
	if hint == "" && len(names) > 0 {
		hint = "; it has " + strings.Join(names, ", ")
	}
	return command.Method{}, notFound("no method '%s' in %s%s", method, name, hint)
}

// findMethod is FindMethod in what is known. Without a leader a node may not know
// of the newest deploy: that something is not there can't be said then.
func (s *Session) findMethod(object, method string) (command.Method, error) {
	m, err := FindMethod(s.Description(), object, method)
	var failed *command.Error
	if s.leaderless.Load() && errors.As(err, &failed) {
		return m, notKnown(failed.Message)
	}
	return m, err
}

func notKnown(text string) error {
	return &command.Error{Code: command.CodeNoLeader, Message: text + "; the node may be behind, and there is no leader to ask"}
}

func objectNames(d *command.Description) []string {
	names := make([]string, len(d.Objects))
	for i, o := range d.Objects {
		names[i] = o.Name
	}
	return names
}

// proxyOf returns the one proxy of an object, so that equal objects are equal.
func (s *Session) proxyOf(name string) *lua.LUserData {
	if p := s.proxies[name]; p != nil {
		return p
	}
	p := &lua.LUserData{Metatable: s.proxyMeta}
	a := &lua.LUserData{Metatable: s.asyncMeta, Value: &proxy{name: name, async: true, other: p, methods: map[string]*lua.LFunction{}}}
	p.Value = &proxy{name: name, other: a, methods: map[string]*lua.LFunction{}}
	s.proxies[name] = p
	return p
}

func (s *Session) openProxies(l *lua.LState) {
	s.proxyMeta, s.asyncMeta = l.NewTable(), l.NewTable()
	for name, f := range map[string]lua.LGFunction{
		"__index": s.proxyIndex, "__newindex": s.proxyNewIndex, "__len": s.proxyLen, "__tostring": proxyText,
	} {
		s.proxyMeta.RawSetString(name, l.NewFunction(f))
	}
	for name, f := range map[string]lua.LGFunction{
		"__index": s.asyncIndex, "__newindex": s.proxyNewIndex, "__tostring": proxyText,
	} {
		s.asyncMeta.RawSetString(name, l.NewFunction(f))
	}
}

func proxyText(l *lua.LState) int {
	l.Push(lua.LString(userdataText(l.CheckUserData(1))))
	return 1
}

func userdataText(u *lua.LUserData) string {
	switch v := u.Value.(type) {
	case *proxy:
		if v.async {
			return "asynchronous methods of " + v.name
		}
		return "object " + v.name
	case *handle:
		return v.String()
	case *command.Error: // among results
		return ErrorText(v, false)
	}
	return "userdata"
}

// methodName is object.method for the function that stands for a method; empty for
// others.
func (s *Session) methodName(f *lua.LFunction) string {
	for _, u := range s.proxies {
		p, ok := u.Value.(*proxy)
		for ok && p != nil {
			for name, method := range p.methods {
				if method == f {
					return p.name + "." + name
				}
			}
			if p.async || p.other == nil {
				break
			}
			p, ok = p.other.Value.(*proxy)
		}
	}
	return ""
}

func checkProxy(l *lua.LState) *proxy {
	p, ok := l.CheckUserData(1).Value.(*proxy)
	if !ok {
		l.ArgError(1, "object expected")
	}
	return p
}

// proxyIndex is object.name: a method, or a field read remotely.
func (s *Session) proxyIndex(l *lua.LState) int {
	p, key := checkProxy(l), l.Get(2)
	if name, ok := key.(lua.LString); ok {
		if name == asyncField {
			l.Push(p.other)
			return 1
		}
		if f := s.method(l, p, string(name)); f != nil {
			l.Push(f)
			return 1
		}
	}
	v, err := s.read(l, p.name, key)
	if err != nil {
		s.raise(l, err)
	}
	l.Push(v)
	return 1
}

func (s *Session) asyncIndex(l *lua.LState) int {
	p := checkProxy(l)
	name := l.CheckString(2)
	f := s.method(l, p, name)
	if f == nil {
		_, err := s.findMethod(p.name, name)
		s.raise(l, err)
	}
	l.Push(f)
	return 1
}

func (s *Session) proxyNewIndex(l *lua.LState) int {
	s.raise(l, s.assignError(checkProxy(l).name, checkProxy(l).name+keySuffix(l.Get(2))))
	return 0
}

// assignError says why state can't be assigned and what to call instead.
func (s *Session) assignError(name, path string) error {
	o, _ := object(s.Description(), name)
	var calls []string
	for _, m := range o.Methods {
		if m.Kind == command.Replicated {
			calls = append(calls, fmt.Sprintf("%s:%s(%s)", name, m.Name, strings.Join(m.Params, ", ")))
		}
	}
	hint := "its script defines none"
	if i := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, name+":set(") }); i >= 0 {
		hint = "call " + calls[i]
	} else if len(calls) > 0 {
		const shown = 3
		if n := len(calls) - shown; n > 1 {
			calls = append(calls[:shown:shown], fmt.Sprintf("one of %d others", n))
		}
		hint = "call " + strings.Join(calls, " or ")
	}
	return fmt.Errorf("%s can't be assigned from here: state changes only in replicated methods; %s", path, hint)
}

func (s *Session) proxyLen(l *lua.LState) int {
	v, err := s.read(l, checkProxy(l).name)
	if err != nil {
		s.raise(l, err)
	}
	n := 0
	if t, ok := v.(*lua.LTable); ok {
		n = t.Len()
	}
	l.Push(lua.LNumber(n))
	return 1
}

// read asks for the value at a path under an object's state.
func (s *Session) read(l *lua.LState, name string, keys ...lua.LValue) (lua.LValue, error) {
	path, err := appendArgs(nil, keys)
	if err != nil {
		return lua.LNil, err
	}
	r, err := s.request(l, wire.OpQuery, s.mode(), command.AppendGet(nil, name, path))
	if err != nil {
		return lua.LNil, err
	}
	return first(r)
}

// method returns the function that calls a method, nil when there is none.
func (s *Session) method(l *lua.LState, p *proxy, name string) *lua.LFunction {
	o, _ := object(s.Description(), p.name)
	i := slices.IndexFunc(o.Methods, func(m command.Method) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	if f := p.methods[name]; f != nil {
		return f
	}
	invoke := s.invoke
	if p.async {
		invoke = s.invokeAsync
	}
	object := p.name
	f := s.lua.NewFunction(func(l *lua.LState) int { return invoke(l, object, name) })
	p.methods[name] = f
	return f
}

// checkMethod is called before v:name(...): it returns v, and raises an error
// when v is an object without that method. Others may have deployed it
// meanwhile, so it looks again before it says no.
func (s *Session) checkMethod(l *lua.LState) int {
	if u, ok := l.Get(1).(*lua.LUserData); ok {
		if p, ok := u.Value.(*proxy); ok {
			name := l.CheckString(2)
			if _, err := s.findMethod(p.name, name); err != nil {
				if rerr := s.refresh(l); rerr != nil {
					s.raise(l, rerr)
				}
				if _, err = s.findMethod(p.name, name); err != nil {
					s.raise(l, err)
				}
			}
		}
	}
	l.SetTop(1)
	return 1
}

// checkAssign is called before a field of a field of v is assigned.
func (s *Session) checkAssign(l *lua.LState) int {
	if u, ok := l.Get(1).(*lua.LUserData); ok {
		if p, ok := u.Value.(*proxy); ok {
			s.raise(l, s.assignError(p.name, l.CheckString(2)))
		}
	}
	l.SetTop(1)
	return 1
}

// arguments takes the arguments of obj:method(...), leaving out obj.
func arguments(l *lua.LState, object, method string) []lua.LValue {
	if u, ok := l.Get(1).(*lua.LUserData); ok {
		if _, ok := u.Value.(*proxy); ok {
			args := make([]lua.LValue, 0, l.GetTop()-1)
			for i := 2; i <= l.GetTop(); i++ {
				args = append(args, l.Get(i))
			}
			return args
		}
	}
	l.RaiseError("%s.%s(...) is not how a method is called; use %s:%s(...)", object, method, object, method)
	return nil
}

// invoke calls a method and waits for its results.
func (s *Session) invoke(l *lua.LState, object, name string) int {
	args := arguments(l, object, name)
	m, err := s.findMethod(object, name)
	if err != nil {
		s.raise(l, err)
	}
	if m.Kind == command.Local {
		return s.invokeLocal(l, object, name, args)
	}
	for i, a := range args {
		if a.Type() == lua.LTFunction {
			l.RaiseError("argument %d: functions can't be replicated; for a callback use %s.async:%s(...)", i+1, object, name)
		}
	}
	op, mode, payload, err := s.callPayload(object, m, args)
	if err != nil {
		s.raise(l, err)
	}
	r, err := s.request(l, op, mode, payload)
	if err != nil {
		s.raise(l, err)
	}
	out, err := values(r)
	if err != nil {
		s.raise(l, err)
	}
	for _, v := range out {
		l.Push(v)
	}
	return len(out)
}

// callPayload is the request that calls a replicated or query method.
func (s *Session) callPayload(object string, m command.Method, args []lua.LValue) (wire.Op, wire.Mode, []byte, error) {
	encoded, err := appendArgs(nil, args)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("%s:%s: %w", object, m.Name, err)
	}
	if m.Kind == command.QueryOnly {
		return wire.OpQuery, s.mode(), command.AppendQuery(nil, object, m.Name, encoded), nil
	}
	return wire.OpPropose, wire.Linearizable, command.AppendCall(nil, 0, 0, object, m.Name, encoded), nil
}

// errorOf turns an answer into its values or its error.
func errorOf(r command.Result, err error) ([]lua.LValue, error) {
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, err
	}
	return values(r)
}

// createObject is object("hits", "counter") in client code.
func (s *Session) createObject(l *lua.LState) int {
	name := l.CheckString(1)
	prototype, ok := l.Get(2).(lua.LString)
	if !ok {
		l.RaiseError("an object is defined in a script: write it to a file and use `.load FILE` or `syncsh deploy FILE`; here object(%q, \"prototype\") makes another object with the methods of an existing one", name)
	}
	_, err := s.request(l, wire.OpPropose, wire.Linearizable, command.AppendCreate(nil, 0, 0, name, string(prototype)))
	if err == nil {
		err = s.refresh(l)
	}
	if err != nil {
		s.raise(l, err)
	}
	l.Push(s.proxyOf(name))
	return 1
}
