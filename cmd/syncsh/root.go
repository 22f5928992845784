package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/scripts"
)

func newRoot() *cobra.Command {
	var data string
	var json bool
	root := &cobra.Command{
		Use:   "syncsh [FILE...]",
		Short: "A shell for replicated objects",
		Long: `A shell for replicated objects: write an object in Lua, and every node of a
cluster holds the same copy of it.

Without a command it opens a REPL on an embedded single node, in memory unless
--data names a directory. The script files given are deployed first; without
any, and with nothing deployed yet, counter, kv and lock are. Instead of a file
the name of an object of the library may be given: syncsh scripts --library lists
them.

Exit codes: 0 done; 1 the script raised an error, or something was refused or
found to be wrong; 2 usage, also a port in use or a data directory that can't be
used; 3 no leader or no node reachable; 4 timeout, outcome unknown; 5 denied; 130
interrupted; 129 and 143 ended by SIGHUP and SIGTERM.`,
		Example: `  syncsh
  syncsh counter.lua --data ./data
  syncsh queue ledger
  echo 'print(counter:inc(5))' | syncsh`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeScripts,
		SilenceUsage:      true,
		SilenceErrors:     true,
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := noSuchCommand(cmd, files); err != nil {
				return err
			}
			given, err := shell.ReadScripts(files)
			if err != nil {
				return err
			}
			var e *shell.Embedded
			err = startUnlocked(cmd.Context(), lockPatience,
				func() (err error) { e, err = shell.StartEmbedded(cmd.Context(), data, version); return err },
				func(error) {}) // if it is in vain the one line that says so is enough
			if err != nil {
				return startError(damageError(err))
			}
			defer e.Close()
			report, err := shell.DeployMissing(cmd.Context(), e.Client, given, scripts.Default())
			if err != nil {
				return err
			}
			where := "in memory"
			if data != "" {
				where = "in " + data
			}
			return shell.RunREPL(cmd.Context(), shell.REPLConfig{
				Node: e.Client, JSON: json, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
				Banner: banner("one node, "+where, given, report),
			})
		},
	}
	root.Flags().StringVar(&data, "data", "", "directory that keeps the state (default: in memory)")
	root.Flags().BoolVar(&json, "json", false, "print results as JSON")
	root.AddCommand(newDev(), newNode(), newREPL(), newRun(), newCall(), newEval(), newWatch(), newDeploy(), newCheck(), newTest(), newScripts(),
		newDrop(), newSettings(), newMemberCommand(), newTransfer(), newStatus(), newTop(), newMembers(), newSnapshot(), newBackup(), newRestore(), newInspect(), newLog(),
		newVerify(), newRecover(), newBench(), newDoctor(), newCompletion(), newVersion())
	addMan(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text := flagError(err)
		// Without a command there is no cluster to name.
		if cmd == root && (strings.Contains(text, "'c' in -c") || strings.Contains(text, "--connect")) {
			text = "a REPL on a running cluster is 'syncsh repl -c ADDRESS'"
		}
		return &shell.UsageError{Text: fmt.Sprintf("%s; see '%s --help'", text, cmd.CommandPath())}
	})
	usageArgs(root)
	root.SetHelpCommand(newHelp(root))
	return root
}

// newHelp is cobra's help command, with an error for what is no command.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Example: "  syncsh help call\n  syncsh help member promote",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				err = noSuchCommand(cmd, rest[:1])
			}
			if err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// usageArgs makes wrong numbers of arguments usage errors, for all commands.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			// That of NoArgs takes any argument for a mistyped subcommand.
			if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
				err = fmt.Errorf("no argument is wanted, '%s' was given", args[0])
			}
			if err != nil {
				return &shell.UsageError{Text: fmt.Sprintf("%v; usage: %s", err, cmd.UseLine())}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		usageArgs(c)
	}
}

// noSuchCommand tells a mistyped command from a file.
func noSuchCommand(cmd *cobra.Command, files []string) error {
	for _, f := range files {
		if _, err := os.Stat(f); err == nil || !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if _, ok := scripts.Get(f + ".lua"); ok {
			continue
		}
		text := fmt.Sprintf("no command or file '%s'", f)
		cmd.SuggestionsMinimumDistance = 2
		if s := cmd.SuggestionsFor(f); len(s) > 0 {
			slices.Sort(s)
			text += fmt.Sprintf("; did you mean '%s'?", s[0])
		}
		return &shell.UsageError{Text: text}
	}
	return nil
}

// banner is what a terminal shows first, in lines of less than 80 columns; report is
// what was deployed.
func banner(what string, given []command.Script, report []string) string {
	if len(given) == 0 {
		return fmt.Sprintf("syncsh %s: %s.\nTry counter:inc(), ?counter, .help; Ctrl-D leaves.", version, what)
	}
	return strings.Join(append([]string{fmt.Sprintf("syncsh %s: %s.\n.help tells what there is; Ctrl-D leaves.", version, what)}, report...), "\n")
}
