package luafsm

import (
	"bytes"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// small is a machine whose calls are over soon.
func small(t testing.TB) *rig {
	r := newRig(t)
	for name, v := range map[string]float64{"instructions": 5000, "deploy_instructions": 20_000, "call_bytes": 1 << 18, "string_bytes": 1 << 16} {
		r.cmd(command.AppendSetting(nil, 0, 0, name, v))
	}
	return r
}

// FuzzScript: whatever is deployed, a result; the state as before if that is an
// error, and else one that a dump restores, with methods that can be called.
func FuzzScript(f *testing.F) {
	f.Add("local X = object 'x'\nfunction X:init() self.n = 0 end\nfunction X.replicated:run(a, ...) self.n = self.n + (a or 1) return self.n, ... end\nfunction X.query:get() return self.n end")
	f.Add("--- doc\nlocal X = object('x', {version = 2})\nlocal function f(t) for k, v in pairs(t) do t[k] = v .. 'x' end return t end\nfunction X.replicated:run() self.t = f({1, a = 2}) after(1, 'run') emit('e', json.encode(self.t)) end")
	f.Add("local X = object 'x'\nfunction X.replicated:run() local s = ('a'):rep(10):gsub('%w', string.upper) goto done ::done:: return s, #s, -2 ^ 2, 'x' .. 1, select('#', nil, 3) end")
	f.Add("local X = object 'x'\nfunction X.replicated:run() repeat local x = setmetatable({}, {__index = function(t, k) return k end}).y until x return {[1] = 2; 3, x = {}}, [[long]], 0x1F, 1e3 end")
	f.Add("object('y', 'x')\nlocal X = object 'x'\nfunction X:migrate(from) end\nwhile true do break end if 1 then elseif 2 then else end")
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 4<<10 {
			return
		}
		r, twin := small(t), small(t)
		if res := r.deploy("x.lua", source); res.Code != command.CodeOK {
			twin.deploy("x.lua", "=")
			if r.m.Digest() != twin.m.Digest() {
				t.Fatalf("%s, and the state has changed", show(res))
			}
			return
		}
		twin.deploy("x.lua", source)
		twin.m = restored(t, twin.m)
		for _, r := range []*rig{r, twin} {
			r.call("x", "run", 1, "a")
			r.call("x", "run")
			r.query(command.AppendQuery(nil, "x", "get", nil))
			r.query(command.AppendDescribe(nil))
		}
		if r.m.Digest() != twin.m.Digest() {
			t.Fatal("the restored machine differs")
		}
		restored(t, r.m)
	})
}

// FuzzBatch: whatever the bytes of an entry, a result for each of its indexes,
// and a machine that goes on, equal to one that was restored before.
func FuzzBatch(f *testing.F) {
	counter := script(f, "counter.lua")
	call := command.AppendCall(nil, 1, 2, "counter", "inc", args(1, nil, true, "x", 2.5))
	f.Add(uint8(1), batch(1, 2, call))
	f.Add(uint8(2), batch(1, 2, command.AppendTick(nil), command.AppendCreate(nil, 1, 1, "hits", "counter")))
	f.Add(uint8(2), batch(1, 2, command.AppendDrop(nil, 1, 1, "counter"), command.AppendSetting(nil, 1, 1, "events", 5)))
	f.Add(uint8(1), batch(1<<62, 2, command.AppendDeploy(nil, 1, 1, []command.Script{{Name: "x.lua", Source: "local X = object 'x'"}})))
	f.Add(uint8(1), batch(-1, 2, command.AppendCall(nil, 1, 2, "counter", "inc", codec.AppendArrayLen(nil, 1))))
	f.Add(uint8(3), []byte{0xc1})
	f.Fuzz(func(t *testing.T, span uint8, data []byte) {
		span = max(span, 1)
		r := small(t)
		r.mustDeploy("counter.lua", counter)
		other := restored(t, r.m)
		var a, b Results
		base := r.m.Charged()
		e := raft.Entry{Index: r.m.Index() + raft.Index(span), Span: uint32(span), Kind: raft.EntryBatch, Data: data}
		r.m.Apply(e, &a)
		other.Apply(e, &b)
		if a.Len() != int(span) || !bytes.Equal(a.Buf, b.Buf) || r.m.Digest() != other.Digest() ||
			r.m.Charged().Steps-base.Steps != other.Charged().Steps {
			t.Fatalf("%d results for %d indexes; % x, restored % x", a.Len(), span, a.Buf, b.Buf)
		}
		for i := range a.Len() {
			decodeResult(t, a.At(i))
		}
		if got := r.deploy("y.lua", "local Y = object 'y_of_the_test' function Y.replicated:m() return 7 end"); got.Code != command.CodeOK {
			t.Fatal(show(got))
		}
		r.expect("call", show(r.call("y_of_the_test", "m")), "7")
	})
}

// FuzzMachineRestore: whatever is in the sections of a sound dump, an error or a
// machine that can be used and dumped again.
func FuzzMachineRestore(f *testing.F) {
	r := small(f)
	r.mustDeploy("t.lua", timed)
	r.call("t", "set", 0.001, "x")
	r.call("t", "fire", "now")
	f.Add(sectionsOf(f, r.m))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := state.NewStore()
		d := codec.NewDecoder(in)
		v, err := s.DecodeValue(&d, state.Limits{})
		root, ok := state.TableOf(v)
		if err != nil || !ok {
			return
		}
		s.Begin()
		fits := true
		root.Each(nil, func(name, v lua.LValue) bool {
			from, isTable := state.TableOf(v)
			n, isName := name.(lua.LString)
			if fits = isTable && isName && n != ""; !fits {
				return false
			}
			to := s.Section(string(n))
			from.Each(nil, func(k, v lua.LValue) bool { return to.Set(k, v) == nil })
			return true
		})
		if err := s.Commit(); err != nil || !fits {
			return
		}
		var b bytes.Buffer
		if err := s.Publish().Dump(&b); err != nil {
			t.Fatal(err)
		}
		m, err := Restore(&b, Options{})
		if err != nil {
			return
		}
		if m.Index() > 1<<52 {
			return
		}
		r := &rig{t: t, m: m, clock: m.Clock() + 10_000, seed: 1}
		r.cmd(command.AppendTick(nil))
		r.call("t", "set", 0, "x")
		r.call("t", "fire", "y")
		r.query(command.AppendQuery(nil, "t", "all", nil))
		r.query(command.AppendDescribe(nil))
		ver := r.m.Publish()
		ver.EventsFrom(0, 100)
		ver.Release()
		restored(t, r.m)
	})
}

// sectionsOf is the sections of a machine as one value.
func sectionsOf(t testing.TB, m *Machine) []byte {
	v := m.store.Publish()
	defer v.Release()
	names := []string{sectionEvents, sectionMachine, sectionMeta, sectionObjects, sectionScripts, sectionSettings, sectionTimers}
	b := codec.AppendMapLen(nil, len(names))
	for _, n := range names {
		var err error
		if b, err = state.AppendValue(codec.AppendString(b, n), v, v.Section(n).UserData(), state.Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}
