package luafsm

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// Every value that a method can reach by a name, against a golden list.
func TestReachable(t *testing.T) {
	l := defaultLimits()
	p := newProgram(state.NewStore(), &l, nil)
	var lines []string
	seen := map[lua.LValue]bool{}
	var walk func(path string, v lua.LValue)
	walk = func(path string, v lua.LValue) {
		lines = append(lines, fmt.Sprintf("%s %s", strings.ReplaceAll(path, hidden, "(hidden)"), typeName(v)))
		tb, ok := state.TableOf(v)
		if !ok || seen[v] {
			return
		}
		seen[v] = true
		if !tb.Frozen() {
			t.Errorf("%s can be changed", path)
		}
		tb.Each(nil, func(k, v lua.LValue) bool { walk(path+"."+k.String(), v); return true })
	}
	p.x.L.G.Global.ForEach(func(k, v lua.LValue) {
		if s := k.String(); !strings.Contains(s, ".") { // string.format and its like are what the tables have
			walk(s, v)
		}
	})
	stringMethods.ForEach(func(k, v lua.LValue) { walk("(string):"+k.String(), v) })
	sort.Strings(lines)
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/reachable.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v: reachable values differ from %s:\n%s", err, golden, got)
	}
}

func BenchmarkApplyKVSet1M(b *testing.B) {
	r := newRig(b)
	r.mustDeploy("kv.lua", script(b, "kv.lua"))
	const n, keys = 1000, 1_000_000
	data := make([][]byte, 0, keys/n)
	var res Results
	for i := 0; i < keys; i += n {
		d := command.AppendBatchHead(nil, command.BatchHead{Clock: 1, Seed: 1, Count: n})
		for k := range n {
			d = codec.AppendBytes(d, command.AppendCall(nil, 1, 1, "kv", "set", args(fmt.Sprintf("key%09d", (i+k)*7919%keys), i+k)))
		}
		data = append(data, d)
		res.Reset()
		r.m.Apply(raft.Entry{Index: r.m.Index() + n, Span: n, Kind: raft.EntryBatch, Data: d}, &res)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += n {
		res.Reset()
		r.m.Apply(raft.Entry{Index: r.m.Index() + n, Span: n, Kind: raft.EntryBatch, Data: data[i/n%len(data)]}, &res)
	}
}

func BenchmarkQuery(b *testing.B) {
	r := newRig(b)
	r.mustDeploy("counter.lua", script(b, "counter.lua"))
	v := r.m.Publish()
	defer v.Release()
	q := NewQuerier()
	ask := command.AppendQuery(nil, "counter", "get", nil)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = q.Query(v, ask, out[:0])
	}
}

// What a method reaches without a name of its own: its variables, its object, the
// objects of others and their metatables.
func TestReachableFromMethod(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("y.lua", `local Y = object "y"
function Y:init() self.n = 1 end`)
	r.mustDeploy("x.lua", `local X = object "x"
local kept = {1, {2}}
local function helper() return kept end
function X:init() self.t = {1} end
function X.replicated:probe()
  local seen = {}
  for name, v in pairs({self = self, t = self.t, other = y, namespace = X, kind = X.replicated, helper = helper, library = print,
      own = self.probe, text = "", number = 1, boolean = true, kept = kept, tables = table, made = {}}) do
    seen[#seen + 1] = name .. " " .. type(v) .. " " .. type(getmetatable(v)) .. " " .. tostring(v)
  end
  table.sort(seen)
  return table.concat(seen, "\n")
end
function X.replicated:attempt(i)
  local try = {
    function() kept[1] = 2 end,
    function() kept[2][1] = 3 end,
    function() setmetatable(kept, {}) end,
    function() setmetatable(self, {}) end,
    function() setmetatable("", {}) end,
    function() setmetatable(X, {}) end,
    function() X.other = function() end end,
    function() X.replicated.other = function() end end,
    function() table.insert = nil end,
    function() string.format = print end,
    function() math.pi = 3 end,
    function() self.probe = 1 end,
    function() rawset(string, "x", 1) end,
    function() rawset(kept, 1, 2) end,
  }
  if not try[i] then return "end" end
  return pcall(try[i])
end
`)
	r.expect("what there is", showValues(r.call("x", "probe").Values), `boolean boolean nil true
helper function nil function
kept table nil table
kind userdata nil userdata
library function nil function
made table nil table
namespace userdata nil userdata
number number nil 1
other table nil table
own function nil function
self table nil table
t table nil table
tables table nil table
text string nil `)
	for i := 1; ; i++ {
		got := show(r.call("x", "attempt", i))
		if got == "end" {
			break
		}
		if !strings.HasPrefix(got, "false ") {
			t.Errorf("attempt %d: %s", i, got)
		}
	}
}
