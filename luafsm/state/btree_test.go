package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// drawKey draws from families that share long, short and no first bytes, so that
// nodes begin alike, stop to do so, and do again.
func drawKey(r *rand.Rand) key {
	switch r.IntN(8) {
	case 0:
		return stringKey(strings.Repeat("p", r.IntN(20)))
	case 1:
		return stringKey(fmt.Sprintf("key%09d", r.IntN(2000)) + strings.Repeat("\x00", r.IntN(3)))
	case 2:
		return numberKey(float64(r.IntN(400) - 200))
	case 3:
		return boolKey(r.IntN(2) == 0)
	}
	return stringKey(fmt.Sprintf("user:%024d", r.IntN(2000)))
}

// checkNodes holds what node promises of skip and heads.
func checkNodes(t *testing.T, n *node) {
	t.Helper()
	for i, it := range n.items {
		if n.skip >= 0 && (!it.key.isString() || it.key.s[:n.skip] != n.items[0].key.s[:n.skip]) {
			t.Fatalf("item %d, %q, does not share %d bytes with %q", i, it.key.s, n.skip, n.items[0].key.s)
		}
		if want, ok := n.head(it.key); !ok || n.heads[i] != want {
			t.Fatalf("head %d of %q is %x, want %x", i, it.key.s, n.heads[i], want)
		}
		if at, ok := n.search(it.key); at != i || !ok {
			t.Fatalf("item %d, %v, is found at %d, %v", i, it.key, at, ok)
		}
	}
	for _, k := range n.kids {
		checkNodes(t, k)
	}
}

func compareKeys(a, b key) int {
	switch {
	case a.less(b):
		return -1
	case b.less(a):
		return 1
	}
	return 0
}

func TestSearchBehindCommonPrefix(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := NewStore()
		c := &content{epoch: s.epoch}
		var keys []key
		for step := range 3000 {
			k := drawKey(r)
			i, found := slices.BinarySearchFunc(keys, k, compareKeys)
			if grows := step < 2000; r.IntN(4) > 0 == grows {
				s.mapSet(c, k, lua.LTrue)
				if !found {
					keys = slices.Insert(keys, i, k)
				}
			} else {
				s.mapSet(c, k, nil)
				if found {
					keys = slices.Delete(keys, i, i+1)
				}
			}
			probe := drawKey(r)
			i, found = slices.BinarySearchFunc(keys, probe, compareKeys)
			if got := c.mapGet(probe) != nil; got != found {
				t.Fatalf("seed %d, step %d: %v is there: %v, want %v", seed, step, probe, got, found)
			}
			if found {
				i++
			}
			if it := c.mapAfter(probe); (it == nil) != (i == len(keys)) || it != nil && it.key != keys[i] {
				t.Fatalf("seed %d, step %d: wrong successor of %v", seed, step, probe)
			}
			if c.root != nil && step%100 == 0 {
				checkNodes(t, c.root)
			}
		}
	}
}
