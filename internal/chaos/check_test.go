//go:build linux

package chaos

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/syncsh/syncsh/client"
)

type kind int

const (
	get kind = iota
	set
	swap
)

// input is a call on one register: a key of the kv object. The empty text stands
// for nil; nobody writes it.
type input struct {
	kind            kind
	mode            client.Mode // of a get
	key             string
	value, expected string
}

func (in input) String() string {
	switch in.kind {
	case get:
		return fmt.Sprintf("get(%s) %v", in.key, in.mode)
	case set:
		return fmt.Sprintf("set(%s, %q)", in.key, in.value)
	}
	return fmt.Sprintf("swap(%s, %q, %q)", in.key, in.expected, in.value)
}

// output is its answer: the value before a set, else the value after the call.
type output struct {
	value   string
	swapped bool
	unknown bool // no answer came: it may say anything
}

// open is when a call of unknown outcome ends: behind all others. It may take
// effect until then, and when it never does, then at the very end.
const open = math.MaxInt64

// registers is the sequential specification of the kv object's keys.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(input).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(s, i, o any) (bool, any) {
		now, in, out := s.(string), i.(input), o.(output)
		switch in.kind {
		case get:
			return out.unknown || out.value == now, now
		case set:
			return out.unknown || out.value == now, in.value
		}
		swapped := now == in.expected
		if swapped {
			now = in.value
		}
		return out.unknown || out.swapped == swapped && out.value == now, now
	},
	DescribeOperation: func(i, o any) string {
		in, out := i.(input), o.(output)
		if out.unknown {
			return in.String() + " unknown"
		}
		if in.kind == swap {
			return fmt.Sprintf("%v = %v, %q", in, out.swapped, out.value)
		}
		return fmt.Sprintf("%v = %q", in, out.value)
	},
}

// checkStale finds stale reads of what nobody had written by then: even a node that
// is far behind knows only what was asked for.
func checkStale(stales, ops []porcupine.Operation) []string {
	began := map[[2]string]int64{} // of each write, by key and value; each value is written once
	for _, op := range ops {
		in, out := op.Input.(input), op.Output.(output)
		if in.kind == set || in.kind == swap && (out.unknown || out.swapped) {
			began[[2]string{in.key, in.value}] = op.Call
		}
	}
	var wrong []string
	for _, op := range stales {
		in, out := op.Input.(input), op.Output.(output)
		if at, written := began[[2]string{in.key, out.value}]; out.value != "" && (!written || at > op.Return) {
			wrong = append(wrong, fmt.Sprintf("%v = %q, which nobody had written", in, out.value))
		}
	}
	return wrong
}

// checkLedger compares what is in the ledger at the end with what clients were
// told: each acknowledged note once, each refused one never, each of unknown
// outcome at most once, and no other.
func checkLedger(adds []add, total int64, times map[string]int64) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var acked, unknown, sum int64
	totals, known := map[int64]string{}, map[string]bool{}
	for _, a := range adds {
		known[a.id] = true
		got := times[a.id]
		sum += got
		switch a.fate {
		case happened:
			acked++
			if before := totals[a.total]; before != "" {
				say("%s and %s were both told the total %d", before, a.id, a.total)
			}
			totals[a.total] = a.id
			if got != 1 {
				say("%s was acknowledged and happened %d times", a.id, got)
			}
		case kept:
			acked++
			if got != 1 {
				say("%s happened, it was said, and it happened %d times", a.id, got)
			}
		case refused:
			if got != 0 {
				say("nothing happened, it was said of %s, and it happened %d times", a.id, got)
			}
		case outcomeUnknown:
			unknown++
			if got > 1 {
				say("%s happened %d times", a.id, got)
			}
		}
	}
	for id := range times {
		if !known[id] {
			say("%s happened and nobody asked for it", id)
		}
	}
	if total < acked || total > acked+unknown || total != sum {
		say("the total is %d after %d acknowledged notes and %d of unknown outcome; the notes are %d", total, acked, unknown, sum)
	}
	return wrong
}

// checkGrants finds fencing tokens that go back, or that two owners have: a lock
// granted after another grant was known has a higher token, or the same one
// when it has the same owner.
func checkGrants(grants []grant) []string {
	var wrong []string
	byName, owners := map[string][]grant{}, map[int64]grant{}
	for _, g := range grants {
		byName[g.name] = append(byName[g.name], g)
		if o, ok := owners[g.token]; ok && (o.owner != g.owner || o.name != g.name) {
			wrong = append(wrong, fmt.Sprintf("token %d is that of %s of %s and of %s of %s", g.token, o.name, o.owner, g.name, g.owner))
		}
		owners[g.token] = g
	}
	for _, list := range byName {
		byRet := slices.Clone(list)
		slices.SortFunc(list, func(a, b grant) int { return cmp.Compare(a.call, b.call) })
		slices.SortFunc(byRet, func(a, b grant) int { return cmp.Compare(a.ret, b.ret) })
		var highest grant // of those that were known before
		for _, g := range list {
			for len(byRet) > 0 && byRet[0].ret < g.call {
				if byRet[0].token > highest.token {
					highest = byRet[0]
				}
				byRet = byRet[1:]
			}
			if g.token < highest.token {
				wrong = append(wrong, fmt.Sprintf("%s of %s got token %d after %s had %d", g.name, g.owner, g.token, highest.owner, highest.token))
			}
		}
	}
	return wrong
}

func op(client int, call, ret int64, in input, out output) porcupine.Operation {
	return porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: ret}
}

// TestRegistersSee: the model takes good histories and refuses bad ones.
func TestRegistersSee(t *testing.T) {
	write := func(v string) input { return input{kind: set, key: "k", value: v} }
	read := input{kind: get, key: "k"}
	try := func(expected, v string) input { return input{kind: swap, key: "k", expected: expected, value: v} }
	for _, c := range []struct {
		name string
		good bool
		ops  []porcupine.Operation
	}{
		{"one after the other", true, []porcupine.Operation{
			op(0, 0, 1, write("a"), output{}), op(1, 2, 3, read, output{value: "a"}), op(0, 4, 5, write("b"), output{value: "a"}), op(1, 6, 7, read, output{value: "b"})}},
		{"a stale read", false, []porcupine.Operation{
			op(0, 0, 1, write("a"), output{}), op(0, 2, 3, write("b"), output{value: "a"}), op(1, 4, 5, read, output{value: "a"})}},
		{"a read during a write sees either", true, []porcupine.Operation{
			op(0, 0, 9, write("a"), output{}), op(1, 1, 2, read, output{}), op(2, 3, 4, read, output{value: "a"})}},
		{"a read goes back", false, []porcupine.Operation{
			op(0, 0, 9, write("a"), output{}), op(1, 1, 2, read, output{value: "a"}), op(2, 3, 4, read, output{})}},
		{"a lost write", false, []porcupine.Operation{
			op(0, 0, 1, write("a"), output{}), op(0, 2, 3, write("b"), output{})}},
		{"a write of unknown outcome took effect late", true, []porcupine.Operation{
			op(0, 0, open, write("a"), output{unknown: true}), op(1, 1, 2, read, output{}), op(1, 3, 4, read, output{value: "a"})}},
		{"a write of unknown outcome never took effect", true, []porcupine.Operation{
			op(0, 0, open, write("a"), output{unknown: true}), op(1, 1, 2, read, output{}), op(1, 3, 4, write("b"), output{})}},
		{"a write of unknown outcome took effect twice", false, []porcupine.Operation{
			op(0, 0, open, write("a"), output{unknown: true}), op(1, 1, 2, read, output{value: "a"}), op(1, 3, 4, write("b"), output{value: "a"}), op(1, 5, 6, read, output{value: "a"})}},
		{"a write that was said not to have happened", false, []porcupine.Operation{op(1, 1, 2, read, output{value: "a"})}},
		{"swaps", true, []porcupine.Operation{
			op(0, 0, 1, try("", "a"), output{swapped: true, value: "a"}), op(1, 2, 3, try("", "b"), output{value: "a"}), op(1, 4, 5, try("a", "b"), output{swapped: true, value: "b"})}},
		{"two swaps of one value", false, []porcupine.Operation{
			op(0, 0, 5, try("", "a"), output{swapped: true, value: "a"}), op(1, 0, 5, try("", "b"), output{swapped: true, value: "b"})}},
	} {
		if got := porcupine.CheckOperations(registers, c.ops); got != c.good {
			t.Errorf("%s: linearizable %v, want %v", c.name, got, c.good)
		}
	}
}

// TestLedgerSees: each way in which a ledger can be wrong is seen.
func TestLedgerSees(t *testing.T) {
	adds := []add{{"a", happened, 1}, {"b", happened, 2}, {"c", outcomeUnknown, 0}, {"d", refused, 0}, {"e", kept, 0}}
	for _, c := range []struct {
		name  string
		wrong int
		total int64
		times map[string]int64
	}{
		{"without the unknown one", 0, 3, map[string]int64{"a": 1, "b": 1, "e": 1}},
		{"with it", 0, 4, map[string]int64{"a": 1, "b": 1, "c": 1, "e": 1}},
		{"one lost", 2, 2, map[string]int64{"a": 1, "e": 1}},
		{"one twice", 1, 4, map[string]int64{"a": 2, "b": 1, "e": 1}},
		{"the unknown one twice", 2, 5, map[string]int64{"a": 1, "b": 1, "c": 2, "e": 1}},
		{"the refused one", 1, 4, map[string]int64{"a": 1, "b": 1, "d": 1, "e": 1}},
		{"a stranger", 2, 4, map[string]int64{"a": 1, "b": 1, "e": 1, "x": 1}},
		{"a total that does not fit", 1, 4, map[string]int64{"a": 1, "b": 1, "e": 1}},
	} {
		if got := checkLedger(adds, c.total, c.times); len(got) != c.wrong {
			t.Errorf("%s: %q, want %d findings", c.name, got, c.wrong)
		}
	}
	if got := checkLedger([]add{{"a", happened, 1}, {"b", happened, 1}}, 2, map[string]int64{"a": 1, "b": 1}); len(got) != 1 {
		t.Errorf("one total for two: %q", got)
	}
}

func TestGrantsSee(t *testing.T) {
	for _, c := range []struct {
		name   string
		wrong  int
		grants []grant
	}{
		{"growing", 0, []grant{{"l", "a", 5, 0, 1}, {"l", "a", 5, 2, 3}, {"l", "b", 9, 4, 5}, {"m", "b", 7, 6, 7}}},
		{"at the same time", 0, []grant{{"l", "a", 9, 0, 5}, {"l", "b", 5, 1, 4}}},
		{"falling", 1, []grant{{"l", "a", 9, 0, 1}, {"l", "b", 5, 2, 3}}},
		{"two owners", 1, []grant{{"l", "a", 5, 0, 1}, {"l", "b", 5, 0, 1}}},
	} {
		if got := checkGrants(c.grants); len(got) != c.wrong {
			t.Errorf("%s: %q, want %d findings", c.name, got, c.wrong)
		}
	}
}

// TestReadsSee: a bounded read may be as old as its bound and no older, a stale one
// of any time, but not of a future or of a write that was refused.
func TestReadsSee(t *testing.T) {
	write := func(v string) input { return input{kind: set, key: "k", value: v} }
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		name  string
		mode  client.Mode
		at    int64 // of the read; a is written at 100 ms, b at 200 ms
		value string
		good  bool
	}{
		{"within the bound", client.Bounded(bound), 205 + bound.Milliseconds() - 10, "a", true},
		{"beyond the bound", client.Bounded(bound), 205 + bound.Milliseconds() + 10, "a", false},
		{"not stale at all", client.Bounded(bound), 2000, "b", true},
		{"by lease and old", client.Lease, 210, "a", false},
		{"very old", client.Stale, 9000, "a", true},
		{"from before", client.Stale, 9000, "", true},
		{"of the future", client.Stale, 150, "b", false},
		{"of nobody", client.Stale, 9000, "x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &load{reads: map[client.Mode]int{}}
			l.took(op(0, 100*ms, 105*ms, write("a"), output{}))
			l.took(op(0, 200*ms, 205*ms, write("b"), output{value: "a"}))
			l.took(op(1, c.at*ms, (c.at+1)*ms, input{kind: get, key: "k", mode: c.mode}, output{value: c.value}))
			good := porcupine.CheckOperations(registers, l.ops) && len(checkStale(l.stales, l.ops)) == 0
			if good != c.good || l.reads[c.mode] != 1 {
				t.Errorf("taken for good: %v", good)
			}
		})
	}
}
