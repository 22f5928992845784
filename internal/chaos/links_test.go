//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outside is who is no node: clients. Their connections can be reset, not cut.
const outside = -1

// A link is the way from one node to another; back is another link.
type link struct{ from, to int }

// state of a link. The zero value lets all pass at once.
type state struct {
	cut    bool
	reject bool          // of a cut link: connections are closed, else their bytes wait
	lag    time.Duration // up to so long for each piece of a stream, and each packet
}

// links is the network between the nodes. Each node advertises the address of a
// front, which passes streams and packets on to the node's own address; which
// node a stream comes from, the tables of the kernel tell.
//
// A cut link loses packets. The bytes of a stream wait, and the end of it too,
// as they would in the kernel of a node that sends them again and again.
type links struct {
	owner func(from, to netip.AddrPort) int // of a TCP connection's end

	mu      sync.Mutex
	changed *sync.Cond
	states  map[link]state
	relays  map[*relay]bool
	fronts  []*front
	closed  bool
	running sync.WaitGroup
}

// front stands before a node.
type front struct {
	node       int
	addr, real netip.AddrPort
	tcp        net.Listener
	udp        *net.UDPConn
}

// relay is one stream through a front.
type relay struct {
	from, to  int
	near, far net.Conn
	closed    bool // guarded by links.mu
}

func newLinks() *links {
	l := &links{states: map[link]state{}, relays: map[*relay]bool{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// add puts a front at addr before the next node.
func (l *links) add(addr, real netip.AddrPort) error {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		tcp.Close()
		return err
	}
	f := &front{node: len(l.fronts), addr: addr, real: real, tcp: tcp, udp: udp}
	l.fronts = append(l.fronts, f)
	return nil
}

// run begins to pass traffic on; all fronts are there.
func (l *links) run() {
	for _, f := range l.fronts {
		l.running.Go(func() { l.accept(f) })
		l.running.Go(func() { l.packets(f) })
	}
}

// close ends all streams and waits for the goroutines.
func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	for r := range l.relays {
		l.end(r)
	}
	l.mu.Unlock()
	for _, f := range l.fronts {
		f.tcp.Close()
		f.udp.Close()
	}
	l.running.Wait()
}

// set changes links. Streams of those that reject are reset.
func (l *links) set(s state, of ...link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range of {
		l.states[k] = s
		for r := range l.relays {
			if s.cut && s.reject && (link{r.from, r.to} == k || link{r.to, r.from} == k) {
				l.end(r)
			}
		}
	}
	l.changed.Broadcast()
}

// resetClients breaks about half of the clients' connections to a node.
func (l *links) resetClients(node int) (broken int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.relays {
		if r.from == outside && r.to == node && rand.IntN(2) == 0 {
			l.end(r)
			broken++
		}
	}
	return broken
}

// end closes a relay; mu is held.
func (l *links) end(r *relay) {
	if r.closed {
		return
	}
	r.closed = true
	r.near.Close()
	r.far.Close()
	delete(l.relays, r)
	l.changed.Broadcast()
}

func (l *links) accept(f *front) {
	for {
		near, err := f.tcp.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.relay(f, near) })
	}
}

// relay passes a stream on in both directions until one side ends it.
func (l *links) relay(f *front, near net.Conn) {
	from := l.owner(near.RemoteAddr().(*net.TCPAddr).AddrPort(), f.addr)
	far, err := net.Dial("tcp", f.real.String())
	if err != nil {
		near.Close()
		return
	}
	r := &relay{from: from, to: f.node, near: near, far: far}
	l.mu.Lock()
	there, back := l.states[link{from, f.node}], l.states[link{f.node, from}]
	l.relays[r] = true
	if l.closed || there.cut && there.reject || back.cut && back.reject {
		l.end(r)
	}
	l.mu.Unlock()
	l.running.Go(func() { l.pump(r, link{r.to, r.from}, far, near) })
	l.pump(r, link{r.from, r.to}, near, far)
}

// pump passes one direction of a stream on.
func (l *links) pump(r *relay, k link, src, dst net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if !l.pass(r, k) {
			return
		}
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil && err == nil {
				err = werr
			}
		}
		if err != nil {
			l.mu.Lock()
			l.end(r)
			l.mu.Unlock()
			return
		}
	}
}

// pass waits until the link lets bytes through, false if the relay ends before.
func (l *links) pass(r *relay, k link) bool {
	l.mu.Lock()
	lag := l.states[k].lag
	l.mu.Unlock()
	if lag > 0 {
		time.Sleep(rand.N(lag))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.states[k].cut && !r.closed {
		l.changed.Wait()
	}
	return !r.closed
}

// packets passes gossip's packets on. The nodes answer to the address that a
// packet names in it, so it may come from the front.
func (l *links) packets(f *front) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := f.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if closed {
				return
			}
			continue // an ICMP answer to an earlier packet
		}
		k := link{outside, f.node}
		for _, other := range l.fronts {
			if other.real == from {
				k.from = other.node
			}
		}
		l.mu.Lock()
		s := l.states[k]
		l.mu.Unlock()
		if s.cut {
			continue
		}
		packet := append([]byte(nil), buf[:n]...)
		send := func() { f.udp.WriteToUDPAddrPort(packet, f.real) } //nolint:errcheck // packets may get lost
		if s.lag > 0 {
			time.AfterFunc(rand.N(s.lag), send)
		} else {
			send()
		}
	}
}

// socketOwner finds out which of the processes has the connection from one
// address to another, as the kernel's tables have it; outside when none has.
func socketOwner(from, to netip.AddrPort, pids []int) int {
	inode := socketInode(from, to)
	if inode == "" {
		return outside
	}
	for i, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil && target == "socket:["+inode+"]" {
				return i
			}
		}
	}
	return outside
}

// socketInode looks up a connection's end in /proc/net/tcp.
func socketInode(from, to netip.AddrPort) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	local, remote := procAddr(from), procAddr(to)
	for _, line := range strings.Split(string(table), "\n") {
		if w := strings.Fields(line); len(w) > 9 && w[1] == local && w[2] == remote {
			return w[9]
		}
	}
	return ""
}

// procAddr is an IPv4 address as /proc/net/tcp writes it on a little-endian
// machine.
func procAddr(a netip.AddrPort) string {
	b := a.Addr().Unmap().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%s", b[3], b[2], b[1], b[0], strings.ToUpper(fmt.Sprintf("%04s", strconv.FormatUint(uint64(a.Port()), 16))))
}
