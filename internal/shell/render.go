package shell

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
)

// table writes rows in columns as many as the first row has, without blanks at
// the ends of lines.
func table(w io.Writer, rows [][]string) {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		// A row with fewer cells would end the columns of those around it.
		fmt.Fprintln(t, strings.Join(r, "\t")+strings.Repeat("\t", len(rows[0])-len(r)))
	}
	t.Flush()
	fmt.Fprintln(w, trimLines(b.String()))
}

// WriteStatus writes the cluster at a glance.
func WriteStatus(w io.Writer, s *client.Status) {
	health := "healthy"
	if !s.Healthy {
		health = "NOT HEALTHY"
	}
	leader := "no leader"
	if s.Leader != "" {
		leader = "leader " + s.Leader
	}
	cluster := s.Cluster
	if cluster == "" {
		cluster = "not founded yet"
	}
	fmt.Fprintf(w, "%s: %s, term %d, %s, tolerates %s\n", health, leader, s.Term, count(s.Voters, "voter"), count(s.Tolerates, "failure"))
	fmt.Fprintf(w, "cluster %s, commit %d, applied %d\n", cluster, s.Index.Commit, s.Index.Applied)
	rows := [][]string{{"NODE", "ROLE", "ADDRESS", "TERM", "COMMIT", "APPLIED", "DIGEST", "VERSION"}}
	var full []string
	for i, n := range s.Nodes {
		// Two of one name stand beside each other: a node that lost its data has a
		// new id, and the old one counts until it is removed.
		if i > 0 && s.Nodes[i-1].Name == n.Name || i+1 < len(s.Nodes) && s.Nodes[i+1].Name == n.Name {
			n.Name += " " + n.ID
		}
		if !n.Alive {
			rows = append(rows, []string{n.Name, "unreachable", n.Addr})
			continue
		}
		role := n.Role
		if n.Diverged {
			role += ", diverged"
		}
		if n.Leader == "" {
			role += ", no leader"
		}
		if n.DiskFull != "" {
			role += ", disk full"
			full = append(full, n.Name+": "+n.DiskFull)
		}
		rows = append(rows, []string{n.Name, role, n.Addr, fmt.Sprint(n.Term), fmt.Sprint(n.Commit), fmt.Sprint(n.Applied),
			fmt.Sprintf("%.8s@%d", n.Digest, n.DigestIndex), n.Version})
	}
	table(w, rows)
	for _, text := range full {
		fmt.Fprintln(w, text)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// WriteMembers writes the members as a node knows them.
func WriteMembers(w io.Writer, members []client.Member) {
	rows := [][]string{{"NODE", "ID", "ADDRESS", "ROLE", "ALIVE"}}
	for _, m := range members {
		alive := "no"
		if m.Alive {
			alive = "yes"
		}
		rows = append(rows, []string{m.Name, m.ID, m.Addr, m.Role, alive})
	}
	table(w, rows)
}

// WriteObjects writes the objects with their methods, for a terminal of width
// columns; 0 is none.
func WriteObjects(w io.Writer, d *command.Description, width int) {
	if len(d.Objects) == 0 {
		fmt.Fprintln(w, "no objects: deploy a script with .load FILE or syncsh deploy FILE")
		return
	}
	rows := [][]string{{"OBJECT", "SCRIPT", "METHODS"}}
	for _, o := range d.Objects {
		var names []string
		for _, m := range o.Methods {
			names = append(names, m.Name)
		}
		script := o.Script
		switch {
		case o.Prototype != "":
			script = "as " + o.Prototype
		case script == "":
			script = "none"
		}
		rows = append(rows, []string{o.Name, script, strings.Join(names, " ")})
	}
	io.WriteString(w, wrapped(rows, "", width)) //nolint:errcheck // as the other tables
}

// WriteScripts writes the deployed scripts with the objects they define.
func WriteScripts(w io.Writer, d *command.Description) {
	if len(d.Scripts) == 0 {
		fmt.Fprintln(w, "no scripts are deployed")
		return
	}
	rows := [][]string{{"SCRIPT", "BYTES", "OBJECTS"}}
	for _, sc := range d.Scripts {
		var names []string
		for _, o := range d.Objects {
			if o.Script == sc.Name {
				names = append(names, o.Name)
			}
		}
		rows = append(rows, []string{sc.Name, fmt.Sprint(len(sc.Source)), strings.Join(names, " ")})
	}
	table(w, rows)
}
