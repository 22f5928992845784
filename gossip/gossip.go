package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"sort"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Times of memberlist. Its defaults for a LAN take 4 s or more to notice that a
// member was killed; these take about 2 s in a small cluster. A member that is
// wrongly held for gone on an overloaded machine refutes that by itself, and
// nothing but hints depends on it.
const (
	probeInterval    = 500 * time.Millisecond
	probeTimeout     = 300 * time.Millisecond
	suspicionMult    = 3 // suspected for 3 probe intervals before it is Gone
	suspicionMaxMult = 2 // at most twice as long without a second opinion
	gossipInterval   = 100 * time.Millisecond
	pushPullInterval = 5 * time.Second // repairs what lost packets left behind
	streamTimeout    = 3 * time.Second
	gossipToTheDead  = 30 * time.Second
	goneReclaim      = 5 * time.Second // then its name may come back at another address
	broadcastTimeout = time.Second
	keyBytes         = 32
	membersMax       = 1000 // names in the table; a liar can't fill the memory
)

// Errors of Start, SetMeta and Leave.
var (
	// ErrBadConfig is returned for a Config that can't be started.
	ErrBadConfig = errors.New("gossip: bad configuration")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("gossip: closed")
)

// Config is what a member is started with.
type Config struct {
	Name      string   // unique in the cluster
	Bind      string   // host:port of the UDP socket; the service listens on TCP with the same port number
	Advertise string   // host:port that others use, when it differs
	Port      *Port    // from Listen, instead of Bind and Advertise; Start takes it over unless it fails
	Join      []string // service addresses of any members; names are resolved at each try
	Key       []byte   // 32 bytes that all members share, or none
	Meta      Meta     // what this member says of itself; an empty Addr is filled in
	Logger    *slog.Logger
	// OnChange is called from a goroutine of its own after members or what they
	// say have changed, once for all changes since it was called last.
	OnChange func()
}

// State of a member, as far as gossip knows.
type State uint8

const (
	Alive State = 1
	Gone  State = 2 // left or stopped answering
)

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Member is what gossip knows of one member.
type Member struct {
	Name       string
	Meta       Meta
	State      State
	GossipAddr string // ip:port
}

// Gossip is a running member.
type Gossip struct {
	name      string
	advertise netip.AddrPort
	list      *memberlist.Memberlist
	transport *transport
	log       *notices
	onChange  func()

	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	changed chan struct{} // a change waits for OnChange
	publish chan struct{} // the own metadata waits to be broadcast

	mu      sync.Mutex
	meta    Meta
	encoded []byte
	members map[string]Member // by name, without this one
	closed  bool
}

// Start begins to gossip. It returns ErrPortInUse when the UDP port is taken.
func Start(cfg Config) (*Gossip, error) {
	if cfg.Name == "" || len(cfg.Name) > NameBytesMax || !printable(cfg.Name) {
		return nil, fmt.Errorf("%w: name %q: want 1 to %d printable characters", ErrBadConfig, cfg.Name, NameBytesMax)
	}
	if len(cfg.Key) != 0 && len(cfg.Key) != keyBytes {
		return nil, fmt.Errorf("%w: gossip key of %d bytes, want %d", ErrBadConfig, len(cfg.Key), keyBytes)
	}
	port := cfg.Port
	if port == nil {
		var err error
		if port, err = Listen(cfg.Bind, cfg.Advertise); err != nil {
			return nil, err
		}
	}
	g, err := start(cfg, port)
	if err != nil && cfg.Port == nil {
		_ = port.Close()
	}
	return g, err
}

func start(cfg Config, port *Port) (*Gossip, error) {
	advertise := port.advertise
	if cfg.Meta.Addr == "" {
		cfg.Meta.Addr = advertise.String()
	}
	encoded, err := cfg.Meta.Encode()
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	tr := newTransport(port)
	g := &Gossip{
		name:      cfg.Name,
		advertise: advertise,
		transport: tr,
		log:       newNotices(cfg.Logger),
		onChange:  cfg.OnChange,
		changed:   make(chan struct{}, 1),
		publish:   make(chan struct{}, 1),
		meta:      cfg.Meta,
		encoded:   encoded,
		members:   make(map[string]Member),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.list, err = memberlist.Create(g.settings(cfg.Key))
	if err != nil {
		g.cancel()
		_ = tr.Shutdown()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g.run(g.notify)
	g.run(g.broadcast)
	g.run(func() { g.seek(cfg.Join) })
	return g, nil
}

// settings is memberlist's configuration.
func (g *Gossip) settings(key []byte) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.name
	c.Transport = g.transport
	c.BindPort = int(g.advertise.Port())
	c.AdvertisePort = int(g.advertise.Port())
	c.SecretKey = key
	c.ProbeInterval = probeInterval
	c.ProbeTimeout = probeTimeout
	c.SuspicionMult = suspicionMult
	c.SuspicionMaxTimeoutMult = suspicionMaxMult
	c.GossipInterval = gossipInterval
	c.PushPullInterval = pushPullInterval
	c.TCPTimeout = streamTimeout
	c.GossipToTheDeadTime = gossipToTheDead
	c.DeadNodeReclaimTime = goneReclaim
	c.Logger = log.New(g.log, "", 0)
	d := delegate{g}
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict = d, d, d, d, d
	return c
}

func (g *Gossip) run(f func()) {
	g.workers.Add(1)
	go func() {
		defer g.workers.Done()
		f()
	}()
}

// notify calls OnChange.
func (g *Gossip) notify() {
	for {
		select {
		case <-g.changed:
			if g.onChange != nil {
				g.onChange()
			}
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *Gossip) signalChange() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// broadcast tells the others what SetMeta changed. It is the only caller of
// UpdateNode, which must not run twice at once.
func (g *Gossip) broadcast() {
	for {
		select {
		case <-g.publish:
			// A timeout means that nobody has heard it yet; memberlist keeps
			// it queued and push/pull repeats it.
			_ = g.list.UpdateNode(broadcastTimeout)
		case <-g.ctx.Done():
			return
		}
	}
}

// SetMeta changes what this member says of itself and returns before others
// have heard it. An empty Addr keeps the present one.
func (g *Gossip) SetMeta(m Meta) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if m.Addr == "" {
		m.Addr = g.meta.Addr
	}
	if m == g.meta {
		return nil
	}
	encoded, err := m.Encode()
	if err != nil {
		return err
	}
	g.meta, g.encoded = m, encoded
	select {
	case g.publish <- struct{}{}:
	default:
	}
	g.signalChange() // which members count depends on the own cluster
	return nil
}

// Meta is what this member says of itself.
func (g *Gossip) Meta() Meta {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meta
}

// Members returns this member and the others that were seen, those that are
// gone included, sorted by ID and name. Members of another cluster are left out.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Member, 0, len(g.members)+1)
	list = append(list, Member{Name: g.name, Meta: g.meta, State: Alive, GossipAddr: g.advertise.String()})
	for _, m := range g.members {
		if !foreign(g.meta, m.Meta) {
			list = append(list, m)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].Meta.ID != list[j].Meta.ID {
			return list[i].Meta.ID < list[j].Meta.ID
		}
		return list[i].Name < list[j].Name
	})
	return list
}

// HandleStream takes over a connection to the service port whose preamble had
// wire.RoleGossip. Nothing behind the preamble may have been read from it.
func (g *Gossip) HandleStream(conn net.Conn) { g.transport.handleStream(conn) }

// Leave tells the others that this member goes, so that they need not find out.
// It waits until one has heard it, or timeout. It must not run beside Close.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close ends gossiping; without Leave before it the others notice after a while.
// It must not be called from OnChange.
func (g *Gossip) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	err := g.list.Shutdown()
	g.workers.Wait()
	return err
}
