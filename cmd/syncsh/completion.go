package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
)

// completionTimeout bounds how long a Tab waits for a cluster: names of objects
// are a help, a shell that hangs is none.
const completionTimeout = 500 * time.Millisecond

func newCompletion() *cobra.Command {
	shells := []cobra.Completion{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes commands in a shell",
		Long: `Prints a script that completes commands, flags and files. Names of objects,
methods, fields, topics and members are asked of the cluster at --connect or SYNCSH_CONNECT, and
left out when it does not answer within 0.5 s.`,
		Example: `  source <(syncsh completion bash)                 # needs bash-completion
  syncsh completion zsh >"${fpath[1]}/_syncsh"
  syncsh completion fish >~/.config/fish/completions/syncsh.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(os.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(os.Stdout)
			default:
				return root.GenFishCompletion(os.Stdout, true)
			}
		},
	}
}

// completeWith asks the cluster of the flags for names.
func (f *clientFlags) completeWith(cmd *cobra.Command, names func(ctx context.Context, c *client.Client) []cobra.Completion) ([]cobra.Completion, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	if fromEnv(cmd.Flags(), "connect") != nil {
		return nil, nothing
	}
	addrs, err := nodeAddrs(f.connect)
	if err != nil {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{Addrs: addrs, Timeout: completionTimeout, Mode: client.Stale, Name: "syncsh completion"})
	if err != nil {
		return nil, nothing
	}
	defer c.Close() //nolint:errcheck // always nil
	return names(ctx, c), nothing
}

// completeCall completes an object and, if methods is set, its method.
func (f *clientFlags) completeCall(methods bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 1 || len(args) == 1 && !methods {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f.completeWith(cmd, func(ctx context.Context, c *client.Client) (names []cobra.Completion) {
			d, err := shell.Describe(ctx, c, client.Stale)
			if err != nil {
				return nil
			}
			if len(args) > 0 {
				return methodNames(d.Objects, args[0])
			}
			for _, o := range d.Objects {
				names = append(names, described(o.Name, o.Doc))
			}
			return names
		})
	}
}

// methodNames are those of an object, its own or its prototype's.
func methodNames(objects []command.Object, name string) (names []cobra.Completion) {
	for _, o := range objects {
		if o.Name != name {
			continue
		}
		if len(o.Methods) == 0 && o.Prototype != "" && o.Prototype != name {
			return methodNames(objects, o.Prototype)
		}
		for _, m := range o.Methods {
			names = append(names, described(m.Name, "("+strings.Join(m.Params, ", ")+") "+m.Doc))
		}
	}
	return names
}

// described adds the first line of a text to a name.
func described(name, text string) cobra.Completion {
	line, _, _ := strings.Cut(text, "\n")
	return cobra.CompletionWithDesc(name, strings.TrimSpace(line))
}

// completeWatch completes an object, or a path below one.
func (f *clientFlags) completeWatch(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if !strings.Contains(word, ".") {
		return f.completeCall(false)(cmd, args, word)
	}
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, directive := f.completeWith(cmd, func(ctx context.Context, c *client.Client) []cobra.Completion {
		return shell.PathsAt(ctx, c, word)
	})
	return names, directive | cobra.ShellCompDirectiveNoSpace // the path may go on
}

// completeTopics completes the topics that deployed scripts emit to.
func (f *clientFlags) completeTopics(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return f.completeWith(cmd, func(ctx context.Context, c *client.Client) (names []cobra.Completion) {
		d, err := shell.Describe(ctx, c, client.Stale)
		if err != nil {
			return nil
		}
		for _, t := range shell.Topics(&d) {
			names = append(names, described(t.Name, "of "+strings.Join(t.Objects, ", ")))
		}
		return names
	})
}

// completeMember completes the name of a member.
func (f *clientFlags) completeMember(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.completeWith(cmd, func(ctx context.Context, c *client.Client) (names []cobra.Completion) {
		members, err := c.Members(ctx)
		if err != nil {
			return nil
		}
		for _, m := range members {
			names = append(names, described(m.Name, m.Role+" "+m.Addr))
		}
		return names
	})
}

// completeScripts completes files of Lua.
func completeScripts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"lua"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeFlag completes a flag that has few values.
func completeFlag(cmd *cobra.Command, flag string, values ...cobra.Completion) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil { // no such flag: the program is wrong
		panic(err)
	}
}
