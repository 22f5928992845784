package shell

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/syncsh/syncsh/internal/command"
)

// TopicEntry is a topic that scripts emit to, and the objects that these define.
type TopicEntry struct {
	Name    string
	Objects []string
}

// emitted finds the topics that a script spells out; those that it computes are
// known once they are emitted.
var emitted = regexp.MustCompile(`\bemit\s*\(\s*(?:"([^"\\\n]+)"|'([^'\\\n]+)')`)

// Topics are those that deployed scripts emit to, sorted.
func Topics(d *command.Description) (out []TopicEntry) {
	for _, sc := range d.Scripts {
		for _, m := range emitted.FindAllStringSubmatch(sc.Source, -1) {
			name := m[1] + m[2]
			i := slices.IndexFunc(out, func(t TopicEntry) bool { return t.Name == name })
			if i < 0 {
				i = len(out)
				out = append(out, TopicEntry{Name: name})
			}
			for _, o := range d.Objects {
				if o.Script == sc.Name && !slices.Contains(out[i].Objects, o.Name) {
					out[i].Objects = append(out[i].Objects, o.Name)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b TopicEntry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// PathsAt are the paths that begin with an unfinished one, such as kv.data.co.
func PathsAt(ctx context.Context, c Cluster, text string) (out []string) {
	path := strings.Split(text, ".")
	word := path[len(path)-1]
	if path = path[:len(path)-1]; slices.ContainsFunc(path, func(k string) bool { return !isName(k) }) {
		return nil
	}
	names, err := KeysAt(ctx, c, path, word)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if isName(name) {
			out = append(out, strings.Join(path, ".")+"."+name)
		}
	}
	return out
}
