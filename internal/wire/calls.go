package wire

import (
	"fmt"
	"math/bits"

	"github.com/syncsh/syncsh/internal/codec"
)

// What a status may be asked to tell beside what it always tells.
const AskCalls = 1 // NodeStatus.Calls

// AppendStatusAsk appends the payload of an OpStatus that asks for more; nodes
// that don't know it ignore it.
func AppendStatusAsk(b []byte, ask uint64) []byte {
	return codec.AppendUint(codec.AppendArrayLen(b, 1), ask)
}

// DecodeStatusAsk reads the payload of an OpStatus: empty, or an array whose
// first value says what is asked for. What a newer client says behind it is
// skipped, as a node that is older than the question skips all of it.
func DecodeStatusAsk(payload []byte) (ask uint64, err error) {
	if len(payload) == 0 {
		return 0, nil
	}
	d := codec.NewDecoder(payload)
	n, err := d.ArrayLen()
	if err != nil || n == 0 {
		return 0, err
	}
	if ask, err = d.Uint(); err != nil {
		return 0, err
	}
	for range n - 1 {
		if err = d.Skip(); err != nil {
			return 0, err
		}
	}
	return ask, d.End()
}

// Calls is what clients asked a node to call, and how that ended, since the node
// started. A call that went on to the leader counts where it came from.
type Calls struct {
	Counts  []CallCount  `msgpack:"counts" json:"counts"`
	Slowest []CallSample `msgpack:"slowest" json:"slowest"` // of the last minute, slowest first
	Failed  []CallSample `msgpack:"failed" json:"failed"`   // the last ones, newest first
}

// CallCount counts the calls of one method. Without a method it counts reads of
// the object's fields; without an object, all for which there was no counter.
type CallCount struct {
	Object string `msgpack:"object" json:"object"`
	Method string `msgpack:"method" json:"method"`
	Calls  uint64 `msgpack:"calls" json:"calls"`   // answered
	Failed uint64 `msgpack:"failed" json:"failed"` // of them with an error
	// Latency has pairs of a bucket and the calls that took so long, from the
	// arrival of the request to the answer.
	Latency []uint64 `msgpack:"latency" json:"latency"`
}

// CallSample is one call.
type CallSample struct {
	Object  string `msgpack:"object" json:"object"`
	Method  string `msgpack:"method" json:"method"`
	Micros  int64  `msgpack:"us" json:"us"`         // it took
	AgoMs   int64  `msgpack:"ago_ms" json:"ago_ms"` // since its end
	Code    string `msgpack:"code" json:"code"`
	Message string `msgpack:"message,omitempty" json:"message,omitempty"`
}

// Latencies are counted in buckets: one for each microsecond up to 7, then eight
// for each power of two. What takes longer than the last one counts there.
const (
	latencyBits    = 3
	latencyBitsMax = 27 // 134 s
	LatencyBuckets = (latencyBitsMax - latencyBits + 1) << latencyBits
)

// LatencyBucket is where a latency counts.
func LatencyBucket(micros int64) int {
	v := uint64(max(micros, 0))
	if v < 1<<latencyBits {
		return int(v)
	}
	e := bits.Len64(v) - latencyBits
	return min(e<<latencyBits|int(v>>(e-1))&(1<<latencyBits-1), LatencyBuckets-1)
}

// LatencyOf is the latency in the middle of a bucket, in microseconds.
func LatencyOf(bucket int) float64 {
	if bucket < 1<<latencyBits {
		return float64(bucket)
	}
	e := bucket >> latencyBits
	from := uint64(1<<latencyBits|bucket&(1<<latencyBits-1)) << (e - 1)
	return float64(from) + float64(uint64(1)<<(e-1)-1)/2
}

// AddLatency adds the pairs of a CallCount to buckets.
func AddLatency(buckets *[LatencyBuckets]uint64, pairs []uint64) error {
	if len(pairs)%2 != 0 {
		return fmt.Errorf("latencies of %d numbers, want pairs", len(pairs))
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] >= LatencyBuckets {
			return fmt.Errorf("latency bucket %d of %d: %w", pairs[i], LatencyBuckets, codec.ErrRange)
		}
		buckets[pairs[i]] += pairs[i+1]
	}
	return nil
}
