package dfa_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"xdpban/jails/filter"
	"xdpban/jails/filter/dfa"
)

// A shippedFilter is the rules of a filter that xdpban comes with, tags expanded, and its samples.
type shippedFilter struct {
	name    string
	exprs   []string
	samples []string
}

func shipped(t testing.TB) []shippedFilter {
	t.Helper()
	paths, err := filepath.Glob("../../../configs/filters/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no filters: %v", err)
	}
	var filters []shippedFilter
	for _, path := range paths {
		filters = append(filters, load(t, path))
	}
	return filters
}

func load(t testing.TB, path string) shippedFilter {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := filter.Parse(path, data)
	if err != nil {
		t.Fatal(err)
	}
	made := shippedFilter{name: strings.TrimSuffix(filepath.Base(path), ".yaml")}
	for _, mode := range spec.Modes() {
		f, err := filter.New(path, spec, mode)
		if err != nil {
			t.Fatal(err)
		}
		made.add(f.Rules())
	}
	for _, sample := range spec.Samples {
		made.samples = append(made.samples, sample.V.Line)
	}
	return made
}

// add adds the rules that Go's regexes can say.
func (f *shippedFilter) add(rules []filter.Rule) {
	for _, rule := range rules {
		if _, err := regexp.Compile(rule.Expanded); err == nil && !slices.Contains(f.exprs, rule.Expanded) {
			f.exprs = append(f.exprs, rule.Expanded)
		}
	}
}

func compile(t testing.TB, exprs []string) *dfa.Set {
	t.Helper()
	set, err := dfa.Compile(exprs)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// first asks each regex in turn, and then where its groups are.
func first(rules []*regexp.Regexp, line []byte) string {
	for i, re := range rules {
		if found := re.FindSubmatchIndex(line); found != nil {
			return fmt.Sprint(i, found)
		}
	}
	return "none"
}

// look is the same by m.
func look(m *dfa.Machine, line []byte) string {
	rule := m.Match(line)
	if rule < 0 {
		return "none"
	}
	return fmt.Sprint(rule, m.Groups(nil, line))
}

// mutants are what becomes of samples by chance: cut, repeated, spliced, with other bytes.
func mutants(samples []string, n int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() string { return samples[random.IntN(len(samples))] }
	part := func(s string) string {
		from := random.IntN(len(s) + 1)
		return s[from : from+random.IntN(len(s)-from+1)]
	}
	lines := make([][]byte, n)
	for i := range lines {
		line := pick()
		for range random.IntN(4) {
			at := random.IntN(len(line) + 1)
			switch random.IntN(6) {
			case 0:
				line = line[at:]
			case 1:
				line = line[:at]
			case 2:
				line = line[:at] + part(pick()) + line[at:]
			case 3:
				line = line[:at] + strings.Repeat(part(line), random.IntN(4)) + line[at:]
			case 4:
				line = line[:at] + string([]byte{byte(random.IntN(256))}) + line[at:]
			case 5:
				line = line[:at] + pick()[:8] + line[at:]
			}
		}
		lines[i] = []byte(line)
	}
	return lines
}

// undated are samples as rules see them: without what may be a date in front.
func undated(samples []string) []string {
	dates := regexp.MustCompile(`^((?:<\d+>(?:1 )?)?\[?)(?:(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \d]\d [\d:.]+(?: \d{4})?|\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-][\d:]+)?)`)
	lines := slices.Clone(samples)
	for _, sample := range samples {
		lines = append(lines, dates.ReplaceAllString(sample, "$1"))
	}
	return lines
}

func TestShippedRulesSayWhatRegexpSays(t *testing.T) {
	for _, f := range shipped(t) {
		set := compile(t, f.exprs)
		machines := map[string]*dfa.Machine{
			"roomy": set.NewMachine(dfa.Options{}),
			"small": set.NewMachine(dfa.Options{Bytes: 1 << 15}),
			"tiny":  set.NewMachine(dfa.Options{Bytes: 1}),
		}
		var rules []*regexp.Regexp
		for _, expr := range f.exprs {
			rules = append(rules, regexp.MustCompile(expr))
		}
		lines := undated(f.samples)
		hits := 0
		for _, line := range append(mutants(lines, 2000), bytesOf(lines)...) {
			want := first(rules, line)
			if want != "none" {
				hits++
			}
			for size, m := range machines {
				if got := look(m, line); got != want {
					t.Fatalf("%s, %s machine: %q: got %s, want %s", f.name, size, line, got, want)
				}
			}
		}
		if hits < 40 {
			t.Errorf("%s: only %d lines match", f.name, hits)
		}
	}
}

func bytesOf(texts []string) [][]byte {
	lines := make([][]byte, len(texts))
	for i, text := range texts {
		lines[i] = []byte(text)
	}
	return lines
}

// hostile makes long lines out of a sample: repeated, with its middle repeated, with its end
// broken off, and with bytes that are not UTF-8.
func hostile(line string, size int) [][]byte {
	times := size/len(line) + 1
	half := len(line) / 2
	return bytesOf([]string{
		strings.Repeat(line, times),
		line[:half] + strings.Repeat(line[half/2:half], 4*times) + line[half:],
		line + strings.Repeat(line[:len(line)-1], times),
		line[:half] + strings.Repeat("\xff\xe2\x82", size/3) + line[half:],
	})
}

func TestHostileLinesOfShippedRules(t *testing.T) {
	for _, f := range shipped(t) {
		set := compile(t, f.exprs)
		m := set.NewMachine(dfa.Options{Bytes: 1 << 18})
		var rules []*regexp.Regexp
		for _, expr := range f.exprs {
			rules = append(rules, regexp.MustCompile(expr))
		}
		lines := undated(f.samples)
		for i := 0; i < len(lines); i += 1 + len(lines)/12 {
			for _, line := range hostile(lines[i], 8<<10) {
				if got, want := look(m, line), first(rules, line); got != want {
					t.Errorf("%s: %.80q...: got %s, want %s", f.name, line, got, want)
				}
			}
		}
	}
}

func TestLinesCostNoAllocation(t *testing.T) {
	for _, f := range shipped(t) {
		// The rules of all modes, which no jail has, and all samples of them want more room than a log does.
		m := compile(t, f.exprs).NewMachine(dfa.Options{Bytes: 2 * dfa.DefaultBytes})
		lines := append(bytesOf(undated(f.samples)), hostile(f.samples[0], 4096)...)
		look := func() {
			for _, line := range lines {
				if rule := m.Match(line); rule >= 0 {
					m.Group(line, 1)
				}
			}
		}
		look() // builds the states
		if allocs := testing.AllocsPerRun(10, look); allocs != 0 {
			t.Errorf("%s: %v allocations", f.name, allocs)
		}
	}
}

// Lines that need new states without end cost memory up to the limit and then none.
func TestStatesKeepToTheirLimit(t *testing.T) {
	const limit = 1 << 16
	m := compile(t, []string{`^(?:a|b)*a(?:a|b){20}$`, `b(?:a|b){15}c`}).NewMachine(dfa.Options{Bytes: limit})
	random := rand.New(rand.NewPCG(1, 2))
	lines := make([][]byte, 50)
	for i := range lines {
		for range 2000 {
			lines[i] = append(lines[i], 'a'+byte(random.IntN(2)))
		}
	}
	look := func() {
		for _, line := range lines {
			m.Match(line)
			if size := m.Size(); size > limit+limit/4 {
				t.Fatalf("the states take %d bytes", size)
			}
		}
	}
	look()
	if allocs := testing.AllocsPerRun(1, look); allocs > 50*float64(len(lines)) {
		t.Errorf("%v allocations", allocs)
	}
}

func TestMachinesOfOneSetWorkSideBySide(t *testing.T) {
	f := load(t, "../../../configs/filters/sshd.yaml")
	set := compile(t, f.exprs)
	lines := bytesOf(undated(f.samples))
	var want []string
	for _, line := range lines {
		want = append(want, look(set.NewMachine(dfa.Options{}), line))
	}
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			m := set.NewMachine(dfa.Options{Bytes: 1 << (12 + 4*i)})
			for j, line := range lines {
				if got := look(m, line); got != want[j] {
					t.Errorf("%q: got %s, want %s", line, got, want[j])
				}
			}
		})
	}
	wait.Wait()
}
