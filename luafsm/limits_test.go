package luafsm

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// The table in limits.go says what the settings are, and values outside of it
// are refused.
func TestSettings(t *testing.T) {
	text, err := os.ReadFile("limits.go")
	if err != nil {
		t.Fatal(err)
	}
	table := strings.Join(strings.Fields(string(text)), " ")
	r := newRig(t)
	for _, s := range settings {
		if row := fmt.Sprintf("// %s %d %d %d ", s.name, s.def, s.min, s.max); !strings.Contains(table, row) {
			t.Errorf("limits.go has no row %q", row)
		}
		want := fmt.Sprintf("bad_argument: setting %s: must be an integer from %d to %d", s.name, s.min, s.max)
		for _, v := range []float64{float64(s.min) - 1, float64(s.max) + 1, float64(s.min) + 0.5} {
			r.expect(s.name, r.cmd(command.AppendSetting(nil, 0, 0, s.name, v)), want)
		}
		for _, v := range []int{s.min, s.max, s.def} {
			r.expect(s.name, r.cmd(command.AppendSetting(nil, 0, 0, s.name, float64(v))), "")
		}
	}
	r.expect("unknown", r.cmd(command.AppendSetting(nil, 0, 0, "nothing", 1)), `bad_argument: no setting "nothing"`)
}
