package command

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/syncsh/syncsh/internal/codec"
)

var twoArgs = codec.AppendString(codec.AppendInt(codec.AppendArrayLen(nil, 2), -7), "x")

// commands has one of each kind, encoded, with the fields that follow its head.
var commands = []struct {
	name    string
	encoded []byte
	head    Head
	read    func(t *testing.T, d *codec.Decoder)
}{
	{"call", AppendCall(nil, 9, 300, "counter", "inc", twoArgs), Head{Kind: Call, Session: 9, Serial: 300}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "counter", "inc")
		wantRaw(t, d, twoArgs)
	}},
	{"call without arguments", AppendCall(nil, 0, 0, "o", "m", nil), Head{Kind: Call, Session: 0, Serial: 0}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "o", "m")
		wantRaw(t, d, codec.AppendArrayLen(nil, 0))
	}},
	{"deploy", AppendDeploy(nil, 1, 2, []Script{{"a.lua", "-- a"}, {"b.lua", ""}}), Head{Kind: Deploy, Session: 1, Serial: 2}, func(t *testing.T, d *codec.Decoder) {
		got, err := DecodeScripts(d)
		if want := []Script{{"a.lua", "-- a"}, {"b.lua", ""}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("scripts %v, %v", got, err)
		}
	}},
	{"deploy of nothing", AppendDeploy(nil, 1, 2, nil), Head{Kind: Deploy, Session: 1, Serial: 2}, func(t *testing.T, d *codec.Decoder) {
		if got, err := DecodeScripts(d); err != nil || len(got) != 0 {
			t.Errorf("scripts %v, %v", got, err)
		}
	}},
	{"deploy of too many", AppendDeploy(nil, 1, 2, make([]Script, scriptsMax+1)), Head{Kind: Deploy, Session: 1, Serial: 2}, func(t *testing.T, d *codec.Decoder) {
		if got, err := DecodeScripts(d); err == nil || got != nil {
			t.Errorf("%d scripts, %v", len(got), err)
		}
		if err := d.Skip(); err != nil { // it has read none of them
			t.Error(err)
		}
	}},
	{"create", AppendCreate(nil, 1, 1<<40, "hits", "counter"), Head{Kind: Create, Session: 1, Serial: 1 << 40}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "hits", "counter")
	}},
	{"drop", AppendDrop(nil, 1<<63, 3, "hits"), Head{Kind: Drop, Session: 1 << 63, Serial: 3}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "hits")
	}},
	{"setting", AppendSetting(nil, 1, 4, "budget", 2.5), Head{Kind: Setting, Session: 1, Serial: 4}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "budget")
		if v, err := d.Number(); err != nil || v != 2.5 {
			t.Errorf("value %v, %v", v, err)
		}
	}},
	{"tick", AppendTick(nil), Head{Kind: Tick}, func(*testing.T, *codec.Decoder) {}},
	{"open", AppendOpen(nil), Head{Kind: Open}, func(*testing.T, *codec.Decoder) {}},
	{"call in a session", AppendIn(nil, AppendCall(nil, 0, 0, "counter", "inc", twoArgs), 9, 300, 299), Head{Call, 9, 300, true, 299}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "counter", "inc")
		wantRaw(t, d, twoArgs)
	}},
	{"drop in a session", AppendIn(nil, AppendDrop(nil, 0, 7, "hits"), 1<<40, 1, 0), Head{Drop, 1 << 40, 1, true, 0}, func(t *testing.T, d *codec.Decoder) {
		wantStrings(t, d, "hits")
	}},
}

func wantStrings(t *testing.T, d *codec.Decoder, want ...string) {
	t.Helper()
	for _, w := range want {
		if got, err := d.String(); err != nil || got != w {
			t.Errorf("read %q, %v; want %q", got, err, w)
		}
	}
}

func wantRaw(t *testing.T, d *codec.Decoder, want []byte) {
	t.Helper()
	if got, err := d.Raw(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %x, %v; want %x", got, err, want)
	}
}

func TestCommandsRoundTrip(t *testing.T) {
	for _, c := range commands {
		t.Run(c.name, func(t *testing.T) {
			d := codec.NewDecoder(c.encoded)
			head, err := DecodeHead(&d)
			if err != nil || head != c.head {
				t.Fatalf("head %+v, %v; want %+v", head, err, c.head)
			}
			c.read(t, &d)
			if err := d.End(); err != nil {
				t.Error(err)
			}
			var lib []any
			if err := msgpack.Unmarshal(c.encoded, &lib); err != nil {
				t.Errorf("the library refuses it: %v", err)
			}
			want := lengths[head.Kind]
			if head.In {
				want++
			}
			if len(lib) != want {
				t.Errorf("%d fields, the head says %d", len(lib), want)
			}
		})
	}
}

func TestEveryCutOfAHeadIsRefused(t *testing.T) {
	for _, c := range commands {
		d := codec.NewDecoder(c.encoded)
		if _, err := DecodeHead(&d); err != nil {
			t.Fatal(err)
		}
		for n := range d.Offset() {
			cut := codec.NewDecoder(c.encoded[:n])
			if h, err := DecodeHead(&cut); err == nil {
				t.Errorf("%s cut to %d bytes: head %+v", c.name, n, h)
			}
		}
	}
}

func TestHostileHeads(t *testing.T) {
	array := func(n int, fields ...uint64) []byte {
		b := codec.AppendArrayLen(nil, n)
		for _, f := range fields {
			b = codec.AppendUint(b, f)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"kind 0":             array(3, 0, 0, 0),
		"kind 8":             array(3, 8, 0, 0),
		"a tick of 4 fields": array(4, 6, 0, 0, 0),
		"an open of 4":       array(4, 7, 0, 0, 0),
		"a call of 8":        array(8, 1, 0, 0, 0, 0, 0, 0, 0),
		"kind 2^64-1":        array(3, 1<<64-1, 0, 0),
		"a tick of 6 fields": array(6, 6, 0, 0, 0, 0, 0),
		"a call of 3 fields": array(3, 1, 0, 0),
		"no array":           codec.AppendString(nil, "call"),
		"a map":              codec.AppendMapLen(nil, 0),
		"negative kind":      append(codec.AppendArrayLen(nil, 3), 0xff, 0, 0),
		"negative session":   append(codec.AppendArrayLen(nil, 3), 6, 0xff, 0),
		"serial of text":     append(codec.AppendArrayLen(nil, 3), 6, 0, 0xa0),
		"array of 2^32-1":    {0xdd, 0xff, 0xff, 0xff, 0xff, 1},
		"nothing":            nil,
	} {
		d := codec.NewDecoder(b)
		if h, err := DecodeHead(&d); err == nil {
			t.Errorf("%s: head %+v", name, h)
		}
	}
}

func TestCanBeIn(t *testing.T) {
	for _, c := range commands {
		h := c.head
		want := h.Session == 0 && h.Kind != Tick && h.Kind != Open
		if got := CanBeIn(c.encoded); got != want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for _, b := range [][]byte{nil, {0xc1}, {0x90}, {0x96, 9}} {
		if CanBeIn(b) {
			t.Errorf("%x can be in a session", b)
		}
	}
}

func TestQueriesRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name    string
		encoded []byte
		kind    QueryKind
		strings []string
		args    []byte
	}{
		{"query", AppendQuery(nil, "counter", "get", twoArgs), Query, []string{"counter", "get"}, twoArgs},
		{"query without arguments", AppendQuery(nil, "counter", "get", nil), Query, []string{"counter", "get"}, []byte{0x90}},
		{"get", AppendGet(nil, "counter", twoArgs), Get, []string{"counter"}, twoArgs},
		{"get of the object", AppendGet(nil, "counter", nil), Get, []string{"counter"}, []byte{0x90}},
		{"describe", AppendDescribe(nil), Describe, nil, nil},
		{"explain", AppendExplain(nil, "counter", "inc", twoArgs), Explain, []string{"counter", "inc"}, twoArgs},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := codec.NewDecoder(c.encoded)
			fields := 1 + len(c.strings)
			if c.args != nil {
				fields++
			}
			if err := d.FixedArray(fields); err != nil {
				t.Fatal(err)
			}
			if k, err := d.Uint(); err != nil || QueryKind(k) != c.kind {
				t.Errorf("kind %d, %v", k, err)
			}
			wantStrings(t, &d, c.strings...)
			if c.args != nil {
				wantRaw(t, &d, c.args)
			}
			if err := d.End(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBatchHeadRoundTrips(t *testing.T) {
	payload := AppendTick(nil)
	for _, h := range []BatchHead{{0, 0, 0}, {1_700_000_000_000, 1<<64 - 1, 3}, {-5, 1, 1}, {1<<63 - 1, 1 << 63, 2}, {-1 << 63, 0, 1}} {
		b := AppendBatchHead(nil, h)
		if len(b) > BatchHeadBytesMax {
			t.Errorf("%+v takes %d bytes, more than %d", h, len(b), BatchHeadBytesMax)
		}
		for range h.Count {
			b = codec.AppendBytes(b, payload)
		}
		d := codec.NewDecoder(b)
		got, err := DecodeBatchHead(&d)
		if err != nil || got != h {
			t.Errorf("%+v, %v; want %+v", got, err, h)
		}
		for range h.Count {
			if p, err := d.Bytes(); err != nil || !bytes.Equal(p, payload) {
				t.Errorf("command %x, %v", p, err)
			}
		}
		if err := d.End(); err != nil {
			t.Error(err)
		}
		for n := range len(b) - h.Count*(len(payload)+2) {
			cut := codec.NewDecoder(b[:n])
			if _, err := DecodeBatchHead(&cut); err == nil {
				t.Errorf("%+v cut to %d bytes is read", h, n)
			}
		}
	}
}

func TestHostileBatchHeads(t *testing.T) {
	d := codec.NewDecoder(AppendBatchHead(nil, BatchHead{Count: 1 << 30}))
	if _, err := DecodeBatchHead(&d); !errors.Is(err, codec.ErrTruncated) {
		t.Errorf("2^30 commands in no bytes: %v", err)
	}
	d.Reset([]byte{0x94, 2, 0, 0, 0})
	if _, err := DecodeBatchHead(&d); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
	for _, b := range [][]byte{{0x93, 1, 0, 0}, {0x94, 1, 0, 0xff, 0}, {0x94, 1, 0, 0, 0xff}, {0x94, 0xa0, 0, 0, 0},
		{0x94, 1, 0, 0, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		d.Reset(b)
		if h, err := DecodeBatchHead(&d); err == nil {
			t.Errorf("%x: %+v", b, h)
		}
	}
}

func TestResultsRoundTrip(t *testing.T) {
	value := codec.AppendString(nil, "refused")
	for _, c := range []struct {
		name    string
		encoded []byte
		want    Result
	}{
		{"ok", AppendOK(nil, 7, twoArgs), Result{Index: 7, Values: twoArgs}},
		{"ok without values", AppendOK(nil, 1<<63, nil), Result{Index: 1 << 63, Values: []byte{0x90}}},
		{"ok in two steps", append(AppendOKHead(nil, 7), twoArgs...), Result{Index: 7, Values: twoArgs}},
		{"message", AppendError(nil, 8, CodeScript, "no", "a.lua:3", nil), Result{Index: 8, Code: CodeScript, Message: "no", Traceback: "a.lua:3"}},
		{"value", AppendError(nil, 0, CodeDenied, "", "", value), Result{Code: CodeDenied, Value: value}},
		{"unknown code", AppendError(nil, 9, 255, "new", "", nil), Result{Index: 9, Code: 255, Message: "new"}},
		{"ok with times", timed(AppendOK(nil, 7, twoArgs), Times{}), Result{Index: 7, Values: twoArgs, Times: &Times{}}},
		{"times again", timed(timed(AppendOK(nil, 7, twoArgs), Times{Queue: 9}), Times{1, 2, 3, 4, 5}), Result{Index: 7, Values: twoArgs, Times: &Times{1, 2, 3, 4, 5}}},
		{"message with times", timed(AppendError(nil, 8, CodeScript, "no", "", nil), Times{Apply: 1}), Result{Index: 8, Code: CodeScript, Message: "no", Times: &Times{Apply: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := codec.NewDecoder(c.encoded)
			got, err := DecodeResult(&d)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%+v, %v; want %+v", got, err, c.want)
			}
			if err := d.End(); err != nil {
				t.Error(err)
			}
			for n := range c.encoded {
				cut := codec.NewDecoder(c.encoded[:n])
				if r, err := DecodeResult(&cut); err == nil {
					t.Errorf("cut to %d bytes: %+v", n, r)
				}
			}
		})
	}
}

func timed(result []byte, t Times) []byte {
	b, err := AppendTimed(nil, result, t)
	if err != nil {
		panic(err)
	}
	return b
}

func TestExplanationRoundTrips(t *testing.T) {
	for _, e := range []Explanation{
		{Result: AppendOK(nil, 7, twoArgs)},
		{
			Result: AppendError(nil, 7, CodeScript, "no", "", nil), Clock: -1, Steps: Charge{1, 2}, Bytes: Charge{3, 4}, LeftOut: 5, Cancelled: 6,
			Changes: []Changed{{Path: twoArgs, Old: Seen{Value: []byte{1}}, New: Seen{TooLarge: true}}, {Path: twoArgs, New: Seen{Value: twoArgs}}},
			Events:  []Emitted{{"a", "b", twoArgs}},
			Timers:  []TimerSet{{1, "a", "b", twoArgs, 9}},
		},
	} {
		b := AppendExplanation(nil, &e)
		d := codec.NewDecoder(b)
		got, err := DecodeExplanation(&d)
		if err != nil || d.End() != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%+v, %v; want %+v", got, err, e)
		}
		for n := range b {
			cut := codec.NewDecoder(b[:n])
			if got, err := DecodeExplanation(&cut); err == nil {
				t.Errorf("cut to %d bytes: %+v", n, got)
			}
		}
	}
}

func TestHostileResults(t *testing.T) {
	for name, b := range map[string][]byte{
		"code 256":        {0x93, 0, 0xcd, 1, 0, 0x90},
		"values no array": {0x93, 0, 0, 0xa0},
		"error no array":  {0x93, 0, 1, 0xa0},
		"error of two":    {0x93, 0, 1, 0x92, 0xa0, 0xa0},
		"two fields":      {0x92, 0, 0},
		"five fields":     {0x95, 0, 0, 0x90, 0x95, 0, 0, 0, 0, 0, 0},
		"times of four":   {0x94, 0, 0, 0x90, 0x94, 0, 0, 0, 0},
		"times for ever":  {0x94, 0, 0, 0x90, 0x95, 0, 0, 0, 0, 0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0},
		"negative index":  {0x93, 0xff, 0, 0x90},
		"extension value": {0x93, 0, 1, 0x93, 0xa0, 0xa0, 0xd4, 1, 0},
		"deep values":     append([]byte{0x93, 0, 0}, append(bytes.Repeat([]byte{0x91}, 1000), 0xc0)...),
	} {
		d := codec.NewDecoder(b)
		if r, err := DecodeResult(&d); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestResultAsError(t *testing.T) {
	if err := (Result{Index: 3}).Err(); err != nil {
		t.Error(err)
	}
	err := (Result{Index: 3, Code: CodeNotFound, Message: "no object x", Traceback: "t", Value: []byte{1}}).Err()
	var e *Error
	if !errors.As(err, &e) || !reflect.DeepEqual(*e, Error{CodeNotFound, "no object x", "t", []byte{1}, 3}) {
		t.Errorf("%#v", err)
	}
	if got := err.Error(); got != "not_found: no object x" {
		t.Errorf("%q", got)
	}
}

// The names are compared by scripts: they must not change.
func TestCodeNames(t *testing.T) {
	want := "ok script budget not_found bad_argument overloaded no_leader timeout denied diverged closed session happened code_13"
	var got []string
	for c := CodeOK; c <= CodeHappened+1; c++ {
		got = append(got, c.String())
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
	for k, want := range []string{"unknown", "replicated", "query", "local"} {
		if got := MethodKind(k).String(); got != want {
			t.Errorf("method kind %d: %s, want %s", k, got, want)
		}
	}
}

var description = Description{
	Objects: []Object{
		{Name: "counter", Version: 2, Script: "counter.lua", Doc: "A counter.\nOf all.", Methods: []Method{
			{Name: "get", Kind: QueryOnly, Line: 12},
			{Name: "inc", Kind: Replicated, Params: []string{"by", "..."}, Doc: "Adds.", Line: 7},
			{Name: "watch", Kind: Local, Line: -1},
		}},
		{Name: "hits", Prototype: "counter", Version: 1},
	},
	Scripts: []Script{{"counter.lua", "local x = 1\x00"}, {"empty.lua", ""}},
}

func TestDescriptionRoundTrips(t *testing.T) {
	for _, want := range []Description{description, {}} {
		b := AppendDescription(nil, want)
		d := codec.NewDecoder(b)
		got, err := DecodeDescription(&d)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		if err := d.End(); err != nil {
			t.Error(err)
		}
		for n := range b {
			cut := codec.NewDecoder(b[:n])
			if _, err := DecodeDescription(&cut); err == nil {
				t.Errorf("cut to %d of %d bytes is read", n, len(b))
			}
		}
	}
}

// Bytes that were changed at random give an error or a value, no panic, and no
// memory beyond what they hold.
func TestFlippedBytes(t *testing.T) {
	whole := [][]byte{AppendDescription(nil, description), AppendDeploy(nil, 1, 2, description.Scripts),
		AppendError(nil, 1, CodeScript, "m", "t", twoArgs), AppendOK(nil, 1, twoArgs)}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		b := slices.Clone(whole[r.IntN(len(whole))])
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		d := codec.NewDecoder(b)
		_, _ = DecodeDescription(&d)
		d.Reset(b)
		if _, err := DecodeHead(&d); err == nil {
			_, _ = DecodeScripts(&d)
		}
		d.Reset(b)
		_, _ = DecodeResult(&d)
		d.Reset(b)
		_, _ = DecodeBatchHead(&d)
	}
}

// Whatever the bytes, a result that is read and written again is the same.
func FuzzDecodeResult(f *testing.F) {
	f.Add(AppendOK(nil, 7, twoArgs))
	f.Add(AppendOK(nil, 0, nil))
	f.Add(AppendError(nil, 8, CodeScript, "no", "a.lua:3", twoArgs))
	f.Add(AppendError(nil, 8, CodeClosed, "", "", nil))
	f.Add([]byte{0x93, 0, 0xcd, 1, 0, 0x90})
	f.Add([]byte{0x93, 0, 1, 0x93, 0xdb, 0xff, 0xff, 0xff, 0xff, 0xa0, 0xc0})
	f.Add([]byte{0x93, 0, 1, 0x93, 0xc4, 1, 'm', 0xa0, 0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := codec.NewDecoder(b)
		r, err := DecodeResult(&d)
		if err != nil {
			return
		}
		again := AppendOK(nil, r.Index, r.Values)
		if r.Code != CodeOK {
			again = AppendError(nil, r.Index, r.Code, r.Message, r.Traceback, r.Value)
		}
		d.Reset(again)
		r2, err := DecodeResult(&d)
		if err != nil || d.Left() != 0 || !reflect.DeepEqual(r, r2) {
			t.Fatalf("%+v became %+v, %v", r, r2, err)
		}
	})
}
