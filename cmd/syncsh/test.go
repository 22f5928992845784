package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/lab"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/spec"
)

// testGCPercent lets the heap grow more between collections: the worlds of specs
// are small, and most of what they allocate dies at once.
const testGCPercent = 400

// seedsMax bounds --seeds: the outcome of each is kept until the end.
const seedsMax = 1_000_000

func newTest() *cobra.Command {
	conf := spec.Config{Out: os.Stdout}
	var match string
	var json bool
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run specs of objects on a simulated cluster",
		Long: `Runs specs, Lua files with test("name", function(t) ... end), each test on a
simulated cluster of its own: real replicas in virtual time, so that a minute
passes in a millisecond. Each test is run once per seed. Seed 0 is a cluster in
which nothing goes wrong by itself; with any other one nodes crash, links are
cut, messages and answers are lost. The same seed gives the same run.

A file is a spec if its name ends in _spec.lua or _test.lua or if it calls test;
any other file is a script to deploy, and a directory stands for the specs in
it. Beside the scripts given, a spec is run with the one that it is named after
(lock_spec.lua: lock.lua beside it or one directory above) and with the objects
of the library that it names. docs/TESTING.md tells what a spec can say.

Prints a line per file and, for each test that fails, where, why, with which seed
and the command that runs it again; exits with 1 if a test failed.`,
		Example: `  syncsh test counter_spec.lua
  syncsh test counter.lua checks.lua --seeds 200
  syncsh test counter_spec.lua --seed 17 --run 'counts once' -v`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeScripts,
	}
	fs := cmd.Flags()
	fs.Uint64Var(&conf.Seeds, "seeds", spec.SeedsDefault, "run each test with the seeds 0 to N")
	fs.Uint64Var(&conf.Seed, "seed", 0, "run each test with this seed only")
	fs.StringVar(&match, "run", "", "run only tests whose name matches this regular expression")
	fs.BoolVar(&conf.Faults, "faults", true, "let things go wrong by themselves, except with seed 0")
	fs.IntVar(&conf.Nodes, "nodes", spec.NodesDefault, "size of the cluster")
	fs.DurationVar(&conf.Limit, "limit", spec.LimitDefault, "of virtual time for a test")
	fs.BoolVarP(&conf.Verbose, "verbose", "v", false, "show all tests, and of those that fail what happened")
	fs.BoolVar(&json, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		conf.One = cmd.Flags().Changed("seed")
		switch {
		case conf.One && cmd.Flags().Changed("seeds"):
			return &shell.UsageError{Text: "--seed and --seeds contradict each other"}
		case conf.Seeds > seedsMax:
			return &shell.UsageError{Text: fmt.Sprintf("--seeds %d: want up to %d", conf.Seeds, seedsMax)}
		case conf.Nodes < 1 || conf.Nodes > lab.NodesMax:
			return &shell.UsageError{Text: fmt.Sprintf("--nodes %d: want 1 to %d", conf.Nodes, lab.NodesMax)}
		case conf.Limit <= 0:
			return &shell.UsageError{Text: "--limit must be positive"}
		}
		if match != "" {
			r, err := regexp.Compile(match)
			if err != nil {
				return &shell.UsageError{Text: fmt.Sprintf("--run: %v", err)}
			}
			conf.Match = r
		}
		debug.SetGCPercent(testGCPercent)
		return shell.Interruptible(cmd.Context(), func(ctx context.Context) error { return runTests(ctx, &conf, files, json) })
	}
	return cmd
}

func runTests(ctx context.Context, conf *spec.Config, paths []string, json bool) error {
	files, err := spec.Load(paths)
	if err != nil {
		return err
	}
	began := time.Now()
	each := conf.Lines
	if json {
		each = nil
	}
	report, err := conf.Run(ctx, files, each)
	if err != nil {
		return err
	}
	if json {
		err = report.JSON(os.Stdout)
	} else {
		conf.Summary(report)
		if conf.Verbose { // not among the results, which are the same each time
			fmt.Fprintf(os.Stderr, "took %v\n", time.Since(began).Round(time.Millisecond))
		}
	}
	if err == nil && !report.Passed {
		err = &shell.ExitError{Code: shell.ExitScript}
	}
	return err
}
