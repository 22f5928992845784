package wire

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const seeds = 300

func TestRoundTrip(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				v := f.make(rand.New(rand.NewPCG(seed, 1)))
				frame := f.append([]byte("before"), v)
				got, err := f.decode(frame[len("before"):])
				if err != nil {
					t.Fatalf("seed %d: %+v: %v", seed, v, err)
				}
				if !same(got, v) {
					t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, got, v)
				}
			}
		})
	}
}

// Every frame that lost its end, or has bytes too many, is refused.
func TestCutFrames(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(20) {
				frame := f.append(nil, f.make(rand.New(rand.NewPCG(seed, 2))))
				for n := range frame {
					if _, err := f.decode(frame[:n:n]); err == nil {
						t.Fatalf("seed %d: no error for %d of %d bytes", seed, n, len(frame))
					}
				}
				if _, err := f.decode(append(frame, 0)); !errors.Is(err, codec.ErrTrailing) {
					t.Fatalf("seed %d: one byte too many: %v", seed, err)
				}
			}
		})
	}
}

// A byte that was changed may give another value or an error, never a panic,
// and what is accepted can be written again.
func TestChangedBytes(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				r := rand.New(rand.NewPCG(seed, 3))
				frame := f.append(nil, f.make(r))
				for range 50 {
					c := append([]byte(nil), frame...)
					c[r.IntN(len(c))] = byte(r.Uint32())
					if v, err := f.decode(c); err == nil && f.name != "hello" {
						if again, err := f.decode(f.append(nil, v)); err != nil || !same(again, v) {
							t.Fatalf("seed %d: %x: %+v came back as %+v, %v", seed, c, v, again, err)
						}
					}
				}
			}
		})
	}
}

// No other form accepts a form's frames. Transfer and member-change are payloads,
// without a type.
func TestFrameTypes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	for _, f := range forms() {
		frame := f.append(nil, f.make(r))
		for _, other := range forms() {
			if other.name == f.name || isPeer(f.name) && isPeer(other.name) || other.name == "transfer" || other.name == "member-change" {
				continue
			}
			if v, err := other.decode(frame); err == nil {
				t.Errorf("%s was read as %s: %+v", f.name, other.name, v)
			}
		}
	}
}

func isPeer(name string) bool {
	return name == "raft" || strings.HasPrefix(name, "join") || name == "digest" || name == "runs" || strings.HasPrefix(name, "forward")
}

// TestGolden holds the bytes of one frame of each form: a change of the format
// has to change Version.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, f := range forms() {
		frame, mark := BeginFrame(nil)
		frame = EndFrame(f.append(frame, f.make(rand.New(rand.NewPCG(11, 5)))), mark)
		fmt.Fprintf(&b, "%s %x\n", f.name, frame)
	}
	for _, m := range []*raft.Message{
		{Kind: raft.MsgAppend, From: 1, To: 2, Term: 5, LogIndex: 7, LogTerm: 4, Commit: 6, Stream: 3, Entries: []raft.Entry{
			{Index: 8, Term: 5, Span: 1, Kind: raft.EntryNoop}, {Index: 72, Term: 5, Span: 64, Kind: raft.EntryBatch, Data: []byte("batch")},
		}},
		{Kind: raft.MsgSnapshot, From: 1, To: 2, Term: 5, Snapshot: &raft.SnapshotChunk{
			Meta: raft.SnapshotMeta{Index: 72, Term: 5, Bytes: 100, Sum: [16]byte{15: 1}, Config: raft.Configuration{
				Members:  []raft.Member{{ID: 1, Role: raft.Voter, Name: "n1", Addr: "h:1"}, {ID: 2, Role: raft.Learner, Name: "n2", Addr: "h:2"}},
				Outgoing: []raft.ID{1}, Removed: []raft.ID{9},
			}},
			Offset: 50, Length: 2, Data: []byte("ab"),
		}},
	} {
		frame, mark := BeginFrame(nil)
		fmt.Fprintf(&b, "raft kind %d %x\n", m.Kind, EndFrame(AppendPeer(frame, PeerMessage{Raft: m}), mark))
	}
	fmt.Fprintf(&b, "preamble %x\n", AppendPreamble(nil, RolePeer))
	const path = "testdata/golden.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestRefusedPeerFrames(t *testing.T) {
	raftFrame := func(change func(*raft.Message)) []byte {
		m := &raft.Message{Kind: raft.MsgAppend, LogIndex: 7, Entries: []raft.Entry{{Index: 9, Term: 3, Span: 2, Kind: raft.EntryBatch, Data: []byte("ab")}}}
		change(m)
		return AppendPeer(nil, PeerMessage{Raft: m})
	}
	chunk := func(change func(*raft.SnapshotChunk)) []byte {
		c := &raft.SnapshotChunk{Meta: raft.SnapshotMeta{Bytes: 10, Config: raft.Configuration{Members: []raft.Member{{ID: 1, Role: raft.Voter}, {ID: 2, Role: raft.Voter}}}}, Offset: 5, Length: 2, Data: []byte("ab")}
		change(c)
		return AppendPeer(nil, PeerMessage{Raft: &raft.Message{Kind: raft.MsgSnapshot, Snapshot: c}})
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"unknown frame", []byte{0x91, 99}, "peer frame of type 99"},
		{"no frame", []byte{0x90}, "truncated"},
		{"kind 0", raftFrame(func(m *raft.Message) { m.Kind = 0 }), "kind 0"},
		{"kind 14", raftFrame(func(m *raft.Message) { m.Kind = raft.MsgTimeoutNow + 1 }), "kind 14"},
		{"entry kind", raftFrame(func(m *raft.Message) { m.Entries[0].Kind = 4 }), "entry of kind 4"},
		{"entry kind 0", raftFrame(func(m *raft.Message) { m.Entries[0].Kind = 0 }), "entry of kind 0"},
		{"entries in a vote", raftFrame(func(m *raft.Message) { m.Kind = raft.MsgVote }), "entries in a raft message"},
		{"no array", []byte{0xdf}, "unexpected type"},
		{"snapshot without chunk", AppendPeer(nil, PeerMessage{Raft: &raft.Message{Kind: raft.MsgSnapshot}}), "without its bytes"},
		{"chunk without bytes", chunk(func(c *raft.SnapshotChunk) { c.Data = nil }), "without its bytes"},
		{"chunk shorter than it says", chunk(func(c *raft.SnapshotChunk) { c.Data = c.Data[:1] }), "length 2 with 1 bytes"},
		{"chunk behind the end", chunk(func(c *raft.SnapshotChunk) { c.Offset = 9 }), "2 bytes at 9 of 10"},
		{"chunk that overflows", chunk(func(c *raft.SnapshotChunk) { c.Offset = 1 << 63; c.Meta.Bytes = 1 }), "of 1"},
		{"members out of order", chunk(func(c *raft.SnapshotChunk) { c.Meta.Config.Members[1].ID = 1 }), "not in order"},
		{"member without role", chunk(func(c *raft.SnapshotChunk) { c.Meta.Config.Members[1].Role = 0 }), "role 0"},
		{"id 0", chunk(func(c *raft.SnapshotChunk) { c.Meta.Config.Outgoing = []raft.ID{0} }), "id 0"},
		{"join without id", AppendPeer(nil, PeerMessage{Join: &raft.Member{Role: raft.Voter}}), "without an id"},
		{"long name", AppendPeer(nil, PeerMessage{Join: &raft.Member{ID: 1, Role: raft.Voter, Name: strings.Repeat("x", NameBytesMax+1)}}), "name of 256 bytes"},
		{"forward of op 0", AppendPeer(nil, PeerMessage{Forward: &Request{}}), "operation 0"},
		{"forward of mode 4", AppendPeer(nil, PeerMessage{Forward: &Request{Op: OpQuery, Mode: 4}}), "mode 4"},
		{"a bound of what has none", AppendPeer(nil, PeerMessage{Forward: &Request{Op: OpQuery, Mode: Stale | 1<<8}}), "mode 257"},
		{"a bound of 2^32 ms", AppendPeer(nil, PeerMessage{Forward: &Request{Op: OpQuery, Mode: bounded | 1<<40}}), "mode 1099511627779"},
		{"forward of op 11", AppendPeer(nil, PeerMessage{Forward: &Request{Op: opMax + 1}}), "operation 11"},
		{"forward reply that is no result", AppendPeer(nil, PeerMessage{ForwardReply: &ForwardReply{1, []byte{5}}}), "forwarded result"},
		{"short digest", []byte{0x93, 22, 1, 0xc4, 1, 0}, "sum of 1 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := DecodePeer(c.frame)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", m, err, c.want)
			}
		})
	}
}

func TestRefusedEntries(t *testing.T) {
	entry := func(span uint64) []byte {
		b := codec.AppendArrayLen(nil, 1)
		b = codec.AppendArrayLen(b, 4)
		for _, v := range []uint64{1, span, 2} {
			b = codec.AppendUint(b, v)
		}
		return codec.AppendBytes(b, nil)
	}
	for _, c := range []struct {
		name  string
		after raft.Index
		span  uint64
		ok    bool
	}{
		{"one", 0, 1, true}, {"none", 0, 0, false}, {"largest", 0, 1<<32 - 1, true}, {"too large", 0, 1 << 32, false},
		{"last index", 1<<64 - 2, 1, true}, {"past the last index", 1<<64 - 2, 2, false},
	} {
		d := codec.NewDecoder(entry(c.span))
		if got, err := decodeEntries(&d, c.after); (err == nil) != c.ok {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// A gap between entries can't be written.
func TestAppendEntriesGap(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("entry 9 was written behind index 7")
		}
	}()
	AppendPeer(nil, PeerMessage{Raft: &raft.Message{Kind: raft.MsgAppend, LogIndex: 7, Entries: []raft.Entry{{Index: 9, Span: 1, Kind: raft.EntryBatch}}}})
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Lengths that promise much and bring little allocate little.
func TestHostileLengths(t *testing.T) {
	head := AppendPeer(nil, PeerMessage{Raft: &raft.Message{Kind: raft.MsgAppend}})
	head = head[:len(head)-2] // without the entries and the snapshot
	claim := append(append([]byte(nil), head...), 0xdd, 0x04, 0, 0, 0)
	claim = append(claim, make([]byte, 0x4000000)...) // as many bytes as entries are claimed, none of them an entry
	got := allocated(func() {
		if _, err := DecodePeer(claim); err == nil {
			t.Error("accepted")
		}
	})
	if got > 1<<20 {
		t.Errorf("%d bytes allocated", got)
	}
}

func TestNodeStatus(t *testing.T) {
	s := &NodeStatus{Cluster: "c", Name: "n1", ID: "1", Role: "leader", Term: 7, UptimeSeconds: 1.5, Members: []MemberStatus{{Name: "n1", Alive: true}, {Name: "n2"}}}
	b, err := EncodeNodeStatus(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeNodeStatus(b)
	if err != nil || !same(got, s) {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range b {
		if _, err := DecodeNodeStatus(b[:n]); err == nil {
			t.Errorf("%d of %d bytes accepted", n, len(b))
		}
	}
	if _, err := DecodeNodeStatus(append(b, 1)); err == nil {
		t.Error("trailing byte accepted")
	}
	if _, err := DecodeNodeStatus([]byte{0x81, 0xa4, 't', 'e', 'r', 'm', 0xa1, 'x'}); err == nil {
		t.Error("a term that is a string was accepted")
	}
}

// The frames of a call cost no allocation to write or to read.
func TestHotFramesAllocateNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	q := randomRequest(r)
	result := encodeResult(randomResult(rand.New(rand.NewPCG(4, 6))))
	b := make([]byte, 0, 4096)
	n := testing.AllocsPerRun(100, func() {
		frame := AppendRequest(b, q)
		if _, err := DecodeRequest(frame); err != nil {
			t.Fatal(err)
		}
		reply := AppendReply(b, 5, okResult)
		if _, _, err := DecodeReply(reply); err != nil {
			t.Fatal(err)
		}
		AppendReply(b, 5, result)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var okResult = []byte{0x93, 5, 0, 0x91, 7}

func FuzzDecodePeer(f *testing.F) {
	for _, form := range forms() {
		for seed := range uint64(8) {
			f.Add(form.append(nil, form.make(rand.New(rand.NewPCG(seed, 7)))))
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := DecodePeer(frame)
		if err != nil {
			return
		}
		again, err := DecodePeer(AppendPeer(nil, m))
		if err != nil || !same(again, m) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(AppendRequest(nil, randomRequest(rand.New(rand.NewPCG(seed, 8)))))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		q, err := DecodeRequest(frame)
		if err != nil {
			return
		}
		again, err := DecodeRequest(AppendRequest(nil, q))
		if err != nil || !same(again, q) {
			t.Fatalf("%+v came back as %+v, %v", q, again, err)
		}
	})
}

func BenchmarkRequestReply(b *testing.B) {
	q := Request{ID: 1000, Op: OpPropose, TimeoutMs: 10000, Payload: make([]byte, 30)}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = DecodeRequest(AppendRequest(buf, q))
		_, _, _ = DecodeReply(AppendReply(buf, 1000, okResult))
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	m := &raft.Message{Kind: raft.MsgAppend, From: 1 << 60, To: 1 << 61, Term: 5, LogIndex: 1 << 20, LogTerm: 5, Commit: 1 << 20,
		Entries: []raft.Entry{{Index: 1<<20 + 64, Term: 5, Span: 64, Kind: raft.EntryBatch, Data: make([]byte, 2000)}}}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = DecodePeer(AppendPeer(buf, PeerMessage{Raft: m}))
	}
}
