// Package fault makes the disk and the wall clock of a real process fail on
// command. Only a binary built with -tags chaos has it: see internal/chaos.
//
// # What a Disk can do
//
// It is slow, fills up, fails its syncs, or loses power. What was written and
// not synced is remembered: when a sync fails, or the power goes, each of those
// writes stays, vanishes, or stays up to a sector in its middle, as the seed
// says. That is what a failed fsync may do on Linux, whose page cache then calls
// pages clean that never reached the disk, and why a process must not go on.
//
// Creations, renames and removals are not undone: the simulator's disk does that.
package fault
