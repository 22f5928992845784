package node

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

func unfetching(t *testing.T, n *Node) *clientConn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return &clientConn{node: n, conn: ours, out: newOutbox()}
}

// A client that fetches nothing is cut off before what waits for it passes the
// bound, and what it had is given back.
func TestUnfetchedAnswersOfOneClient(t *testing.T) {
	n := &Node{}
	c := unfetching(t, n)
	const writing = connBytesMax - 4<<20
	c.out.writing = writing
	n.unfetched.Store(writing)
	for i := range 20 {
		c.Reply(uint64(i), make([]byte, 1<<20))
		if w := c.out.waiting(); w > connBytesMax || n.unfetched.Load() != int64(w) {
			t.Fatalf("%d bytes wait, %d in all", w, n.unfetched.Load())
		}
	}
	if !c.Gone() || n.unfetched.Load() != writing {
		t.Errorf("gone %v, %d bytes are left", c.Gone(), n.unfetched.Load())
	}
	<-c.out.wake // the writer is at what it has taken
	done := make(chan struct{})
	close(done)
	c.write(done)
	if n.unfetched.Load() != 0 {
		t.Errorf("%d bytes are left of a client that is gone", n.unfetched.Load())
	}
}

// With many such clients large answers are replaced, small ones pass, and what
// the writers have sent makes room again.
func TestUnfetchedAnswersOfAllClients(t *testing.T) {
	n := &Node{}
	n.unfetched.Store(unfetchedBytesMax - 1<<20) // of others
	c := unfetching(t, n)
	answer := func(size int) int {
		before := len(c.out.buf)
		c.Reply(1, command.AppendOK(nil, 1, codec.AppendString(codec.AppendArrayLen(nil, 1), strings.Repeat("x", size))))
		return len(c.out.buf) - before
	}
	if got := answer(1 << 19); got < 1<<19 {
		t.Errorf("an answer that there is room for has %d bytes", got)
	}
	if got := answer(1 << 20); got > 1000 {
		t.Errorf("a large answer beyond the bound has %d bytes", got)
	}
	if got := answer(1000); got < 1000 {
		t.Errorf("a small answer beyond the bound has %d bytes", got)
	}
	r := wire.NewReader(bytes.NewReader(c.out.buf), wire.FrameBytesMax)
	for _, want := range []command.Code{command.CodeOK, command.CodeTimeout, command.CodeOK} {
		frame, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, res, err := wire.DecodeReply(frame); err != nil || res.Code != want {
			t.Fatalf("%v %v, want %v", res.Code, err, want)
		}
	}
	taken := len(c.out.take(nil))
	if w := c.out.waiting(); w != taken {
		t.Errorf("%d bytes are being written, %d count", taken, w)
	}
	c.out.written()
	n.unfetched.Add(-int64(taken))
	if got := answer(1 << 19); got < 1<<19 {
		t.Errorf("after the writer has written an answer has %d bytes", got)
	}
}

// Small answers are bounded too: beyond the bound for all, who has not fetched its
// share is cut off, and who has fetched is not.
func TestUnfetchedSmallAnswersOfAllClients(t *testing.T) {
	n := &Node{}
	small := make([]byte, largeBytes)
	var clients []*clientConn
	for range 2 * unfetchedBytesMax / (64 << 20) {
		c := unfetching(t, n)
		clients = append(clients, c)
		for range (64 << 20) / len(small) {
			c.Reply(1, small)
		}
		if all := n.unfetched.Load(); all > unfetchedBytesMax+4*connShareBytes*int64(len(clients)) {
			t.Fatalf("%d clients have %d bytes waiting", len(clients), all)
		}
	}
	if last := clients[len(clients)-1]; !last.Gone() {
		t.Error("a client that fetches nothing is not cut off")
	}
	good := unfetching(t, n)
	good.Reply(1, small)
	if good.Gone() {
		t.Error("a client that has fetched all is cut off")
	}
}
