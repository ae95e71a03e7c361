package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestRoomsImportOnlyWhatTheyMay walks the imports and fails on an arrow that is not in
// the table of ARCHITECTURE.md, and on a room that is not in it.
func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	allowed := roomTable(t, "../../ARCHITECTURE.md")
	for room, imports := range rooms(t) {
		may, known := allowed[room]
		if !known {
			t.Errorf("%s is no room of ARCHITECTURE.md", room)
			continue
		}
		for _, other := range imports {
			if !slices.Contains(may, other) {
				t.Errorf("%s imports %s, which ARCHITECTURE.md does not allow", room, other)
			}
		}
	}
}

// roomTable reads the rows "| `room` | purpose | may import |".
func roomTable(t *testing.T, path string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		var may []string
		for name := range strings.SplitSeq(cells[3], ",") {
			may = append(may, strings.Trim(name, " `"))
		}
		table[strings.Trim(cells[1], " `/")] = may
	}
	if len(table) < 8 {
		t.Fatalf("the table of rooms has %d rows", len(table))
	}
	return table
}

// rooms lists the rooms and what they import of each other, tests apart: those may use
// internal/lab besides, and look at a room from outside.
func rooms(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "xdpban/...")
	list.Dir = "../.."
	var complaint strings.Builder
	list.Stderr = &complaint
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list the packages: %v\n%s", err, complaint.String())
	}
	found := make(map[string][]string)
	for packages := json.NewDecoder(strings.NewReader(string(out))); packages.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := packages.Decode(&p); err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(p.ImportPath, "xdpban/")
		found[room] = []string{}
		for _, imported := range p.Imports {
			if other, ours := strings.CutPrefix(imported, "xdpban/"); ours {
				found[room] = append(found[room], other)
			}
		}
	}
	return found
}
