package node

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"
)

const alarms = `
local T = object "alarms"
function T:init() self.fired = {} end
function T.replicated:set(from, to, seconds) for i = from, to do after(seconds, "fire", i) end end
function T.replicated:fire(i) table.insert(self.fired, i) end
function T.query:all() return self.fired end
`

// TestTimersOutliveTheirLeader: timers that come due while nobody leads fire
// once and in order when somebody does, after the leader was killed and after all
// nodes were.
func TestTimersOutliveTheirLeader(t *testing.T) {
	ctx := context.Background()
	addrs := freeAddrs(t, 3)
	var data [3]string
	var nodes [3]*Node
	var logs [3]*roles
	start := func(i int) {
		logs[i] = &roles{}
		nodes[i] = startNode(t, Config{
			Name: fmt.Sprintf("n%d", i+1), Addr: addrs[i], Data: data[i], Expect: 3, Join: []string{addrs[(i+1)%3]}, Logger: slog.New(logs[i]),
		})
	}
	for i := range nodes {
		data[i] = t.TempDir()
		start(i)
	}
	defer func() {
		for _, n := range nodes {
			n.Kill()
		}
	}()
	for _, n := range nodes {
		await(t, n)
	}
	cl := dial(t, nodes[0])
	deployNamed(t, cl, "alarms.lua", alarms)
	cl.Close()

	set := func(at, from, to int, seconds float64) {
		t.Helper()
		cl := dial(t, nodes[at])
		defer cl.Close()
		if _, err := cl.Call(ctx, "alarms", "set", from, to, seconds); err != nil {
			t.Fatal(err)
		}
	}
	fired := func(at, upTo int) { // waits for the last one
		t.Helper()
		cl := dial(t, nodes[at])
		defer cl.Close()
		var want []any
		for i := range upTo {
			want = append(want, int64(i+1))
		}
		for deadline := time.Now().Add(patience); ; {
			v, err := cl.Query(ctx, "alarms", "all")
			list, _ := one(t, v, err).([]any)
			switch {
			case reflect.DeepEqual(list, want):
				return
			case len(list) > len(want) || time.Now().After(deadline):
				t.Fatalf("fired: %v, want %v", list, want)
			}
			time.Sleep(TickInterval)
		}
	}

	leader := slices.IndexFunc(logs[:], func(r *roles) bool { return r.last() == "leader" })
	if leader < 0 {
		t.Fatal("nobody leads")
	}
	other := (leader + 1) % 3
	set(other, 1, 5, 0.4) // the leader is gone before and the next one there after
	nodes[leader].Kill()
	fired(other, 5)
	set(other, 6, 6, 0) // what fires twice would be there by now
	fired(other, 6)

	start(leader)
	await(t, nodes[leader])
	set(other, 7, 11, 0.2)
	for _, n := range nodes {
		n.Kill()
	}
	for i := range nodes {
		start(i)
	}
	for _, n := range nodes {
		await(t, n)
	}
	fired(other, 11)
	set(other, 12, 12, 0)
	for i := range nodes {
		fired(i, 12)
	}
}
