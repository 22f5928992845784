package shell

import (
	"fmt"
	"slices"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/command"
)

// localScript is a deployed script as loaded here, for its local methods.
type localScript struct {
	source  string
	objects map[string]*lua.LTable // its definitions by name
}

// invokeLocal runs a local method here. Its self is the object as client code
// sees it.
func (s *Session) invokeLocal(l *lua.LState, name, method string, args []lua.LValue) int {
	f, err := s.localMethod(l, name, method)
	if err != nil {
		s.raise(l, err)
	}
	top := l.GetTop()
	l.Push(f)
	l.Push(s.proxyOf(name))
	for _, a := range args {
		l.Push(a)
	}
	l.Call(len(args)+1, lua.MultRet)
	return l.GetTop() - top
}

// localMethod finds the function of a local method, loading the script when it
// is new or has changed.
func (s *Session) localMethod(l *lua.LState, name, method string) (*lua.LFunction, error) {
	d := s.Description()
	o, ok := object(d, name)
	if ok && o.Prototype != "" {
		o, ok = object(d, o.Prototype)
	}
	i := slices.IndexFunc(d.Scripts, func(sc command.Script) bool { return sc.Name == o.Script })
	if !ok || i < 0 {
		return nil, notFound("the script of %s is not deployed any more", name)
	}
	script := s.scripts[o.Script]
	if script == nil || script.source != d.Scripts[i].Source {
		var err error
		if script, err = s.loadScript(l, d.Scripts[i]); err != nil {
			return nil, err
		}
		s.scripts[o.Script] = script
	}
	if t := script.objects[o.Name]; t != nil {
		if f, ok := t.RawGetString(method).(*lua.LFunction); ok {
			return f, nil
		}
	}
	return nil, notFound("%s defines no local method '%s' of %s when it runs here", o.Script, method, name)
}

// loadScript runs a deployed script as client code: what it defines as
// replicated or query stays unused, its local methods are kept. Globals that it
// sets are its own.
func (s *Session) loadScript(l *lua.LState, sc command.Script) (*localScript, error) {
	proto, err := compileChunk(sc.Source, sc.Name, chunkScript)
	if err != nil {
		return nil, err
	}
	out := &localScript{source: sc.Source, objects: map[string]*lua.LTable{}}
	env, mt := l.NewTable(), l.NewTable()
	mt.RawSetString("__index", l.G.Global)
	env.Metatable = mt
	env.RawSetString("object", l.NewFunction(func(l *lua.LState) int {
		name := l.CheckString(1)
		if _, ok := l.Get(2).(lua.LString); ok { // another object with the methods of one: nothing to load
			l.Push(definition(l))
			return 1
		}
		t := out.objects[name]
		if t == nil {
			t = definition(l)
			out.objects[name] = t
		}
		l.Push(t)
		return 1
	}))
	fn := l.NewFunctionFromProto(proto)
	fn.Env = env
	if _, err := call(l, fn); err != nil {
		return nil, fmt.Errorf("%s can't be loaded here: %w", sc.Name, s.failure(s.sched.current.ctx, err))
	}
	return out, nil
}

// definition is what object "name" gives to a script that is loaded here.
func definition(l *lua.LState) *lua.LTable {
	t := l.NewTable()
	t.RawSetString("replicated", l.NewTable())
	t.RawSetString("query", l.NewTable())
	return t
}
