//go:build !unix

package node

import "net"

// directWrite has no way here to write without waiting.
func directWrite(net.Conn) func(b []byte) int { return nil }
