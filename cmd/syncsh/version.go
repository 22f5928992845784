package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/luafsm"
)

// version of the build: set by the linker (-X main.version=...), else what the
// module knows.
var version string

func init() {
	if version != "" {
		return
	}
	version = "dev"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
}

func newVersion() *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version, Go's, the architecture and the machine's",
		Example: "  syncsh version\n  syncsh version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if json {
				return printJSON(map[string]any{
					"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "machine": luafsm.MachineVersion,
				})
			}
			fmt.Printf("syncsh %s, %s, %s/%s, machine version %d\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, luafsm.MachineVersion)
			return nil
		},
	}
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}
