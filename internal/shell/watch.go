package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/client"
)

// Watcher is a Cluster that can be watched: a client.Client, or a fake.
type Watcher interface {
	Watch(ctx context.Context, o client.WatchOptions) iter.Seq2[client.WatchEvent, error]
}

// Teller is a Cluster of a World that can be watched. What is told is told in
// Steps, and stays where it is until the watch is stopped.
type Teller interface {
	Tell(o client.WatchOptions, told func(client.WatchEvent, error)) (stop func(), err error)
}

// ParsePath reads OBJECT or a path below it as Lua has it: kv.data.colour,
// list.items[3], kv.data["a b"].
func ParsePath(text string) (object string, path []lua.LValue, err error) {
	bad := &UsageError{fmt.Sprintf(`'%s' is no object or path; write it as in Lua, such as kv.data.colour, list.items[3] or kv.data["a b"]`, text)}
	stmts, perr := parse.Parse(strings.NewReader("return "+text), "path")
	if perr != nil || len(stmts) != 1 {
		return "", nil, bad
	}
	ret, ok := stmts[0].(*ast.ReturnStmt)
	if !ok || len(ret.Exprs) != 1 {
		return "", nil, bad
	}
	for e := ret.Exprs[0]; ; {
		switch x := e.(type) {
		case *ast.IdentExpr:
			for i, j := 0, len(path)-1; i < j; i, j = i+1, j-1 {
				path[i], path[j] = path[j], path[i]
			}
			return x.Value, path, nil
		case *ast.AttrGetExpr:
			k, ok := literal(x.Key, 0)
			if t := k; !ok || t.Type() != lua.LTString && t.Type() != lua.LTNumber && t.Type() != lua.LTBool {
				return "", nil, bad
			}
			path = append(path, k)
			e = x.Object
		default:
			return "", nil, bad
		}
	}
}

// WatchPlace are the options to watch a path.
func WatchPlace(text string) (client.WatchOptions, error) {
	object, keys, err := ParsePath(text)
	if err != nil {
		return client.WatchOptions{}, err
	}
	o := client.WatchOptions{Object: object}
	for _, k := range keys {
		v, err := GoValue(k)
		if err != nil {
			return o, err
		}
		o.Path = append(o.Path, v)
	}
	return o, nil
}

// watchKeys are the options to watch a path that is given as keys below an object.
func watchKeys(object lua.LValue, keys *lua.LTable) (o client.WatchOptions, err error) {
	u, _ := object.(*lua.LUserData)
	if u != nil {
		if p, ok := u.Value.(*proxy); ok {
			o.Object = p.name
		}
	}
	if o.Object == "" {
		return o, errors.New("path is a list of keys: object, an object of the cluster, goes with it")
	}
	for i := 1; i <= keys.Len(); i++ {
		k, err := GoValue(keys.RawGetInt(i))
		if err != nil {
			return o, err
		}
		o.Path = append(o.Path, k)
	}
	return o, nil
}

// WatchName is what is watched, as people write it.
func WatchName(o client.WatchOptions) string {
	if o.Topic != "" {
		return "topic " + o.Topic
	}
	return o.Object + pathText(o.Path)
}

// pathText is how keys continue a path.
func pathText(keys []any) string {
	var b strings.Builder
	for _, k := range keys {
		if v, err := luaValue(k); err == nil {
			b.WriteString(keySuffix(v))
		}
	}
	return b.String()
}

// luaValue is a value of the Go client as Lua has it.
func luaValue(v any) (lua.LValue, error) {
	b, err := client.EncodeArgs(v)
	if err != nil {
		return lua.LNil, err
	}
	values, err := decodeValues(b)
	if err != nil || len(values) != 1 {
		return lua.LNil, err
	}
	return values[0], nil
}

// WatchLines are what `syncsh watch` prints of an event: one line per change.
func WatchLines(o client.WatchOptions, e client.WatchEvent, json bool) ([]string, error) {
	switch e.Kind {
	case client.WatchLagged:
		if json {
			return []string{fmt.Sprintf(`{"kind":"lagged","index":%d}`, e.Index)}, nil
		}
		return []string{fmt.Sprintf("%d lagged: this client takes changes too slowly, or one is too large; it starts over", e.Index)}, nil
	case client.WatchEmitted:
		return eventLines(e, json)
	}
	changes := e.Changes
	if e.Kind == client.WatchPicture {
		changes = []client.Change{{Value: e.Value}}
	}
	var lines []string
	for _, c := range changes {
		line, err := changeLine(o, e, c, json)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func changeLine(o client.WatchOptions, e client.WatchEvent, c client.Change, json bool) (string, error) {
	v, err := luaValue(c.Value)
	if err != nil {
		return "", err
	}
	path := append(append([]any{}, o.Path...), c.Path...)
	if !json {
		return fmt.Sprintf("%d %s%s = %s", e.Index, o.Object, pathText(path), Format(v)), nil
	}
	kind := e.Kind.String()
	if c.Removed {
		kind = "removed"
	}
	keys, err := jsonArray(path)
	if err != nil {
		return "", err
	}
	object, err := JSON(lua.LString(o.Object))
	if err != nil {
		return "", err
	}
	line := fmt.Sprintf(`{"kind":"%s","index":%d,"object":%s,"path":%s`, kind, e.Index, object, keys)
	if c.Removed {
		return line + "}", nil
	}
	value, err := JSON(v)
	return line + `,"value":` + value + "}", err
}

func eventLines(e client.WatchEvent, json bool) ([]string, error) {
	if json {
		values, err := jsonArray(e.Event.Values)
		if err != nil {
			return nil, err
		}
		object, err := JSON(lua.LString(e.Event.Object))
		if err != nil {
			return nil, err
		}
		topic, err := JSON(lua.LString(e.Event.Topic))
		return []string{fmt.Sprintf(`{"kind":"event","index":%d,"number":%d,"object":%s,"topic":%s,"values":%s}`, e.Index, e.Event.Seq, object, topic, values)}, err
	}
	var texts []string
	for _, v := range e.Event.Values {
		lv, err := luaValue(v)
		if err != nil {
			return nil, err
		}
		texts = append(texts, Format(lv))
	}
	return []string{fmt.Sprintf("%d %s emits %s(%s)", e.Index, e.Event.Object, e.Event.Topic, strings.Join(texts, ", "))}, nil
}

func jsonArray(values []any) (string, error) {
	var texts []string
	for _, v := range values {
		lv, err := luaValue(v)
		if err != nil {
			return "", err
		}
		text, err := JSON(lv)
		if err != nil {
			return "", err
		}
		texts = append(texts, text)
	}
	return "[" + strings.Join(texts, ",") + "]", nil
}

// subscription is a watch of client code. All but name and cancel belongs to the
// task whose turn it is.
type subscription struct {
	s      *Session
	proc   *Process
	name   string
	fn     *lua.LFunction
	cancel context.CancelFunc
	ended  bool
	index  uint64 // of what was told last
	lagged int    // how often it was too slow
	news   news   // of a watch without a function
}

// stop ends a watch; to be called by a task or an event.
func (w *subscription) stop() {
	w.ended = true
	w.cancel()
	delete(w.s.watches, w)
	w.news.wake()
}

// watchTarget reads the first argument of watch: an object, a text that names one
// or a path below it, any other text, a topic, or a table that says which.
func (s *Session) watchTarget(l *lua.LState) client.WatchOptions {
	var o client.WatchOptions
	var err error
	switch v := l.Get(1).(type) {
	case *lua.LUserData:
		o.Object = checkProxy(l).name
		return o
	case lua.LString:
		name, _, perr := ParsePath(string(v))
		if _, known := object(s.Description(), name); perr == nil && !known {
			if err := s.refresh(l); err != nil {
				s.raise(l, err)
			}
		}
		if _, known := object(s.Description(), name); perr != nil || !known {
			o.Topic = string(v)
			return o
		}
		o, err = WatchPlace(string(v))
	case *lua.LTable:
		topic, path := v.RawGetString("topic"), v.RawGetString("path")
		if text, ok := topic.(lua.LString); ok && path == lua.LNil {
			o.Topic = string(text)
		} else if text, ok := path.(lua.LString); ok && topic == lua.LNil {
			o, err = WatchPlace(string(text))
		} else if keys, ok := path.(*lua.LTable); ok && topic == lua.LNil {
			o, err = watchKeys(v.RawGetString("object"), keys)
		} else {
			l.ArgError(1, "a table with topic, path, or object and path expected")
		}
		if from, ok := v.RawGetString("from").(lua.LNumber); ok {
			if !(from >= 0 && from <= 1<<53) {
				l.ArgError(1, "from is an index, 0 or more")
			}
			o.Resume, o.From = true, uint64(from)
		}
	default:
		l.ArgError(1, `an object, "object.path" or a topic expected`)
	}
	if err != nil {
		l.ArgError(1, err.Error())
	}
	return o
}

// luaWatch is watch(target, f). It returns once the watch has begun; what is told
// comes in tasks of its own, one after the other. Without f see news.
func (s *Session) luaWatch(l *lua.LState) int {
	o := s.watchTarget(l)
	var fn *lua.LFunction
	if l.Get(2) != lua.LNil {
		fn = l.CheckFunction(2)
	}
	proc := s.sched.current.proc
	if teller, ok := proc.cluster.(Teller); ok {
		return s.watchWorld(l, teller, o, fn)
	}
	cluster, ok := proc.cluster.(Watcher)
	switch {
	case !ok && fn == nil:
		l.Push(s.newHandle(&handle{watch: &subscription{s: s, proc: proc, name: WatchName(o), cancel: func() {}, news: news{blind: true}}}))
		return 1
	case !ok:
		l.RaiseError("watch: not available here")
	}
	ctx, cancel := context.WithCancel(proc.ctx)
	w := &subscription{s: s, proc: proc, name: WatchName(o), fn: fn, cancel: cancel}
	s.watches[w] = true
	var failed error
	waits := true
	err := s.sched.current.wait(func(wake func()) {
		o.Began = func(uint64) { s.sched.post(func() { waits = false; wake() }) }
		go w.run(ctx, cluster.Watch(ctx, o), func(err error) { // an event
			if w.stop(); waits {
				failed = err
				wake()
				return
			}
			if w.fn == nil { // who waits looks from time to time instead
				w.news.blind = true
				return
			}
			s.uncaught(s.ctx, "watch of "+w.name, err)
		})
	})
	return s.watching(l, w, cmp.Or(err, failed))
}

// watching gives the script its handle, or raises why there is no watch.
func (s *Session) watching(l *lua.LState, w *subscription, err error) int {
	if err != nil {
		w.stop()
		s.raise(l, err)
	}
	l.Push(s.newHandle(&handle{watch: w}))
	return 1
}

// run hands over what is told and waits until the function has dealt with it: who
// is slow is slow at the node, which bounds what waits.
func (w *subscription) run(ctx context.Context, told iter.Seq2[client.WatchEvent, error], fail func(error)) {
	for e, err := range told {
		if err != nil {
			w.s.sched.post(func() { fail(err) })
			return
		}
		done := make(chan struct{})
		w.s.sched.post(func() { w.deliver(e, func() { close(done) }) })
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// deliver calls the function; it is an event.
func (w *subscription) deliver(e client.WatchEvent, done func()) {
	if w.ended {
		done()
		return
	}
	if w.fn == nil {
		w.index = e.Index
		w.news.tell(e)
		done()
		return
	}
	where := "watch of " + w.name
	ok := w.s.sched.start(w.proc, w.proc.ctx, func(t *task) {
		defer done()
		w.s.uncaught(t.ctx, where, w.call(t, e))
	})
	if !ok {
		w.s.uncaught(w.s.ctx, where, &LuaError{Text: fmt.Sprintf("more than %d tasks wait", tasksMax)})
		done()
	}
}

// call calls the function: with the values of an event, or for each change with
// the value, where it is below what is watched, and the index.
func (w *subscription) call(t *task, e client.WatchEvent) error {
	w.index = e.Index
	changes := e.Changes
	switch e.Kind {
	case client.WatchLagged:
		w.lagged++
		return nil
	case client.WatchEmitted:
		args := make([]lua.LValue, len(e.Event.Values))
		for i, v := range e.Event.Values {
			var err error
			if args[i], err = luaValue(v); err != nil {
				return err
			}
		}
		_, err := call(t.thread, w.fn, args...)
		return err
	case client.WatchPicture:
		changes = []client.Change{{Value: e.Value}}
	}
	for _, c := range changes {
		if w.ended {
			return nil
		}
		v, err := luaValue(c.Value)
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(pathText(c.Path), ".")
		if _, err := call(t.thread, w.fn, v, lua.LString(path), lua.LNumber(e.Index)); err != nil {
			return err
		}
	}
	return nil
}

// watchWorld is luaWatch in a World.
func (s *Session) watchWorld(l *lua.LState, cluster Teller, o client.WatchOptions, fn *lua.LFunction) int {
	w := &subscription{s: s, proc: s.sched.current.proc, name: WatchName(o), fn: fn, cancel: func() {}}
	s.watches[w] = true
	var failed error
	waits := true
	err := s.sched.current.wait(func(wake func()) {
		o.Began = func(uint64) { waits = false; wake() }
		stop, err := cluster.Tell(o, w.teller(func(err error) {
			if w.stop(); waits {
				failed = err
				wake()
				return
			}
			if w.fn == nil {
				w.news.blind = true
				return
			}
			s.uncaught(s.ctx, "watch of "+w.name, err)
		}))
		if err != nil {
			failed = err
			wake()
			return
		}
		w.cancel = stop
	})
	return s.watching(l, w, cmp.Or(err, failed))
}

// teller takes what a World tells: the function is called for one thing after the
// other.
func (w *subscription) teller(fail func(error)) func(client.WatchEvent, error) {
	var queue []client.WatchEvent
	busy := false
	var next func()
	next = func() {
		if busy = len(queue) > 0; busy {
			e := queue[0]
			queue = queue[1:]
			w.deliver(e, func() { w.s.sched.post(next) })
		}
	}
	return func(e client.WatchEvent, err error) {
		if err != nil {
			w.s.sched.post(func() { fail(err) })
			return
		}
		if queue = append(queue, e); !busy {
			busy = true
			w.s.sched.post(next)
		}
	}
}
