package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// scenarios is how many situations docs/SCENARIOS.md has.
const scenarios = 84

var (
	scenarioRow = regexp.MustCompile(`(?m)^\| ([0-9]+) \| (.+) \| (.+) \|$`)
	evidence    = regexp.MustCompile("`([^`]+)`((?:,? Test[A-Za-z0-9]+)*)")
	testName    = regexp.MustCompile(`Test[A-Za-z0-9]+`)
)

// TestScenarios: every situation stands in docs/SCENARIOS.md once, and what is
// said to show it is there: a transcript has a heading with its number, a test a
// function of its name.
func TestScenarios(t *testing.T) {
	page, err := os.ReadFile("../../docs/SCENARIOS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range scenarioProblems(string(page), os.ReadFile) {
		t.Error(problem)
	}
}

func scenarioProblems(page string, read func(string) ([]byte, error)) (problems []string) {
	seen := map[string]bool{}
	for _, row := range scenarioRow.FindAllStringSubmatch(page, -1) {
		number, shown := row[1], evidence.FindAllStringSubmatch(row[3], -1)
		if seen[number] {
			problems = append(problems, "scenario "+number+" stands there twice")
		}
		seen[number] = true
		if len(shown) == 0 {
			problems = append(problems, "scenario "+number+" is shown by nothing")
		}
		for _, s := range shown {
			if why := unshown(number, s[1], testName.FindAllString(s[2], -1), read); why != "" {
				problems = append(problems, fmt.Sprintf("scenario %s: %s", number, why))
			}
		}
	}
	for n := 1; n <= scenarios; n++ {
		if !seen[fmt.Sprint(n)] {
			problems = append(problems, fmt.Sprintf("scenario %d is missing", n))
		}
	}
	return problems
}

// unshown says why a file does not show a scenario, or nothing.
func unshown(number, file string, tests []string, read func(string) ([]byte, error)) string {
	path := file
	if !strings.Contains(file, "/") {
		path = "raft/testdata/" + file
	}
	b, err := read(filepath.Join("../..", path))
	if err != nil {
		return err.Error()
	}
	if strings.HasSuffix(file, ".txt") {
		// As in "# scenario 61, 62: what happens".
		if !regexp.MustCompile(`(?m)^# .*scenarios? ([0-9]+, )*` + number + `\b`).Match(b) {
			return file + " has no heading with its number"
		}
		return ""
	}
	if len(tests) == 0 {
		return file + " is named without a test"
	}
	for _, name := range tests {
		if !strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
			return file + " has no " + name
		}
	}
	return ""
}

// TestScenariosSee: the check sees what it is there for.
func TestScenariosSee(t *testing.T) {
	files := map[string]string{"../../raft/testdata/a.txt": "# scenario 1, 2: both\n", "../../b/b_test.go": "\nfunc TestB(t *testing.T) {}\n"}
	read := func(path string) ([]byte, error) {
		if s, ok := files[path]; ok {
			return []byte(s), nil
		}
		return nil, os.ErrNotExist
	}
	var page strings.Builder
	for n := range scenarios {
		fmt.Fprintf(&page, "| %d | x | `b/b_test.go` TestB |\n", n+1)
	}
	good := page.String()
	if p := scenarioProblems(good, read); len(p) > 0 {
		t.Fatal(p)
	}
	for _, c := range []struct{ old, new, want string }{
		{"| 7 | x", "| 8 | x", "scenario 8 stands there twice"},
		{"| 7 | x | `b/b_test.go` TestB |", "| 7 | x | a test |", "scenario 7 is shown by nothing"},
		{"| 7 | x | `b/b_test.go` TestB |", "| 7 | x | `a.txt` |", "scenario 7: a.txt has no heading"},
		{"| 7 | x | `b/b_test.go` TestB |", "| 7 | x | `c.txt` |", "scenario 7: file does not exist"},
		{"| 7 | x | `b/b_test.go` TestB |", "| 7 | x | `b/b_test.go` TestB, TestC |", "scenario 7: b/b_test.go has no TestC"},
		{"| 7 | x | `b/b_test.go` TestB |", "| 7 | x | `b/b_test.go` |", "scenario 7: b/b_test.go is named without a test"},
		{"| 84 | x", "| 85 | x", "scenario 84 is missing"},
	} {
		problems := scenarioProblems(strings.Replace(good, c.old, c.new, 1), read)
		if !strings.Contains(strings.Join(problems, "\n"), c.want) {
			t.Errorf("%q: problems %q", c.new, problems)
		}
	}
	if p := scenarioProblems(strings.Replace(good, "| 2 | x | `b/b_test.go` TestB |", "| 2 | x | `a.txt` |", 1), read); len(p) > 0 {
		t.Error(p)
	}
}
