package luafsm

import (
	"strconv"
	"strings"
	"sync"

	"github.com/syncsh/syncsh/internal/command"
)

// memoMax bounds what a Memo keeps; then it starts anew.
const memoMax = 256

// Memo keeps the code of scripts for machines of one process that are given the
// same ones, such as those of many simulated clusters: to check and compile a
// script takes longer than most of what is tried with it. A machine with a Memo
// does and charges what it does without. The zero value is ready; it may be
// shared by goroutines.
type Memo struct {
	mu    sync.Mutex
	codes map[string]remembered
}

// remembered is what check made of scripts, and what it charged for that.
type remembered struct {
	list    []*compiled
	charges []int
}

func (o *Memo) find(key string) (remembered, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.codes[key]
	return r, ok
}

func (o *Memo) keep(key string, r remembered) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.codes == nil || len(o.codes) >= memoMax {
		o.codes = map[string]remembered{}
	}
	o.codes[key] = r
}

// memoKey tells scripts, and what was done with them, apart.
func memoKey(what string, scripts []command.Script) string {
	var b strings.Builder
	b.WriteString(what)
	for _, s := range scripts {
		b.WriteString(" " + strconv.Itoa(len(s.Name)) + " " + s.Name + strconv.Itoa(len(s.Source)) + " " + s.Source)
	}
	return b.String()
}

// check is check for a deploy on this machine. Objects that are there have a say
// in what is found, so only the first deploy is remembered, and only if it finds
// nothing.
func (m *Machine) check(scripts []command.Script, charge func(steps int) error) ([]*compiled, []Finding, error) {
	memo := m.opts.Memo
	if memo == nil || len(m.roots.byName) > 0 {
		return check(scripts, m.roots.byName, m.limits.scriptBytes, charge)
	}
	key := memoKey("check "+strconv.Itoa(m.limits.scriptBytes), scripts)
	if r, ok := memo.find(key); ok {
		for _, steps := range r.charges {
			if err := charge(steps); err != nil {
				return nil, nil, err
			}
		}
		return r.list, nil, nil
	}
	var r remembered
	list, faults, err := check(scripts, m.roots.byName, m.limits.scriptBytes, func(steps int) error {
		r.charges = append(r.charges, steps)
		return charge(steps)
	})
	if r.list = list; err == nil && len(faults) == 0 {
		memo.keep(key, r)
	}
	return list, faults, err
}

// recompile is recompile; memo may be nil.
func (o *Memo) recompile(scripts []command.Script) (*code, error) {
	if o == nil {
		return recompile(scripts)
	}
	key := memoKey("recompile", scripts)
	if r, ok := o.find(key); ok {
		return &code{scripts: scripts, compiled: r.list}, nil
	}
	c, err := recompile(scripts)
	if err == nil {
		o.keep(key, remembered{list: c.compiled})
	}
	return c, err
}
