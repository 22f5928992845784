package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/scripts"
)

func newScripts() *cobra.Command {
	var library bool
	cmd := &cobra.Command{
		Use:     "scripts",
		Short:   "List the deployed scripts and their objects",
		Example: "  syncsh scripts\n  syncsh scripts --json\n  syncsh scripts --library",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&library, "library", false, "list the objects that can be deployed by name instead; asks no cluster")
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if library {
			return listLibrary(f.json)
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			d, err := shell.Describe(ctx, c, f.mode())
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(shell.ScriptList(&d))
			}
			shell.WriteScripts(os.Stdout, &d)
			return nil
		})
	}
	return cmd
}

// listLibrary shows the scripts of the library, each with the first sentence of
// its documentation.
func listLibrary(json bool) error {
	type entry struct {
		Name string `json:"name"`
		Doc  string `json:"doc"`
	}
	var list []entry
	for _, s := range scripts.All() {
		list = append(list, entry{strings.TrimSuffix(s.Name, ".lua"), firstSentence(s.Source)})
	}
	if json {
		return printJSON(list)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tWHAT IT IS")
	for _, e := range list {
		fmt.Fprintf(w, "%s\t%s\n", e.Name, e.Doc)
	}
	return w.Flush()
}

// firstSentence is that of the comment which a script begins with.
func firstSentence(source string) string {
	var words []string
	for line := range strings.Lines(source) {
		text, ok := strings.CutPrefix(line, "---")
		if !ok {
			break
		}
		words = append(words, strings.Fields(text)...)
	}
	text := strings.Join(words, " ")
	if i := strings.Index(text, "."); i >= 0 {
		return text[:i]
	}
	return text
}
