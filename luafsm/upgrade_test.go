package luafsm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

// An upgrade raises the version at its index, for good, and one that this
// program can't follow stops the machine instead of having it go on alone.
func TestUpgrade(t *testing.T) {
	r := newRig(t)
	r.m.runs = 3
	r.mustDeploy("counter.lua", script(t, "counter.lua"))
	before := r.m.Digest()
	r.expect("to 1", r.cmd(command.AppendUpgrade(nil, 1)), "bad_argument: the machine has version 1 already")
	d := r.m.DryRun(command.AppendUpgrade(nil, 9), r.clock, nil)
	r.expect("dry run", show(decodeResult(t, d)), "closed: luafsm: this program is too old for the cluster's machine version: 9, this program runs 3")
	if r.m.Err() != nil || r.m.Version() != 1 {
		t.Error("a dry run stopped the machine")
	}
	r.expect("to 3", r.cmd(command.AppendUpgrade(nil, 3)), "")
	if r.m.Version() != 3 || r.m.Digest() == before {
		t.Error("not raised")
	}
	v := r.m.Publish()
	defer v.Release()
	var dump bytes.Buffer
	if err := v.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(bytes.NewReader(dump.Bytes()), Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("restored by a program that runs 1: %v", err)
	}
	at := r.m.Index()
	res := r.apply(command.AppendCall(nil, 0, 0, "counter", "inc", nil), command.AppendUpgrade(nil, 4), command.AppendCall(nil, 0, 0, "counter", "inc", nil))
	for i, want := range []command.Code{command.CodeOK, command.CodeClosed, command.CodeClosed} {
		if res[i].Code != want {
			t.Errorf("%d: %s", i, show(res[i]))
		}
	}
	if !errors.Is(r.m.Err(), ErrVersion) || r.m.Index() != at {
		t.Errorf("%v at %d, was at %d", r.m.Err(), r.m.Index(), at)
	}
	defer func() {
		if recover() == nil {
			t.Error("the machine goes on")
		}
	}()
	r.m.Apply(raft.Entry{Index: at + 1, Span: 1, Kind: raft.EntryNoop}, &Results{})
}
