package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Linearizability is checked twice. history.answered compares each answer with
// the state of the log index that it names, which needs no search and misses
// nothing, as long as the index in the answer is right. Here porcupine looks at
// the same calls without it: when they began and ended, and what they returned.

const (
	// linearMax bounds the history of an object; porcupine's search may need
	// exponential time.
	linearMax = 400
	// linearTime bounds the search itself. Undecided is not a failure.
	linearTime = 2 * time.Second
)

// tally is what an operation does with a number: add to it, or read it.
type tally struct {
	adds    bool
	unknown bool // what it returned is not known
	value   int64
}

// tallyModel is an object that counts.
var tallyModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		n, in, out := state.(int64), input.(tally), output.(tally)
		if in.adds {
			n++
		}
		return out.unknown || out.value == n, n
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(tally), output.(tally)
		name := "get"
		if in.adds {
			name = "add"
		}
		if out.unknown {
			return name + " -> ?"
		}
		return fmt.Sprintf("%s -> %d", name, out.value)
	},
}

// linear checks the histories of the objects: the counter, the ledger's total,
// and how often each id is in the ledger.
func (h *history) linear() {
	objects := map[string][]*op{}
	var names []string
	add := func(name string, o *op) {
		if objects[name] == nil {
			names = append(names, name)
		}
		objects[name] = append(objects[name], o)
	}
	for _, o := range h.ops {
		switch {
		case o.first != nil || o.stale: // a further try is part of its call
		case o.kind == opInc || o.kind == opCounter:
			add("counter", o)
		case o.kind == opAdd:
			add("ledger", o)
			add(fmt.Sprintf("ledger %d", o.id), o)
		case o.kind == opLedger:
			add("ledger", o)
		case o.kind == opCount && o.about.by != nil:
			add(fmt.Sprintf("ledger %d", o.about.id), o)
		}
	}
	for _, name := range names {
		h.linearObject(name, objects[name])
	}
}

func (h *history) linearObject(name string, ops []*op) {
	end := int64(math.MaxInt64)
	if len(ops) > linearMax {
		end = ops[linearMax].began
		ops = ops[:linearMax]
	}
	var list []porcupine.Operation
	for i, o := range ops {
		out := tally{value: o.value}
		returned := o.ended
		if !o.known || returned >= end { // of what ends outside of the history only the effect counts
			if _, took := h.effects[o.id]; !o.kind.writes() || !took {
				continue
			}
			out.unknown, returned = true, math.MaxInt64
		}
		if o.kind == opAdd && name != "ledger" {
			out.value = 1
		}
		list = append(list, porcupine.Operation{ClientId: i, Input: tally{adds: o.kind.writes()}, Call: o.began, Output: out, Return: returned})
	}
	if len(list) == 0 {
		return
	}
	h.w.stats.histories++
	switch porcupine.CheckOperationsTimeout(tallyModel, list, linearTime) {
	case porcupine.Illegal:
		slices.SortFunc(list, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, o := range list {
			h.w.log("%s: %d to %d: %s", name, o.Call, o.Return, tallyModel.DescribeOperation(o.Input, o.Output))
		}
		h.w.fail(porcupineSays, "the %d calls of %s are not linearizable", len(list), name)
	case porcupine.Unknown:
		h.w.stats.undecided++
	}
}
