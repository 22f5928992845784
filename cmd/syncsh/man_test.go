package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command has a man page with its examples; `make man` calls the same.
func TestManPages(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a binary")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-tags", "man", ".", "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || cmd.Example != "" && !strings.Contains(string(page), ".SH EXAMPLE") {
			t.Errorf("%s: %v, %d bytes", name, err, len(page))
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRoot())
}

// Every command that prints something for programs has --json.
func TestJSONEverywhere(t *testing.T) {
	without := map[string]string{
		"syncsh node":       "logs, with --log-format json",
		"syncsh completion": "prints a script",
		"syncsh log":        "has subcommands only",
		"syncsh member":     "has subcommands only",
	}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		has := cmd.Flags().Lookup("json") != nil
		if _, none := without[cmd.CommandPath()]; has == none {
			t.Errorf("%s: --json %v", cmd.CommandPath(), has)
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRoot())
}
