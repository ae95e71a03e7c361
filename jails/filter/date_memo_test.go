package filter

import (
	"testing"

	"pgregory.net/rapid"
)

// Lines whose dates are read by hand, in all ways in which these may begin and end.
var handDated = []string{
	"Nov  9 18:47:21 h sshd[1]: x", "Nov 19 18:47:21.123456 h sshd[1]: x", "<34>Nov  9 2026 18:47:21: x x x",
	"<34>1 2026-11-09T18:47:21.123+01:00 h sshd", "[2026-11-09 18:47:21] NOTICE[1]: x", "2026-11-09 18:47:21,123 x x x x",
	"2026-11-09T18:47:21Z h sshd[1]: x", "2026-11-09 18:47:21 +0100 x x x x", "2026-11-09 18:47:21-99 x x x x x",
	"Mon Nov  9 18:47:21 2026 x x x", "[Mon Nov  9 18:47:21.123 20261 x x", "Mon Nov  9 18:47:21 x x x x", "Nov  9 18:47:21",
	"x 2026-11-09 18:47:21 x", "[[2026-11-09 18:47:21", "<3412>Nov  9 18:47:21 h x",
}

// What is remembered of the line before never changes where the next one has its date.
func TestMemoFindsTheSameDates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLearner(&dates{})
		line := []byte(rapid.SampledFrom(handDated).Draw(t, "first"))
		for range rapid.IntRange(1, 8).Draw(t, "lines") {
			want, _ := locate(line, l.prefer)
			if got := *l.locateByHand(line); got != want {
				t.Fatalf("%q: date %v, want %v", line, got, want)
			}
			if rapid.IntRange(0, 9).Draw(t, "other") == 0 {
				line = []byte(rapid.SampledFrom(handDated).Draw(t, "line"))
			}
			line = mutated(t, line)
		}
	})
}

// mutated is line with some bytes changed, mostly into those that dates are made of, or cut off.
func mutated(t *rapid.T, line []byte) []byte {
	line = append([]byte(nil), line...)
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		if len(line) == 0 {
			break
		}
		at := rapid.IntRange(0, min(len(line)-1, 34)).Draw(t, "at")
		line[at] = rapid.SampledFrom([]byte("0123456789019 :.,+-TZ[]<>aN/;\x00\xff")).Draw(t, "byte")
	}
	if rapid.IntRange(0, 19).Draw(t, "cut") == 0 {
		line = line[:rapid.IntRange(0, len(line)).Draw(t, "length")]
	}
	return line
}

// Lines of other seconds are remembered too, and those of another shape are not.
func TestMemoFitsLinesOfOtherTimes(t *testing.T) {
	l := newLearner(&dates{})
	l.locateByHand([]byte("Nov  9 18:47:21 h sshd[1]: x"))
	for line, want := range map[string]bool{
		"Nov  8 00:00:59 h sshd[1]: x":  true,
		"Nov 10 18:47:21 h sshd[1]: x":  false,
		"Dec  9 18:47:21 h sshd[1]: x":  false,
		"Nov  9 18:4::21 h sshd[1]: x":  false,
		"Nov  9 18:4/:21 h sshd[1]: x":  false,
		"Nov  9 18:47:210 h sshd[1]: x": false,
	} {
		if got := l.hand.fits([]byte(line)); got != want {
			t.Errorf("%q fits: %v, want %v", line, got, want)
		}
	}
}
