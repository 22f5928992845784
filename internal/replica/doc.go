// Package replica is one member of a cluster as a deterministic event machine:
// the raft core, the calls that wait for it, reads, forwarding and the snapshot
// policy. It has no goroutine, clock, random source, file or socket.
//
// Inputs are ticks (with the time), messages of peers, requests of clients,
// completed writes and completed work. Output has what the driver carries out:
// a save, messages, work for the applier, answers. internal/node drives it with
// real sockets, disks and goroutines, internal/sim with virtual ones.
//
// # The driver's part
//
//   - One goroutine at a time calls a Replica.
//   - The clocks are told before inputs and read after those arrived.
//   - Output is taken after inputs, until HasOutput says no more. Messages leave
//     when their After is durable; Save is written in the order taken, then
//     Saved is called.
//   - Work is given to one Applier in the order taken, on any goroutine; what it
//     reports in Done comes back through Replica.Done. As the order is kept, a
//     read that stands behind an entry sees the entry: nothing waits for an
//     index.
//
// # The life of a call
//
// Submit at the leader puts the call into the open batch; Output closes the
// batch into one log entry. When the entry is committed it becomes Work with
// the tickets of those who wait; the Applier answers them. At a follower Submit
// forwards the call to the leader, once; the leader's answer comes back as a
// ForwardReply.
//
// # When states differ
//
// Replicas compare digests of their states. One that is in the minority stops
// serving and takes a snapshot of the leader: diverge.go, docs/DETERMINISM.md.
package replica
