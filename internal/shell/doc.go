// Package shell is what people talk to: client-side Lua, the REPL on top of it,
// and the text forms of values, errors and cluster status.
//
// # What it promises
//
// A Session is one Lua state with the full standard library and the objects of a
// cluster as globals. Client code is cooperative: a chunk, a timer's function, a
// callback each run as a task of their own, one task at a time, and a task gives
// way only where it waits (a call, sleep, await). A task that waits holds up no
// other. Callbacks run in the order in which replies and timers arrived.
//
// Replicated methods are proposed, query methods asked of the cluster, fields
// read remotely, local methods run here. State can't be assigned from here;
// trying to says what to call instead.
//
// # What it asks of the caller
//
// Methods of Session may be called from any goroutine, except from functions
// that Lua calls. Close ends what still runs.
//
// # Where to start reading
//
// session.go has Session, task.go how tasks take turns, objects.go the proxies,
// local.go local methods, compile.go how input becomes code, repl.go the REPL.
package shell
