package luafsm

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// BenchmarkApplyIncSession is BenchmarkApplyInc by a client that waits for each
// answer (window 1) or has 16 calls under way.
func BenchmarkApplyIncSession(b *testing.B) {
	for _, window := range []uint64{0, 1, 16, 1000} {
		b.Run(map[uint64]string{0: "none", 1: "window=1", 16: "window=16", 1000: "window=1000"}[window], func(b *testing.B) {
			r := newRig(b)
			r.mustDeploy("counter.lua", script(b, "counter.lua"))
			id := r.open()
			const n = 1000
			inc := command.AppendCall(nil, 0, 0, "counter", "inc", args(1))
			cmds := make([][]byte, n)
			var res Results
			serial := uint64(0)
			b.ReportAllocs()
			for i := 0; i < b.N; i += n {
				b.StopTimer()
				for i := range cmds {
					cmds[i] = inc
					if serial++; window > 0 {
						cmds[i] = command.AppendIn(nil, inc, id, serial, serial-min(serial, window))
					}
				}
				data := batch(1, 1, cmds...)
				b.StartTimer()
				res.Reset()
				r.m.Apply(raft.Entry{Index: r.m.Index() + n, Span: n, Kind: raft.EntryBatch, Data: data}, &res)
			}
		})
	}
}

// open opens a session.
func (r *rig) open() uint64 {
	r.t.Helper()
	res := r.apply(command.AppendOpen(nil))[0]
	if res.Code != command.CodeOK {
		r.t.Fatal(show(res))
	}
	return res.Index
}

// in is a call of a session; of the floor only what is below the serial counts.
func in(id, serial, acked uint64, object, method string, values ...any) []byte {
	return command.AppendIn(nil, command.AppendCall(nil, 0, 0, object, method, args(values...)), id, serial, acked)
}

const sessionScript = `
local T = object "t"
function T:init() self.n = 0 end
function T.replicated:inc(k) self.n = self.n + (k or 1) return self.n end
function T.replicated:fail(text) self.n = self.n + 1000 error(text or "no") end
function T.replicated:spin() self.n = self.n + 1000 while true do end end
function T.replicated:big(k) self.n = self.n + 1 return ("x"):rep(k) end
function T.replicated:draw() return random(1000000000), index(), now() end
function T.replicated:who() return caller() end
function T.query:get() return self.n end
`

func sessionRig(t *testing.T) (*rig, uint64) {
	r := newRig(t)
	r.mustDeploy("t.lua", sessionScript)
	return r, r.open()
}

// once applies a command twice in one batch and again in a later one, and
// expects the same result each time.
func (r *rig) once(cmd []byte) command.Result {
	r.t.Helper()
	res := r.apply(cmd, cmd)
	r.seed++
	res = append(res, r.apply(cmd)[0])
	for _, again := range res[1:] {
		if !reflect.DeepEqual(again, res[0]) {
			r.t.Fatalf("a further try gives %s at %d, the first %s at %d", show(again), again.Index, show(res[0]), res[0].Index)
		}
	}
	return res[0]
}

func (r *rig) n() string {
	r.t.Helper()
	return show(r.query(command.AppendQuery(nil, "t", "get", nil)))
}

func TestSessionRepeatsTheFirstResult(t *testing.T) {
	r, id := sessionRig(t)
	for i, c := range []struct {
		cmd  []byte
		want string // beginning of the result
		n    string // the counter then
	}{
		{command.AppendCall(nil, 0, 0, "t", "inc", args(5)), "5", "5"},
		{command.AppendCall(nil, 0, 0, "t", "draw", nil), "", "5"},
		{command.AppendCall(nil, 0, 0, "t", "fail", args("no")), "script: t.lua:5: no", "5"},
		{command.AppendCall(nil, 0, 0, "t", "spin", nil), "budget: ", "5"},
		{command.AppendCall(nil, 0, 0, "t", "inc", args("x")), "script: ", "5"},
		{command.AppendCall(nil, 0, 0, "t", "nothing", nil), "not_found: ", "5"},
		{command.AppendCall(nil, 0, 0, "t", "get", nil), "bad_argument: ", "5"},
		{command.AppendCall(nil, 0, 0, "t", "who", nil), fmt.Sprintf("%016x", id), "5"},
		{command.AppendCall(nil, 0, 0, "t", "big", args(1000)), "xxx", "6"},
		{command.AppendCreate(nil, 0, 0, "u", "t"), "", "6"},
		{command.AppendDrop(nil, 0, 0, "u"), "", "6"},
		{command.AppendSetting(nil, 0, 0, "events", 7), "", "6"},
		{command.AppendSetting(nil, 0, 0, "events", -7), "bad_argument: ", "6"},
		{command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "v.lua", Source: "local V = object 'v'"}}), "v: new, version 1 (v.lua)", "6"},
		{command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "w.lua", Source: "local = 1"}}), "bad_argument: ", "6"},
	} {
		for _, acked := range []uint64{0, uint64(i)} { // what is not acknowledged makes no difference
			res := r.once(command.AppendIn(nil, c.cmd, id, uint64(i)+1, acked))
			if got := show(res); !strings.HasPrefix(got, c.want) {
				t.Errorf("call %d: %s, want %s", i+1, got, c.want)
			}
		}
		if got := r.n(); got != c.n {
			t.Errorf("after call %d the counter is %s, want %s", i+1, got, c.n)
		}
	}
}

// What was not found stays not found for the tries of that call.
func TestSessionResultOutlivesItsReason(t *testing.T) {
	r, id := sessionRig(t)
	call := in(id, 1, 0, "late", "inc")
	r.expect("before", show(r.once(call)), `not_found: no object "late"`)
	r.cmd(command.AppendCreate(nil, 0, 0, "late", "t"))
	r.expect("after", show(r.once(call)), `not_found: no object "late"`)
	r.expect("a new call", show(r.once(in(id, 2, 1, "late", "inc"))), "1")
}

func TestSessionFloorAndWindow(t *testing.T) {
	r, id := sessionRig(t)
	call := func(serial, acked uint64) string {
		t.Helper()
		return show(r.apply(in(id, serial, acked, "t", "inc"))[0])
	}
	for _, c := range []struct {
		serial, acked uint64
		want          string
	}{
		{1, 0, "1"},
		{3, 0, "2"}, // a skipped serial may come later, or never
		{2, 0, "3"},
		{3, 1, "2"},
		{5, 3, "4"},
		{3, 0, fmt.Sprintf("bad_argument: call 3 of session %016x was acknowledged already", id)}, // the floor stays
		{4, 3, "5"},
		{7, 7, fmt.Sprintf("bad_argument: call 7 of session %016x was acknowledged already", id)}, // and is now 7
		{6, 0, fmt.Sprintf("bad_argument: call 6 of session %016x was acknowledged already", id)},
		{0, 0, fmt.Sprintf("bad_argument: call 0 of session %016x was acknowledged already", id)},
		{7 + 1024, 0, "6"},
		{8 + 1024, 0, fmt.Sprintf("overloaded: call 1032 of session %016x: more than 1024 calls are not acknowledged", id)},
		{8 + 1024, 8, "7"},
		{1 << 53, 8, "bad_argument: numbers of a session end at 9007199254740991"},
	} {
		if got := call(c.serial, c.acked); got != c.want {
			t.Errorf("call %d, acknowledged %d: %s, want %s", c.serial, c.acked, got, c.want)
		}
	}
	r.expect("counter", r.n(), "7")
}

// Calls of a full window in any order, each tried at random times, happen once.
func TestSessionWindowInAnyOrder(t *testing.T) {
	r, id := sessionRig(t)
	rng := rand.New(rand.NewPCG(1, 2))
	first := map[uint64]string{}
	floor, top := uint64(0), uint64(0)
	for range 20_000 {
		serial := floor + 1 + rng.Uint64N(sessionWindow)
		top = max(top, serial)
		got := show(r.apply(in(id, serial, floor, "t", "inc"))[0])
		if want, again := first[serial]; again && got != want {
			t.Fatalf("call %d: %s, the first time %s", serial, got, want)
		}
		first[serial] = got
		if rng.IntN(30) == 0 {
			floor += rng.Uint64N(top - floor + 1)
		}
		if rng.IntN(3000) == 0 {
			r.m = restored(t, r.m)
		}
	}
	r.expect("counter", r.n(), fmt.Sprint(len(first)))
}

func TestSessionExpires(t *testing.T) {
	r, id := sessionRig(t)
	gone := fmt.Sprintf("session: session %016x has expired; this try of the call had no effect", id)
	r.expect("never opened", show(r.apply(in(1<<40, 1, 0, "t", "inc"))[0]), "session: session 0000010000000000 has expired; this try of the call had no effect")
	r.cmd(command.AppendSetting(nil, 0, 0, "session_ttl", 10))
	for i := range 5 { // every command renews it
		r.clock += 10_000
		r.expect("in time", show(r.once(in(id, 1, 0, "t", "inc"))), "1")
		other := r.open()
		r.expect("another", show(r.once(in(other, 1, 0, "t", "inc"))), fmt.Sprint(i+2))
	}
	r.clock -= 1_000_000 // a leader whose clock is behind: the log clock stays
	r.expect("clock back", show(r.once(in(id, 1, 0, "t", "inc"))), "1")
	r.clock += 1_011_000
	r.expect("too late", show(r.apply(in(id, 1, 0, "t", "inc"))[0]), gone)
	r.expect("a new call", show(r.apply(in(id, 2, 0, "t", "inc"))[0]), gone)
	r.expect("counter", r.n(), "6")
	if n := r.m.store.Section(sectionSessions).Count(nil); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// An entry removes some of the sessions that have expired; those that are left
// are refused all the same.
func TestSessionExpiryIsBounded(t *testing.T) {
	r, _ := sessionRig(t)
	var ids []uint64
	for range 3 * sessionsDropMax {
		ids = append(ids, r.open())
	}
	r.clock += 3601 * 1000
	last := ids[len(ids)-1]
	r.expect("expired, not removed", strings.SplitN(show(r.apply(in(last, 1, 0, "t", "inc"))[0]), " ", 2)[0], "session:")
	if n, want := r.m.store.Section(sectionSessions).Count(nil)/2, 1+len(ids)-sessionsDropMax; n != want {
		t.Errorf("%d sessions are left, want %d", n, want)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	r, a := sessionRig(t)
	r.cmd(command.AppendSetting(nil, 0, 0, "sessions", 3))
	b, c := r.open(), r.open()
	r.clock += 5000
	r.expect("a is used", show(r.once(in(a, 1, 0, "t", "inc"))), "1")
	d := r.open()
	ok := func(id uint64) bool { return r.apply(in(id, 9, 0, "t", "get"))[0].Code != command.CodeSession }
	if !ok(a) || ok(b) || !ok(c) || !ok(d) {
		t.Errorf("%v %v %v %v, want all but the second, which was used least recently", ok(a), ok(b), ok(c), ok(d))
	}
	r.cmd(command.AppendSetting(nil, 0, 0, "sessions", 1))
	e := r.open()
	if ok(a) || ok(c) || ok(d) || !ok(e) {
		t.Errorf("%v %v %v %v, want the last alone", ok(a), ok(c), ok(d), ok(e))
	}
}

func TestSessionLargeResults(t *testing.T) {
	r, id := sessionRig(t)
	bytes := func() string {
		v, _ := r.m.store.Section(sectionMachine).GetString(nil, "session_bytes").(lua.LNumber)
		return v.String()
	}
	r.expect("first try", show(r.apply(in(id, 1, 0, "t", "big", resultBytesMax))[0])[:3], "xxx")
	r.expect("further try", show(r.once(in(id, 1, 0, "t", "big", resultBytesMax))), "happened: too large to be given again")
	r.apply(in(id, 2, 1, "t", "fail", strings.Repeat("long ", 1000)))
	r.apply(in(id, 3, 1, "t", "big", 10_000), in(id, 4, 1, "t", "big", 20_000))
	r.expect("kept", show(r.once(in(id, 4, 1, "t", "big", 20_000)))[:3], "xxx")
	r.expect("happened", r.n(), "3")
	if bytes() == "0" {
		t.Error("no bytes are counted")
	}
	r.apply(in(id, 5, 4, "t", "inc"))
	r.expect("acknowledged", bytes(), "0")
	serial := uint64(5)
	for range sessionBytesMax/60_000 + 1 {
		serial++
		r.apply(in(id, serial, 5, "t", "big", 60_000))
	}
	r.expect("beyond the session's share", show(r.apply(in(id, serial, 5, "t", "big", 60_000))[0]), "happened: too large to be given again")
	r.clock += 3601 * 1000
	r.open()
	r.expect("expired", bytes(), "0")
}

// Sessions are part of the state: a machine that was restored, or that applied
// the same entries, knows what happened.
func TestSessionsInDumpAndReplay(t *testing.T) {
	a, id := sessionRig(t)
	b, _ := sessionRig(t)
	var want []string
	for i := range uint64(40) {
		cmd := in(id, i+1, i/2, "t", []string{"inc", "fail", "draw"}[i%3])
		a.clock += 700
		b.clock = a.clock
		want = append(want, show(a.apply(cmd)[0]))
		b.apply(cmd)
		if a.m.Digest() != b.m.Digest() {
			t.Fatalf("digests differ after call %d", i+1)
		}
	}
	c := &rig{t: t, m: restored(t, a.m), clock: a.clock, seed: 99}
	for i := uint64(20); i < 40; i++ {
		if got := show(c.apply(in(id, i+1, 0, "t", []string{"inc", "fail", "draw"}[i%3]))[0]); got != want[i] {
			t.Errorf("call %d after a restore: %s, want %s", i+1, got, want[i])
		}
	}
	a.clock += 4_000_000
	c.clock = a.clock
	c.m = restored(t, a.m)
	a.cmd(command.AppendTick(nil))
	c.seed = a.seed
	c.cmd(command.AppendTick(nil))
	if a.m.Digest() != c.m.Digest() || a.m.store.Section(sectionSessions).Count(nil) != 0 {
		t.Error("expiry differs after a restore")
	}
}

// A dry run neither happens nor is kept, but knows what has happened.
func TestSessionDryRun(t *testing.T) {
	r, id := sessionRig(t)
	deploy := command.AppendIn(nil, command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "v.lua", Source: "local V = object 'v'"}}), id, 1, 0)
	before := r.m.Digest()
	dry := func() string { return show(decodeResult(t, r.m.DryRun(deploy, r.clock, nil))) }
	r.expect("dry", dry(), "v: new, version 1 (v.lua)")
	if r.m.Digest() != before {
		t.Error("a dry run has changed the state")
	}
	r.expect("real", show(r.once(deploy)), "v: new, version 1 (v.lua)")
	r.expect("dry again", dry(), "v: new, version 1 (v.lua)")
	other := command.AppendIn(nil, command.AppendCall(nil, 0, 0, "t", "inc", nil), 1<<30, 1, 0)
	r.expect("unknown session", show(decodeResult(t, r.m.DryRun(other, r.clock, nil))), "1")
	r.expect("nothing happened", r.n(), "0")
}

// A session opens no other: at the limit that could end the one that it runs in,
// which would be remembered all the same.
func TestSessionOpensNoSession(t *testing.T) {
	r, id := sessionRig(t)
	r.cmd(command.AppendSetting(nil, 0, 0, "sessions", 1))
	r.clock += 5000
	for serial, cmd := range map[uint64][]byte{1: command.AppendOpen(nil), 2: command.AppendTick(nil)} {
		got := show(decodeResult(t, r.m.DryRun(command.AppendIn(nil, cmd, id, serial, 0), r.clock, nil)))
		if !strings.HasPrefix(got, "bad_argument: unreadable command") {
			t.Errorf("%d: %s", serial, got)
		}
		got = show(r.apply(command.AppendIn(nil, cmd, id, serial, 0))[0])
		if !strings.HasPrefix(got, "bad_argument: unreadable command") {
			t.Errorf("%d: %s", serial, got)
		}
	}
	if n := r.m.store.Section(sectionSessions).Count(nil); n != 2 {
		t.Errorf("one session has %d entries", n)
	}
	r.expect("the session is still there", show(r.once(in(id, 1, 0, "t", "inc"))), "1")
}
