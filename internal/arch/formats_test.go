package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// formats are where the code has the versions that docs/FORMATS.md states: the
// row of its table, the file, the constant.
var formats = []struct{ row, file, constant string }{
	{"batch", "internal/command/command.go", "batchVersion"},
	{"configuration", "raft/membership.go", "configurationVersion"},
	{"machine", "luafsm/upgrade.go", "MachineVersion"},
	{"dump", "luafsm/state/dump.go", "dumpVersion"},
	{"data directory", "persist/segment.go", "FormatVersion"},
	{"client and peer protocols", "internal/wire/types.go", "Version"},
}

// The versions in the table of docs/FORMATS.md, and where its text repeats that
// of the protocols, are those of the code.
func TestFormatVersions(t *testing.T) {
	b, err := os.ReadFile("../../docs/FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	rows := regexp.MustCompile(`(?m)^\| ([a-z ]+) \| (\d+) \| .* \| .[a-z/]+. \|$`).FindAllStringSubmatch(doc, -1)
	stated := map[string]int{}
	for _, row := range rows {
		stated[row[1]], _ = strconv.Atoi(row[2])
	}
	if len(stated) != len(formats) {
		t.Errorf("the table has %d formats, want %d", len(stated), len(formats))
	}
	for _, f := range formats {
		if got, want := stated[f.row], constantIn(t, f.file, f.constant); got != want {
			t.Errorf("%s: docs/FORMATS.md says version %d, %s of %s is %d", f.row, got, f.constant, f.file, want)
		}
	}
	wire := strconv.Itoa(constantIn(t, "internal/wire/types.go", "Version"))
	for _, text := range []string{"Both protocols have version " + wire + ".", "| protocol version, " + wire + " |"} {
		if !strings.Contains(doc, text) {
			t.Errorf("docs/FORMATS.md does not say %q", text)
		}
	}
}

// constantIn reads a constant from the source: most of them are of no use
// outside of their packages.
func constantIn(t *testing.T, file, name string) int {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^(?:const|\t)\s*` + name + `\s+=\s*(\d+)`).FindSubmatch(src)
	if m == nil {
		t.Fatalf("%s has no constant %s", file, name)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
