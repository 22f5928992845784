package luafsm

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

const codeScript = `local T = object 't'
local list, n = {1, 2, {3}}, 7
local function add(a) return a + n end
function T:init() self.x = 1 end
function T.replicated:run(a) self.x = self.x + add(a) return self.x, list[3][1], #list, ("x"):rep(3) end
function T.replicated:deep() local function f() return 1 + f() end return f() end
function T.query:sink() local function f() return 1 + f() end return f() end
function T.query:get() return self.x, add(1) end
`

// large is a script of n functions, whose code takes long to make.
func large(n int) string {
	return strings.Repeat("do local _ = function(a) local x = a + 1 return x * a - 2 .. 'y' end end\n", n)
}

// Scripts are compiled when they are deployed, or restored, and never again:
// neither by an overflow, nor by the deploy of another, nor by a Querier.
func TestScriptsAreCompiledOnce(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", codeScript)
	proto := func(p *program) any { return p.defs["t"].methods["run"].fn.Proto }
	was := proto(r.m.prog)
	r.mustDeploy("u.lua", "local U = object 'u'")
	r.expect("overflow", show(r.call("t", "deep")), "budget: t.lua:6: stack overflow")
	if proto(r.m.prog) != was {
		t.Error("an overflow has compiled a script again")
	}
	r.expect("drop", r.cmd(command.AppendDrop(nil, 0, 0, "u")), "")
	if proto(r.m.prog) != was {
		t.Error("the machine has compiled a script again")
	}
	v, q := r.m.Publish(), NewQuerier()
	defer v.Release()
	for _, c := range []struct{ method, want string }{{"get", "1 8"}, {"sink", "budget: t.lua:7: stack overflow"}, {"get", "1 8"}} {
		if got := show(decodeResult(t, q.Query(v, command.AppendQuery(nil, "t", c.method, nil), nil))); got != c.want {
			t.Errorf("query %s: %s", c.method, got)
		}
	}
	if proto(q.prog) != was {
		t.Error("a Querier has compiled a script again")
	}
}

// What an overflow costs does not depend on how much code there is.
func TestOverflowIsCheap(t *testing.T) {
	overflow := func(extra int) uint64 {
		r := newRig(t)
		r.mustDeploy("t.lua", codeScript)
		for i := range extra {
			r.mustDeploy(fmt.Sprintf("l%d.lua", i), large(500))
		}
		r.call("t", "deep")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.call("t", "deep")
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	if alone, among := overflow(0), overflow(10); among > alone+1000 {
		t.Errorf("%d allocations, %d with more scripts", alone, among)
	}
}

// After an overflow the machine is as one that was restored: equal results,
// charges and digests.
func TestOverflowLeavesNoTrace(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", codeScript)
	r.expect("run", show(r.call("t", "run", 5)), "13 3 3 xxx")
	r.call("t", "deep")
	var dump bytes.Buffer
	v := r.m.Publish()
	defer v.Release()
	if err := v.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	m, err := Restore(&dump, Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := newRig(t)
	other.m, other.clock = m, r.clock
	charged := func(r *rig, method string) string {
		before := r.m.Charged()
		res := r.call("t", method, 2)
		return fmt.Sprintf("%s, %d steps, %d bytes", show(res), r.m.Charged().Steps-before.Steps, r.m.Charged().Bytes-before.Bytes)
	}
	for _, method := range []string{"run", "deep", "deep", "run"} {
		if a, b := charged(r, method), charged(other, method); a != b || r.m.Digest() != m.Digest() {
			t.Errorf("%s: %s, restored %s", method, a, b)
		}
	}
}

// Making code is charged to the deploy, before it is made, and what there may be
// of it is bounded.
func TestDeployIsCharged(t *testing.T) {
	r := newRig(t)
	deploy := func(name, source string) (steps uint64) {
		before := r.m.Charged().Steps
		r.mustDeploy(name, source)
		return r.m.Charged().Steps - before
	}
	if n := deploy("a.lua", large(500)); n < 500*24*tokenSteps {
		t.Errorf("12,000 tokens are charged %d steps", n)
	}
	if n := deploy("b.lua", strings.Repeat("--\n", 80_000)); n < 100_000 {
		t.Errorf("240,000 bytes of comments are charged %d steps", n)
	}
	if n := deploy("c.lua", strings.Repeat("do local _ = 5e-324 end\n", 1000)); n < 400_000 {
		t.Errorf("1000 numerals that take long are charged %d steps", n)
	}
	var list []command.Script
	for i := range 10 {
		list = append(list, command.Script{Name: fmt.Sprintf("l%d.lua", i), Source: large(1900)})
	}
	r.expect("too much at once", show(r.apply(command.AppendDeploy(nil, 0, 0, list))[0]), "budget: instruction limit reached")
	for i := range 40 {
		list = append(list, command.Script{Name: fmt.Sprintf("c%d.lua", i), Source: strings.Repeat(" ", 120_000)})
	}
	r.expect("too much in all", show(r.apply(command.AppendDeploy(nil, 0, 0, list[10:]))[0]),
		"bad_argument: scripts of 5100500 bytes together, at most 4194304 are allowed")
	if n := len(r.m.code.scripts); n != 3 {
		t.Errorf("%d scripts are there", n)
	}
}

// A fault at each token is found in time that grows with the script.
func TestFaultsAreBounded(t *testing.T) {
	src, f := readSource("t.lua", strings.Repeat("foo() ", 12_000), 1<<20)
	if f != nil {
		t.Fatal(f)
	}
	if a, b, c := src.find("foo", 1, 0), src.find("foo", 1, 11_999), src.find("foo", 1, 12_000); a != 1 || b != 71_995 || c != 1 {
		t.Errorf("columns %d, %d, %d", a, b, c)
	}
	tokens := src.tokens
	src.tokens = nil
	if len(tokens) == 0 || src.find("foo", 1, 11_999) != 71_995 {
		t.Error("find looks at all tokens again")
	}
}
