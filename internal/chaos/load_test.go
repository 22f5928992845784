//go:build linux

package chaos

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/scripts"
)

//go:embed testdata/ledger.lua
var ledgerSource string

// fate is what a client knows of a call.
type fate int

const (
	happened       fate = iota
	refused             // nothing happened
	outcomeUnknown      // no answer in time
	kept                // it happened, but its result was lost
)

// fateOf says what an error means. One that no fault explains is wrong.
func fateOf(err error) (f fate, wrong bool) {
	switch client.CodeOf(err) {
	case client.CodeOK:
		return happened, false
	case client.CodeTimeout:
		return outcomeUnknown, false
	case client.CodeHappened:
		return kept, false
	case client.CodeNoLeader, client.CodeOverloaded, client.CodeClosed, client.CodeDiverged, client.CodeSession:
		return refused, false
	}
	return outcomeUnknown, true
}

// Bounds of the load.
const (
	// callTimeout is short, so that outcomes do stay unknown.
	callTimeout = 2500 * time.Millisecond
	// callsMax bounds the calls of a worker.
	callsMax = 20_000
	// pauseMax is between two calls of a worker.
	pauseMax = 12 * time.Millisecond
	// Keys in use at a time, and after how many calls the next ones are: a key's
	// history must be short enough to be checked.
	keysAtOnce = 4
	keyCalls   = 600
	// bound is that of bounded reads, and clockStep that of the clock that a node
	// measures it with.
	bound     = 400 * time.Millisecond
	clockStep = time.Millisecond
	// lockTTL is short: some locks are lost to others.
	lockTTL = 0.3
)

// readModes are how registers are read, each as often as the next.
var readModes = []client.Mode{client.Linearizable, client.Lease, client.Lease, client.Bounded(bound), client.Stale}

// breakage makes the load wrong on purpose, to see that the checks see it.
type breakage string

const (
	unbroken     breakage = ""
	staleReads   breakage = "stale"   // stale reads are taken for linearizable
	looseReads   breakage = "bounded" // stale reads are taken for bounded ones
	forgetWrites breakage = "unknown" // writes of unknown outcome are taken for refused
)

// add is a call of ledger:add.
type add struct {
	id    string
	fate  fate
	total int64
}

// grant is a lock that was acquired.
type grant struct {
	name      string
	owner     string
	token     int64
	call, ret int64
}

// load is what clients do while faults happen, and what they were told.
type load struct {
	c       *cluster
	broken  breakage
	began   time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu     sync.Mutex
	ops    []porcupine.Operation // on registers; those of unknown outcome are open
	stales []porcupine.Operation // stale reads of registers
	reads  map[client.Mode]int   // answered
	adds   []add
	grants []grant
	fates  [4]int
	drawn  int // calls on registers begun
}

// deploy brings the objects in.
func (c *cluster) deploy() {
	c.t.Helper()
	cl := c.dial(0, client.Config{Timeout: patience})
	defer cl.Close()
	given := []client.Script{{Name: "ledger.lua", Source: ledgerSource}}
	for _, s := range scripts.All() {
		if s.Name == "kv.lua" || s.Name == "lock.lua" {
			given = append(given, s)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, _, err := cl.Deploy(ctx, given); err != nil {
		c.t.Fatal(err)
	}
}

// startLoad has two clients work for each node: one of one worker, connected to
// it at first, and one that three workers share, connected to the next.
func (c *cluster) startLoad(seed uint64, broken breakage) *load {
	c.t.Helper()
	l := &load{c: c, broken: broken, began: time.Now(), reads: map[client.Mode]int{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	c.t.Cleanup(l.stop)
	for i := range len(c.nodes) {
		conf := client.Config{Timeout: callTimeout}
		own, shared := c.dial(i, conf), c.dial(i+1, conf)
		c.t.Cleanup(func() { own.Close(); shared.Close() })
		for j, w := range []*worker{{cl: own, do: (*worker).register}, {cl: shared, do: (*worker).register}, {cl: shared, do: (*worker).note}, {cl: shared, do: (*worker).lock}} {
			id := 4*i + j
			w.load, w.name, w.rng = l, fmt.Sprintf("w%d", id), rand.New(rand.NewPCG(seed, uint64(1000+id)))
			w.client, w.seen = id, map[string]string{}
			l.workers.Go(w.run)
		}
	}
	return l
}

// stop waits for the calls that are under way.
func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
}

func (l *load) now() int64 { return int64(time.Since(l.began)) }

// worker makes one call after the other.
type worker struct {
	load   *load
	cl     *client.Client
	do     func(*worker, int)
	name   string
	client int // for porcupine: another one after an unknown outcome
	rng    *rand.Rand
	seen   map[string]string // value of each key that this worker knows of
}

func (w *worker) run() {
	for i := 0; i < callsMax && w.load.ctx.Err() == nil; i++ {
		w.do(w, i)
		time.Sleep(time.Duration(w.rng.Int64N(int64(pauseMax))))
	}
}

// told counts an outcome.
func (w *worker) told(what string, err error) fate {
	f, wrong := fateOf(err)
	if wrong {
		w.load.c.problem("%s: %s: %v", w.name, what, err)
	}
	w.load.mu.Lock()
	w.load.fates[f]++
	w.load.mu.Unlock()
	return f
}

// key draws one of the keys in use.
func (w *worker) key() string {
	w.load.mu.Lock()
	defer w.load.mu.Unlock()
	w.load.drawn++
	return fmt.Sprintf("k%d", w.load.drawn/keyCalls*keysAtOnce+w.rng.IntN(keysAtOnce))
}

// register reads, sets or swaps a key. Each value is written once.
func (w *worker) register(i int) {
	in := input{kind: get, key: w.key(), mode: readModes[w.rng.IntN(len(readModes))]}
	if draw := w.rng.IntN(10); draw < 3 {
		in.kind, in.mode, in.value = set, 0, fmt.Sprintf("%s-%d", w.name, i)
	} else if draw < 6 {
		in.kind, in.mode, in.expected, in.value = swap, 0, w.seen[in.key], fmt.Sprintf("%s-%d", w.name, i)
	}
	op := porcupine.Operation{ClientId: w.client, Input: in, Call: w.load.now()}
	out, err := w.ask(in)
	op.Return = w.load.now()
	f := w.told(in.String(), err)
	switch {
	case f == refused, f == outcomeUnknown && in.kind == get, f == outcomeUnknown && w.load.broken == forgetWrites:
		return
	case f == outcomeUnknown:
		op.Return, out.unknown = open, true
		w.client += 1000
	case f == kept:
		out.unknown = true
	case in.kind == set:
		w.seen[in.key] = in.value
	default:
		w.seen[in.key] = out.value
	}
	op.Output = out
	w.load.took(op)
}

// took keeps an operation. A bounded read may be one of any time from its bound
// before it was asked for, a stale one of any time at all.
func (l *load) took(op porcupine.Operation) {
	mode := op.Input.(input).mode
	l.mu.Lock()
	defer l.mu.Unlock()
	if op.Input.(input).kind == get {
		l.reads[mode]++
	}
	if mode == client.Stale {
		l.stales = append(l.stales, op)
		return
	}
	if within, ok := mode.Within(); ok {
		op.Call = max(op.Call-int64(time.Duration(within)*time.Millisecond+clockStep), 0)
	}
	l.ops = append(l.ops, op)
}

// ask makes the call of an operation on a register.
func (w *worker) ask(in input) (output, error) {
	ctx := context.Background()
	switch in.kind {
	case get:
		mode := in.mode
		if _, ok := mode.Within(); w.load.broken == staleReads || ok && w.load.broken == looseReads {
			mode = client.Stale
		}
		v, err := w.cl.Reading(mode).Query(ctx, "kv", "get", in.key)
		return output{value: nth(v, 0)}, err
	case set:
		v, err := w.cl.Call(ctx, "kv", "set", in.key, in.value)
		return output{value: nth(v, 0)}, err
	}
	var expected any
	if in.expected != "" {
		expected = in.expected
	}
	v, err := w.cl.Call(ctx, "kv", "swap", in.key, expected, in.value)
	return output{swapped: len(v) > 0 && v[0] == true, value: nth(v, 1)}, err
}

// nth is a value of an answer as a text, empty for nil.
func nth(v []any, i int) string {
	if i >= len(v) {
		return ""
	}
	s, _ := v[i].(string)
	return s
}

// note gives the ledger an id.
func (w *worker) note(i int) {
	a := add{id: fmt.Sprintf("%s-%d", w.name, i)}
	v, err := w.cl.Call(context.Background(), "ledger", "add", a.id)
	if a.fate = w.told("ledger:add", err); a.fate == happened {
		a.total, _ = v[0].(int64)
		if v[1] != int64(1) {
			w.load.c.problem("%s: ledger:add(%q) happened %v times", w.name, a.id, v[1])
		}
	}
	w.load.mu.Lock()
	w.load.adds = append(w.load.adds, a)
	w.load.mu.Unlock()
}

// lock acquires a lock, or gives it back.
func (w *worker) lock(i int) {
	name := fmt.Sprintf("l%d", w.rng.IntN(2))
	if i%2 == 1 {
		_, err := w.cl.Call(context.Background(), "lock", "release", name, w.name)
		w.told("lock:release", err)
		return
	}
	g := grant{name: name, owner: w.name, call: w.load.now()}
	v, err := w.cl.Call(context.Background(), "lock", "try_acquire", name, w.name, lockTTL)
	g.ret = w.load.now()
	if w.told("lock:try_acquire", err) != happened || v[0] == nil {
		return
	}
	g.token, _ = v[0].(int64)
	w.load.mu.Lock()
	w.load.grants = append(w.load.grants, g)
	w.load.mu.Unlock()
}
