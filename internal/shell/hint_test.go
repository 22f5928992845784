package shell

import "testing"

func TestHint(t *testing.T) {
	d := newFake().describe()
	for in, want := range map[string]string{
		"counter:inc(":                     "counter:inc(by)  Adds `by`.",
		"print(counter:inc(1, (2":          "counter:inc(by)  Adds `by`.",
		"counter.async:inc(":               "counter:inc(by)  Adds `by`.",
		"counter:inc(1) kv:set('a(', {1, ": "kv:set(key, value)",
		"counter:inc(5)":                   "",
		"counter:icn(":                     "",
		"print(":                           "",
		"x = 1 -- counter:inc(":            "",
		".sta":                             "",
		".stale o":                         ".stale on|off  reads from this node without asking the leader",
		".explain counter:inc(":            "counter:inc(by)  Adds `by`.",
		".watch 1s counter:inc(":           "counter:inc(by)  Adds `by`.",
		".explain counter:inc(1)":          ".explain CALL  runs a call such as counter:inc(5) on a copy and shows what it would change",
		"":                                 "",
	} {
		if got := hintFor(&d, dotCommands, in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"counter:inc(": "by", "kv:set('x', ": "value", "kv:set(1, 2, ": "", "print(": "", "counter:inc(1)": "",
	} {
		if got, _ := parameter(&d, in); got != want {
			t.Errorf("parameter at %q: got %q, want %q", in, got, want)
		}
	}
	if got := clipColumns("aäb語c", 4); got != "aäb" {
		t.Errorf("clipped to %q", got)
	}
}
