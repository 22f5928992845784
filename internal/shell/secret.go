package shell

import (
	"regexp"
	"strings"
)

// maskText stands for a secret in the history.
const maskText = `"***"`

var (
	// secretName finds what a secret is assigned to, or handed over with, up to
	// where its value begins.
	secretName = regexp.MustCompile(`(?i)(?:password|passwd|passphrase|secret|token|key)[A-Za-z0-9_]*["']?\]?\s*(?:=\s*|,\s*|\(\s*)`)
	// plainKey is the word key alone, which names a field more often than a secret
	// where it is not assigned.
	plainKey = regexp.MustCompile(`(?i)(?:^|[^A-Za-z0-9_])key["']?\]?\s*[,(]\s*$`)
)

// maskSecrets is a line of input as the history keeps it: literals that are given
// to something named password, secret, token or key are replaced.
func maskSecrets(line string) string {
	var b strings.Builder
	for line != "" {
		at := secretName.FindStringIndex(line)
		if at == nil {
			break
		}
		head, rest := line[:at[1]], line[at[1]:]
		b.WriteString(head)
		line = rest
		if rest == "" || strings.HasPrefix(rest, "=") || plainKey.MatchString(head) {
			continue // a comparison, or no secret
		}
		if n, colour := token(rest, nil); colour == colourString || colour == colourNumber && rest[0] <= '9' {
			b.WriteString(maskText)
			line = rest[n:]
		}
	}
	return b.String() + line
}
