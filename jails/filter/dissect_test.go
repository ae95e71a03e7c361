package filter

import (
	"testing"
	"time"
)

func TestDissect(t *testing.T) {
	at := time.Date(2026, 11, 9, 18, 47, 21, 0, time.UTC)
	for line, want := range map[string]Parts{
		"Nov  9 18:47:21 h sshd[1]: bad login": {"Nov  9 18:47:21", templates[0], at, true, " h sshd[1]: ", "bad login"},
		"[2026-11-09 18:47:21] NOTICE[1] bad":  {"2026-11-09 18:47:21", templates[1], at, true, "[] ", "NOTICE[1] bad"},
		"Nov 99 18:47:21 h sshd[1]: bad login": {"Nov 99 18:47:21", templates[0], time.Time{}, false, " h sshd[1]: ", "bad login"},
		"bad login":                            {Message: "bad login"},
		"":                                     {},
	} {
		if got := Dissect([]byte(line), time.UTC, at.Add(time.Hour)); got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", line, got, want)
		}
	}
}
