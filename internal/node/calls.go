package node

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// callKeysMax bounds the methods that are counted apart; the calls of others
	// are counted together. One key costs some 2 KiB.
	callKeysMax = 256
	// callSweep is how often keys that were not called meanwhile may give their
	// place to others.
	callSweep = time.Minute
	// slowKept calls are kept for slowWindow.
	slowKept   = 16
	slowWindow = time.Minute
	failedKept = 32
	// callTextMax cuts names and messages of single calls.
	callTextMax = 200
	// callNamesMax is how long the names of an object and a method may be to be kept
	// while the call is open; calls under longer ones are counted together.
	callNamesMax = 1 << 10
	// openCallsMin and openCallsMax bound the calls of one connection that are
	// timed at once. Further ones take the places of those that wait longest.
	openCallsMin = 16
	openCallsMax = 1024
)

// calls counts what clients call, for `syncsh top`. It stands in the way of
// every call, so counting takes no lock and allocates nothing: a lock is taken
// for a method that is new, a call that is slow and one that fails.
type calls struct {
	began time.Time
	// counts by the bytes that name object and method; the map is never changed but
	// replaced.
	counts atomic.Pointer[map[string]*callCount]
	other  callCount
	// A call that took longer than slowLeast, or ended after slowUntil, is one for
	// the list of the slowest; in nanoseconds.
	slowLeast, slowUntil atomic.Int64

	mu       sync.Mutex // of what follows, and of replacing counts
	sweptAt  time.Duration
	slow     []callSample
	failed   [failedKept]callSample
	failures uint64 // the next one goes to failed[failures%failedKept]
}

// callCount counts the calls of one method.
type callCount struct {
	object, method string
	calls, failed  atomic.Uint64
	latency        [wire.LatencyBuckets]atomic.Uint64
	swept          uint64 // calls at the last sweep
}

// callSample is one call that is kept. Times are since calls.began.
type callSample struct {
	object, method string
	took, ended    time.Duration
	code           command.Code
	message        string
}

func newCalls() *calls {
	c := &calls{began: time.Now()}
	c.counts.Store(&map[string]*callCount{})
	c.slowUntil.Store(math.MaxInt64)
	return c
}

// openCall is a call that is not answered yet.
type openCall struct {
	id    uint64
	began time.Duration
	count *callCount // nil: of names that were not called before
	names []byte     // those then
}

func (o *openCall) empty() bool { return o.count == nil && o.names == nil }

// openCalls are those of a connection: the one with an id is at the id modulo
// their length, a power of two. Clients number from 0 on, so places are free.
type openCalls []openCall

// put returns the call whose place it took, empty if that was free.
func (o *openCalls) put(call openCall) (displaced openCall) {
	for {
		if len(*o) > 0 {
			at := &(*o)[call.id&uint64(len(*o)-1)]
			if at.empty() || len(*o) >= openCallsMax {
				displaced, *at = *at, call
				return displaced
			}
		}
		old := *o
		*o = make(openCalls, max(2*len(old), openCallsMin))
		for i := range old { // of two that had places of their own none meet here
			(*o)[old[i].id&uint64(len(*o)-1)] = old[i]
		}
	}
}

// take returns the call with an id; it is empty if there is none.
func (o openCalls) take(id uint64) (call openCall) {
	if len(o) == 0 {
		return call
	}
	if at := &o[id&uint64(len(o)-1)]; at.id == id {
		call, *at = *at, openCall{}
	}
	return call
}

// now is the time as all of this file takes it.
func (c *calls) now() time.Duration { return time.Since(c.began) }

// arrive appends the calls among requests that have arrived.
func (c *calls) arrive(arrived []openCall, burst []request, now time.Duration) []openCall {
	counts := *c.counts.Load()
	for i := range burst {
		names := callNames(&burst[i].req)
		if names == nil {
			continue
		}
		call := openCall{id: burst[i].req.ID, began: now}
		switch call.count = counts[string(names)]; {
		case call.count != nil:
		case len(names) > callNamesMax:
			call.count = &c.other
		default: // a copy: names alias the chunk of the stream that the request came in
			call.names = bytes.Clone(names)
		}
		arrived = append(arrived, call)
	}
	return arrived
}

// begin notes calls that wait for their answers from now on.
func (c *calls) begin(open *openCalls, arrived []openCall) {
	for i := range arrived {
		if old := open.put(arrived[i]); old.count != nil { // it is answered one day, untimed
			old.count.calls.Add(1)
		} else if old.names != nil {
			c.other.calls.Add(1)
		}
	}
}

// callNames are the bytes of a request that name an object and a method, or an
// object of which a field is read; nil for other requests.
func callNames(req *wire.Request) []byte {
	d := codec.NewDecoder(req.Payload)
	names := 2
	switch req.Op {
	case wire.OpPropose:
		if h, err := command.DecodeHead(&d); err != nil || h.Kind != command.Call {
			return nil
		}
	case wire.OpQuery:
		if _, err := d.ArrayLen(); err != nil {
			return nil
		}
		kind, err := d.Uint()
		switch {
		case err == nil && command.QueryKind(kind) == command.Query:
		case err == nil && command.QueryKind(kind) == command.Get:
			names = 1
		default:
			return nil
		}
	default:
		return nil
	}
	from := d.Offset()
	for range names {
		if _, err := d.Bytes(); err != nil {
			return nil
		}
	}
	return req.Payload[from:d.Offset()]
}

// splitNames reads what callNames found.
func splitNames(names []byte) (object, method string) {
	d := codec.NewDecoder(names)
	object, _ = d.String() // callNames has read both
	if d.Left() > 0 {
		method, _ = d.String()
	}
	return object, method
}

// end counts a call that is answered.
func (c *calls) end(call *openCall, result []byte, now time.Duration) {
	took := now - call.began
	code := resultCode(result)
	count := call.count
	if count == nil {
		count = c.count(call.names, code, now)
	}
	count.calls.Add(1)
	count.latency[wire.LatencyBucket(took.Microseconds())].Add(1)
	if int64(took) > c.slowLeast.Load() || int64(now) > c.slowUntil.Load() {
		c.keepSlow(c.sample(call, took, now, code))
	}
	if code != command.CodeOK {
		count.failed.Add(1)
		c.keepFailed(c.sample(call, took, now, code), result)
	}
}

// resultCode reads how a call ended; an unreadable result does not occur.
func resultCode(result []byte) command.Code {
	d := codec.NewDecoder(result)
	if _, err := d.ArrayLen(); err != nil { // one more with times
		return command.CodeOK
	}
	d.Uint() //nolint:errcheck // the index; what follows it fails as well
	code, _ := d.Uint()
	return command.Code(code)
}

// count finds or makes the counter of a method that was not known when the call
// arrived. Only a method that has run gets one, so that names that don't exist
// take no room.
func (c *calls) count(names []byte, code command.Code, now time.Duration) *callCount {
	if known := (*c.counts.Load())[string(names)]; known != nil {
		return known
	}
	if code != command.CodeOK && code != command.CodeScript && code != command.CodeBudget {
		return &c.other
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.counts.Load()
	if known := old[string(names)]; known != nil {
		return known
	}
	counts := maps.Clone(old)
	if len(counts) >= callKeysMax && now-c.sweptAt >= callSweep {
		c.sweptAt = now
		maps.DeleteFunc(counts, func(_ string, n *callCount) bool {
			called := n.calls.Load()
			idle := called == n.swept
			n.swept = called
			return idle
		})
	}
	if len(counts) >= callKeysMax {
		return &c.other
	}
	n := &callCount{}
	n.object, n.method = splitNames(names)
	counts[string(names)] = n
	c.counts.Store(&counts)
	return n
}

func (c *calls) sample(call *openCall, took, now time.Duration, code command.Code) callSample {
	s := callSample{took: took, ended: now, code: code}
	if call.count != nil {
		s.object, s.method = call.count.object, call.count.method
	} else {
		s.object, s.method = splitNames(call.names)
		s.object, s.method = cut(s.object), cut(s.method)
	}
	return s
}

// cut makes a copy of the beginning of a text, which may be a client's of any
// length.
func cut(text string) string {
	if len(text) <= callTextMax {
		return text
	}
	n := callTextMax
	for n > callTextMax-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.Clone(text[:n]) + "..."
}

// keepSlow takes a call among the slowest, if it is one.
func (c *calls) keepSlow(s callSample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetSlow(s.ended)
	if len(c.slow) == slowKept {
		if least := c.leastSlow(); s.took > c.slow[least].took {
			c.slow[least] = s
		}
	} else {
		c.slow = append(c.slow, s)
	}
	if len(c.slow) == slowKept {
		c.slowLeast.Store(int64(c.slow[c.leastSlow()].took))
	}
	until := s.ended
	for i := range c.slow {
		until = min(until, c.slow[i].ended)
	}
	c.slowUntil.Store(int64(until + slowWindow))
}

// forgetSlow drops calls that ended too long ago. The caller holds mu.
func (c *calls) forgetSlow(now time.Duration) {
	c.slow = slices.DeleteFunc(c.slow, func(s callSample) bool { return now-s.ended > slowWindow })
	if len(c.slow) < slowKept {
		c.slowLeast.Store(0)
	}
}

func (c *calls) leastSlow() (at int) {
	for i := range c.slow {
		if c.slow[i].took < c.slow[at].took {
			at = i
		}
	}
	return at
}

func (c *calls) keepFailed(s callSample, result []byte) {
	d := codec.NewDecoder(result)
	if r, err := command.DecodeResult(&d); err == nil {
		s.message = cut(r.Message)
	}
	c.mu.Lock()
	c.failed[c.failures%failedKept] = s
	c.failures++
	c.mu.Unlock()
}

// report tells what was counted.
func (c *calls) report(now time.Duration) *wire.Calls {
	r := &wire.Calls{Counts: []wire.CallCount{}, Slowest: []wire.CallSample{}, Failed: []wire.CallSample{}}
	for _, n := range *c.counts.Load() {
		r.Counts = append(r.Counts, n.report())
	}
	slices.SortFunc(r.Counts, func(x, y wire.CallCount) int {
		return cmp.Or(cmp.Compare(x.Object, y.Object), cmp.Compare(x.Method, y.Method))
	})
	if c.other.calls.Load() > 0 {
		r.Counts = append(r.Counts, c.other.report())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetSlow(now)
	for i := range c.slow {
		r.Slowest = append(r.Slowest, c.slow[i].report(now))
	}
	slices.SortFunc(r.Slowest, func(x, y wire.CallSample) int { return cmp.Compare(y.Micros, x.Micros) })
	for i := range min(c.failures, failedKept) {
		r.Failed = append(r.Failed, c.failed[(c.failures-1-i)%failedKept].report(now))
	}
	return r
}

func (n *callCount) report() wire.CallCount {
	r := wire.CallCount{Object: n.object, Method: n.method, Calls: n.calls.Load(), Failed: n.failed.Load(), Latency: []uint64{}}
	for i := range n.latency {
		if took := n.latency[i].Load(); took > 0 {
			r.Latency = append(r.Latency, uint64(i), took)
		}
	}
	return r
}

func (s *callSample) report(now time.Duration) wire.CallSample {
	return wire.CallSample{
		Object: s.object, Method: s.method, Micros: s.took.Microseconds(), AgoMs: (now - s.ended).Milliseconds(),
		Code: s.code.String(), Message: s.message,
	}
}
