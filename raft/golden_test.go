package raft

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays the files in testdata: blocks of commands, "----", and
// what happened, up to an empty line. Lines with # name the scenario. See
// (*play).command for the commands.
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				g, w := strings.Split(got, "\n"), strings.Split(string(b), "\n")
				for i := range g {
					if i >= len(w) || g[i] != w[i] {
						t.Fatalf("%s:%d: got\n%s\nwant\n%s", file, i+1, strings.Join(g[i:min(i+8, len(g))], "\n"), strings.Join(w[min(i, len(w)):min(i+8, len(w))], "\n"))
					}
				}
				t.Fatalf("%s: differs in length", file)
			}
		})
	}
}

// transcript plays the commands of a file and returns it with what happened.
func transcript(file string) string {
	var b strings.Builder
	p := &play{}
	for _, block := range strings.Split(strings.TrimRight(file, "\n"), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		b.WriteString(commands + "\n")
		played := false
		for _, line := range strings.Split(commands, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				p.safely(line)
				played = true
			}
		}
		if played {
			b.WriteString("----\n" + p.out.String())
			p.out.Reset()
		}
		b.WriteString("\n")
	}
	return b.String()
}

// play is a cluster that does only what it is told.
type play struct {
	out     strings.Builder
	members map[ID]*player
	ids     []ID
	net     []Message
	cfg     Config
	boots   uint64 // every start has another seed
}

type player struct {
	id      ID
	r       *Raft
	disk    diskImage
	saves   []Save
	slow    bool // Saves wait for "stored"
	written LSN
	waiting []Message
	file    *SnapshotMeta // complete, to be installed
	base    ReadID
	state   State
	term    Term
}

func (p *play) printf(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// safely plays a line; a broken invariant is part of the transcript.
func (p *play) safely(line string) {
	defer func() {
		if x := recover(); x != nil {
			p.printf("panic: %v", x)
		}
	}()
	p.command(line)
	for _, id := range p.ids {
		p.drain(p.members[id])
	}
}

func ids(s string) (out []ID) {
	for _, f := range strings.Split(s, ",") {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, ID(n))
		}
	}
	return out
}

func num(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic("not a number: " + s)
	}
	return n
}

// command: words are positional or name=value.
//
//	cluster voters=1,2,3 [learners= observers= fresh= outgoing= append-bytes= ...]
//	campaign N           the election timer of N ends
//	tick N [k]           k ticks, printed once
//	deliver N [k]        the first k (or all) messages to N arrive
//	repeat N             the first message to N arrives and stays
//	late N               the last message to N arrives
//	drop N [k]           messages to N are lost
//	settle               everything is delivered, quietly, until nothing moves
//	slow N / stored N    Saves of N wait / are durable now
//	propose N data [span=k]     config N add= observe= promote= remove=     transfer N to, 0 for any
//	read N [again]       lease N    a read, one that a lease may answer
//	time N ms            the clock of N
//	refetch N            N finds its state to be wrong
//	lost N peer          restart N [untrusted] [lose=k]     snapshot N     install N [fail]
//	message Kind from=.. to=.. term=.. log=i/t commit=.. round=.. stream=.. hint=.. [reject] [transfer] [entry=i/t/span ...]
//	status N             log N
func (p *play) command(line string) {
	words := strings.Fields(line)
	arg := map[string]string{}
	pos := []string{}
	for _, w := range words[1:] {
		k, v, named := strings.Cut(w, "=")
		if named {
			arg[k] = strings.TrimPrefix(arg[k]+";"+v, ";")
		} else {
			pos = append(pos, w)
		}
	}
	switch words[0] {
	case "cluster":
		p.cluster(arg)
		return
	case "settle":
		p.settle()
		return
	case "message":
		p.message(pos, arg)
		return
	}
	a := p.members[ID(num(pos[0]))]
	rest := pos[1:]
	if p.control(words[0], a, rest) {
		return
	}
	var err error
	switch words[0] {
	case "propose":
		span := uint64(1)
		if s := arg["span"]; s != "" {
			span = num(s)
		}
		_, _, _, err = a.r.Propose([]byte(rest[0]), uint32(span))
	case "config":
		var c ConfigChange
		for _, id := range ids(arg["add"]) {
			c.Add = append(c.Add, Member{ID: id, Role: Learner})
		}
		for _, id := range ids(arg["observe"]) {
			c.Add = append(c.Add, Member{ID: id, Role: Observer})
		}
		for _, id := range ids(arg["vote"]) {
			c.Add = append(c.Add, Member{ID: id, Role: Voter})
		}
		c.Promote, c.Remove = ids(arg["promote"]), ids(arg["remove"])
		_, _, err = a.r.ProposeConfig(c)
	case "read":
		for n := len(rest); n >= 0; n-- { // "read 1 again" asks twice at once
			p.printf("%d asks for read %d", a.id, a.r.Read()-a.base)
		}
	case "lease":
		p.printf("%d asks for read %d, a lease will do", a.id, a.r.ReadByLease()-a.base)
	case "transfer":
		err = a.r.Transfer(ID(num(rest[0])))
	case "lost":
		a.r.LostPeer(ID(num(rest[0])))
	case "restart":
		for k := 0; arg["lose"] != "" && k < int(num(arg["lose"])); k++ {
			a.disk.entries = a.disk.entries[:len(a.disk.entries)-1]
		}
		p.boot(a, slices.Contains(rest, "untrusted"))
	case "snapshot":
		c, t, _ := a.r.ConfigAt(a.r.applied)
		a.disk.snapshot = SnapshotMeta{Index: a.r.applied, Term: t, Config: c, Bytes: 40}
		a.r.Compact(a.disk.snapshot)
	case "install":
		if len(rest) > 0 {
			err = errors.New("damaged")
		} else {
			a.disk.snapshot = *a.file
		}
		a.r.SnapshotInstalled(*a.file, err)
		err = nil
	default:
		panic("unknown command " + line)
	}
	if err != nil {
		p.printf("%d: %v", a.id, err)
	}
}

// control handles the commands about time, network, disk and looking.
func (p *play) control(word string, a *player, rest []string) bool {
	count := func(most int) int {
		if len(rest) > 0 {
			return int(num(rest[0]))
		}
		return most
	}
	switch word {
	case "campaign":
		a.r.elapsed = a.r.timeout
		a.r.Tick()
	case "tick":
		for range count(1) {
			a.r.Tick()
		}
	case "deliver", "drop", "repeat":
		for n := count(len(p.net)); n > 0; n-- {
			i := slices.IndexFunc(p.net, func(m Message) bool { return m.To == a.id })
			if i < 0 {
				break
			}
			m := p.net[i]
			if word != "repeat" {
				p.net = slices.Delete(p.net, i, i+1)
			}
			if word != "drop" {
				p.step(m)
			}
			if word == "repeat" {
				break
			}
		}
	case "late":
		for i := len(p.net) - 1; i >= 0; i-- {
			if m := p.net[i]; m.To == a.id {
				p.net = slices.Delete(p.net, i, i+1)
				p.step(m)
				break
			}
		}
	case "time":
		for _, ms := range rest {
			a.r.SetTime(num(ms))
		}
	case "refetch":
		a.r.Refetch()
		p.printf("%d wants a snapshot from %d on", a.id, a.r.refetch)
	case "slow":
		a.slow = true
	case "stored":
		a.slow = false
		p.store(a)
	case "status":
		s := a.r.Status()
		p.printf("%d %v term=%d vote=%d leader=%d commit=%d applied=%d log=%d..%d untrusted=%v {%v}", a.id, s.State, s.Term, s.Vote, s.Leader,
			s.Commit, s.Applied, s.FirstIndex, s.LastIndex, s.Untrusted, s.Config)
		for _, f := range s.Followers {
			p.printf("  %d %v match=%d next=%d inflight=%d alive=%v", f.ID, f.State, f.Match, f.Next, f.Inflight, f.Alive)
		}
		if i := a.r.SnapshotWanted(); i != 0 {
			p.printf("  a snapshot from %d on is wanted", i)
		}
	case "log":
		for _, e := range a.r.log.entries {
			p.printf("  %v", e)
		}
	default:
		return false
	}
	return true
}

func (p *play) cluster(arg map[string]string) {
	p.out.Reset()
	p.members, p.ids, p.net, p.boots = map[ID]*player{}, nil, nil, 0
	p.cfg = Config{CompactKeepEntries: 1, CompactKeepBytes: 1, CompactHoldBytes: 1, SnapshotChunkBytes: 16, SnapshotChunksInflightMax: 2}
	for k, to := range map[string]*uint64{"append-bytes": &p.cfg.AppendBytesMax, "uncommitted-bytes": &p.cfg.UncommittedBytesMax,
		"entry-bytes": &p.cfg.EntryBytesMax, "inflight-bytes": &p.cfg.InflightBytesMax, "hold-bytes": &p.cfg.CompactHoldBytes, "promise": &p.cfg.PromiseMs, "lease": &p.cfg.LeaseMs} {
		if arg[k] != "" {
			*to = num(arg[k])
		}
	}
	for k, to := range map[string]*int{"inflight": &p.cfg.InflightMessagesMax, "heartbeat": &p.cfg.HeartbeatTicks} {
		if arg[k] != "" {
			*to = int(num(arg[k]))
		}
	}
	var c Configuration
	for _, part := range []struct {
		name string
		role Role
	}{{"voters", Voter}, {"learners", Learner}, {"observers", Observer}} {
		for _, id := range ids(arg[part.name]) {
			c.Members = append(c.Members, Member{ID: id, Role: part.role})
		}
	}
	slices.SortFunc(c.Members, func(a, b Member) int { return int(a.ID) - int(b.ID) })
	c.Outgoing = ids(arg["outgoing"])
	c.Removed = ids(arg["removed"])
	for _, m := range c.Members {
		a := &player{id: m.ID, disk: diskImage{hs: HardState{Term: 1, Commit: 1}, entries: []Entry{Bootstrap(c)}}}
		p.members[m.ID] = a
	}
	for _, id := range ids(arg["fresh"]) {
		p.members[id] = &player{id: id}
	}
	for id := range p.members {
		p.ids = append(p.ids, id)
	}
	slices.Sort(p.ids)
	for _, id := range p.ids {
		p.boot(p.members[id], false)
	}
}

func (p *play) boot(a *player, untrusted bool) {
	cfg := p.cfg
	p.boots++
	cfg.ID, cfg.Seed = a.id, p.boots
	r, err := New(cfg, Initial{HardState: a.disk.hs, Snapshot: a.disk.snapshot, Entries: a.disk.entries, Applied: a.disk.snapshot.Index, Untrusted: untrusted})
	if err != nil {
		p.printf("%d does not start: %v", a.id, err)
		return
	}
	a.r, a.saves, a.written, a.waiting, a.file, a.slow, a.base = r, nil, 0, nil, nil, false, r.lastRead
	a.state, a.term = Follower, r.Term()
}

func (p *play) step(m Message) {
	a := p.members[m.To]
	if err := a.r.Step(m); err != nil {
		p.printf("%d: %v", a.id, err)
	}
	p.drain(a)
}

func (p *play) store(a *player) {
	for _, s := range a.saves {
		a.disk.write(s)
		a.written = s.LSN
	}
	a.saves = nil
	a.r.Stored(a.written)
	a.waiting = slices.DeleteFunc(a.waiting, func(m Message) bool {
		if m.After > a.written {
			return false
		}
		p.net = append(p.net, m)
		return true
	})
	p.drain(a)
}

// settle runs until nothing moves, and says only how it ended.
func (p *play) settle() {
	said := p.out.Len()
	for range 1000 {
		for _, id := range p.ids {
			p.drain(p.members[id])
		}
		if len(p.net) == 0 {
			break
		}
		m := p.net[0]
		p.net = p.net[1:]
		p.step(m)
	}
	all := p.out.String()
	p.out.Reset()
	p.out.WriteString(all[:said])
	for _, id := range p.ids {
		r := p.members[id].r
		p.printf("%d %v term=%d leader=%d commit=%d last=%d", id, r.State(), r.Term(), r.Leader(), r.Commit(), r.LastIndex())
	}
}

// drain carries out Outputs and tells what they were.
func (p *play) drain(a *player) {
	for a.r.HasOutput() {
		out := a.r.Output()
		if a.r.State() != a.state || a.r.Term() != a.term {
			p.printf("%d %v -> %v term=%d", a.id, a.state, a.r.State(), a.r.Term())
			a.state, a.term = a.r.State(), a.r.Term()
		}
		if s := out.Save; !s.Empty() {
			p.printf("%d saves %s", a.id, describeSave(s))
			a.saves = append(a.saves, s)
		}
		for _, m := range out.Messages {
			if m.Snapshot != nil {
				c := *m.Snapshot
				c.Data = make([]byte, c.Length)
				m.Snapshot = &c
			}
			a.waiting = append(a.waiting, m)
			switch m.Kind { // ids of reads begin at a random number
			case MsgRead:
				m.Round -= uint64(a.base)
			case MsgReadReply:
				m.Round -= uint64(p.members[m.To].base)
			}
			p.printf("%v", m)
		}
		for _, e := range out.Committed {
			p.printf("%d applies %v", a.id, e)
			a.r.Applied(e.Index)
		}
		for _, rs := range out.Reads {
			p.printf("%d answers read %d at %d", a.id, rs.ID-a.base, rs.Index)
		}
		for _, id := range out.LostReads {
			p.printf("%d lost read %d", a.id, id-a.base)
		}
		if out.DropSnapshot {
			p.printf("%d drops the snapshot under way", a.id)
		}
		for _, c := range out.Chunks {
			p.printf("%d stores snapshot %d bytes %d..%d", a.id, c.Meta.Index, c.Offset, c.Offset+uint64(c.Length))
			if c.Offset+uint64(c.Length) == c.Meta.Bytes {
				meta := c.Meta
				a.file = &meta
			}
		}
		if out.Compacted != 0 {
			p.printf("%d drops the log up to %d", a.id, out.Compacted)
			a.disk.dropTo(out.Compacted)
		}
		for _, n := range out.Notes {
			p.printf("%d notes: %s", a.id, n)
		}
		if !a.slow {
			p.store(a)
		} else {
			p.release(a)
		}
	}
}

// release lets go what depends on no write under way.
func (p *play) release(a *player) {
	a.waiting = slices.DeleteFunc(a.waiting, func(m Message) bool {
		if m.After > a.written {
			return false
		}
		p.net = append(p.net, m)
		return true
	})
}

func describeSave(s Save) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", s.LSN)
	if h := s.HardState; h != nil {
		fmt.Fprintf(&b, " term=%d vote=%d commit=%d", h.Term, h.Vote, h.Commit)
	}
	if s.Reset != nil {
		fmt.Fprintf(&b, " reset=%d/%d", s.Reset.Index, s.Reset.Term)
	}
	if s.Truncate {
		fmt.Fprintf(&b, " truncate=%d", s.TruncateTo)
	}
	for _, e := range s.Entries {
		fmt.Fprintf(&b, " [%v]", e)
	}
	return b.String()
}

// message makes up a message.
func (p *play) message(pos []string, arg map[string]string) {
	m := Message{Kind: MessageKind(slices.Index(kindNames[:], pos[0]))}
	m.Reject, m.Transfer = slices.Contains(pos, "reject"), slices.Contains(pos, "transfer")
	pair := func(s string) (uint64, uint64, []string) {
		f := strings.Split(s, "/")
		return num(f[0]), num(f[1]), f[2:]
	}
	for k, v := range arg {
		switch k {
		case "from":
			m.From = ID(num(v))
		case "to":
			m.To = ID(num(v))
		case "term":
			m.Term = Term(num(v))
		case "commit":
			m.Commit = Index(num(v))
		case "round":
			m.Round = num(v)
		case "stream":
			m.Stream = num(v)
		case "sent":
			m.Sent = num(v)
		case "log":
			i, t, _ := pair(v)
			m.LogIndex, m.LogTerm = Index(i), Term(t)
		case "hint":
			i, t, _ := pair(v)
			m.Hint, m.HintTerm = Index(i), Term(t)
		case "chunk": // index/term/offset/length
			i, t, f := pair(v)
			m.Snapshot = &SnapshotChunk{Meta: SnapshotMeta{Index: Index(i), Term: Term(t), Bytes: 40, Config: Configuration{Members: []Member{{ID: 1, Role: Voter}}}},
				Offset: num(f[0]), Length: uint32(num(f[1]))}
			m.Snapshot.Data = make([]byte, m.Snapshot.Length)
		case "entry":
			for _, e := range strings.Split(v, ";") {
				i, t, f := pair(e)
				m.Entries = append(m.Entries, Entry{Index: Index(i), Term: Term(t), Span: uint32(num(f[0])), Kind: EntryBatch, Data: []byte(f[1])})
			}
		}
	}
	p.step(m)
}
