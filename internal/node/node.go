package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncsh/syncsh/gossip"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// Node is a running member.
type Node struct {
	cfg       Config
	log       *slog.Logger
	id        raft.ID
	advertise string
	started   time.Time
	startedAt time.Duration // of monotonic
	cluster   atomic.Pointer[string]

	dir       *persist.Dir
	recovered *persist.Recovered
	store     *replica.Store
	replica   *replica.Replica // nil until there is a cluster; the loop's goroutine only
	inbox     *inbox
	works     *workQueue
	readers   *readers
	watches   *watches
	calls     *calls
	backups   backups
	told      told
	peers     map[raft.ID]*peer // the loop's
	book      *book
	packets   *gossip.Port   // gossip's, until it is started; nil with Single
	gossip    *gossip.Gossip // nil with Single
	dirty     dirtyConns
	seen      seen     // the loop's
	timed     []*timed // calls that are measured; the loop's
	ticks     uint64   // the loop's

	refusedAt, refusedLast uint64 // ticks of the first and last refusal in a row; the loop's

	listener net.Listener // nil without an address
	connsMu  sync.Mutex
	conns    map[net.Conn]struct{}

	strangers atomic.Int64 // connections that have not said who they are
	clients   atomic.Int64
	unfetched atomic.Int64 // bytes of answers that clients have not fetched
	arriving  atomic.Int64 // bytes that requests take which are not complete

	ctx        context.Context // of all goroutines
	cancel     context.CancelFunc
	group      sync.WaitGroup
	ready      chan struct{}
	isReady    bool   // the loop's
	behind     behind // the loop's
	distrusted bool   // the log may lack what was acknowledged; the loop's
	room       roomWatch
	pace       pace
	direct     bool // the loop writes to peers itself around its fsync
	stopping   atomic.Bool
	clock      atomic.Int64 // the replica's, for deadlines
	done       chan struct{}
	err        error // why the loop ended; read after done
	gossipTold chan struct{}
	// gossipStarted is closed once n.gossip is set, or never will be.
	gossipStarted chan struct{}
}

// Start opens the data directory and the service port and begins to find or
// found the cluster. It returns before there is one; Ready tells when.
func Start(cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{
		cfg: cfg, log: cfg.Logger.With("node", cfg.Name), started: time.Now(), startedAt: monotonic(),
		inbox: newInbox(), works: newWorkQueue(), peers: map[raft.ID]*peer{}, book: newBook(),
		conns: map[net.Conn]struct{}{}, ctx: ctx, cancel: cancel,
		ready: make(chan struct{}), done: make(chan struct{}), gossipTold: make(chan struct{}, 1), gossipStarted: make(chan struct{}),
	}
	n.readers, n.watches, n.calls = newReaders(n), newWatches(n), newCalls()
	if err := n.open(); err != nil {
		n.release()
		return nil, err
	}
	go n.run()
	return n, nil
}

// open takes everything that can be refused, and writes nothing before it has.
func (n *Node) open() error {
	if err := n.lookDir(); err != nil {
		return err
	}
	if err := n.listen(); err != nil {
		return err
	}
	n.group.Go(n.accept) // others that start ask this node as it asks them
	if err := n.askAround(); err != nil {
		return err
	}
	if err := n.loadDir(); err != nil {
		return err
	}
	if n.cfg.Single {
		return n.foundAlone()
	}
	return n.startGossip()
}

// listen takes the service port, TCP and UDP.
func (n *Node) listen() error {
	if n.cfg.Addr == "" {
		return nil
	}
	l, err := net.Listen("tcp", n.cfg.Addr)
	if err != nil {
		return fmt.Errorf("can't listen on %s: %w", n.cfg.Addr, err)
	}
	n.listener = l
	if n.advertise, err = gossip.AdvertiseAddr(l.Addr().String(), n.cfg.Advertise); err != nil || n.cfg.Single {
		return err
	}
	n.packets, err = gossip.Listen(l.Addr().String(), n.cfg.Advertise)
	return err
}

// run is the life of the node, on the loop's goroutine.
func (n *Node) run() {
	err := n.boot()
	if err == nil {
		err = n.loop()
	}
	if err != nil && !errors.Is(err, ErrRefused) { // which is the caller's to tell, once
		n.log.Error("node stops", "err", err)
	}
	n.err = err
	n.release()
	close(n.done)
}

// release ends all goroutines and gives everything back.
func (n *Node) release() {
	n.cancel()
	if n.listener != nil {
		n.listener.Close()
	}
	n.connsMu.Lock()
	for c := range n.conns {
		c.Close()
	}
	n.connsMu.Unlock()
	if n.gossip != nil {
		n.gossip.Close() //nolint:errcheck // nothing is left to do about it
	} else if n.packets != nil {
		n.packets.Close() //nolint:errcheck // as above
	}
	n.group.Wait()
	n.backups.closeAll()
	if n.stopping.Load() && n.replica != nil && n.err == nil {
		// The log is whole: the next start need not ask what a crash took. What found
		// no room in it was never acknowledged.
		if n.err = n.store.Sync(); errors.Is(n.err, persist.ErrNoRoom) {
			n.err = nil
		}
		if n.err == nil && !n.distrusted {
			n.err = n.unmark()
		}
	}
	if n.dir != nil {
		if err := n.dir.Close(); err != nil && n.err == nil {
			n.err = err
		}
	}
}

// Ready is closed once the node belongs to a cluster with a leader and has
// applied what was committed when it first heard from it.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Done is closed when the node has stopped, by itself or by Stop.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node stopped by itself; nil after Stop. Valid after Done.
func (n *Node) Err() error { return n.err }

// Addr is the address that others use; empty without a listener.
func (n *Node) Addr() string { return n.advertise }

// ID of the node, drawn when its data directory was made.
func (n *Node) ID() raft.ID { return n.id }

// Name of the node.
func (n *Node) Name() string { return n.cfg.Name }

// Cluster is the id of the cluster, empty while there is none.
func (n *Node) Cluster() string {
	if p := n.cluster.Load(); p != nil {
		return *p
	}
	return ""
}

// Dial connects a client within the process.
func (n *Node) Dial(context.Context) (net.Conn, error) {
	if n.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	ours, theirs := net.Pipe()
	n.group.Go(func() { n.serve(ours) })
	return theirs, nil
}

// stopTransferWait bounds how long Stop waits for another member to lead.
const stopTransferWait = 2 * time.Second

// Stop hands leadership over, tells the others and closes (scenario 45).
func (n *Node) Stop(ctx context.Context) error {
	handedOver := make(chan struct{})
	n.inbox.add(func(in *inputs) { in.calls = append(in.calls, func() { n.handOver(handedOver) }) })
	select {
	case <-handedOver:
	case <-time.After(stopTransferWait):
	case <-n.done:
	case <-ctx.Done():
	}
	if n.gossip != nil {
		if err := n.gossip.Leave(time.Second); err != nil {
			n.log.Debug("gossip leave", "err", err)
		}
	}
	n.stopping.Store(true)
	n.cancel()
	<-n.done
	return n.err
}

// Kill ends the node at once, as a crash of the process would.
func (n *Node) Kill() {
	n.cancel()
	<-n.done
}

// handOver begins a transfer of leadership and closes done when it is over.
func (n *Node) handOver(done chan struct{}) {
	r := n.replica
	if r == nil || !r.IsLeader() {
		close(done)
		return
	}
	if err := r.Transfer(0); err != nil {
		n.log.Debug("no transfer of leadership", "err", err)
		close(done)
		return
	}
	n.group.Go(func() {
		for n.ctx.Err() == nil {
			asked := make(chan bool, 1)
			n.inbox.add(func(in *inputs) {
				in.calls = append(in.calls, func() {
					leads := r.IsLeader()
					if leads { // again, if it was given up
						if err := r.Transfer(0); err != nil {
							n.log.Debug("no transfer of leadership", "err", err)
						}
					}
					asked <- leads
				})
			})
			select {
			case leads := <-asked:
				if !leads {
					close(done)
					return
				}
			case <-n.ctx.Done():
				return
			}
			time.Sleep(TickInterval)
		}
	})
}

const (
	// clientsMax bounds connections of clients, filesReserved what they leave of
	// the process's files for the log, snapshots, peers and gossip: a log that
	// can't open its next segment ends the node.
	clientsMax    = 10_000
	filesReserved = 96
	// strangersMax bounds connections that have not said who they are.
	strangersMax = 256
)

// clientsRoom is how many clients may be connected.
func clientsRoom() int { return max(4, min(clientsMax, FilesMax()-filesReserved)) }

// admitClient counts a client in, unless there are too many.
func (n *Node) admitClient() bool {
	if n.clients.Add(1) <= int64(clientsRoom()) {
		return true
	}
	n.clients.Add(-1)
	return false
}

// accept takes connections on the service port.
func (n *Node) accept() {
	if n.listener == nil {
		return
	}
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			n.log.Warn("accept", "err", err) // out of file descriptors, for example: they come back
			time.Sleep(TickInterval)
			continue
		}
		if n.strangers.Load() >= strangersMax {
			conn.Close() // they have helloTimeout to say who they are
			continue
		}
		n.group.Go(func() { n.serve(conn) })
	}
}

// serve finds out who connects and speaks with them.
func (n *Node) serve(conn net.Conn) {
	if !n.track(conn) {
		conn.Close()
		return
	}
	defer n.untrack(conn)
	conn.SetDeadline(time.Now().Add(helloTimeout)) //nolint:errcheck // reading reports it
	n.strangers.Add(1)
	role, err := wire.ReadPreamble(conn)
	n.strangers.Add(-1)
	if err != nil {
		if errors.Is(err, wire.ErrVersion) {
			refuse(conn, err.Error())
		}
		n.log.Debug("connection refused", "from", conn.RemoteAddr(), "err", err)
		return
	}
	switch role {
	case wire.RoleClient:
		if !n.admitClient() {
			refuse(conn, fmt.Sprintf("node %s has %d clients, as many as its files allow", n.cfg.Name, clientsRoom()))
			return
		}
		err = n.serveClient(conn)
		n.clients.Add(-1)
	case wire.RolePeer:
		err = n.servePeer(conn)
	case wire.RoleGossip:
		select {
		case <-n.gossipStarted:
		default:
			return // the other side tries again
		}
		if n.gossip == nil {
			return
		}
		conn.SetDeadline(time.Time{}) //nolint:errcheck // memberlist sets its own
		n.untrackKeep(conn)
		n.gossip.HandleStream(conn)
		return
	}
	n.log.Debug("connection ended", "from", conn.RemoteAddr(), "role", string(rune(role)), "err", err)
}

func (n *Node) track(conn net.Conn) bool {
	n.connsMu.Lock()
	defer n.connsMu.Unlock()
	n.conns[conn] = struct{}{}
	return n.ctx.Err() == nil
}

func (n *Node) untrack(conn net.Conn) {
	n.connsMu.Lock()
	_, ours := n.conns[conn]
	delete(n.conns, conn)
	n.connsMu.Unlock()
	if ours {
		conn.Close()
	}
}

// untrackKeep gives a connection away.
func (n *Node) untrackKeep(conn net.Conn) {
	n.connsMu.Lock()
	delete(n.conns, conn)
	n.connsMu.Unlock()
}

// random64 draws a number that is not 0.
func random64() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) //nolint:errcheck // never fails
		if v := binary.LittleEndian.Uint64(b[:]); v != 0 {
			return v
		}
	}
}
