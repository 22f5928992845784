package wire

import (
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
)

func TestStatusAsk(t *testing.T) {
	newer := codec.AppendString(codec.AppendUint(codec.AppendArrayLen(nil, 2), AskCalls|1<<40), "more")
	for _, c := range []struct {
		name    string
		payload []byte
		want    uint64
		ok      bool
	}{
		{"nothing", nil, 0, true},
		{"calls", AppendStatusAsk(nil, AskCalls), AskCalls, true},
		{"of a newer client", newer, AskCalls | 1<<40, true},
		{"no array", codec.AppendUint(nil, 1), 0, false},
		{"not a number", codec.AppendString(codec.AppendArrayLen(nil, 1), "x"), 0, false},
		{"cut", AppendStatusAsk(nil, AskCalls)[:1], 0, false},
		{"bytes behind it", append(AppendStatusAsk(nil, AskCalls), 0), 0, false},
	} {
		got, err := DecodeStatusAsk(c.payload)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%s: %d, %v", c.name, got, err)
		}
	}
}

// Buckets follow each other without a hole, and the middle of one is off by at
// most a sixteenth of what counts there.
func TestLatencyBuckets(t *testing.T) {
	last := 0
	for v := int64(0); v < 1<<20; v++ {
		b := LatencyBucket(v)
		if b != last && b != last+1 {
			t.Fatalf("%d us in bucket %d, %d us in %d", v, b, v-1, last)
		}
		if off := LatencyOf(b) - float64(v); off > float64(v)/16 || -off > float64(v)/16 {
			t.Fatalf("%d us counts as %g us", v, LatencyOf(b))
		}
		last = b
	}
	for _, v := range []int64{1 << 26, 1 << 40, 1<<63 - 1} {
		if b := LatencyBucket(v); b < last || b >= LatencyBuckets {
			t.Fatalf("%d us in bucket %d", v, b)
		}
	}
	if b := LatencyBucket(-5); b != 0 {
		t.Fatalf("a clock that went back counts in bucket %d", b)
	}
	var buckets [LatencyBuckets]uint64
	if AddLatency(&buckets, []uint64{1}) == nil || AddLatency(&buckets, []uint64{LatencyBuckets, 1}) == nil {
		t.Fatal("bad latencies are taken")
	}
}
