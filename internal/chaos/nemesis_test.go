//go:build linux

package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/syncsh/syncsh/client"
)

// nemesis carries out a plan.
type nemesis struct {
	c     *cluster
	began time.Time

	mu     sync.Mutex
	counts map[string]int
	ahead  time.Duration // of the furthest clock
	story  []string
}

func newNemesis(c *cluster) *nemesis {
	return &nemesis{c: c, began: time.Now(), counts: map[string]int{}}
}

// run goes through all lanes at the same time and returns when all steps are over.
func (m *nemesis) run(plan [][]step) {
	var lanes sync.WaitGroup
	for _, steps := range plan {
		lanes.Go(func() {
			for _, s := range steps {
				time.Sleep(s.gap)
				m.strike(s)
			}
		})
	}
	lanes.Wait()
	m.heal()
}

// strike carries out one step. When its target is down the next node takes its
// place, so that each fault of the plan is one.
func (m *nemesis) strike(s step) {
	first := s.target
	if first == leading {
		if first = m.c.leader(); first < 0 {
			first = s.other
		}
	}
	for i := range m.c.nodes {
		at := (first + i) % len(m.c.nodes)
		if undo, ok := m.inject(s, at); ok {
			m.note(s, at)
			time.Sleep(s.hold)
			undo()
			return
		}
	}
	m.tell("nobody to strike with %v", s)
}

func (m *nemesis) note(s step, at int) {
	m.mu.Lock()
	m.counts[s.class]++
	m.mu.Unlock()
	m.tell("%s strikes %s: %v", s.class, m.c.nodes[at].name, s)
}

func (m *nemesis) tell(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.story = append(m.story, fmt.Sprintf("%8.3fs  ", time.Since(m.began).Seconds())+fmt.Sprintf(format, args...))
}

// inject begins a fault at a node and returns how it is ended.
func (m *nemesis) inject(s step, at int) (undo func(), ok bool) {
	n := m.c.nodes[at]
	switch s.class {
	case "kill":
		return m.takeDown(n.kill, n)
	case "power":
		return m.takeDown(func() bool { return power(n) }, n)
	case "blackout":
		return m.takeDown(m.blackout, m.c.nodes...)
	case "stop":
		return m.takeDown(func() bool { return n.signal(syscall.SIGTERM, true) }, n)
	case "pause":
		return func() { n.signal(syscall.SIGCONT, false) }, n.signal(syscall.SIGSTOP, false)
	case "transfer":
		return func() {}, m.transfer(at)
	case "disk slow":
		return m.disk(n, fmt.Sprintf("disk slow 0 %d", s.amount.Milliseconds()), false)
	case "disk stall":
		return m.disk(n, fmt.Sprintf("disk slow %d %d", s.hold.Milliseconds(), s.hold.Milliseconds()), false)
	case "disk fail":
		return m.disk(n, "disk fail", true)
	case "disk full":
		return m.disk(n, "disk full", true)
	case "clock ahead":
		return m.clock(n, m.further(s.amount))
	case "clock behind":
		return m.clock(n, -s.amount)
	case "reset clients":
		return func() {}, m.c.links.resetClients(at) > 0
	}
	return m.network(s, at), true
}

// takeDown ends nodes and keeps them down until the step is over.
func (m *nemesis) takeDown(end func() bool, nodes ...*node) (undo func(), ok bool) {
	for _, n := range nodes {
		n.keepDown(true)
	}
	undo = func() {
		for _, n := range nodes {
			n.wait() // a planned stop takes its time
			n.keepDown(false)
			n.start()
		}
	}
	if ok = end(); !ok {
		undo()
	}
	return undo, ok
}

// power has a node end and lose what it has not synced.
func power(n *node) bool {
	ok := n.command("power", true)
	if ok {
		n.wait()
	}
	return ok
}

// blackout takes the power of all nodes at once.
func (m *nemesis) blackout() bool {
	var down sync.WaitGroup
	for _, n := range m.c.nodes {
		down.Go(func() { power(n) })
	}
	down.Wait()
	return true
}

// disk makes a node's disk fail. A node may end for it, and is started again.
func (m *nemesis) disk(n *node, command string, ending bool) (undo func(), ok bool) {
	ok = n.command(command, ending)
	return func() {
		n.command("disk ok", false)
		n.start()
	}, ok
}

// clock sets a node's wall clock wrong while it runs, and right again.
func (m *nemesis) clock(n *node, ahead time.Duration) (undo func(), ok bool) {
	ok = n.command(fmt.Sprintf("clock %d", ahead.Milliseconds()), false)
	return func() { n.command("clock 0", false) }, ok
}

// further is a time ahead of all before: the log clock, which never goes back,
// has reached those, and sessions end only when it moves.
func (m *nemesis) further(by time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += by
	return m.ahead
}

// transfer asks for leadership to go to a node, which does not lead yet.
func (m *nemesis) transfer(at int) bool {
	const wait = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	cl, err := client.Dial(ctx, client.Config{Addrs: m.c.addrs(at), Timeout: wait})
	if err != nil {
		return false
	}
	defer cl.Close()
	members, err := cl.Members(ctx)
	if err != nil {
		return false
	}
	to := slices.IndexFunc(members, func(member client.Member) bool { return member.Name == m.c.nodes[at].name })
	return to >= 0 && cl.Transfer(ctx, members[to].ID) == nil
}

// network changes the links of a node.
func (m *nemesis) network(s step, at int) (undo func()) {
	other := s.other
	if other == at {
		other = (at + 1) % len(m.c.nodes)
	}
	half := map[int]bool{at: true}
	if s.class == "halves" { // the smaller half of five has two
		for i := 1; len(half) < len(m.c.nodes)/2; i++ {
			half[(at+i)%len(m.c.nodes)] = true
		}
	}
	var of []link
	for from := range m.c.nodes {
		for to := range m.c.nodes {
			k, struck := link{from, to}, false
			switch s.class {
			case "cut one way":
				struck = k == link{at, other}
			case "cut both ways":
				struck = k == link{at, other} || k == link{other, at}
			case "isolate", "halves":
				struck = half[from] != half[to]
			case "deaf":
				struck = from != at && to == at
			case "lag":
				struck = from != to && (from == at || to == at)
			}
			if struck {
				of = append(of, k)
			}
		}
	}
	set := state{cut: true, reject: s.reject}
	if s.class == "lag" {
		set = state{lag: s.amount}
	}
	m.c.links.set(set, of...)
	return func() { m.c.links.set(state{}, of...) }
}

// heal ends all faults. Nodes that end because of one later are started again by
// who waits for the cluster.
func (m *nemesis) heal() {
	m.tell("all faults end")
	for i, n := range m.c.nodes {
		n.signal(syscall.SIGCONT, false)
		n.command("disk ok", false)
		n.command("clock 0", false)
		n.start()
		for other := range m.c.nodes {
			m.c.links.set(state{}, link{i, other})
		}
	}
}
