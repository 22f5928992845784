// Package e2e tests clusters of real processes: it builds the binary, starts
// `syncsh node`, kills it and looks at what is left. It also carries out README.md,
// docs/TUTORIAL.md and the pages of examples/ as printed (page_test.go). It has no
// code of its own.
package e2e
