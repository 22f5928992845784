package raft

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/mutant"
)

// Errors of membership changes and transfers.
var (
	// ErrNotReady is returned for a change that would leave the new
	// configuration without a majority that is alive and close to the leader: a
	// learner that is far behind is to be promoted, or too many of the voters
	// that stay don't answer (scenarios 38, 39).
	ErrNotReady = errors.New("raft: members are not ready for the change")
	// ErrBadTarget is returned when leadership can't be handed to that member.
	ErrBadTarget = errors.New("raft: not a voter to hand over to")
)

// ConfigChange is what ProposeConfig does to the configuration. Removals come
// first, so a member can be replaced at once.
type ConfigChange struct {
	// Add lets learners and observers in. A voter is added as a learner first
	// and promoted when it has caught up (§4.2.1, scenario 38).
	Add []Member
	// Remove takes members of any role out, for ever.
	Remove []ID
	// Promote makes learners voters.
	Promote []ID
}

// configAt is a configuration of the log: in force from its append on, not from
// its commit (scenarios 36, 75).
type configAt struct {
	index  Index
	config Configuration
	voters []ID // of config.Members, sorted
}

func newConfigAt(i Index, c Configuration) configAt {
	at := configAt{index: i, config: c}
	for _, m := range c.Members {
		if m.Role == Voter || mutant.On(mutant.LearnerCounts) && m.Role == Learner {
			at.voters = append(at.voters, m.ID)
		}
	}
	return at
}

// isVoter tells whether a vote of id counts in either half.
func (c *configAt) isVoter(id ID) bool {
	return slices.Contains(c.voters, id) || slices.Contains(c.config.Outgoing, id)
}

func (c *configAt) joint() bool { return len(c.config.Outgoing) > 0 }

// alone tells whether id needs nobody else.
func (c *configAt) alone(id ID) bool {
	return !c.joint() && len(c.voters) == 1 && c.voters[0] == id
}

// Member returns the member with that id.
func (c Configuration) Member(id ID) (Member, bool) {
	i, ok := c.find(id)
	if !ok {
		return Member{}, false
	}
	return c.Members[i], true
}

func (c *Configuration) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(c.Members, id, func(m Member, id ID) int { return cmp.Compare(m.ID, id) })
}

// Joint tells whether two majorities are needed (§4.3).
func (c Configuration) Joint() bool { return len(c.Outgoing) > 0 }

// String is short, for transcripts and logs.
func (c Configuration) String() string {
	var b strings.Builder
	list := func(name string, role Role) {
		sep := name + "="
		for _, m := range c.Members {
			if m.Role == role {
				fmt.Fprintf(&b, "%s%d", sep, m.ID)
				sep = ","
			}
		}
	}
	list("voters", Voter)
	list(" learners", Learner)
	list(" observers", Observer)
	ids := func(name string, ids []ID) {
		for i, id := range ids {
			sep := ","
			if i == 0 {
				sep = name
			}
			fmt.Fprintf(&b, "%s%d", sep, id)
		}
	}
	ids(" outgoing=", c.Outgoing)
	ids(" removed=", c.Removed)
	return b.String()
}

// validate holds for every configuration that is ever in a log (scenario 42).
func (c Configuration) validate() error {
	voters := 0
	for i, m := range c.Members {
		switch {
		case m.ID == 0 || m.Role < Voter || m.Role > Observer:
			return fmt.Errorf("%w: member %d with role %d", ErrBadConfig, m.ID, m.Role)
		case i > 0 && c.Members[i-1].ID >= m.ID:
			return fmt.Errorf("%w: members %d and %d: double or not sorted", ErrBadConfig, c.Members[i-1].ID, m.ID)
		case len(m.Name) > MaxNameBytes || len(m.Addr) > MaxNameBytes:
			return fmt.Errorf("%w: member %d: name or address longer than %d bytes", ErrBadConfig, m.ID, MaxNameBytes)
		}
		if _, gone := slices.BinarySearch(c.Removed, m.ID); gone {
			return fmt.Errorf("%w: member %d was removed before, ids are not used again", ErrBadConfig, m.ID)
		}
		if m.Role == Voter {
			voters++
		}
	}
	switch {
	case voters == 0:
		return fmt.Errorf("%w: no voter", ErrBadConfig)
	case len(c.Members) > MaxMembers || len(c.Outgoing) > MaxMembers:
		return fmt.Errorf("%w: more than %d members", ErrBadConfig, MaxMembers)
	case len(c.Removed) > MaxRemoved:
		return fmt.Errorf("%w: more than %d removed ids", ErrBadConfig, MaxRemoved)
	}
	for _, ids := range [][]ID{c.Outgoing, c.Removed} {
		for i, id := range ids {
			if id == 0 || i > 0 && ids[i-1] >= id {
				return fmt.Errorf("%w: id %d: none, double or not sorted", ErrBadConfig, id)
			}
		}
	}
	return nil
}

// AppendConfiguration appends the canonical encoding of c, the data of an
// EntryConfig: [version, [[id, role, name, addr]...], [outgoing...], [removed...]].
func AppendConfiguration(b []byte, c Configuration) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, configurationVersion)
	b = codec.AppendArrayLen(b, len(c.Members))
	for _, m := range c.Members {
		b = codec.AppendArrayLen(b, 4)
		b = codec.AppendUint(b, uint64(m.ID))
		b = codec.AppendUint(b, uint64(m.Role))
		b = codec.AppendString(b, m.Name)
		b = codec.AppendString(b, m.Addr)
	}
	for _, ids := range [][]ID{c.Outgoing, c.Removed} {
		b = codec.AppendArrayLen(b, len(ids))
		for _, id := range ids {
			b = codec.AppendUint(b, uint64(id))
		}
	}
	return b
}

const configurationVersion = 1

// DecodeConfiguration reads what AppendConfiguration wrote, and nothing else.
func DecodeConfiguration(b []byte) (c Configuration, err error) {
	d := codec.NewDecoder(b)
	if err = d.FixedArray(4); err != nil {
		return c, err
	}
	version, err := d.Uint()
	if err != nil {
		return c, err
	}
	if version != configurationVersion {
		return c, fmt.Errorf("%w: version %d, this program knows %d", ErrBadConfig, version, configurationVersion)
	}
	n, err := d.ArrayLen()
	if err != nil {
		return c, err
	}
	for range n {
		m, err := decodeMember(&d)
		if err != nil {
			return c, err
		}
		c.Members = append(c.Members, m)
	}
	for _, ids := range []*[]ID{&c.Outgoing, &c.Removed} {
		if n, err = d.ArrayLen(); err != nil {
			return c, err
		}
		for range n {
			id, err := d.Uint()
			if err != nil {
				return c, err
			}
			*ids = append(*ids, ID(id))
		}
	}
	if err = d.End(); err != nil {
		return c, err
	}
	return c, c.validate()
}

func decodeMember(d *codec.Decoder) (m Member, err error) {
	if err = d.FixedArray(4); err != nil {
		return m, err
	}
	id, err := d.Uint()
	if err != nil {
		return m, err
	}
	role, err := d.Uint()
	if err != nil {
		return m, err
	}
	if m.Name, err = d.String(); err != nil {
		return m, err
	}
	m.Addr, err = d.String()
	m.ID, m.Role = ID(id), Role(min(role, 255))
	return m, err
}

// Bootstrap returns the first entry of a new cluster. Every founding member
// starts with Initial{HardState: HardState{Term: 1, Commit: 1}, Entries:
// []Entry{Bootstrap(c)}}, written to its disk first: it is as if a leader of
// term 1 had committed it on all of them.
func Bootstrap(c Configuration) Entry {
	return Entry{Index: 1, Term: 1, Span: 1, Kind: EntryConfig, Data: AppendConfiguration(nil, c)}
}

// ProposeConfig proposes a change. One at a time, and only after an entry of the
// present term is committed: otherwise two leaders could each commit a change
// that the other's majority doesn't know (scenario 35). When more than one voter
// changes, the configuration is joint first and left automatically (§4.3); a
// single voter changes directly (§4.1).
func (r *Raft) ProposeConfig(change ConfigChange) (Index, Term, error) {
	if r.state != Leader || r.transferee != 0 {
		return 0, 0, ErrNotLeader
	}
	now := r.config()
	if now.index > r.commit || now.joint() || r.commit < r.termStart {
		return 0, 0, ErrConfigPending
	}
	next, err := now.config.apply(change)
	if err != nil {
		return 0, 0, err
	}
	after := newConfigAt(0, next)
	if err := r.ready(&after, change.Promote); err != nil {
		return 0, 0, err
	}
	if differ(now.voters, after.voters) > 1 {
		next.Outgoing = now.voters
	}
	r.appendOwn(EntryConfig, AppendConfiguration(nil, next), 1)
	return r.log.last(), r.term, nil
}

// apply returns the configuration after the change.
func (c *Configuration) apply(change ConfigChange) (Configuration, error) {
	next := Configuration{Members: slices.Clone(c.Members), Removed: slices.Clone(c.Removed)}
	if len(change.Add)+len(change.Remove)+len(change.Promote) == 0 {
		return next, fmt.Errorf("%w: nothing to change", ErrBadConfig)
	}
	for _, id := range change.Remove {
		i, ok := next.find(id)
		if !ok {
			return next, fmt.Errorf("%w: %d is not a member", ErrBadConfig, id)
		}
		next.Members = slices.Delete(next.Members, i, i+1)
		at, _ := slices.BinarySearch(next.Removed, id)
		next.Removed = slices.Insert(next.Removed, at, id)
	}
	for _, m := range change.Add {
		i, ok := next.find(m.ID)
		if ok {
			return next, fmt.Errorf("%w: %d is a member already", ErrBadConfig, m.ID)
		}
		if m.Role == Voter {
			return next, fmt.Errorf("%w: %d must be added as a learner and promoted when it has caught up", ErrBadConfig, m.ID)
		}
		next.Members = slices.Insert(next.Members, i, m)
	}
	for _, id := range change.Promote {
		i, ok := next.find(id)
		if !ok || next.Members[i].Role != Learner {
			return next, fmt.Errorf("%w: %d is not a learner", ErrBadConfig, id)
		}
		next.Members[i].Role = Voter
	}
	return next, next.validate()
}

// differ counts the ids that are in one of two sorted lists only.
func differ(a, b []ID) int {
	n := 0
	for _, id := range a {
		if !slices.Contains(b, id) {
			n++
		}
	}
	for _, id := range b {
		if !slices.Contains(a, id) {
			n++
		}
	}
	return n
}

// ready makes sure that the change does not stop the cluster.
func (r *Raft) ready(next *configAt, promote []ID) error {
	for _, id := range promote {
		p := r.progressOf(id)
		if p == nil || p.state != Replicate || !r.alive(p) || r.log.bytesAfter(p.match, r.cfg.InflightBytesMax) > r.cfg.InflightBytesMax {
			return fmt.Errorf("%w: learner %d has not caught up", ErrNotReady, id)
		}
	}
	alive := 0
	for _, id := range next.voters {
		if p := r.progressOf(id); id == r.id || p != nil && r.alive(p) {
			alive++
		}
	}
	if alive <= len(next.voters)/2 {
		return fmt.Errorf("%w: only %d of the %d voters that there would be answer", ErrNotReady, alive, len(next.voters))
	}
	return nil
}

// config is the configuration in force: the last of the log, committed or not.
func (r *Raft) config() *configAt {
	if mutant.On(mutant.ConfigWhenApplied) {
		return r.configBefore(r.commit)
	}
	return &r.configs[len(r.configs)-1]
}

// configBefore is the last configuration up to an index.
func (r *Raft) configBefore(i Index) *configAt {
	k := len(r.configs) - 1
	for k > 0 && r.configs[k].index > i {
		k--
	}
	return &r.configs[k]
}

// removed tells whether id was taken out for good. Only a committed removal
// counts: until then the member may be needed, and may even be the leader. While
// the configuration is joint it is needed for the old half.
func (r *Raft) removed(id ID) bool {
	c := &r.configBefore(r.commit).config
	if len(c.Removed) == 0 || slices.Contains(c.Outgoing, id) {
		return false
	}
	_, ok := slices.BinarySearch(c.Removed, id)
	return ok
}

// pushConfig puts the configuration of an entry just appended in force.
func (r *Raft) pushConfig(e *Entry) {
	c, err := DecodeConfiguration(e.Data)
	if err != nil { // checked when it arrived
		r.invariant("entry %d/%d: %v", e.Index, e.Term, err)
	}
	r.configs = append(r.configs, newConfigAt(e.Index, c))
	r.changed = true
	if r.state == Leader {
		r.syncProgress()
	}
}

// undoConfigs forgets the configurations behind position to (scenario 36).
func (r *Raft) undoConfigs(to Index) {
	for len(r.configs) > 1 && r.config().index > to {
		r.configs = r.configs[:len(r.configs)-1]
		r.changed = true
	}
}

// syncProgress makes the leader know exactly the members. Who is new, or was
// away, gets a stream of its own.
func (r *Raft) syncProgress() {
	c := r.config()
	ids := slices.Clone(c.config.Outgoing)
	for _, m := range c.config.Members {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	old := r.progress
	r.progress = make([]*progress, 0, len(ids))
	for _, id := range ids {
		i := slices.IndexFunc(old, func(p *progress) bool { return p.id == id })
		var p *progress
		if i >= 0 {
			p = old[i]
		} else {
			p = &progress{id: id, heardAt: r.now}
			r.newStream(p)
		}
		p.voter = c.isVoter(id)
		r.progress = append(r.progress, p)
	}
	if p := r.progressOf(r.transferee); p == nil || !p.voter {
		r.transferee = 0
	}
}

func (r *Raft) progressOf(id ID) *progress {
	for _, p := range r.progress {
		if p.id == id {
			return p
		}
	}
	return nil
}

// configCommitted goes on with a change whose entry is committed.
func (r *Raft) configCommitted() {
	c := r.config()
	if r.state != Leader || c.index > r.commit {
		return
	}
	if c.joint() {
		if r.commit >= r.termStart { // a new leader finishes what the old one began
			next := c.config
			next.Outgoing = nil
			r.appendOwn(EntryConfig, AppendConfiguration(nil, next), 1)
		}
		return
	}
	if !c.isVoter(r.id) {
		r.abdicate()
	}
}

// abdicate ends the reign of a leader that is no voter any more (§4.2.2). The
// most advanced voter is told to take over, so that nobody waits for a timeout.
func (r *Raft) abdicate() {
	// The others must hear of the commit, or they would not know that the removal
	// is over.
	r.replicate()
	var best *progress
	for _, p := range r.progress {
		if p.voter && p.id != r.id && p.match == r.log.last() && best == nil {
			best = p
		}
	}
	if best != nil {
		r.send(Message{Kind: MsgTimeoutNow, To: best.id, Term: r.term})
	}
	r.note("leader %d of term %d is not a voter any more", r.id, r.term)
	r.becomeFollower(r.term, 0)
}
