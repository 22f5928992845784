package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	magic         = "SYNCSH"
	preambleBytes = len(magic) + 2

	// FrameHeadBytes is the length in front of each frame's body.
	FrameHeadBytes = 4

	// The Reader's chunks start small, so that a thousand idle connections cost
	// little, and double up to a size of which a busy connection needs few.
	chunkBytesMin = 4 << 10
	chunkBytesMax = 64 << 10
)

var (
	// ErrPreamble is returned when the other side does not speak syncsh.
	ErrPreamble = errors.New("not a syncsh connection")
	// ErrVersion is returned when the other side speaks another version of the
	// protocol.
	ErrVersion = errors.New("protocol version does not match")
	// ErrFrameLength is returned when a frame's length is 0 or above the limit.
	ErrFrameLength = errors.New("bad frame length")
)

// WritePreamble writes the first bytes of a connection.
func WritePreamble(w io.Writer, role Role) error {
	_, err := w.Write(AppendPreamble(nil, role))
	return err
}

// AppendPreamble appends the first bytes of a connection.
func AppendPreamble(b []byte, role Role) []byte {
	return append(append(b, magic...), byte(role), Version)
}

// ReadPreamble reads the first bytes of a connection that was accepted. The
// role is known also when the version is another one.
func ReadPreamble(r io.Reader) (Role, error) {
	var p [preambleBytes]byte
	if n, err := io.ReadFull(r, p[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			return 0, fmt.Errorf("%w: %d bytes, %q", ErrPreamble, n, p[:n])
		}
		return 0, err
	}
	if string(p[:len(magic)]) != magic {
		return 0, fmt.Errorf("%w: it starts with %q", ErrPreamble, p[:])
	}
	role, version := Role(p[len(magic)]), int(p[len(magic)+1])
	if role != RoleClient && role != RolePeer && role != RoleGossip {
		return 0, fmt.Errorf("%w: role %q", ErrPreamble, byte(role))
	}
	return role, CheckVersion(version)
}

// CheckVersion is the error for another side's version of the protocol, nil for
// our own.
func CheckVersion(theirs int) error {
	if theirs != Version {
		return fmt.Errorf("%w: the other side has %d, this side has %d", ErrVersion, theirs, Version)
	}
	return nil
}

// BeginFrame appends room for a frame's length. The body is appended next, then
// EndFrame is called with the mark.
func BeginFrame(b []byte) (out []byte, mark int) {
	return append(b, 0, 0, 0, 0), len(b)
}

// EndFrame fills in the length of the frame that was begun at mark.
func EndFrame(b []byte, mark int) []byte {
	binary.LittleEndian.PutUint32(b[mark:], uint32(len(b)-mark-FrameHeadBytes))
	return b
}

// Reader cuts a stream into frames.
//
// Frames are cut out of chunks that are never written to again, so a frame, and
// what was decoded from it without copying, stays valid for ever. A frame that
// is kept keeps its chunk. A frame too large for a chunk gets memory of its own,
// which grows with the bytes that have arrived and not by the claimed length.
type Reader struct {
	r        io.Reader
	maxFrame int
	chunk    []byte // chunk[start:end] was read and not yet given out
	start    int
	end      int
	next     int   // size of the next chunk
	err      error // came together with bytes; returned once these are used up
	hold     func(n int) error
	held     int // what hold was told last
}

// NewReader returns a Reader of frames whose bodies have at most maxFrame bytes.
func NewReader(r io.Reader, maxFrame int) *Reader {
	return &Reader{r: r, maxFrame: maxFrame, next: chunkBytesMin}
}

// SetMax changes the limit; a connection's is low until its hello was accepted.
func (r *Reader) SetMax(maxFrame int) { r.maxFrame = maxFrame }

// SetHold has the reader tell what an unfinished frame takes in memory: hold is
// called with n bytes before a frame gets more than a chunk, and with 0 before what
// follows it is read. An error of hold is returned by Next.
func (r *Reader) SetHold(hold func(n int) error) { r.hold = hold }

// holds tells hold, if it is news.
func (r *Reader) holds(n int) (err error) {
	if n <= chunkBytesMax {
		n = 0
	}
	if r.hold != nil && n != r.held {
		if err = r.hold(n); err == nil {
			r.held = n
		}
	}
	return err
}

// Buffered tells whether Next will return without reading: a whole frame is
// here, or a length that will be refused. A caller drains a burst with it.
func (r *Reader) Buffered() bool {
	have := r.end - r.start
	if have < FrameHeadBytes {
		return false
	}
	n, err := r.bodyBytes()
	return err != nil || have-FrameHeadBytes >= n
}

// bodyBytes is the length of the frame whose head is here.
func (r *Reader) bodyBytes() (int, error) {
	n := binary.LittleEndian.Uint32(r.chunk[r.start:])
	if n == 0 || uint64(n) > uint64(r.maxFrame) {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrFrameLength, n, r.maxFrame)
	}
	return int(n), nil
}

// Next returns the body of the next frame, io.EOF when the stream ended between
// two frames, and io.ErrUnexpectedEOF when it ended within one.
func (r *Reader) Next() ([]byte, error) {
	need := FrameHeadBytes
	for {
		have := r.end - r.start
		if have >= FrameHeadBytes {
			n, err := r.bodyBytes()
			if err != nil {
				return nil, err
			}
			need = FrameHeadBytes + n
		}
		if have >= need {
			at := r.start + FrameHeadBytes
			r.start += need
			return r.chunk[at:r.start:r.start], nil
		}
		if err := r.fill(need); err != nil {
			if err == io.EOF && have > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// fill reads once, towards a frame of need bytes with its head.
func (r *Reader) fill(need int) error {
	if r.err != nil {
		return r.err
	}
	if err := r.room(need); err != nil {
		return err
	}
	n, err := r.r.Read(r.chunk[r.end:])
	if n < 0 || n > len(r.chunk)-r.end {
		return fmt.Errorf("wire: reader returned %d bytes for %d", n, len(r.chunk)-r.end)
	}
	r.end += n
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if n > 0 {
		r.err, err = err, nil
	}
	return err
}

// room makes room for at least one byte behind end. The bytes of an unfinished
// frame move to a new chunk when the frame does not fit in this one; a chunk
// with little left is given up so that reads don't become small.
func (r *Reader) room(need int) error {
	have := r.end - r.start
	free := len(r.chunk) - r.end
	fits := need-have <= free && (have > 0 || free >= len(r.chunk)/8)
	if free > 0 && (fits || r.start == 0) {
		return nil
	}
	size := r.next
	r.next = min(2*r.next, chunkBytesMax)
	if need > size {
		// At most twice what is here: the claimed length alone allocates nothing.
		size = min(need, max(chunkBytesMax, 2*have))
	}
	if err := r.holds(size); err != nil {
		return err
	}
	chunk := make([]byte, size)
	copy(chunk, r.chunk[r.start:r.end])
	r.chunk, r.start, r.end = chunk, 0, have
	return nil
}
