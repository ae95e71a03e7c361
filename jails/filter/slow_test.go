package filter

import (
	"bytes"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a rule may take for a hostile line, in time of the CPU: slow, or on a machine that is slow
// itself so many times what the floor takes, whichever is more.
const (
	slow   = 20 * time.Millisecond
	floors = 100
)

// floor is a regex that looks at every byte and keeps nothing.
var floor = regexp.MustCompile(`[a-z]\x00$`)

// A line that nearly matches, a part of it repeated and its tail broken, is what makes an engine
// that backtracks try everything. Each shipped rule is tried alone, without its filter's limit on length.
func TestNoShippedRuleIsSlow(t *testing.T) {
	runtime.LockOSThread() // whose time is measured
	defer runtime.UnlockOSThread()
	tried, worst, worstRule := make(map[string]bool), time.Duration(0), ""
	for _, f := range shipped(t) {
		samples := f.sampleLines()
		for i := range f.rules {
			rule := &f.rules[i]
			if tried[rule.Expanded] {
				continue
			}
			tried[rule.Expanded] = true
			lines := samples[i]
			if len(lines) == 0 {
				t.Errorf("%v: %s: no sample to begin with", f, rule.Name)
				continue
			}
			for _, line := range broken(lines[0]) {
				took, limit, err := slowest(rule, line)
				if err != nil || took > limit {
					t.Errorf("%v: %s takes %v, more than %v (%v): %d bytes of %.200q", f, rule.Name, took, limit, err, len(line), line)
				}
				if took > worst {
					worst, worstRule = took, f.String()+": "+rule.Name
				}
			}
		}
	}
	t.Logf("%d rules; the slowest line takes %v: %s", len(tried), worst, worstRule)
	if len(tried) < 150 {
		t.Errorf("only %d rules were tried", len(tried))
	}
}

// slowest is how long rule takes for line, the best of three tries where one is too long, and how
// long it may take. The error is the engine's, which has given up.
func slowest(rule *rule, line []byte) (took, limit time.Duration, err error) {
	for range 3 {
		began := threadTime()
		_, err = rule.find(line, &budget{})
		once := threadTime() - began
		if took == 0 || once < took {
			took = once
		}
		if err != nil || took <= slow {
			return took, slow, err
		}
	}
	began := threadTime()
	floor.Match(line)
	return took, max(slow, floors*(threadTime()-began)), nil
}

// broken makes hostile lines of one that matches: each of its words, and what follows each of
// them, repeated to 2 and 8 KB, the rest behind it, without the last character and with another.
func broken(line []byte) [][]byte {
	line = bytes.TrimRight(line, " \r\n")
	var lines [][]byte
	for _, at := range words(line) {
		end := len(line)
		if next := bytes.IndexByte(line[at+1:], ' '); next >= 0 {
			end = at + 1 + next
		}
		for _, part := range [][]byte{line[at:end], line[at:]} {
			for _, size := range []int{2 << 10, 8 << 10} {
				long := string(line[:at]) + strings.Repeat(string(part), size/len(part)+1)
				rest := string(line[end:])
				lines = append(lines,
					[]byte(long+rest+"\x00"),
					[]byte(long+strings.TrimSuffix(rest, string(line[len(line)-1:]))))
			}
		}
	}
	return lines
}

// words is where each word of line begins, with the space before it.
func words(line []byte) []int {
	at := []int{0}
	for i, b := range line {
		if b == ' ' && i > 0 && i+1 < len(line) {
			at = append(at, i)
		}
	}
	return at
}

// A rule that never comes to an end is seen to be one.
func TestASlowRuleIsFound(t *testing.T) {
	f := build(t, `failregex: [{ name: a, trust: verified, regex: '^(?P<w>a+)+(?P=w)b from <HOST>$' }]`)
	if _, _, err := slowest(&f.rules[0], []byte("aaaab from 192.0.2.7")); err != nil {
		t.Errorf("a line that is none of its problems: %v", err)
	}
	if took, _, err := slowest(&f.rules[0], []byte(strings.Repeat("a", 2<<10)+"cb from 192.0.2.7")); err == nil {
		t.Errorf("2 KB that the engine cannot finish take %v", took)
	}
}
