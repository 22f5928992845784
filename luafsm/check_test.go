package luafsm

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each faulty script in testdata/check has its findings beside it.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.lua")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, x := range Check([]command.Script{{Name: filepath.Base(f), Source: string(src)}}) {
			b.WriteString(x.String() + "\n")
		}
		golden := strings.TrimSuffix(f, ".lua") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) || b.Len() == 0 {
			t.Errorf("%s:\n got %s\nwant %s", f, b.String(), want)
		}
	}
}
