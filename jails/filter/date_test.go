package filter

import (
	"testing"
	"time"
	_ "time/tzdata" // zones on hosts without them
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// only is a reader of a filter that matches every line and finds "h" in it.
func only(t testing.TB, loc *time.Location) *Reader {
	t.Helper()
	f, err := Inline("any", []string{`(?P<host>h)`})
	if err != nil {
		t.Fatal(err)
	}
	return f.NewReader(loc)
}

func TestDatesAreReadFromLines(t *testing.T) {
	berlin := time.FixedZone("east", 3600)
	now := time.Date(2026, 11, 9, 20, 0, 0, 0, berlin)
	utc := func(day, hour, minute, second, nano int) time.Time {
		return time.Date(2026, 11, day, hour, minute, second, nano, time.UTC)
	}
	for line, want := range map[string]time.Time{
		"Nov  9 18:47:21 h":                                 utc(9, 17, 47, 21, 0),
		"Nov 9 18:47:21 h":                                  utc(9, 17, 47, 21, 0),
		"Nov 09 18:47:21 h":                                 utc(9, 17, 47, 21, 0),
		"Nov  9 18:47:21.25 h":                              utc(9, 17, 47, 21, 250_000_000),
		"Nov  9 2026 18:47:21 h":                            utc(9, 17, 47, 21, 0),
		"<34>Nov  9 18:47:21 h":                             utc(9, 17, 47, 21, 0),
		"Mon Nov  9 18:47:21 2026 h":                        utc(9, 17, 47, 21, 0),
		"Mon Nov  9 18:47:21 h":                             utc(9, 17, 47, 21, 0),
		"[Nov  9 18:47:21] h":                               utc(9, 17, 47, 21, 0),
		"[2026-11-09 18:47:21.123] h":                       utc(9, 17, 47, 21, 123_000_000),
		"2026-11-09 18:47:21,5 h":                           utc(9, 17, 47, 21, 500_000_000),
		"2026-11-09T18:47:21 h":                             utc(9, 17, 47, 21, 0),
		"2026-11-09T18:47:21Z h":                            utc(9, 18, 47, 21, 0),
		"2026-11-09T18:47:21.123456789999+01:00 h":          utc(9, 17, 47, 21, 123_456_789),
		"2026-11-09T18:47:21-0530 h":                        utc(10, 0, 17, 21, 0),
		"2026-11-09T18:47:21+02 h":                          utc(9, 16, 47, 21, 0),
		"<34>1 2026-11-09T18:47:21.000003-07:00 h app 1 - ": utc(10, 1, 47, 21, 3000),
		"2026-11-09T23:59:60Z h":                            utc(10, 0, 0, 0, 0),
		"2024-02-29 00:00:00Z h":                            time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
	} {
		got := only(t, berlin).Read([]byte(line), now)
		if !got.Dated || !got.Time.Equal(want) {
			t.Errorf("%q: got %v (dated %v), want %v", line, got.Time.UTC(), got.Dated, want)
		}
		if got.Time.Location() != berlin {
			t.Errorf("%q: time in zone %v", line, got.Time.Location())
		}
	}
}

func TestLineWithoutRealDateIsOfNow(t *testing.T) {
	now := time.Date(2026, 11, 9, 20, 0, 0, 0, time.UTC)
	for line, template := range map[string]int{
		"h":                       -1,
		"":                        -1,
		"<":                       -1,
		"<34":                     -1,
		"<1234>Nov  9 18:47:21 h": -1,
		"x Nov  9 18:47:21 h":     -1,
		"Nov":                     -1,
		"Nov  9 18:47 h":          -1,
		"Nvo  9 18:47:21 h":       -1,
		"Nov  9 18:47:213 h":      -1,
		"Nov  9 18:47:21h":        -1,
		"2026-11-09 18:47 h":      -1,
		"2026-11-0918:47:21 h":    -1,
		"Feb 30 18:47:21 h":       0,
		"Feb 29 18:47:21 h":       0, // neither 2027, 2026 nor 2025 has one
		"Nov  0 18:47:21 h":       0,
		"Nov  9 25:47:21 h":       0,
		"Nov  9 18:60:21 h":       0,
		"Nov  9 18:47:61 h":       0,
		"2026-02-29 18:47:21 h":   1,
		"2100-02-29 18:47:21 h":   1,
		"2026-13-09 18:47:21 h":   1,
		"2026-00-09 18:47:21 h":   1,
		"2026-11-31 24:00:00 h":   1,
	} {
		got := only(t, time.UTC).Read([]byte(line+" h"), now)
		if got.Outcome != Matched || got.Dated || !got.Time.Equal(now) || got.Template != template {
			t.Errorf("%q: got %+v, want matched at %v, not dated, template %d", line, got, now, template)
		}
	}
}

func TestYearIsTheLastThatIsNotAhead(t *testing.T) {
	date := func(y int, m time.Month, d, h, min int) time.Time {
		return time.Date(y, m, d, h, min, 0, 0, time.UTC)
	}
	for _, c := range []struct {
		line      string
		now, want time.Time
	}{
		{"Dec 31 23:59:00", date(2027, 1, 1, 0, 1), date(2026, 12, 31, 23, 59)},
		{"Jan  1 00:01:00", date(2026, 12, 31, 23, 59), date(2027, 1, 1, 0, 1)},
		{"Nov 10 12:00:00", date(2026, 11, 9, 12, 0), date(2026, 11, 10, 12, 0)},
		{"Nov 10 12:01:00", date(2026, 11, 9, 12, 0), date(2025, 11, 10, 12, 1)},
		{"Nov  8 12:01:00", date(2026, 11, 9, 12, 0), date(2026, 11, 8, 12, 1)},
		{"Feb 29 12:00:00", date(2028, 3, 1, 0, 0), date(2028, 2, 29, 12, 0)},
		{"Feb 29 12:00:00", date(2029, 1, 1, 0, 0), date(2028, 2, 29, 12, 0)},
	} {
		got := only(t, time.UTC).Read([]byte(c.line+" h"), c.now)
		if !got.Dated || !got.Time.Equal(c.want) {
			t.Errorf("%s, read at %v: got %v, want %v", c.line, c.now, got.Time, c.want)
		}
	}
}

func TestClockChangesKeepDatesWithinTheHour(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for line, middle := range map[string]time.Time{
		"Mar 29 02:30:00 h": time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),  // left out
		"Oct 25 02:30:00 h": time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), // there twice
	} {
		got := only(t, berlin).Read([]byte(line), now)
		if off := got.Time.Sub(middle).Abs(); !got.Dated || off > 30*time.Minute {
			t.Errorf("%s: got %v, %v from %v", line, got.Time.UTC(), off, middle)
		}
	}
}

func TestReaderLearnsTheTemplate(t *testing.T) {
	r := only(t, time.UTC)
	now := time.Date(2026, 11, 9, 20, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		line              string
		template, prefers int
	}{
		{"2026-11-09 18:47:21 h", 1, 1},
		{"h", -1, 1},
		{"Nov  9 18:47:21 h", 0, 0},
		{"Mon Nov  9 18:47:21 2026 h", 2, 2},
	} {
		got := r.Read([]byte(step.line), now)
		if got.Template != step.template || r.dates.prefer != step.prefers {
			t.Errorf("%q: template %d, then %d first; want %d, %d", step.line, got.Template, r.dates.prefer, step.template, step.prefers)
		}
	}
}

// FuzzDate compares dates read by hand with the standard library's reading.
func FuzzDate(f *testing.F) {
	for _, seed := range []string{
		"2026-11-09T18:47:21", "2026-11-09 18:47:21.123456", "2026-11-09T18:47:21Z", "2026-11-09T18:47:21,5+01:00",
		"2026-11-09 18:47:21-0730", "2026-02-30 18:47:21+01", "Nov  9 2026 18:47:21", "Nov 09 2026 18:47:21.5",
		"Mon Nov  9 18:47:21 2026", "2024-02-29T23:59:59.999999999Z", "2026-11-31T00:00:00Z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		date, _ := locate([]byte(text), 0)
		if date.template < 0 {
			return
		}
		text = text[date.from:date.to]
		got, ok := (&place{to: len(text), template: date.template}).read([]byte(text), time.UTC, time.Date(2026, 11, 9, 20, 0, 0, 0, time.UTC))
		want, known := parsed(text)
		if known == unsaid {
			return
		}
		if ok != (known == yes) || ok && !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v, %v", text, got, ok, want, known)
		}
	})
}

type answer int

const (
	no answer = iota
	yes
	unsaid // time.Parse has no such layout, or another opinion on leap seconds
)

func parsed(text string) (time.Time, answer) {
	c := cursor{text: []byte(text)}
	for i := range templates {
		c.at = 0
		r, ok := c.scan(i)
		if ok && (r.year == noYear || r.second == 60) {
			return time.Time{}, unsaid
		}
		c.bad = false
	}
	for _, layout := range []string{
		"2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
		"2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05",
		"Jan _2 2006 15:04:05", "Jan 02 2006 15:04:05", "Mon Jan _2 15:04:05 2006", "Mon Jan 02 15:04:05 2006",
	} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, yes
		}
	}
	return time.Time{}, no
}

// Lines of one second share the reading of their date; what now is decides about its year all the same.
func TestSharedStampsAreReadAsEachWouldBe(t *testing.T) {
	f, err := Inline("f", []string{`^ from <HOST>$`})
	if err != nil {
		t.Fatal(err)
	}
	shared := f.NewReader(time.UTC)
	lines := []string{"Dec 31 23:59:58 from 192.0.2.7", "Jan  1 00:00:01 from 192.0.2.7", "Feb 29 12:00:00 from 192.0.2.7"}
	for _, begin := range []time.Time{
		time.Date(2026, 12, 30, 23, 59, 50, 0, time.UTC), // a day before the first line would be of this year
		time.Date(2026, 12, 31, 23, 59, 50, 0, time.UTC),
		time.Date(2028, 2, 28, 11, 59, 50, 0, time.UTC),
		time.Date(2032, 12, 31, 23, 59, 50, 0, time.UTC),
	} {
		for second := range 90 {
			now := begin.Add(time.Duration(second) * time.Second)
			for _, line := range lines {
				for range 2 {
					got := shared.Read([]byte(line), now)
					if want := f.NewReader(time.UTC).Read([]byte(line), now); got != want {
						t.Fatalf("%s at %v: got %v, want %v", line, now, got.Time, want.Time)
					}
				}
			}
		}
	}
}
