package luafsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

// list is events as text: number, index, topic and values.
func list(events []Event, complete bool) string {
	out := []string{fmt.Sprint(complete)}
	for _, e := range events {
		out = append(out, fmt.Sprintf("%d@%d %s.%s(%s)", e.Seq, e.Index, e.Object, e.Topic, showValues(e.Values)))
	}
	return strings.Join(out, "; ")
}

const emitting = `local T = object "t"
function T.replicated:say(n, fail) for i = 1, n do emit("x", i) end if fail then error("no") end end
function T.replicated:big(n) emit("big", ("x"):rep(n)) end
`

// The ring is part of the state: it is bounded, survives dump and restore, has
// nothing of calls that failed, and says when a subscriber has missed something.
func TestEventRing(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", emitting)
	from := func(i raft.Index, most int) string {
		v := r.m.Publish()
		defer v.Release()
		return list(v.EventsFrom(i, most))
	}
	after := func(seq uint64, most int) string {
		v := r.m.Publish()
		defer v.Release()
		return list(v.EventsAfter(seq, most))
	}
	r.expect("none", from(0, 9), "true")
	r.call("t", "say", 2)
	r.call("t", "say", 1, true)
	r.call("t", "say", 1)
	r.expect("all", from(0, 9), "true; 1@2 t.x(1); 2@2 t.x(2); 3@4 t.x(1)")
	r.expect("from an index without events", from(3, 9), "true; 3@4 t.x(1)")
	r.expect("later", from(5, 9), "true")
	r.expect("after one of an index", after(1, 1), "true; 2@2 t.x(2)")
	old := r.m.Publish()
	defer old.Release()
	r.expect("setting", r.cmd(command.AppendSetting(nil, 0, 0, "events", 2)), "")
	r.m = restored(t, r.m)
	r.call("t", "say", 1)
	r.expect("the oldest went", from(0, 9), "false; 3@4 t.x(1); 4@6 t.x(1)")
	r.expect("nothing was missed", from(3, 9), "true; 3@4 t.x(1); 4@6 t.x(1)")
	r.expect("one was missed", after(1, 9), "false; 3@4 t.x(1); 4@6 t.x(1)")
	r.expect("an old version", list(old.EventsFrom(0, 9)), "true; 1@2 t.x(1); 2@2 t.x(2); 3@4 t.x(1)")
	r.cmd(command.AppendSetting(nil, 0, 0, "events", 0))
	r.call("t", "say", 1)
	r.expect("none is kept", after(0, 9), "false")
	r.expect("numbers go on", fmt.Sprint(r.m.Publish().LastEvent()), "5")
	r.expect("too big", show(r.call("t", "big", 70_000)), "script: t.lua:3: emit: argument #2: value is too large")
}

// The ring is bounded by bytes too.
func TestEventRingBytes(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", emitting)
	cmd := command.AppendCall(nil, 0, 0, "t", "big", args(60_000))
	for range 12 {
		cmds := make([][]byte, 100)
		for i := range cmds {
			cmds[i] = cmd
		}
		r.apply(cmds...)
	}
	v := r.m.Publish()
	defer v.Release()
	events, complete := v.EventsFrom(0, 1<<20)
	if n := len(events) * 60_000; complete || n > eventsBytesMax || n < eventsBytesMax*9/10 {
		t.Errorf("%d bytes are kept, complete %v", n, complete)
	}
}
