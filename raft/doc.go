// Package raft decides; it never acts. The caller feeds ticks, messages,
// proposals and disk completions, and carries out each Output: save, send,
// apply. There is no goroutine, clock, random source, file or socket in here:
// time arrives as ticks, randomness as a seed, effects leave as data. That lets
// one core serve the real node and the simulator.
//
// The protocol is that of Diego Ongaro's dissertation "Consensus: Bridging
// Theory and Practice" (2014); § in comments names its sections.
//
// # What it promises
//
// Election safety, log matching, leader completeness and state machine safety
// (§3.2), linearizable reads (§6.4), as long as the caller keeps its part.
//
// # What it asks of the caller
//
//   - One goroutine at a time calls a Raft. All inputs pass through it.
//   - After any input, Output is taken and carried out: Save is appended to
//     stable storage in the order taken, and Stored reports the LSN of the last
//     Save that is durable. A message leaves only when the LSN in its After is
//     durable. Messages may be lost, doubled and reordered.
//   - Entries in Committed are applied in order; Applied reports how far.
//   - A failed write is never reported as Stored; the process stops instead.
//   - HardState and configuration entries are fsynced in every durability mode.
//     A member that may have lost other entries starts with Initial.Untrusted.
//
// # Entries that span several indexes
//
// A batch of calls is one Entry but each call keeps an index of its own: an
// entry has the index of its last call and a Span, and covers the indexes
// Index-Span+1 to Index. Positions in messages (LogIndex, Commit, Match) are
// always last indexes of entries, so log matching holds as in the paper with
// positions that may jump; an entry is never split.
//
// # Log sequence numbers
//
// Every Save has an LSN, one higher than the one before. An entry is durable
// when the last Save that wrote it is: an entry that was overwritten A, B, A
// while writes were under way can't be taken for durable too early, because
// only the LSN of the last write of that position counts.
//
// # Where to start reading
//
// types.go has the data, raft.go the inputs, election.go, append.go, read.go,
// lease.go, snapshot.go, refetch.go, membership.go and trust.go one protocol each, log.go the log in
// memory, progress.go what a leader knows of each follower, message.go which
// fields of a message count.
package raft
