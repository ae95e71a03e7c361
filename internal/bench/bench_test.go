package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"xdpban/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const printed = `goos: linux
goarch: amd64
pkg: xdpban/room
cpu: Some Processor
BenchmarkRead
BenchmarkRead/peer=old
BenchmarkRead/peer=old-2         	       1	       120 ns/line	         4.000 x-rate
BenchmarkRead/peer=old-2         	       1	       110 ns/line	         5.000 x-rate
BenchmarkRead/peer=new
    read_bench_test.go:4: exec: "new": not found: apt-get install new
--- SKIP: BenchmarkRead/peer=new
BenchmarkRead/peer=broken
    read_bench_test.go:9: broken: 3 of 4 hits
        and more
--- FAIL: BenchmarkRead/peer=broken
--- FAIL: BenchmarkRead
FAIL
exit status 1
`

func TestFindingsOfWhatGoTestPrints(t *testing.T) {
	got := read([]byte(printed))
	want := findings{
		figures: map[string]map[string][]float64{"Read/peer=old": {"ns/line": {120, 110}, "x-rate": {4, 5}}},
		reasons: map[string]string{
			"Read/peer=new":    `exec: "new": not found: apt-get install new`,
			"Read/peer=broken": "broken: 3 of 4 hits",
			"Read":             "fail",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTableHasEveryRow(t *testing.T) {
	s := suite{bench: "Read", title: "reading", rows: []row{
		{"against old", "peer=old", "x-rate", atLeast(5, "x")},
		{"a line", "peer=old", "ns/line", atMost(130, "ns")},
		{"against new", "peer=new", "x-rate", atLeast(5, "x")},
		{"against broken, five words", "peer=broken/rules=same", "x-rate", shown("x")},
	}}
	tab := table{machine: "a machine"}
	tab.add(s, read([]byte(printed)))
	tab.add(suite{bench: "Write", title: "writing", rows: []row{{"fast", "", "x", shown("x")}}}, findings{})
	for _, test := range []struct {
		name     string
		markdown bool
		want     string
	}{
		{"text", false, `a machine

  what                         measured                                                    goal       reached

reading
  against old                  5x (4 to 5)                                                 ≥ 5x       yes
  a line                       120 ns (110 to 120)                                         ≤ 130 ns   yes
  against new                  not measured: exec: "new": not found: apt-get install new   ≥ 5x
  against broken, five words   not measured: broken: 3 of 4 hits

writing
  fast                         not measured: it was not run
`},
		{"markdown", true, `a machine

| what | measured | goal | reached |
|---|---|---|---|
| **reading** |  |  |  |
| against old | 5x (4 to 5) | ≥ 5x | yes |
| a line | 120 ns (110 to 120) | ≤ 130 ns | yes |
| against new | not measured: exec: "new": not found: apt-get install new | ≥ 5x |  |
| against broken, five words | not measured: broken: 3 of 4 hits |  |  |
| **writing** |  |  |  |
| fast | not measured: it was not run |  |  |
`},
	} {
		var got strings.Builder
		tab.print(&got, test.markdown)
		if got.String() != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got.String(), test.want)
		}
	}
}

func TestGoals(t *testing.T) {
	for _, test := range []struct {
		goal                  goal
		value                 float64
		text, figure, reached string
	}{
		{atLeast(200, "x"), 200, "≥ 200x", "200x", "yes"},
		{atLeast(200, "x"), 199.6, "≥ 200x", "200x", "no"},
		{atMost(1.1, "x"), 1.1, "≤ 1.1x", "1.1x", "yes"},
		{atMost(1.1, "x"), 1.1002, "≤ 1.1x", "1.1x", "no"},
		{atMost(30, "MiB"), 12345.6, "≤ 30 MiB", "12346 MiB", "no"},
		{atMost(0, "lines"), 0, "≤ 0 lines", "0 lines", "yes"},
		{shown("µs"), 0.012345, "", "0.0123 µs", ""},
	} {
		if got := test.goal.String(); got != test.text {
			t.Errorf("goal: got %q, want %q", got, test.text)
		}
		if got := test.goal.quantity(test.value); got != test.figure {
			t.Errorf("%v: got %q, want %q", test.value, got, test.figure)
		}
		if got := test.goal.reached(test.value); got != test.reached {
			t.Errorf("%v %v: got %q, want %q", test.value, test.goal, got, test.reached)
		}
	}
}

// A row can name no benchmark that is not there. What is below it shows when it is run.
func TestSuitesHaveBenchmarks(t *testing.T) {
	listed := make(map[string]string)
	for _, s := range suites {
		if listed[s.room] == "" {
			list := exec.Command("go", "test", "-list", "^Benchmark", s.room)
			list.Dir = "../.."
			out, err := list.CombinedOutput()
			if err != nil {
				t.Fatalf("list the benchmarks of %s: %v: %s", s.room, err, out)
			}
			listed[s.room] = "\n" + string(out)
		}
		if !strings.Contains(listed[s.room], "\nBenchmark"+s.bench+"\n") {
			t.Errorf("%s has no Benchmark%s", s.room, s.bench)
		}
	}
}

// One suite from end to end: all of its rows are measured.
func TestOneSuite(t *testing.T) {
	lab.Require(t)
	t.Chdir("../..")
	var out, progress bytes.Buffer
	raw := filepath.Join(t.TempDir(), "raw", "bench.txt")
	if err := run(t.Context(), []string{"-quick", "-only", "loader.OneSource", "-raw", raw}, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if strings.Contains(out.String(), "not measured") || !strings.Contains(out.String(), "one CPU   ") {
		t.Errorf("got\n%s", out.String())
	}
}
