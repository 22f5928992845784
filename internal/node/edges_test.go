package node

import (
	"bytes"
	"context"
	"math"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
)

// rawClient is a client that sends what no client of ours would.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	r    *wire.Reader
}

func rawDial(t *testing.T, n *Node) *rawClient {
	t.Helper()
	conn, err := n.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // what follows reports it
	c := &rawClient{t, conn, wire.NewReader(conn, wire.FrameBytesMax)}
	b, mark := wire.BeginFrame(wire.AppendPreamble(nil, wire.RoleClient))
	if _, err := conn.Write(wire.EndFrame(wire.AppendHello(b, "raw"), mark)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.r.Next(); err != nil {
		t.Fatal(err)
	}
	return c
}

func requestFrame(r wire.Request) []byte {
	b, mark := wire.BeginFrame(nil)
	return wire.EndFrame(wire.AppendRequest(b, r), mark)
}

func (c *rawClient) send(r wire.Request) {
	c.t.Helper()
	if _, err := c.conn.Write(requestFrame(r)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) answer() command.Result {
	c.t.Helper()
	frame, err := c.r.Next()
	if err != nil {
		c.t.Fatal(err)
	}
	_, res, err := wire.DecodeReply(frame)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

// onLoop runs f on the loop's goroutine and waits for its end.
func onLoop(n *Node, f func()) {
	done := make(chan struct{})
	n.inbox.add(func(in *inputs) { in.calls = append(in.calls, func() { f(); close(done) }) })
	<-done
}

// awaitThat waits for what another goroutine does.
func awaitThat(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

type kept struct{ results [][]byte }

func (k *kept) Reply(_ uint64, result []byte) { k.results = append(k.results, result) }

// Questions for the status that one drain has are answered together, and so are
// those for the calls that come while a report is made: their number costs nothing.
func TestStatusIsToldOnce(t *testing.T) {
	n, _ := solo(t, Config{})
	var plain, counted, later kept
	n.calls.mu.Lock() // no report ends
	const asks = 100
	onLoop(n, func() {
		for range asks {
			n.answerStatus(&plain, wire.Request{Op: wire.OpStatus})
			n.answerStatus(&counted, wire.Request{Op: wire.OpStatus, Payload: wire.AppendStatusAsk(nil, wire.AskCalls)})
		}
	})
	n.calls.mu.Unlock()
	awaitThat(t, "the reports", func() bool {
		n.told.mu.Lock()
		defer n.told.mu.Unlock()
		return !n.told.reporting
	})
	onLoop(n, func() { n.answerStatus(&later, wire.Request{Op: wire.OpStatus}) })
	different := func(k *kept) int {
		at := map[*byte]bool{}
		for _, r := range k.results {
			at[&r[0]] = true
		}
		return len(at)
	}
	if len(plain.results) != asks || different(&plain) != 1 {
		t.Errorf("%d answers, made %d times", len(plain.results), different(&plain))
	}
	if len(counted.results) != asks || different(&counted) > 2 {
		t.Errorf("%d reports, made %d times", len(counted.results), different(&counted))
	}
	if &later.results[0][0] == &plain.results[0][0] {
		t.Error("a later drain is told what an earlier one was")
	}
	large, ask := &kept{}, codec.AppendArrayLen(nil, statusAskBytesMax)
	for range statusAskBytesMax { // what a later version may ask besides is passed over
		ask = codec.AppendUint(ask, 0)
	}
	onLoop(n, func() {
		n.answerStatus(large, wire.Request{Op: wire.OpStatus, Payload: ask})
	})
	if code := resultCode(large.results[0]); code != command.CodeBadArgument {
		t.Errorf("a question of %d bytes: %v", len(ask), code)
	}
}

// A client that asks without end waits for the loop; another one is not refused for
// it.
func TestFloodDoesNotFillTheInbox(t *testing.T) {
	n, _ := solo(t, Config{})
	flood, other := rawDial(t, n), rawDial(t, n)
	go func() { // nobody fetches the answers
		for r := (wire.Request{Op: wire.OpStatus, Mode: wire.Stale}); ; r.ID++ {
			if _, err := flood.conn.Write(requestFrame(r)); err != nil {
				return
			}
		}
	}()
	onLoop(n, func() { // the loop is busy
		awaitThat(t, "the flood", func() bool {
			n.inbox.mu.Lock()
			defer n.inbox.mu.Unlock()
			return n.inbox.taken != nil || len(n.inbox.in.requests) >= inboxRequestsMax
		})
		var before int
		n.inbox.mu.Lock()
		before = len(n.inbox.in.requests)
		n.inbox.mu.Unlock()
		if before >= inboxRequestsMax {
			t.Errorf("%d requests of one client wait", before)
		}
		other.send(wire.Request{Op: wire.OpStatus, Mode: wire.Stale})
		awaitThat(t, "the other's request", func() bool {
			n.inbox.mu.Lock()
			defer n.inbox.mu.Unlock()
			return len(n.inbox.in.requests) > before || before >= inboxRequestsMax
		})
	})
	if res := other.answer(); res.Code != command.CodeOK {
		t.Errorf("beside a flood: %v %s", res.Code, res.Message)
	}
}

// Queries that wait for a reader are bounded by their bytes; who is refused hears of
// it, and a client that leaves gives back what it had.
func TestQueryBytesAreBounded(t *testing.T) {
	n, _ := solo(t, Config{})
	flood := rawDial(t, n)
	const size, queries = 4 << 20, 3 * readBytesMax / (4 << 20)
	args := codec.AppendStringBytes(codec.AppendArrayLen(nil, 1), make([]byte, size))
	var refused atomic.Int64
	go func() {
		for frame, err := flood.r.Next(); err == nil; frame, err = flood.r.Next() {
			if _, res, err := wire.DecodeReply(frame); err == nil && res.Code == command.CodeOverloaded {
				refused.Add(1)
			}
		}
	}()
	n.readers.mu.Lock() // none is taken
	for i := range uint64(queries) {
		flood.send(wire.Request{ID: i, Op: wire.OpQuery, Mode: wire.Stale, TimeoutMs: replica.TimeoutMaxMs,
			Payload: command.AppendQuery(nil, "tally", "none", args)})
		onLoop(n, func() {}) // one by one: a drain may bring more than the bound
		if b := n.readers.bytes.Load(); b > readBytesMax {
			t.Errorf("%d bytes of queries wait", b)
			break
		}
	}
	n.readers.mu.Unlock()
	awaitThat(t, "a refusal", func() bool { return refused.Load() > 0 || t.Failed() })
	flood.conn.Close()
	awaitThat(t, "the readers", func() bool { return n.readers.bytes.Load() == 0 })
}

// What a watch keeps is bounded and its own: no long keys, none that are never
// found again, not the chunk of the stream that the request came in.
func TestWatchPathIsBounded(t *testing.T) {
	n, _ := solo(t, Config{})
	c := rawDial(t, n)
	path := func(append func([]byte) []byte) wire.Request {
		keys := append(codec.AppendArrayLen(nil, 1))
		return wire.Request{Op: wire.OpWatch, Payload: wire.AppendWatch(nil, wire.Watch{Object: "tally", Keys: keys})}
	}
	long := func(k int) wire.Request {
		return path(func(b []byte) []byte { return codec.AppendString(b, strings.Repeat("k", k)) })
	}
	for _, r := range []wire.Request{
		long(watchPathBytesMax),
		path(func(b []byte) []byte { return codec.AppendNumber(b, math.NaN()) }),
		path(func(b []byte) []byte { return codec.AppendArrayLen(b, 0) }),
	} {
		c.send(r)
		if res := c.answer(); res.Code != command.CodeBadArgument {
			t.Errorf("%d bytes, %x...: %v", len(r.Payload), r.Payload[:12], res.Code)
		}
	}
	if open := n.watches.open.Load(); open != 0 {
		t.Errorf("%d watches are open", open)
	}
	c.send(long(watchPathBytesMax / 2))
	if res := c.answer(); res.Code != command.CodeOK {
		t.Errorf("a path of %d bytes: %v %s", watchPathBytesMax/2, res.Code, res.Message)
	}
	conn := &clientConn{node: n, out: newOutbox()}
	r := long(100)
	onLoop(n, func() { n.watches.subscribe(conn, r) })
	clear(r.Payload)
	onLoop(n, func() {
		for w := range conn.watches {
			if want := long(100); !bytes.Equal(wire.AppendWatch(nil, w.spec), want.Payload) {
				t.Error("the watch keeps the bytes of the request")
			}
		}
		if len(conn.watches) != 1 {
			t.Errorf("%d watches", len(conn.watches))
		}
	})
}

// Requests for backups, and for parts of them, are worked on in bounded number, and
// each that is answered makes room.
func TestBackupAsksAreBounded(t *testing.T) {
	n, _ := solo(t, Config{})
	var first kept
	onLoop(n, func() {
		n.backup(&first, wire.Request{Op: wire.OpBackup, Mode: wire.Stale, Payload: wire.AppendBackupRead(nil, wire.BackupRead{})})
	})
	awaitThat(t, "the backup", func() bool { return n.backups.asks.Load() == 0 })
	n.backups.mu.Lock() // no request ends
	if len(n.backups.open) != 1 {
		t.Fatalf("%d are open", len(n.backups.open))
	}
	const asks = 10 * backupAsksMax
	c := &clientConn{node: n, out: newOutbox()}
	before := runtime.NumGoroutine()
	onLoop(n, func() {
		for i := range asks {
			read := wire.BackupRead{Length: wire.BackupChunkBytesMax}
			for read.Backup = range n.backups.open {
			}
			n.backup(c, wire.Request{ID: uint64(i), Op: wire.OpBackup, Payload: wire.AppendBackupRead(nil, read)})
		}
	})
	if more := runtime.NumGoroutine() - before; more > backupAsksMax+10 {
		t.Errorf("%d goroutines more", more)
	}
	n.backups.mu.Unlock()
	awaitThat(t, "the parts", func() bool { return n.backups.asks.Load() == 0 })
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	r := wire.NewReader(bytes.NewReader(c.out.buf), wire.FrameBytesMax)
	codes := map[command.Code]int{}
	for frame, err := r.Next(); err == nil; frame, err = r.Next() {
		_, res, err := wire.DecodeReply(frame)
		if err != nil {
			t.Fatal(err)
		}
		codes[res.Code]++
	}
	if codes[command.CodeOK] != backupAsksMax || codes[command.CodeOverloaded] != asks-backupAsksMax {
		t.Errorf("answers: %v", codes)
	}
}

// Requests that stop in the middle are bounded in all, and give back what they had
// when their client leaves or they are complete.
func TestUnfinishedRequestsAreBounded(t *testing.T) {
	n, _ := solo(t, Config{})
	large := requestFrame(wire.Request{Op: wire.OpStatus, Mode: wire.Stale, Payload: make([]byte, 40<<20)})
	var stopped []*rawClient
	refused := 0
	for i := range 8 {
		c := rawDial(t, n)
		if _, err := c.conn.Write(large[:len(large)-1]); err != nil {
			refused++
			continue
		}
		stopped = append(stopped, c)
		if all := n.arriving.Load(); all > arrivingBytesMax || all < int64(i-refused)*20<<20 {
			t.Fatalf("%d requests take %d bytes", i+1, all)
		}
	}
	if len(stopped) < 2 || refused == 0 {
		t.Fatalf("%d stopped requests are held, %d refused", len(stopped), refused)
	}
	stopped[0].conn.Write(large[len(large)-1:]) //nolint:errcheck // seen by its answer
	if res := stopped[0].answer(); res.Code != command.CodeBadArgument {
		t.Errorf("a question of %d bytes: %v", len(large), res.Code)
	}
	awaitThat(t, "its memory", func() bool { return n.arriving.Load() <= int64(len(stopped)-1)*int64(len(large)) })
	stopped[0].send(wire.Request{Op: wire.OpStatus, Mode: wire.Stale})
	if res := stopped[0].answer(); res.Code != command.CodeOK {
		t.Errorf("after it: %v", res.Code)
	}
	for _, c := range stopped {
		c.conn.Close()
	}
	awaitThat(t, "the memory", func() bool { return n.arriving.Load() == 0 })
}
