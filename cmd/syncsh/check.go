package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/scripts"
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
					fmt.Println(findingText(f) + libraryHint(f))
				}
				clientHint(given, findings)
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

// clientHint says on standard error that a script with findings looks like one
// that is to be run, not deployed.
func clientHint(given []command.Script, findings []luafsm.Finding) {
	for _, s := range given {
		found := slices.ContainsFunc(findings, func(f luafsm.Finding) bool { return f.File == s.Name })
		if found && shell.IsClient(s.Source) {
			fmt.Fprintln(os.Stderr, clientText(s))
		}
	}
}

func clientText(s command.Script) string {
	return s.Name + " defines no object: if it is a client of objects, syncsh run runs it"
}

// libraryHint says what to do about a name that is unknown because the script of
// the library that defines it is not among those checked.
func libraryHint(f luafsm.Finding) string {
	name, ok := strings.CutPrefix(f.Text, "unknown name '")
	name = strings.TrimSuffix(name, "'")
	if _, found := scripts.Get(name + ".lua"); !ok || !found {
		return ""
	}
	return fmt.Sprintf("; if it is the library's, check it too: syncsh check %s %s", name, f.File)
}
