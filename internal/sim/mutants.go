//go:build mutants

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/syncsh/syncsh/internal/mutant"
)

// mutantSeeds is within how many seeds each planted bug must be found.
const mutantSeeds = 2000

var (
	mutantNames = flag.String("mutants", "", "plant these bugs, one after the other (names with commas, or all), and play seeds from -seed until each is found")
	oneMutant   = flag.String("mutant", "", "plant this bug and play as asked")
)

func init() {
	mutants = func(seeds uint64) bool {
		if *oneMutant != "" {
			b, ok := mutant.Named(*oneMutant)
			if !ok {
				fmt.Fprintf(os.Stderr, "no bug is named %s\n", *oneMutant)
				return false
			}
			mutant.Plant(b)
			replay = func(seed uint64) string {
				return fmt.Sprintf("go run -tags mutants ./internal/sim -mutant %v -seed %d -v", b, seed)
			}
			return true
		}
		if *mutantNames == "" {
			return true
		}
		if seeds <= 1 {
			seeds = mutantSeeds
		}
		if !findAll(seeds) {
			os.Exit(1)
		}
		os.Exit(0)
		return true
	}
}

// findAll prints the table of planted bugs: which seed found each and which check
// said so.
func findAll(seeds uint64) bool {
	list := mutant.All()
	if *mutantNames != "all" {
		list = nil
		for _, name := range strings.Split(*mutantNames, ",") {
			b, ok := mutant.Named(name)
			if !ok {
				fmt.Fprintf(os.Stderr, "no bug is named %s\n", name)
				return false
			}
			list = append(list, b)
		}
	}
	found := 0
	fmt.Printf("%-20s %6s  %s\n", "planted bug", "seed", "found by")
	for _, b := range list {
		mutant.Plant(b)
		seed, by := find(seeds)
		mutant.Plant(mutant.None)
		if seed == 0 {
			fmt.Printf("%-20v %6s  NOT FOUND within %d seeds\n", b, "-", seeds)
			continue
		}
		found++
		fmt.Printf("%-20v %6d  %s\n", b, seed, by)
	}
	fmt.Printf("%d of %d planted bugs found within %d seeds\n", found, len(list), seeds)
	return found == len(list)
}

// find returns the first seed that fails, and what it broke. Seeds before it that
// still play on the other processors are waited for.
func find(seeds uint64) (seed uint64, by string) {
	playAll(1, seeds, func(s uint64, err error) bool {
		if seed == 0 || s < seed {
			seed, by = s, err.Error()
			var f *failure
			if errors.As(err, &f) {
				by = string(f.check)
				if f.check == ownInvariant {
					by += ": " + strings.SplitN(f.err.Error(), "\n", 2)[0]
				}
			}
		}
		return false
	})
	return seed, by
}
