package shell

import (
	"io"
	"sync/atomic"

	"github.com/chzyer/readline"
)

// typeahead is a terminal's input. While code runs the terminal edits lines
// itself, and takes Ctrl-D for the end of one: when readline takes over, the
// kernel hands that over as a zero. It is Ctrl-D still; a zero that comes later is
// a key that means nothing, which readline would take for the end of the input.
type typeahead struct {
	io.ReadCloser
	ran atomic.Bool // the terminal was not readline's since the last Read
}

func (t *typeahead) Read(p []byte) (int, error) {
	for {
		n, err := t.ReadCloser.Read(p)
		ran := t.ran.Swap(false)
		kept := 0
		for _, c := range p[:n] {
			if c == 0 && ran {
				c = readline.CharDelete
			}
			if c != 0 {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || n == 0 || err != nil {
			return kept, err
		}
	}
}
