package doctor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/gossip"
)

const (
	// clockRounds is how often the clocks are read: the shortest round trip counts.
	clockRounds = 3
	// Clocks further apart than this are told. Each leader stamps the log with its
	// own, and the log's never goes back.
	clockApart    = 500 * time.Millisecond
	clockFarApart = 10 * time.Second
	// pingTimeout is how long a member has to answer a packet, pingTries how often
	// it is asked: packets get lost.
	pingTimeout = 700 * time.Millisecond
	pingTries   = 3
)

// cluster looks at the members of a running cluster.
func cluster(ctx context.Context, o Options) []Check {
	at := strings.Join(o.Connect, ",")
	dctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c, err := client.Dial(dctx, client.Config{Addrs: o.Connect, Timeout: o.Timeout, Name: "syncsh doctor"})
	if err != nil {
		if !o.Expected {
			return []Check{{"cluster", at, Warn, "no node answers, so no cluster was looked at", "name a node with --connect, if there is one"}}
		}
		return []Check{{"cluster", at, Fail, err.Error(), "start the nodes, or let TCP of that port through the firewall"}}
	}
	defer c.Close() //nolint:errcheck // always nil
	own, err := c.NodeStatus(ctx)
	var s *client.Status
	for range clockRounds {
		if err != nil {
			return []Check{{"cluster", at, Fail, err.Error(), "look into the log of the node"}}
		}
		var next *client.Status
		if next, err = c.Status(ctx); err == nil {
			s = nearest(s, next)
		}
	}
	checks := []Check{health(s)}
	checks = append(checks, reach(ctx, s, own, o.Key)...)
	checks = append(checks, clocks(s.Nodes), versions(s.Nodes), architectures(s.Nodes))
	for _, n := range s.Nodes {
		if n.FilesMax != 0 {
			checks = append(checks, files("node "+n.Name, n.FilesMax))
		}
	}
	return checks
}

// nearest keeps of each node the answer that took the shortest time: its clock is
// known best.
func nearest(old, next *client.Status) *client.Status {
	if old == nil {
		return next
	}
	for i := range next.Nodes {
		n := &next.Nodes[i]
		for _, was := range old.Nodes {
			if was.ID == n.ID && was.ClockOffsetMs != nil && (n.ClockOffsetMs == nil || was.RoundTripMs < n.RoundTripMs) {
				n.ClockOffsetMs, n.RoundTripMs = was.ClockOffsetMs, was.RoundTripMs
			}
		}
	}
	return next
}

func health(s *client.Status) Check {
	c := Check{Name: "cluster", Of: s.Cluster, Status: OK, Seen: fmt.Sprintf("%s leads, %d voters, %d more may fail", s.Leader, s.Voters, s.Tolerates)}
	switch {
	case s.Leader == "":
		c.Status, c.Seen, c.Advice = Fail, "no leader", "start nodes until a majority of the voters runs and reaches each other"
	case !s.Healthy:
		c.Status, c.Seen, c.Advice = Fail, "no majority of the voters follows "+s.Leader, "start nodes until a majority of the voters runs and reaches each other"
	case s.Tolerates == 0 && s.Voters > 1:
		c.Status, c.Advice = Warn, "the next failure stops the cluster: start the nodes that are down, or promote others"
	}
	for _, n := range s.Nodes {
		if n.DiskFull != "" {
			c.Status, c.Seen, c.Advice = Fail, n.Name+" takes no calls: "+n.DiskFull, "make room on its disk"
		}
		if n.Diverged {
			c.Status, c.Seen, c.Advice = Fail, "the state of "+n.Name+" differs from the majority's", "it heals itself from a snapshot; if not, keep its directory and report it"
		}
	}
	return c
}

// reach asks each member over TCP, which a status has done, and UDP, and looks at
// what gossip says of it.
func reach(ctx context.Context, s *client.Status, own *client.NodeStatus, key []byte) []Check {
	checks := make([]Check, 0, 2*len(s.Nodes))
	for _, n := range s.Nodes {
		of := n.Name + " " + n.Addr
		if !n.Alive {
			checks = append(checks, Check{"reach", of + "/tcp", Fail, "no answer",
				"start the node, let TCP of that port through the firewall, or take it out with 'syncsh member remove " + n.Name + "'"})
			continue
		}
		tcp := Check{"reach", of + "/tcp", OK, fmt.Sprintf("answered in %.1f ms", n.RoundTripMs), ""}
		for _, m := range own.Members {
			if m.ID == n.ID && !m.Alive {
				tcp.Status = Warn
				tcp.Seen += fmt.Sprintf(", but gossip of %s holds it for gone", own.Name)
				tcp.Advice = "let TCP and UDP of the port through between the nodes; after a restart wait some seconds"
			}
		}
		checks = append(checks, tcp, ping(ctx, n.Name, n.Addr, key))
	}
	return checks
}

// ping sends packets to a member, as gossip does.
func ping(ctx context.Context, name, addr string, key []byte) Check {
	c := Check{Name: "reach", Of: name + " " + addr + "/udp", Status: OK}
	var trip time.Duration
	var err error
	for range pingTries {
		if trip, err = gossip.Ping(ctx, name, addr, key, pingTimeout); err == nil {
			c.Seen = fmt.Sprintf("answered in %.1f ms", float64(trip.Microseconds())/1000)
			return c
		}
	}
	c.Status, c.Seen = Warn, err.Error()
	c.Advice = "nodes need UDP of that port between them"
	if errors.Is(err, gossip.ErrNoAnswer) {
		c.Seen = "no answer"
		if len(key) == 0 {
			c.Advice += "; if they have a gossip key, give it with --key-file"
		} else {
			c.Advice += ", and all of them the same --key-file"
		}
	}
	return c
}

// clocks compares the wall clocks with each other and with this machine's. What a
// round trip leaves open counts for the clocks.
func clocks(nodes []client.StatusNode) Check {
	c := Check{Name: "clocks", Status: OK}
	var seen []string
	var low, high float64 // of what is certain, with this machine's at 0
	here, between := 0.0, 0.0
	first := true
	for _, n := range nodes {
		if n.ClockOffsetMs == nil {
			continue
		}
		o, half := *n.ClockOffsetMs, n.RoundTripMs/2
		whole := math.Round(o) + 0 // not -0
		seen = append(seen, fmt.Sprintf("%s %+.0f ms (±%.0f)", n.Name, whole, half))
		here = max(here, o-half, -o-half)
		if first {
			low, high, first = o+half, o-half, false
		}
		low, high = min(low, o+half), max(high, o-half)
		between = max(between, high-low)
	}
	if len(seen) == 0 {
		c.Status, c.Seen, c.Advice = Warn, "no node told its clock", "upgrade the nodes"
		return c
	}
	c.Seen = "against this machine: " + strings.Join(seen, ", ")
	const sync = "run an NTP daemon, such as chrony, on all machines"
	switch ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }; {
	case between > ms(clockFarApart):
		c.Status, c.Advice = Fail, "the nodes differ: with another leader timers and times to live end too early or too late; "+sync
	case between > ms(clockApart):
		c.Status, c.Advice = Warn, "the nodes differ: with another leader timers and times to live move by as much; "+sync
	case here > ms(clockApart):
		c.Status, c.Advice = Warn, "this machine differs from the nodes; "+sync
	}
	return c
}

// versions compares what the members run.
func versions(nodes []client.StatusNode) Check {
	c := Check{Name: "versions", Status: OK}
	builds := groups(nodes, func(n client.StatusNode) string { return n.Version })
	machines := groups(nodes, func(n client.StatusNode) string {
		if n.Machine == 0 {
			return ""
		}
		return fmt.Sprintf("machine version %d", n.Machine)
	})
	c.Seen = strings.Join(append(builds, machines...), ", ")
	switch {
	case len(machines) > 1:
		c.Status, c.Advice = Warn, "a node that is behind in the log has the older machine; should it last, look into its log"
	case len(builds) > 1:
		c.Status, c.Advice = Warn, "well while you upgrade; then run one version everywhere"
	}
	return c
}

// architectures compares what the members run on.
func architectures(nodes []client.StatusNode) Check {
	c := Check{Name: "architectures", Status: OK}
	archs := groups(nodes, func(n client.StatusNode) string { return n.Arch })
	c.Seen = strings.Join(archs, ", ")
	switch {
	case len(archs) == 0:
		c.Status, c.Seen, c.Advice = Warn, "no node told it", "upgrade the nodes"
	case len(archs) > 1:
		c.Status, c.Advice = Warn, "the state is the same on all 64-bit architectures (docs/DETERMINISM.md): watch 'diverged' in syncsh status"
	}
	return c
}

// groups says which nodes that answered have what in common: the value alone if
// all have the same one.
func groups(nodes []client.StatusNode, of func(client.StatusNode) string) []string {
	var values []string
	named := map[string][]string{}
	for _, n := range nodes {
		v := of(n)
		if !n.Alive || v == "" {
			continue
		}
		if named[v] == nil {
			values = append(values, v)
		}
		named[v] = append(named[v], n.Name)
	}
	if len(values) < 2 {
		return values
	}
	slices.Sort(values)
	for i, v := range values {
		values[i] = fmt.Sprintf("%s on %s", v, strings.Join(named[v], " "))
	}
	return values
}
