package luafsm

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
)

// explain asks a version of r's machine.
func (r *rig) explain(object, method string, values ...any) command.Explanation {
	r.t.Helper()
	v := r.m.Publish()
	defer v.Release()
	q := NewQuerier()
	q.Clock = r.clock
	return explanationOf(r.t, q.Query(v, command.AppendExplain(nil, object, method, args(values...)), nil))
}

func explanationOf(t testing.TB, b []byte) command.Explanation {
	t.Helper()
	res := decodeResult(t, b)
	if res.Code != command.CodeOK {
		t.Fatal(show(res))
	}
	d := codec.NewDecoder(res.Values)
	err := d.FixedArray(1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := command.DecodeExplanation(&d)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// showChanges is the changes of an explanation as text.
func showChanges(e command.Explanation) string {
	seen := func(s command.Seen) string {
		switch {
		case s.TooLarge:
			return "?"
		case s.Value == nil:
			return "nil"
		}
		d := codec.NewDecoder(s.Value)
		return showValue(&d)
	}
	var out []string
	for _, c := range e.Changes {
		out = append(out, strings.ReplaceAll(showValues(c.Path), " ", ".")+" "+seen(c.Old)+" -> "+seen(c.New))
	}
	return strings.Join(out, "; ")
}

func TestExplain(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("demo.lua", `
local Demo = object "demo"
local Limits = {most = 3}
function Demo:init() self.n = 1 self.data = {a = {x = 1}, list = {1, 2}} end
function Demo.replicated:set(n) self.n = n self.data.a.x = n return index(), now(), caller() end
function Demo.replicated:grow() table.insert(self.data.list, 1, 0) self.data.b = {self.n} self.data.a = nil end
function Demo.replicated:fail() self.n = 5 error("no") end
function Demo.replicated:loop() while true do self.n = self.n + 1 end end
function Demo.replicated:tell() emit("said", self.n, self.data.a) after(5, "set", 7) return after(1, "set", self.data.list) end
function Demo.replicated:quiet(id) return cancel(id) end
function Demo.replicated:none() self.n = self.n end
function Demo.replicated:fault() self.f = function() end end
function Demo.replicated:freeze() Limits.most = 4 end
function Demo.replicated:many() for i = 1, 1500 do self["k" .. i] = i end end
function Demo.replicated:big() self.text = ("x"):rep(1e5) end
function Demo.query:get() return self.n end
function Demo:here() end
`)
	id := r.call("demo", "tell")
	r.clock += 500
	next := int64(r.m.Index()) + 1
	digest := r.m.Digest()
	for _, c := range []struct {
		method              string
		arg                 any
		result, changes, to string
	}{
		{"set", 5, fmt.Sprintf("%d 1000.5 nil", next), "demo.n 1 -> 5; demo.data.a.x 1 -> 5", ""},
		{"grow", nil, "", "demo.data.list {1,2} -> {0,1,2}; demo.data.b nil -> {1}; demo.data.a {x=1} -> nil", ""},
		{"fail", nil, "script: demo.lua:7: no", "", ""},
		{"loop", nil, "budget: demo.lua:8: instruction limit reached", "", ""},
		{"tell", nil, "4", "", "event demo said 1 {x=1}; timer 3 demo set 7 at 1005500; timer 4 demo set {1,2} at 1001500"},
		{"quiet", 2, "true", "", "cancelled 1"},
		{"none", nil, "", "", ""},
		{"fault", nil, "script: demo:fault: demo.f: functions can't be replicated", "", ""},
		{"freeze", nil, "script: demo.lua:13: tables of the script can't be changed by methods; keep data in self", "", ""},
		{"big", nil, "", "demo.text nil -> ?", ""},
		{"get", nil, "1", "", ""},
		{"here", nil, "bad_argument: demo:here is a local method: it runs at the client", "", ""},
		{"nix", nil, `not_found: demo has no method "nix"`, "", ""},
	} {
		e := r.explain("demo", c.method, c.arg)
		var told []string
		for _, v := range e.Events {
			told = append(told, "event "+v.Object+" "+v.Topic+" "+showValues(v.Values))
		}
		for _, v := range e.Timers {
			told = append(told, fmt.Sprintf("timer %d %s %s %s at %d", v.ID, v.Object, v.Method, showValues(v.Args), v.Due))
		}
		if e.Cancelled > 0 {
			told = append(told, fmt.Sprint("cancelled ", e.Cancelled))
		}
		if got := show(decodeResult(t, e.Result)); got != c.result {
			t.Errorf("%s: result %q, want %q", c.method, got, c.result)
		}
		if got := showChanges(e); got != c.changes {
			t.Errorf("%s: changes %q, want %q", c.method, got, c.changes)
		}
		if got := strings.Join(told, "; "); got != c.to {
			t.Errorf("%s: told %q, want %q", c.method, got, c.to)
		}
		if r.m.Digest() != digest || int64(r.m.Index())+1 != next {
			t.Fatalf("%s changed the state", c.method)
		}
	}
	if e := r.explain("demo", "many"); len(e.Changes) != explainChangesMax || e.LeftOut != 500 {
		t.Errorf("%d changes and %d left out", len(e.Changes), e.LeftOut)
	}
	if e := r.explain("demo", "loop"); e.Steps.Used < e.Steps.Most {
		t.Errorf("an endless loop took %d of %d steps", e.Steps.Used, e.Steps.Most)
	}
	if got := show(id); got != "2" {
		t.Error(got)
	}
}

// TestExplainIsTheCall: what a version explains of a call, the call does, with
// the same charges, in generated programs.
func TestExplainIsTheCall(t *testing.T) {
	first, n := programs(t)
	changed, failed := 0, 0
	for seed := first; seed < first+n/5; seed++ {
		p := generate(uint64(seed))
		g := newGenerator(uint64(seed) + 1)
		r := newRunner()
		clock := int64(1_000_000)
		for _, e := range p.entries {
			r.m.Apply(e, &r.res)
			if r.m.Index() < 4 {
				continue
			}
			object, method, list := g.object(), pick(g, "m1", "m2", "fire"), g.arguments()
			v := r.m.Publish()
			digest := r.m.Digest()
			r.q.Clock = clock
			x := explanationOf(t, r.q.Query(v, command.AppendExplain(nil, object, method, list), nil))
			if r.m.Digest() != digest || v.Digest() != digest {
				t.Fatalf("seed %d entry %d: %s:%s changed the state", seed, e.Index, object, method)
			}
			m := restored(t, r.m)
			seen := command.Explanation{}
			m.store.Observe(&explained{before: v, e: &seen})
			index := m.Index() + 1
			var res Results
			m.Apply(raft.Entry{Index: index, Span: 1, Kind: raft.EntryBatch,
				Data: batch(clock, uint64(index), command.AppendCall(nil, 0, 0, object, method, list))}, &res)
			if !bytes.Equal(res.At(0), x.Result) {
				t.Fatalf("seed %d entry %d: %s:%s: explained %s, was %s", seed, e.Index, object, method, show(decodeResult(t, x.Result)), show(decodeResult(t, res.At(0))))
			}
			if c := m.Charged(); c.Steps != x.Steps.Used || c.Bytes != x.Bytes.Used {
				t.Fatalf("seed %d entry %d: %s:%s: explained %d steps %d bytes, was %+v", seed, e.Index, object, method, x.Steps.Used, x.Bytes.Used, c)
			}
			if !reflect.DeepEqual(seen.Changes, x.Changes) {
				t.Fatalf("seed %d entry %d: %s:%s: explained %s, was %s", seed, e.Index, object, method, showChanges(x), showChanges(seen))
			}
			v.Release()
			if changed += len(x.Changes); decodeResult(t, x.Result).Code != command.CodeOK {
				failed++
			}
		}
	}
	if changed == 0 || failed == 0 {
		t.Errorf("%d changes, %d failures: the programs say nothing", changed, failed)
	}
}

func TestKeys(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("demo.lua", `
local Demo = object "demo"
function Demo:init() self.data = {[1] = 1, [true] = 1, colour = 1, cold = {deep = 1}, other = 1} self.many = {} for i = 1, 3000 do self.many["k" .. i] = i end self.long = {[("x"):rep(300)] = 1} end
`)
	ask := func(path []byte, prefix string) string {
		return show(r.query(command.AppendKeys(nil, "demo", path, prefix)))
	}
	for _, c := range []struct {
		path         []byte
		prefix, want string
	}{
		{nil, "", "{data,long,many}"},
		{args("data"), "", "{cold,colour,other}"},
		{args("data"), "co", "{cold,colour}"},
		{args("data", "cold"), "", "{deep}"},
		{args("data", "colour"), "", "{}"},
		{args("data", "nix"), "", "{}"},
		{args("long"), "", "{}"},
		{args("data", "colour", "x"), "", "bad_argument: attempt to index a number value (field 'x')"},
	} {
		if got := ask(c.path, c.prefix); got != c.want {
			t.Errorf("%s %q: %s, want %s", showValues(append([]byte{0x90}, c.path...)), c.prefix, got, c.want)
		}
	}
	if n := strings.Count(ask(args("many"), "k"), ",") + 1; n != keysMax {
		t.Errorf("%d keys of 3000, want %d", n, keysMax)
	}
}

var _ state.Observer = (*explained)(nil)
