package luafsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
)

// ints is a list of from to to.
func ints(from, to int) []byte {
	b := codec.AppendArrayLen(nil, to-from+1)
	for i := from; i <= to; i++ {
		b = codec.AppendInt(b, int64(i))
	}
	return b
}

// many makes n calls in entries of 1000; all have to succeed.
func (r *rig) many(n int, object, method string, arg func(i int) []any) {
	r.t.Helper()
	for at := 0; at < n; at += 1000 {
		var cmds [][]byte
		for i := at; i < min(n, at+1000); i++ {
			cmds = append(cmds, command.AppendCall(nil, 0, 0, object, method, args(arg(i)...)))
		}
		for _, res := range r.apply(cmds...) {
			if res.Code != command.CodeOK {
				r.t.Fatalf("%s:%s: %s", object, method, show(res))
			}
		}
	}
}

// steps is what a call costs; it has to succeed.
func (r *rig) steps(object, method string, values ...any) int {
	r.t.Helper()
	before := r.m.Charged().Steps
	if res := r.call(object, method, values...); res.Code != command.CodeOK {
		r.t.Fatalf("%s:%s: %s", object, method, show(res))
	}
	return int(r.m.Charged().Steps - before)
}

// At their limits the objects still work within the budget of a call, and refuse
// one more.
func TestLibraryAtItsLimits(t *testing.T) {
	const most = 100_000
	r := newRig(t)
	for _, name := range []string{"list", "dict", "set", "queue", "ledger"} {
		r.mustDeploy(name+".lua", script(t, name+".lua"))
	}
	refuses := func(object, method string, values ...any) {
		t.Helper()
		if got := show(r.call(object, method, values...)); !strings.Contains(got, "100000") {
			t.Errorf("%s:%s: %s", object, method, got)
		}
	}
	cheaper := func(most int, object, method string, values ...any) {
		t.Helper()
		n := r.steps(object, method, values...)
		t.Logf("%s:%s: %d steps", object, method, n)
		if n > most {
			t.Errorf("%s:%s: %d steps, more than %d", object, method, n, most)
		}
	}
	for i := range 10 {
		r.call("list", "extend", ints(1+i*most/10, (i+1)*most/10))
		r.call("set", "update", ints(1+i*most/10, (i+1)*most/10))
	}
	refuses("list", "append", 1)
	refuses("list", "insert", 1, 1)
	refuses("set", "add", most+1)
	cheaper(200_000, "list", "pop", 1)
	cheaper(200_000, "list", "insert", 1, 1)
	cheaper(1000, "list", "set", 50_000, 1)
	cheaper(950_000, "list", "remove", "nowhere")
	cheaper(900_000, "set", "discard", 1) // the sequence moves
	cheaper(900_000, "set", "add", 1)     // and comes back
	cheaper(900_000, "set", "pop")
	cheaper(1000, "set", "clear")
	cheaper(1000, "list", "reset")
	r.many(most, "dict", "set", func(i int) []any { return []any{fmt.Sprint("k", i), i} })
	refuses("dict", "set", "more", 1)
	cheaper(1000, "dict", "set", "k5", 1)
	cheaper(1000, "dict", "clear")
	r.call("list", "reset", ints(1, 20_000))
	cheaper(950_000, "list", "sort", true)
}

// A ledger remembers as many keys as it says.
func TestLedgerForgetsOldKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 calls")
	}
	const most = 100_000
	r := newRig(t)
	r.mustDeploy("ledger.lua", script(t, "ledger.lua"))
	r.call("ledger", "open", "a")
	known := func(key string) string {
		return show(r.query(command.AppendQuery(nil, "ledger", "known", args(key))))
	}
	r.many(most, "ledger", "deposit", func(i int) []any { return []any{"a", 1, fmt.Sprint("k", i)} })
	if got := known("k0"); got != "true" {
		t.Errorf("the first of %d keys: %s", most, got)
	}
	r.call("ledger", "deposit", "a", 1, "one more")
	if got := known("k0") + known("k1") + known("one more"); got != "falsetruetrue" {
		t.Errorf("after one more: %s", got)
	}
}

// A change of a leaderboard costs about the same with many players as with few,
// and a rank far less than a step for each player.
func TestLeaderboardCosts(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("leaderboard.lua", script(t, "leaderboard.lua"))
	// As a replicated method runs the same code as a query, its steps can be counted.
	r.mustDeploy("asks.lua", `local A = object "asks" function A.replicated:rank(p) return leaderboard:rank(p) end`)
	const players = 50_000
	r.many(players, "leaderboard", "set", func(i int) []any { return []any{fmt.Sprint("p", i), i * 7919 % players} })
	for i := range 100 {
		if n := r.steps("leaderboard", "add", fmt.Sprint("p", i*100), 1000); n > 20_000 {
			t.Errorf("add: %d steps", n)
		}
	}
	n := r.steps("asks", "rank", "p0")
	t.Logf("rank: %d steps", n)
	if n > 10*(players/64+512) {
		t.Errorf("rank: %d steps", n)
	}
}
