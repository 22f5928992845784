// Package chaos tests clusters of real processes under faults: it builds the
// binary with -tags chaos, starts `syncsh node`, kills, pauses and cuts off
// nodes, makes their disks and clocks fail, and checks what the clients saw. It
// has no code of its own.
package chaos
