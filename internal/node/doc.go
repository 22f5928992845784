// Package node is the runtime that drives a replica: goroutines, sockets,
// timers, the service port and the data directory.
//
// One goroutine, the loop, feeds the replica and writes the log. One, the
// applier, owns the Lua machine. A few read versions of it for queries. Each
// connection has one that reads and one that writes. loop.go is the place to
// start; boot.go is what happens before there is a cluster.
package node
