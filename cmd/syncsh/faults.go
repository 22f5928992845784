//go:build chaos

package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/syncsh/syncsh/internal/fault"
	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/persist"
)

// chaosEnv has the seed of a node's faults. With it the node obeys the fault
// commands on its standard input, and ends when that does: no node outlives the
// test that started it.
const chaosEnv = "SYNCSH_CHAOS"

// underFaults puts the disk and the wall clock of a node behind faults.
func underFaults(conf *node.Config) {
	text, ok := os.LookupEnv(chaosEnv)
	if !ok {
		return
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s=%s: want a number\n", chaosEnv, text)
		os.Exit(2)
	}
	disk, clock := fault.NewDisk(persist.OSFS(), seed), new(fault.Clock)
	conf.FS, conf.Now = disk, clock.Now
	go func() {
		if err := fault.Obey(os.Stdin, disk, clock); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(fault.ExitCode)
	}()
}
