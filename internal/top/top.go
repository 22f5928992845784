// Package top is what `syncsh top` shows: how the members are, and what clients
// call. Members count calls since they started (wire.Calls); what is shown is
// the difference of two questions, so that any number of people may look.
package top

import (
	"cmp"
	"context"
	"slices"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/wire"
)

// Source is asked for the cluster: a client.Client.
type Source interface {
	CallStatus(ctx context.Context) (*client.Status, error)
}

// View is one picture, in JSON as `syncsh top --json` prints it.
type View struct {
	Healthy   bool               `json:"healthy"`
	Cluster   string             `json:"cluster"`
	Leader    string             `json:"leader"` // empty: none
	Term      uint64             `json:"term"`
	Voters    int                `json:"voters"`
	Tolerates int                `json:"tolerates"`
	Index     client.StatusIndex `json:"index"`
	// Seconds is the time between the two questions; 0 in the first picture, which
	// knows no rates.
	Seconds float64 `json:"seconds"`
	Rate
	Nodes   []Node   `json:"nodes"`
	Calls   []Method `json:"calls"`   // most called first
	Slowest []Sample `json:"slowest"` // of the last minute, slowest first
	Failed  []Sample `json:"failed"`  // the last ones, newest first
}

// Rate is what happened between the two questions. Latencies are those that the
// nodes saw, from the arrival of a request to its answer.
type Rate struct {
	CallsPerSecond  float64  `json:"calls_per_second"`
	FailedPerSecond float64  `json:"failed_per_second"`
	P50Ms           *float64 `json:"p50_ms"` // nil: no call
	P99Ms           *float64 `json:"p99_ms"`
}

// Node is one member. The calls are those of clients connected to it.
type Node struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Addr     string `json:"addr"`
	Role     string `json:"role"`
	Term     uint64 `json:"term"`
	Commit   uint64 `json:"commit"`
	Applied  uint64 `json:"applied"`
	Lag      uint64 `json:"lag"`   // how far it has applied less than the cluster has committed
	Alive    bool   `json:"alive"` // it answered
	Diverged bool   `json:"diverged"`
	Counts   bool   `json:"counts"` // it told of its calls
	Trouble  string `json:"trouble,omitempty"`
	Rate
}

// Method is a method of an object, of all nodes together. Without a name of a
// method it is reads of the object's fields, without an object all calls that no
// node had a counter for.
type Method struct {
	Object string `json:"object"`
	Method string `json:"method"`
	Calls  uint64 `json:"calls"`  // since the nodes started
	Failed uint64 `json:"failed"` // of them
	Rate
}

// Sample is one call.
type Sample struct {
	Object     string  `json:"object"`
	Method     string  `json:"method"`
	Node       string  `json:"node"`
	Ms         float64 `json:"ms"`
	SecondsAgo float64 `json:"seconds_ago"`
	Code       string  `json:"code"`
	Message    string  `json:"message,omitempty"`
}

// samplesMax bounds each list of single calls.
const samplesMax = 32

// tally is the difference of two counts.
type tally struct {
	calls, failed uint64
	latency       [wire.LatencyBuckets]uint64
}

func (t *tally) add(o *tally) {
	t.calls += o.calls
	t.failed += o.failed
	for i, n := range o.latency {
		t.latency[i] += n
	}
}

// rate is what a tally is in a second.
func (t *tally) rate(seconds float64) Rate {
	if seconds <= 0 {
		return Rate{}
	}
	return Rate{float64(t.calls) / seconds, float64(t.failed) / seconds, t.percentile(0.5), t.percentile(0.99)}
}

// percentile is in milliseconds; nil without calls.
func (t *tally) percentile(share float64) *float64 {
	all := uint64(0)
	for _, n := range t.latency {
		all += n
	}
	if all == 0 {
		return nil
	}
	rank := max(uint64(share*float64(all)+0.5), 1)
	for i, n := range t.latency {
		if rank <= n {
			ms := wire.LatencyOf(i) / 1000
			return &ms
		}
		rank -= n
	}
	return nil
}

// New makes the picture of what was asked now and before; before is nil the
// first time.
func New(before, now *client.Status) *View {
	v := &View{
		Healthy: now.Healthy, Cluster: now.Cluster, Leader: now.Leader, Term: now.Term, Voters: now.Voters, Tolerates: now.Tolerates,
		Index: now.Index, Nodes: []Node{}, Calls: []Method{}, Slowest: []Sample{}, Failed: []Sample{},
	}
	b := builder{view: v, methods: map[[2]string]*methodTally{}}
	for i := range now.Nodes {
		b.node(earlier(before, &now.Nodes[i]), &now.Nodes[i])
	}
	b.finish()
	return v
}

// earlier is what the node said before, nil if it said nothing or was started
// anew: then its counters began at 0 again.
func earlier(before *client.Status, now *client.StatusNode) *client.StatusNode {
	if before == nil {
		return nil
	}
	i := slices.IndexFunc(before.Nodes, func(n client.StatusNode) bool { return n.ID == now.ID })
	if i < 0 || before.Nodes[i].Calls == nil || before.Nodes[i].UptimeSeconds >= now.UptimeSeconds {
		return nil
	}
	return &before.Nodes[i]
}

// builder puts a View together.
type builder struct {
	view    *View
	all     tally
	perS    Rate
	methods map[[2]string]*methodTally
}

// methodTally is one method of all nodes. Nodes are not asked at the same
// moment, so each has a rate of its own and these are added.
type methodTally struct {
	Method
	tally
}

func (b *builder) node(before, now *client.StatusNode) {
	n := Node{
		Name: now.Name, ID: now.ID, Addr: now.Addr, Role: now.Role, Term: now.Term, Commit: now.Commit, Applied: now.Applied,
		Alive: now.Alive, Diverged: now.Diverged, Counts: now.Calls != nil, Trouble: trouble(now),
	}
	if n.Alive {
		n.Lag = max(b.view.Index.Commit, n.Applied) - n.Applied
	}
	if now.Calls != nil {
		b.samples(now)
		seconds := 0.0
		if before != nil {
			seconds = now.UptimeSeconds - before.UptimeSeconds
		}
		var node tally
		for i := range now.Calls.Counts {
			d := b.count(before, &now.Calls.Counts[i], seconds)
			node.add(&d)
		}
		if n.Rate = node.rate(seconds); before != nil {
			b.view.Seconds = max(b.view.Seconds, seconds)
			b.all.add(&node)
			b.perS.CallsPerSecond += n.CallsPerSecond
			b.perS.FailedPerSecond += n.FailedPerSecond
		}
	}
	b.view.Nodes = append(b.view.Nodes, n)
}

// trouble says in a few words what is wrong with a member.
func trouble(n *client.StatusNode) string {
	switch {
	case !n.Alive:
		return "lost"
	case n.Diverged:
		return "diverged"
	case n.Undecided:
		return "undecided"
	case n.DiskFull != "":
		return "disk full"
	case n.Leader == "":
		return "no leader"
	}
	return ""
}

// count adds what a node says of one method to that of the others, and returns
// what is new since before.
func (b *builder) count(before *client.StatusNode, now *wire.CallCount, seconds float64) (d tally) {
	key := [2]string{now.Object, now.Method}
	m := b.methods[key]
	if m == nil {
		m = &methodTally{Method: Method{Object: now.Object, Method: now.Method}}
		b.methods[key] = m
	}
	m.Calls += now.Calls
	m.Method.Failed += now.Failed
	if before == nil {
		return d
	}
	d.calls, d.failed = now.Calls, now.Failed
	if wire.AddLatency(&d.latency, now.Latency) != nil {
		d.latency = [wire.LatencyBuckets]uint64{} // of a node that counts in another way
	}
	d.subtract(before, now)
	r := d.rate(seconds)
	m.CallsPerSecond += r.CallsPerSecond
	m.FailedPerSecond += r.FailedPerSecond
	m.add(&d)
	return d
}

// subtract takes away what the node had counted before. Counts are below those
// of before when a method gave its place to others and came back: it began at 0.
func (t *tally) subtract(before *client.StatusNode, now *wire.CallCount) {
	i := slices.IndexFunc(before.Calls.Counts, func(c wire.CallCount) bool { return c.Object == now.Object && c.Method == now.Method })
	if i < 0 || before.Calls.Counts[i].Calls > now.Calls {
		return
	}
	old := &before.Calls.Counts[i]
	var latency [wire.LatencyBuckets]uint64
	if wire.AddLatency(&latency, old.Latency) != nil {
		return
	}
	t.calls -= old.Calls
	t.failed -= min(old.Failed, t.failed)
	for i, n := range latency {
		t.latency[i] -= min(n, t.latency[i])
	}
}

// samples takes the single calls of a node.
func (b *builder) samples(n *client.StatusNode) {
	take := func(to *[]Sample, from []wire.CallSample) {
		for _, s := range from {
			*to = append(*to, Sample{s.Object, s.Method, n.Name, float64(s.Micros) / 1000, float64(s.AgoMs) / 1000, s.Code, s.Message})
		}
	}
	take(&b.view.Slowest, n.Calls.Slowest)
	take(&b.view.Failed, n.Calls.Failed)
}

func (b *builder) finish() {
	v := b.view
	v.Rate = b.perS
	v.P50Ms, v.P99Ms = b.all.percentile(0.5), b.all.percentile(0.99)
	for _, m := range b.methods {
		m.P50Ms, m.P99Ms = m.percentile(0.5), m.percentile(0.99)
		v.Calls = append(v.Calls, m.Method)
	}
	slices.SortFunc(v.Calls, func(x, y Method) int {
		return cmp.Or(cmp.Compare(y.CallsPerSecond, x.CallsPerSecond), cmp.Compare(y.Calls, x.Calls),
			cmp.Compare(x.Object, y.Object), cmp.Compare(x.Method, y.Method))
	})
	slices.SortStableFunc(v.Slowest, func(x, y Sample) int { return cmp.Compare(y.Ms, x.Ms) })
	slices.SortStableFunc(v.Failed, func(x, y Sample) int { return cmp.Compare(x.SecondsAgo, y.SecondsAgo) })
	v.Slowest = v.Slowest[:min(len(v.Slowest), samplesMax)]
	v.Failed = v.Failed[:min(len(v.Failed), samplesMax)]
}
