package lab

import "time"

// Chances of a message between nodes, and of a request or answer of a client.
const (
	dropChance    = 0.01
	lateChance    = 0.005
	doubleChance  = 0.005
	unheardChance = 0.01
)

const (
	// callChance is how often a call of a client brings a fault, at about the time
	// at which it is carried out: what takes a millisecond would hardly ever meet
	// one that comes by the clock.
	callChance = 0.15
	// Faults that come by the clock are this far apart.
	faultEveryMin = time.Second
	faultEveryMax = 15 * time.Second
	// A fault lasts so long, and the cluster then has calm to find a leader.
	faultMin = 20 * time.Millisecond
	faultMax = 2 * time.Second
	calm     = 2 * time.Second
	// snapshotsMin and snapshotsMax are after how many entries a node dumps.
	snapshotsMin = 5
	snapshotsMax = 200
	// compactKeep is how many entries a node keeps behind a dump: fewer than a
	// node misses that was away.
	compactKeep = 4
)

// faults is what goes wrong by itself.
type faults struct {
	on        bool
	until     time.Duration // no other fault before
	snapshots uint64        // after so many entries; 0: never
}

// Faults makes things go wrong by themselves, and be counted, from now on.
func (w *World) Faults() {
	w.faults.on = true
	w.stats = Stats{}
	w.strikeLater()
}

// DumpOften makes nodes that start from now on write snapshots after few entries,
// so that others need them.
func (w *World) DumpOften() {
	w.faults.snapshots = uint64(snapshotsMin + w.rng.IntN(snapshotsMax-snapshotsMin))
}

// Calm ends what goes wrong by itself.
func (w *World) Calm() { w.faults.on = false }

// chance is true with probability p while there are faults.
func (w *World) chance(p float64) bool { return w.faults.on && w.rng.Float64() < p }

func (w *World) strikeLater() {
	w.after(w.between(faultEveryMin, faultEveryMax), func() {
		if w.faults.on {
			w.strike()
			w.strikeLater()
		}
	})
}

// provoke perhaps brings a fault with a call.
func (w *World) provoke() {
	if w.chance(callChance) {
		w.after(w.between(0, 6*time.Millisecond), w.strike)
	}
}

// strike brings one fault, if none is there. What the spec broke itself leaves no
// room for another one: no cluster survives the loss of its majority.
func (w *World) strike() {
	if !w.faults.on || w.now < w.faults.until || len(w.apart) > 0 {
		return
	}
	for _, m := range w.members {
		if !m.up {
			return
		}
	}
	m := w.anyMember()
	if l := w.leader(); l != nil && w.rng.IntN(2) == 0 {
		m = l
	}
	lasts := w.between(faultMin, faultMax)
	w.faults.until = w.now + lasts + calm
	switch w.rng.IntN(8) {
	case 0, 1, 2:
		w.stats.Crashes++
		if m.replica.IsLeader() {
			w.stats.Leaders++
		}
		m.crash(w.rng.IntN(2) == 0)
		w.after(lasts, m.start)
	case 3, 4:
		w.stats.Cuts++
		w.Tell("%v is cut off for %v", m, lasts.Round(time.Millisecond))
		w.isolate(m, w.cut)
		w.after(lasts, func() { clear(w.cut) })
	case 5:
		other := w.anyMember()
		if other == m {
			return
		}
		w.stats.Cuts++
		w.Tell("%v does not reach %v for %v", m, other, lasts.Round(time.Millisecond))
		w.cut[link{m.id, other.id}] = true
		w.after(lasts, func() { clear(w.cut) })
	case 6:
		w.stats.Pauses++
		w.Tell("%v stands still for %v", m, lasts.Round(time.Millisecond))
		m.pausedTo = w.now + lasts
	case 7:
		if l := w.leader(); l != nil && l != m && l.replica.Transfer(m.id) == nil {
			w.stats.Transfers++
			w.Tell("%v hands leadership to %v", l, m)
			l.wake()
		}
	}
}

// leader is the one of the highest term, as far as members think so.
func (w *World) leader() (l *member) {
	for _, m := range w.members {
		if m.up && m.replica.IsLeader() && (l == nil || m.replica.Term() > l.replica.Term()) {
			l = m
		}
	}
	return l
}
