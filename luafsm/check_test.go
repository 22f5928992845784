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
