package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/syncsh/syncsh/persist"
)

// record is a record of the log as `syncsh inspect --records --json` prints it.
type record struct {
	Segment string     `json:"segment"`
	Offset  int64      `json:"offset"`
	Bytes   int64      `json:"bytes"`
	Synced  int64      `json:"synced"` // the segment was synced up to here before
	Items   []itemView `json:"items"`
}

type itemView struct {
	Kind      string         `json:"kind"` // head, hardstate, reset, truncate, entry, seal
	Index     uint64         `json:"index,omitempty"`
	First     uint64         `json:"first,omitempty"`
	Term      uint64         `json:"term,omitempty"`
	Bytes     int            `json:"bytes,omitempty"`
	HardState *hardStateView `json:"hard_state,omitempty"`
}

func recordOf(r *persist.Record) record {
	out := record{Segment: r.Segment, Offset: r.Offset, Bytes: r.Bytes, Synced: r.Synced}
	for _, it := range r.Items {
		v := itemView{Kind: it.Kind, Index: uint64(it.Index)}
		switch it.Kind {
		case "entry":
			v.Index, v.First, v.Term, v.Bytes = uint64(it.Entry.Index), uint64(it.Entry.First()), uint64(it.Entry.Term), len(it.Entry.Data)
		case "hardstate":
			v.HardState = hardStateOf(it.HardState)
		}
		out.Items = append(out.Items, v)
	}
	return out
}

func (r *record) write(w io.Writer) {
	parts := make([]string, len(r.Items))
	for i, it := range r.Items {
		switch {
		case it.Kind == "entry":
			parts[i] = fmt.Sprintf("entry %d-%d term %d (%d bytes)", it.First, it.Index, it.Term, it.Bytes)
		case it.HardState != nil:
			parts[i] = "hardstate " + it.HardState.String()
		case it.Kind == "seal":
			parts[i] = fmt.Sprintf("seal, segment %06d follows", it.Index)
		default:
			parts[i] = fmt.Sprintf("%s %d", it.Kind, it.Index)
		}
	}
	fmt.Fprintf(w, "%s@%d  %d bytes, synced to %d  %s\n", r.Segment, r.Offset, r.Bytes, r.Synced, strings.Join(parts, "; "))
}

// printRecords prints all good records of the log: with --json one array.
func printRecords(w io.Writer, c *persist.Contents, asJSON bool) error {
	if asJSON {
		return jsonArray(w, func(add func(any) error) error {
			return c.Records(func(r *persist.Record) error { return add(recordOf(r)) })
		})
	}
	return c.Records(func(r *persist.Record) error {
		rec := recordOf(r)
		rec.write(w)
		return nil
	})
}
