//go:build !unix

package tty

import "os"

// notifyResize has nothing to listen to: the next drawing has the new size.
func notifyResize(chan<- os.Signal) {}
