package jails

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xdpban/internal/yamldoc"
)

var update = flag.Bool("update", false, "write what is said of testdata/bad into the .want files")

// TestBadConfigurationsAreExplained compares what is said of testdata/bad/X.yaml with X.want.
func TestBadConfigurationsAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, err := Load(file)
			var errs yamldoc.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("Load: %v, want an Errors", err)
			}
			got := strings.ReplaceAll(errs.Error(), "testdata/bad/", "") + "\n"
			wanted := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(wanted, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wanted)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}
