package wire

import (
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

// A form is one frame: how a random value of it is made, written and read.
type form struct {
	name   string
	make   func(r *rand.Rand) any
	append func(b []byte, v any) []byte
	decode func(frame []byte) (any, error)
}

type helloValue struct {
	Version int
	Name    string
}

type replyValue struct {
	ID     uint64
	Result command.Result
}

type memberChangeValue struct {
	Action uint64
	ID     raft.ID
}

type changeValue struct {
	Request, Index uint64
	Changes        []Change
}

type eventValue struct {
	Request uint64
	Event   Event
}

func randomEvent(r *rand.Rand) Event {
	return Event{randomUint(r), randomUint(r), randomName(r), randomName(r), randomArray(r)}
}

// randomArray is a msgpack array.
func randomArray(r *rand.Rand) []byte {
	n := r.IntN(4)
	b := codec.AppendArrayLen(nil, n)
	for range n {
		b = codec.AppendUint(b, randomUint(r))
	}
	return b
}

func forms() []form {
	return []form{
		{"hello",
			func(r *rand.Rand) any { return helloValue{Version, randomName(r)} },
			func(b []byte, v any) []byte { return AppendHello(b, v.(helloValue).Name) },
			func(f []byte) (any, error) { v, n, err := DecodeHello(f); return helloValue{v, n}, err }},
		{"welcome",
			func(r *rand.Rand) any {
				return Welcome{int(r.Uint32N(300)), randomName(r), randomName(r), raft.ID(randomUint(r)), randomName(r)}
			},
			func(b []byte, v any) []byte { return AppendWelcome(b, v.(Welcome)) },
			func(f []byte) (any, error) { return wrap(DecodeWelcome(f)) }},
		{"request",
			func(r *rand.Rand) any { return randomRequest(r) },
			func(b []byte, v any) []byte { return AppendRequest(b, v.(Request)) },
			func(f []byte) (any, error) { return wrap(DecodeRequest(f)) }},
		{"reply",
			func(r *rand.Rand) any { return replyValue{randomUint(r), randomResult(r)} },
			func(b []byte, v any) []byte {
				p := v.(replyValue)
				return AppendReply(b, p.ID, encodeResult(p.Result))
			},
			func(f []byte) (any, error) { id, res, err := DecodeReply(f); return replyValue{id, res}, err }},
		{"refuse",
			func(r *rand.Rand) any { return randomName(r) },
			func(b []byte, v any) []byte { return AppendRefuse(b, v.(string)) },
			func(f []byte) (any, error) { return wrap(DecodeRefuse(f)) }},
		{"member-change",
			func(r *rand.Rand) any { return memberChangeValue{1 + r.Uint64N(2), raft.ID(1 + randomUint(r)/2)} },
			func(b []byte, v any) []byte {
				c := v.(memberChangeValue)
				return AppendMemberChange(b, c.Action, c.ID)
			},
			func(f []byte) (any, error) { a, id, err := DecodeMemberChange(f); return memberChangeValue{a, id}, err }},
		{"transfer",
			func(r *rand.Rand) any { return raft.ID(randomUint(r)) },
			func(b []byte, v any) []byte { return AppendTransfer(b, v.(raft.ID)) },
			func(f []byte) (any, error) { return wrap(DecodeTransfer(f)) }},
		{"watch",
			func(r *rand.Rand) any {
				if r.UintN(2) == 0 {
					return Watch{Object: randomName(r), Keys: randomArray(r), MustExist: r.UintN(2) == 0}
				}
				return Watch{Topic: "t" + randomName(r), Start: r.Uint64N(3), After: randomUint(r)}
			},
			func(b []byte, v any) []byte { return AppendWatch(b, v.(Watch)) },
			func(f []byte) (any, error) { return wrap(DecodeWatch(f)) }},
		{"change",
			func(r *rand.Rand) any {
				c := changeValue{Request: randomUint(r), Index: randomUint(r)}
				for range 1 + r.UintN(3) {
					c.Changes = append(c.Changes, Change{Path: randomArray(r)})
					if r.UintN(2) == 0 {
						c.Changes[len(c.Changes)-1].Value = codec.AppendUint(nil, randomUint(r))
					}
				}
				return c
			},
			func(b []byte, v any) []byte {
				c := v.(changeValue)
				return AppendChange(b, c.Request, c.Index, AppendChanges(nil, c.Changes))
			},
			func(f []byte) (any, error) { r, i, c, err := DecodeChange(f); return changeValue{r, i, c}, err }},
		{"event",
			func(r *rand.Rand) any { return eventValue{randomUint(r), randomEvent(r)} },
			func(b []byte, v any) []byte {
				e := v.(eventValue)
				return AppendEventFrame(b, e.Request, AppendEvent(nil, e.Event))
			},
			func(f []byte) (any, error) { r, e, err := DecodeEventFrame(f); return eventValue{r, e}, err }},
		{"replay",
			func(r *rand.Rand) any {
				p := Replay{Live: r.UintN(2) == 0, Last: randomUint(r)}
				for range r.UintN(4) {
					p.Events = append(p.Events, randomEvent(r))
				}
				return p
			},
			func(b []byte, v any) []byte { return AppendReplay(b, v.(Replay)) },
			func(f []byte) (any, error) { return wrap(DecodeReplay(f)) }},
		{"watch-end",
			func(r *rand.Rand) any { return WatchEnd{randomUint(r), randomUint(r), 1 + r.Uint64N(endMax)} },
			func(b []byte, v any) []byte { return AppendWatchEnd(b, v.(WatchEnd)) },
			func(f []byte) (any, error) { return wrap(DecodeWatchEnd(f)) }},
		{"alive",
			func(*rand.Rand) any { return nil },
			func(b []byte, _ any) []byte { return AppendAlive(b) },
			func(f []byte) (any, error) { return nil, DecodeAlive(f) }},
		{"peer-hello",
			func(r *rand.Rand) any {
				return PeerHello{int(r.Uint32N(300)), randomName(r), raft.ID(randomUint(r)), raft.ID(randomUint(r)), randomName(r), randomName(r)}
			},
			func(b []byte, v any) []byte { return AppendPeerHello(b, v.(PeerHello)) },
			func(f []byte) (any, error) { return wrap(DecodePeerHello(f)) }},
		{"peer-welcome",
			func(*rand.Rand) any { return nil },
			func(b []byte, _ any) []byte { return AppendPeerWelcome(b) },
			func(f []byte) (any, error) { return nil, DecodePeerWelcome(f) }},
		peerForm("raft", func(r *rand.Rand) PeerMessage { return PeerMessage{Raft: randomMessage(r)} }),
		peerForm("forward", func(r *rand.Rand) PeerMessage {
			q := randomRequest(r)
			return PeerMessage{Forward: &q}
		}),
		peerForm("forward-reply", func(r *rand.Rand) PeerMessage {
			return PeerMessage{ForwardReply: &ForwardReply{randomUint(r), encodeResult(randomResult(r))}}
		}),
		peerForm("join", func(r *rand.Rand) PeerMessage { m := randomMember(r); return PeerMessage{Join: &m} }),
		peerForm("digest", func(r *rand.Rand) PeerMessage {
			return PeerMessage{Digest: &Digest{raft.Index(randomUint(r)), randomSum(r)}}
		}),
		peerForm("runs", func(r *rand.Rand) PeerMessage { return PeerMessage{Runs: &Runs{1 + int(r.Int32N(1000))}} }),
		peerForm("join-refused", func(r *rand.Rand) PeerMessage {
			return PeerMessage{JoinRefused: &JoinRefused{raft.ID(randomUint(r)), randomName(r)}}
		}),
	}
}

func peerForm(name string, random func(*rand.Rand) PeerMessage) form {
	return form{name,
		func(r *rand.Rand) any { return random(r) },
		func(b []byte, v any) []byte { return AppendPeer(b, v.(PeerMessage)) },
		func(f []byte) (any, error) { return wrap(DecodePeer(f)) },
	}
}

func wrap[T any](v T, err error) (any, error) { return v, err }

func same(a, b any) bool { return reflect.DeepEqual(a, b) }

func randomUint(r *rand.Rand) uint64 { return r.Uint64() >> r.UintN(64) }

func randomName(r *rand.Rand) string { return string(randomBytes(r, 40)) }

func randomBytes(r *rand.Rand, limit int) []byte {
	b := make([]byte, r.IntN(limit))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomSum(r *rand.Rand) (s [16]byte) {
	for i := range s {
		s[i] = byte(r.Uint32())
	}
	return s
}

func randomRequest(r *rand.Rand) Request {
	q := Request{randomUint(r), Op(1 + r.UintN(uint(opMax))), randomMode(r), uint32(randomUint(r)), randomBytes(r, 300)}
	if q.Op == OpPropose && r.IntN(2) == 0 {
		q.Mode = Timed
	}
	return q
}

func randomMode(r *rand.Rand) Mode {
	return []Mode{Linearizable, Stale, Lease, Bounded(time.Duration(r.Uint32()) * time.Millisecond)}[r.IntN(4)]
}

func randomResult(r *rand.Rand) command.Result {
	res := command.Result{Index: randomUint(r)}
	if r.UintN(2) == 0 {
		res.Values = codec.AppendString(codec.AppendArrayLen(nil, 1), randomName(r))
		return res
	}
	res.Code = command.Code(1 + r.UintN(10))
	res.Message, res.Traceback = randomName(r), randomName(r)
	if r.UintN(2) == 0 {
		res.Value = codec.AppendUint(nil, randomUint(r))
	}
	return res
}

func encodeResult(r command.Result) []byte {
	if r.Code == command.CodeOK {
		return command.AppendOK(nil, r.Index, r.Values)
	}
	return command.AppendError(nil, r.Index, r.Code, r.Message, r.Traceback, r.Value)
}

func randomMember(r *rand.Rand) raft.Member {
	return raft.Member{ID: raft.ID(1 + randomUint(r)/2), Role: raft.Role(1 + r.UintN(3)), Name: randomName(r), Addr: randomName(r)}
}

func randomIDs(r *rand.Rand) []raft.ID {
	var out []raft.ID
	for range r.UintN(5) {
		out = append(out, raft.ID(1+randomUint(r)/2))
	}
	return out
}

func randomMessage(r *rand.Rand) *raft.Message {
	m := &raft.Message{
		Kind: raft.MessageKind(1 + r.UintN(uint(raft.MsgTimeoutNow))), From: raft.ID(randomUint(r)), To: raft.ID(randomUint(r)),
		Term: raft.Term(randomUint(r)), LogIndex: raft.Index(randomUint(r) / 2), LogTerm: raft.Term(randomUint(r)),
		Commit: raft.Index(randomUint(r)), Reject: r.UintN(2) == 0, Transfer: r.UintN(2) == 0, Lease: r.UintN(2) == 0,
		Hint: raft.Index(randomUint(r)), HintTerm: raft.Term(randomUint(r)), Stream: randomUint(r), Round: randomUint(r), Sent: randomUint(r),
	}
	if m.Kind == raft.MsgAppend {
		index := m.LogIndex
		for range r.UintN(20) {
			e := raft.Entry{Term: raft.Term(randomUint(r)), Span: 1 + uint32(randomUint(r))>>1, Kind: raft.EntryKind(1 + r.UintN(3)), Data: randomBytes(r, 100)}
			index += raft.Index(e.Span)
			e.Index = index
			m.Entries = append(m.Entries, e)
		}
	}
	if m.Kind == raft.MsgSnapshot {
		m.Snapshot = randomChunk(r)
	}
	return m
}

func randomChunk(r *rand.Rand) *raft.SnapshotChunk {
	c := &raft.SnapshotChunk{Data: randomBytes(r, 100), Offset: randomUint(r) / 2}
	c.Length = uint32(len(c.Data))
	c.Meta = raft.SnapshotMeta{
		Index: raft.Index(randomUint(r)), Term: raft.Term(randomUint(r)), Sum: randomSum(r),
		Bytes: c.Offset + uint64(c.Length) + uint64(r.UintN(1000)),
	}
	id := raft.ID(0)
	for range r.UintN(6) {
		m := randomMember(r)
		id += raft.ID(1 + r.Uint64N(1<<60))
		m.ID = id
		c.Meta.Config.Members = append(c.Meta.Config.Members, m)
	}
	c.Meta.Config.Outgoing, c.Meta.Config.Removed = randomIDs(r), randomIDs(r)
	return c
}
