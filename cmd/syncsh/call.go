package main

import (
	"context"

	"github.com/spf13/cobra"
	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newCall() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call OBJECT METHOD [ARG...]",
		Short: "Call one method and print its results",
		Long: `Calls one method and prints its results, one line each. Arguments are Lua
literals where they are one (5, true, nil, "x", {a=1}), else plain strings; put
-- before arguments that start with a dash.`,
		Example: `  syncsh call counter inc 5
  syncsh call kv set colour '{r=1, g=2}' --json
  syncsh call counter inc -- -5`,
		Args: cobra.MinimumNArgs(2),
	}
	f := addClientFlags(cmd)
	cmd.ValidArgsFunction = f.completeCall(true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		values := make([]lua.LValue, 0, len(args)-2)
		for _, a := range args[2:] {
			values = append(values, shell.ParseArg(a))
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			s := f.session(c)
			defer s.Close()
			if err := s.Call(ctx, args[0], args[1], values); err != nil {
				return err
			}
			return s.Drain(ctx, true) // a local method may have started timers
		})
	}
	return cmd
}
