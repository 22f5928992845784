package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrNoAnswer is returned by Ping when no packet came back.
var ErrNoAnswer = errors.New("gossip: no answer")

// Ping sends one packet to the member of this name at an address and waits for
// the answer, from a port of the system's choice and without becoming a member.
// A member that runs with another key does not answer.
func Ping(ctx context.Context, name, addr string, key []byte, timeout time.Duration) (time.Duration, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return 0, fmt.Errorf("gossip: address %s: %w", addr, err)
	}
	port, err := towards(to)
	if err != nil {
		return 0, err
	}
	c := memberlist.DefaultLANConfig()
	c.Name = "ping-" + port.advertise.String()
	c.Transport = newTransport(port)
	c.BindPort, c.AdvertisePort = int(port.advertise.Port()), int(port.advertise.Port())
	c.SecretKey = key
	c.ProbeTimeout = timeout
	c.ProbeInterval = 2 * timeout // how long memberlist waits for the answer
	c.GossipInterval, c.PushPullInterval = 0, 0
	c.Logger = log.New(io.Discard, "", 0)
	list, err := memberlist.Create(c)
	if err != nil {
		_ = port.Close()
		return 0, fmt.Errorf("gossip: %w", err)
	}
	defer list.Shutdown() //nolint:errcheck // nothing is left to do about it
	type answer struct {
		trip time.Duration
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		trip, err := list.Ping(name, to)
		answered <- answer{trip, err}
	}()
	select {
	case a := <-answered:
		var none memberlist.NoPingResponseError
		if errors.As(a.err, &none) {
			return 0, ErrNoAnswer
		}
		// memberlist counts from when the packet is sent: the answer may have come by then.
		return max(a.trip, 0), a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// towards opens a port whose address is the one that the other side can answer.
func towards(to *net.UDPAddr) (*Port, error) {
	probe, err := net.DialUDP("udp", nil, to) // sends nothing: asks for the route
	if err != nil {
		return nil, fmt.Errorf("gossip: no way to %s: %w", to, err)
	}
	from := probe.LocalAddr().(*net.UDPAddr)
	_ = probe.Close()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: from.IP, Zone: from.Zone})
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return &Port{conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}
