package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/syncsh/syncsh/client"
)

// port tells whether a node can listen at an address, or that one does.
func port(ctx context.Context, addr string, timeout time.Duration) []Check {
	tcp := Check{Name: "port", Of: addr + "/tcp", Status: OK, Seen: "free"}
	udp := Check{Name: "port", Of: addr + "/udp", Status: OK, Seen: "free"}
	l, terr := net.Listen("tcp", addr)
	if terr == nil {
		l.Close() //nolint:errcheck // nobody connected
	}
	p, uerr := net.ListenPacket("udp", addr)
	if uerr == nil {
		p.Close() //nolint:errcheck // nothing was sent
	}
	if errors.Is(terr, syscall.EADDRINUSE) {
		if name := nodeAt(ctx, addr, timeout); name != "" {
			tcp.Seen = "node " + name + " listens"
			switch {
			case errors.Is(uerr, syscall.EADDRINUSE):
				udp.Seen = "in use, as it is by a node"
			case uerr == nil:
				udp.Seen = "free, though node " + name + " listens on TCP"
				udp.Status, udp.Advice = Warn, "a node without gossip is found by nobody: start it with 'syncsh node'"
			default:
				portError(&udp, uerr)
			}
			return []Check{tcp, udp}
		}
	}
	portError(&tcp, terr)
	portError(&udp, uerr)
	return []Check{tcp, udp}
}

func portError(c *Check, err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, syscall.EADDRINUSE):
		c.Seen, c.Advice = "in use by a program that is no syncsh node", "end it, or choose another --addr"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		c.Seen, c.Advice = "not an address of this machine", "choose an --addr of this machine, and give the other as --advertise"
	case errors.Is(err, syscall.EACCES):
		c.Seen, c.Advice = "not allowed", "choose a port above 1023"
	default:
		c.Seen, c.Advice = err.Error(), "choose another --addr"
	}
	c.Status = Fail
}

// nodeAt is the name of the node that answers at an address, empty when none does.
func nodeAt(ctx context.Context, addr string, timeout time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{Addrs: []string{addr}, Timeout: timeout, Name: "syncsh doctor"})
	if err != nil {
		return ""
	}
	defer c.Close() //nolint:errcheck // always nil
	s, err := c.NodeStatus(ctx)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s (%s)", s.Name, s.Role)
}
