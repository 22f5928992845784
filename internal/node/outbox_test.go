package node

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestOutboxOrder: bytes arrive once and in order, whether they leave by the hand
// of who wrote them or by the writer, and also when the kernel takes a part only.
func TestOutboxOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()

	o := newOutbox()
	var direct, sent atomic.Int64
	o.sent = func(n int) { sent.Add(int64(n)) }
	done, ended := make(chan struct{}), make(chan error, 1)
	o.signal()
	go func() { ended <- o.write(conn, done) }()
	for { // the writer has the connection
		o.mu.Lock()
		f := o.direct
		if f != nil {
			o.direct = func(b []byte) int { // as a kernel with little room
				n := f(b[:min(len(b), 1000)])
				direct.Add(int64(n))
				return n
			}
		}
		o.mu.Unlock()
		if f != nil {
			break
		}
	}
	const count = 200_000
	go func() {
		for i := range uint64(count) {
			o.mu.Lock()
			o.buf = binary.BigEndian.AppendUint64(o.buf, i)
			o.mu.Unlock()
			switch {
			case i%200 == 0:
				o.flush()
			case i%3100 == 0:
				o.signal()
			}
		}
		o.flush()
	}()
	if err := other.SetReadDeadline(time.Now().Add(patience)); err != nil { // what was lost never comes
		t.Fatal(err)
	}
	got := make([]byte, 8*count)
	if _, err := io.ReadFull(other, got); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(count) {
		if v := binary.BigEndian.Uint64(got[8*i:]); v != i {
			t.Fatalf("value %d is %d", i, v)
		}
	}
	close(done)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := direct.Load(); n == 0 || n == 8*count {
		t.Errorf("%d of %d bytes left directly: the test shows one way only", n, 8*count)
	}
	if n := sent.Load(); n != 8*count {
		t.Errorf("told of %d bytes, %d were sent", n, 8*count)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.direct != nil || o.waiting() != 0 {
		t.Errorf("after the end: direct %v, %d bytes wait", o.direct != nil, o.waiting())
	}
}
