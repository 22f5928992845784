package luafsm

import (
	"fmt"
	"sync"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// TestMemo: a machine that finds the work done by another one has the same state,
// the same answers and the same charges as one that does it itself, also those
// that a budget ends.
func TestMemo(t *testing.T) {
	lock := script(t, "lock.lua")
	run := func(t *testing.T, memo *Memo) string {
		r := newRig(t)
		r.m = New(Options{Memo: memo})
		out := show(r.deploy("bad.lua", "x = 1")) + "\n"
		out += show(r.apply(command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "a.lua", Source: lock + "--a"}, {Name: "b.lua", Source: lock}}))[0]) + "\n"
		out += show(r.deploy("lock.lua", lock)) + "\n"
		out += show(r.call("lock", "acquire", "door", "ann", 5)) + "\n"
		out += show(r.deploy("lock.lua", lock+"\n--- more")) + "\n"
		v := r.m.Publish()
		defer v.Release()
		return fmt.Sprintf("%s%v %d %+v", out, r.m.Digest(), r.m.Index(), r.m.Charged())
	}
	var memo Memo
	want := run(t, nil)
	for range 2 {
		if got := run(t, &memo); got != want {
			t.Errorf("with a memo:\n%s\nwithout:\n%s", got, want)
		}
	}
	if len(memo.codes) != 1 {
		t.Errorf("%d deploys are remembered, want that of lock.lua", len(memo.codes))
	}
}

// TestMemoShared: machines on several goroutines run the same code.
func TestMemoShared(t *testing.T) {
	var memo Memo
	var group sync.WaitGroup
	lock := script(t, "lock.lua")
	digests := make([]Digest, 8)
	for i := range digests {
		group.Go(func() {
			r := newRig(t)
			r.m = New(Options{Memo: &memo})
			r.deploy("lock.lua", lock)
			for range 50 {
				r.call("lock", "acquire", "door", "ann", 5)
			}
			digests[i] = r.m.Digest()
		})
	}
	group.Wait()
	for _, d := range digests[1:] {
		if d != digests[0] {
			t.Errorf("digests differ: %v", digests)
		}
	}
}
