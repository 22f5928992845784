package luafsm

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// A command of a session happens once, however often it is in the log: its
// result is kept until the client has acknowledged it, and a further try gets
// the result of the first. Sessions are part of the state.
//
// In their section a session sits under its id, a number, the log index that
// opened it. Under a string, when it was used last and its id in digits of fixed
// width, sits true: the first string is the session that was used least
// recently. The time is that of the log clock in seconds, so that a busy session
// moves once a second.
//
// A session is a sequence: three numbers, then a ring in which the result of a
// serial is at the place serial modulo length. The ring is as long as the window
// has ever been, a power of two: what a serial overwrites is acknowledged.
const (
	atFloor = 1 // all serials up to this one are acknowledged
	atUsed  = 2 // the last use, log clock in seconds
	atBytes = 3 // of the large results that are kept
	atRing  = 4 // of the ring: false, or eight bytes serial and the result
)

// Limits of sessions; session_ttl and sessions are settings.
const (
	sessionWindow    = 1024        // serials of a session under way
	sessionsDropMax  = 32          // sessions that one entry or one new session removes
	sessionDigits    = 16          // of the numbers in a key
	resultBytesMax   = 64 << 10    // of a result that is kept
	sessionBytesMax  = 4 << 20     // of the large results of a session
	sessionsBytesMax = 256 << 20   // of those of all sessions
	resultSmallBytes = 64          // what is smaller stays in the ring until it is overwritten
	resultTextMax    = 48          // of the message of an error that is too large to be kept
	serialMax        = 1<<53 - 1   // numbers of a state are exact up to here
	secondsMax       = int64(1e15) // sessionDigits are enough for it
)

// inSession is the place of the command that runs in its session.
type inSession struct {
	t             *state.Table // nil: no session
	id            uint64
	serial, acked uint64
	keep          bool // the result is that of a first try
}

// whole number of a session, 0 if a strange dump has none there.
func sessionNumber(t *state.Table, slot int) uint64 {
	n, _ := t.GetIndex(nil, slot).(lua.LNumber)
	if !whole(float64(n)) {
		return 0
	}
	return uint64(n)
}

// sure panics on an error of a write that can't be refused.
func sure(errs ...error) {
	if err := firstError(errs...); err != nil {
		panic(fmt.Sprintf("luafsm: sessions: %v", err))
	}
}

func (m *Machine) seconds() int64 { return min(m.clock/1000, secondsMax) }

func (m *Machine) expired(used uint64) bool {
	ttl := int64(m.limits.sessionTTL)
	if mutant.On(mutant.SessionsShort) {
		ttl /= 2
	}
	return m.seconds()-int64(used) > ttl
}

func sessionKey(used, id uint64) string {
	return fmt.Sprintf("%0*d %0*d", sessionDigits, used, sessionDigits, id)
}

// oldestSession is the one that was used least recently.
func (m *Machine) oldestSession() (key string, used, id uint64, ok bool) {
	k, _, ok, err := m.store.Section(sectionSessions).Next(nil, lua.LString(""))
	s, isKey := k.(lua.LString)
	if err != nil || !ok || !isKey {
		return "", 0, 0, false
	}
	if len(s) == 2*sessionDigits+1 { // what a strange dump has else is of no session and goes first
		used, _ = strconv.ParseUint(string(s[:sessionDigits]), 10, 53)
		id, _ = strconv.ParseUint(string(s[sessionDigits+1:]), 10, 53)
	}
	return string(s), used, id, true
}

// dropSession removes a session within a transaction.
func (m *Machine) dropSession(key string, id uint64) {
	sessions := m.store.Section(sectionSessions)
	if t, ok := state.TableOf(sessions.GetIndex(nil, int(id))); ok {
		m.sessionBytes(t, -int(sessionNumber(t, atBytes)))
	}
	sure(sessions.SetString(key, lua.LNil), sessions.SetIndex(int(id), lua.LNil))
}

// sessionBytes counts bytes of large results in and out.
func (m *Machine) sessionBytes(t *state.Table, n int) {
	if n == 0 {
		return
	}
	machine := m.store.Section(sectionMachine)
	all, _ := machine.GetString(nil, "session_bytes").(lua.LNumber)
	sure(t.SetIndex(atBytes, lua.LNumber(max(int(sessionNumber(t, atBytes))+n, 0))),
		machine.SetString("session_bytes", max(all+lua.LNumber(n), 0)))
}

// expireSessions removes sessions that were not used for long. What is left
// waits for the next entry; enter refuses it until then.
func (m *Machine) expireSessions() {
	for range sessionsDropMax {
		key, used, id, ok := m.oldestSession()
		if !ok || !m.expired(used) {
			return
		}
		m.begin()
		m.dropSession(key, id)
		m.commit()
	}
}

// openSession opens a session and returns its id. There may be no room for it:
// then the least recently used one ends.
func (m *Machine) openSession(b []byte) []byte {
	id, used := m.current.index, uint64(m.seconds())
	m.begin()
	sessions := m.store.Section(sectionSessions)
	for range sessionsDropMax { // a lowered setting takes effect little by little
		if sessions.Count(nil)/2 < m.limits.sessions || mutant.On(mutant.SessionsPile) {
			break
		}
		key, _, old, ok := m.oldestSession()
		if !ok {
			break
		}
		m.dropSession(key, old)
	}
	t := m.store.NewTable(atRing, 0)
	sure(t.SetIndex(atFloor, lua.LNumber(0)), t.SetIndex(atUsed, lua.LNumber(used)), t.SetIndex(atBytes, lua.LNumber(0)),
		sessions.SetIndex(int(id), t.UserData()), sessions.SetString(sessionKey(used, id), lua.LTrue))
	m.commit()
	return codec.AppendUint(codec.AppendArrayLen(command.AppendOKHead(b, id), 1), id)
}

// enter looks up the session of a command. It appends the answer and says true
// when the command is not to run. It reads only: remember writes.
func (m *Machine) enter(b []byte, h command.Head) ([]byte, bool) {
	if h.Session > serialMax || h.Serial > serialMax || h.Acked > serialMax {
		return m.refuse(b, command.CodeBadArgument, "numbers of a session end at %d", uint64(serialMax)), true
	}
	t, ok := state.TableOf(m.store.Section(sectionSessions).GetIndex(nil, int(h.Session)))
	if !ok || m.expired(sessionNumber(t, atUsed)) {
		if m.current.dry {
			// A new leader tries commands out before it has applied all that the old
			// one committed: it is no judge of sessions.
			return b, false
		}
		return m.refuse(b, command.CodeSession, "session %016x has expired; this try of the call had no effect", h.Session), true
	}
	m.current.in = inSession{t: t, id: h.Session, serial: h.Serial, acked: h.Acked}
	floor := max(sessionNumber(t, atFloor), h.Acked)
	switch {
	case mutant.On(mutant.SerialUnchecked):
		return b, false
	case h.Serial <= floor:
		return m.refuse(b, command.CodeBadArgument, "call %d of session %016x was acknowledged already", h.Serial, h.Session), true
	case h.Serial-floor > sessionWindow:
		return m.refuse(b, command.CodeOverloaded, "call %d of session %016x: more than %d calls are not acknowledged", h.Serial, h.Session, sessionWindow), true
	}
	if text, ok := keptResult(t, h.Serial); ok {
		return m.repeat(b, h, text), true
	}
	m.current.in.keep = true
	return b, false
}

// repeat appends a result that was kept.
func (m *Machine) repeat(b []byte, h command.Head, result string) []byte {
	start := len(b)
	b = append(b, result...)
	d := codec.NewDecoder(b[start:])
	if _, err := command.DecodeResult(&d); err != nil { // in a strange dump
		return m.refuse(b[:start], command.CodeHappened, "call %d of session %016x happened; its result is lost", h.Serial, h.Session)
	}
	return b
}

// ringLen is the length of the ring.
func ringLen(t *state.Table) uint64 { return uint64(max(t.Len(nil)-atRing+1, 0)) }

// ringSlot reads the place of a serial in a ring of size n.
func ringSlot(t *state.Table, serial, n uint64) (slot int, text string, of uint64) {
	slot = atRing + int(serial%n)
	of, text = serialOf(t.GetIndex(nil, slot))
	return slot, text, of
}

// serialOf splits a value of the ring; 0 is no serial.
func serialOf(v lua.LValue) (serial uint64, text string) {
	s, ok := v.(lua.LString)
	if !ok || len(s) < 8 {
		return 0, ""
	}
	return binary.BigEndian.Uint64([]byte(s[:8])), string(s)
}

func keptResult(t *state.Table, serial uint64) (result string, ok bool) {
	n := ringLen(t)
	if n == 0 {
		return "", false
	}
	if _, text, of := ringSlot(t, serial, n); of == serial {
		return text[8:], true
	}
	return "", false
}

// remember ends a command of a session: it renews the session, forgets what is
// acknowledged, and keeps the result of a first try. Nothing can come between it
// and the command: an entry is applied as a whole or not at all. Nor has the
// command ended its session: only an Open could, and a session has none of these.
func (m *Machine) remember(result []byte) {
	in := m.current.in
	if in.t == nil {
		return
	}
	m.current.in.t = nil
	m.begin()
	m.renew(in.t, in.id)
	if mutant.On(mutant.ResultForgotten) {
		in.acked++
	}
	m.acknowledge(in.t, in.acked)
	if in.keep {
		m.keep(in.t, in.serial, result)
	}
	m.commit()
}

func (m *Machine) renew(t *state.Table, id uint64) {
	was, now := sessionNumber(t, atUsed), uint64(m.seconds())
	if was == now {
		return
	}
	sessions := m.store.Section(sectionSessions)
	sure(sessions.SetString(sessionKey(was, id), lua.LNil), sessions.SetString(sessionKey(now, id), lua.LTrue), t.SetIndex(atUsed, lua.LNumber(now)))
}

// acknowledge raises the floor and lets go of large results at once.
func (m *Machine) acknowledge(t *state.Table, floor uint64) {
	was := sessionNumber(t, atFloor)
	if floor <= was {
		return
	}
	sure(t.SetIndex(atFloor, lua.LNumber(floor)))
	n := ringLen(t)
	for serial := was + 1; serial <= min(floor, was+n); serial++ {
		if slot, text, of := ringSlot(t, serial, n); of == serial && len(text) > resultSmallBytes {
			sure(t.SetIndex(slot, lua.LFalse))
			m.sessionBytes(t, -len(text))
		}
	}
}

// keep puts a result into the ring.
func (m *Machine) keep(t *state.Table, serial uint64, result []byte) {
	floor := sessionNumber(t, atFloor)
	n := ringLen(t)
	if serial-floor > n {
		n = widen(t, floor, serial-floor)
	}
	if len(result) > resultSmallBytes && !m.fits(t, len(result)) {
		result = reduced(result)
	}
	m.scratch = append(binary.BigEndian.AppendUint64(m.scratch[:0], serial), result...)
	if len(m.scratch) > resultSmallBytes {
		m.sessionBytes(t, len(m.scratch))
	}
	sure(t.SetIndex(atRing+int(serial%n), lua.LString(m.scratch)))
}

// fits says whether a large result may be kept.
func (m *Machine) fits(t *state.Table, size int) bool {
	all, _ := m.store.Section(sectionMachine).GetString(nil, "session_bytes").(lua.LNumber)
	return size <= resultBytesMax && int(sessionNumber(t, atBytes))+size <= sessionBytesMax && int(all)+size <= sessionsBytesMax
}

// widen makes the ring longer and returns its length.
func widen(t *state.Table, floor, window uint64) uint64 {
	var live []lua.LValue
	for i := range int(ringLen(t)) {
		v := t.GetIndex(nil, atRing+i)
		if serial, _ := serialOf(v); serial > floor {
			live = append(live, v)
		}
	}
	n := uint64(1)
	for n < window {
		n *= 2
	}
	for i := range int(n) {
		sure(t.SetIndex(atRing+i, lua.LFalse))
	}
	for _, v := range live {
		serial, _ := serialOf(v)
		sure(t.SetIndex(atRing+int(serial%n), v))
	}
	return n
}

// reduced is what is kept of a result that is too large: that the call happened
// or, of an error, its code and the beginning of its message.
func reduced(result []byte) []byte {
	d := codec.NewDecoder(result)
	res, err := command.DecodeResult(&d)
	if err != nil || res.Code == command.CodeOK {
		return command.AppendError(nil, res.Index, command.CodeHappened, "too large to be given again", "", nil)
	}
	return command.AppendError(nil, res.Index, res.Code, res.Message[:min(len(res.Message), resultTextMax)], "", nil)
}
