package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// logEntry is an entry of the log as `syncsh log cat --json` prints it.
type logEntry struct {
	Index     uint64       `json:"index"`
	First     uint64       `json:"first"`
	Term      uint64       `json:"term"`
	Kind      string       `json:"kind"`               // noop, batch, config
	Committed bool         `json:"committed"`          // known to be, from the hard state
	Clock     int64        `json:"clock_ms,omitempty"` // the leader's
	Config    *config      `json:"config,omitempty"`   // of a config
	Commands  []logCommand `json:"commands,omitempty"` // of a batch
	Err       string       `json:"error,omitempty"`    // why the entry can't be read
	clock     time.Time
}

type logCommand struct {
	Index uint64 `json:"index"`
	shell.LogCommand
}

// config is a configuration as the commands print it.
type config struct {
	Members  []member `json:"members"`
	Outgoing []string `json:"outgoing,omitempty"`
	Removed  []string `json:"removed,omitempty"`
}

type member struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	Addr string `json:"addr"`
	Role string `json:"role"`
}

func idText(id raft.ID) string { return fmt.Sprintf("%016x", uint64(id)) }

func idTexts(ids []raft.ID) (out []string) {
	for _, id := range ids {
		out = append(out, idText(id))
	}
	return out
}

func configOf(c raft.Configuration) *config {
	out := &config{Members: []member{}, Outgoing: idTexts(c.Outgoing), Removed: idTexts(c.Removed)}
	for _, m := range c.Members {
		role := map[raft.Role]string{raft.Voter: "voter", raft.Learner: "learner", raft.Observer: "observer"}[m.Role]
		out.Members = append(out.Members, member{m.Name, idText(m.ID), m.Addr, role})
	}
	return out
}

// decodeEntry reads an entry of the log.
func decodeEntry(e raft.Entry, commit raft.Index) logEntry {
	out := logEntry{Index: uint64(e.Index), First: uint64(e.First()), Term: uint64(e.Term), Committed: e.Index <= commit}
	var err error
	switch e.Kind {
	case raft.EntryNoop:
		out.Kind = "noop"
	case raft.EntryConfig:
		out.Kind = "config"
		var c raft.Configuration
		if c, err = raft.DecodeConfiguration(e.Data); err == nil {
			out.Config = configOf(c)
		}
	case raft.EntryBatch:
		out.Kind = "batch"
		err = out.decodeBatch(e)
	default:
		err = fmt.Errorf("entry of kind %d", e.Kind)
	}
	if err != nil {
		out.Err = err.Error()
	}
	return out
}

func (l *logEntry) decodeBatch(e raft.Entry) error {
	d := codec.NewDecoder(e.Data)
	head, err := command.DecodeBatchHead(&d)
	if err != nil {
		return err
	}
	l.Clock, l.clock = head.Clock, time.UnixMilli(head.Clock).UTC()
	if head.Count != int(e.Span) {
		return fmt.Errorf("batch of %d commands in an entry of %d", head.Count, e.Span)
	}
	for i := range head.Count {
		b, err := d.Bytes()
		if err != nil {
			return err
		}
		index := l.First + uint64(i)
		c, err := shell.DecodeLogCommand(b)
		if err != nil {
			return fmt.Errorf("command at index %d: %w", index, err)
		}
		l.Commands = append(l.Commands, logCommand{index, c})
	}
	return d.End()
}

// write prints an entry for people: a line, and one for each command.
func (l *logEntry) write(w io.Writer) {
	mark := ""
	if !l.Committed {
		mark = "  not known to be committed"
	}
	switch {
	case l.Err != "":
		fmt.Fprintf(w, "%d  term %d  %s: can't be read: %s\n", l.Index, l.Term, l.Kind, l.Err)
	case l.Config != nil:
		fmt.Fprintf(w, "%d  term %d  config%s\n", l.Index, l.Term, mark)
		for _, m := range l.Config.Members {
			fmt.Fprintf(w, "    %s %s %s %s\n", m.Role, m.Name, m.ID, m.Addr)
		}
		for _, id := range l.Config.Outgoing {
			fmt.Fprintf(w, "    outgoing %s\n", id)
		}
	case l.Kind == "batch":
		for _, c := range l.Commands {
			session := ""
			if c.Session != 0 {
				session = fmt.Sprintf("  session %d/%d", c.Session, c.Serial)
			}
			fmt.Fprintf(w, "%d  term %d  %s  %s%s%s\n", c.Index, l.Term, l.clock.Format("2006-01-02T15:04:05.000Z"), c.Text, session, mark)
		}
	default:
		fmt.Fprintf(w, "%d  term %d  %s%s\n", l.Index, l.Term, l.Kind, mark)
	}
}

// logRange is which part of the log is wanted.
type logRange struct {
	from, to uint64
	json     bool
}

// printLog prints the entries of a data directory: with --json one array.
func printLog(w io.Writer, c *persist.Contents, r logRange) error {
	if r.to > 0 && r.from > r.to {
		return &shell.UsageError{Text: fmt.Sprintf("--from %d is behind --to %d", r.from, r.to)}
	}
	if r.json {
		return jsonArray(w, func(add func(any) error) error {
			return r.entries(c, func(l *logEntry) error { return add(l) })
		})
	}
	if len(c.Entries) == 0 && c.Snapshot != nil {
		fmt.Fprintf(os.Stderr, "syncsh: no entries behind the newest snapshot, which is at index %d\n", c.Snapshot.Index)
	}
	found := false
	err := r.entries(c, func(l *logEntry) error {
		found = true
		l.write(w)
		return nil
	})
	if n := len(c.Entries); n > 0 && !found {
		fmt.Fprintf(os.Stderr, "syncsh: no entries there: the log has %d to %d\n", c.Entries[0].First(), c.Entries[n-1].Index)
	}
	return err
}

// entries visits the entries in the range.
func (r logRange) entries(c *persist.Contents, visit func(*logEntry) error) error {
	for _, e := range c.Entries {
		if uint64(e.Index) < r.from || r.to > 0 && uint64(e.First()) > r.to {
			continue
		}
		l := decodeEntry(e, c.HardState.Commit)
		if err := visit(&l); err != nil {
			return err
		}
	}
	return nil
}
