package main

import (
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// membersMax bounds the machines in service at the same time.
const membersMax = 7

func (w *world) makeMembers() {
	for i := range w.profile.voters + w.profile.joiners {
		role := raft.Voter
		if i >= w.profile.voters {
			role = pick(w.rng, raft.Learner, raft.Learner, raft.Observer)
		}
		m := w.addMachine(role, i < w.profile.voters)
		if m.founder {
			w.founding.Members = append(w.founding.Members, raft.Member{ID: m.id, Role: raft.Voter, Name: m.host, Addr: m.host})
		}
	}
}

// addMachine puts a machine into service, with an empty disk and an id that
// nobody had before.
func (w *world) addMachine(role raft.Role, founder bool) *member {
	id := raft.ID(len(w.machines) + 1)
	name := fmt.Sprintf("n%d", id)
	m := &member{w: w, id: id, name: name, host: name, role: role, founder: founder,
		disk:  &disk{MemFS: persist.NewMemFS()},
		skew:  float64(w.between(-5000, 5000)),
		drift: (2*w.rng.Float64() - 1) * w.profile.drift,
	}
	w.machines[id] = m
	w.members = append(w.members, m)
	return m
}

// retire switches a machine off for good. While there are faults another one may
// take its place: a replaced machine.
func (m *member) retire() {
	w := m.w
	w.log("%v is switched off for good", m)
	m.gone = true
	if m.up {
		m.disk.Kill()
		m.down()
	}
	w.members = slices.DeleteFunc(w.members, func(x *member) bool { return x == m })
	if w.atRisk == m {
		w.atRisk = nil
	}
	if !w.faults || w.rng.IntN(4) == 0 && len(w.members) > 1 && !m.broken || w.profile.memory && m.broken {
		return
	}
	role := pick(w.rng, raft.Learner, raft.Learner, raft.Learner, raft.Observer)
	if m.broken {
		role = raft.Learner
	}
	w.after(w.between(10*millisecond, second), func() {
		if w.faults && len(w.members) < membersMax {
			w.stats.replaced++
			x := w.addMachine(role, false)
			w.log("%v takes the place of %v", x, m)
			x.start()
		}
	})
}

// breaks takes a machine out of service: its disk is damaged or lost.
func (m *member) breaks(why string) {
	w := m.w
	w.log("%v is broken: %s", m, why)
	m.broken = true
	w.atRisk = m
	if m.up {
		m.disk.Kill()
		m.down()
	}
}

// forget ends a process that had only memory. What starts in its place has its name
// and nothing else: another id, an empty log and no vote. The old id counts until
// an operator removes it.
func (m *member) forget(how string) {
	w := m.w
	w.stats.forgot++
	if !w.profile.durability().Forgets() { // a planted bug
		w.log("%v forgets everything: %s", m, how)
		m.disk = &disk{MemFS: persist.NewMemFS()}
		m.down()
		return
	}
	m.breaks("it forgets everything: " + how)
	role := raft.Learner
	if m.role == raft.Observer {
		role = raft.Observer
	}
	w.after(w.between(10*millisecond, second), func() {
		x := w.addMachine(role, false)
		x.host = m.host
		w.log("%v is what was %v", x, m)
		x.start()
	})
}

// settled tells whether every voter is there and has the committed configuration
// in force: then any one of them may be lost for good.
func (w *world) settled() bool {
	config := w.history.config()
	for _, c := range config.Members {
		if c.Role != raft.Voter {
			continue
		}
		if m := w.machine(c.ID); !m.up || m.replica == nil || m.replica.Config().String() != config.String() {
			return false
		}
	}
	return !config.Joint() && voters(config) >= 3
}

func voters(c raft.Configuration) (n int) {
	for _, m := range c.Members {
		if m.Role == raft.Voter {
			n++
		}
	}
	return n
}

// operate is what an operator does again and again: switch off who was removed,
// remove who is broken, promote learners.
func (w *world) operate() {
	config := w.history.config()
	for _, m := range slices.Clone(w.members) {
		removed := slices.Contains(config.Removed, m.id)
		_, in := config.Member(m.id)
		if slices.Contains(config.Outgoing, m.id) {
			continue // its vote still counts (§4.3)
		}
		if (removed || m.broken && !in) && (!w.faults || m.broken || w.rng.IntN(2) == 0) {
			m.retire() // a removed one that runs on meanwhile must disturb nobody
		}
	}
	l := w.leader()
	if l == nil {
		return
	}
	var change raft.ConfigChange
	for _, c := range l.replica.Config().Members {
		m := w.machine(c.ID)
		switch {
		case m.gone || m.broken:
			change.Remove = append(change.Remove, c.ID)
		case c.Role == raft.Learner && m.up && !m.flipped:
			change.Promote = append(change.Promote, c.ID)
		}
	}
	switch {
	case len(change.Remove)+len(change.Promote) == 0:
	case len(change.Remove)+len(change.Promote) > 1 && w.rng.IntN(2) == 0:
		w.changeAtLeader(l, change)
	case len(change.Remove) > 0:
		w.changeMember(wire.MemberRemove, change.Remove[0])
	default:
		w.changeMember(wire.MemberPromote, change.Promote[w.rng.IntN(len(change.Promote))])
	}
}

// changeMember asks any member for a change, as syncsh member does.
func (w *world) changeMember(action uint64, id raft.ID) {
	w.clients[0].askWith(&op{kind: opMember}, w.anyMember(), func(r *wire.Request) {
		r.Op, r.Payload = wire.OpMember, wire.AppendMemberChange(nil, action, id)
	})
}

// changeAtLeader asks the leader for a change of several members at once, which
// makes the configuration joint.
func (w *world) changeAtLeader(l *member, change raft.ConfigChange) {
	w.clients[0].askWith(&op{kind: opMember, change: &change}, l, func(r *wire.Request) { r.Op = wire.OpMember })
}

// remove takes a member out that could stay: often the leader, or one that is
// down.
func (w *world) remove() {
	l := w.leader()
	if l == nil {
		return
	}
	config := l.replica.Config()
	m := config.Members[w.rng.IntN(len(config.Members))]
	if _, in := config.Member(l.id); in && w.rng.IntN(3) == 0 {
		m, _ = config.Member(l.id)
	}
	if config.Joint() || m.Role == raft.Voter && voters(config) == 1 {
		return
	}
	if m.ID == l.id {
		w.stats.removedLeaders++
	} else if x := w.machine(m.ID); !x.up {
		w.stats.removedDead++
	}
	w.log("operator: remove %016x", uint64(m.ID))
	for _, c := range config.Members { // a new one for an old one, in one step
		if x := w.machine(c.ID); c.Role == raft.Learner && x.up && w.rng.IntN(4) != 0 {
			w.changeAtLeader(l, raft.ConfigChange{Remove: []raft.ID{m.ID}, Promote: []raft.ID{c.ID}})
			return
		}
	}
	w.changeMember(wire.MemberRemove, m.ID)
}
