package luafsm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// An iterator that a script's chunk made keeps its place: a machine that was
// restored, on which the chunk ran again, would be at another one.
func TestChunkKeepsNoIterator(t *testing.T) {
	for name, chunk := range map[string]string{
		"gmatch":            `local it = ("a b c"):gmatch("%a+")`,
		"pairs":             `local it = pairs({1, 2, 3})`,
		"in a table":        `local box = {{("a b c"):gmatch("%a+")}} local function it() return box[1][1]() end`,
		"in a closure":      `local function make() local inner = ("a b"):gmatch("%a") return function() return inner() end end local it = make()`,
		"behind metatables": `local box = setmetatable({}, {__index = {("a b"):gmatch("%a")}}) local function it() return box[1]() end`,
	} {
		r := newRig(t)
		res := r.deploy("t.lua", "local T = object 't'\n"+chunk+"\nfunction T.replicated:run() self.w = it() return self.w end")
		if res.Code != command.CodeBadArgument || !strings.Contains(res.Message, "iterator") || !strings.HasPrefix(res.Message, "t.lua:") {
			t.Errorf("%s: %v %q", name, res.Code, res.Message)
		}
	}
	r := newRig(t)
	r.mustDeploy("t.lua", `local T = object 't'
		local words = {}
		for w in ("a b c"):gmatch("%a") do words[#words + 1] = w end
		for k in pairs(words) do words[k] = words[k] .. k end
		local next, each = next, pairs
		function T.replicated:run() local out = "" for _, w in each(words) do out = out .. w end return out, (next(words)) end`)
	r.expect("iterators that the chunk has used up", show(r.call("t", "run")), "a1b2c3 1")
}

// What a chunk sees must be the same when it runs again, whatever the settings
// are then.
func TestChunkSeesNoSettings(t *testing.T) {
	r := newRig(t)
	for name, value := range map[string]float64{"nesting": 4, "string_bytes": 4096} {
		if res := r.apply(command.AppendSetting(nil, 0, 0, name, value)); res[0].Code != command.CodeOK {
			t.Fatal(show(res[0]))
		}
	}
	r.mustDeploy("t.lua", `local T = object 't'
		local deep = pcall(copy, {{{{{{{{1}}}}}}}})
		local json = pcall(json.encode, {{{{{{{{1}}}}}}}})
		local long = #("x"):rep(10000)
		function T.replicated:run() self.n = (self.n or 0) + 1 return tostring(deep) .. tostring(json) .. long end`)
	live := show(r.call("t", "run"))
	var dump bytes.Buffer
	v := r.m.Publish()
	if err := v.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	v.Release()
	m, err := Restore(&dump, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.m = m
	if restored := show(r.call("t", "run")); restored != live {
		t.Errorf("live %s, restored %s", live, restored)
	}
}
