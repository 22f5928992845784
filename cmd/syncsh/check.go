package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
)

func newCheck() *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check scripts without a cluster",
		Long: `Checks scripts for what a deploy would refuse before it runs them: syntax and
the static rules. Prints file:line:col: text for each finding and exits with 1
if there are any. Without a cluster, objects of other scripts are known when
those are named too; deploy knows what is deployed.`,
		Example: `  syncsh check counter.lua
  syncsh check orders.lua kv.lua
  syncsh check --json *.lua`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeScripts,
		RunE: func(_ *cobra.Command, files []string) error {
			given, err := shell.ReadScripts(files)
			if err != nil {
				return err
			}
			findings := luafsm.Check(given)
			if json {
				out := make([]map[string]any, 0, len(findings))
				for _, f := range findings {
					out = append(out, map[string]any{"file": f.File, "line": f.Line, "col": f.Col, "text": f.Text})
				}
				err = printJSON(out)
			} else {
				for _, f := range findings {
					fmt.Println(findingText(f))
				}
			}
			if err == nil && len(findings) > 0 {
				err = &shell.ExitError{Code: shell.ExitScript}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}

func findingText(f luafsm.Finding) string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Text)
}
