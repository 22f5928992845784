package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/scripts"
)

// counting is a world with a counter.
func counting(t *testing.T, seed uint64, story func(string)) *World {
	t.Helper()
	w := New(Config{Seed: seed, Nodes: 3, Story: story})
	s, _ := scripts.Get("counter.lua")
	must(t, w.NewClient("deploy"), wire.OpDeploy, command.AppendDeploy(nil, 0, 0, []command.Script{s}))
	return w
}

func must(t *testing.T, c *Client, op wire.Op, payload []byte) float64 {
	t.Helper()
	r, err := c.Exec(context.Background(), op, wire.Linearizable, payload)
	if err != nil {
		t.Fatal(err)
	}
	d := codec.NewDecoder(r.Values)
	if n, err := d.ArrayLen(); err != nil || n == 0 || d.Peek() == codec.KindString {
		return 0
	}
	v, _ := d.Number()
	return v
}

func inc() []byte {
	return command.AppendCall(nil, 0, 0, "counter", "inc", codec.AppendArrayLen(nil, 0))
}

func get() []byte { return command.AppendQuery(nil, "counter", "get", nil) }

// TestCallsHappenOnce counts under faults: each call that is answered happened
// once, whatever was lost on the way.
func TestCallsHappenOnce(t *testing.T) {
	const calls = 50
	var total Stats
	for seed := uint64(1); seed <= 20; seed++ {
		w := counting(t, seed, nil)
		w.Faults()
		c := w.NewClient("c")
		for i := 1; i <= calls; i++ {
			if v := must(t, c, wire.OpPropose, inc()); v != float64(i) {
				t.Fatalf("seed %d: call %d returned %v", seed, i, v)
			}
		}
		if v := must(t, w.NewClient("other"), wire.OpQuery, get()); v != calls {
			t.Fatalf("seed %d: %v after %d calls", seed, v, calls)
		}
		total.Add(w.Stats())
	}
	if total.Leaders == 0 || total.Unheard == 0 || total.Cuts == 0 {
		t.Errorf("too little went wrong: %v", total)
	}
}

// TestSameSeedSameWorld tells two stories of a seed and one of another.
func TestSameSeedSameWorld(t *testing.T) {
	tell := func(seed uint64) string {
		var story []string
		w := counting(t, seed, func(line string) { story = append(story, line) })
		w.DumpOften()
		w.Faults()
		c := w.NewClient("c")
		for range 100 {
			must(t, c, wire.OpPropose, inc())
		}
		for end := w.Elapsed() + time.Minute; w.Elapsed() < end; {
			w.Step()
		}
		return fmt.Sprintf("%s\n%v %d %v", strings.Join(story, "\n"), w.Elapsed(), w.count, w.Stats())
	}
	first := tell(1)
	if again := tell(1); again != first {
		t.Errorf("seed 1:\n%s\n\nand then\n%s", first, again)
	}
	if tell(2) == first {
		t.Error("seeds 1 and 2 tell the same story")
	}
}

// TestControl does to nodes what a spec does.
func TestControl(t *testing.T) {
	w := counting(t, 1, nil)
	c := w.NewClient("c")
	must(t, c, wire.OpPropose, inc())
	first := w.Leader()
	if err := w.Isolate(first); err != nil {
		t.Fatal(err)
	}
	must(t, c, wire.OpPropose, inc())
	if l := w.Leader(); l == first || l == "" {
		t.Errorf("%s was cut off and %q leads", first, l)
	}
	w.Heal()
	for _, name := range w.Nodes()[:2] {
		if err := w.Kill(name); err != nil {
			t.Fatal(err)
		}
	}
	began := w.Elapsed()
	_, err := c.Exec(context.Background(), wire.OpPropose, wire.Linearizable, inc())
	if e, ok := err.(*command.Error); !ok || e.Code != command.CodeTimeout && e.Code != command.CodeNoLeader {
		t.Errorf("without a majority: %v", err)
	}
	if took := w.Elapsed() - began; took < callTimeout || took > callTimeout+time.Second {
		t.Errorf("it gave up after %v", took)
	}
	if err := w.Restart(w.Nodes()[0]); err != nil {
		t.Fatal(err)
	}
	if v := must(t, c, wire.OpQuery, get()); v < 2 || v > 3 {
		t.Errorf("the counter is %v", v)
	}
	if err := w.Kill("n9"); err == nil || !strings.Contains(err.Error(), "there are n1, n2, n3") {
		t.Errorf("n9: %v", err)
	}
}

// TestDeadClient: what a client asked for that is killed may happen, and it is not
// told.
func TestDeadClient(t *testing.T) {
	w := counting(t, 1, nil)
	c := w.NewClient("c")
	must(t, c, wire.OpPropose, inc())
	c.Do(wire.OpPropose, wire.Linearizable, 0, inc(), func(command.Result, error) { t.Error("the dead are told") })
	c.Kill()
	for end := w.Elapsed() + time.Minute; w.Elapsed() < end; {
		w.Step()
	}
	if v := must(t, w.NewClient("other"), wire.OpQuery, get()); v < 1 || v > 2 {
		t.Errorf("the counter is %v", v)
	}
}
