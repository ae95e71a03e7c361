package filter

import (
	"testing"
	"time"

	"xdpban/internal/yamldoc"
)

// datesOf reads patterns as a filter file has them.
func datesOf(t testing.TB, d Dialect, patterns ...string) *dates {
	t.Helper()
	values := make([]yamldoc.Value[string], len(patterns))
	for i, pattern := range patterns {
		values[i] = yamldoc.Value[string]{V: pattern}
	}
	dates, errs := newDates(values, d)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return dates
}

// A dated is what a line without its date is, and the date.
type dated struct {
	rest, date string
	at         time.Time // zero: it says no time there is
}

// dateIn finds and reads the date of one line.
func dateIn(l *learner, line string, loc *time.Location, now time.Time) dated {
	p := l.locate([]byte(line), now)
	at, ok := p.read([]byte(line), loc, now)
	if !ok {
		at = time.Time{}
	}
	return dated{line[:p.from] + line[p.to:], line[p.from:p.to], at}
}

func TestPatternsOfWebServersFindTheirDates(t *testing.T) {
	at := time.Date(2026, 11, 9, 17, 47, 21, 0, time.UTC)
	now := at.Add(time.Minute)
	for _, c := range []struct {
		pattern, line string
		want          dated
	}{
		{`\[%d/%b/%Y:%H:%M:%S %z\]`, `192.0.2.7 - eve [09/Nov/2026:18:47:21 +0100] "GET / HTTP/1.1" 404 9`,
			dated{`192.0.2.7 - eve  "GET / HTTP/1.1" 404 9`, "[09/Nov/2026:18:47:21 +0100]", at}},
		{`%d/%b/%Y:%H:%M:%S %z`, `192.0.2.7 - eve [09/Nov/2026:18:47:21 +0100] "GET / HTTP/1.1" 404 9`,
			dated{`192.0.2.7 - eve [] "GET / HTTP/1.1" 404 9`, "09/Nov/2026:18:47:21 +0100", at}},
		{`^%Y/%m/%d %H:%M:%S`, `2026/11/09 17:47:21 [error] 1#1: *1 user "eve" was not found`,
			dated{` [error] 1#1: *1 user "eve" was not found`, "2026/11/09 17:47:21", at}},
		{`"ts":{EPOCH}`, `{"level":"info","ts":1794246441.25,"msg":"handled request"}`,
			dated{`{"level":"info",,"msg":"handled request"}`, `"ts":1794246441.25`, at.Add(250 * time.Millisecond)}},
		{`"time":"(%Y-%m-%dT%H:%M:%S(?:\.%f)?%z)"`, `{"level":"error","time":"2026-11-09T17:47:21.5Z","msg":"x"}`,
			dated{`{"level":"error","time":"","msg":"x"}`, "2026-11-09T17:47:21.5Z", at.Add(500 * time.Millisecond)}},
	} {
		l := datesOf(t, Native, c.pattern).learner()
		for range 3 {
			if got := dateIn(l, c.line, time.UTC, now); got.rest != c.want.rest || got.date != c.want.date || !got.at.Equal(c.want.at) {
				t.Errorf("%s in %s:\ngot  %v\nwant %v", c.pattern, c.line, got, c.want)
			}
		}
	}
}
