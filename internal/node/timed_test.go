package node

import (
	"context"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// timedCall makes a call that is measured.
func timedCall(t *testing.T, cl *client.Client) command.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := cl.Exec(ctx, wire.OpPropose, wire.Timed, command.AppendCall(nil, 0, 0, "counter", "inc", nil))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTimes: a call that asks for it is told where its time went, through the
// leader and through a follower; others are not, and nobody is followed for ever.
func TestTimes(t *testing.T) {
	nodes, _ := startThree(t, nil)
	cl := dial(t, nodes[0])
	deploy(t, cl)
	cl.Close()
	leaders, followers := 0, 0
	for _, n := range nodes {
		cl := dial(t, n)
		st, err := cl.NodeStatus(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			began := time.Now()
			r := timedCall(t, cl)
			took := time.Since(began).Microseconds()
			if r.Times == nil {
				t.Fatalf("%s told no times", n.Name())
			}
			x := *r.Times
			switch {
			case x.Replicate <= 0 || x.Fsync <= 0 || x.Queue < 0 || x.Apply < 0:
				t.Errorf("%s: %+v: the log takes time", n.Name(), x)
			case x.Fsync > x.Replicate+took || x.Total() > took:
				t.Errorf("%s: %+v, all within %d", n.Name(), x, took)
			case (x.Forward > 0) != (st.Role != "leader"):
				t.Errorf("%s, which is a %s: %+v", n.Name(), st.Role, x)
			}
		}
		if st.Role == "leader" {
			leaders++
		} else {
			followers++
		}
		if r, err := cl.Exec(context.Background(), wire.OpPropose, wire.Linearizable, command.AppendCall(nil, 0, 0, "counter", "inc", nil)); err != nil || r.Times != nil {
			t.Errorf("a call that is not measured: %+v, %v", r.Times, err)
		}
		cl.Close()
	}
	if leaders != 1 || followers != 2 {
		t.Skipf("the leader changed: %d leaders, %d followers", leaders, followers)
	}
	for _, n := range nodes {
		left := make(chan int)
		n.inbox.add(func(in *inputs) { in.calls = append(in.calls, func() { left <- len(n.timed) }) })
		if got := <-left; got != 0 {
			t.Errorf("%s still follows %d calls", n.Name(), got)
		}
	}
}
