package filter

import (
	"slices"
	"testing"
	"time"
)

func TestSpeedsAreThoseOfTheLinesWithoutDates(t *testing.T) {
	f := build(t, `
failregex:
  - { name: a, trust: verified, regex: '^ bad <HOST>$' }
  - { name: b, trust: verified, regex: '^ good <HOST>$' }
`)
	lines := slices.Repeat([][]byte{[]byte("2026-11-09 10:00:00 bad 192.0.2.7")}, 2*rounds+1)
	order := []int{1, 0}
	for i, s := range f.Speeds(f.NewReader(time.UTC), lines, noon, time.Hour, order) {
		if s.Lines < len(lines) || s.Bytes != int64(s.Lines*len(" bad 192.0.2.7")) || s.Took <= 0 || s.PerLine() <= 0 || s.PerSecond() <= 0 {
			t.Errorf("rule %d: %+v", i, s)
		}
	}
	if s := f.Speeds(f.NewReader(time.UTC), lines, noon, 1, order); s[1].Lines != rounds || s[0] != (Speed{}) {
		t.Errorf("beyond the limit: %+v, want %d lines of the first in order", s, rounds)
	}
	if s := f.Speeds(f.NewReader(time.UTC), nil, noon, time.Hour, order)[0]; s != (Speed{}) || s.PerLine() != 0 || s.PerSecond() != 0 {
		t.Errorf("of no line: %+v", s)
	}
}
