package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/tty"
	"github.com/syncsh/syncsh/persist"
)

func newBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the state of a running cluster into a file",
		Long: `Has the asked node take a dump, while the cluster goes on working, and copies it
into FILE, which must not exist. The backup holds the effect of every call that
was acknowledged before it began; with --stale, also without a leader, what the
asked node has applied. FILE appears under its name once it is whole, on disk
and checked. It is the file of a snapshot: 'syncsh verify FILE' checks it,
'syncsh restore FILE' makes a cluster of it.`,
		Example: `  syncsh backup backup-2026-11-23.snap
  syncsh backup -c 10.0.0.2:7400 --json backup.snap`,
		Args: cobra.ExactArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := os.Lstat(args[0]); !errors.Is(err, os.ErrNotExist) {
			if err == nil {
				err = fmt.Errorf("%s exists already", args[0])
			}
			return &shell.UsageError{Text: err.Error()}
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			info, err := backupTo(ctx, c, args[0], newBar(f.json))
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(map[string]any{"file": args[0], "index": info.Index, "bytes": info.Bytes, "sum": fmt.Sprintf("%x", info.Sum), "node": info.Node})
			}
			fmt.Printf("%s: the state after index %d, %d bytes, from %s\n", args[0], info.Index, info.Bytes, info.Node)
			return nil
		})
	}
	return cmd
}

// backupTo copies a backup to a file next to path, checks it, and gives it its
// name.
func backupTo(ctx context.Context, c *client.Client, path string, bar *tty.Bar) (client.BackupInfo, error) {
	defer bar.Clear()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return client.BackupInfo{}, &shell.UsageError{Text: err.Error()}
	}
	tmp := f.Name()
	defer os.Remove(tmp) //nolint:errcheck // gone when all went well
	info, err := c.BackupTold(ctx, f, func(done, total uint64) {
		if total == 0 {
			bar.Show("backup", -1, "the node takes a dump")
			return
		}
		bar.Bytes("backup", done, total)
	})
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return info, err
	}
	meta, err := persist.CheckSnapshotFile(tmp, nil)
	if err != nil {
		return info, fmt.Errorf("what arrived is no good backup: %w", err)
	}
	if meta.Sum != info.Sum {
		return info, fmt.Errorf("what arrived has the sum %x, the node said %x", meta.Sum, info.Sum)
	}
	// Link and not rename: what has taken the name meanwhile stays.
	if err := os.Link(tmp, path); err != nil {
		return info, err
	}
	return info, persist.OSFS().SyncDir(filepath.Dir(path))
}
