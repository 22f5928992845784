//go:build mutants

package mutant

var planted Bug

// On tells whether a bug is planted.
func On(b Bug) bool { return planted == b }

// Plant plants one bug and takes out the one before. It is called while nothing
// else runs.
func Plant(b Bug) { planted = b }
