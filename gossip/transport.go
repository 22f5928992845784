package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// packetBytesMax is the largest UDP payload there is.
	packetBytesMax = 65535
	// packetReadBufferBytes is what the kernel is asked to hold while this
	// process is busy, so that probes survive a burst of calls.
	packetReadBufferBytes = 1 << 20
	// streamsMax bounds the streams of others that are handled at once: each
	// costs a goroutine and up to a push/pull of memory.
	streamsMax = 32
)

// ErrPortInUse is returned when the UDP port is taken.
var ErrPortInUse = errors.New("gossip: UDP port is in use")

// transport lets memberlist share the service port: packets go through a UDP
// socket of the same port number, streams through TCP connections to the
// service port that start with the gossip preamble.
type transport struct {
	conn      *net.UDPConn
	advertise netip.AddrPort

	ctx     context.Context // ends dials that are under way at Shutdown
	cancel  context.CancelFunc
	packets chan *memberlist.Packet
	streams chan net.Conn
	slots   chan struct{} // one taken per stream that is handled
	reader  sync.WaitGroup
}

// Port is the UDP socket of a member that is yet to be started, with the address
// that others send to.
type Port struct {
	conn      *net.UDPConn
	advertise netip.AddrPort
}

// Listen takes what Start could be refused: the UDP port of bind, and the address
// that advertise, or else bind, stands for. It returns ErrPortInUse when the port
// is taken.
func Listen(bind, advertise string) (*Port, error) {
	others, err := resolveAdvertise(bind, advertise)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", bind)
	if err != nil {
		return nil, fmt.Errorf("gossip: address %s: %w", bind, err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s", ErrPortInUse, bind)
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: listen on UDP %s: %w", bind, err)
	}
	return &Port{conn, others}, nil
}

// Close gives the port back; Gossip.Close does that for a member that was started.
func (p *Port) Close() error { return p.conn.Close() }

func newTransport(p *Port) *transport {
	_ = p.conn.SetReadBuffer(packetReadBufferBytes) // the kernel's default works too
	t := &transport{
		conn:      p.conn,
		advertise: p.advertise,
		packets:   make(chan *memberlist.Packet),
		streams:   make(chan net.Conn),
		slots:     make(chan struct{}, streamsMax),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.reader.Add(1)
	go t.read()
	return t
}

// read hands packets to memberlist until the socket is closed.
func (t *transport) read() {
	defer t.reader.Done()
	buf := make([]byte, packetBytesMax)
	for {
		n, from, err := t.conn.ReadFrom(buf)
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n == 0 {
			continue // an ICMP answer to an earlier packet, or an empty one
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

// handleStream gives an accepted connection to memberlist, which closes it.
func (t *transport) handleStream(conn net.Conn) {
	select {
	case t.slots <- struct{}{}:
	default:
		_ = conn.Close() // the other side tries again at its next round
		return
	}
	c := &stream{Conn: conn, release: func() { <-t.slots }}
	select {
	case t.streams <- c:
	case <-t.ctx.Done():
		_ = c.Close()
	}
}

// stream frees its slot when it is closed.
type stream struct {
	net.Conn
	once    sync.Once
	release func()
}

func (s *stream) Close() error {
	s.once.Do(s.release)
	return s.Conn.Close()
}

// FinalAdvertiseAddr is part of memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo is part of memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.conn.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress is part of memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, addr.Addr)
}

// PacketCh is part of memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout is part of memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if err := wire.WritePreamble(conn, wire.RoleGossip); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("gossip: preamble to %s: %w", addr, err)
	}
	return conn, nil
}

// DialAddressTimeout is part of memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(addr.Addr, timeout)
}

// StreamCh is part of memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown is part of memberlist.Transport.
func (t *transport) Shutdown() error {
	t.cancel()
	err := t.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	t.reader.Wait()
	return err
}
