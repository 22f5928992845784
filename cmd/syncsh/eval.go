package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newEval() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval LUA",
		Short: "Evaluate Lua as the REPL would; - reads standard input",
		Example: `  syncsh eval 'counter:inc(5)'
  syncsh eval 'for k, v in pairs(kv.data) do print(k, v) end'
  cat report.lua | syncsh eval -`,
		Args: cobra.ExactArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var in io.Reader = strings.NewReader(args[0])
		name := "eval"
		if args[0] == "-" {
			in, name = os.Stdin, "stdin"
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			s := f.session(c)
			defer s.Close()
			return shell.RunInput(ctx, shell.NewConsole(s, c, name, nil), in)
		})
	}
	return cmd
}
