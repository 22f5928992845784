package shell

import (
	"fmt"
	"sort"
	"strings"

	"github.com/syncsh/syncsh/scripts"
)

// suggest is "; did you mean 'x'?" for the candidate nearest to name, empty when
// none is near.
func suggest(name string, candidates []string) string {
	best, bestAt := "", len([]rune(name))/2+1
	sort.Strings(candidates)
	for _, c := range candidates {
		if d := distance(name, c); d < bestAt {
			best, bestAt = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean '%s'?", best)
}

// suggestObject is suggest for an object: one of the library may only not be
// deployed yet.
func suggestObject(name string, candidates []string) string {
	if _, ok := scripts.Get(name + ".lua"); ok {
		return fmt.Sprintf("; the library has one: .load %s in the REPL, or syncsh deploy %s", name, name)
	}
	return suggest(name, candidates)
}

// suggestScript is suggest for a file that is not there: scripts of the library go
// by their names.
func suggestScript(file string) string {
	var names []string
	for _, s := range scripts.All() {
		names = append(names, strings.TrimSuffix(s.Name, ".lua"))
	}
	return suggest(strings.TrimSuffix(file, ".lua"), names)
}

// suggestBytesMax bounds the names that are compared.
const suggestBytesMax = 64

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	if len(a) > suggestBytesMax || len(b) > suggestBytesMax {
		return suggestBytesMax
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
