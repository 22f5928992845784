package main

import (
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// every makes something happen again and again while there are faults, with the
// given mean time between; 0 is never.
func (w *world) every(mean int64, run func()) {
	if mean == 0 {
		return
	}
	var again func()
	again = func() {
		if w.faults {
			run()
			w.after(w.calm*w.between(mean/4, 2*mean), again)
		}
	}
	w.after(w.between(second, 2*mean+second), again)
}

// nemesis starts all that goes wrong, and what an operator does.
func (w *world) nemesis() {
	p := w.profile
	w.every(p.crashEvery, w.crash)
	w.every(p.cutEvery, w.cut)
	w.every(p.pauseEvery, w.pause)
	w.every(p.jumpEvery, w.jump)
	w.every(p.diskEvery, w.faultyDisk)
	w.every(p.transferEvery, w.transfer)
	w.every(p.fullEvery, w.fillDisk)
	w.every(p.damageEvery, w.damage)
	w.every(p.removeEvery, w.remove)
	w.every(p.deployEvery, func() { w.clients[0].ask(w.newDeploy(), w.anyMember()) })
	w.every(p.rivalEvery, w.rivals)
	w.every(p.trapEvery, w.trapLease)
	w.every(second, w.operate)
	w.every(3*second, func() { w.clients[0].ask(&op{kind: opSnapshot}, w.anyMember()) })
	w.every(2*second, func() { w.anyMember().losePeerLater(w.anyMember().id) })
}

// rivals makes all lose the leader at about the same time: several will ask for
// votes in one term.
func (w *world) rivals() {
	l := w.leader()
	if l == nil {
		return
	}
	w.stats.rivals++
	w.log("all lose their connections to %v", l)
	for _, m := range w.members {
		if m != l {
			m.losePeerLater(l.id)
		}
	}
}

func (w *world) crash() {
	switch w.rng.IntN(12) {
	case 0:
		w.stats.allCrashed++
		for _, m := range w.members {
			m.powerFailure("with all others")
		}
		return
	case 1, 2:
		w.stats.someCrashed++
		l := w.leader()
		for _, m := range w.members {
			if m == l || w.rng.IntN(2) == 0 {
				m.powerFailure("with others")
			}
		}
		return
	}
	m := w.anyMember()
	if l := w.leader(); l != nil && w.rng.IntN(3) == 0 {
		m = l
	}
	switch w.rng.IntN(4) {
	case 0:
		m.kill()
	case 1:
		m.powerFailure("between two events")
	default:
		if w.profile.memory {
			m.powerFailure("between two events")
		} else if m.mayLosePower() {
			m.disk.powerGoesAfter(w.rng.IntN(60))
		}
	}
}

// leader is the one of the highest term, as far as members think so.
func (w *world) leader() (l *member) {
	for _, m := range w.members {
		if m.up && m.state == raft.Leader && (l == nil || m.term > l.term) {
			l = m
		}
	}
	return l
}

func (w *world) cut() {
	a, b := w.anyMember(), w.anyMember()
	if l := w.leader(); l != nil && w.rng.IntN(2) == 0 {
		a = l
	}
	switch x := w.rng.IntN(7); {
	case x < 2 && a != b:
		w.net.cutLink(a, b, x == 1)
		w.log("network: cut from %v to %v, both ways: %v", a, b, x == 1)
	case x == 2:
		w.net.isolate([]*member{a})
		w.log("network: %v is alone", a)
		if w.rng.IntN(2) == 0 { // and the others notice at once, while it may have a lease
			for _, m := range w.members {
				m.losePeerLater(a.id)
			}
		}
	case x == 3:
		var group []*member
		for _, m := range w.members {
			if w.rng.IntN(2) == 0 {
				group = append(group, m)
			}
		}
		w.net.isolate(group)
		w.log("network: %v are cut off", group)
	case x == 4:
		for _, m := range w.members {
			if m != a {
				w.net.cutLink(m, a, false)
			}
		}
		w.log("network: %v hears nobody", a)
	case x == 5:
		for _, m := range w.members {
			if m != a {
				w.net.cutLink(a, m, false)
			}
		}
		w.log("network: nobody hears %v", a)
	}
	w.after(w.between(100*millisecond, 4*second), func() {
		w.log("network: whole again")
		w.net.heal()
	})
}

// pause stops a process for a while, as SIGSTOP does, and its disk with it.
func (w *world) pause() {
	m := w.anyMember()
	if l := w.leader(); l != nil && w.rng.IntN(2) == 0 {
		m = l // it wakes as one that was deposed
	}
	if m.up {
		d := w.between(20*millisecond, 3*second)
		m.pausedTo = w.now + d
		w.stats.pauses++
		w.log("%v stands still for %s", m, stamp(d))
	}
}

func (w *world) jump() {
	m := w.anyMember()
	by := float64(w.between(-20_000, 20_000))
	m.skew += by
	w.stats.jumps++
	w.log("%v's clock jumps by %g ms", m, by)
}

// faultyDisk makes operations of a disk fail for a while.
func (w *world) faultyDisk() {
	m := w.anyMember()
	p := w.profile.diskErrors
	w.stats.faultyDisks++
	w.log("%v's disk fails now and then", m)
	life := m.life
	m.disk.SetFault(func(_ int, o persist.Op, path string) (int, error) {
		if w.rng.Float64() >= p {
			return 0, nil
		}
		w.stats.diskErrors++
		w.log("%v: %s of %s fails", m, o, path)
		return w.rng.IntN(600), errDisk
	})
	w.after(w.between(50*millisecond, 2*second), func() {
		if m.life == life {
			m.disk.SetFault(nil)
		}
	})
}

// maybeFailOnce lets one of the next operations of the disk fail.
func (m *member) maybeFailOnce(p float64) {
	w := m.w
	if !w.chance(p) {
		return
	}
	nth := 1 + w.rng.IntN(8)
	m.disk.SetFault(func(n int, o persist.Op, path string) (int, error) {
		if n != nth {
			return 0, nil
		}
		w.stats.diskErrors++
		w.log("%v: %s of %s fails", m, o, path)
		return w.rng.IntN(600), errDisk
	})
}

func (w *world) transfer() {
	to := w.anyMember().id
	if w.rng.IntN(3) == 0 {
		to = 0
	}
	w.clients[0].askWith(&op{kind: opTransfer}, w.anyMember(), func(r *wire.Request) {
		r.Op, r.Payload = wire.OpTransfer, wire.AppendTransfer(nil, to)
	})
}

const (
	// leaderTime is how long after the last fault there may be no leader that a
	// majority follows: ten of the longest election timeouts.
	leaderTime = 12 * second
	// effectsMin and faultsMin are what a world must have at least, or it tests
	// nothing.
	effectsMin = 20
	faultsMin  = 5
)

// heal ends all faults. Then there must be a leader and agreement within a
// bounded time, and every member must serve.
func (w *world) heal() {
	w.log("all faults end")
	ended := w.now
	w.faults = false
	w.net.heal()
	for _, m := range w.members {
		m.disk.SetFault(nil)
		m.disk.SetRoom(-1)
		m.disk.arm = false
		m.pausedTo = 0
		m.start()
	}
	w.leaderAgain()
	w.converge()
	w.stats.healed += w.now - ended
	w.runUntil(w.now + 4*second) // what was paused or delayed for long comes back
	w.converge()
	if !w.history.deployed { // the faults left no time for it
		w.clients[0].ask(w.newDeploy(), w.members[0])
		w.runUntil(w.now + 3*second)
	}
	for _, m := range w.members {
		w.serves(m)
	}
	w.runUntil(w.now + 5*second) // the last deadlines pass
	w.converge()
	w.timersRang()
	w.history.finish()
	w.history.linear()
	w.enough()
}

// serves makes sure that a member answers.
func (w *world) serves(m *member) {
	c := &client{w: w}
	calls := []*op{{kind: opInc}, {kind: opAdd}, {kind: opCounter}, {kind: opLedger}, {kind: opRevision}}
	for _, o := range calls {
		c.ask(o, m)
	}
	for end := w.now + 3*second; c.open > 0 && w.now < end; {
		w.runUntil(w.now + 10*millisecond)
	}
	for _, o := range calls {
		if o.fate != happened {
			w.fail(agreesAfterHeal, "%v at %v has fate %d, though all is well again", o, m, o.fate)
		}
	}
}

// timersRang: each timer rings once when the log clock has come to it. That may
// take long after a clock that was ahead has led.
func (w *world) timersRang() {
	l := w.leader()
	next, later := l.applier.State().NextTimer, w.history.states[w.history.top()].later
	if next != 0 && next+1000 < l.wall() {
		w.fail(exactlyOnce, "a timer was due at %d and has not rung at %d", next, l.wall())
	}
	rings := &op{kind: opRings}
	w.clients[0].ask(rings, l)
	w.runUntil(w.now + second)
	if rings.fate != happened || rings.value > later || next == 0 && rings.value != later {
		w.fail(exactlyOnce, "%d timers were set and rang %d times, the next is due at %d", later, rings.value, next)
	}
}

// leaderAgain waits for a leader that a majority follows.
func (w *world) leaderAgain() {
	for end := w.now + leaderTime; w.now < end; {
		w.runUntil(w.now + 50*millisecond)
		l := w.leader()
		if l == nil {
			continue
		}
		followed := raft.Configuration{}
		for _, c := range l.replica.Config().Members {
			if m := w.machine(c.ID); m.up && m.replica.Leader() == l.id {
				followed.Members = append(followed.Members, c)
			}
		}
		if 2*voters(followed) > voters(l.replica.Config()) {
			return
		}
	}
	w.fail(agreesAfterHeal, "no leader %s after the last fault", stamp(leaderTime))
}

// enough makes sure that the world was worth playing: calls took effect under
// faults.
func (w *world) enough() {
	s := &w.stats
	if s.effects < effectsMin {
		w.fail(enoughHappens, "%d calls took effect in %s, at least %d should", s.effects, stamp(w.now), effectsMin)
	}
	if n := s.faults(); n < faultsMin {
		w.fail(enoughHappens, "%d faults were injected, at least %d should", n, faultsMin)
	}
}

// converge runs until the members agree.
func (w *world) converge() {
	why := ""
	for end := w.now + healTime; w.now < end; {
		w.runUntil(w.now + 50*millisecond)
		if w.now/(500*millisecond) != (w.now-50*millisecond)/(500*millisecond) {
			w.operate()
		}
		if why = w.disagreement(); why == "" {
			w.log("all agree at index %d", w.history.top())
			return
		}
	}
	for _, m := range w.members {
		if m.up {
			st := m.replica.Status()
			w.log("%v: %v term %d leader %d commit %d applied %d last %d {%v} %+v", m, st.State, st.Term, st.Leader, st.Commit,
				m.applier.State().Index, st.LastIndex, st.Config, st.Followers)
		}
	}
	w.fail(agreesAfterHeal, "no agreement %s after the last fault: %s", stamp(healTime), why)
}

// disagreement says what is missing for agreement.
func (w *world) disagreement() string {
	l := w.leader()
	if l == nil {
		return "no leader"
	}
	want := l.applier.State()
	if st := l.replica.Status(); st.Commit != want.Index || st.LastIndex != want.Index || want.Index < w.history.top() {
		return fmt.Sprintf("the leader's log ends at %d, commit is %d, applied %d, somebody has applied %d", st.LastIndex, st.Commit, want.Index, w.history.top())
	}
	if l.replica.Config().Joint() {
		return "the configuration is joint"
	}
	for _, c := range l.replica.Config().Members {
		if !slices.Contains(w.members, w.machine(c.ID)) {
			return fmt.Sprintf("%016x is still in the configuration", uint64(c.ID))
		}
		if c.Role == raft.Learner {
			return fmt.Sprintf("%016x is still a learner", uint64(c.ID))
		}
	}
	for _, m := range w.members {
		if !m.up {
			return m.name + " is down"
		}
		if _, in := l.replica.Config().Member(m.id); !in {
			return m.name + " is in no configuration"
		}
		if got := m.applier.State(); got.Index != want.Index || got.Digest != want.Digest {
			return fmt.Sprintf("%v is at index %d with digest %x, the leader %v at %d with %x", m, got.Index, got.Digest, l, want.Index, want.Digest)
		}
		if m.replica.Leader() != l.id {
			return m.name + " follows another leader"
		}
	}
	return ""
}
