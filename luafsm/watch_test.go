package luafsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	lua "github.com/yuin/gopher-lua"
)

const watched = `local T = object("t", {version = 1})
function T:init() self.n, self.data, self.list = 0, {colour = "red", size = {w = 1}}, {"a", "b"} end
function T.replicated:inc() self.n = self.n + 1 return self.n end
function T.replicated:fail() self.n = 99; emit("e", 99); error("no") end
function T.replicated:caught() pcall(function() self.n = 50; error("x") end); self.n = self.n + 1 end
function T.replicated:put(k, v) self.data[k] = v end
function T.replicated:data_is(v) self.data = v end
function T.replicated:fix(v) self.data.colour = v; self.data = copy(self.data) end
function T.replicated:front(v) table.insert(self.list, 1, v) end
function T.replicated:push(v) table.insert(self.list, v) end
function T.replicated:say(...) emit(...) end
function T.replicated:bad() emit("e", 1); self.n = print end
function T.replicated:later() after(0, "inc"); after(0, "fail"); after(0, "inc") end
function T.replicated:big(n) self.blob = ("x"):rep(n) end
function T.replicated:wide(n) self.blob = {}; for i = 1, n do self.blob[i] = i end end
`

// watchRig is a rig whose watches have names.
type watchRig struct {
	*rig
	names map[*Watch]string
}

func newWatchRig(t *testing.T) *watchRig {
	r := newRig(t)
	r.mustDeploy("t.lua", watched)
	return &watchRig{r, map[*Watch]string{}}
}

// place watches one: name.key.key, where keys that are digits are numbers.
func (r *watchRig) place(name string) *Watch {
	parts := strings.Split(name, ".")
	var keys []lua.LValue
	for _, p := range parts[1:] {
		if n := 0; len(p) == 1 && p[0] <= '9' {
			fmt.Sscan(p, &n) //nolint:errcheck // a digit
			keys = append(keys, lua.LNumber(n))
			continue
		}
		keys = append(keys, lua.LString(p))
	}
	w := r.m.WatchPlace(parts[0], keys)
	r.names[w] = name
	return w
}

func (r *watchRig) topic(name string) *Watch {
	w := r.m.WatchTopic(name)
	r.names[w] = "@" + name
	return w
}

// told are the changes of the last entry as text.
func (r *watchRig) told() string {
	var out []string
	for _, c := range r.m.Changes() {
		line := fmt.Sprintf("%d %s", c.Index, r.names[c.Watch])
		switch {
		case c.Event.Seq != 0:
			line += fmt.Sprintf(" #%d@%d %s.%s(%s)", c.Event.Seq, c.Event.Index, c.Event.Object, c.Event.Topic, showValues(c.Event.Values))
		case c.TooLarge:
			line += "[" + showValues(c.Path) + "] too large"
		case c.Value == nil:
			line += "[" + showValues(c.Path) + "] gone"
		default:
			line += "[" + showValues(c.Path) + "]=" + showValues(append([]byte{0x91}, c.Value...))
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

// Each call's changes are reported under its own index, and only those of calls
// that happened.
func TestWatchCalls(t *testing.T) {
	r := newWatchRig(t)
	r.call("t", "inc")
	r.expect("nobody watches", r.told(), "")
	r.place("t")
	call := func(m string, a ...any) []byte { return command.AppendCall(nil, 0, 0, "t", m, args(a...)) }
	r.apply(call("inc"), call("fail"), call("inc"), call("caught"))
	r.expect("a batch", r.told(), "3 t[n]=2; 5 t[n]=3; 6 t[n]=51")
	r.expect("they are given once", r.told(), "")
	r.call("t", "fail")
	r.expect("rolled back", r.told(), "")
	r.m.DryRun(call("inc"), r.clock, nil)
	r.expect("tried only", r.told(), "")
	r.call("t", "put", "colour", "red")
	r.expect("the same value", r.told(), "")
	r.call("t", "put", "colour", nil)
	r.expect("removed", r.told(), "9 t[data colour] gone")
	r.call("t", "push", "c")
	r.expect("appended", r.told(), `10 t[list 3]=c`)
	r.call("t", "front", "z")
	r.expect("moved", r.told(), `11 t[list]={z,a,b,c}`)
}

func TestWatchPlaces(t *testing.T) {
	r := newWatchRig(t)
	for _, p := range []string{"t.data.colour", "t.data.size.w", "t.data", "t.list.1", "t.none", "u"} {
		r.place(p)
	}
	r.call("t", "inc")
	r.expect("elsewhere", r.told(), "")
	r.call("t", "put", "colour", "blue")
	r.expect("there", r.told(), "3 t.data[colour]=blue; 3 t.data.colour[]=blue")
	r.call("t", "data_is", nil)
	r.expect("above, gone", r.told(), "4 t.data[] gone; 4 t.data.colour[] gone; 4 t.data.size.w[] gone")
	r.call("t", "data_is", 5)
	r.expect("above, no table", r.told(), "5 t.data[]=5")
	r.call("t", "data_is", []byte{0x81, 0xa6, 'c', 'o', 'l', 'o', 'u', 'r', 1})
	r.expect("above, back", r.told(), "6 t.data[]={colour=1}; 6 t.data.colour[]=1")
	r.call("t", "fix", 2)
	r.expect("written, then replaced by a copy", r.told(), "7 t.data[]={colour=2}; 7 t.data.colour[]=2")
	r.call("t", "fix", 2)
	r.expect("a copy with the same", r.told(), "8 t.data[]={colour=2}")
	r.call("t", "front", "z")
	r.expect("a sequence that moved", r.told(), "9 t.list.1[]=z")
	r.cmd(command.AppendCreate(nil, 0, 0, "u", "t"))
	r.expect("an object that comes", r.told(), "10 u[]={data={colour=red,size={w=1}},list={a,b},n=0}")
	r.call("u", "inc")
	r.expect("another instance", r.told(), "11 u[n]=1")
	r.cmd(command.AppendDrop(nil, 0, 0, "u"))
	r.expect("an object that goes", r.told(), "12 u[] gone")
}

func TestWatchEvents(t *testing.T) {
	r := newWatchRig(t)
	r.topic("e")
	r.topic(TopicAll)
	r.call("t", "say", "e", 1, "x")
	r.expect("both", r.told(), "2 @e #1@2 t.e(1 x); 2 @* #1@2 t.e(1 x)")
	r.call("t", "say", "f")
	r.expect("one", r.told(), "3 @* #2@3 t.f()")
	r.call("t", "fail")
	r.expect("rolled back", r.told(), "")
	r.call("t", "bad")
	r.expect("refused by the commit", r.told(), "")
	r.m.DryRun(command.AppendCall(nil, 0, 0, "t", "say", args("e")), r.clock, nil)
	r.expect("tried only", r.told(), "")
	r.place("t.n")
	r.call("t", "later")
	r.clock++
	r.apply(command.AppendTick(nil), command.AppendTick(nil), command.AppendTick(nil))
	r.expect("timers, one of which fails", r.told(), "7 t.n[]=1; 9 t.n[]=2")
}

// What is released is not reported any more, and costs nothing.
func TestWatchRelease(t *testing.T) {
	r := newWatchRig(t)
	a, b := r.place("t.n"), r.place("t.n")
	if a != b {
		t.Fatal("two watches of one place")
	}
	a.Release()
	r.call("t", "inc")
	r.expect("one holds it", r.told(), "2 t.n[]=1")
	a.Release()
	e := r.topic("e")
	e.Release()
	r.call("t", "inc")
	r.call("t", "say", "e")
	r.expect("nobody holds it", r.told(), "")
	if len(r.m.watches.objects) != 0 || len(r.m.watches.topics) != 0 {
		t.Errorf("%d objects and %d topics are watched", len(r.m.watches.objects), len(r.m.watches.topics))
	}
	r.place("t.n")
	r.call("t", "inc")
	r.expect("again", r.told(), "5 t.n[]=3")
}

// What a watcher can cost those who call is bounded.
func TestWatchTooLarge(t *testing.T) {
	r := newWatchRig(t)
	r.place("t.blob")
	r.call("t", "big", changeBytesMax)
	r.expect("bytes", r.told(), "2 t.blob[] too large")
	r.call("t", "wide", changeEntriesMax+1)
	r.expect("entries", r.told(), "3 t.blob[] too large")
	const each = changeBytesMax - 100
	var cmds [][]byte
	for i := range changesBytesMax/each + 2 {
		cmds = append(cmds, command.AppendCall(nil, 0, 0, "t", "big", args(each+i)))
	}
	r.apply(cmds...)
	sent, bytes := 0, 0
	for _, c := range r.m.Changes() {
		bytes += len(c.Value)
		if !c.TooLarge {
			sent++
		}
	}
	if bytes > changesBytesMax || sent != changesBytesMax/each {
		t.Errorf("%d bytes in %d changes of one entry", bytes, sent)
	}
}
