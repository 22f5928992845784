package luafsm

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each faulty script in testdata/check has its findings beside it.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.lua")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, x := range Check([]command.Script{{Name: filepath.Base(f), Source: string(src)}}) {
			b.WriteString(x.String() + "\n")
		}
		golden := strings.TrimSuffix(f, ".lua") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) || b.Len() == 0 {
			t.Errorf("%s:\n got %s\nwant %s", f, b.String(), want)
		}
	}
}

// TestHelpersOfTheChunk: a function that runs only while the script is loaded may
// change the script's variables; one that a method gets hold of may not.
func TestHelpersOfTheChunk(t *testing.T) {
	const build = `local total, names = 0, {}
local function add(n) total = total + 1 names[total] = n end
local function build() add("a") add("b") end
build()
local T = object "t"
`
	for src, want := range map[string]int{
		build + `function T.replicated:n() return total, names[1] end`:                     0,
		build + `function T.replicated:n() add("c") return total end`:                      1,
		build + `local function more() build() end function T.replicated:n() more() end`:   1,
		build + `function T.replicated:n() local f = function() build() end f() end`:       1,
		`local n = 0 local function f() n = n + 1 f() end local T = object "t"`:            0,
		`local n = 0 local T = object "t" function T:init() n = n + 1 end`:                 1,
		`local n = 0 local T = object "t" local function f() n = 1 end T.replicated.f = f`: 0, // the load refuses it
		`local n = 0 local T = object "t" local function f() x = n end f()`:                1, // a global
		`local T = object "t" local n = 0 local function f() return os.time() end n = f()`: 1,
	} {
		if got := Check([]command.Script{{Name: "t.lua", Source: src}}); len(got) != want {
			t.Errorf("%s\n%d findings, want %d: %v", src, len(got), want, got)
		}
	}
	r := newRig(t)
	res := r.deploy("t.lua", `local n = 0 local T = object "t" local function f() n = 1 end T.replicated.f = f`)
	if res.Code != command.CodeBadArgument {
		t.Errorf("a helper as a method: %s", show(res))
	}
	if res := r.deploy("t.lua", build+`function T.query:n() return total, names[2] end`); res.Code != command.CodeOK {
		t.Fatal(show(res))
	}
}

// TestCheckLetsPass: what only looks like the faults of testdata/check, or may be
// right as far as the checker can see.
func TestCheckLetsPass(t *testing.T) {
	const head = `local X = object "x"
function X:init() self.n, self.t, self.list = 0, {}, {} end
function X.replicated:inc() self.n = self.n + 1 end
function X.query:get() return self.n end
function X:show() print(self:get()) end
object("y", "x")
`
	for _, src := range []string{
		head + `function X.query:m(o) local s = self s = o s:inc() s.n = 1 end`,
		head + `function X.query:m() self = {} self.n = 1 end`,
		head + `function X.replicated:m(s) s:nosuch() s.inc = 1 end`,
		head + `function X.query:m() local t = self.t or {} t.a = 1 table.insert(t, 1) end`,
		head + `function X.query:m() local t = copy(self.t) t.a = 1 table.sort(t) rawset(t, "b", 2) setmetatable(t, {}) end`,
		head + `function X.query:m() for k, v in pairs(self.list) do v = copy(v) v.a = 1 end for k, v in pairs({{}}) do v.a = 1 end end`,
		head + `function X.query:m() for k, v in pairs(copy(self.list)) do v.a = 1 end end`,
		head + `function X.query:m() local t = {} function t:f() self.n = 1 self:nosuch() end t:f() end`,
		head + `function X.query:m() local f = function(self) self.n = 1 self:inc() end f({inc = type}) end`,
		head + `function X.query:m(list) table.insert(list, 1) list[1] = 2 return list end`,
		head + `function X.query:m() local table = {insert = type} table.insert(self.list) local emit, after = type, type emit(1) after(1, "no") end`,
		head + `local function tell(on) if on then emit("x") end end function X.query:m() tell(false) end function X.replicated:r() tell(true) end`,
		head + `X.replicated.m = function(self) end function X.replicated:r() self:m() after(1, "m") end`,
		head + `for _, n in ipairs({"a", "b"}) do X.replicated["get_" .. n] = function(self) return n end end function X.replicated:r() self:get_a() after(1, "get_b") end`,
		head + `local R = X.replicated function R:m() end function X.replicated:r() self:m() after(1, "m") end`,
		head + `local function define(d) function d.replicated:m() end end define(X) function X.replicated:r() self:m() after(1, "m") end`,
		head + `function X.replicated:r() pcall(X.replicated.inc, self) X.replicated.inc(self) y:inc() x:get() after(1, "inc") end`,
		head + `function X.replicated:r() self.f = function() end self:f() self.f = nil rawset(self, "g", type) self:g() self.g = nil end`,
		head + `function X.replicated:r() self.inc = nil local t = {} t.inc = 1 self.t.inc = 1 self.n = 5 end`,
		head + `function X.replicated:r() local function later() after(1, "nosuch") end return later end`,
		head + `function X.replicated:r(name) after(1, name) after(1, 5) end`,
		head + `function X:here() local t = self.list t[1] = 2 table.insert(t, 1) self.async:inc() self:inc() self:show() end`,
		head + `function X:here() local X = {} X.n = 1 X:any() local x = {} x.n = 2 x:any() end`,
		head + `function X.replicated:r(x, y) x:nosuch() y.inc = 1 end`,
		`local defs = {o = object "t"} function defs.o.replicated:m() end local U = object "u" function U.replicated:r() t:m() end`,
		`local name = "a" local A = object "a" local function get(t) return t[name] end function A.query:m() return get(self) end`,
	} {
		if got := Check([]command.Script{{Name: "t.lua", Source: src}}); len(got) != 0 {
			t.Errorf("%s\n%v", src, got)
		}
	}
	two := []command.Script{
		{Name: "a.lua", Source: `object("y", "x") local A = object "a" function A.replicated:r() x:inc() y:inc() x.n = 1 x.other = 2 end`},
		{Name: "b.lua", Source: `local X = object "x" function X.replicated:inc() end`},
	}
	if got := Check(two); len(got) != 0 {
		t.Error(got)
	}
	r := newRig(t)
	r.mustDeploy("b.lua", two[1].Source)
	for _, src := range []string{two[0].Source, `local A = object "a" function A.replicated:r() x:inc() x:nosuch() x.n = 1 end`} {
		if res := r.deploy("a.lua", src); res.Code != command.CodeOK {
			t.Error(show(res))
		}
	}
}
