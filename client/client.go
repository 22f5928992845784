package client

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// DefaultTimeout is a call's time when the Config says nothing.
const DefaultTimeout = 10 * time.Second

// Tries of a call that certainly had no effect are this far apart, doubled each
// time.
const (
	retryMin = 10 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// Mode of reads.
type Mode = wire.Mode

const (
	// Linearizable reads see all calls that were acknowledged before them.
	Linearizable = wire.Linearizable
	// Stale reads are answered at once from what the asked node has.
	Stale = wire.Stale
	// Lease reads are linearizable, without the round to a majority while the
	// leader has a lease. They ask of the nodes' clocks what docs/SAFETY.md says;
	// nodes without leases (syncsh node --lease-reads) answer after the round.
	Lease = wire.Lease
)

// Bounded reads see all calls that were acknowledged up to so long before the
// node took the read, by that node's own monotonic clock. They fail when no
// leader has confirmed that in the read's time.
func Bounded(within time.Duration) Mode { return wire.Bounded(within) }

// Config of a Client.
type Config struct {
	Addrs   []string      // of any nodes, host:port
	Timeout time.Duration // of a call; 0: DefaultTimeout. An earlier deadline of a context counts too
	Mode    Mode          // of Query, Get and Describe: Linearizable if it is 0
	Name    string        // for the nodes' logs
	// NoSession has commands sent in no session: one whose answer is lost ends
	// with CodeTimeout and is not tried again.
	NoSession bool
	// Dial opens a connection; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Client is a connection to a cluster that heals itself.
type Client struct {
	cfg     Config
	started time.Time
	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	kicked  chan struct{}  // wakes the keeper
	running sync.WaitGroup // of all goroutines

	mu           sync.Mutex
	addrs        []string // to connect to; those given come first
	last         string   // the address that was in use last
	cluster      string   // id of the cluster, once a node has told it
	conns        []*conn  // the one in use and those that are retired
	cur          *conn    // of new requests; nil while there is none
	generation   uint64   // counts changes of cur
	rotate       bool     // another node than cur is wanted
	dialing      bool
	retryAt      int64 // no attempt to connect before
	backoff      time.Duration
	lastErr      string     // why there is no connection
	waiting      []*request // for a connection
	later        []*request // of a session, between two tries
	sess         *session   // of new calls; nil before the first
	stamped      []byte     // scratch of conn.stamp
	ended        []finished // to be delivered by the keeper
	free         []*request
	open         int   // requests in slots and waiting
	openBytes    int   // their payloads
	nextDeadline int64 // no open request is due before; may be too early
	closed       bool
}

// Dial connects to the first node that answers. When none does the error is an
// *Error that names the addresses, CodeNoLeader or, when all refused, CodeDenied.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if len(cfg.Addrs) == 0 || len(cfg.Addrs) > addrsMax {
		return nil, badArgument("%d addresses given, 1 to %d are possible", len(cfg.Addrs), addrsMax)
	}
	if len(cfg.Name) > wire.NameBytesMax {
		return nil, badArgument("a name of %d bytes, the limit is %d", len(cfg.Name), wire.NameBytesMax)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	cfg.Addrs = slices.Clone(cfg.Addrs)
	c := &Client{cfg: cfg, started: time.Now(), kicked: make(chan struct{}, 1), addrs: cfg.Addrs, backoff: reconnectMin, nextDeadline: math.MaxInt64}
	k, err := c.connect(ctx, c.addrs)
	if err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(k)
	c.learn(k)
	c.running.Add(1)
	go c.keep()
	return c, nil
}

// Close ends all open calls and the client's goroutines. Calls that were sent
// end with CodeTimeout, the others with CodeClosed. It must not be called from
// a callback.
func (c *Client) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.cancel()
		for _, k := range c.conns {
			k.fail(errors.New("the client was closed"))
		}
		open := append(c.waiting, c.later...)
		if c.sess != nil {
			open = append(open, c.sess.waiting...)
			c.sess.waiting = nil
		}
		c.waiting, c.later = nil, nil
		for _, r := range open {
			c.again(r)
		}
		c.kick()
	}
	c.mu.Unlock()
	c.running.Wait()
	for { // a callback may end others
		c.mu.Lock()
		ended := c.ended
		c.ended = nil
		c.mu.Unlock()
		if len(ended) == 0 {
			return nil
		}
		for i := range ended {
			ended[i].call()
		}
	}
}

// now is a monotonic clock in nanoseconds.
func (c *Client) now() int64 { return int64(time.Since(c.started)) }

// kick wakes the keeper.
func (c *Client) kick() {
	select {
	case c.kicked <- struct{}{}:
	default:
	}
}

// Node is the name of the node that is connected, empty while none is.
func (c *Client) Node() (name, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == nil {
		return "", ""
	}
	return c.cur.node.NodeName, c.cur.addr
}

// Exec sends a request and waits for its result. Answers that say that nothing
// happened are followed by another try, through another node where that may
// help, until ctx or the Config's Timeout ends.
func (c *Client) Exec(ctx context.Context, op wire.Op, mode Mode, payload []byte) (command.Result, error) {
	end := time.Now().Add(c.cfg.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	wait := retryMin
	// What the last try ended with says more than that there is no time for another.
	var last error = errorf(CodeNoLeader, "the time of the call was over before it was sent; nothing happened")
	for {
		c.mu.Lock()
		generation := c.generation
		c.mu.Unlock()
		left := time.Until(end)
		if left <= 0 {
			return command.Result{}, last
		}
		res, err := c.once(ctx, op, mode, left, payload)
		if err == nil || !c.tryAgain(err, generation) {
			return res, err
		}
		last = err
		pause := wait/2 + rand.N(wait)
		if time.Until(end) <= pause {
			return res, err
		}
		select {
		case <-ctx.Done():
			return res, err
		case <-c.ctx.Done():
			return res, err
		case <-time.After(pause):
		}
		wait = min(2*wait, retryMax)
	}
}

// tryAgain tells whether another try is safe and may help.
func (c *Client) tryAgain(err error, generation uint64) bool {
	switch CodeOf(err) {
	case CodeOverloaded: // others pass it on to the same leader
		return true
	case CodeNoLeader, CodeClosed, CodeDiverged:
	default:
		return false
	}
	c.elsewhere(generation)
	return true
}

type outcome struct {
	result command.Result
	err    error
}

// once sends a request and waits for its end or the context's.
func (c *Client) once(ctx context.Context, op wire.Op, mode Mode, timeout time.Duration, payload []byte) (command.Result, error) {
	if err := ctx.Err(); err != nil {
		return command.Result{}, errorf(CodeNoLeader, "not sent: %v", err)
	}
	ch := make(chan outcome, 1)
	c.Do(op, mode, timeout, payload, func(res command.Result, err error) { ch <- outcome{res, err} })
	select {
	case o := <-ch:
		return o.result, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-ch:
		return o.result, o.err
	default:
		return command.Result{}, errorf(CodeTimeout, "%v; outcome unknown", ctx.Err())
	}
}

// Call calls a replicated method of an object.
func (c *Client) Call(ctx context.Context, object, method string, args ...any) ([]any, error) {
	a, err := EncodeArgs(args...)
	if err != nil {
		return nil, err
	}
	return c.values(c.Exec(ctx, wire.OpPropose, c.cfg.Mode, command.AppendCall(nil, 0, 0, object, method, a)))
}

// Query calls a query method of an object.
func (c *Client) Query(ctx context.Context, object, method string, args ...any) ([]any, error) {
	return c.Reading(c.cfg.Mode).Query(ctx, object, method, args...)
}

// Get reads the value at a path under an object's state; nil when there is none.
func (c *Client) Get(ctx context.Context, object string, path ...any) (any, error) {
	return c.Reading(c.cfg.Mode).Get(ctx, object, path...)
}

// Reader reads in a mode of its own.
type Reader struct {
	c    *Client
	mode Mode
}

// Reading returns a Reader of the client in another mode than the Config's.
func (c *Client) Reading(mode Mode) Reader { return Reader{c, mode} }

// Query is Client.Query in the Reader's mode.
func (r Reader) Query(ctx context.Context, object, method string, args ...any) ([]any, error) {
	a, err := EncodeArgs(args...)
	if err != nil {
		return nil, err
	}
	return r.c.values(r.c.Exec(ctx, wire.OpQuery, r.mode, command.AppendQuery(nil, object, method, a)))
}

// Get is Client.Get in the Reader's mode.
func (r Reader) Get(ctx context.Context, object string, path ...any) (any, error) {
	keys, err := EncodeArgs(path...)
	if err != nil {
		return nil, err
	}
	v, err := r.c.values(r.c.Exec(ctx, wire.OpQuery, r.mode, command.AppendGet(nil, object, keys)))
	if err != nil || len(v) == 0 {
		return nil, err
	}
	return v[0], nil
}

func (c *Client) values(res command.Result, err error) ([]any, error) {
	if err != nil {
		return nil, err
	}
	v, err := DecodeValues(res.Values)
	if err != nil {
		return nil, badArgument("the node's answer can't be read: %v", err)
	}
	return v, nil
}

// Describe gives the objects that are deployed, their methods and sources.
func (c *Client) Describe(ctx context.Context) (command.Description, error) {
	res, err := c.Exec(ctx, wire.OpQuery, c.cfg.Mode, command.AppendDescribe(nil))
	if err != nil {
		return command.Description{}, err
	}
	d := codec.NewDecoder(res.Values)
	if err = d.FixedArray(1); err == nil {
		var out command.Description
		if out, err = command.DecodeDescription(&d); err == nil {
			return out, nil
		}
	}
	return command.Description{}, badArgument("the node's answer can't be read: %v", err)
}

// Deploy puts scripts into the cluster, all or none. It returns what changed,
// line by line, and the log index at which it did.
func (c *Client) Deploy(ctx context.Context, scripts []Script) (report []string, index uint64, err error) {
	return c.report(c.Exec(ctx, wire.OpDeploy, c.cfg.Mode, command.AppendDeploy(nil, 0, 0, scripts)))
}

// Check tells what Deploy would do or why it would fail, and does nothing.
func (c *Client) Check(ctx context.Context, scripts []Script) (report []string, err error) {
	report, _, err = c.report(c.Exec(ctx, wire.OpCheck, c.cfg.Mode, command.AppendDeploy(nil, 0, 0, scripts)))
	return report, err
}

func (c *Client) report(res command.Result, err error) ([]string, uint64, error) {
	v, err := c.values(res, err)
	if err != nil {
		return nil, 0, err
	}
	lines := make([]string, 0, len(v))
	for _, line := range v {
		s, ok := line.(string)
		if !ok {
			return nil, 0, badArgument("the node's answer can't be read: a report line that is a %T", line)
		}
		lines = append(lines, s)
	}
	return lines, res.Index, nil
}

// Create makes an object with the methods of another.
func (c *Client) Create(ctx context.Context, object, prototype string) error {
	_, err := c.Exec(ctx, wire.OpPropose, c.cfg.Mode, command.AppendCreate(nil, 0, 0, object, prototype))
	return err
}

// Drop removes an object and its state.
func (c *Client) Drop(ctx context.Context, object string) error {
	_, err := c.Exec(ctx, wire.OpPropose, c.cfg.Mode, command.AppendDrop(nil, 0, 0, object))
	return err
}

// Set changes a replicated setting.
func (c *Client) Set(ctx context.Context, setting string, value float64) error {
	_, err := c.Exec(ctx, wire.OpPropose, c.cfg.Mode, command.AppendSetting(nil, 0, 0, setting, value))
	return err
}

// Snapshot has the connected node write a dump now and returns its index.
func (c *Client) Snapshot(ctx context.Context) (index uint64, err error) {
	v, err := c.values(c.Exec(ctx, wire.OpSnapshot, c.cfg.Mode, nil))
	if err != nil {
		return 0, err
	}
	if len(v) == 1 {
		if i, ok := v[0].(int64); ok && i >= 0 {
			return uint64(i), nil
		}
	}
	return 0, badArgument("the node's answer can't be read: %v is not an index", v)
}

// Promote makes a learner a voter; it returns when the change is committed. id is
// a Member's.
func (c *Client) Promote(ctx context.Context, id string) error {
	return c.member(ctx, wire.MemberPromote, id)
}

// Remove takes a member out of the cluster, for ever; it returns when the change
// is committed.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.member(ctx, wire.MemberRemove, id)
}

func (c *Client) member(ctx context.Context, action uint64, id string) error {
	n, err := memberID(id)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, wire.OpMember, c.cfg.Mode, wire.AppendMemberChange(nil, action, n))
	return err
}

// Transfer hands leadership to a member, to any when id is empty; it returns when
// the transfer was begun.
func (c *Client) Transfer(ctx context.Context, id string) error {
	n := raft.ID(0)
	if id != "" {
		var err error
		if n, err = memberID(id); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, wire.OpTransfer, c.cfg.Mode, wire.AppendTransfer(nil, n))
	return err
}

func memberID(id string) (raft.ID, error) {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || n == 0 {
		return 0, badArgument("%q is not the id of a member, 16 hex digits", id)
	}
	return raft.ID(n), nil
}
