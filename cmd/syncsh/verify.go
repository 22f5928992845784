package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// verified is what `syncsh verify --json` prints.
type verified struct {
	OK        bool         `json:"ok"`
	Path      string       `json:"path"`
	Segments  int          `json:"segments"`
	Entries   int          `json:"entries"` // behind the newest snapshot
	Snapshots []stateView  `json:"snapshots"`
	Torn      *tornView    `json:"torn,omitempty"`
	Notes     []string     `json:"notes,omitempty"`
	Damage    []damageView `json:"damage"`
}

// stateView is a state that a snapshot was read to.
type stateView struct {
	File   string `json:"file"`
	Index  uint64 `json:"index"`
	Digest string `json:"digest"`
}

func newVerify() *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "verify PATH",
		Short: "Check a data directory, a snapshot or a backup without changing it",
		Long: `Checks everything that a data directory holds: identity, each record of the log
and how they follow on each other, every entry and command in them, and all
snapshots, each of which is read into memory as a node would. PATH may also be
the file of a snapshot or a backup. Nothing is changed or repaired, and no node
may use the directory meanwhile.

Exits with 0 if all is well, with 1 and a line 'damaged: FILE@OFFSET: why' for
each damage otherwise. A write that a crash left unfinished at the end of the
log is no damage: the next start cuts it off. 'syncsh status' shows the digest of
a running node to compare with.`,
		Example: `  syncsh verify ./n1
  syncsh verify backup.snap --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			bar := newBar(json)
			defer bar.Clear()
			v, err := verifyPath(args[0], checkFS(bar, args[0]))
			bar.Clear()
			if err != nil {
				return err
			}
			if json {
				err = printJSON(v)
			} else {
				v.print()
			}
			if err == nil && !v.OK {
				err = &shell.ExitError{Code: shell.ExitScript}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}

// verifyPath reads a file through fs, nil for that of the system.
func verifyPath(path string, fs persist.FS) (*verified, error) {
	v := &verified{Path: path, Snapshots: []stateView{}, Damage: []damageView{}}
	if isFile(path) {
		r, err := persist.OpenSnapshotFile(path, fs)
		if err == nil {
			meta := r.Meta()
			r.Close() //nolint:errcheck // only read
			if _, err = persist.CheckSnapshotFile(path, fs); err == nil {
				err = v.state(path, meta, func() (*persist.SnapshotReader, error) { return persist.OpenSnapshotFile(path, fs) })
			}
		}
		if err := v.found(err); err != nil {
			return nil, err
		}
		v.OK = len(v.Damage) == 0
		return v, nil
	}
	c, err := lookInto(path, persist.InspectOptions{Deep: true, FS: fs})
	if err != nil {
		return nil, err
	}
	v.Segments, v.Entries, v.Notes = len(c.Segments), len(c.Entries), c.Notes
	if t := c.Torn; t != nil {
		v.Torn = &tornView{t.File, t.Offset, t.Bytes}
	}
	for _, d := range c.Damage {
		v.Damage = append(v.Damage, damageOf(d))
	}
	for _, s := range c.Snapshots {
		if s.Err != nil {
			continue
		}
		err := v.state(s.Name, s.Meta, func() (*persist.SnapshotReader, error) { return c.OpenSnapshot(s.Meta) })
		if err := v.found(err); err != nil {
			return nil, err
		}
	}
	for _, e := range c.Entries {
		if l := decodeEntry(e, 0); l.Err != "" {
			v.Damage = append(v.Damage, damageView{Text: fmt.Sprintf("log entry %d of term %d can't be read: %s", l.Index, l.Term, l.Err)})
		}
	}
	v.OK = len(v.Damage) == 0
	return v, nil
}

// found adds what is wrong with the data; other errors are returned.
func (v *verified) found(err error) error {
	for _, wrong := range []error{persist.ErrDamage, persist.ErrFormat, luafsm.ErrBadDump} {
		if errors.Is(err, wrong) {
			v.Damage = append(v.Damage, damageOf(err))
			return nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &shell.UsageError{Text: err.Error()}
	}
	return err
}

// state reads a snapshot into a machine.
func (v *verified) state(file string, meta raft.SnapshotMeta, open func() (*persist.SnapshotReader, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	m, err := luafsm.Restore(r, luafsm.Options{})
	switch {
	case errors.Is(err, persist.ErrDamage):
		return err
	case err != nil:
		return &persist.DamageError{File: file, Reason: err.Error()}
	case m.Index() != meta.Index:
		return &persist.DamageError{File: file, Reason: fmt.Sprintf("snapshot of index %d holds a state of index %d", meta.Index, m.Index())}
	}
	v.Snapshots = append(v.Snapshots, stateView{File: file, Index: uint64(meta.Index), Digest: m.Digest().String()})
	return nil
}

// print writes what was found for people.
func (v *verified) print() {
	for _, d := range v.Damage {
		fmt.Printf("damaged: %s\n", d.Text)
	}
	if v.Torn != nil {
		fmt.Printf("unfinished write at %s@%d, %d bytes: the next start cuts it off; %s\n", v.Torn.File, v.Torn.Offset, v.Torn.Bytes, persist.TornMeaning)
	}
	for _, n := range v.Notes {
		fmt.Printf("note: %s\n", n)
	}
	for _, s := range v.Snapshots {
		fmt.Printf("%s: state after index %d, digest %s\n", s.File, s.Index, s.Digest)
	}
	switch {
	case !v.OK:
		fmt.Printf("%s: %d damaged\n", v.Path, len(v.Damage))
	case v.Segments > 0:
		fmt.Printf("%s: ok, %d segments, %d entries, %d snapshots\n", v.Path, v.Segments, v.Entries, len(v.Snapshots))
	default:
		fmt.Printf("%s: ok\n", v.Path)
	}
}
