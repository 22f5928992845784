package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What the check found.
const (
	CheckOK      = "ok"
	CheckFailed  = "failed"
	CheckSkipped = "skipped"
)

// Report of a run; in JSON it is what `syncsh bench --json` prints.
type Report struct {
	Object         string            `json:"object"`
	Method         string            `json:"method"`
	Clients        int               `json:"clients"`
	Pipeline       int               `json:"pipeline"`
	Seconds        float64           `json:"seconds"`
	CallsPerSecond float64           `json:"calls_per_second"` // acknowledged within Seconds
	Latency        Latency           `json:"latency_us"`
	Errors         map[string]uint64 `json:"errors"` // by code
	Check          string            `json:"check"`  // ok, failed, skipped
	CheckDetail    string            `json:"check_detail,omitempty"`
	Acknowledged   uint64            `json:"acknowledged"` // calls, those of the last moment included
	Grew           float64           `json:"grew"`         // the counter's growth, in calls
	Unknown        uint64            `json:"unknown"`      // calls that may have happened
}

// Latency of the acknowledged calls, in microseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  int64   `json:"p50"`
	P90  int64   `json:"p90"`
	P99  int64   `json:"p99"`
	P999 int64   `json:"p99_9"`
	Max  int64   `json:"max"`
}

// report sums up the workers; no call is in flight any more.
func (r *run) report(window time.Duration) *Report {
	out := &Report{
		Object: r.o.Object, Method: r.o.Method, Clients: r.o.Clients, Pipeline: r.o.Pipeline,
		Seconds: window.Seconds(), Errors: map[string]uint64{},
	}
	all := hdrhistogram.New(1, latencyMax, latencyDigits)
	inWindow := uint64(0)
	for _, w := range r.workers {
		w.mu.Lock()
		all.Merge(w.latency)
		inWindow += w.inWindow
		out.Acknowledged += w.acked
		out.Unknown += w.unknown
		for code, n := range w.errors {
			out.Errors[code.String()] += n
		}
		w.mu.Unlock()
	}
	out.CallsPerSecond = float64(inWindow) / out.Seconds
	out.Latency = Latency{
		Mean: all.Mean(), P50: all.ValueAtQuantile(50), P90: all.ValueAtQuantile(90),
		P99: all.ValueAtQuantile(99), P999: all.ValueAtQuantile(99.9), Max: all.Max(),
	}
	return out
}

// compare holds the counter's growth against the calls. What is unknown may have
// happened or not.
func (r *Report) compare(before, after, step float64) {
	r.Grew = (after - before) / step
	least, most := float64(r.Acknowledged), float64(r.Acknowledged+r.Unknown)
	r.Check, r.CheckDetail = CheckOK, ""
	if !(r.Grew >= least && r.Grew <= most) {
		r.Check = CheckFailed
		r.CheckDetail = fmt.Sprintf("%d calls were acknowledged and %d are unknown, but the value grew by %s; did others change it meanwhile?", r.Acknowledged, r.Unknown, r.grewText())
	}
}

// WriteText writes the report as a table.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("call", "%s.%s", r.Object, r.Method)
	line("load", "%d clients x %d in flight, %.1f s", r.Clients, r.Pipeline, r.Seconds)
	line("calls/s", "%.0f", r.CallsPerSecond)
	for _, q := range []struct {
		name string
		us   int64
	}{{"p50", r.Latency.P50}, {"p90", r.Latency.P90}, {"p99", r.Latency.P99}, {"p99.9", r.Latency.P999}, {"max", r.Latency.Max}} {
		if r.Acknowledged == 0 {
			line(q.name, "-")
			continue
		}
		line(q.name, "%.3f ms", float64(q.us)/1000)
	}
	line("errors", "%s", r.errorsText())
	switch r.Check {
	case CheckSkipped:
		line("check", "skipped: %s", r.CheckDetail)
	default:
		line("check", "%s: %d acknowledged, grew by %s, %d unknown", r.Check, r.Acknowledged, r.grewText(), r.Unknown)
	}
	return t.Flush()
}

// grewText writes the growth so that it can be compared with the calls: a float
// is printed as 1.5e+06 from a million on.
func (r *Report) grewText() string { return strconv.FormatFloat(r.Grew, 'f', -1, 64) }

func (r *Report) errorsText() string {
	if len(r.Errors) == 0 {
		return "none"
	}
	var out []string
	for code, n := range r.Errors {
		out = append(out, fmt.Sprintf("%s %d", code, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
