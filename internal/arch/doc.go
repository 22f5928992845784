// Package arch has the test that holds the imports of all packages to the
// inward direction of docs/ARCHITECTURE.md, and the core free of goroutines,
// clocks, random sources, files and sockets. It has no code of its own.
package arch
