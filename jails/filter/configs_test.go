package filter

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"xdpban/internal/yamldoc"
)

// shipped reads the filters that xdpban comes with, in each of their modes.
func shipped(t testing.TB) []*Filter {
	t.Helper()
	paths, err := filepath.Glob("../../configs/filters/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no filters: %v", err)
	}
	var filters []*Filter
	for _, path := range paths {
		for _, mode := range parse(t, path).Modes() {
			filters = append(filters, load(t, path, mode))
		}
	}
	return filters
}

// samples are those that f reads in its own mode.
func (f *Filter) samples() []yamldoc.Value[Sample] {
	return slices.DeleteFunc(slices.Clone(f.spec.Samples), func(s yamldoc.Value[Sample]) bool { return s.V.mode() != f.Mode })
}

func parse(t testing.TB, path string) *Spec {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := Parse(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func load(t testing.TB, path, mode string) *Filter {
	t.Helper()
	f, err := New(strings.TrimSuffix(filepath.Base(path), ".yaml"), parse(t, path), mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestShippedFiltersMeetTheirSamples(t *testing.T) {
	for _, f := range shipped(t) {
		for _, failed := range f.Check() {
			t.Errorf("%v\n%s", failed, failed.Text)
		}
	}
}

// Each rule is shown by three samples or more, one of them of IPv6, in whichever mode.
func TestShippedRulesHaveSamples(t *testing.T) {
	type rule struct{ filter, name string }
	hits, sixes := make(map[rule]int), make(map[rule]int)
	for _, f := range shipped(t) {
		for _, sample := range f.samples() {
			got := f.NewReader(time.UTC).Read([]byte(sample.V.Line), noon)
			if got.Outcome != Matched {
				continue
			}
			at := rule{f.Name, f.rules[got.Rule].Name}
			hits[at]++
			if got.Addr.Is6() {
				sixes[at]++
			}
		}
	}
	for _, f := range shipped(t) {
		for _, r := range f.rules {
			if at := (rule{f.Name, r.Name}); hits[at] < 3 || sixes[at] == 0 {
				t.Errorf("%v: %s: %d samples, %d of IPv6", f, r.Name, hits[at], sixes[at])
			}
		}
	}
}

// Each rule that lets text of a client's through is shown by a sample in which the client tries to
// name another host: one that the rule matches, or one that it would nearly match.
func TestShippedRulesAreShownToBeAttacked(t *testing.T) {
	type rule struct{ filter, name string }
	attacked := make(map[rule]bool)
	filters := shipped(t)
	for _, f := range filters {
		searcher := NewSearcher(f.NewReader(time.UTC))
		for _, sample := range f.samples() {
			line := []byte(sample.V.Line)
			if !strings.Contains(sample.V.Line, "203.0.113.") {
				continue
			}
			if got := f.NewReader(time.UTC).Read(line, noon); got.Outcome == Matched {
				attacked[rule{f.Name, f.rules[got.Rule].Name}] = true
			} else if near, ok := searcher.NearMiss(line, noon); ok {
				attacked[rule{f.Name, f.rules[near.Rule].Name}] = true
			}
		}
	}
	for _, f := range filters {
		for i, r := range f.rules {
			if !attacked[rule{f.Name, r.Name}] && f.letsThrough(t, i) {
				t.Errorf("%v: %s: no sample tries to name somebody else", f, r.Name)
			}
		}
	}
}

// letsThrough reports whether a line of rule i holds a part of any text.
func (f *Filter) letsThrough(t *testing.T, i int) bool {
	s, err := f.shapeOf(i)
	if err != nil {
		t.Fatal(err)
	}
	for turn := range turns(s.tree) {
		if slices.ContainsFunc(s.lineOf(turn), func(part segment) bool { return part.kind == wild }) {
			return true
		}
	}
	return false
}

// framed are the addresses that attackers write in the shipped samples.
var framed = netip.MustParsePrefix("203.0.113.0/24")

func TestOnlyUntrustedRulesNameWhomTheAttackerNames(t *testing.T) {
	quoted := 0
	for _, f := range shipped(t) {
		for _, sample := range f.samples() {
			line := sample.V.Line
			if !strings.Contains(line, "203.0.113.") {
				continue
			}
			quoted++
			got := f.NewReader(time.UTC).Read([]byte(line), noon)
			if got.Outcome == Matched && framed.Contains(got.Addr) && f.rules[got.Rule].Trust != Untrusted {
				t.Errorf("%s:%d: %s names %v", sample.File, sample.Line, f.rules[got.Rule].Name, got.Addr)
			}
		}
	}
	if quoted < 50 {
		t.Errorf("only %d samples quote another host", quoted)
	}
}

var anIPv4 = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)

func TestSamplesHoldDocumentationAddressesOnly(t *testing.T) {
	for _, f := range shipped(t) {
		for _, sample := range f.samples() {
			for _, text := range anIPv4.FindAllString(sample.V.Line, -1) {
				if !strings.HasPrefix(text, "192.0.2.") && !strings.HasPrefix(text, "198.51.100.") && !strings.HasPrefix(text, "203.0.113.") {
					t.Errorf("%s:%d: %s", sample.File, sample.Line, text)
				}
			}
		}
	}
}
