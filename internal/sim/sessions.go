package main

import "github.com/syncsh/syncsh/internal/command"

// sessions is the model of the machine's sessions: which are open behind the last
// index. A session ends when it was not used for session_ttl, by the log clock in
// seconds, and the one that was used least recently when another one is opened and
// as many as the setting sessions are there.
type sessions struct {
	floors map[uint64]uint64 // acknowledged serials of all that ever were, by id
	used   map[uint64]int64  // of those that are open
	pushed map[uint64]bool   // ended for their number
	ttl    int64             // session_ttl; 0: the default
	most   int               // the setting sessions; 0: the default
}

// sessionsOpenMax is how many sessions the machine ends at once (sessionsDropMax of
// luafsm). Where more are open than that the model would end more than the machine.
const sessionsOpenMax = 32

func (s *sessions) init() {
	*s = sessions{floors: map[uint64]uint64{}, used: map[uint64]int64{}, pushed: map[uint64]bool{}}
}

// tick ends those that were not used for long.
func (s *sessions) tick(now int64) {
	for id, used := range s.used {
		if s.ttl != 0 && now-used > s.ttl {
			delete(s.used, id)
		}
	}
}

// open opens a session, and returns how many end for it.
func (s *sessions) open(id uint64, now int64) (pushed int) {
	for s.most != 0 && len(s.used) >= s.most {
		oldest := id
		for x, used := range s.used {
			if o, ok := s.used[oldest]; !ok || used < o || used == o && x < oldest {
				oldest = x
			}
		}
		delete(s.used, oldest)
		s.pushed[oldest] = true
		pushed++
	}
	s.floors[id], s.used[id] = 0, now
	return pushed
}

// setting is a setting that a world may have, and its value there; 0 is none.
type setting struct {
	name  string
	value int64
}

// set follows a setting.
func (s *sessions) set(x *setting) {
	if x.name == "session_ttl" {
		s.ttl = x.value
	} else {
		s.most = int(x.value)
	}
}

// unset is a setting that the world is to have and has not, nil if there is none.
func (w *world) unset() *setting {
	p, s := &w.profile, &w.history.sessions
	switch {
	case p.sessionTTL != s.ttl:
		return &setting{"session_ttl", p.sessionTTL}
	case p.sessionsMost != int64(s.most):
		return &setting{"sessions", p.sessionsMost}
	}
	return nil
}

// opened follows the opening of a session.
func (h *history) opened(id uint64) {
	s := &h.w.stats
	s.sessions++
	s.pushed += h.sessions.open(id, h.clock/1000)
	if len(h.sessions.used) > sessionsOpenMax {
		h.w.fail(simulatorItself, "%d sessions are open, the model is good for %d", len(h.sessions.used), sessionsOpenMax)
	}
}

// inSession is whose command of a session takes effect at the next index, nil if
// the session has ended, or for a further try of what has happened or was given up.
func (h *history) inSession(c command.Head) *op {
	s := &h.sessions
	floor, ok := s.floors[c.Session]
	if !ok {
		h.w.fail(exactlyOnce, "a call of session %d, which was never opened", c.Session)
	}
	if _, open := s.used[c.Session]; !open {
		h.refused[h.top()+1] = true
		if s.pushed[c.Session] {
			h.w.stats.pushedCalls++
		} else {
			h.w.stats.expired++
		}
		return nil
	}
	s.used[c.Session] = h.clock / 1000
	o := h.calls[[2]uint64{c.Session, c.Serial}]
	floor = max(floor, c.Acked)
	s.floors[c.Session] = floor
	if _, happened := h.effects[o.id]; happened || c.Serial <= floor {
		h.w.stats.repeats++
		return nil
	}
	return o
}
