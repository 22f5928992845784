//go:build !chaos

package main

import "github.com/syncsh/syncsh/internal/node"

// underFaults does nothing: only a build for the chaos test (-tags chaos) can be
// told to fail.
func underFaults(*node.Config) {}
