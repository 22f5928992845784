package luafsm

import (
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// TestRandomInQueries: a query draws the same numbers from the same version on
// every node, and others from another version.
func TestRandomInQueries(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("dice.lua", `
local Dice = object "dice"
function Dice:init() self.n = 0 end
function Dice.replicated:tick() self.n = self.n + 1 end
function Dice.query:roll() return random(1e15), random() end
`)
	roll := command.AppendQuery(nil, "dice", "roll", nil)
	ask := func(m *Machine) string {
		v := m.Publish()
		defer v.Release()
		return show(decodeResult(t, NewQuerier().Query(v, roll, nil)))
	}
	seen := map[string]bool{}
	for range 20 {
		r.call("dice", "tick")
		first := ask(r.m)
		if second, other := ask(r.m), ask(restored(t, r.m)); second != first || other != first {
			t.Fatalf("one version gave %s, %s and after a restore %s", first, second, other)
		}
		seen[first] = true
	}
	if len(seen) != 20 {
		t.Errorf("20 versions gave %d different rolls", len(seen))
	}
}
