// Bench runs the benchmarks of all rooms that set us beside our peers and prints one table:
// what was measured, the goal, and whether it is reached. Each figure is a ratio, or a bound
// that holds on any machine; what is divided was measured in turns, so that a busy machine
// is busy for both. The raw runs go to a file that benchstat reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run does what args say; progress is told meanwhile. The table comes in any case, with what
// has been measured until then.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	markdown := flags.Bool("markdown", false, "print the table in Markdown")
	quick := flags.Bool("quick", false, "once instead of several times, and the long ones shorter")
	only := flags.String("only", "", "run those suites alone whose `REGEXP` matches room and benchmark, as ./loader.Ban")
	path := flags.String("raw", "bin/bench.txt", "write the raw runs to `FILE`")
	before := flags.String("read", "", "run nothing: print the table of the raw runs in `FILE`")
	peers := flags.String("peers", "", "Debian `PACKAGES` whose versions are told with the table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *before != "" {
		return reprint(*before, out, *markdown)
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	raw, err := create(*path)
	if err != nil {
		return err
	}
	defer raw.Close()
	t := table{machine: machine(strings.Fields(*peers))}
	fmt.Fprintln(raw, machineKey+t.machine)
	failed := 0
	for _, s := range suites {
		if !chosen.MatchString(s.room + "." + s.bench) {
			continue
		}
		found, err := s.measure(ctx, *quick, raw, progress)
		if err != nil && ctx.Err() == nil {
			failed++
			fmt.Fprintf(progress, "  %v; see %s\n", err, *path)
		}
		t.add(s, found)
	}
	t.print(out, *markdown)
	fmt.Fprintf(out, "\nThe raw runs are in %s.\n", *path)
	if ctx.Err() != nil {
		return errors.New("interrupted: what came to an end is in the table")
	}
	if len(t.lines) == 0 {
		return fmt.Errorf("no suite matches %s", *only)
	}
	if failed > 0 {
		return fmt.Errorf("%d suites failed", failed)
	}
	return raw.Close()
}

// machineKey begins the line of raw runs that says on what they were made.
const machineKey = "machine: "

// reprint prints the table of runs that were made before.
func reprint(path string, out io.Writer, markdown bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	t, found := table{machine: strings.TrimPrefix(first, machineKey)}, read(text)
	for _, s := range suites {
		t.add(s, found)
	}
	t.print(out, markdown)
	return nil
}

func create(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the raw runs: %w", err)
	}
	return os.Create(path)
}
