package luafsm

import (
	"runtime"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// What outlives a call takes about its own length, wherever it was cut from.
func TestNothingKeptPinsWhatItWasCutFrom(t *testing.T) {
	const text = `local s = "=y" .. ("x"):rep(4e6) `
	for _, c := range []struct{ name, body string }{
		{"sub", text + `keep(s:sub(1, 2))`},
		{"sub of one byte", text + `keep(s:sub(1, 1))`},
		{"sub of sub", text + `while #s > 10 do s = s:sub(1, #s * 0.9) end keep(s)`},
		{"all but a byte, then a part", text + `s = s:sub(2) keep(s:sub(1, 5))`},
		{"match", text + `keep(s:match("=y"))`},
		{"match with captures", text + `keep((select(2, s:match("(=)(y)"))))`},
		{"find", text + `keep((select(3, s:find("(=y)"))))`},
		{"gmatch", text + `for k, v in s:gmatch("(=)(y)") do keep(k) keep(v) break end`},
		{"gmatch without captures", text + `for k in s:gmatch("=y") do keep(k) break end`},
		{"gsub with a function", text + `s:gsub("=y", function(k) keep(k) end, 1)`},
		{"gsub with a table", text + `s:gsub("=y", setmetatable({}, {__index = function(_, k) keep(k) end}), 1)`},
		{"gsub with a text", text + `keep((s:gsub("(=y).*", "%1", 1)))`},
		{"key", text + `self.t[s:sub(1, 2) .. index()] = 1 self.t[s:sub(1, 10)] = 1`},
		{"format", text + `keep(("%.2s"):format(s))`},
		{"json", `local s = '["a=' .. ("x"):rep(4e6) .. '", "=y"]' keep(json.decode(s)[2])`},
		{"caught error", text + `local _, e = pcall(error, s:sub(1, 2)) keep(e)`},
		{"in a new table", text + `self.t[#self.t + 1] = {{s:sub(1, 2), k = s:match("=")}}`},
		{"number", text + `keep(tostring(#s))`},
		{"event", text + `emit("x", s:sub(1, 2))`},
		{"topic", text + `emit(s:sub(1, 2))`},
		{"timer", text + `after(100, "run", s:sub(1, 2))`},
		{"result of a session", text + `return s:sub(1, 2)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if got := show(r.deploy("t.lua", `local T = object 't'
function T:init() self.t = {} end
function T.replicated:run(arg)
  local function keep(v) self.t[#self.t + 1] = v end
  `+c.body+`
end`)); got != "t: new, version 1 (t.lua)" {
				t.Fatal(got)
			}
			r.apply(command.AppendSetting(nil, 0, 0, "instructions", 100_000_000))
			session := uint64(r.apply(command.AppendOpen(nil))[0].Index)
			start := live()
			const calls = 12
			for i := range calls {
				res := r.apply(command.AppendIn(nil, command.AppendCall(nil, 0, 0, "t", "run", args()), session, uint64(i+1), 0))[0]
				if res.Code != command.CodeOK {
					t.Fatalf("%.200s", show(res))
				}
			}
			const most = 16 << 20 // the Lua state may hold what the last call has left on its stack
			if n := live() - start; n > most {
				t.Errorf("%d calls pin %d MB", calls, n>>20)
			}
			runtime.KeepAlive(r)
		})
	}
}

// live is how many bytes of the heap are in use.
func live() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
