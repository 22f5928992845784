package shell

import (
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

func TestPlace(t *testing.T) {
	d := newFake().describe()
	input := "x = = 3\n\tlocal s = ) 'a'"
	for _, c := range []struct {
		err  error
		want string
	}{
		{&LuaError{Text: "input:1:5: syntax error near '='"}, "    1 | x = = 3\n      |     ^"},
		{&LuaError{Text: "input:2:12: syntax error near ')'"}, "    2 | \tlocal s = ) 'a'\n      | \t          ^"},
		{&LuaError{Text: "input:9: boom"}, ""},
		{&command.Error{Code: command.CodeScript, Message: "lock.lua:10: broken"}, "   10 |   error(\"broken\")\n      |   ^"},
		{&command.Error{Code: command.CodeScript, Message: "lock.lua:7: attempt to index a nil value (field 'holder')"}, "    7 |   return \"here\", self.holder, x\n      |                       ^"},
		{&DeployError{&command.Error{Code: command.CodeScript, Message: "lock.lua:2: broken"}, []command.Script{{Name: "lock.lua", Source: "new\n line"}}}, "    2 |  line\n      |  ^"},
		{&command.Error{Code: command.CodeScript, Message: "gone.lua:1: broken"}, ""},
		{&command.Error{Code: command.CodeNoLeader, Message: "no leader"}, ""},
	} {
		if got := placeOf(c.err, input, &d); got != c.want {
			t.Errorf("%v: got\n%s\nwant\n%s", c.err, got, c.want)
		}
	}
}

func TestSource(t *testing.T) {
	d := newFake().describe()
	for i, m := range d.Objects[2].Methods { // lock
		d.Objects[2].Methods[i].Line = map[string]int{"acquire": 3, "fail": 9, "where": 5}[m.Name]
	}
	for name, want := range map[string]string{
		"lock.where":   "--- Says where it runs.\nfunction Lock:where(x)\n  helper = 1\n  return \"here\", self.holder, x\nend",
		"lock:acquire": "function Lock.replicated:acquire(name) return true end",
		"lock":         lockSource,
		"lock.whre":    "not_found: no method 'whre' in lock; did you mean 'where'?",
		"lok":          "not_found: no object 'lok'; did you mean 'lock'?",
	} {
		got, err := SourceOf(&d, name)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}
