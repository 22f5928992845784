package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// recoverFlags are those of recover.
type recoverFlags struct {
	data  string
	force bool
	yes   bool
	json  bool
}

func newRecover() *cobra.Command {
	var f recoverFlags
	cmd := &cobra.Command{
		Use:   "recover --data DIR --force-new-cluster",
		Short: "Last resort after the majority is lost for ever: a new cluster from one directory",
		Long: `Makes the node of a data directory the only voter of a new cluster, with a new
cluster id and a new node id. It keeps every log entry that the directory has,
committed or not: calls that failed with an unknown outcome, or that were never
acknowledged, may then have happened. Calls that only lost members had are gone,
also if they were acknowledged. So take the directory with the highest log
('syncsh inspect'), and only when no majority of the voters can come back.

It shows what it will do and asks, unless --yes is given. The old files are kept
in a directory below DIR. Damage is refused, unless it is that of a snapshot and
the log goes on from an older one, with which a node would start as well: the
plan then says which one is not used. Interrupted, it goes on when it is
called again. Start every other node with an empty directory afterwards: the
members of the old cluster are refused by the new one.`,
		Example: `  syncsh inspect ./n1
  syncsh recover --data ./n1 --force-new-cluster
  syncsh node --name n1 --data ./n1`,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnv(cmd.Flags(), "data") },
		RunE:    func(*cobra.Command, []string) error { return f.run() },
	}
	cmd.Flags().StringVar(&f.data, "data", "", "data directory")
	cmd.Flags().BoolVar(&f.force, "force-new-cluster", false, "say that this is what you want")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "don't ask")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON; needs --yes")
	return cmd
}

func (f *recoverFlags) run() error {
	switch {
	case f.data == "":
		return &shell.UsageError{Text: "--data is needed: the directory to recover"}
	case !f.force:
		return &shell.UsageError{Text: "recover may lose acknowledged calls and keep others that failed: say --force-new-cluster if no majority can come back"}
	case f.json && !f.yes:
		return &shell.UsageError{Text: "--json does not ask: it needs --yes"}
	}
	bar := newBar(f.json)
	defer bar.Clear()
	begun, err := persist.RecoveryBegun(f.data, nil)
	if err != nil {
		return startError(err)
	}
	var self raft.Member
	total := uint64(0)       // to read; an interrupted recovery is not looked into
	unused := []damageView{} // snapshots that are damaged and passed over
	if !begun {
		// Deep: the plan must not begin with a snapshot that can't be read to its end.
		c, err := lookInto(f.data, persist.InspectOptions{FS: barFS(bar, "look", 0, 1), Deep: true})
		bar.Clear()
		if err != nil {
			return err
		}
		if stops := c.Stops(); len(stops) > 0 {
			return fmt.Errorf("damaged: %w; a recovery needs a directory without damage, or a backup", errors.Join(stops...))
		}
		for _, d := range c.Damage {
			unused = append(unused, damageOf(d))
		}
		if self = recoveredMember(c); c.LastIndex() == 0 {
			return &shell.UsageError{Text: f.data + ": " + persist.ErrNothing.Error()}
		}
		total = recoverBytes(c)
		if !f.json {
			writePlan(os.Stdout, c)
		}
	} else if !f.json {
		fmt.Printf("%s: a recovery was interrupted here; it is carried to its end\n", f.data)
	}
	if !f.yes && !confirmed(os.Stdin) {
		return &shell.UsageError{Text: "not confirmed; nothing was changed"}
	}
	replaced, err := persist.Recover(f.data, self, newCluster(), persist.Options{Sync: true, FS: barFS(bar, "recover", total, 1)})
	bar.Clear()
	if err != nil {
		return startError(err)
	}
	c, err := lookInto(f.data, persist.InspectOptions{})
	if err != nil {
		return err
	}
	id := c.Identity
	if f.json {
		return printJSON(map[string]any{"data": f.data, "cluster": id.Cluster, "node": idText(id.NodeID), "name": id.Name,
			"index": c.LastIndex(), "replaced": replaced, "unused": unused})
	}
	fmt.Printf("new cluster %s, new node %s named %s, its only voter; the log ends at %d\n", id.Cluster, idText(id.NodeID), id.Name, c.LastIndex())
	fmt.Printf("the old files are in %s\n", replaced)
	return nil
}

// recoverBytes is what a recovery reads: it checks all files, each snapshot in two
// passes, and copies the newest snapshot.
func recoverBytes(c *persist.Contents) (total uint64) {
	for _, s := range c.Segments {
		total += uint64(s.Size)
	}
	for _, s := range c.Snapshots {
		total += 2 * s.Meta.Bytes
	}
	if c.Snapshot != nil {
		total += c.Snapshot.Bytes
	}
	return total
}

// recoveredMember is the node of a directory under a new id.
func recoveredMember(c *persist.Contents) raft.Member {
	old, _ := c.Config().Member(c.Identity.NodeID)
	return newMember(c.Identity.Name, old.Addr)
}

// writePlan says what a recovery will do.
func writePlan(w io.Writer, c *persist.Contents) {
	var voters []string
	for _, m := range c.Config().Members {
		if m.Role == raft.Voter {
			voters = append(voters, fmt.Sprintf("%s (%s)", m.Name, idText(m.ID)))
		}
	}
	id, last, commit := c.Identity, c.LastIndex(), c.HardState.Commit
	fmt.Fprintf(w, "%s is the directory of node %s (%s), cluster %s\n", c.Path, id.Name, idText(id.NodeID), id.Cluster)
	fmt.Fprintf(w, "voters: %s\n", strings.Join(voters, ", "))
	fmt.Fprintf(w, "the log ends at %d; up to %d it is known to be committed\n", last, commit)
	if c.Torn != nil {
		fmt.Fprintf(w, "an unfinished write at %s@%d will be cut off\n", c.Torn.File, c.Torn.Offset)
	}
	for _, d := range c.Damage {
		fmt.Fprintf(w, "not used, damaged: %s\n", oneLine(d))
	}
	if len(c.Damage) > 0 {
		fmt.Fprintf(w, "the state comes from %s, as it would for a node that starts here\n", stateFrom(c))
	}
	fmt.Fprintf(w, "recover will make this node the only voter of a new cluster, with a new cluster id and a new node id:\n")
	fmt.Fprintf(w, "  - all entries up to %d are kept and count as committed, also those that never were\n", last)
	fmt.Fprintf(w, "  - what only other members have is lost, also if it was acknowledged\n")
	fmt.Fprintf(w, "  - the other members can't come back: they join with empty directories\n")
}

// stateFrom says what the state is made of.
func stateFrom(c *persist.Contents) string {
	if c.Snapshot == nil {
		return "the log, which is there from its beginning"
	}
	return fmt.Sprintf("the snapshot at %d and the log behind it", c.Snapshot.Index)
}

// confirmed asks.
func confirmed(in io.Reader) bool {
	fmt.Fprint(os.Stderr, "Type yes to go on: ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		fmt.Fprintln(os.Stderr)
	}
	return strings.TrimSpace(line) == "yes"
}
