package luafsm

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// instances is a script with n objects that have the methods of c.
func instances(n int) string {
	var b strings.Builder
	b.WriteString("local C = object 'c'\nfunction C.query:get() end\n")
	for i := range n {
		fmt.Fprintf(&b, "object('a_%d', 'c')\n", i)
	}
	return b.String()
}

// allocated is how many bytes do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Many objects cost as much each as few, in one deploy and in one entry. Where
// each copied what is known of the others, a deploy of 8,000 took 8 s.
func TestManyObjectsAreLinear(t *testing.T) {
	const few, many, slack = 200, 1900, 3
	deployed := func(n int) uint64 {
		r := newRig(t)
		src := instances(n)
		return allocated(func() { r.mustDeploy("c.lua", src) }) / uint64(n)
	}
	created := func(n int) uint64 {
		r := newRig(t)
		r.mustDeploy("c.lua", instances(0))
		var cmds [][]byte
		for i := range n {
			cmds = append(cmds, command.AppendCreate(nil, 0, 0, fmt.Sprint("a_", i), "c"))
		}
		return allocated(func() { r.apply(cmds...) }) / uint64(n)
	}
	migrated := func(n int) uint64 {
		r := newRig(t)
		r.mustDeploy("c.lua", instances(n))
		src := strings.Replace(instances(n), "object 'c'", "object('c', {version = 2})", 1)
		return allocated(func() { r.mustDeploy("c.lua", src) }) / uint64(n)
	}
	for name, do := range map[string]func(int) uint64{"deploy": deployed, "create": created, "migrate": migrated} {
		if a, b := do(few), do(many); b > slack*a {
			t.Errorf("%s: %d bytes for each of %d objects, %d for each of %d", name, a, few, b, many)
		}
	}
}

// A version goes on knowing the objects that there were, whatever happens to
// them; a command that fails or is tried out leaves them as they are.
func TestVersionsKeepTheirObjects(t *testing.T) {
	r := newRig(t)
	create := func(name string) []byte { return command.AppendCreate(nil, 0, 0, name, "t") }
	drop := func(name string) []byte { return command.AppendDrop(nil, 0, 0, name) }
	src := func(version int) string {
		return fmt.Sprintf(`local T = object("t", {version = %d})
function T:init() self.n = 1 if fails then error("no") end end
function T.query:get() return self.n end`, version)
	}
	source := func(version int) string { return strings.Replace(src(version), "fails", "index() == 18", 1) }
	r.mustDeploy("t.lua", source(1))
	r.apply(create("u"))
	v := r.m.Publish()
	defer v.Release()
	knows := func(what string, v *Version, want string) {
		t.Helper()
		r.expect(what, strings.Join(v.roots.names(), " "), want)
		for _, name := range v.roots.names() {
			o := v.roots.byName[name]
			r.expect(what, fmt.Sprint(o.name, v.roots.byTable[o.table] == o), name+"true")
			r.expect(what, show(decodeResult(t, NewQuerier().Query(v, command.AppendQuery(nil, name, "get", nil), nil))), "1")
		}
		if len(v.roots.byTable) != len(v.roots.byName) {
			t.Errorf("%s: %d tables of %d objects", what, len(v.roots.byTable), len(v.roots.byName))
		}
	}
	now := func(what, want string) {
		t.Helper()
		v := r.m.Publish()
		defer v.Release()
		knows(what, v, want)
		if r.m.prog.x.roots != r.m.roots {
			t.Errorf("%s: the program knows other objects than the machine", what)
		}
	}
	for _, cmd := range [][]byte{create("w"), drop("u"), command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "t.lua", Source: source(2)}})} {
		r.apply(create("z"), drop("z")) // now the roots are the machine's own
		r.m.DryRun(cmd, r.clock, nil)
		now("after a dry run", "t u")
	}
	r.expect("two in one entry", fmt.Sprint(len(r.apply(create("w"), create("x")))), "2")
	knows("before two were created", v, "t u")
	now("created", "t u w x")
	r.apply(drop("u"), create("u"), drop("x"))
	knows("before one was dropped", v, "t u")
	now("dropped", "t u w")
	r.mustDeploy("t.lua", source(2))
	knows("before a deploy", v, "t u")
	if got := v.roots.byName["u"].version; got != 1 {
		t.Errorf("u has version %d in an old version", got)
	}
	now("deployed", "t u w")
	for r.m.Index() < 17 {
		r.apply(create("w"))
	}
	r.expect("init fails", r.cmd(create("y")), "script: t.lua:2: no")
	r.expect("the same entry", fmt.Sprint(r.m.Index()), "18")
	now("after a failure", "t u w")
	r.expect("again", r.cmd(create("y")), "")
	now("again", "t u w y")
}
