package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncsh/syncsh/gossip"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// Config of a node. The zero value of a field is its default where one is named.
type Config struct {
	Name      string // unique in the cluster; kept in the data directory
	Addr      string // host:port to listen on; empty only with Single: no listener
	Advertise string // address that others use; default Addr
	Data      string // data directory; empty: everything in memory

	Durability    string        // fsync (default), async, memory
	FlushInterval time.Duration // async: how often the log is flushed; default 100 ms

	Expect   int      // found a cluster once so many fresh nodes agree
	Join     []string // members to find the cluster through
	Observer bool     // never votes
	// LeaseReads makes promises to leaders, and as leader answers lease reads by
	// them, on what is said at leaseMs.
	LeaseReads bool
	Key        []byte // gossip key, 32 bytes, or nil

	SnapshotEntries  int           // default 100000
	SnapshotInterval time.Duration // default 10 min

	Build  string       // version of the binary, for status
	Logger *slog.Logger // default: discard

	// Single makes a cluster of one without gossip.
	Single bool
	// Link, if set, says whether traffic with a peer may pass: syncsh dev and
	// tests cut links with it.
	Link func(peer raft.ID) bool
	// Progress, if set, is told of long work on the way into the cluster, on the
	// node's loop: it must not wait.
	Progress func(Progress)
	// Print receives what replicated code prints; nil drops it.
	Print func(object, text string)

	// FS, if set, keeps the data directory; default: the operating system's. Now,
	// if set, is the wall clock. A test build puts its faults behind both.
	FS  persist.FS
	Now func() time.Time

	// onWork, if set, sees each work before the applier does: tests of this package
	// make a replica's state wrong with it.
	onWork func(*replica.Work)
	// onNews, if set, is called by the distributor of changes before it takes the
	// next ones.
	onNews func()
}

// Ticks of the raft core. An election takes one to two election timeouts after
// the last heartbeat; a leader whose process ended is noticed earlier, by its
// broken connections.
const (
	TickInterval   = 20 * time.Millisecond
	heartbeatTicks = 5  // 100 ms
	electionTicks  = 30 // 600 ms, randomised up to 1.2 s
)

// Leases, with Config.LeaseReads: how long a member promises to help nobody else
// to lead, an election timeout, and how long a leader relies on that. It holds as
// long as no member's clock runs faster than another's by a quarter (an NTP
// daemon keeps clocks within a thousandth), and none stands still while others
// run, as that of a virtual machine does that is paused with its clock.
const (
	promiseMs = 600
	leaseMs   = 480
)

// snapshotLogBytes is the size of the log in memory that asks for a dump before
// the entries do.
const snapshotLogBytes = 256 << 20

// ErrConfig is returned, wrapped, for a configuration that can't be.
var ErrConfig = errors.New("bad configuration")

// complete fills in the defaults and checks.
func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Durability == "" {
		c.Durability = "fsync"
	}
	if c.FlushInterval == 0 {
		c.FlushInterval = 100 * time.Millisecond
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = 100_000
	}
	if c.SnapshotInterval == 0 {
		c.SnapshotInterval = 10 * time.Minute
	}
	for _, n := range []struct {
		what string
		bad  bool
		got  any
	}{
		{"flush interval", c.FlushInterval < 0, c.FlushInterval},
		{"snapshot entries", c.SnapshotEntries < 0, c.SnapshotEntries},
		{"snapshot interval", c.SnapshotInterval < 0, c.SnapshotInterval},
	} {
		if n.bad {
			return fmt.Errorf("%w: %s %v: want more than 0", ErrConfig, n.what, n.got)
		}
	}
	if err := checkName(c.Name); err != nil {
		return err
	}
	switch c.Durability {
	case "fsync", "async", "memory":
	default:
		return fmt.Errorf("%w: durability %q: want fsync, async or memory", ErrConfig, c.Durability)
	}
	if c.Data == "" {
		c.Durability = "memory"
	}
	if c.Durability == "memory" && c.Data != "" {
		if _, err := os.Stat(filepath.Join(c.Data, persist.IdentityFile)); err == nil {
			return fmt.Errorf("%w: data directory %s holds a node's log, which durability memory would not keep: leave --data out, or use fsync or async", ErrConfig, c.Data)
		}
		c.Logger.Warn("durability memory writes nothing: the data directory is not used", "data", c.Data)
		c.Data = ""
	}
	if n := len(c.Key); n != 0 && n != 32 {
		return fmt.Errorf("%w: gossip key of %d bytes, want 32", ErrConfig, n)
	}
	if c.Addr == "" && !c.Single {
		return fmt.Errorf("%w: an address to listen on is needed", ErrConfig)
	}
	if err := c.checkAddrs(); err != nil {
		return err
	}
	if c.Expect < 0 || c.Expect > 9 {
		return fmt.Errorf("%w: expect %d: want 1 to 9", ErrConfig, c.Expect)
	}
	return nil
}

// CheckMember checks the name and the address of a node that is to be started
// later, as its start will: ErrConfig says what it would not take.
func CheckMember(name, addr string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(addr) > gossip.AddrBytesMax {
		return fmt.Errorf("%w: address of %d bytes; at most %d", ErrConfig, len(addr), gossip.AddrBytesMax)
	}
	return checkHostPort("address", addr, 0)
}

// checkName holds names to what needs no quoting in a shell, a log or a table.
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: a node needs a name", ErrConfig)
	}
	if len(name) > gossip.NameBytesMax {
		return fmt.Errorf("%w: name of %d bytes; at most %d", ErrConfig, len(name), gossip.NameBytesMax)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c == ':', c == '@':
		default:
			return fmt.Errorf("%w: name %q: want letters, digits and any of . _ - : @", ErrConfig, name)
		}
	}
	return nil
}

// checkAddrs checks the addresses before the network is asked. What is empty in
// Join, as behind a comma too many, is left out.
func (c *Config) checkAddrs() error {
	if c.Addr != "" {
		if err := checkHostPort("address", c.Addr, 0); err != nil {
			return err
		}
	}
	if c.Advertise != "" {
		if len(c.Advertise) > gossip.AddrBytesMax {
			return fmt.Errorf("%w: advertised address of %d bytes; at most %d", ErrConfig, len(c.Advertise), gossip.AddrBytesMax)
		}
		if err := checkHostPort("advertised address", c.Advertise, 1); err != nil {
			return err
		}
	}
	var join []string
	for _, addr := range c.Join {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		if err := checkHostPort("address to join", addr, 1); err != nil {
			return err
		}
		join = append(join, addr)
	}
	c.Join = join
	return nil
}

// checkHostPort checks host:port; port 0 lets the system choose, where that is
// possible.
func checkHostPort(what, addr string, least uint64) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" && least > 0 {
		return fmt.Errorf("%w: %s %q: want host:port, such as 127.0.0.1:7400", ErrConfig, what, addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < least {
		return fmt.Errorf("%w: %s %q: port %q: want a number from 1 to 65535", ErrConfig, what, addr, port)
	}
	return nil
}
