// Package doctor looks for what keeps a cluster from working well: on this
// machine a port that is taken, a slow or full disk and few open files; between
// the members clocks, versions, architectures, and who can't be reached.
//
// It changes nothing but a file of 1 MiB that it writes next to the data, times,
// and removes. Start with Run.
package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Status is how a check ended.
type Status string

const (
	OK   Status = "ok"
	Warn Status = "warn" // works, not well or not for long
	Fail Status = "fail" // will not work
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"check"`
	Of     string `json:"of,omitempty"` // address, directory or node
	Status Status `json:"status"`
	Seen   string `json:"seen"`
	Advice string `json:"advice,omitempty"` // what to do, unless all is well
}

// Report is all that was looked at.
type Report struct {
	OK     bool    `json:"ok"` // nothing failed
	Checks []Check `json:"checks"`
}

// Options say what to look at.
type Options struct {
	Connect  []string // addresses of nodes of a running cluster
	Expected bool     // there is a cluster: none that answers is a failure
	Addr     string   // where a node will listen, or does; empty: not looked at
	Data     string   // where its data will be, or is; empty: not looked at
	Key      []byte   // gossip key of the cluster
	Timeout  time.Duration
}

// Run looks at everything.
func Run(ctx context.Context, o Options) *Report {
	r := &Report{OK: true}
	r.add(filesHere())
	if o.Addr != "" {
		r.add(port(ctx, o.Addr, o.Timeout)...)
	}
	if o.Data != "" {
		r.add(disk(o.Data)...)
	}
	r.add(cluster(ctx, o)...)
	return r
}

func (r *Report) add(checks ...Check) {
	for _, c := range checks {
		r.OK = r.OK && c.Status != Fail
		r.Checks = append(r.Checks, c)
	}
}

// Write prints one line for each check.
func (r *Report) Write(w io.Writer) error {
	for _, c := range r.Checks {
		line := fmt.Sprintf("%-4s  %s: %s", c.Status, strings.TrimSpace(c.Name+" "+c.Of), c.Seen)
		if c.Advice != "" {
			line += "; " + c.Advice
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
