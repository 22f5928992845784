package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/syncsh/syncsh/gossip"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// bootstrapFile holds what was promised while the founding set is not complete.
const bootstrapFile = "bootstrap"

// lookDir finds out who this node is. A directory that was used before is locked
// and has to be this node's; a new one is not made yet, as the start may still be
// refused, and then must have changed nothing.
func (n *Node) lookDir() error {
	n.id = raft.ID(random64())
	if n.durability().Forgets() {
		return nil
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Data, persist.IdentityFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := n.openDir(); err != nil {
		return err
	}
	id := n.dir.Identity()
	if id.NodeID == 0 {
		return nil
	}
	if err := id.Check(persist.Identity{Name: n.cfg.Name}); err != nil {
		return fmt.Errorf("data directory %s: %w", n.cfg.Data, err)
	}
	n.id = id.NodeID
	if id.Cluster != "" {
		n.cluster.Store(&id.Cluster)
	}
	return nil
}

func (n *Node) openDir() (err error) {
	if n.cfg.Data == "" {
		n.dir, err = persist.Open("memory", persist.Options{FS: persist.NewMemFS()})
		return err
	}
	n.dir, err = persist.Open(n.cfg.Data, persist.Options{FS: n.cfg.FS, Sync: true, Go: n.group.Go})
	return err
}

// loadDir makes the data directory if need be, gives it an identity if it has
// none, and reads what it holds.
func (n *Node) loadDir() error {
	if n.dir == nil {
		if err := n.openDir(); err != nil {
			return err
		}
	}
	dir, id := n.dir, n.dir.Identity()
	if id.NodeID == 0 {
		id = persist.Identity{NodeID: n.id, Name: n.cfg.Name}
		if err := dir.SetIdentity(id); err != nil {
			return err
		}
	}
	// Another process may have been here since lookDir.
	if err := id.Check(persist.Identity{NodeID: n.id, Name: n.cfg.Name}); err != nil {
		return fmt.Errorf("data directory %s: %w", n.cfg.Data, err)
	}
	var err error
	if n.recovered, err = dir.Load(); err != nil {
		return err
	}
	if t := n.recovered.Torn; t != nil {
		n.log.Warn("unfinished write cut off the end of the log", "where", t.String(), "meaning", persist.TornMeaning)
	}
	for _, note := range n.recovered.Notes {
		n.log.Warn("data directory", "note", note)
	}
	n.direct = n.durability() == replica.Fsync
	n.store = replica.NewStore(dir, n.durability(), n.machineOptions())
	return nil
}

// durability is Memory where there is no data directory: see Config.complete.
func (n *Node) durability() replica.Durability {
	return map[string]replica.Durability{"fsync": replica.Fsync, "async": replica.Async, "memory": replica.Memory}[n.cfg.Durability]
}

// hasData tells whether the directory holds a log or a snapshot.
func (n *Node) hasData() bool {
	return n.recovered.Snapshot != nil || len(n.recovered.Entries) > 0
}

// belong stores which cluster this node is of.
func (n *Node) belong(cluster string) error {
	id := n.dir.Identity()
	id.Cluster = cluster
	if err := n.dir.SetIdentity(id); err != nil {
		return err
	}
	n.cluster.Store(&cluster)
	return nil
}

// foundAlone makes a cluster of this node, unless it has one.
func (n *Node) foundAlone() error {
	if n.hasData() {
		return nil
	}
	if n.Cluster() == "" {
		if err := n.belong(fmt.Sprintf("%016x%016x", random64(), random64())); err != nil {
			return err
		}
	}
	return n.found(raft.Configuration{Members: []raft.Member{{ID: n.id, Role: raft.Voter, Name: n.cfg.Name, Addr: n.advertise}}})
}

// found writes the first log entry, which is the same at every founder.
func (n *Node) found(config raft.Configuration) error {
	e := raft.Bootstrap(config)
	n.recovered.HardState = raft.HardState{Term: e.Term, Commit: e.Index}
	n.recovered.Entries = []raft.Entry{e}
	if n.cfg.Durability == "memory" {
		return nil
	}
	if err := n.dir.Append(raft.Save{HardState: &n.recovered.HardState, Entries: n.recovered.Entries}); err != nil {
		return err
	}
	return n.dir.Sync()
}

// startGossip begins to look for others.
func (n *Node) startGossip() error {
	state, err := n.readBootstrap()
	if err != nil {
		return err
	}
	meta := gossip.Meta{
		ID: n.id, Cluster: n.Cluster(), Addr: n.advertise, Expect: n.cfg.Expect, Observer: n.cfg.Observer,
		HasData: n.hasData(), Build: n.cfg.Build, Generation: state.Generation, Promise: state.Promise, View: state.Promise,
	}
	if n.cfg.Expect > 0 && n.hasData() {
		n.log.Info("--expect is ignored: the node has data of a cluster", "cluster", n.Cluster())
	}
	n.gossip, err = gossip.Start(gossip.Config{
		Name: n.cfg.Name, Port: n.packets, Join: n.cfg.Join, Key: n.cfg.Key, Meta: meta, Logger: n.log,
		OnChange: func() {
			select { // n.gossip is set below
			case <-n.gossipStarted:
			case <-n.ctx.Done():
				return
			}
			n.book.setGossip(n.gossip.Members())
			select {
			case n.gossipTold <- struct{}{}:
			default:
			}
		},
	})
	close(n.gossipStarted)
	return err
}

// bootInterval is how often a node without a cluster looks around again.
const bootInterval = 200 * time.Millisecond

// boot waits until the node belongs to a cluster, then makes the replica and
// starts what serves it.
func (n *Node) boot() error {
	if n.gossip != nil && n.Cluster() == "" {
		if err := n.findCluster(); err != nil || n.ctx.Err() != nil {
			return err
		}
	}
	return n.startReplica()
}

// findCluster lets gossip bring the founders together, or finds a cluster to
// join. Clients are told meanwhile why there is nothing to be had.
func (n *Node) findCluster() error {
	state, err := n.readBootstrap()
	if err != nil {
		return err
	}
	b := gossip.NewBootstrap(state)
	ticker := time.NewTicker(bootInterval)
	defer ticker.Stop()
	reason := ""
	var in inputs
	for {
		d := b.Decide(n.cfg.Name, n.gossip.Meta(), n.gossip.Members())
		switch d.Kind {
		case gossip.Publish:
			if err := n.publishBootstrap(d); err != nil {
				return err
			}
			continue
		case gossip.Found:
			n.log.Info("founding the cluster", "cluster", d.Cluster, "voters", len(d.Config.Members))
			if !n.hasData() { // else a crash came before belong
				if err := n.found(d.Config); err != nil {
					return err
				}
			}
			return n.belong(d.Cluster)
		case gossip.Join:
			n.log.Info("joining a cluster", "cluster", d.Cluster)
			return n.belong(d.Cluster)
		case gossip.Wait:
			if d.Reason != reason {
				reason = d.Reason
				n.log.Info("no cluster yet", "why", reason)
			}
		}
		select {
		case <-n.gossipTold:
		case <-ticker.C:
		case <-n.inbox.wake:
		case <-n.ctx.Done():
			return nil
		}
		in = n.inbox.take(in)
		n.told.drained()
		n.answerUnfounded(&in, reason)
	}
}

// answerUnfounded answers what can be answered without a cluster.
func (n *Node) answerUnfounded(in *inputs, reason string) {
	for _, q := range in.requests {
		if q.req.Op == wire.OpStatus {
			n.answerStatus(q.from, q.req)
			continue
		}
		q.from.Reply(q.req.ID, command.AppendError(nil, 0, command.CodeNoLeader, "node "+n.cfg.Name+" has no cluster yet: "+reason, "", nil))
	}
	for _, f := range in.calls {
		f()
	}
	n.flushReplies()
}

// publishBootstrap makes a promise durable before anybody hears of it.
func (n *Node) publishBootstrap(d gossip.Decision) error {
	if d.Store {
		if err := n.dir.WriteNote(bootstrapFile, d.State.Encode()); err != nil {
			return err
		}
	}
	m := n.gossip.Meta()
	m.Generation, m.View, m.Promise = d.State.Generation, d.View, d.State.Promise
	return n.gossip.SetMeta(m)
}

func (n *Node) readBootstrap() (gossip.BootstrapState, error) {
	b, err := n.dir.ReadNote(bootstrapFile)
	if errors.Is(err, fs.ErrNotExist) {
		return gossip.BootstrapState{}, nil
	}
	if err != nil {
		return gossip.BootstrapState{}, err
	}
	return gossip.DecodeState(b)
}

// machineOptions sends what replicated code prints to the log.
func (n *Node) machineOptions() luafsm.Options {
	if n.cfg.Print != nil {
		return luafsm.Options{Print: n.cfg.Print}
	}
	return luafsm.Options{Print: func(object, text string) { n.log.Debug("print", "object", object, "text", text) }}
}

// startReplica restores the machine and starts the goroutines that serve it.
func (n *Node) startReplica() error {
	rec := n.recovered
	n.recovered = nil
	init := raft.Initial{HardState: rec.HardState, Entries: rec.Entries}
	machine := luafsm.New(n.machineOptions())
	if s := rec.Snapshot; s != nil {
		var err error
		if machine, err = n.store.Restore(*s); err != nil {
			return fmt.Errorf("snapshot at index %d: %w", s.Index, err)
		}
		init.Snapshot, init.Applied = *s, s.Index
	}
	if init.Untrusted = n.distrust(init); init.Untrusted {
		n.distrusted = true
	} else if err := n.markTrusted(); err != nil {
		return err
	}
	applier := replica.NewApplier(machine, hands{n})
	role := raft.Voter
	if n.cfg.Observer {
		role = raft.Observer
	}
	core := raft.Config{ID: n.id, ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks, Seed: random64()}
	if n.cfg.LeaseReads && !n.cfg.Single { // who is alone needs no lease
		core.PromiseMs, core.LeaseMs = promiseMs, leaseMs
	}
	r, err := replica.New(replica.Config{
		Self: raft.Member{ID: n.id, Role: role, Name: n.cfg.Name, Addr: n.advertise},
		Raft: core,
		Seed: random64(), SnapshotEntries: uint64(n.cfg.SnapshotEntries), SnapshotBytes: snapshotLogBytes,
		SnapshotIntervalMs: n.cfg.SnapshotInterval.Milliseconds(),
	}, init, applier.State(), n.cfg.Now().UnixMilli())
	if err != nil {
		return err
	}
	n.replica = r
	n.changed()
	n.publishMeta()
	n.group.Go(func() { n.apply(applier) })
	n.readers.start()
	n.group.Go(n.watches.run)
	n.inbox.add(func(*inputs) {})
	return nil
}

// publishMeta tells gossip what people may want to know.
func (n *Node) publishMeta() {
	if n.gossip == nil {
		return
	}
	m := n.gossip.Meta()
	m.Cluster, m.HasData, m.Full = n.Cluster(), true, n.room.own != nil
	m.Pace = n.pace.typical
	m.Role, m.Term, m.Leader = n.seen.role, n.seen.term, n.seen.leader
	if err := n.gossip.SetMeta(m); err != nil {
		n.log.Warn("gossip metadata", "err", err)
	}
}

// joinTicks is how often a node asks to be let in, if replica.WantsToJoin.
const joinTicks = 25

// askToJoin asks everybody that gossip shows; the leader among them acts.
func (n *Node) askToJoin() {
	if n.gossip == nil || !n.replica.WantsToJoin() {
		return
	}
	role := raft.Learner
	if n.cfg.Observer {
		role = raft.Observer
	}
	if n.book.wasRemoved(n.id) {
		return
	}
	me := raft.Member{ID: n.id, Role: role, Name: n.cfg.Name, Addr: n.advertise}
	for _, m := range n.gossip.Members() {
		if m.Meta.ID == n.id || m.State != gossip.Alive || m.Meta.Cluster != n.Cluster() {
			continue
		}
		p := n.peer(m.Meta.ID)
		p.send(wire.PeerMessage{Join: &me})
		p.flush()
	}
}

// announceReady says once that the node serves.
func (n *Node) announceReady() {
	if n.isReady || n.replica.Leader() == 0 || n.role() == "joining" {
		return
	}
	st := n.replica.Status()
	if applied := n.replica.Applied().Index; applied < st.Commit {
		n.catchesUp(uint64(applied), uint64(st.Commit))
		return
	}
	n.isReady = true
	n.caughtUp()
	n.log.Info("ready", "addr", n.advertise, "id", idString(n.id), "cluster", n.Cluster(), "role", n.role(), "term", st.Term,
		"durability", n.cfg.Durability)
	close(n.ready)
}
