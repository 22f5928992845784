package luafsm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/scripts"
)

// step is a call or query of a story and what it answers.
type step struct {
	advance int64 // ms that pass before
	query   bool
	method  string
	args    []any
	want    string
}

func (r *rig) story(object string, steps []step) {
	r.t.Helper()
	for i, s := range steps {
		r.clock += s.advance
		var got string
		if s.query {
			got = show(r.query(command.AppendQuery(nil, object, s.method, args(s.args...))))
		} else {
			got = show(r.call(object, s.method, s.args...))
		}
		if got != s.want {
			r.t.Errorf("step %d: %s%v: got %s, want %s", i, s.method, s.args, got, s.want)
		}
	}
}

// exampleObjects are the scripts in examples/ that define objects; the others are
// run as clients, by their pages.
func exampleObjects(t *testing.T) []command.Script {
	files, err := filepath.Glob("../examples/*/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	var out []command.Script
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), " = object") {
			out = append(out, command.Script{Name: filepath.Base(f), Source: string(source)})
		}
	}
	if len(out) == 0 {
		t.Fatal("no object is defined in examples/")
	}
	return out
}

func TestLibraryScriptsAreClean(t *testing.T) {
	all := append(scripts.All(), exampleObjects(t)...)
	for _, f := range Check(all) {
		t.Error(f)
	}
	r := newRig(t)
	if res := r.apply(command.AppendDeploy(nil, 0, 0, all))[0]; res.Code != command.CodeOK {
		t.Fatal(show(res))
	}
	restored(t, r.m)
}

func TestKV(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("kv.lua", script(t, "kv.lua"))
	r.story("kv", []step{
		{0, false, "set", []any{"a", 1}, "nil"},
		{0, false, "set", []any{"a", 2}, "1"},
		{0, false, "set", []any{"b", "x"}, "nil"},
		{0, true, "len", nil, "2"},
		{0, true, "get", []any{"a"}, "2"},
		{0, true, "get", []any{"zz", "none"}, "none"},
		{0, true, "keys", nil, "{a,b}"},
		{0, true, "keys", []any{1}, "{a}"},
		{0, true, "keys", []any{1, "a"}, "{b}"},
		{0, false, "swap", []any{"a", 1, 9}, "false 2"},
		{0, false, "swap", []any{"a", 2, 9}, "true 9"},
		{0, false, "pop", []any{"a"}, "9"},
		{0, false, "pop", []any{"a"}, "nil"},
		{0, true, "len", nil, "1"},
		{0, false, "set", []any{nil, 1}, "script: kv:set(key): key must be a string, number or boolean, not nil"},
	})
	if got := show(r.query(command.AppendGet(nil, "kv", args("data")))); got != "{b=x}" {
		t.Error(got)
	}
}

func TestLock(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("lock.lua", script(t, "lock.lua"))
	r.story("lock", []step{
		{0, false, "try_acquire", []any{"l", "ann", 10}, "2"},
		{0, false, "try_acquire", []any{"l", "bob", 10}, "nil ann"},
		{5000, false, "try_acquire", []any{"l", "ann", 10}, "2"},
		{9000, false, "prolong", []any{"l", "ann", 10}, "2"},
		{0, true, "is_acquired", []any{"l"}, "ann 10 2"},
		{0, false, "release", []any{"l", "bob"}, "false"},
		{10000, true, "is_acquired", []any{"l"}, "ann 10 2"}, // no entry has moved the log clock yet
		{0, false, "prolong", []any{"l", "ann", 10}, "nil"},
		{0, true, "is_acquired", []any{"l"}, "nil"},
		{0, false, "try_acquire", []any{"l", "bob", 1}, "8"},
		{0, false, "release", []any{"l", "bob"}, "true"},
		{0, false, "release", []any{"l", "bob"}, "false"},
		{0, false, "try_acquire", []any{1, "bob", 1}, "script: lock:try_acquire(name, ...): name must be a text"},
		{0, false, "try_acquire", []any{"l", "bob", -1}, "script: lock:try_acquire(name, owner, ttl): ttl must be a number of seconds, above 0 and at most 86400"},
	})
}
