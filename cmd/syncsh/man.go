//go:build man

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// addMan adds the command that writes the man pages: only `make man` builds it, as
// the generator and what it needs would be in everybody's binary.
func addMan(root *cobra.Command) {
	root.AddCommand(&cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			root.DisableAutoGenTag = true
			for _, c := range root.Commands() {
				if f := c.Flags().Lookup("name"); f != nil {
					f.DefValue = "the host's" // not that of the machine that writes the page
				}
			}
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "syncsh " + version, Manual: "syncsh"}, args[0])
		},
	})
}
