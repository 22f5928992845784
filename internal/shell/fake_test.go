package shell

import (
	"bytes"
	"context"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const lockSource = `
local Lock = object "lock"
function Lock.replicated:acquire(name) return true end
--- Says where it runs.
function Lock:where(x)
  helper = 1
  return "here", self.holder, x
end
function Lock:fail()
  error("broken")
end
`

// fake is a cluster of one counter, whose reads and calls the test holds back
// when it wants to.
type fake struct {
	mu      sync.Mutex
	value   float64
	objects map[string]string // name to prototype
	asked   []string
	held    chan func() // nil: answers at once
	alone   bool        // there is no leader: only stale reads are answered
	replies chan func() // delivered one after the other
}

func newFake() *fake {
	f := &fake{replies: make(chan func(), 256), objects: map[string]string{"counter": "", "kv": "", "lock": ""}}
	go func() {
		for reply := range f.replies {
			reply()
		}
	}()
	return f
}

func (f *fake) Exec(ctx context.Context, op wire.Op, mode wire.Mode, payload []byte) (command.Result, error) {
	type answer struct {
		r   command.Result
		err error
	}
	got := make(chan answer, 1)
	f.Do(op, mode, 0, payload, func(r command.Result, err error) { got <- answer{r, err} })
	a := <-got
	return a.r, a.err
}

func (f *fake) NodeStatus(context.Context) (*client.NodeStatus, error) {
	return &client.NodeStatus{Name: "n2", Role: "follower", Term: 7}, nil
}

func (f *fake) Status(context.Context) (*client.Status, error) {
	return &client.Status{Healthy: true, Leader: "n1", Voters: 3, Tolerates: 1}, nil
}

func (f *fake) Do(op wire.Op, mode wire.Mode, _ time.Duration, payload []byte, done func(command.Result, error)) {
	if f.alone && mode != wire.Stale {
		r := failure(command.CodeNoLeader, "no leader")
		f.replies <- func() { done(r, r.Err()) }
		return
	}
	answer := func() {
		r := f.answer(op, payload)
		done(r, r.Err())
	}
	describes := op == wire.OpQuery && bytes.Equal(payload, command.AppendDescribe(nil))
	if f.held != nil && !describes {
		f.held <- answer
		return
	}
	r := f.answer(op, payload)
	f.replies <- func() { done(r, r.Err()) }
}

func ok(values ...float64) command.Result {
	b := codec.AppendArrayLen(nil, len(values))
	for _, v := range values {
		b = codec.AppendNumber(b, v)
	}
	return command.Result{Index: 9, Values: b}
}

func failure(code command.Code, message string) command.Result {
	return command.Result{Index: 9, Code: code, Message: message}
}

func (f *fake) answer(op wire.Op, payload []byte) command.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := codec.NewDecoder(payload)
	if op == wire.OpQuery {
		return f.query(&d)
	}
	h, err := command.DecodeHead(&d)
	if err != nil {
		return failure(command.CodeBadArgument, err.Error())
	}
	object, _ := d.String()
	method, _ := d.String()
	f.asked = append(f.asked, object+":"+method)
	switch {
	case h.Kind == command.Create:
		f.objects[object] = method
		return ok()
	case method == "inc":
		by := 1.0
		if n, _ := d.ArrayLen(); n > 0 {
			if by, err = d.Number(); err != nil {
				r := failure(command.CodeScript, "counter.lua:12: number expected")
				r.Value = codec.AppendString(nil, "bad")
				return r
			}
		}
		f.value += by
		return ok(f.value)
	case method == "two":
		return ok(1, 2)
	}
	return failure(command.CodeNotFound, "no method")
}

func (f *fake) query(d *codec.Decoder) command.Result {
	n, _ := d.ArrayLen()
	kind, _ := d.Uint()
	if n == 1 {
		b := codec.AppendArrayLen(nil, 1)
		return command.Result{Values: command.AppendDescription(b, f.describe())}
	}
	object, _ := d.String()
	if command.QueryKind(kind) == command.Explain {
		return f.explain(d)
	}
	if command.QueryKind(kind) == command.Query {
		f.asked = append(f.asked, "query "+object)
		return ok(f.value)
	}
	var path []string
	keys, _ := d.ArrayLen()
	for range keys {
		k, _ := d.String()
		path = append(path, k)
	}
	if command.QueryKind(kind) == command.Keys {
		f.asked = append(f.asked, "keys "+object+"."+strings.Join(path, "."))
		return keysOf(object + "." + strings.Join(path, "."))
	}
	f.asked = append(f.asked, "get "+object+"."+strings.Join(path, "."))
	b := codec.AppendArrayLen(nil, 1)
	switch at := object + "." + strings.Join(path, "."); at {
	case "counter.value":
		b = codec.AppendNumber(b, f.value)
	case "kv.data":
		b = codec.AppendMapLen(b, 2)
		b = codec.AppendString(codec.AppendString(b, "x"), "red")
		b = codec.AppendArrayLen(codec.AppendString(b, "y"), 2)
		b = codec.AppendInt(codec.AppendInt(b, 1), 2)
	case "counter.":
		b = codec.AppendMapLen(b, 1)
		b = codec.AppendNumber(codec.AppendString(b, "value"), f.value)
	default:
		b = codec.AppendNil(b)
	}
	return command.Result{Values: b}
}

// keysOf answers a question for the keys at a path.
func keysOf(path string) command.Result {
	names := map[string][]string{"counter.": {"value"}, "kv.": {"data"}, "kv.data": {"a b", "x", "y"}}[path]
	b := codec.AppendArrayLen(codec.AppendArrayLen(nil, 1), len(names))
	for _, n := range names {
		b = codec.AppendString(b, n)
	}
	return command.Result{Values: b}
}

// explain answers that any call makes the counter 6, and does some more.
func (f *fake) explain(d *codec.Decoder) command.Result {
	method, _ := d.String()
	f.asked = append(f.asked, "explain "+method)
	one := func(n int64) []byte { return codec.AppendInt(codec.AppendArrayLen(nil, 1), n) }
	value := func(n int64) command.Seen { return command.Seen{Value: codec.AppendInt(nil, n)} }
	path := codec.AppendString(codec.AppendString(codec.AppendArrayLen(nil, 2), "counter"), "value")
	e := command.Explanation{
		Result: command.AppendOK(nil, 10, one(6)), Clock: 1000, Steps: command.Charge{Used: 12, Most: 100}, Bytes: command.Charge{Used: 3, Most: 200},
		Changes: []command.Changed{{Path: path, Old: value(1), New: value(6)}, {Path: path, Old: command.Seen{TooLarge: true}}},
		LeftOut: 2, Cancelled: 1,
		Events: []command.Emitted{{Object: "counter", Topic: "full", Values: one(6)}},
		Timers: []command.TimerSet{{ID: 3, Object: "counter", Method: "inc", Args: one(1), Due: 3500}},
	}
	if method == "two" {
		e = command.Explanation{Result: command.AppendError(nil, 10, command.CodeScript, "counter.lua:3: no", "counter.lua:3: in function two", nil)}
	}
	return command.Result{Values: command.AppendExplanation(codec.AppendArrayLen(nil, 1), &e)}
}

func (f *fake) describe() command.Description {
	methods := map[string][]command.Method{
		"counter": {
			{Name: "get", Kind: command.QueryOnly},
			{Name: "inc", Kind: command.Replicated, Params: []string{"by"}, Doc: "Adds `by`."},
			{Name: "two", Kind: command.Replicated},
		},
		"kv": {{Name: "set", Kind: command.Replicated, Params: []string{"key", "value"}}},
		"lock": {
			{Name: "acquire", Kind: command.Replicated}, {Name: "fail", Kind: command.Local}, {Name: "where", Kind: command.Local},
		},
	}
	var d command.Description
	for name, prototype := range f.objects {
		o := command.Object{Name: name, Prototype: prototype, Version: 1, Script: name + ".lua", Doc: "An object.", Methods: methods[name]}
		if prototype != "" {
			o.Methods, o.Script = methods[prototype], prototype+".lua"
		}
		d.Objects = append(d.Objects, o)
	}
	sort.Slice(d.Objects, func(i, j int) bool { return d.Objects[i].Name < d.Objects[j].Name })
	d.Scripts = []command.Script{{Name: "lock.lua", Source: lockSource}}
	return d
}

// buffer is written by the session and read by the test.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	written chan struct{} // capacity 1
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.written <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

// take returns what was written since the last take.
func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.b.Reset()
	return b.b.String()
}

func newTestSession(t *testing.T, f *fake) (*Session, *buffer) {
	t.Helper()
	out := &buffer{written: make(chan struct{}, 1)}
	s := New(Config{Cluster: f, Out: out, Err: out})
	t.Cleanup(s.Close)
	return s, out
}
