package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSamplesAreMet runs "xdpban regex" with the filters in /etc/fail2ban over a folder of samples, whose
// name is in XDPBAN_SAMPLES: sessions.json lists filters with options, sessions/ID.log are their logs, and
// expectations.jsonl says of each line whether it is a failure, of whom, when, and with what
// captured.
func TestSamplesAreMet(t *testing.T) {
	dir := os.Getenv("XDPBAN_SAMPLES")
	if dir == "" {
		t.Skip("XDPBAN_SAMPLES names no folder of samples")
	}
	suite := readSuite(t, dir)
	met, all := 0, 0
	for _, s := range suite.Sessions {
		t.Run(s.ID+" "+s.Spec, func(t *testing.T) {
			got := suite.try(t, dir, s)
			for _, want := range suite.expected[s.ID] {
				all++
				if fault := want.fault(got[want.LineNo]); fault != "" {
					t.Errorf("line %d: %s: %.200s", want.LineNo, fault, want.Line)
					continue
				}
				met++
			}
		})
	}
	if all == 0 {
		t.Fatalf("%s expects nothing", dir)
	}
	t.Logf("%d of %d expectations met", met, all)
}

// A suite is a folder of samples.
type suite struct {
	Now      json.Number `json:"now"` // seconds since 1970
	Zone     string      `json:"tz"`
	Sessions []session   `json:"sessions"`
	expected map[string][]expectation
}

// A session is one filter on one log.
type session struct {
	ID      string `json:"id"`
	Spec    string `json:"spec"`
	Journal bool   `json:"journal"`
}

// An expectation is what one line of a session's log is to give. Parts that are null may be
// anything.
type expectation struct {
	Session string         `json:"session"`
	LineNo  int            `json:"line_no"`
	Line    string         `json:"line"`
	Match   bool           `json:"match"`
	Host    *string        `json:"host"`
	Epoch   *float64       `json:"epoch"`
	Expect  map[string]any `json:"expect"` // attempts, and groups by name
}

// A finding is a line of what "regex --json" prints.
type finding struct {
	Line     int            `json:"line"`
	Match    bool           `json:"match"`
	ID       string         `json:"id"`
	Time     float64        `json:"time"`
	Attempts any            `json:"attempts"`
	Groups   map[string]any `json:"groups"`
}

func readSuite(t *testing.T, dir string) *suite {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "sessions.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{expected: make(map[string][]expectation)}
	if err := json.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, "expectations.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for all := json.NewDecoder(bufio.NewReader(file)); ; {
		var e expectation
		err := all.Decode(&e)
		if err == io.EOF {
			return s
		}
		if err != nil {
			t.Fatal(err)
		}
		s.expected[e.Session] = append(s.expected[e.Session], e)
	}
}

// try runs one session and returns what was found, by line.
func (s *suite) try(t *testing.T, dir string, one session) map[int]finding {
	t.Helper()
	out, complaint := new(strings.Builder), new(strings.Builder)
	p := &program{stdin: strings.NewReader(""), stdout: out, stderr: complaint, environ: os.Getenv}
	code := p.run([]string{"regex", "--json", "--config", "/etc/fail2ban", "--now", s.Now.String(), "--tz", s.Zone,
		"--journal=" + strconv.FormatBool(one.Journal), filepath.Join(dir, "sessions", one.ID+".log"), one.Spec})
	if code != 0 {
		t.Fatalf("ends with %d: %s", code, complaint)
	}
	found := make(map[int]finding)
	for line := range strings.Lines(out.String()) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		found[f.Line] = f
	}
	return found
}

// fault says in what f is not what is expected; "": in nothing.
func (e *expectation) fault(f finding) string {
	switch {
	case f.Match != e.Match:
		return fmt.Sprintf("match is %t, want %t", f.Match, e.Match)
	case !f.Match:
		return ""
	case e.Host != nil && sameHost(f.ID) != sameHost(*e.Host):
		return fmt.Sprintf("id is %q, want %q", f.ID, *e.Host)
	case e.Epoch != nil && math.Abs(f.Time-*e.Epoch) > 0.001:
		return fmt.Sprintf("time is %f, want %f", f.Time, *e.Epoch)
	}
	for name, want := range e.Expect {
		got := f.Groups[name]
		if name == "attempts" {
			got = f.Attempts
		}
		if !sameCapture(got, want) {
			return fmt.Sprintf("%s is %v, want %v", name, got, want)
		}
	}
	return ""
}

// sameHost is an address in its usual notation, or the name that it is instead.
func sameHost(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String()
	}
	return host
}

// sameCapture compares what was captured; of lists the order does not matter.
func sameCapture(got, want any) bool {
	list, ok := want.([]any)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	other, _ := got.([]any)
	return slices.Equal(sortedTexts(other), sortedTexts(list))
}

func sortedTexts(list []any) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
	}
	slices.Sort(texts)
	return texts
}
