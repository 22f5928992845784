// Package gossip tells a node who is out there: addresses, liveness hints,
// versions and roles, by hashicorp/memberlist. Gossip suggests, the log decides:
// nothing in here changes who votes.
//
// # What it promises
//
// Members converge on what each of them last said of itself with SetMeta, as
// long as packets get through at times. A member that stops answering is Gone
// within a few seconds. Addresses to join through are tried for ever. Members
// of another cluster, and those whose metadata does not decode, are not let in.
//
// Bootstrap decides when nodes without data found a cluster. Two founding sets
// that share a node never both go ahead; bootstrap.go says why.
//
// # What it asks of the caller
//
//   - One port number serves everything: packets use the UDP port that has the
//     number of the service's TCP port, streams come over the service port. The
//     caller accepts connections, reads the preamble and gives those of
//     wire.RoleGossip to HandleStream.
//   - Whatever is read from Members is a hint. It may be old, and without a
//     gossip key anyone who reaches the port may have made it up.
//
// # Caveats
//
// memberlist does not show which members it suspects, so there is no state
// between Alive and Gone. A member's name is its identity for memberlist: of
// two alive nodes of one name at different addresses, only the first is seen,
// and both log the conflict.
//
// # Where to start reading
//
// meta.go has the data, gossip.go the life of a member, transport.go how the
// port is shared, delegate.go what is let in, join.go the search for others,
// bootstrap.go the founding.
package gossip
