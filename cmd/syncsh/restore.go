package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

func newRestore() *cobra.Command {
	var data, name, addr string
	var json bool
	cmd := &cobra.Command{
		Use:   "restore FILE --data DIR",
		Short: "Make a new cluster from a backup",
		Long: `Makes a data directory from a backup, or from any snapshot's file. DIR must be
empty or not there. It is that of a new cluster, with an id of its own, and of a
new node, its only voter: a restored node is never the old one again, whose
votes and promises a backup does not know. Start it with 'syncsh node' under
the name given here, and let other nodes, with empty directories, join it.

Everything that happened after the backup is not in it. Clients of the old
cluster that are still connected are refused by the new one.`,
		Example: `  syncsh restore backup.snap --data ./n1 --name n1
  syncsh node --name n1 --data ./n1`,
		Args:    cobra.ExactArgs(1),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnv(cmd.Flags(), "data", "name", "addr") },
		RunE: func(_ *cobra.Command, args []string) error {
			if data == "" {
				return &shell.UsageError{Text: "--data is needed: the directory to make"}
			}
			// The directory keeps both, and a node that does not take them can't start on it.
			if err := node.CheckMember(name, addr); err != nil {
				return startError(err)
			}
			bar := newBar(json)
			defer bar.Clear()
			v, err := verifyPath(args[0], barFS(bar, "check", fileSize(args[0]), checkPasses))
			if err != nil {
				return err
			}
			if !isFile(args[0]) {
				return &shell.UsageError{Text: args[0] + " is not a file"}
			}
			if !v.OK {
				return fmt.Errorf("%s is damaged: %s", args[0], v.Damage[0].Text)
			}
			self, cluster := newMember(name, addr), newCluster()
			meta, err := persist.Restore(args[0], data, self, cluster, persist.Options{Sync: true, FS: barFS(bar, "restore", fileSize(args[0]), 1)})
			bar.Clear()
			if errors.Is(err, persist.ErrNotEmpty) {
				err = &shell.UsageError{Text: err.Error() + "; a restore makes a new one"}
			}
			if err != nil {
				return startError(err)
			}
			if json {
				return printJSON(map[string]any{"data": data, "index": meta.Index, "digest": v.Snapshots[0].Digest, "cluster": cluster,
					"node": idText(self.ID), "name": name})
			}
			fmt.Printf("%s: the state after index %d, digest %s\n", data, meta.Index, v.Snapshots[0].Digest)
			fmt.Printf("new cluster %s, new node %s named %s, its only voter\n", cluster, idText(self.ID), name)
			return nil
		},
	}
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	cmd.Flags().StringVar(&data, "data", "", "directory to make")
	cmd.Flags().StringVar(&name, "name", host, "name of the node, as it will be started with")
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:7400", "address of the node, as it will be started with")
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}

func newMember(name, addr string) raft.Member {
	return raft.Member{ID: raft.ID(random64()), Role: raft.Voter, Name: name, Addr: addr}
}

// newCluster draws the id of a cluster.
func newCluster() string { return fmt.Sprintf("%016x%016x", random64(), random64()) }

// random64 draws a number that is not 0.
func random64() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) //nolint:errcheck // never fails
		if v := binary.LittleEndian.Uint64(b[:]); v != 0 {
			return v
		}
	}
}
