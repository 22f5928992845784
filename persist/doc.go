// Package persist keeps a member's data directory: its identity, the
// write-ahead log and the snapshots. All I/O goes through the small FS
// interface, so that a simulator can tear writes, lose unsynced data, fill the
// disk and flip bits.
//
// # What it promises
//
// What Sync returned nil for is found again by Load after a crash of the
// process or the machine, byte for byte, or Load fails and says where the
// damage is. A torn tail (the last write that was under way) is cut and
// reported. Snapshots appear whole or not at all. Options.Sync is what makes
// this hold for a crash of the machine; without it only the process may crash.
//
// # What it asks of the caller
//
// Open, SetIdentity if there is no identity yet, Load, and then Append, Flush,
// Sync and Compact by one goroutine at a time, which also writes, reads and
// removes notes (small files of the caller's) and does Close. After an error of
// a write or a sync of the log it is dead (ErrDead): the process stops and the
// next Load decides what the disk holds. A failed fsync is never retried.
// Snapshots are written, read and received on any goroutines, each writer or
// reader by one at a time, and all are done before Close. An error there leaves
// the log alive; the snapshot is given up.
//
// A snapshot is durable (Finish has returned nil) before the Save that resets
// the log to it is appended, and before Compact is called for what it covers.
//
// # Torn or damaged
//
// Every record of the log says up to which offset of its segment everything was
// synced when it was written, and every segment whether everything before it
// was. So when a record is not good, Load knows:
//
//   - If a record or segment that was written later says that the place was
//     synced before, stored data was lost: DamageError. Later records are looked
//     for in all of the segment and count even if only their head is good.
//   - Otherwise, if a part of it that a disk writes in one piece (a sector of 512
//     bytes), or its end, is still zero as it was before, its write did not come
//     to its end: the log is cut there, and Recovered.Torn says so. All that was
//     written after it was under way at the same time, and is cut with it.
//   - Otherwise all of it was written, and may have been acknowledged: DamageError.
//
// For that the log lies in zeros, head and record end in a byte that is never
// zero, and the head counts the sectors that are zeros by themselves.
//
// What can't be told apart is damage that makes zeros of a whole sector, or of
// the end, of the very last record: it is cut like a torn write. If all its bytes
// became zeros it looks like the end of the log and is not even reported. This is
// for the other members to make good: the log is one copy of several.
//
// A file that is shorter or longer than it was made is damage, a missing last
// segment too, as the one before it says that it was there. Damage is never
// repaired here: the member is replaced by a new one with an empty directory.
//
// # The log's files
//
// Segments are written to their full size with zeros before they are used, so that
// a sync has no metadata to write. A record is
// good in one place only: its checksum covers the node, the segment and the
// offset. The first segments are small, so that a new directory is there at
// once; a Save that does not fit a segment gets one of its own size. A Save is
// never divided. All Saves between two calls of Sync are one write and, up to
// recordBytesTarget, one record.
//
// After a crash while a Sync was under way, each Save of it is there or not; of
// the Saves, a first part is there.
//
// It is assumed that a sector of 512 bytes is written whole or not at all, that a
// write of bytes that are already there harms nothing else in the sector, and that a rename is atomic. docs/FORMATS.md has the
// byte tables.
package persist
