// Package luafsm is the deterministic Lua machine: objects written in Lua whose
// every call is atomic, bounded and equal on every replica.
//
// # What it promises
//
// Two machines that applied the same batches at the same indexes, or one of
// which was restored from a dump of the other, have equal digests, give equal
// results and errors, and charge equal budgets, on every architecture. A call
// that fails changes nothing. No input, committed or not, ends the process or
// runs for ever.
//
// # What it asks of the caller
//
// One goroutine at a time uses a Machine; it is the applier. Versions and
// Queriers run on other goroutines while it goes on. After each Apply the caller
// looks at Err: once it isn't nil, the node has to stop.
//
// # Panics
//
// What scripts and entries can cause is an error of that call. A Go panic inside
// gopher-lua is one too, and the Lua state is replaced after it. What remains
// panics with its reason: the machine's own data can't be committed.
//
// # Where to start reading
//
// machine.go has Apply; exec.go the budget and what a running call knows;
// source.go, rewrite.go, code.go, program.go and define.go how a script becomes code;
// meta.go what operators do with our tables; raise.go errors on their way up;
// deploy.go and timers.go the other commands; sessions.go why a command that is in
// the log twice happens once; events.go what subscribers read;
// upgrade.go the version of the semantics; version.go readers, dumps and
// queries; check.go the static rules. The tables are in luafsm/state, the
// library's pure functions in luafsm/internal/lib.
package luafsm
