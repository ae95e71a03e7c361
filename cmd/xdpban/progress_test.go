package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBarIsDrawnAfterAMomentAndTakenAway(t *testing.T) {
	now := time.Date(2026, 11, 9, 18, 47, 21, 0, time.UTC)
	out := new(strings.Builder)
	b := newBar(out, 100_000_000, func() time.Time { return now })
	line := 0
	pass := func(d time.Duration, bytes int64) string {
		now = now.Add(d)
		out.Reset()
		for range seldom {
			line++
			b.show(bytes, line)
		}
		return out.String()
	}
	for _, c := range []struct {
		after time.Duration
		bytes int64
		want  string
	}{
		{moment - 1, 1_000_000, ""},
		{1, 10_000_000, "\r\x1b[K 10 %  [##                  ]  10.0 MB of 100 MB, 512 lines, 4s left"},
		{again - 1, 11_000_000, ""},
		{again, 50_000_000, "\r\x1b[K 50 %  [##########          ]  50.0 MB of 100 MB, 1,024 lines, 0s left"},
		{10 * time.Second, 100_000_001, "\r\x1b[K100 MB, 1,280 lines, 9.2 MB/s"},
	} {
		if got := pass(c.after, c.bytes); got != c.want {
			t.Errorf("%d bytes: %q, want %q", c.bytes, got, c.want)
		}
	}
	out.Reset()
	if b.clear(); out.String() != "\r\x1b[K" {
		t.Errorf("cleared with %q", out)
	}
}

func TestNoBarWhereNothingTakesLong(t *testing.T) {
	out := new(strings.Builder)
	b := newBar(out, 0, time.Now)
	b.show(1, 1)
	b.clear()
	(*bar)(nil).show(1, seldom)
	(*bar)(nil).clear()
	if out.String() != "" {
		t.Errorf("drawn: %q", out)
	}
	if (&program{stderr: out}).bar(strings.NewReader("")) != nil {
		t.Error("a bar for what is no terminal")
	}
}

func TestAnExcerptIsOfAllParts(t *testing.T) {
	e := excerpt{room: speedKept}
	for n := 1; n <= 100_000; n++ {
		e.add(n, fmt.Appendf(nil, "%-*d", 90+n%20, n))
	}
	if len(e.text) > speedKept || len(e.text) < speedKept/4 {
		t.Errorf("%d lines, %d bytes", len(e.ends), len(e.text))
	}
	parts, last := make(map[int]int), 0
	for _, line := range e.lines() {
		n, err := strconv.Atoi(strings.TrimSpace(string(line)))
		if err != nil || len(line) != 90+n%20 || n <= last {
			t.Fatalf("behind line %d: %q", last, line)
		}
		parts[n/10_001]++
		last = n
	}
	for part := range 10 {
		if share := parts[part] * 10; share < len(e.ends)/2 {
			t.Errorf("%d of %d lines are of part %d", parts[part], len(e.ends), part)
		}
	}
}
