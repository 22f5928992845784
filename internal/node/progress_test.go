package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// What takes long is told at each step, and logged every two seconds; what is
// quick is not logged.
func TestProgress(t *testing.T) {
	var told []Progress
	var log bytes.Buffer
	n := &Node{log: slog.New(slog.NewTextHandler(&log, nil)), cfg: Config{Progress: func(p Progress) { told = append(told, p) }}}
	chunk := func(offset uint64) {
		n.received(&raft.SnapshotChunk{Meta: raft.SnapshotMeta{Index: 9, Bytes: 1000}, Offset: offset, Length: 100})
	}
	chunk(0)
	n.ticks = behindTicks - 1
	chunk(100)
	if log.Len() > 0 {
		t.Errorf("logged at once: %s", log.String())
	}
	n.ticks++
	chunk(400)
	chunk(500)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="snapshot of the leader" index=9 bytes=500 of=1000 done=50%`) {
		t.Errorf("logged: %s", got)
	}
	chunk(900)
	if last := told[len(told)-2:]; len(told) != 6 || last[0] != (Progress{"snapshot of the leader", 1000, 1000, true}) || last[1] != (Progress{}) {
		t.Errorf("told %+v", told)
	}

	told = nil
	log.Reset()
	n.catchesUp(50, 150)
	n.ticks += behindTicks
	n.catchesUp(75, 150)
	n.caughtUp()
	n.caughtUp()
	if len(told) != 3 || told[0].Done != 0 || told[1] != (Progress{What: "catching up", Done: 25, Total: 100}) || told[2] != (Progress{}) {
		t.Errorf("told %+v", told)
	}
	if !strings.Contains(log.String(), `msg="catching up" applied=75 commit=150 done=25%`) {
		t.Errorf("logged: %s", log.String())
	}
}
