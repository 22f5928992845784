package luafsm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
	"github.com/syncsh/syncsh/scripts"
)

// rig drives a machine as an applier would.
type rig struct {
	t     testing.TB
	m     *Machine
	clock int64
	seed  uint64
}

func newRig(t testing.TB) *rig {
	return &rig{t: t, m: New(Options{}), clock: 1_000_000, seed: 7}
}

// batch is the data of an entry with these commands.
func batch(clock int64, seed uint64, cmds ...[]byte) []byte {
	b := command.AppendBatchHead(nil, command.BatchHead{Clock: clock, Seed: seed, Count: len(cmds)})
	for _, c := range cmds {
		b = codec.AppendBytes(b, c)
	}
	return b
}

// apply applies commands in one entry and returns their results.
func (r *rig) apply(cmds ...[]byte) []command.Result {
	r.t.Helper()
	e := raft.Entry{Index: r.m.Index() + raft.Index(len(cmds)), Span: uint32(len(cmds)), Kind: raft.EntryBatch, Data: batch(r.clock, r.seed, cmds...)}
	var res Results
	r.m.Apply(e, &res)
	if res.Len() != len(cmds) {
		r.t.Fatalf("%d results for %d commands", res.Len(), len(cmds))
	}
	var out []command.Result
	for i := range cmds {
		out = append(out, decodeResult(r.t, res.At(i)))
	}
	return out
}

func decodeResult(t testing.TB, b []byte) command.Result {
	t.Helper()
	d := codec.NewDecoder(b)
	res, err := command.DecodeResult(&d)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		t.Fatalf("result % x: %v", b, err)
	}
	return res
}

// args encodes Go values as arguments.
func args(values ...any) []byte {
	b := codec.AppendArrayLen(nil, len(values))
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = codec.AppendNil(b)
		case bool:
			b = codec.AppendBool(b, v)
		case int:
			b = codec.AppendInt(b, int64(v))
		case float64:
			b = codec.AppendNumber(b, v)
		case string:
			b = codec.AppendString(b, v)
		case []byte:
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("%T", v))
		}
	}
	return b
}

// show is a result as text: values as JSON would have them, or code and message.
func show(res command.Result) string {
	if res.Code != command.CodeOK {
		return res.Code.String() + ": " + res.Message
	}
	return showValues(res.Values)
}

func showValues(b []byte) string {
	d := codec.NewDecoder(b)
	n, err := d.ArrayLen()
	if err != nil {
		return err.Error()
	}
	var out []string
	for range n {
		out = append(out, showValue(&d))
	}
	return strings.Join(out, " ")
}

func showValue(d *codec.Decoder) string {
	switch d.Peek() {
	case codec.KindNil:
		d.Nil()
		return "nil"
	case codec.KindBool:
		v, _ := d.Bool()
		return fmt.Sprint(v)
	case codec.KindInt, codec.KindFloat:
		v, _ := d.Number()
		return fmt.Sprintf("%.14g", v)
	case codec.KindArray:
		n, _ := d.ArrayLen()
		var l []string
		for range n {
			l = append(l, showValue(d))
		}
		return "{" + strings.Join(l, ",") + "}"
	case codec.KindMap:
		n, _ := d.MapLen()
		var l []string
		for range n {
			l = append(l, showValue(d)+"="+showValue(d))
		}
		return "{" + strings.Join(l, ",") + "}"
	}
	s, err := d.String()
	if err != nil {
		return "!" + err.Error()
	}
	return s
}

func (r *rig) deploy(name, source string) command.Result {
	r.t.Helper()
	return r.apply(command.AppendDeploy(nil, 0, 0, []command.Script{{Name: name, Source: source}}))[0]
}

func (r *rig) mustDeploy(name, source string) {
	r.t.Helper()
	if res := r.deploy(name, source); res.Code != command.CodeOK {
		r.t.Fatalf("deploy %s: %s", name, show(res))
	}
}

func (r *rig) call(object, method string, values ...any) command.Result {
	r.t.Helper()
	return r.apply(command.AppendCall(nil, 0, 0, object, method, args(values...)))[0]
}

// get is a query of the present state.
func (r *rig) query(q []byte) command.Result {
	r.t.Helper()
	v := r.m.Publish()
	defer v.Release()
	return decodeResult(r.t, NewQuerier().Query(v, q, nil))
}

// restored is a machine made of a dump of m.
func restored(t testing.TB, m *Machine) *Machine {
	t.Helper()
	v := m.Publish()
	defer v.Release()
	var b bytes.Buffer
	if err := v.Dump(&b); err != nil {
		t.Fatal(err)
	}
	out, err := Restore(&b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if out.Digest() != m.Digest() || out.Index() != m.Index() || out.Clock() != m.Clock() {
		t.Fatalf("restored: %v %d %d, want %v %d %d", out.Digest(), out.Index(), out.Clock(), m.Digest(), m.Index(), m.Clock())
	}
	return out
}

func script(t testing.TB, name string) string {
	s, ok := scripts.Get(name)
	if !ok {
		t.Fatalf("no script %s", name)
	}
	return s.Source
}

func TestCounter(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("counter.lua", script(t, "counter.lua"))
	for _, c := range []struct {
		res  command.Result
		want string
	}{
		{r.call("counter", "inc"), "1"},
		{r.call("counter", "inc", 5), "6"},
		{r.call("counter", "inc", "x"), "script: counter.lua:10: attempt to perform arithmetic on a string value"},
		{r.call("counter", "set", 40), "6"},
		{r.call("counter", "set", "x"), "script: counter:set(value): value must be a number"},
		{r.query(command.AppendQuery(nil, "counter", "get", nil)), "40"},
		{r.query(command.AppendGet(nil, "counter", args("value"))), "40"},
		{r.call("counter", "get"), "bad_argument: counter:get is a query method: it doesn't go through the log"},
		{r.call("counter", "nix"), `not_found: counter has no method "nix"`},
		{r.call("nix", "inc"), `not_found: no object "nix"`},
	} {
		if got := show(c.res); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	m := restored(t, r.m)
	r.m = m
	if got := show(r.call("counter", "inc")); got != "41" {
		t.Error(got)
	}
}

func BenchmarkApplyInc(b *testing.B) {
	r := newRig(b)
	r.mustDeploy("counter.lua", script(b, "counter.lua"))
	const n = 1000
	cmds := make([][]byte, n)
	for i := range cmds {
		cmds[i] = command.AppendCall(nil, 1, uint64(i), "counter", "inc", args(1))
	}
	data := batch(1, 1, cmds...)
	var res Results
	b.ReportAllocs()
	for i := 0; i < b.N; i += n {
		res.Reset()
		r.m.Apply(raft.Entry{Index: r.m.Index() + n, Span: n, Kind: raft.EntryBatch, Data: data}, &res)
	}
}

// Results that are handed out one by one are those that are collected otherwise.
func TestResultsOneByOne(t *testing.T) {
	a, b := newRig(t), newRig(t)
	body := `return ("x"):rep(n)`
	for _, r := range []*rig{a, b} {
		r.mustDeploy("t.lua", "local T = object 't'\nfunction T.replicated:run(n) "+body+" end\nfunction T.replicated:deep() local function f() return 1 + f() end return f() end")
	}
	var cmds [][]byte
	for _, n := range []int{0, 10, 3 << 20, 5, 1000} {
		cmds = append(cmds, command.AppendCall(nil, 0, 0, "t", "run", args(n)), command.AppendCall(nil, 0, 0, "t", "deep", nil), []byte{1})
	}
	e := raft.Entry{Index: a.m.Index() + raft.Index(len(cmds)), Span: uint32(len(cmds)), Kind: raft.EntryBatch, Data: batch(1, 1, cmds...)}
	unreadable := raft.Entry{Index: e.Index + 2, Span: 2, Kind: raft.EntryBatch, Data: []byte{1}}
	for _, e := range []raft.Entry{e, unreadable} {
		var all Results
		a.m.Apply(e, &all)
		next := 0
		each := Results{Each: func(i int, result []byte) {
			if i != next || !bytes.Equal(result, all.At(i)) {
				t.Errorf("result %d came as number %d, or is another one", i, next)
			}
			next++
		}}
		b.m.Apply(e, &each)
		if next != all.Len() || each.Len() != 0 || len(each.Buf) != 0 || cap(each.Buf) > resultKeepBytes {
			t.Errorf("%d of %d results; %d, %d bytes are kept", next, all.Len(), len(each.Buf), cap(each.Buf))
		}
	}
}
