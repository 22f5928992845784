package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. memberlist holds its lock during most of
// these calls, so none of them calls back.
type delegate struct{ g *Gossip }

// foreign tells whether two members belong to different clusters.
func foreign(a, b Meta) bool {
	return a.Cluster != "" && b.Cluster != "" && a.Cluster != b.Cluster
}

// foreignError says that a member of another cluster was met.
type foreignError struct {
	name, addr, theirs, ours string
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("%s at %s belongs to cluster %s, this node to %s", e.name, e.addr, e.theirs, e.ours)
}

func nodeAddr(n *memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}

// admit decodes what n says of itself and returns an error if it is not to be
// let in.
func (g *Gossip) admit(n *memberlist.Node) (Meta, error) {
	if n.Name == "" || len(n.Name) > NameBytesMax || !printable(n.Name) {
		return Meta{}, fmt.Errorf("%w: name %.100q at %s", ErrBadMeta, n.Name, nodeAddr(n))
	}
	meta, err := DecodeMeta(n.Meta)
	if err != nil {
		return Meta{}, fmt.Errorf("%s at %s: %w", n.Name, nodeAddr(n), err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if foreign(g.meta, meta) {
		return Meta{}, &foreignError{n.Name, nodeAddr(n), meta.Cluster, g.meta.Cluster}
	}
	if _, known := g.members[n.Name]; !known && !g.makeRoom() {
		return Meta{}, fmt.Errorf("gossip: more than %d members, %s is not let in", membersMax, n.Name)
	}
	return meta, nil
}

// makeRoom tells whether the table has room for one more name. If it must, it
// forgets one that is gone. The caller holds g.mu.
func (g *Gossip) makeRoom() bool {
	if len(g.members) < membersMax {
		return true
	}
	for name, m := range g.members {
		if m.State == Gone {
			delete(g.members, name)
			return true
		}
	}
	return false
}

// NotifyAlive is part of memberlist.AliveDelegate.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if n.Name == d.g.name {
		// What others remember of an earlier life of this member must reach
		// memberlist, which refutes it; another node of this name is a
		// conflict that memberlist finds by its address.
		return nil
	}
	_, err := d.g.admit(n)
	if err != nil {
		d.g.logRefused(err)
	}
	return err
}

// NotifyMerge is part of memberlist.MergeDelegate. It cancels a join with a
// member all of whose peers belong to another cluster, so that the join fails
// with a reason; NotifyAlive keeps out single ones.
func (d delegate) NotifyMerge(peers []*memberlist.Node) error {
	own := d.g.Meta()
	var refused error
	for _, n := range peers {
		if n.Name == d.g.name || n.State != memberlist.StateAlive {
			continue
		}
		meta, err := DecodeMeta(n.Meta)
		if err != nil {
			continue
		}
		if !foreign(own, meta) {
			return nil
		}
		refused = &foreignError{n.Name, nodeAddr(n), meta.Cluster, own.Cluster}
	}
	if refused != nil {
		d.g.logRefused(refused)
	}
	return refused
}

func (g *Gossip) logRefused(err error) {
	if e := (*foreignError)(nil); errors.As(err, &e) {
		g.log.warn("refused a node of another cluster", "node", e.name, "addr", e.addr, "cluster", e.theirs, "own", e.ours)
		return
	}
	g.log.warn("refused a node", "err", err)
}

// NotifyConflict is part of memberlist.ConflictDelegate: two alive nodes have
// one name.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	// Who becomes a member is the leader's to say: it admits the other one if it
	// hears nothing of the member.
	msg := "two nodes have one name; gossip shows the one that it knew first until that is gone; names must be unique"
	if other.Name == d.g.name {
		msg = "another node has this node's name; names must be unique"
	}
	d.g.log.warn(msg, "name", other.Name, "addr", nodeAddr(existing), "id", metaID(existing.Meta),
		"other", nodeAddr(other), "otherid", metaID(other.Meta))
}

// metaID is the id in b for a log line.
func metaID(b []byte) string {
	m, err := DecodeMeta(b)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%016x", uint64(m.ID))
}

// NotifyJoin is part of memberlist.EventDelegate.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.g.seen(n, Alive) }

// NotifyUpdate is part of memberlist.EventDelegate.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.g.seen(n, Alive) }

// NotifyLeave is part of memberlist.EventDelegate.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.g.seen(n, Gone) }

// seen notes what memberlist reports of n. The table is our own because
// memberlist changes the nodes that it returns while others read them.
func (g *Gossip) seen(n *memberlist.Node, s State) {
	if n.Name == g.name {
		return
	}
	meta, err := DecodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive has refused it
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.members[n.Name]; !known && s == Gone {
		return // forgotten to make room, or never let in
	}
	g.members[n.Name] = Member{Name: n.Name, Meta: meta, State: s, GossipAddr: nodeAddr(n)}
	g.signalChange()
}

// NodeMeta is part of memberlist.Delegate.
func (d delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.encoded
}

// The rest of memberlist.Delegate: messages of our own are not sent.

func (d delegate) NotifyMsg([]byte)                {}
func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d delegate) LocalState(bool) []byte          { return nil }
func (d delegate) MergeRemoteState([]byte, bool)   {}

const (
	// noticeAgain is when an equal line may be logged again: gossip repeats
	// itself several times a second.
	noticeAgain = time.Minute
	noticesMax  = 256
)

// notices writes gossip's log lines, equal ones once a minute, and takes
// memberlist's own lines at debug level.
type notices struct {
	out *slog.Logger

	mu   sync.Mutex
	last map[string]time.Time
}

func newNotices(out *slog.Logger) *notices {
	return &notices{out: out.With("part", "gossip"), last: make(map[string]time.Time)}
}

func (n *notices) warn(msg string, args ...any) {
	if n.due(msg, args) {
		n.out.Warn(msg, args...)
	}
}

func (n *notices) info(msg string, args ...any) {
	if n.due(msg, args) {
		n.out.Info(msg, args...)
	}
}

// due tells whether the line was not logged within the last minute.
func (n *notices) due(msg string, args []any) bool {
	key := msg + fmt.Sprint(args...)
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.last[key]; ok && now.Sub(at) < noticeAgain {
		return false
	}
	if len(n.last) >= noticesMax {
		clear(n.last)
	}
	n.last[key] = now
	return true
}

// Write takes a line of memberlist's. Lines that say that keys differ are
// logged as warnings in plain words, all others at debug level.
func (n *notices) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if why := keyProblem(text); why != "" {
		_, from, _ := strings.Cut(text, "from=")
		if host, _, err := net.SplitHostPort(from); err == nil {
			from = host // the port of a stream is a new one each time
		}
		n.warn(why, "from", from)
		return len(line), nil
	}
	n.out.Debug(text)
	return len(line), nil
}

// keyProblem says in plain words what memberlist's message about keys means,
// empty if it is about something else.
func keyProblem(text string) string {
	switch {
	case strings.Contains(text, "no installed keys could decrypt"):
		return "refused gossip: its key is not this node's"
	case strings.Contains(text, "remote state is encrypted and encryption is not configured"):
		return "refused gossip: one side has a gossip key and the other has none"
	case strings.Contains(text, "encryption is configured but remote state is not encrypted"):
		return "refused gossip: one side has a gossip key and the other has none"
	case strings.Contains(text, "Decrypt packet failed"):
		return "refused gossip: its key is not this node's, or it has none"
	}
	return ""
}
