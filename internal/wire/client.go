package wire

import (
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

// FrameType tells the type of a frame without reading the rest.
func FrameType(frame []byte) (uint64, error) {
	d := codec.NewDecoder(frame)
	if _, err := d.ArrayLen(); err != nil {
		return 0, err
	}
	return d.Uint()
}

// appendFrameHead appends the head of a frame of n values with its type.
func appendFrameHead(b []byte, n int, frameType uint64) []byte {
	return codec.AppendUint(codec.AppendArrayLen(b, n), frameType)
}

// openFrame reads the head of a frame that must be of this type and length.
func openFrame(d *codec.Decoder, n int, frameType uint64) error {
	if err := d.FixedArray(n); err != nil {
		return err
	}
	got, err := d.Uint()
	if err != nil {
		return err
	}
	if got != frameType {
		return fmt.Errorf("frame of type %d, want %d: %w", got, frameType, codec.ErrType)
	}
	return nil
}

// AppendHello appends a client's first frame; name is for people.
func AppendHello(b []byte, name string) []byte {
	b = appendFrameHead(b, 3, FrameHello)
	b = codec.AppendUint(b, Version)
	return codec.AppendString(b, name)
}

// DecodeHello reads what AppendHello wrote. The version is not checked.
func DecodeHello(frame []byte) (version int, name string, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 3, FrameHello); err != nil {
		return 0, "", err
	}
	if version, err = decodeVersion(&d); err != nil {
		return 0, "", err
	}
	if name, err = shortString(&d); err != nil {
		return 0, "", err
	}
	return version, name, d.End()
}

func decodeVersion(d *codec.Decoder) (int, error) {
	v, err := d.Uint()
	if err == nil && v > math.MaxInt32 {
		err = fmt.Errorf("protocol version %d: %w", v, codec.ErrRange)
	}
	return int(v), err
}

// shortString reads a name or an address.
func shortString(d *codec.Decoder) (string, error) {
	p, err := d.Bytes()
	if err == nil && len(p) > NameBytesMax {
		err = fmt.Errorf("name of %d bytes, the limit is %d: %w", len(p), NameBytesMax, codec.ErrRange)
	}
	if err != nil {
		return "", err
	}
	return string(p), nil
}

// AppendWelcome appends a node's answer to a Hello.
func AppendWelcome(b []byte, w Welcome) []byte {
	b = appendFrameHead(b, 6, FrameWelcome)
	b = codec.AppendUint(b, uint64(w.Version))
	b = codec.AppendString(b, w.Cluster)
	b = codec.AppendString(b, w.NodeName)
	b = codec.AppendUint(b, uint64(w.NodeID))
	return codec.AppendString(b, w.Build)
}

// DecodeWelcome reads what AppendWelcome wrote. The version is not checked.
func DecodeWelcome(frame []byte) (w Welcome, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 6, FrameWelcome); err != nil {
		return w, err
	}
	if w.Version, err = decodeVersion(&d); err != nil {
		return w, err
	}
	if w.Cluster, err = shortString(&d); err != nil {
		return w, err
	}
	if w.NodeName, err = shortString(&d); err != nil {
		return w, err
	}
	id, err := d.Uint()
	if err != nil {
		return w, err
	}
	w.NodeID = raft.ID(id)
	if w.Build, err = shortString(&d); err != nil {
		return w, err
	}
	return w, d.End()
}

// AppendRefuse appends the last frame of a connection that is not wanted.
func AppendRefuse(b []byte, message string) []byte {
	return codec.AppendString(appendFrameHead(b, 2, FrameRefuse), message)
}

// DecodeRefuse reads what AppendRefuse wrote.
func DecodeRefuse(frame []byte) (message string, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 2, FrameRefuse); err != nil {
		return "", err
	}
	if message, err = d.String(); err != nil {
		return "", err
	}
	return message, d.End()
}

// AppendRequest appends a client's request.
func AppendRequest(b []byte, r Request) []byte { return appendRequest(b, FrameRequest, r) }

func appendRequest(b []byte, frameType uint64, r Request) []byte {
	b = appendFrameHead(b, 6, frameType)
	b = codec.AppendUint(b, r.ID)
	b = codec.AppendUint(b, uint64(r.Op))
	b = codec.AppendUint(b, uint64(r.Mode))
	b = codec.AppendUint(b, uint64(r.TimeoutMs))
	return codec.AppendBytes(b, r.Payload)
}

// DecodeRequest reads what AppendRequest wrote. Payload aliases the frame and is
// checked by whom it is for.
func DecodeRequest(frame []byte) (Request, error) { return decodeRequest(frame, FrameRequest) }

func decodeRequest(frame []byte, frameType uint64) (r Request, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 6, frameType); err != nil {
		return r, err
	}
	if r.ID, err = d.Uint(); err != nil {
		return r, err
	}
	op, err := d.Uint()
	if err != nil {
		return r, err
	}
	if op < uint64(OpPropose) || op > uint64(opMax) {
		return r, fmt.Errorf("request of operation %d: %w", op, codec.ErrRange)
	}
	mode, err := d.Uint()
	if err != nil {
		return r, err
	}
	if !Mode(mode).valid(Op(op)) {
		return r, fmt.Errorf("request of mode %d: %w", mode, codec.ErrRange)
	}
	timeout, err := d.Uint()
	if err != nil {
		return r, err
	}
	if timeout > math.MaxUint32 {
		return r, fmt.Errorf("timeout of %d ms: %w", timeout, codec.ErrRange)
	}
	r.Op, r.Mode, r.TimeoutMs = Op(op), Mode(mode), uint32(timeout)
	if d.Peek() != codec.KindBytes {
		return r, fmt.Errorf("payload is not a binary: %w", codec.ErrType)
	}
	if r.Payload, err = d.Bytes(); err != nil {
		return r, err
	}
	return r, d.End()
}

// AppendReply appends the answer to a request; result is an encoded
// command.Result.
func AppendReply(b []byte, id uint64, result []byte) []byte {
	return appendReply(b, FrameReply, id, result)
}

func appendReply(b []byte, frameType, id uint64, result []byte) []byte {
	b = appendFrameHead(b, 3, frameType)
	b = codec.AppendUint(b, id)
	return append(b, result...)
}

// DecodeReply reads what AppendReply wrote; the result aliases the frame.
func DecodeReply(frame []byte) (id uint64, result command.Result, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 3, FrameReply); err != nil {
		return 0, result, err
	}
	if id, err = d.Uint(); err != nil {
		return 0, result, err
	}
	if result, err = command.DecodeResult(&d); err != nil {
		return 0, result, err
	}
	return id, result, d.End()
}

// AppendMemberChange appends the payload of an OpMember.
func AppendMemberChange(b []byte, action uint64, id raft.ID) []byte {
	b = codec.AppendUint(codec.AppendArrayLen(b, 2), action)
	return codec.AppendUint(b, uint64(id))
}

// DecodeMemberChange reads what AppendMemberChange wrote.
func DecodeMemberChange(payload []byte) (action uint64, id raft.ID, err error) {
	d := codec.NewDecoder(payload)
	if err = d.FixedArray(2); err != nil {
		return 0, 0, err
	}
	if action, err = d.Uint(); err != nil {
		return 0, 0, err
	}
	if action != MemberPromote && action != MemberRemove {
		return 0, 0, fmt.Errorf("membership action %d: %w", action, codec.ErrRange)
	}
	n, err := d.Uint()
	if err == nil && n == 0 {
		err = fmt.Errorf("membership action without an id: %w", codec.ErrRange)
	}
	if err != nil {
		return 0, 0, err
	}
	return action, raft.ID(n), d.End()
}

// AppendTransfer appends the payload of an OpTransfer; id 0 leaves the choice to
// the leader.
func AppendTransfer(b []byte, id raft.ID) []byte {
	return codec.AppendUint(codec.AppendArrayLen(b, 1), uint64(id))
}

// DecodeTransfer reads what AppendTransfer wrote.
func DecodeTransfer(payload []byte) (raft.ID, error) {
	d := codec.NewDecoder(payload)
	if err := d.FixedArray(1); err != nil {
		return 0, err
	}
	n, err := d.Uint()
	if err != nil {
		return 0, err
	}
	return raft.ID(n), d.End()
}

// EncodeNodeStatus gives the binary that answers OpStatus.
func EncodeNodeStatus(s *NodeStatus) ([]byte, error) { return msgpack.Marshal(s) }

// DecodeNodeStatus reads what EncodeNodeStatus gave. Fields it does not know are
// skipped, so a newer node may say more.
func DecodeNodeStatus(b []byte) (*NodeStatus, error) {
	d := codec.NewDecoder(b)
	if err := d.Skip(); err != nil { // bounded before the reflecting decoder sees it
		return nil, err
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	s := new(NodeStatus)
	if err := msgpack.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("node status: %w", err)
	}
	return s, nil
}

// DecodeStatusValues reads the values of an answer to OpStatus: that binary alone.
func DecodeStatusValues(values []byte) (*NodeStatus, error) {
	d := codec.NewDecoder(values)
	if err := d.FixedArray(1); err != nil {
		return nil, err
	}
	b, err := d.Bytes()
	if err != nil {
		return nil, err
	}
	return DecodeNodeStatus(b)
}
