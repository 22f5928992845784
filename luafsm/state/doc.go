// Package state holds the tables that replicated and query code sees: their
// content, versions, undo, digest and encoding.
//
// # What it promises
//
// Everything that can be observed of a table (order, length, encoding, digest,
// dump, the work that is charged) is a function of its content, never of the
// history that led to it. A call is Begin, writes, then Commit or Rollback;
// Rollback restores the state exactly. After Commit the state is a tree of
// plain values. A Version shows the state as it was when it was published, for
// as long as it is held, whatever the writer does meanwhile.
//
// # What it asks of the caller
//
// One goroutine at a time, the writer, uses a Store, the tables made by it and
// Publish. Any goroutine may read tables that are in the state through a
// Version that it holds: Get, Len, Next, Iter, Each, AppendValue, Dump. A query
// makes its own tables with a Store of its own, which no other goroutine uses,
// and checks Table.Store before it writes. Every write to a table that is in
// the state happens between Begin and Commit or Rollback. A table that a commit
// took out of the state isn't used after it.
//
// # The sequence and the map
//
// A table has a sequence, the keys 1..n without a hole with the largest such n,
// in chunks of an array, and all other keys in an ordered map. A value set at
// n+1 joins the sequence and brings with it the keys of the map that follow;
// nil at k < n makes n = k-1, and k+1..n move to the map. Both move as many
// entries as the content says, and the moves are counted in Store.Work.
// Order: 1..n, false, true, numbers ascending, strings bytewise, and in tables
// outside the state tables and functions in the order of their insertion.
//
// # Versions
//
// Publish gives the present epoch to a version and starts the next. Contents,
// chunks and tree nodes carry the epoch that made them; the writer changes in
// place what is newer than the newest version held, and copies what is not.
// The content that a version needs stays reachable from the newer one, and goes
// when the version is released: on the next write to the table, or by Sweep, a
// little of which every Begin does.
//
// # Where to start reading
//
// table.go has the operations; content.go, array.go and btree.go what is under
// them; store.go a call and its undo; tree.go the check at the end of a call;
// version.go, digest.go, encode.go and dump.go the rest.
package state
