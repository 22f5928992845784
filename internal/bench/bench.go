// Package bench is the load generator behind `syncsh bench`: many connections,
// each with several calls in flight, a latency histogram, and at the end a check
// that what was acknowledged has happened exactly once.
//
// Calls are issued by the callback of the call before, so a run costs two
// goroutines a connection and no allocation a call: the client shares its
// machine with the nodes it measures.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// Limits of Options, and what `syncsh bench` has by default.
const (
	ClientsDefault  = 64
	ClientsMax      = 4096
	PipelineDefault = 16
	PipelineMax     = 4096
	DurationDefault = 10 * time.Second

	// Latencies are in microseconds with three digits; longer ones count as this.
	latencyMax    = int64(10 * time.Minute / time.Microsecond)
	latencyDigits = 3
	// After an answer that says that nothing happened, its slot pauses: else a
	// cluster without a leader would be measured by how fast it refuses.
	pauseRefused = 10 * time.Millisecond
)

// ErrCheck is returned when the object did not grow by what was acknowledged.
var ErrCheck = errors.New("bench: acknowledged calls and the object's value do not match")

// ErrNothing is returned, wrapped around the last error, when no call succeeded.
var ErrNothing = errors.New("bench: no call succeeded")

// ErrOptions is returned, wrapped, for Options that no run is possible with.
var ErrOptions = errors.New("bench: bad options")

// Options of a run.
type Options struct {
	Addrs    []string // client number i begins with the i-th, modulo their number
	Object   string
	Method   string // replicated or query
	Args     []any
	Clients  int // connections
	Pipeline int // calls in flight on each
	Duration time.Duration
	Timeout  time.Duration // of a call; 0: the client's default
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	Progress func(Progress) // called several times a second; nil: nobody looks
}

// Progress is how far a run is.
type Progress struct {
	Elapsed      time.Duration
	Acknowledged uint64  // so far
	PerSecond    float64 // of late
	Errors       uint64  // so far
}

// progressPeriod is how often it is told.
const progressPeriod = 200 * time.Millisecond

func (o *Options) check() error {
	if o.Timeout == 0 {
		o.Timeout = client.DefaultTimeout
	}
	switch {
	case o.Clients < 1 || o.Clients > ClientsMax:
		return fmt.Errorf("%w: %d clients, 1 to %d are possible", ErrOptions, o.Clients, ClientsMax)
	case o.Pipeline < 1 || o.Pipeline > PipelineMax:
		return fmt.Errorf("%w: %d calls in flight for each client, 1 to %d are possible", ErrOptions, o.Pipeline, PipelineMax)
	case o.Duration <= 0:
		return fmt.Errorf("%w: a duration of %v, which must be positive", ErrOptions, o.Duration)
	case o.Timeout < 0:
		return fmt.Errorf("%w: a timeout of %v, which must be positive", ErrOptions, o.Timeout)
	case len(o.Addrs) == 0:
		return fmt.Errorf("%w: no address", ErrOptions)
	}
	return nil
}

func badArgument(format string, args ...any) error {
	return &client.Error{Code: client.CodeBadArgument, Message: fmt.Sprintf(format, args...)}
}

// Run makes the load until the duration or ctx ends. A report comes with a nil
// error, with ErrCheck and with ErrNothing.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{o: o}
	defer r.close()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	before, skip := r.value(ctx)
	report := r.load(ctx)
	report.Check, report.CheckDetail = CheckSkipped, skip
	if last := r.lastError(); report.Acknowledged == 0 && last != nil {
		return report, fmt.Errorf("%w: %w", ErrNothing, last)
	}
	if skip != "" {
		return report, nil
	}
	// Also after an interrupt: what was acknowledged until then is checked.
	after, skip := r.value(context.WithoutCancel(ctx))
	if skip != "" {
		report.CheckDetail = "value after the run: " + skip
		return report, nil
	}
	report.compare(before, after, r.step)
	if report.Check == CheckFailed {
		return report, fmt.Errorf("%w: %s", ErrCheck, report.CheckDetail)
	}
	return report, nil
}

// A run under way.
type run struct {
	o       Options
	op      wire.Op
	payload []byte
	step    float64 // by how much one call lets the counter grow; 0: unknown
	workers []*worker
	started time.Time
	stopped atomic.Bool
	open    sync.WaitGroup // calls in flight
}

// A worker is one connection. Its callbacks run on the client's reader, some on
// its keeper: mu is all but free.
type worker struct {
	r *run
	c *client.Client

	mu       sync.Mutex
	latency  *hdrhistogram.Histogram
	acked    uint64
	inWindow uint64 // of acked: before the end of the duration
	unknown  uint64
	errors   map[client.Code]uint64
	last     error
}

// A slot is one place in a worker's pipeline.
type slot struct {
	w     *worker
	began time.Duration
	done  func(command.Result, error) // made once: a closure a call would be an allocation a call
}

func (r *run) connect(ctx context.Context) error {
	for i := range r.o.Clients {
		at := i % len(r.o.Addrs)
		addrs := append(slices.Clone(r.o.Addrs[at:]), r.o.Addrs[:at]...)
		c, err := client.Dial(ctx, client.Config{Addrs: addrs, Timeout: r.o.Timeout, Name: "bench", Dial: r.o.Dial})
		if err != nil {
			return err
		}
		r.workers = append(r.workers, &worker{
			r: r, c: c, latency: hdrhistogram.New(1, latencyMax, latencyDigits), errors: map[client.Code]uint64{},
		})
	}
	return nil
}

func (r *run) close() {
	for _, w := range r.workers {
		w.c.Close()
	}
}

// prepare finds the method and encodes the call, once for all.
func (r *run) prepare(ctx context.Context) error {
	d, err := r.workers[0].c.Describe(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Objects, func(o command.Object) bool { return o.Name == r.o.Object })
	if i < 0 {
		return &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("no object %q is deployed", r.o.Object)}
	}
	object := d.Objects[i]
	if object.Prototype != "" { // the methods are the prototype's
		if at := slices.IndexFunc(d.Objects, func(o command.Object) bool { return o.Name == object.Prototype }); at >= 0 && len(object.Methods) == 0 {
			object.Methods = d.Objects[at].Methods
		}
	}
	i = slices.IndexFunc(object.Methods, func(m command.Method) bool { return m.Name == r.o.Method })
	if i < 0 {
		return &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("%s has no method %q", r.o.Object, r.o.Method)}
	}
	args, err := client.EncodeArgs(r.o.Args...)
	if err != nil {
		return err
	}
	switch kind := object.Methods[i].Kind; kind {
	case command.Replicated:
		r.op, r.payload = wire.OpPropose, command.AppendCall(nil, 0, 0, r.o.Object, r.o.Method, args)
	case command.QueryOnly:
		r.op, r.payload = wire.OpQuery, command.AppendQuery(nil, r.o.Object, r.o.Method, args)
	default:
		return badArgument("%s.%s is a %v method, which runs in the client", r.o.Object, r.o.Method, kind)
	}
	r.step = step(r.o)
	return nil
}

// step is by how much a call lets a counter grow: inc() by 1, inc(n) by n.
func step(o Options) float64 {
	if o.Method != "inc" || len(o.Args) > 1 {
		return 0
	}
	if len(o.Args) == 0 {
		return 1
	}
	b, err := client.EncodeArgs(o.Args...)
	if err != nil {
		return 0
	}
	v, err := client.DecodeValues(b)
	if err != nil || len(v) != 1 {
		return 0
	}
	n, ok := number(v[0])
	if !ok || n <= 0 || !exact(n) {
		return 0
	}
	return n
}

// exact tells whether sums of such numbers are not rounded: else a counter would
// be said to have grown by more or less than what was acknowledged.
func exact(n float64) bool { return n == math.Trunc(n) && math.Abs(n) <= 1<<53 }

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// value reads the counter, or says why the check is skipped.
func (r *run) value(ctx context.Context) (v float64, skip string) {
	if r.step == 0 {
		return 0, fmt.Sprintf("%s.%s is not inc with a positive whole step", r.o.Object, r.o.Method)
	}
	values, err := r.workers[0].c.Query(ctx, r.o.Object, "get")
	if err != nil {
		return 0, fmt.Sprintf("%s.get: %v", r.o.Object, err)
	}
	if len(values) == 1 {
		n, ok := number(values[0])
		if ok && exact(n) {
			return n, ""
		}
		if ok {
			return 0, fmt.Sprintf("%s.get returns %v, which is rounded as it grows", r.o.Object, n)
		}
	}
	return 0, fmt.Sprintf("%s.get does not return one number", r.o.Object)
}

// load runs the calls and collects what came of them.
func (r *run) load(ctx context.Context) *Report {
	ctx, cancel := context.WithTimeout(ctx, r.o.Duration)
	defer cancel()
	r.started = time.Now()
	for _, w := range r.workers {
		for range r.o.Pipeline {
			s := &slot{w: w}
			s.done = s.ended
			r.open.Add(1)
			s.issue(0)
		}
	}
	r.watch(ctx)
	r.stopped.Store(true)
	window := time.Since(r.started)
	r.open.Wait()
	return r.report(window)
}

func (s *slot) issue(now time.Duration) {
	s.began = now
	s.w.c.Do(s.w.r.op, client.Linearizable, 0, s.w.r.payload, s.done)
}

// ended takes an answer and issues the next call.
func (s *slot) ended(_ command.Result, err error) {
	w := s.w
	now := time.Since(w.r.started)
	stopped := w.r.stopped.Load()
	code := client.CodeOf(err)
	w.mu.Lock()
	if code == client.CodeOK {
		w.acked++
		if !stopped {
			w.inWindow++
		}
		_ = w.latency.RecordValue(min(int64((now-s.began)/time.Microsecond), latencyMax)) // in range by the min
	} else {
		w.errors[code]++
		w.last = err
		if code == client.CodeTimeout {
			w.unknown++
		}
	}
	w.mu.Unlock()
	switch {
	case stopped || code == client.CodeClosed:
		w.r.open.Done()
	case code == client.CodeOK || code == client.CodeTimeout:
		s.issue(now)
	default:
		time.AfterFunc(pauseRefused, func() { s.issue(time.Since(w.r.started)) })
	}
}

// lastError is one that a call ended with, nil if none did.
func (r *run) lastError() error {
	for _, w := range r.workers {
		w.mu.Lock()
		err := w.last
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// watch waits for the end and tells progress.
func (r *run) watch(ctx context.Context) {
	if r.o.Progress == nil {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(progressPeriod)
	defer tick.Stop()
	var last Progress
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := Progress{Elapsed: time.Since(r.started)}
		for _, w := range r.workers {
			w.mu.Lock()
			now.Acknowledged += w.acked
			for _, e := range w.errors {
				now.Errors += e
			}
			w.mu.Unlock()
		}
		now.PerSecond = float64(now.Acknowledged-last.Acknowledged) / (now.Elapsed - last.Elapsed).Seconds()
		r.o.Progress(now)
		last = now
	}
}
