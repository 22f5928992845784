package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newMemberCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Change who is a member and who votes",
		Long: `Changes the membership through the log, one change at a time. A new node needs no
"add": started with --join and an empty data directory it joins as a learner,
which receives the log and serves, but does not vote.`,
		Example: "  syncsh member promote n4\n  syncsh member remove n2",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] == "add" {
				return &shell.UsageError{Text: "member: nobody has to be added: start the node with --join and an empty --data; it becomes a learner, and votes after 'syncsh member promote NAME'"}
			}
			return &shell.UsageError{Text: "member: want promote NAME or remove NAME; see 'syncsh member --help'"}
		},
	}
	cmd.AddCommand(
		memberChange("promote", "Let a learner vote", "promoted", (*client.Client).Promote),
		memberChange("remove", "Remove a member for ever: its id is never let in again", "removed", (*client.Client).Remove),
	)
	return cmd
}

// memberChange is a command that does one thing to a member.
func memberChange(name, short, done string, do func(*client.Client, context.Context, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name + " NAME|ID",
		Short:   short,
		Example: "  syncsh member " + name + " n4",
		Args:    cobra.ExactArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.ValidArgsFunction = f.completeMember
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			m, err := findMember(ctx, c, args[0])
			if err != nil {
				return err
			}
			if err := do(c, ctx, m.ID); err != nil {
				return named(err, m)
			}
			if f.json {
				return printJSON(map[string]string{done: m.Name, "id": m.ID})
			}
			fmt.Printf("%s %s (%s)\n", done, m.Name, m.ID)
			return nil
		})
	}
	return cmd
}

func newTransfer() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "transfer [NAME|ID]",
		Short:   "Hand leadership to another voter",
		Long:    "Begins to hand leadership to the voter that is named, or to the one that is best prepared.\n`syncsh status` shows who leads.",
		Example: "  syncsh transfer n2",
		Args:    cobra.MaximumNArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.ValidArgsFunction = f.completeMember
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			var to client.Member
			if len(args) == 1 {
				var err error
				if to, err = findMember(ctx, c, args[0]); err != nil {
					return err
				}
			}
			if err := c.Transfer(ctx, to.ID); err != nil {
				return named(err, to)
			}
			if f.json {
				return printJSON(map[string]string{"transfer": to.Name})
			}
			fmt.Println("transfer begun")
			return nil
		})
	}
	return cmd
}

// named is what the core says of a member, in the words of who named it: the core
// knows numbers only.
func named(err error, m client.Member) error {
	var failed *client.Error
	if !errors.As(err, &failed) || failed.Code != client.CodeBadArgument && failed.Code != client.CodeOverloaded {
		return err
	}
	text := failed.Message
	for _, prefix := range []string{"raft: ", "bad configuration: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	if id, perr := strconv.ParseUint(m.ID, 16, 64); perr == nil {
		text = strings.ReplaceAll(text, strconv.FormatUint(id, 10), m.Name)
	}
	switch {
	case text == "no voter":
		text = m.Name + " is the only voter"
	case strings.HasSuffix(text, "not a learner"):
		text = fmt.Sprintf("%s is no learner but a %s", m.Name, strings.Replace(m.Role, "observer", "node started with --observer", 1))
	case !strings.HasPrefix(text, "not a voter"):
	case m.Name == "":
		text = "no other voter answers the leader"
	case m.Role == "voter":
		text = m.Name + " leads already, or does not answer the leader"
	default:
		text = fmt.Sprintf("%s is no voter but a %s, and can't lead", m.Name, m.Role)
	}
	return &client.Error{Code: failed.Code, Message: text}
}

// findMember finds a member by its name or id. A name that two members have, as
// after a machine was replaced, is not enough.
func findMember(ctx context.Context, c *client.Client, name string) (client.Member, error) {
	members, err := c.Members(ctx)
	if err != nil {
		return client.Member{}, err
	}
	return pickMember(members, name)
}

func pickMember(members []client.Member, name string) (client.Member, error) {
	var found []client.Member
	for _, m := range members {
		if m.ID == name {
			return m, nil
		}
		if m.Name == name {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return client.Member{}, &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("no member %q; see syncsh members", name)}
	case 1:
		return found[0], nil
	}
	which := make([]string, len(found))
	for i, m := range found {
		which[i] = fmt.Sprintf("%s (%s, alive: %s)", m.ID, m.Role, map[bool]string{true: "yes", false: "no"}[m.Alive])
	}
	return client.Member{}, &client.Error{Code: client.CodeBadArgument,
		Message: fmt.Sprintf("%d members are named %s: %s; give the id", len(found), name, strings.Join(which, ", "))}
}
