package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page in the repository is the one that make docs writes, and what its head
// says of methods is true.
func TestPageIsFresh(t *testing.T) {
	want, err := page()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/OBJECTS.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/OBJECTS.md is not what the scripts say: run make docs")
	}
}

func TestEveryMethodIsDocumented(t *testing.T) {
	d, err := describe()
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, o := range d.Objects {
		if o.Doc == "" {
			t.Errorf("%s has no documentation", o.Name)
		}
		for _, m := range o.Methods {
			has[o.Name+":"+m.Name] = true
			if m.Doc == "" {
				t.Errorf("%s:%s has no documentation", o.Name, m.Name)
			}
		}
	}
	named := regexp.MustCompile("`(\\w+:\\w+)").FindAllStringSubmatch(head, -1)
	if len(named) < 40 {
		t.Errorf("the head names %d methods only", len(named))
	}
	for _, n := range named {
		if !has[n[1]] {
			t.Errorf("the head names %s, which is not there", n[1])
		}
	}
}

// Every method of PySyncObj's batteries has a line in the head.
func TestBatteriesAreCovered(t *testing.T) {
	for class, methods := range map[string]string{
		"ReplCounter":       "set add sub inc get",
		"ReplList":          "reset set append extend insert remove pop sort index count get len",
		"ReplDict":          "reset set setdefault update pop clear get len contains keys values items",
		"ReplSet":           "reset add remove discard pop clear update contains len",
		"ReplQueue":         "maxsize put get qsize empty full",
		"ReplPriorityQueue": "maxsize put get qsize empty full",
		"ReplLockManager":   "autoUnlockTime tryAcquire release isAcquired",
	} {
		for m := range strings.FieldsSeq(methods) {
			if !regexp.MustCompile(`(?m)^\| ` + class + ` \| ` + "`" + m + "\\b.*\\|.*`\\w+:\\w+").MatchString(head) {
				t.Errorf("no line for %s.%s", class, m)
			}
		}
	}
}
