package lib

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// fusedLine finds the fused instructions of arm64 in the compiler's listing,
// with their place in the source.
var fusedLine = regexp.MustCompile(`\((?:[^()]*/)?(\w+\.go):(\d+)\)\s+F(?:N?MADD|N?MSUB)[DS]`)

// TestNoFusion compiles the package for arm64 and looks at each fused
// instruction: only lines that call math.FMA may have one. A product without
// float64() around it, added to something, fails here even if no golden hash
// shows it.
func TestNoFusion(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package for arm64")
	}
	cmd := exec.Command("go", "build", "-gcflags=-S", ".")
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	listing, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, listing)
	}
	sources := map[string][]string{}
	found := fusedLine.FindAllSubmatch(listing, -1)
	for _, m := range found {
		file := string(m[1])
		if sources[file] == nil {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources[file] = strings.Split(string(src), "\n")
		}
		n, _ := strconv.Atoi(string(m[2]))
		if line := sources[file][n-1]; !strings.Contains(line, "math.FMA(") {
			t.Errorf("%s:%d is fused on arm64: %s", file, n, strings.TrimSpace(line))
		}
	}
	if len(found) == 0 {
		t.Error("no instruction of math.FMA was found; the listing has changed its form")
	}
}
