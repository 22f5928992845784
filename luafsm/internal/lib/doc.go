// Package lib holds the pure functions under the standard library that scripts
// see: numbers, patterns, formatting, strings, math, JSON, sorting.
//
// # What it promises
//
// A function's result, its error and what it charges depend on its arguments
// alone: not on the architecture, the locale, the process or the time. Floating
// point is written so that the compiler can't fuse a multiplication with an
// addition, and no function of Go's math package is used that has versions of
// different precision.
//
// No argument makes a function panic, recurse by the length of its input, or
// work without charging. Work that grows is charged to a Meter before it is
// done, or at the latest after meterBatch further steps.
//
// # What it asks of the caller
//
// The package knows no Lua states and no tables. The caller converts arguments,
// names the argument in an error, and holds a result against its own limit for
// the length of a string; Meter.Bytes bounds what one call builds in total.
// Functions without a Meter cost time linear in the length of their arguments
// at most; the caller charges for that.
//
// # Where to start reading
//
// meter.go has the budget and the errors; pattern.go the matcher; dd.go the
// arithmetic that math.go stands on.
package lib
