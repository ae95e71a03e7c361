package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/perf/benchfmt"
)

// findings are what benchmarks have said, by their names without Benchmark.
type findings struct {
	figures map[string]map[string][]float64 // by metric, one a run
	reasons map[string]string               // why there are none
}

// measure runs the suite, tells of it, and writes what it prints to raw. With an error may come
// findings. Whatever it starts or makes is gone when measure returns, also when ctx ends it.
func (s suite) measure(ctx context.Context, quick bool, raw, progress io.Writer) (findings, error) {
	if ctx.Err() != nil {
		return findings{}, ctx.Err()
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return findings{}, fmt.Errorf("make a directory for logs: %w", err)
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(progress, "%s %s: %s\n", s.room, s.bench, s.title)
	began := time.Now()
	out := new(bytes.Buffer)
	cmd := s.command(ctx, quick)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "REQUIRE_KERNEL=1")
	cmd.Stdout, cmd.Stderr = io.MultiWriter(out, raw), io.MultiWriter(out, raw)
	err = cmd.Run()
	fmt.Fprintf(progress, "  took %v\n", time.Since(began).Round(time.Second))
	found := read(out.Bytes())
	if err != nil && found.reasons[s.bench] == "" {
		found.reasons[s.bench] = err.Error()
	}
	return found, err
}

// command is that of the suite. The group of processes that it starts ends together.
func (s suite) command(ctx context.Context, quick bool) *exec.Cmd {
	length := cmp.Or(s.time, "1x")
	args := []string{"test", "-v", "-run", "^$", "-bench", "^Benchmark" + s.bench + "$", "-benchtime", length, "-timeout", "30m"}
	if quick {
		args = append(args, "-short")
	} else {
		args = append(args, fmt.Sprintf("-count=%d", s.count))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, s.room)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// Of what go test -v prints: why, and then that a benchmark was skipped or failed.
var (
	said  = regexp.MustCompile(`^ +\S+_test\.go:\d+: (.*)`)
	ended = regexp.MustCompile(`^--- (SKIP|FAIL): Benchmark(\S+)`)
)

// read takes the findings out of what go test -v has printed.
func read(out []byte) findings {
	f := findings{figures: make(map[string]map[string][]float64), reasons: make(map[string]string)}
	for in := benchfmt.NewReader(bytes.NewReader(out), ""); in.Scan(); {
		if result, ok := in.Result().(*benchfmt.Result); ok {
			f.add(result)
		}
	}
	last := ""
	for line := range strings.Lines(string(out)) {
		if match := said.FindStringSubmatch(line); match != nil {
			last = match[1]
		}
		if match := ended.FindStringSubmatch(line); match != nil {
			if last == "" {
				last = strings.ToLower(match[1])
			}
			f.reasons[match[2]] = last
			last = ""
		}
	}
	return f
}

func (f findings) add(result *benchfmt.Result) {
	base, parts := result.Name.Parts()
	if n := len(parts) - 1; n >= 0 && parts[n][0] == '-' { // the number of CPUs
		parts = parts[:n]
	}
	name := string(base) + string(bytes.Join(parts, nil))
	if f.figures[name] == nil {
		f.figures[name] = make(map[string][]float64)
	}
	for _, v := range result.Values {
		if v.OrigUnit != "" { // benchfmt counts in s and B
			v.Value, v.Unit = v.OrigValue, v.OrigUnit
		}
		f.figures[name][v.Unit] = append(f.figures[name][v.Unit], v.Value)
	}
}

// reason says why the benchmark name has no figure: what ended it, or one that it is part of.
func (f findings) reason(name string) string {
	for ; name != "."; name = path.Dir(name) {
		if why := f.reasons[name]; why != "" {
			return why
		}
	}
	return "it was not run"
}
