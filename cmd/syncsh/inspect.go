package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

const besideNode = `Beside a running node it only reads, and says so: what the node writes at the
same time may be missing or look unfinished. Nothing is ever changed.`

func newInspect() *cobra.Command {
	var log, records bool
	var r logRange
	cmd := &cobra.Command{
		Use:   "inspect PATH",
		Short: "Show what a data directory, a snapshot or a backup holds",
		Long: `Shows what a data directory holds: whose it is, hard state, log segments,
snapshots, and what is unfinished or damaged. --records shows each record of the
log with its place in the files, --log the entries as calls. PATH may also be
the file of a snapshot or a backup.

` + besideNode + `

Exits with 1 if it finds damage. It reads the log, and the file of a snapshot or
a backup, to the end; of the snapshots in a directory it reads the heads:
'syncsh verify' reads those to their end as well, and what they hold.`,
		Example: `  syncsh inspect ./n1
  syncsh inspect ./n1 --log --from 1000 --to 1010
  syncsh inspect ./n1 --json
  syncsh inspect backup.snap`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ranged := cmd.Flags().Changed("from") || cmd.Flags().Changed("to")
			switch {
			case log && records:
				return &shell.UsageError{Text: "--log and --records exclude each other"}
			case isFile(args[0]) && (log || records || ranged):
				return &shell.UsageError{Text: args[0] + " is a file and has no log: --log, --records, --from and --to go with a data directory"}
			case ranged && !log:
				return &shell.UsageError{Text: "--from and --to go with --log"}
			}
			if isFile(args[0]) {
				return inspectFile(args[0], r.json)
			}
			c, err := lookInto(args[0], persist.InspectOptions{Beside: true})
			if err != nil {
				return err
			}
			return buffered(func(w io.Writer) error {
				switch {
				case log:
					return printLog(w, c, r)
				case records:
					return printRecords(w, c, r.json)
				case r.json:
					return writeJSON(w, summaryOf(c))
				}
				summaryOf(c).write(w)
				return nil
			}, c, log || records)
		},
	}
	addRange(cmd, &r)
	cmd.Flags().BoolVar(&log, "log", false, "show the entries, as 'syncsh log cat' does")
	cmd.Flags().BoolVar(&records, "records", false, "show each record of the log")
	return cmd
}

func newLog() *cobra.Command {
	var r logRange
	cat := &cobra.Command{
		Use:   "cat PATH",
		Short: "Print the log of a data directory as calls",
		Long: `Prints the entries of the log of a data directory that follow on its newest
snapshot: index, term, the leader's clock and the call with its arguments.

` + besideNode,
		Example: `  syncsh log cat ./n1
  syncsh log cat ./n1 --from 1000 --to 1010 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := lookInto(args[0], persist.InspectOptions{Beside: true})
			if err != nil {
				return err
			}
			return buffered(func(w io.Writer) error { return printLog(w, c, r) }, c, true)
		},
	}
	addRange(cat, &r)
	cmd := &cobra.Command{
		Use:     "log",
		Short:   "Read the log of a data directory",
		Example: "  syncsh log cat ./n1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &shell.UsageError{Text: "usage: syncsh log cat PATH"}
		},
	}
	cmd.AddCommand(cat)
	return cmd
}

func addRange(cmd *cobra.Command, r *logRange) {
	cmd.Flags().Uint64Var(&r.from, "from", 0, "first index to show")
	cmd.Flags().Uint64Var(&r.to, "to", 0, "last index to show (default: the end)")
	cmd.Flags().BoolVar(&r.json, "json", false, "print JSON")
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// lookInto reads a data directory without changing it.
func lookInto(path string, o persist.InspectOptions) (*persist.Contents, error) {
	if isFile(path) {
		return nil, &shell.UsageError{Text: path + " is a file: give the data directory that it is in"}
	}
	c, err := persist.Inspect(path, o)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, &shell.UsageError{Text: err.Error()}
	case errors.Is(err, persist.ErrLocked):
		return nil, &shell.UsageError{Text: err.Error() + "; stop the node first, or use 'syncsh inspect', which reads beside it"}
	case err != nil:
		return nil, startError(err)
	case c.Identity.NodeID == 0 && len(c.Damage) == 0:
		return nil, &shell.UsageError{Text: path + " is not a data directory"}
	}
	return c, nil
}

// buffered prints, and makes damage the command's exit code. When what is
// printed does not show the damage it goes to standard error.
func buffered(print func(io.Writer) error, c *persist.Contents, tell bool) error {
	w := bufio.NewWriter(os.Stdout)
	err := print(w)
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	if err != nil || len(c.Damage) == 0 {
		return err
	}
	if tell {
		for _, d := range c.Damage {
			fmt.Fprintf(os.Stderr, "syncsh: damaged: %s\n", oneLine(d))
		}
	}
	return &shell.ExitError{Code: shell.ExitScript}
}

// writeJSON writes one JSON value on one line.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// jsonArray writes the values that each hands to it as one array, one a line.
func jsonArray(w io.Writer, each func(add func(v any) error) error) error {
	sep := "["
	err := each(func(v any) error {
		if _, err := io.WriteString(w, sep); err != nil {
			return err
		}
		sep = ","
		return writeJSON(w, v)
	})
	if err != nil {
		return err
	}
	if sep == "[" {
		_, err = io.WriteString(w, "[]\n")
	} else {
		_, err = io.WriteString(w, "]\n")
	}
	return err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// summary is a data directory as `syncsh inspect --json` prints it.
type summary struct {
	Path      string         `json:"path"`
	InUse     bool           `json:"in_use"` // by a running node
	Identity  identityView   `json:"identity"`
	HardState *hardStateView `json:"hard_state"` // null: unknown
	Log       logView        `json:"log"`
	Segments  []segmentView  `json:"segments"`
	Snapshots []snapshotView `json:"snapshots"`
	Config    *config        `json:"config"`
	Torn      *tornView      `json:"torn"`
	Damage    []damageView   `json:"damage"`
	Notes     []string       `json:"notes"`
}

type identityView struct {
	Node    string `json:"node"`
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	Format  uint32 `json:"format"`
}

type hardStateView struct {
	Term   uint64 `json:"term"`
	Vote   string `json:"vote"` // empty for none
	Commit uint64 `json:"commit"`
	// AtLeast says that these are the last that could be read, in front of a
	// damage: term and commit are at least these, and the vote may be another.
	AtLeast bool `json:"at_least,omitempty"`
}

func (h *hardStateView) String() string {
	if h == nil {
		return "unknown"
	}
	vote := h.Vote
	if vote == "" {
		vote = "none"
	}
	if h.AtLeast {
		return fmt.Sprintf("term at least %d, vote unknown, commit at least %d (in front of the damage: term %d, vote %s)", h.Term, h.Commit, h.Term, vote)
	}
	return fmt.Sprintf("term %d, vote %s, commit %d", h.Term, vote, h.Commit)
}

func hardStateOf(hs raft.HardState) *hardStateView {
	v := &hardStateView{Term: uint64(hs.Term), Commit: uint64(hs.Commit)}
	if hs.Vote != 0 {
		v.Vote = idText(hs.Vote)
	}
	return v
}

// logView is the part of the log that follows on the newest snapshot.
type logView struct {
	First   uint64 `json:"first"` // 0: no entries
	Last    uint64 `json:"last"`  // the end, also without entries
	Entries int    `json:"entries"`
	// AtLeast says that there may be more, behind a damage or in what is missing.
	AtLeast bool `json:"at_least,omitempty"`
}

func (l *logView) String() string {
	switch {
	case l.Entries > 0 && l.AtLeast:
		return fmt.Sprintf("%d to at least %d in %d readable entries behind the newest snapshot", l.First, l.Last, l.Entries)
	case l.Entries > 0:
		return fmt.Sprintf("%d to %d in %d entries behind the newest snapshot", l.First, l.Last, l.Entries)
	case l.AtLeast && l.Last == 0:
		return "unknown"
	case l.AtLeast:
		return fmt.Sprintf("no readable entries, ends at least at %d", l.Last)
	}
	return fmt.Sprintf("no entries, ends at %d", l.Last)
}

type segmentView struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Used    int64  `json:"used"`
	Records int    `json:"records"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Synced  bool   `json:"synced_before"` // all before it was synced
}

type snapshotView struct {
	File   string  `json:"file"`
	Index  uint64  `json:"index"`
	Term   uint64  `json:"term"`
	Bytes  uint64  `json:"bytes"`
	Config *config `json:"config"`
	Damage string  `json:"damage,omitempty"`
}

type tornView struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

type damageView struct {
	File   string `json:"file"` // empty when it concerns more than one
	Offset int64  `json:"offset"`
	Text   string `json:"text"`
}

func damageOf(err error) damageView {
	v := damageView{Text: oneLine(err)}
	var d *persist.DamageError
	if errors.As(err, &d) {
		v.File, v.Offset = d.File, d.Offset
	}
	return v
}

func snapshotOf(name string, m raft.SnapshotMeta, err error) snapshotView {
	v := snapshotView{File: name, Index: uint64(m.Index), Term: uint64(m.Term), Bytes: m.Bytes, Config: configOf(m.Config)}
	if err != nil {
		v.Damage = oneLine(err)
	}
	return v
}

func summaryOf(c *persist.Contents) *summary {
	id, hs := c.Identity, c.HardState
	s := &summary{
		Path: c.Path, InUse: c.InUse, Config: configOf(c.Config()),
		Identity: identityView{Node: idText(id.NodeID), Name: id.Name, Cluster: id.Cluster, Format: id.FormatVersion},
		Log:      logView{Last: uint64(c.LastIndex()), Entries: len(c.Entries), AtLeast: c.Read != persist.ReadAll},
		Segments: []segmentView{}, Snapshots: []snapshotView{}, Damage: []damageView{}, Notes: append([]string{}, c.Notes...),
	}
	if c.Read != persist.ReadNothing {
		s.HardState = hardStateOf(hs)
		s.HardState.AtLeast = c.Read == persist.ReadPart
	}
	if len(c.Entries) > 0 {
		s.Log.First = uint64(c.Entries[0].First())
	}
	for _, g := range c.Segments {
		s.Segments = append(s.Segments, segmentView{g.Name, g.Size, g.End, g.Records, uint64(g.First), uint64(g.Last), g.Synced})
	}
	for _, n := range c.Snapshots {
		s.Snapshots = append(s.Snapshots, snapshotOf(n.Name, n.Meta, n.Err))
	}
	if t := c.Torn; t != nil {
		s.Torn = &tornView{t.File, t.Offset, t.Bytes}
	}
	for _, d := range c.Damage {
		s.Damage = append(s.Damage, damageOf(d))
	}
	return s
}

// write prints the summary for people.
func (s *summary) write(w io.Writer) {
	fmt.Fprintf(w, "data directory %s\n", s.Path)
	if s.InUse {
		fmt.Fprintln(w, "in use by a running node: its last writes may be missing here or look unfinished")
	}
	cluster := s.Identity.Cluster
	if cluster == "" {
		cluster = "none yet"
	}
	fmt.Fprintf(w, "identity: node %s, name %s, cluster %s, format %d\n", s.Identity.Node, s.Identity.Name, cluster, s.Identity.Format)
	fmt.Fprintf(w, "hard state: %s\n", s.HardState)
	fmt.Fprintf(w, "log: %s\n", &s.Log)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Segments) > 0 {
		fmt.Fprintln(t, "\nSEGMENT\tBYTES\tUSED\tRECORDS\tFIRST\tLAST")
		for _, g := range s.Segments {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\n", g.File, g.Bytes, g.Used, g.Records, g.First, g.Last)
		}
	}
	if len(s.Snapshots) > 0 {
		fmt.Fprintln(t, "\nSNAPSHOT\tINDEX\tTERM\tBYTES")
		for _, n := range s.Snapshots {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", n.File, n.Index, n.Term, n.Bytes)
		}
	}
	s.Config.write(t)
	t.Flush() //nolint:errcheck // the writer below keeps its error
	if s.Torn != nil {
		fmt.Fprintf(w, "\nunfinished write at %s@%d, %d bytes: the next start cuts it off\n", s.Torn.File, s.Torn.Offset, s.Torn.Bytes)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	for _, d := range s.Damage {
		fmt.Fprintf(w, "damaged: %s\n", d.Text)
	}
}

func (c *config) write(w io.Writer) {
	if len(c.Members) == 0 {
		return
	}
	fmt.Fprintln(w, "\nMEMBER\tID\tADDRESS\tROLE")
	for _, m := range c.Members {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.ID, m.Addr, m.Role)
	}
}

// inspectFile shows the head of a snapshot's file, and what is damaged in it.
func inspectFile(path string, asJSON bool) error {
	r, err := persist.OpenSnapshotFile(path, nil)
	if errors.Is(err, persist.ErrDamage) {
		return fmt.Errorf("%w; give a data directory, or the file of a snapshot or a backup", err)
	}
	if err != nil {
		return err
	}
	meta := r.Meta()
	r.Close() //nolint:errcheck // only read
	_, err = persist.CheckSnapshotFile(path, nil)
	if err != nil && !errors.Is(err, persist.ErrDamage) {
		return err
	}
	v := snapshotOf(path, meta, err)
	if asJSON {
		if err := printJSON(v); err != nil {
			return err
		}
	} else {
		fmt.Printf("snapshot %s: the state after index %d, term %d, %d bytes\n", path, v.Index, v.Term, v.Bytes)
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		v.Config.write(t)
		t.Flush() //nolint:errcheck // as the lines before
		if v.Damage != "" {
			fmt.Printf("damaged: %s\n", v.Damage)
		}
	}
	if v.Damage != "" {
		return &shell.ExitError{Code: shell.ExitScript}
	}
	return nil
}
