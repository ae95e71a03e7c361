package filter

import (
	"fmt"
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
	for i, s := range f.NewReader(time.UTC).Speeds(lines, noon, time.Hour, order) {
		if s.Lines < len(lines) || s.Bytes != int64(s.Lines*len(" bad 192.0.2.7")) || s.Took <= 0 || s.PerLine() <= 0 || s.PerSecond() <= 0 {
			t.Errorf("rule %d: %+v", i, s)
		}
	}
	var seven []string
	for i := range 7 {
		seven = append(seven, fmt.Sprintf("^ bad %d? ?<HOST>$", i))
	}
	g, err := Inline("seven", seven)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range g.NewReader(time.UTC).Speeds(lines, noon, 1, []int{6, 5, 4, 3, 2, 1, 0}) {
		if want := rounds; i < 5 && s != (Speed{}) || i >= 5 && s.Lines != want {
			t.Errorf("beyond the limit rule %d: %+v, want %d lines of the first %d in order", i, s, want, measured)
		}
	}
	if s := f.NewReader(time.UTC).Speeds(nil, noon, time.Hour, order)[0]; s != (Speed{}) || s.PerLine() != 0 || s.PerSecond() != 0 {
		t.Errorf("of no line: %+v", s)
	}
}
