package gossip

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// Limits of what a member says of itself. With every part at its limit the
// encoding stays under memberlist's 512 bytes (meta_test.go holds it there).
const (
	MetaBytesMax  = memberlist.MetaMaxSize
	AddrBytesMax  = 200
	NameBytesMax  = 64
	BuildBytesMax = 64
	RoleBytesMax  = 16
	// ExpectMax bounds a founding set; more voters make a slow cluster.
	ExpectMax = 99
	paceMsMax = 1 << 30
)

// metaVersion is the first value of an encoded Meta. A reader takes the values
// it knows of the same version and skips those behind them.
const metaVersion = 1

const metaValues = 14

// hashBytes is the size of a cluster id, a view and a promise before hex.
const hashBytes = 16

// ErrBadMeta is returned for metadata that does not decode or is out of bounds.
var ErrBadMeta = errors.New("gossip: bad metadata")

// Meta is what a member says of itself.
type Meta struct {
	ID      raft.ID
	Cluster string // 32 hex digits; empty while the member has no cluster
	Addr    string // service address that others use
	Expect  int    // size of the founding set it waits for; 0: it does not found
	// Generation, View and Promise are Bootstrap's. A member keeps publishing
	// its Promise and Generation after it has founded or joined.
	Generation uint32
	View       string // 32 hex digits or empty
	Promise    string // 32 hex digits or empty
	Observer   bool   // never votes
	HasData    bool   // has a log or a snapshot: it neither founds nor joins afresh
	Full       bool   // its disk has no space for the log: it should not lead
	Build      string
	Role       string // leader, follower, ...: a hint for people
	Term       uint64
	Leader     string // name of the leader that it knows: a hint
	// Pace is how long its disk takes for a save, in whole milliseconds: a leader
	// that is much slower hands over.
	Pace time.Duration
}

const (
	flagObserver = 1 << 0
	flagHasData  = 1 << 1
	flagFull     = 1 << 2
)

// Encode returns the msgpack array that gossip carries.
func (m Meta) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	var flags uint64
	if m.Observer {
		flags |= flagObserver
	}
	if m.HasData {
		flags |= flagHasData
	}
	if m.Full {
		flags |= flagFull
	}
	b := codec.AppendArrayLen(nil, metaValues)
	b = codec.AppendUint(b, metaVersion)
	b = codec.AppendUint(b, uint64(m.ID))
	b = appendHash(b, m.Cluster)
	b = codec.AppendString(b, m.Addr)
	b = codec.AppendUint(b, uint64(m.Expect))
	b = codec.AppendUint(b, uint64(m.Generation))
	b = appendHash(b, m.View)
	b = appendHash(b, m.Promise)
	b = codec.AppendUint(b, flags)
	b = codec.AppendString(b, m.Build)
	b = codec.AppendString(b, m.Role)
	b = codec.AppendUint(b, m.Term)
	b = codec.AppendString(b, m.Leader)
	b = codec.AppendUint(b, uint64(m.Pace/time.Millisecond))
	return b, nil
}

// DecodeMeta reads what Encode wrote. It returns ErrBadMeta for anything that
// Encode would not have written, except for values behind those it knows.
func DecodeMeta(b []byte) (Meta, error) {
	m, err := decodeMeta(b)
	if err == nil {
		err = m.check()
	}
	if err != nil && !errors.Is(err, ErrBadMeta) {
		err = fmt.Errorf("%w: %w", ErrBadMeta, err)
	}
	if err != nil {
		return Meta{}, err
	}
	return m, nil
}

func decodeMeta(b []byte) (Meta, error) {
	if len(b) > MetaBytesMax {
		return Meta{}, fmt.Errorf("%w: %d bytes", ErrBadMeta, len(b))
	}
	r := metaReader{d: codec.NewDecoder(b)}
	n, err := r.d.ArrayLen()
	if err != nil {
		return Meta{}, err
	}
	if n < metaValues {
		return Meta{}, fmt.Errorf("%w: %d values, want %d", ErrBadMeta, n, metaValues)
	}
	if v := r.uint(255); r.err == nil && v != metaVersion {
		return Meta{}, fmt.Errorf("%w: version %d, this build knows %d", ErrBadMeta, v, metaVersion)
	}
	var m Meta
	m.ID = raft.ID(r.uint(1<<64 - 1))
	m.Cluster = r.hash()
	m.Addr = r.string()
	m.Expect = int(r.uint(ExpectMax))
	m.Generation = uint32(r.uint(1<<32 - 1))
	m.View = r.hash()
	m.Promise = r.hash()
	flags := r.uint(1<<64 - 1)
	m.Observer = flags&flagObserver != 0
	m.HasData = flags&flagHasData != 0
	m.Full = flags&flagFull != 0
	m.Build = r.string()
	m.Role = r.string()
	m.Term = r.uint(1<<64 - 1)
	m.Leader = r.string()
	m.Pace = time.Duration(r.uint(paceMsMax)) * time.Millisecond
	for range n - metaValues {
		if r.err == nil {
			r.err = r.d.Skip()
		}
	}
	if r.err == nil {
		r.err = r.d.End()
	}
	return m, r.err
}

// check returns ErrBadMeta if a part is out of bounds.
func (m Meta) check() error {
	for _, s := range []struct {
		what, value string
		bytesMax    int
	}{
		{"address", m.Addr, AddrBytesMax},
		{"build", m.Build, BuildBytesMax},
		{"role", m.Role, RoleBytesMax},
		{"leader", m.Leader, NameBytesMax},
	} {
		if len(s.value) > s.bytesMax {
			return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrBadMeta, s.what, len(s.value), s.bytesMax)
		}
		if !printable(s.value) {
			return fmt.Errorf("%w: %s %q is not plain text", ErrBadMeta, s.what, s.value)
		}
	}
	for _, h := range []string{m.Cluster, m.View, m.Promise} {
		if b, err := hex.DecodeString(h); err != nil || h != "" && len(b) != hashBytes {
			return fmt.Errorf("%w: %q is not %d hex digits", ErrBadMeta, h, 2*hashBytes)
		}
	}
	if m.ID == 0 {
		return fmt.Errorf("%w: no id", ErrBadMeta)
	}
	if m.Addr == "" {
		return fmt.Errorf("%w: no address", ErrBadMeta)
	}
	if m.Pace < 0 || m.Pace > paceMsMax*time.Millisecond {
		return fmt.Errorf("%w: a save takes %v", ErrBadMeta, m.Pace)
	}
	if m.Expect < 0 || m.Expect > ExpectMax {
		return fmt.Errorf("%w: expects %d nodes, at most %d", ErrBadMeta, m.Expect, ExpectMax)
	}
	return nil
}

// printable keeps terminal escapes and line ends out of logs and tables.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func appendHash(b []byte, h string) []byte {
	raw, _ := hex.DecodeString(h) // checked before
	return codec.AppendBytes(b, raw)
}

// metaReader reads values until the first error, which it keeps.
type metaReader struct {
	d   codec.Decoder
	err error
}

func (r *metaReader) uint(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, err := r.d.Uint()
	if err == nil && v > most {
		err = codec.ErrRange
	}
	r.err = err
	return v
}

func (r *metaReader) string() string {
	if r.err != nil {
		return ""
	}
	var s string
	s, r.err = r.d.String()
	return s
}

func (r *metaReader) hash() string {
	if r.err != nil {
		return ""
	}
	var b []byte
	b, r.err = r.d.Bytes()
	return hex.EncodeToString(b)
}
