// Package e2e tests clusters of real processes: it builds the binary, starts
// `syncsh node`, kills it and looks at what is left. It has no code of its own.
package e2e
