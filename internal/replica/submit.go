package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// flight is an entry that this replica proposed as leader and whose fate is not
// known yet.
type flight struct {
	first, last raft.Index
	term        raft.Term
	tickets     []Ticket
}

// forwarded is a request that waits for the leader's answer.
type forwarded struct {
	ticket Ticket
	to     raft.ID
	op     wire.Op
}

// Submit takes a client's request. The answer comes out of Output, of the
// Applier, or of the read pool, exactly once, at the latest around the deadline.
func (r *Replica) Submit(to Replier, req wire.Request) {
	r.submit(r.ticket(to, req), req, false)
}

func (r *Replica) ticket(to Replier, req wire.Request) Ticket {
	wait := int64(req.TimeoutMs)
	if wait == 0 {
		wait = TimeoutDefaultMs
	}
	return Ticket{To: to, ID: req.ID, Deadline: r.ran + min(wait, TimeoutMaxMs)}
}

// submit handles a request. One that was forwarded here is never forwarded
// again (scenario 25: a proxy loop kept RedisRaft busy for ever).
func (r *Replica) submit(t Ticket, req wire.Request, wasForwarded bool) {
	if r.refuses(t, req.Op, wasForwarded) {
		return
	}
	switch req.Op {
	case wire.OpQuery:
		r.submitRead(Query{t, req.Payload}, req.Mode)
		return
	case wire.OpCheck:
		r.tryOut(DryRun{Ticket: t, Payload: req.Payload})
		return
	case wire.OpSnapshot:
		if len(r.dumpTickets) >= DumpAsksMax {
			r.fail(t, command.CodeOverloaded, "too many requests wait for a snapshot")
			return
		}
		r.dumpWanted = true
		r.dumpTickets = append(r.dumpTickets, t)
		r.considerDump()
		return
	case wire.OpPropose, wire.OpDeploy, wire.OpMember, wire.OpTransfer:
	default:
		r.fail(t, command.CodeBadArgument, "unknown operation")
		return
	}
	if !r.IsLeader() {
		r.forward(t, req, wasForwarded)
		return
	}
	if r.refusedByRoom(t, req.Op) {
		return
	}
	switch req.Op {
	case wire.OpPropose:
		r.proposeChecked(t, req.Payload, command.Deploy, command.Tick)
	case wire.OpDeploy:
		r.submitDeploy(t, req.Payload)
	case wire.OpMember:
		r.submitMember(t, req.Payload)
	case wire.OpTransfer:
		r.submitTransfer(t, req.Payload)
	}
}

// forward passes a request to the leader.
func (r *Replica) forward(t Ticket, req wire.Request, wasForwarded bool) {
	leader := r.Leader()
	switch {
	case wasForwarded:
		r.fail(t, command.CodeNoLeader, "the node that was asked to lead is no longer the leader")
		return
	case leader == 0 || leader == r.cfg.Self.ID:
		r.fail(t, command.CodeNoLeader, "no leader is known; an election may be under way")
		return
	case len(req.Payload) > OpenBytesMax:
		// Around the limit of frames it would be too long as the leader's, under a
		// longer id: the leader would break the connection, and all that is on it.
		r.fail(t, command.CodeBadArgument, commandTooLarge(len(req.Payload)))
		return
	case len(r.forwards) >= ForwardedMax:
		r.fail(t, command.CodeOverloaded, "too many calls wait for the leader")
		return
	}
	r.nextForward++
	r.forwards[r.nextForward] = forwarded{t, leader, req.Op}
	req.ID = r.nextForward
	req.TimeoutMs = uint32(max(1, t.Deadline-r.ran))
	r.out.Peer = append(r.out.Peer, PeerSend{leader, wire.PeerMessage{Forward: &req}})
	if mutant.On(mutant.ForwardTwice) {
		r.out.Peer = append(r.out.Peer, PeerSend{leader, wire.PeerMessage{Forward: &req}})
	}
}

// proposeChecked proposes a command unless it is none, or of a kind that has an
// operation of its own.
func (r *Replica) proposeChecked(t Ticket, payload []byte, refused ...command.Kind) {
	d := codec.NewDecoder(payload)
	head, err := command.DecodeHead(&d)
	if err != nil {
		r.fail(t, command.CodeBadArgument, "unreadable command: "+err.Error())
		return
	}
	for _, k := range refused {
		if head.Kind == k {
			r.fail(t, command.CodeBadArgument, "this command can't be proposed by a client")
			return
		}
	}
	r.propose(proposal{ticket: t, payload: payload})
}

// propose puts a command into the open batch.
func (r *Replica) propose(p proposal) {
	switch {
	case r.consistency.diverged:
		r.refuse(p, command.CodeNoLeader, r.outOfService())
		return
	case len(p.payload) > OpenBytesMax: // there will never be room
		r.refuse(p, command.CodeBadArgument, commandTooLarge(len(p.payload)))
		return
	case r.room.Refuse != "": // a deploy whose dry run was under way
		r.fail(p.ticket, command.CodeOverloaded, r.room.Refuse)
		return
	case r.openBytes+len(p.payload) > OpenBytesMax:
		r.refuse(p, command.CodeOverloaded, "too many calls wait to enter the log")
		return
	case r.unapplied > UnappliedBytesMax:
		r.refuse(p, command.CodeOverloaded, "too many committed calls wait to be applied")
		return
	}
	r.open = append(r.open, p)
	r.openBytes += len(p.payload)
}

func commandTooLarge(n int) string {
	return fmt.Sprintf("command of %d bytes, at most %d are possible", n, OpenBytesMax)
}

// refuse ends a proposal that does not enter the log. If it is a tick, the next
// one may be proposed: timers would wait for ever for one that is nowhere.
func (r *Replica) refuse(p proposal, code command.Code, message string) {
	if p.tick {
		r.tickPending = false
	}
	r.fail(p.ticket, code, message)
}

// submitDeploy has the deploy tried out first; dryRunDone proposes it.
func (r *Replica) submitDeploy(t Ticket, payload []byte) {
	d := codec.NewDecoder(payload)
	head, err := command.DecodeHead(&d)
	if err != nil || head.Kind != command.Deploy {
		r.fail(t, command.CodeBadArgument, "not a deploy")
		return
	}
	r.tryOut(DryRun{Ticket: t, Payload: payload, Propose: true})
}

// tryOut has the applier try a command out.
func (r *Replica) tryOut(d DryRun) {
	if r.dryRuns >= DryRunsMax || r.dryRuns > 0 && r.dryRunBytes+len(d.Payload) > DryRunBytesMax {
		r.fail(d.Ticket, command.CodeOverloaded, "too many deploys and checks wait to be tried out")
		return
	}
	r.dryRuns++
	r.dryRunBytes += len(d.Payload)
	r.out.Work = append(r.out.Work, Work{Kind: WorkDryRun, DryRun: d, Clock: r.now})
}

// dryRunDone answers a dry run, or proposes what was tried. Leadership may have
// gone in between.
func (r *Replica) dryRunDone(d DryRun) {
	dec := codec.NewDecoder(d.Result)
	res, err := command.DecodeResult(&dec)
	switch {
	case err != nil || res.Code != command.CodeOK || !d.Propose:
		r.reply(d.Ticket, d.Result)
	case !r.IsLeader():
		r.fail(d.Ticket, command.CodeNoLeader, "leadership was lost before the deploy was proposed; nothing happened")
	default:
		t := d.Ticket
		t.To = withValues{t.To, res.Values}
		r.propose(proposal{ticket: t, payload: d.Payload})
	}
}

// withValues answers with values of an earlier dry run when the command itself
// succeeded.
type withValues struct {
	to     Replier
	values []byte
}

func (w withValues) Reply(id uint64, result []byte) {
	d := codec.NewDecoder(result)
	if res, err := command.DecodeResult(&d); err == nil && res.Code == command.CodeOK {
		result = command.AppendOK(nil, res.Index, w.values)
	}
	w.to.Reply(id, result)
}

func (r *Replica) submitMember(t Ticket, payload []byte) {
	action, id, err := wire.DecodeMemberChange(payload)
	var change raft.ConfigChange
	switch {
	case err != nil:
	case action == wire.MemberPromote:
		change.Promote = []raft.ID{id}
	case action == wire.MemberRemove:
		change.Remove = []raft.ID{id}
	default:
		err = errors.New("unknown action")
	}
	if err != nil {
		r.fail(t, command.CodeBadArgument, "member change: "+err.Error())
		return
	}
	r.changeMembers(t, change)
}

// ChangeMembers takes a change of any shape, at the leader: several voters may
// come and go in one, which makes the configuration joint. The answer comes as
// that of Submit.
func (r *Replica) ChangeMembers(to Replier, req wire.Request, change raft.ConfigChange) {
	t := r.ticket(to, req)
	if !r.IsLeader() {
		r.fail(t, command.CodeNoLeader, "this node does not lead")
		return
	}
	r.changeMembers(t, change)
}

func (r *Replica) changeMembers(t Ticket, change raft.ConfigChange) {
	index, term, err := r.raft.ProposeConfig(change)
	if err != nil {
		r.fail(t, codeOf(err), err.Error())
		return
	}
	r.pending = append(r.pending, flight{index, index, term, []Ticket{t}})
}

func (r *Replica) submitTransfer(t Ticket, payload []byte) {
	to, err := wire.DecodeTransfer(payload)
	if err != nil {
		r.fail(t, command.CodeBadArgument, "transfer: "+err.Error())
		return
	}
	if err := r.raft.Transfer(to); err != nil {
		r.fail(t, codeOf(err), err.Error())
		return
	}
	r.reply(t, command.AppendOK(nil, uint64(r.emitted), nil))
}

// codeOf is what a caller is told of an error of the core.
func codeOf(err error) command.Code {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return command.CodeNoLeader
	case errors.Is(err, raft.ErrOverloaded), errors.Is(err, raft.ErrConfigPending):
		return command.CodeOverloaded
	}
	return command.CodeBadArgument
}

// flush closes the open batch into log entries.
func (r *Replica) flush() {
	for len(r.open) > 0 {
		n, bytes := 0, command.BatchHeadBytesMax
		for n < len(r.open) && n < BatchCallsMax && (n == 0 || bytes < BatchBytesMax) {
			bytes += len(r.open[n].payload) + 5
			n++
		}
		r.proposeEntry(r.open[:n], bytes)
		r.open = r.open[n:]
	}
	r.open, r.openBytes = nil, 0
}

// proposeEntry makes one entry of calls. The buffer belongs to the log from then
// on: the same bytes are sent and written.
func (r *Replica) proposeEntry(calls []proposal, bytes int) {
	data := command.AppendBatchHead(make([]byte, 0, bytes), command.BatchHead{Clock: r.now, Seed: r.random(), Count: len(calls)})
	for i := range calls {
		data = codec.AppendBytes(data, calls[i].payload)
	}
	first, last, term, err := r.raft.Propose(data, uint32(len(calls)))
	if err != nil {
		for i := range calls {
			r.refuse(calls[i], codeOf(err), err.Error())
		}
		return
	}
	tickets := make([]Ticket, len(calls))
	for i := range calls {
		tickets[i] = calls[i].ticket
		if calls[i].tick {
			r.tickIndex = last
		}
	}
	r.pending = append(r.pending, flight{first, last, term, tickets})
}

// reignChanged keeps the books when this member begins or ends to lead. Entries
// of an earlier reign may still be committed by another leader, so who waits
// for them goes on waiting: telling "failed" would be a lie (scenario 26).
func (r *Replica) reignChanged() {
	term, state := r.raft.Term(), r.raft.State()
	if term == r.wasTerm && state == r.wasState {
		return
	}
	if mutant.On(mutant.StepDownFails) {
		for _, f := range r.pending {
			r.overwritten(f)
		}
		r.pending = nil
	}
	if r.wasState == raft.Leader || state == raft.Leader {
		r.orphans = append(r.orphans, r.pending...)
		r.pending = nil
		r.tickPending = false
		r.upgrades.heard = nil
	}
	if r.wasTerm != term {
		// The old leader may never answer; with a session the caller asks again. A
		// transfer ends its reign, and its answer is on the way.
		r.dropForwards("the leader changed; outcome unknown", func(f *forwarded) bool { return f.to != r.Leader() && f.op != wire.OpTransfer })
	}
	if r.wasState == raft.Leader {
		for _, p := range r.open {
			r.fail(p.ticket, command.CodeNoLeader, "leadership was lost before the call entered the log; nothing happened")
		}
		r.open, r.openBytes = nil, 0
	}
	r.wasTerm, r.wasState = term, state
}

// claim finds who waits for a committed entry.
func (r *Replica) claim(e raft.Entry) []Ticket {
	var tickets []Ticket
	for len(r.pending) > 0 && r.pending[0].first <= e.Index {
		if f := r.pending[0]; f.last == e.Index && f.term == e.Term {
			tickets = f.tickets
		} else {
			r.overwritten(f)
		}
		r.pending = r.pending[1:]
	}
	if len(r.orphans) == 0 {
		return tickets
	}
	open := r.orphans[:0]
	for _, f := range r.orphans {
		switch {
		case f.last == e.Index && f.term == e.Term:
			tickets = f.tickets
		case f.first <= e.Index:
			r.overwritten(f)
		default:
			open = append(open, f)
		}
	}
	clear(r.orphans[len(open):])
	r.orphans = open
	return tickets
}

// overwritten answers those whose entry lost its place to another one: it can
// never be committed.
func (r *Replica) overwritten(f flight) {
	for _, t := range f.tickets {
		r.fail(t, command.CodeNoLeader, "a new leader overwrote the call's log entry; nothing happened")
	}
}

// covered answers those whose entry, or another one in its place, is part of a
// snapshot that was installed: which of the two nobody can tell (scenario 26;
// seed 102 of internal/sim was told that nothing had happened).
func (r *Replica) covered(by raft.Index) {
	for _, flights := range []*[]flight{&r.pending, &r.orphans} {
		open := (*flights)[:0]
		for _, f := range *flights {
			if f.last > by {
				open = append(open, f)
				continue
			}
			for _, t := range f.tickets {
				r.fail(t, command.CodeTimeout, "the call's log entry is behind a snapshot of a new leader; outcome unknown")
			}
		}
		clear((*flights)[len(open):])
		*flights = open
	}
}

// expire answers what has waited past its deadline.
func (r *Replica) expire() {
	const unknown = "no answer in time; outcome unknown"
	r.dropForwards(unknown, func(f *forwarded) bool { return f.ticket.Deadline <= r.ran })
	for _, flights := range [][]flight{r.pending, r.orphans} {
		for _, f := range flights {
			for i, t := range f.tickets {
				if t.To != nil && t.Deadline <= r.ran {
					r.fail(t, command.CodeTimeout, unknown)
					f.tickets[i] = Ticket{}
				}
			}
		}
	}
	for _, tickets := range []*[]Ticket{&r.dumpTickets, &r.dumpingTickets} {
		open := (*tickets)[:0]
		for _, t := range *tickets {
			if t.Deadline <= r.ran {
				r.fail(t, command.CodeTimeout, "the snapshot is not finished")
			} else {
				open = append(open, t)
			}
		}
		*tickets = open
	}
	r.expireReads()
}

// dropForwards answers some of the forwarded requests, in the order in which
// they were forwarded: nothing may follow the order of a Go map.
func (r *Replica) dropForwards(message string, drop func(*forwarded) bool) {
	var ids []uint64
	for id, f := range r.forwards {
		if drop(&f) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Compare(a-r.cfg.Seed, b-r.cfg.Seed) })
	for _, id := range ids {
		r.fail(r.forwards[id].ticket, command.CodeTimeout, message)
		delete(r.forwards, id)
	}
}
