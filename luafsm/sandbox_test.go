package luafsm

import (
	"fmt"
	"os"
	"slices"
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
	for k, f := range stringMethods {
		walk("(string):"+k, f)
	}
	golden(t, "testdata/reachable.txt", lines)
}

// golden compares lines, sorted, with those of a file.
func golden(t *testing.T, golden string, lines []string) {
	t.Helper()
	sort.Strings(lines)
	got := strings.Join(lines, "\n") + "\n"
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
    function() local me = {self} me[1].probe = 1 end,
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

// walkScript has methods that list what they reach from the values they have: the
// object, another one, the namespaces, arguments, iterators and errors. Names are
// tried on everything that can be indexed, metatables are looked at.
const walkScript = `local T = object "t"
object("u", "t")
local kept = {1, {2}}
function T:init() self.list = {1, {2}} self.text = "x" end
function T.replicated:write(...) %[1]s end
function T.query:read(...) %[1]s end
function T:hold() end
`

const walkBody = `
  local names, out, seen = {%s}, {}, {}
  local walk
  local function member(path, v, k)
    local ok, m = pcall(function() return v[k] end)
    if not ok then out[#out + 1] = path .. "." .. tostring(k) .. " error: " .. tostring(m)
    elseif m ~= nil then walk(path .. "." .. tostring(k), m) end
  end
  function walk(path, v)
    out[#out + 1] = path .. " " .. type(v)
    if type(v) ~= "table" and type(v) ~= "userdata" then return end
    if seen[v] then out[#out] = path .. " = " .. seen[v] return end
    seen[v] = path
    if getmetatable(v) ~= nil then walk("getmetatable(" .. path .. ")", getmetatable(v)) end
    local known = {}
    if type(v) == "table" then for k in pairs(v) do known[k] = true member(path, v, k) end end
    for _, k in ipairs(names) do if not known[k] then member(path, v, k) end end
  end
  walk("self", self) walk("u", u) walk("T", T) walk("kept", kept)
  for i = 1, select("#", ...) do walk("argument" .. i, (select(i, ...))) end
  local iterators = {pairs = {pairs({1})}, ipairs = {ipairs({1})}, gmatch = {("x"):gmatch("x")}, error = {pcall(error)}, raised = {pcall(function() return nil + 1 end)},
    caught = {pcall(error, {1})}, handler = {xpcall(function() error("x") end, function(e) return e end)}, caller = {caller()}, none = {nil}}
  for _, name in ipairs({"caller", "caught", "error", "gmatch", "handler", "ipairs", "none", "pairs", "raised"}) do
    for k, v in pairs(iterators[name]) do walk(name .. "[" .. tostring(k) .. "]", v) end
  end
  return out`

// What a method reaches from the values that it is given, against golden lists.
func TestReachableFromValues(t *testing.T) {
	names := []string{"replicated", "query", "async", "init", "migrate", "hold", "read", "write", "list", "text", "env", "data", "prog", "object", "name", "store", "version", "def",
		"Value", "Metatable", "Env", "_G", "_ENV", "_LOADED", "__index", "__newindex", "__metatable", "__call", "__gc", "__mode", "__tostring", "__len", "__eq", "__name"}
	for _, path := range reachableFunctions() {
		names = append(names, path[strings.LastIndex(path, ".")+1:])
	}
	sort.Strings(names)
	names = slices.Compact(names)
	var list strings.Builder
	for _, n := range names {
		fmt.Fprintf(&list, "%q, ", n)
	}
	src := fmt.Sprintf(walkScript, fmt.Sprintf(walkBody, list.String()))
	r := newRig(t)
	r.mustDeploy("t.lua", src)
	given := args(1.5, "text", true, nil, args("a", args(1)), []byte{0x81, 0xa1, 'k', 0x91, 0x01})
	lines := func(res command.Result) (out []string) {
		t.Helper()
		d := codec.NewDecoder(res.Values)
		if res.Code != command.CodeOK {
			t.Fatal(show(res))
		}
		if _, err := d.ArrayLen(); err != nil {
			t.Fatal(err)
		}
		n, err := d.ArrayLen()
		for range n {
			var s string
			if s, err = d.String(); err != nil {
				break
			}
			out = append(out, s)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	golden(t, "testdata/reachable-replicated.txt", lines(r.apply(command.AppendCall(nil, 0, 0, "t", "write", given))[0]))
	golden(t, "testdata/reachable-query.txt", lines(r.query(command.AppendQuery(nil, "t", "read", given))))
}
