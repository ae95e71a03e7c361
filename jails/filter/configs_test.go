package filter

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shipped reads the filters that xdpban comes with.
func shipped(t testing.TB) []*Filter {
	t.Helper()
	paths, err := filepath.Glob("../../configs/filters/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no filters: %v", err)
	}
	filters := make([]*Filter, len(paths))
	for i, path := range paths {
		filters[i] = load(t, path)
	}
	return filters
}

func load(t testing.TB, path string) *Filter {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := Parse(path, data)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(strings.TrimSuffix(filepath.Base(path), ".yaml"), spec)
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

// Each rule is shown by three samples or more, one of them of IPv6.
func TestShippedRulesHaveSamples(t *testing.T) {
	for _, f := range shipped(t) {
		hits, sixes := make([]int, len(f.rules)), make([]int, len(f.rules))
		for _, sample := range f.samples {
			got := f.NewReader(time.UTC).Read([]byte(sample.V.Line), noon)
			if got.Outcome != Matched {
				continue
			}
			hits[got.Rule]++
			if got.Addr.Is6() {
				sixes[got.Rule]++
			}
		}
		for i, rule := range f.rules {
			if hits[i] < 3 || sixes[i] == 0 {
				t.Errorf("%s: %s: %d samples, %d of IPv6", f.Name, rule.Name, hits[i], sixes[i])
			}
		}
	}
}

// framed are the addresses that attackers write in the shipped samples.
var framed = netip.MustParsePrefix("203.0.113.0/24")

func TestOnlyUntrustedRulesNameWhomTheAttackerNames(t *testing.T) {
	quoted := 0
	for _, f := range shipped(t) {
		for _, sample := range f.samples {
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
		for _, sample := range f.samples {
			for _, text := range anIPv4.FindAllString(sample.V.Line, -1) {
				if !strings.HasPrefix(text, "192.0.2.") && !strings.HasPrefix(text, "198.51.100.") && !strings.HasPrefix(text, "203.0.113.") {
					t.Errorf("%s:%d: %s", sample.File, sample.Line, text)
				}
			}
		}
	}
}
