package wire

import (
	"fmt"
	"math"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// AppendPeerHello appends a peer's first frame.
func AppendPeerHello(b []byte, h PeerHello) []byte {
	b = appendFrameHead(b, 7, FramePeerHello)
	b = codec.AppendUint(b, uint64(h.Version))
	b = codec.AppendString(b, h.Cluster)
	b = codec.AppendUint(b, uint64(h.From))
	b = codec.AppendUint(b, uint64(h.To))
	b = codec.AppendString(b, h.Name)
	return codec.AppendString(b, h.Addr)
}

// DecodePeerHello reads what AppendPeerHello wrote. The version is not checked.
func DecodePeerHello(frame []byte) (h PeerHello, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 7, FramePeerHello); err != nil {
		return h, err
	}
	if h.Version, err = decodeVersion(&d); err != nil {
		return h, err
	}
	if h.Cluster, err = shortString(&d); err != nil {
		return h, err
	}
	from, err := d.Uint()
	if err != nil {
		return h, err
	}
	to, err := d.Uint()
	if err != nil {
		return h, err
	}
	h.From, h.To = raft.ID(from), raft.ID(to)
	if h.Name, err = shortString(&d); err != nil {
		return h, err
	}
	if h.Addr, err = shortString(&d); err != nil {
		return h, err
	}
	return h, d.End()
}

// AppendPeerWelcome appends the answer to a PeerHello that is accepted.
func AppendPeerWelcome(b []byte) []byte { return appendFrameHead(b, 1, FramePeerWelcome) }

// DecodePeerWelcome reads what AppendPeerWelcome wrote.
func DecodePeerWelcome(frame []byte) error {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 1, FramePeerWelcome); err != nil {
		return err
	}
	return d.End()
}

// AppendPeer appends any peer frame after the hello. From is not sent. A message
// without a part is a mistake of the caller.
func AppendPeer(b []byte, m PeerMessage) []byte {
	switch {
	case m.Raft != nil:
		return appendRaft(b, m.Raft)
	case m.Forward != nil:
		return appendRequest(b, FrameForward, *m.Forward)
	case m.ForwardReply != nil:
		return appendReply(b, FrameForwardReply, m.ForwardReply.ID, m.ForwardReply.Result)
	case m.Join != nil:
		return appendJoin(b, *m.Join)
	case m.JoinRefused != nil:
		b = codec.AppendUint(appendFrameHead(b, 3, FrameJoinRefused), uint64(m.JoinRefused.By))
		return codec.AppendString(b, m.JoinRefused.Addr)
	case m.Digest != nil:
		b = appendFrameHead(b, 3, FrameDigest)
		b = codec.AppendUint(b, uint64(m.Digest.Index))
		return codec.AppendBytes(b, m.Digest.Sum[:])
	case m.Runs != nil:
		return codec.AppendUint(appendFrameHead(b, 2, FrameRuns), uint64(m.Runs.Machine))
	}
	panic("wire: peer message without a part")
}

// DecodePeer reads what AppendPeer wrote. Byte slices in it alias the frame.
// What it accepts is well-formed; whether it makes sense is for raft to say.
func DecodePeer(frame []byte) (m PeerMessage, err error) {
	frameType, err := FrameType(frame)
	if err != nil {
		return m, err
	}
	switch frameType {
	case FrameRaft:
		m.Raft, err = decodeRaft(frame)
	case FrameForward:
		var r Request
		r, err = decodeRequest(frame, FrameForward)
		m.Forward = &r
	case FrameForwardReply:
		m.ForwardReply, err = decodeForwardReply(frame)
	case FrameJoin:
		m.Join, err = decodeJoin(frame)
	case FrameJoinRefused:
		m.JoinRefused, err = decodeJoinRefused(frame)
	case FrameDigest:
		m.Digest, err = decodeDigest(frame)
	case FrameRuns:
		m.Runs, err = decodeRuns(frame)
	default:
		err = fmt.Errorf("peer frame of type %d: %w", frameType, codec.ErrRange)
	}
	if err != nil {
		return PeerMessage{}, err
	}
	return m, nil
}

func decodeForwardReply(frame []byte) (*ForwardReply, error) {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 3, FrameForwardReply); err != nil {
		return nil, err
	}
	id, err := d.Uint()
	if err != nil {
		return nil, err
	}
	if d.Peek() != codec.KindArray {
		return nil, fmt.Errorf("forwarded result: %w", codec.ErrType)
	}
	result, err := d.Raw()
	if err != nil {
		return nil, err
	}
	return &ForwardReply{ID: id, Result: result}, d.End()
}

func appendJoin(b []byte, m raft.Member) []byte {
	b = appendFrameHead(b, 5, FrameJoin)
	return appendMemberFields(b, m)
}

func decodeJoin(frame []byte) (*raft.Member, error) {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 5, FrameJoin); err != nil {
		return nil, err
	}
	m, err := decodeMemberFields(&d)
	if err != nil {
		return nil, err
	}
	return &m, d.End()
}

func decodeJoinRefused(frame []byte) (*JoinRefused, error) {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 3, FrameJoinRefused); err != nil {
		return nil, err
	}
	by, err := d.Uint()
	if err != nil {
		return nil, err
	}
	addr, err := shortString(&d)
	if err != nil {
		return nil, err
	}
	return &JoinRefused{raft.ID(by), addr}, d.End()
}

func decodeDigest(frame []byte) (*Digest, error) {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 3, FrameDigest); err != nil {
		return nil, err
	}
	index, err := d.Uint()
	if err != nil {
		return nil, err
	}
	out := &Digest{Index: raft.Index(index)}
	if out.Sum, err = decodeSum(&d); err != nil {
		return nil, err
	}
	return out, d.End()
}

func decodeRuns(frame []byte) (*Runs, error) {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 2, FrameRuns); err != nil {
		return nil, err
	}
	v, err := d.Uint()
	if err != nil {
		return nil, err
	}
	if v == 0 || v > math.MaxInt32 {
		return nil, fmt.Errorf("machine version %d: %w", v, codec.ErrRange)
	}
	return &Runs{int(v)}, d.End()
}

func decodeSum(d *codec.Decoder) (sum [16]byte, err error) {
	if d.Peek() != codec.KindBytes {
		return sum, fmt.Errorf("sum is not a binary: %w", codec.ErrType)
	}
	p, err := d.Bytes()
	if err != nil {
		return sum, err
	}
	if len(p) != len(sum) {
		return sum, fmt.Errorf("sum of %d bytes, want %d: %w", len(p), len(sum), codec.ErrRange)
	}
	copy(sum[:], p)
	return sum, nil
}

// raftFields is the number of values of a FrameRaft:
//
//	[18, kind, from, to, term, log index, log term, commit, flags, hint,
//	 hint term, stream, round, sent, [entry...], snapshot chunk or nil]
const raftFields = 16

const (
	flagReject   = 1
	flagTransfer = 2
	flagLease    = 4
	flagsMax     = flagReject | flagTransfer | flagLease
)

func appendRaft(b []byte, m *raft.Message) []byte {
	b = appendFrameHead(b, raftFields, FrameRaft)
	b = codec.AppendUint(b, uint64(m.Kind))
	b = codec.AppendUint(b, uint64(m.From))
	b = codec.AppendUint(b, uint64(m.To))
	b = codec.AppendUint(b, uint64(m.Term))
	b = codec.AppendUint(b, uint64(m.LogIndex))
	b = codec.AppendUint(b, uint64(m.LogTerm))
	b = codec.AppendUint(b, uint64(m.Commit))
	flags := uint64(0)
	if m.Reject {
		flags |= flagReject
	}
	if m.Transfer {
		flags |= flagTransfer
	}
	if m.Lease {
		flags |= flagLease
	}
	b = codec.AppendUint(b, flags)
	b = codec.AppendUint(b, uint64(m.Hint))
	b = codec.AppendUint(b, uint64(m.HintTerm))
	b = codec.AppendUint(b, m.Stream)
	b = codec.AppendUint(b, m.Round)
	b = codec.AppendUint(b, m.Sent)
	b = appendEntries(b, m.LogIndex, m.Entries)
	if m.Snapshot == nil {
		return codec.AppendNil(b)
	}
	return appendChunk(b, m.Snapshot)
}

func decodeRaft(frame []byte) (*raft.Message, error) {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, raftFields, FrameRaft); err != nil {
		return nil, err
	}
	var v [13]uint64
	for i := range v {
		var err error
		if v[i], err = d.Uint(); err != nil {
			return nil, err
		}
	}
	kind, flags := v[0], v[7]
	if kind < uint64(raft.MsgPreVote) || kind > uint64(raft.MsgTimeoutNow) {
		return nil, fmt.Errorf("raft message of kind %d: %w", kind, codec.ErrRange)
	}
	if flags > flagsMax {
		return nil, fmt.Errorf("raft message with flags %#x: %w", flags, codec.ErrRange)
	}
	m := &raft.Message{
		Kind: raft.MessageKind(kind), From: raft.ID(v[1]), To: raft.ID(v[2]), Term: raft.Term(v[3]),
		LogIndex: raft.Index(v[4]), LogTerm: raft.Term(v[5]), Commit: raft.Index(v[6]),
		Reject: flags&flagReject != 0, Transfer: flags&flagTransfer != 0, Lease: flags&flagLease != 0,
		Hint: raft.Index(v[8]), HintTerm: raft.Term(v[9]), Stream: v[10], Round: v[11], Sent: v[12],
	}
	var err error
	if m.Entries, err = decodeEntries(&d, m.LogIndex); err != nil {
		return nil, err
	}
	if len(m.Entries) > 0 && m.Kind != raft.MsgAppend {
		return nil, fmt.Errorf("entries in a raft message of kind %d: %w", kind, codec.ErrType)
	}
	if d.Peek() != codec.KindNil {
		m.Snapshot, err = decodeChunk(&d)
	} else {
		err = d.Nil()
	}
	if err != nil {
		return nil, err
	}
	if m.Kind == raft.MsgSnapshot && (m.Snapshot == nil || len(m.Snapshot.Data) != int(m.Snapshot.Length)) {
		return nil, fmt.Errorf("snapshot message without its bytes: %w", codec.ErrType)
	}
	return m, d.End()
}

// appendEntries appends [term, span, kind, data] of each entry. Their indexes
// follow from the message's: a gap can't be written, and can't be read.
func appendEntries(b []byte, after raft.Index, entries []raft.Entry) []byte {
	b = codec.AppendArrayLen(b, len(entries))
	for i := range entries {
		e := &entries[i]
		if e.Span == 0 || e.First() != after+1 {
			panic(fmt.Sprintf("wire: entry of index %d and span %d behind index %d", e.Index, e.Span, after))
		}
		after = e.Index
		b = codec.AppendArrayLen(b, 4)
		b = codec.AppendUint(b, uint64(e.Term))
		b = codec.AppendUint(b, uint64(e.Span))
		b = codec.AppendUint(b, uint64(e.Kind))
		b = codec.AppendBytes(b, e.Data)
	}
	return b
}

// entriesAtOnce is for how many entries there is room before any was read.
const entriesAtOnce = 256

func decodeEntries(d *codec.Decoder, after raft.Index) ([]raft.Entry, error) {
	n, err := d.ArrayLen()
	if err != nil || n == 0 {
		return nil, err
	}
	out := make([]raft.Entry, 0, min(n, entriesAtOnce))
	for range n {
		e, err := decodeEntry(d)
		if err != nil {
			return nil, err
		}
		if uint64(after) > math.MaxUint64-uint64(e.Span) {
			return nil, fmt.Errorf("entry behind index %d: %w", after, codec.ErrRange)
		}
		e.Index = after + raft.Index(e.Span)
		after = e.Index
		out = append(out, e)
	}
	return out, nil
}

func decodeEntry(d *codec.Decoder) (e raft.Entry, err error) {
	if err = d.FixedArray(4); err != nil {
		return e, err
	}
	term, err := d.Uint()
	if err != nil {
		return e, err
	}
	span, err := d.Uint()
	if err != nil {
		return e, err
	}
	if span == 0 || span > math.MaxUint32 {
		return e, fmt.Errorf("entry of span %d: %w", span, codec.ErrRange)
	}
	kind, err := d.Uint()
	if err != nil {
		return e, err
	}
	if kind < uint64(raft.EntryNoop) || kind > uint64(raft.EntryConfig) {
		return e, fmt.Errorf("entry of kind %d: %w", kind, codec.ErrRange)
	}
	if d.Peek() != codec.KindBytes {
		return e, fmt.Errorf("entry data is not a binary: %w", codec.ErrType)
	}
	e.Term, e.Span, e.Kind = raft.Term(term), uint32(span), raft.EntryKind(kind)
	e.Data, err = d.Bytes()
	return e, err
}
