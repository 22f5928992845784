package luafsm

import (
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// What one operation is charged at least: the loops of spenders would show too
// small a charge as time only, which no test looks at.
func TestCharges(t *testing.T) {
	for _, c := range []struct {
		name, body string
		steps      uint64
	}{
		{"add", `local x = ("0"):rep(16000) + 1`, 1000},
		{"add, right", `local x = 1 + ("0"):rep(16000)`, 1000},
		{"divide", `local x = ("0"):rep(16000) / 1`, 1000},
		{"power", `local x = 2 ^ ("0"):rep(16000)`, 1000},
		{"negate", `local x = -("0"):rep(16000)`, 1000},
		{"no number", `pcall(function() return ("x"):rep(16000) + 1 end)`, 1000},
		{"bound", `for i = 1, ("0"):rep(16000) do end`, 1000},
		{"step", `for i = 1, 2, ("0"):rep(16000) .. 1 do end`, 1000},
		{"argument", `math.floor(("0"):rep(16000))`, 1000},
		{"max", `math.max(1, ("0"):rep(16000))`, 1000},
		{"position", `local x = ("x"):sub(("0"):rep(16000) .. 1)`, 1000},
		{"format", `string.format("%d", ("0"):rep(16000))`, 1000},
		{"after", `after(("0"):rep(16000), "run")`, 1000},
		{"tonumber", `tonumber(("0"):rep(16000))`, 1000},
		{"tonumber with base", `tonumber(("0"):rep(16000), 8)`, 1000},
		{"json", `json.decode(("1"):rep(300) .. "." .. ("0"):rep(16000))`, 1500},
		{"smallest", `local x = "5e-324" * 1`, 400},
		{"long and small", `local x = ("1" .. ("7"):rep(800) .. "e-1120") * 1`, 1000},
		{"json of the smallest", `json.decode("5e-324")`, 400},
	} {
		r := newRig(t)
		r.mustDeploy("t.lua", wrap(c.body))
		before := r.m.Charged().Steps
		if res := r.call("t", "run"); res.Code != command.CodeOK {
			t.Errorf("%s: %.200s", c.name, show(res))
		}
		if n := r.m.Charged().Steps - before; n < c.steps {
			t.Errorf("%s: %d steps were charged, not %d", c.name, n, c.steps)
		}
	}
}
