// Package command is what a client asks of the cluster, as bytes: commands,
// which go through the log, queries, which don't, and results. The bytes of a
// command that a client has encoded go unchanged through the nodes into the log
// and to the machine of every replica.
//
// docs/FORMATS.md has the byte tables.
package command

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
)

// Kind of a command in the log.
type Kind uint8

const (
	Call    Kind = 1 // [1, session, serial, object, method, [arg...]]
	Deploy  Kind = 2 // [2, session, serial, [[name, source]...]]
	Create  Kind = 3 // [3, session, serial, object, prototype]
	Drop    Kind = 4 // [4, session, serial, object]
	Setting Kind = 5 // [5, session, serial, name, value]
	Tick    Kind = 6 // [6, 0, 0] proposed by a leader when a replicated timer is due
	Open    Kind = 7 // [7, 0, 0] opens a session; its id is the one value of the result
)

// QueryKind of a question that reads one version of the state.
type QueryKind uint8

const (
	Query    QueryKind = 1 // [1, object, method, [arg...]]: a query method
	Get      QueryKind = 2 // [2, object, [key...]]: the value at a path under the object's state
	Describe QueryKind = 3 // [3]: objects, methods, documentation, sources (see Description)
	Settings QueryKind = 4 // [4]: the replicated settings (see SettingInfo)
	Explain  QueryKind = 5 // [5, object, method, [arg...]]: what the call would do (see Explanation)
	Keys     QueryKind = 6 // [6, object, [key...], prefix]: the first text keys at the path that begin so
)

// Head is what every command starts with: [kind, session, serial, ...], or in a
// session [kind, session, serial, acked, ...], one field more. Without that field
// session and serial have no effect; scripts see the session as caller().
type Head struct {
	Kind    Kind
	Session uint64
	Serial  uint64
	// In says whether the command is one of a session: it happens once however
	// often it is in the log.
	In bool
	// Acked is the highest serial up to which the client has, or no longer wants,
	// all answers. Their results are forgotten.
	Acked uint64
}

// Script is one file of a deploy. Name is the script's name without a path.
type Script struct {
	Name   string
	Source string
}

func appendHead(b []byte, n int, h Head) []byte {
	b = codec.AppendArrayLen(b, n)
	b = codec.AppendUint(b, uint64(h.Kind))
	b = codec.AppendUint(b, h.Session)
	return codec.AppendUint(b, h.Serial)
}

// AppendCall appends a call. args is an encoded msgpack array; nil means no
// arguments.
func AppendCall(b []byte, session, serial uint64, object, method string, args []byte) []byte {
	b = appendHead(b, 6, Head{Kind: Call, Session: session, Serial: serial})
	b = codec.AppendString(b, object)
	b = codec.AppendString(b, method)
	return appendArgs(b, args)
}

func appendArgs(b, args []byte) []byte {
	if args == nil {
		return codec.AppendArrayLen(b, 0)
	}
	return append(b, args...)
}

// AppendDeploy appends a deploy of scripts.
func AppendDeploy(b []byte, session, serial uint64, scripts []Script) []byte {
	b = appendHead(b, 4, Head{Kind: Deploy, Session: session, Serial: serial})
	b = codec.AppendArrayLen(b, len(scripts))
	for _, s := range scripts {
		b = codec.AppendArrayLen(b, 2)
		b = codec.AppendString(b, s.Name)
		b = codec.AppendString(b, s.Source)
	}
	return b
}

// AppendCreate appends the creation of an object with the methods of another.
func AppendCreate(b []byte, session, serial uint64, object, prototype string) []byte {
	b = appendHead(b, 5, Head{Kind: Create, Session: session, Serial: serial})
	b = codec.AppendString(b, object)
	return codec.AppendString(b, prototype)
}

// AppendDrop appends the removal of an object and its state.
func AppendDrop(b []byte, session, serial uint64, object string) []byte {
	b = appendHead(b, 4, Head{Kind: Drop, Session: session, Serial: serial})
	return codec.AppendString(b, object)
}

// AppendSetting appends the change of a replicated setting.
func AppendSetting(b []byte, session, serial uint64, name string, value float64) []byte {
	b = appendHead(b, 5, Head{Kind: Setting, Session: session, Serial: serial})
	b = codec.AppendString(b, name)
	return codec.AppendNumber(b, value)
}

// AppendTick appends a tick.
func AppendTick(b []byte) []byte { return appendHead(b, 3, Head{Kind: Tick}) }

// AppendOpen appends the opening of a session.
func AppendOpen(b []byte) []byte { return appendHead(b, 3, Head{Kind: Open}) }

// AppendIn appends an encoded command that is in no session as one of a session.
// cmd is one for which CanBeIn is true.
func AppendIn(b, cmd []byte, session, serial, acked uint64) []byte {
	d := codec.NewDecoder(cmd)
	h, err := DecodeHead(&d)
	if err != nil || h.In {
		panic(fmt.Sprintf("command: AppendIn of %x: %v", cmd[:min(len(cmd), 32)], err))
	}
	b = appendHead(b, lengths[h.Kind]+1, Head{Kind: h.Kind, Session: session, Serial: serial})
	b = codec.AppendUint(b, acked)
	return append(b, cmd[d.Offset():]...)
}

// CanBeIn tells whether AppendIn takes a command: one that a client sends and
// that is in no session yet.
func CanBeIn(cmd []byte) bool {
	d := codec.NewDecoder(cmd)
	h, err := DecodeHead(&d)
	return err == nil && !h.In && h.Session == 0 && h.Kind != Tick && h.Kind != Open
}

// lengths of the command arrays by kind, for commands in no session.
var lengths = [...]int{Call: 6, Deploy: 4, Create: 5, Drop: 4, Setting: 5, Tick: 3, Open: 3}

// DecodeHead reads the head of a command; d is left at the field after it.
func DecodeHead(d *codec.Decoder) (Head, error) {
	n, err := d.ArrayLen()
	if err != nil {
		return Head{}, err
	}
	k, err := d.Uint()
	if err != nil {
		return Head{}, err
	}
	if k == 0 || k >= uint64(len(lengths)) || lengths[k] != n && (lengths[k] != n-1 || Kind(k) == Tick || Kind(k) == Open) {
		return Head{}, fmt.Errorf("command kind %d with %d fields: %w", k, n, codec.ErrType)
	}
	h := Head{Kind: Kind(k), In: lengths[k] != n}
	if h.Session, err = d.Uint(); err != nil {
		return h, err
	}
	if h.Serial, err = d.Uint(); err == nil && h.In {
		h.Acked, err = d.Uint()
	}
	return h, err
}

// AppendQuery appends a call of a query method.
func AppendQuery(b []byte, object, method string, args []byte) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, uint64(Query))
	b = codec.AppendString(b, object)
	b = codec.AppendString(b, method)
	return appendArgs(b, args)
}

// AppendGet appends a read of a path; keys is an encoded msgpack array of keys,
// nil for the object itself.
func AppendGet(b []byte, object string, keys []byte) []byte {
	b = codec.AppendArrayLen(b, 3)
	b = codec.AppendUint(b, uint64(Get))
	b = codec.AppendString(b, object)
	return appendArgs(b, keys)
}

// AppendDescribe appends a question for the description of all objects.
func AppendDescribe(b []byte) []byte {
	b = codec.AppendArrayLen(b, 1)
	return codec.AppendUint(b, uint64(Describe))
}

// AppendSettings appends a question for the replicated settings.
func AppendSettings(b []byte) []byte {
	b = codec.AppendArrayLen(b, 1)
	return codec.AppendUint(b, uint64(Settings))
}

// The data of a log entry that carries commands: a batch.
//
//	[version 1, clock in ms, seed, n] followed by n binaries, one command each
const (
	batchVersion = 1
	// BatchHeadBytesMax is the most that AppendBatchHead appends.
	BatchHeadBytesMax = 1 + 1 + 9 + 9 + 5
)

// BatchHead says when the leader made the batch, and seeds its randomness.
type BatchHead struct {
	Clock int64  // leader's clock, milliseconds since 1970; the log clock is the highest seen so far
	Seed  uint64 // drawn by the leader
	Count int    // number of commands; equals the entry's Span
}

// AppendBatchHead appends the head of a batch; AppendBytes of each command is to
// follow.
func AppendBatchHead(b []byte, h BatchHead) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, batchVersion)
	b = codec.AppendInt(b, h.Clock)
	b = codec.AppendUint(b, h.Seed)
	return codec.AppendUint(b, uint64(h.Count))
}

// DecodeBatchHead reads the head of a batch.
func DecodeBatchHead(d *codec.Decoder) (h BatchHead, err error) {
	if err = d.FixedArray(4); err != nil {
		return h, err
	}
	v, err := d.Uint()
	if err != nil {
		return h, err
	}
	if v != batchVersion {
		return h, fmt.Errorf("batch version %d, this machine reads %d", v, batchVersion)
	}
	if h.Clock, err = d.Int(); err != nil {
		return h, err
	}
	if h.Seed, err = d.Uint(); err != nil {
		return h, err
	}
	n, err := d.Uint()
	if err == nil && n > uint64(d.Left()) {
		err = codec.ErrTruncated
	}
	h.Count = int(n)
	return h, err
}
