package luafsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// reachableFunctions are the functions that scripts have by name.
func reachableFunctions() (paths []string) {
	l := defaultLimits()
	p := newProgram(state.NewStore(), &l, nil)
	p.x.L.G.Global.ForEach(func(k, v lua.LValue) {
		name := k.String()
		if strings.Contains(name, ".") || strings.Contains(name, hidden) {
			return
		}
		if v.Type() == lua.LTFunction {
			paths = append(paths, name)
		}
		if t, ok := state.TableOf(v); ok {
			t.Each(nil, func(k, v lua.LValue) bool {
				if v.Type() == lua.LTFunction {
					paths = append(paths, name+"."+k.String())
				}
				return true
			})
		}
	})
	slices.Sort(paths)
	return paths
}

// readOnlyScript has state of every shape, and a query for each way to change it.
func readOnlyScript(body string) string {
	return `local T = object "t"
function T:init() self.list = {3, 1, 2, {5, 4}} self.nums = {3, 1, 2} self.map = {x = {9, 8, 7}, y = {z = {3, 2, 1}}} self[1] = 2 self[2] = 1 end
object("u", "t")
function T.query:attempt(i)
  local targets = {self, self.list, self.nums, self.map, self.list[4], self.map.x, self.map.y, self.map.y.z, u, u.nums, u.map.y.z}
` + body + `
end`
}

// A query changes nothing, with whatever function it tries, not even while a call
// is applied, when the state takes writes.
func TestQueriesChangeNothing(t *testing.T) {
	const refused = "query methods can't change state"
	var tries strings.Builder
	for _, path := range reachableFunctions() {
		if path != "object" {
			fmt.Fprintf(&tries, "%s, ", path)
		}
	}
	for _, c := range []struct {
		name, body string
		refused    bool
	}{
		{"field", `t.q = 1`, true},
		{"field that is there", `t[1] = 9`, true},
		{"removed field", `t[1] = nil`, true},
		{"same value", `t[1] = t[1]`, true},
		{"swap", `t[1], t[2] = t[2], t[1]`, true},
		{"function", `function t.f() end`, true},
		{"rawset", `rawset(t, "q", 1)`, true},
		{"rawset of nil", `rawset(t, 1, nil)`, true},
		{"insert", `table.insert(t, 1)`, true},
		{"insert in front", `table.insert(t, 1, 0)`, true},
		{"insert of nil", `table.insert(t, 1, nil)`, true},
		{"remove", `table.remove(t)`, true},
		{"remove in front", `table.remove(t, 1)`, true},
		{"remove of nothing", `table.remove(t, 99)`, true},
		{"sort", `table.sort(t)`, true},
		{"sort by a function", `table.sort(t, function(a, b) return tostring(a) < tostring(b) end)`, true},
		{"setmetatable", `setmetatable(t, {})`, true},
		{"no metatable", `setmetatable(t, nil)`, true},
		{"own tables", `local own = copy(t) own.q = 1 table.insert(own, 1, 1) table.remove(own) rawset(own, 1, 1) setmetatable(own, {})`, false},
		{"every function", `for _, f in ipairs({` + tries.String() + `}) do
    for _, more in ipairs({{}, {1}, {1, 0}, {1, nil, n = 2}, {"q", 1}, {{}}, {function(a, b) return tostring(a) > tostring(b) end}, {t, t}}) do
      pcall(f, t, unpack(more, 1, more.n or #more))
      pcall(f, 1, t)
      pcall(f, "x", t)
      pcall(f, "x", ".", t)
      pcall(f, function() return t end, t)
    end
  end`, false},
	} {
		r := newRig(t)
		r.apply(command.AppendSetting(nil, 0, 0, "instructions", 100_000_000))
		r.mustDeploy("t.lua", readOnlyScript(`  local t = targets[i]
  if not t then return "end" end
  `+c.body+`
  return "done"`))
		before := r.m.Digest()
		for i := 1; ; i++ {
			v := r.m.Publish()
			r.m.begin() // as a call that is applied meanwhile
			got := show(decodeResult(t, NewQuerier().Query(v, command.AppendQuery(nil, "t", "attempt", args(i)), nil)))
			if got != "end" && strings.Contains(got, refused) != c.refused || !c.refused && got != "end" && got != "done" {
				t.Errorf("%s, table %d: %s", c.name, i, got)
			}
			r.m.commit()
			v.Release()
			if r.m.Digest() != before {
				t.Fatalf("%s, table %d: the state has changed", c.name, i)
			}
			if got == "end" {
				if i != 12 {
					t.Errorf("%s: %d tables", c.name, i-1)
				}
				break
			}
		}
	}
}
