package top

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/wire"
)

// status is a cluster of three: n1 leads, n3 is lost, n2 is older than the
// question for calls. n1 has run for so many seconds, with so many calls of
// counter:inc behind it, one in ten of which failed, each of 1 ms.
func status(seconds, calls uint64) *client.Status {
	bucket := uint64(wire.LatencyBucket(1000))
	return &client.Status{
		Healthy: true, Cluster: "0123456789abcdef", Leader: "n1", Term: 7, Voters: 3, Index: client.StatusIndex{Commit: 1000, Applied: 1000},
		Nodes: []client.StatusNode{
			{Name: "n1", ID: "1", Role: "leader", Leader: "n1", Alive: true, Term: 7, Commit: 1000, Applied: 1000, UptimeSeconds: float64(seconds),
				Calls: &wire.Calls{
					Counts: []wire.CallCount{
						{Object: "counter", Method: "inc", Calls: calls, Failed: calls / 10, Latency: []uint64{bucket, calls}},
						{Object: "counter", Calls: 3, Latency: []uint64{bucket, 3}},
						{Calls: 1, Failed: 1, Latency: []uint64{bucket, 1}},
					},
					Slowest: []wire.CallSample{{Object: "counter", Method: "inc", Micros: 1500, AgoMs: 3000, Code: "ok"}},
					Failed:  []wire.CallSample{{Object: "counter", Method: "\x1b[2Jinc", Micros: 9, AgoMs: 2000, Code: "script", Message: "too\nmuch"}},
				}},
			{Name: "n2", ID: "2", Role: "follower", Leader: "n1", Alive: true, Term: 7, Commit: 990, Applied: 980, UptimeSeconds: 5},
			{Name: "n3", ID: "3", Role: "follower"},
		},
	}
}

func TestView(t *testing.T) {
	v := New(status(100, 1000), status(102, 1200))
	if v.Seconds != 2 || v.CallsPerSecond != 100 || v.FailedPerSecond != 10 || v.P50Ms == nil || *v.P50Ms < 0.9 || *v.P50Ms > 1.1 {
		t.Errorf("%+v", v.Rate)
	}
	n1, n2, n3 := v.Nodes[0], v.Nodes[1], v.Nodes[2]
	if n1.CallsPerSecond != 100 || !n1.Counts || n1.Trouble != "" || n1.Lag != 0 {
		t.Errorf("n1: %+v", n1)
	}
	if n2.Counts || n2.Lag != 20 || n2.P99Ms != nil {
		t.Errorf("n2: %+v", n2)
	}
	if n3.Trouble != "lost" || n3.Lag != 0 || n3.Alive {
		t.Errorf("n3: %+v", n3)
	}
	if m := v.Calls[0]; len(v.Calls) != 3 || m.Object+":"+m.Method != "counter:inc" || m.Calls != 1200 || m.Failed != 120 || m.CallsPerSecond != 100 || m.FailedPerSecond != 10 {
		t.Errorf("%+v", v.Calls)
	}
	if m := v.Calls[1]; m.CallsPerSecond != 0 || m.P50Ms != nil || m.Calls != 3 {
		t.Errorf("a method that was not called: %+v", m)
	}
}

// Counters that began anew are no negative rates, and none too high ones.
func TestRestartedNode(t *testing.T) {
	for _, calls := range []uint64{10, 2000} {
		v := New(status(100, 1000), status(1, calls))
		if v.Seconds != 0 || v.CallsPerSecond != 0 || v.P50Ms != nil || v.Calls[0].Calls != calls {
			t.Errorf("%+v", v)
		}
	}
	v := New(status(100, 1000), status(101, 10)) // the method had lost its counter
	if v.CallsPerSecond != 10 {
		t.Errorf("%+v", v)
	}
	if v = New(nil, status(100, 1000)); v.Seconds != 0 || v.CallsPerSecond != 0 {
		t.Errorf("the first picture: %+v", v)
	}
}

const picture = `healthy: leader n1, term 7, voters 3, failures tolerated 0
cluster 01234567, commit 1000, 100 calls/s, 10 failed/s, p50 0.99 ms, p99 0.99 ms

NODE  ROLE      TERM  APPLIED  LAG  CALLS/S  FAILED/S  P50 MS  P99 MS  HEALTH
n1    leader       7     1000    0      100        10    0.99    0.99  ok
n2    follower     7      980   20        -         -       -       -  ok
n3    follower     -        -    -        -         -       -       -  lost

OBJECT    METHOD    CALLS/S  FAILED/S  P50 MS  P99 MS  CALLS  FAILED
counter   inc           100        10    0.99    0.99   1200     120
counter   (fields)        0         0       -       -      3       0
(others)                  0         0       -       -      1       1

SLOWEST OF THE LAST MINUTE  NODE    MS  AGO  ENDED
counter:inc                 n1    1.50   3s  ok

FAILED LAST      NODE    MS  AGO  ENDED
counter:?[2Jinc  n1    0.01   2s  script: too much
`

func TestPlainPicture(t *testing.T) {
	v := New(status(100, 1000), status(102, 1200))
	if got := strings.Join(v.Lines(Layout{}), "\n") + "\n"; got != picture {
		t.Errorf("got\n%s\nwant\n%s", got, picture)
	}
	if got := strings.Join(v.Lines(Layout{Colours: true}), "\n"); !strings.Contains(got, "\x1b[31mlost\x1b[0m") || !strings.Contains(got, "\x1b[1mleader n1\x1b[0m") {
		t.Errorf("%q", got)
	}
	none := status(1, 1)
	none.Leader, none.Healthy = "", false
	if got := New(nil, none).Lines(Layout{})[0]; got != "NOT HEALTHY: no leader, term 7, voters 3, failures tolerated 0" {
		t.Error(got)
	}
}

// On every terminal the picture has no more lines and columns than that, the
// cluster first, the note last.
func TestPictureFits(t *testing.T) {
	now := status(102, 1200)
	for i := range 40 {
		now.Nodes[0].Calls.Counts = append(now.Nodes[0].Calls.Counts, wire.CallCount{Object: "o", Method: fmt.Sprintf("m%d", i), Calls: 1})
		now.Nodes[0].Calls.Slowest = append(now.Nodes[0].Calls.Slowest, wire.CallSample{Object: "slow", Micros: 1})
		now.Nodes = append(now.Nodes, client.StatusNode{Name: fmt.Sprintf("x%d", i)})
	}
	v := New(nil, now)
	few := New(nil, status(1, 1))
	for height := 1; height < 70; height++ {
		for _, width := range []int{1, 20, 80, 200} {
			for _, v := range []*View{v, few} {
				lines := v.Lines(Layout{Height: height, Width: width, Note: "q leaves"})
				if len(lines) > height {
					t.Fatalf("%d lines of %d", len(lines), height)
				}
				for _, line := range lines {
					if utf8.RuneCountInString(line) > width {
						t.Fatalf("%d columns: %q", width, line)
					}
				}
				if last := lines[len(lines)-1]; width >= 20 && last != "q leaves" {
					t.Fatalf("the last of %d lines is %q", height, last)
				}
			}
		}
	}
	lines := v.Lines(Layout{Height: 60, Width: 80, Note: "q"})
	if lines[len(lines)-2] == "" {
		t.Errorf("there is room left, and tables are cut:\n%s", strings.Join(lines, "\n"))
	}
	if lines = v.Lines(Layout{Height: 24, Width: 80, Note: "q"}); !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "OBJECT") }) ||
		!slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "FAILED") }) {
		t.Errorf("24 lines lack a table:\n%s", strings.Join(lines, "\n"))
	}
}

// source answers with one after the other.
type source struct{ answers []*client.Status }

func (s *source) CallStatus(context.Context) (*client.Status, error) {
	if len(s.answers) == 0 {
		return nil, errors.New("nobody answers")
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a, nil
}

func TestOnce(t *testing.T) {
	v, err := Once(context.Background(), &source{[]*client.Status{status(1, 10), status(2, 30)}}, time.Millisecond)
	if err != nil || v.CallsPerSecond != 20 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := Once(context.Background(), &source{[]*client.Status{status(1, 10)}}, time.Millisecond); err == nil {
		t.Error("no error when the second question has no answer")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Once(ctx, &source{[]*client.Status{status(1, 10)}}, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
