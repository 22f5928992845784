package gossip

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// Bootstrap decides when a node without data founds a cluster with others, and
// when it joins one. It does no I/O: the caller hands in what gossip shows and
// carries out the Decision.
//
// Why two founding sets that share a node can't both go ahead: a set is named by
// a hash over a generation and the ids, names and addresses of its N nodes. It
// founds only after each of the N has promised that hash. A node stores a
// promise before it publishes it and makes at most one per generation. It moves
// on to a later generation only while it has promised nothing in its own, or
// with proof that the promised set can never be complete: a node of that set is
// in a later generation, has promised another set in the same one, or belongs
// to another cluster. The first such node had promised something else or
// nothing, and promises never come back, so the set stays incomplete for ever.
// How old the news are that gossip brings does not matter to any of this.
//
// A view comes before the promise so that promises are seldom wasted: a node
// promises a set when all of its nodes have said that they see the same one.
type Bootstrap struct {
	state BootstrapState
	view  string // hash of the set that this node sees as the founding one
}

// BootstrapState is what a node must remember of its bootstrap across restarts.
type BootstrapState struct {
	Generation uint32
	Promise    string             // 32 hex digits, empty: none in this generation
	Config     raft.Configuration // what was promised
}

// DecisionKind says what to do.
type DecisionKind uint8

const (
	// Wait: nothing can be done yet.
	Wait DecisionKind = iota + 1
	// Publish: if Store is set, make State durable, then publish Generation,
	// View and Promise with SetMeta, then decide again at once.
	Publish
	// Found: write the first log entry with Config and belong to Cluster. All
	// founders write the same.
	Found
	// Join: ask Members to be let into Cluster.
	Join
)

// Decision is what a node does next.
type Decision struct {
	Kind    DecisionKind
	Reason  string             // Wait: for people
	Store   bool               // Publish: State differs from what was stored last
	State   BootstrapState     // Publish
	View    string             // Publish
	Cluster string             // Found, Join: 32 hex digits
	Config  raft.Configuration // Found
	Members []Member           // Join: alive members of the cluster
}

// NewBootstrap continues from what was stored last; the zero BootstrapState is that of a
// new data directory.
func NewBootstrap(s BootstrapState) *Bootstrap { return &Bootstrap{state: s, view: s.Promise} }

// State is what has to be durable before anything of it is published.
func (b *Bootstrap) State() BootstrapState { return b.state }

// Decide is called, for a node without data, with what it says of itself and
// with what gossip shows, whenever that changes.
func (b *Bootstrap) Decide(name string, self Meta, members []Member) Decision {
	others, doubles := others(self, members)
	if doubles != "" {
		return wait("%s have the same id: one is a copy of the other's data directory", doubles)
	}
	if b.state.Promise != "" {
		return b.decidePromised(self, others)
	}
	if d, ok := join(others); ok {
		return d
	}
	if self.Expect <= 0 || self.Observer {
		return wait("no cluster found yet, seen: %s", names(others))
	}
	return b.decideOpen(self, Member{Name: name, Meta: self, State: Alive}, others)
}

// decideOpen is for a node that has promised nothing in its generation.
func (b *Bootstrap) decideOpen(self Meta, me Member, others []Member) Decision {
	set := []Member{me}
	for _, m := range others {
		if m.State == Alive && m.Meta.Cluster == "" && !m.Meta.HasData && !m.Meta.Observer && m.Meta.Expect == self.Expect {
			set = append(set, m)
		}
	}
	sort.Slice(set, func(i, j int) bool { return set[i].Meta.ID < set[j].Meta.ID })
	if len(set) < self.Expect {
		b.view = ""
		if d, ok := b.publish(self); ok {
			return d
		}
		return wait("waiting for %d nodes, seen %d: %s", self.Expect, len(set), names(set))
	}
	rest := set[self.Expect:]
	set = set[:self.Expect]
	if slices.ContainsFunc(rest, func(m Member) bool { return m.Meta.ID == self.ID }) {
		// A node of the set may wait for this one by an older promise: a later
		// generation tells it that this one will not come.
		b.view = ""
		b.pass(set, self.ID)
		if d, ok := b.publish(self); ok {
			return d
		}
		return wait("waiting for %s to found the cluster", names(set))
	}
	b.meet(set, self.ID)
	config := configuration(set)
	b.view = setHash(b.state.Generation, config)
	if b.pass(set, self.ID) {
		b.view = setHash(b.state.Generation, config)
	}
	if d, ok := b.publish(self); ok {
		return d
	}
	for _, m := range set {
		if m.Meta.ID != self.ID && (m.Meta.Generation != b.state.Generation || m.Meta.View != b.view) {
			return wait("waiting for %s to see the same %d nodes: %s", m.Name, self.Expect, names(set))
		}
	}
	b.state.Promise, b.state.Config = b.view, config
	d, _ := b.publish(self)
	return d
}

// meet moves to the latest generation in the set.
func (b *Bootstrap) meet(set []Member, self raft.ID) {
	for _, m := range set {
		if m.Meta.ID != self && m.Meta.Generation > b.state.Generation {
			b.state.Generation = m.Meta.Generation
		}
	}
}

// pass moves behind the generations in which a node of the set, other than this
// one, has promised anything but this node's view; it tells whether it moved.
// Such a promise can't be kept or is not wanted: all go on in the next.
func (b *Bootstrap) pass(set []Member, self raft.ID) bool {
	moved := false
	for _, m := range set {
		other := m.Meta.ID != self && m.Meta.Promise != "" && m.Meta.Promise != b.view
		if other && m.Meta.Generation >= b.state.Generation && m.Meta.Generation < math.MaxUint32 {
			b.state.Generation = m.Meta.Generation + 1
			moved = true
		}
	}
	return moved
}

// decidePromised is for a node that has promised a set.
func (b *Bootstrap) decidePromised(self Meta, others []Member) Decision {
	if d, ok := b.publish(self); ok {
		return d
	}
	promised := b.state.Promise
	cluster := clusterID(promised)
	given := map[raft.ID]bool{self.ID: true}
	broken := false
	next := b.state.Generation
	for _, m := range others {
		if m.Meta.Cluster == cluster {
			// Only a set that was complete has this id.
			return Decision{Kind: Found, Cluster: cluster, Config: b.state.Config}
		}
		if !slices.ContainsFunc(b.state.Config.Members, func(c raft.Member) bool { return c.ID == m.Meta.ID }) {
			continue
		}
		switch {
		case m.Meta.Cluster != "":
			broken = true
		case m.Meta.Generation > b.state.Generation:
			broken = true
			next = max(next, m.Meta.Generation)
		case m.Meta.Generation == b.state.Generation && m.Meta.Promise == promised:
			given[m.Meta.ID] = true
		case m.Meta.Generation == b.state.Generation && m.Meta.Promise != "":
			broken = true
		}
	}
	if broken {
		if next == b.state.Generation {
			if next == math.MaxUint32 {
				return wait("no generation is left; start with an empty data directory")
			}
			next++
		}
		b.state, b.view = BootstrapState{Generation: next}, ""
		d, _ := b.publish(self)
		return d
	}
	var missing []string
	for _, c := range b.state.Config.Members {
		if !given[c.ID] {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) > 0 {
		return wait("promised to found a cluster, waiting for the same from %s", strings.Join(missing, " "))
	}
	return Decision{Kind: Found, Cluster: cluster, Config: b.state.Config}
}

// publish is the decision to publish, if what this node says differs from what
// it has to say.
func (b *Bootstrap) publish(self Meta) (Decision, bool) {
	if self.Generation == b.state.Generation && self.View == b.view && self.Promise == b.state.Promise {
		return Decision{}, false
	}
	// A generation counts as evidence for others as much as a promise does, so
	// it too has to survive a restart once it was seen.
	store := self.Generation != b.state.Generation || self.Promise != b.state.Promise
	return Decision{Kind: Publish, Store: store, State: b.state, View: b.view}, true
}

// join is the decision to join, if there is a cluster to join.
func join(others []Member) (Decision, bool) {
	d := Decision{Kind: Join}
	for _, m := range others {
		if m.State != Alive || m.Meta.Cluster == "" {
			continue
		}
		if d.Cluster != "" && d.Cluster != m.Meta.Cluster {
			return wait("sees members of two clusters, %s and %s: which one to join?", d.Cluster, m.Meta.Cluster), true
		}
		d.Cluster = m.Meta.Cluster
		d.Members = append(d.Members, m)
	}
	return d, d.Cluster != ""
}

// others returns the members without self, sorted by ID, and the names of two
// alive ones of the same id, if there are such. Of two entries of one id the
// alive one counts: the other is a life of the node under an earlier name.
func others(self Meta, members []Member) ([]Member, string) {
	list := make([]Member, 0, len(members))
	for _, m := range members {
		if m.Meta.ID != self.ID {
			list = append(list, m)
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].Meta.ID != list[j].Meta.ID {
			return list[i].Meta.ID < list[j].Meta.ID
		}
		return list[i].State < list[j].State // Alive first
	})
	for i := 1; i < len(list); i++ {
		if list[i].Meta.ID == list[i-1].Meta.ID && list[i].State == Alive {
			return nil, names(list[i-1 : i+1])
		}
	}
	return slices.CompactFunc(list, func(a, b Member) bool { return a.Meta.ID == b.Meta.ID }), ""
}

func names(members []Member) string {
	if len(members) == 0 {
		return "nobody"
	}
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.Name
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func wait(format string, args ...any) Decision {
	return Decision{Kind: Wait, Reason: fmt.Sprintf(format, args...)}
}

// configuration has the members of set, sorted by ID, as voters.
func configuration(set []Member) raft.Configuration {
	var c raft.Configuration
	for _, m := range set {
		c.Members = append(c.Members, raft.Member{ID: m.Meta.ID, Role: raft.Voter, Name: m.Name, Addr: m.Meta.Addr})
	}
	return c
}

// setHash names a founding set of a generation.
func setHash(generation uint32, c raft.Configuration) string {
	b := codec.AppendString(nil, "syncsh-founding-set")
	b = codec.AppendUint(b, uint64(generation))
	sum := sha256.Sum256(appendConfig(b, c))
	return hex.EncodeToString(sum[:hashBytes])
}

// clusterID is the id of the cluster that a promised set founds. It is random
// because the ids of its nodes are.
func clusterID(promise string) string {
	sum := sha256.Sum256([]byte("syncsh-cluster" + promise))
	return hex.EncodeToString(sum[:hashBytes])
}

func appendConfig(b []byte, c raft.Configuration) []byte {
	b = codec.AppendArrayLen(b, len(c.Members))
	for _, m := range c.Members {
		b = codec.AppendArrayLen(b, 3)
		b = codec.AppendUint(b, uint64(m.ID))
		b = codec.AppendString(b, m.Name)
		b = codec.AppendString(b, m.Addr)
	}
	return b
}

const stateVersion = 1

// Encode returns the bytes to store.
func (s BootstrapState) Encode() []byte {
	b := codec.AppendArrayLen(nil, 4)
	b = codec.AppendUint(b, stateVersion)
	b = codec.AppendUint(b, uint64(s.Generation))
	b = codec.AppendString(b, s.Promise)
	return appendConfig(b, s.Config)
}

// DecodeState reads what Encode wrote.
func DecodeState(b []byte) (BootstrapState, error) {
	d := codec.NewDecoder(b)
	s, err := decodeState(&d)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return BootstrapState{}, fmt.Errorf("gossip: stored bootstrap state: %w", err)
	}
	return s, nil
}

func decodeState(d *codec.Decoder) (BootstrapState, error) {
	var s BootstrapState
	if err := d.FixedArray(4); err != nil {
		return s, err
	}
	version, err := d.Uint()
	if err != nil {
		return s, err
	}
	generation, err := d.Uint()
	if err != nil {
		return s, err
	}
	if version != stateVersion || generation > math.MaxUint32 {
		return s, fmt.Errorf("version %d, generation %d: %w", version, generation, codec.ErrRange)
	}
	s.Generation = uint32(generation)
	if s.Promise, err = d.String(); err != nil {
		return s, err
	}
	n, err := d.ArrayLen()
	if err != nil {
		return s, err
	}
	for range n {
		m := raft.Member{Role: raft.Voter}
		if err := d.FixedArray(3); err != nil {
			return s, err
		}
		id, err := d.Uint()
		if err != nil {
			return s, err
		}
		m.ID = raft.ID(id)
		if m.Name, err = d.String(); err != nil {
			return s, err
		}
		if m.Addr, err = d.String(); err != nil {
			return s, err
		}
		s.Config.Members = append(s.Config.Members, m)
	}
	return s, nil
}
