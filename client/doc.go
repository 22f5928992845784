// Package client talks to a syncsh cluster.
//
//	c, err := client.Dial(ctx, client.Config{Addrs: []string{"127.0.0.1:7400"}})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	values, err := c.Call(ctx, "counter", "inc", 5)
//	if client.CodeOf(err) == client.CodeTimeout {
//		// no answer in all of the call's time: it may have happened, once
//	}
//
// # What it promises
//
// A Client is used by any number of goroutines. It keeps one connection, to any
// node: nodes pass calls on to the leader. When the connection is lost or its
// node has no leader, it connects to another of the addresses given or learned.
//
// A call happens at most once, and exactly once when it is answered. The first
// call opens a session through the log; each carries the session, a serial, and
// up to which serial all have ended. A call whose answer is lost, because the
// connection broke, the leader changed or a node was silent, is asked again,
// through other nodes too, until its time is over; the cluster carries out a
// serial once and gives its first result to every try. At most 1,024 calls are
// under way in a session, counted from the oldest without an answer; more wait
// in the client. Deploys, creations, drops and settings are calls in this sense.
//
// CodeTimeout is left for a call that got no answer in all of its time, or whose
// session the cluster ended meanwhile (setting session_ttl): it may have
// happened. Once a later call of the client is answered, it can't happen any
// more. A session that has ended is replaced, and a call that was not tried in
// it before goes into the new one. CodeHappened says that a call happened, but
// its answer was lost and the result was too large to be kept for another try.
//
// With Config.NoSession commands are sent in no session: a call that was sent
// and whose answer is lost ends with CodeTimeout at once, and may have happened
// or may still happen.
//
// A call that was not sent, or that a node answered with overloaded, no_leader
// or closed, had no effect and is tried again until its time is over. Queries
// are tried again always.
//
// All errors of calls are *Error and have a Code.
//
// # Values
//
// Arguments may be nil, booleans, integers and floats of any size, strings,
// []byte (a string in scripts), slices, arrays, maps with such keys, and
// pointers to these. Numbers of scripts are 64-bit floats; an integer that none
// of them equals is refused. Results are nil, bool, int64 (integral numbers),
// float64, string, []any, map[string]any when all keys are strings, else
// map[any]any.
//
// # Where to start reading
//
// client.go has the calls, request.go the asynchronous form under them,
// session.go what makes further tries safe, conn.go one connection, connect.go how a connection is found, status.go the cluster at
// a glance, value.go the values.
package client
