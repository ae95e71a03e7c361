package filter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a stamp remembers never changes what a date means.
func TestStampReadsTheSameTimes(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var s stamp
		now := time.Date(2026, time.November, rapid.IntRange(7, 11).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 47, 20, 0, zurich)
		line := []byte(rapid.SampledFrom(handDated).Draw(t, "first"))
		for range rapid.IntRange(1, 10).Draw(t, "lines") {
			date, _ := locate(line, 0)
			at, ok := s.read(&date, line, zurich, now)
			want, known := date.read(line, zurich, now)
			if ok != known || ok && (!at.Equal(want) || at.String() != want.String()) {
				t.Fatalf("%q at %v: %v %v, want %v %v", line, now, at, ok, want, known)
			}
			line = mutated(t, line)
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "later")) * time.Second)
		}
	})
}

// Lines of one minute do not have their dates read again.
func TestStampKnowsTheMinute(t *testing.T) {
	var s stamp
	line := []byte("Nov  9 18:47:21 h x")
	date, _ := locate(line, 0)
	if _, ok := s.read(&date, line, time.UTC, noon); !ok {
		t.Fatal("not read")
	}
	for text, want := range map[string]int{"Nov  9 18:47:59": 59, "Nov  9 18:47:00": 0, "Nov  9 18:47:60": -1, "Nov  9 18:48:21": -1, "Nov  8 18:47:21": -1, "Nov  9 18:47:2": -1} {
		if got, ok := s.second([]byte(text)); ok != (want >= 0) || ok && got != want {
			t.Errorf("%s: second %d, %v; want %d", text, got, ok, want)
		}
	}
}
