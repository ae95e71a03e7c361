package filter

import (
	"slices"
	"strings"
	"testing"
	"time"

	"xdpban/internal/lab"
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

// evening is when the lines of these tests were written; a while later they are read.
var (
	evening = time.Date(2026, 11, 9, 18, 47, 21, 0, time.UTC)
	later   = evening.Add(10 * time.Minute)
)

func TestFail2bansDatesAreFoundAnywhere(t *testing.T) {
	zurich := zone(t, "Europe/Zurich")
	local := time.Date(2026, 11, 9, 18, 47, 21, 0, zurich)
	for _, c := range []struct {
		date string
		want time.Time
	}{
		{"2026-11-09T18:47:21.123456", local},
		{"2026-11-09 18:47:21,5 +0200", evening.Add(-2 * time.Hour)},
		{"2026/11/09 18:47:21", local},
		{"2026.11.9  8:47:21Z", evening.Add(-10 * time.Hour)},
		{"Mon Nov  9 18:47:21.011 2026", local},
		{"Nov 09 18:47:21", local},
		{"nov  9  8:47:21", local.Add(-10 * time.Hour)},
		{"Mon Nov 9 2026 18:47:21.011", local},
		{"09/11/2026 18:47:21", local},
		{"9-11-26 18:47:21", local},
		{"09/Nov/2026:18:47:21 +0100", local},
		{"09-Nov-2026 18:47:21.252", local},
		{"09/Nov/2026:18:47:21", local},
		{"11/09/2026:18:47:21", local},
		{"11-19-2025 18:47:21.252", time.Date(2025, 11, 19, 18, 47, 21, 0, zurich)},
		{"261109 18:47:21", local},
		{"261109  8:47:21", local.Add(-10 * time.Hour)},
		{"Nov 9, 2026 6:47:21 PM", local},
		{"Nov 9, 2026 12:47:21 am", local.Add(-18 * time.Hour)},
		{"20261109T184721", local},
		{"20261109 184721.5+01", local},
		{"20261109-18:47:21", local},
		{"20261109 18:47:21.5 +01", local},
		{"PST Nov  9 18:47:21", evening.Add(8 * time.Hour)},
		{"CET Mon Nov  9 18:47:21 2026", evening.Add(-time.Hour)},
		{"+02:00 Nov  9 18:47:21.011 2026", evening.Add(-2 * time.Hour)},
		{"@400000006a4f0e3912345678", time.Unix(0x6a4f0e39, 0)},
	} {
		for _, around := range [][2]string{{"", " h app: bad"}, {"[", "] bad"}, {"client é [", "] bad"}, {`x"`, `"`}} {
			line := around[0] + c.date + around[1]
			got := dateIn(datesOf(t, Fail2ban).learner(), line, zurich, later)
			if want := (dated{around[0] + around[1], c.date, c.want}); got.rest != want.rest || got.date != want.date || !got.at.Equal(want.at) {
				t.Errorf("%q:\ngot  %q, %v\nwant %q, %v", line, got.date, got.at, want.date, want.at)
			}
		}
	}
}

func TestFail2bansDatesOfOnePlaceAlone(t *testing.T) {
	for _, c := range []struct {
		line string
		want dated
	}{
		{"18:47:21 bad", dated{" bad", "18:47:21", evening}},
		{"[[18:47:21 bad", dated{"[[ bad", "18:47:21", evening}},
		{"at 18:47:21 bad", dated{"at 18:47:21 bad", "", time.Time{}}},
		{"<11/09/26@18:47:21> bad", dated{" bad", "<11/09/26@18:47:21>", evening}},
		{"x <11/09/26@18:47:21> bad", dated{"x <11/09/26@18:47:21> bad", "", time.Time{}}},
		{"Nov-09-26 18:47:21 bad", dated{" bad", "Nov-09-26 18:47:21", evening}},
		{"x Nov-09-26 18:47:21 bad", dated{"x Nov-09-26 18:47:21 bad", "", time.Time{}}},
		{"1794250041 bad", dated{" bad", "1794250041", evening}},
		{"[1794250041.500] bad", dated{"[] bad", "1794250041.500", evening.Add(500 * time.Millisecond)}},
		{"type=X msg=audit(1794250041.500:7): bad", dated{"type=X msg=audit(:7): bad", "1794250041.500", evening.Add(500 * time.Millisecond)}},
		{"id=1794250041 bad", dated{"id=1794250041 bad", "", time.Time{}}},
		{"179425004 bad", dated{"179425004 bad", "", time.Time{}}},
		{"x2026-11-09 18:47:21", dated{"x2026-11-09 18:47:21", "", time.Time{}}},
		{"é2026-11-09 18:47:21", dated{"é2026-11-09 18:47:21", "", time.Time{}}},
		{"2026-11-09 18:47:21x", dated{"2026-11-09 18:47:21x", "", time.Time{}}},
		{"2026-11-09 18:47:21é", dated{"2026-11-09 18:47:21é", "", time.Time{}}},
		{"\xff2026-11-09 18:47:21\xff", dated{"\xff\xff", "2026-11-09 18:47:21", evening}},
		{"2026-11/09 18:47:21", dated{"2026-11/09 18:47:21", "", time.Time{}}},
		{"1999-11-09 18:47:21 bad", dated{"1999-11-09 18:47:21 bad", "", time.Time{}}},
		{"no date at all", dated{"no date at all", "", time.Time{}}},
		{"", dated{}},
	} {
		if got := dateIn(datesOf(t, Fail2ban).learner(), c.line, time.UTC, later); got.rest != c.want.rest || got.date != c.want.date || !got.at.Equal(c.want.at) {
			t.Errorf("%q:\ngot  %q, %v\nwant %q, %v", c.line, got.date, got.at, c.want.date, c.want.at)
		}
	}
}

// What is cut out of a line is the first group of a pattern, where it has one.
func TestPatternsWithSecondsCutOutTheirGroup(t *testing.T) {
	for _, c := range []struct {
		pattern, line string
		want          dated
	}{
		{`ts={EPOCH};`, "x ts=1794250041; bad", dated{"x  bad", "ts=1794250041;", evening}},
		{`ts=({EPOCH});`, "x ts=1794250041; bad", dated{"x ts=; bad", "1794250041", evening}},
		{`(?:ts|time)=({LEPOCH});`, "x time=1794250041500; bad", dated{"x time=; bad", "1794250041500", evening.Add(500 * time.Millisecond)}},
	} {
		if got := dateIn(datesOf(t, Fail2ban, c.pattern).learner(), c.line, time.UTC, later); got.rest != c.want.rest || got.date != c.want.date || !got.at.Equal(c.want.at) {
			t.Errorf("%s in %q:\ngot  %q, %q, %v\nwant %q, %q, %v", c.pattern, c.line, got.rest, got.date, got.at, c.want.rest, c.want.date, c.want.at)
		}
	}
}

func TestFieldsOfPatterns(t *testing.T) {
	day := time.Date(2026, 11, 9, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		pattern, line string
		want          time.Time
	}{
		{"%a %b %d %Y", "mon nov 9 2026", day},
		{"%A, %d %B %Y", "Monday, 09 November 2026", day},
		{"%d.%m.%y", "09.11.26", day},
		{"%Exd%Exm%Exy", "091126", day},
		{"%ExY-%Exm-%Exd %ExH:%ExM:%ExS", "2026-11-09 18:47:21", evening},
		{"%Y-%m-%d %k:%M:%S", "2026-11-09 18:47:21", evening},
		{"%Y-%m-%d%Exk:%M:%S", "2026-11-09 18:47:21", evening},
		{"%Y-%m-%d %I:%M:%S %p", "2026-11-09 06:47:21 PM", evening},
		{"%Y-%m-%d %l:%M:%S %p", "2026-11-09  6:47:21 pm", evening},
		{"%Y-%m-%d %Exl:%M:%S%p", "2026-11-09 6:47:21pm", evening},
		{"%Y-%m-%d %I:%M %p", "2026-11-09 12:00 PM", day.Add(12 * time.Hour)},
		{"%Y-%m-%d %I:%M %p", "2026-11-09 12:00 AM", day},
		{"%Y-%m-%d %I:%M", "2026-11-09 12:00", day},
		{"%Y %j", "2026 313", day},
		{"%Y %j", "2024 366", time.Date(2024, 12, 31, 0, 0, 0, 0, time.UTC)},
		{"%Y week %W %a", "2026 week 45 Mon", day},
		{"%Y week %U %a", "2026 week 45 Mon", day},
		{"%Y week %U %w", "2026 week 45 1", day},
		{"%Y week %U %w", "2026 week 45 0", day.AddDate(0, 0, -1)},
		{"%Y week %W %A", "2026 week 0 Thursday", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"%Y week %W %A", "2024 week 1 Monday", time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"%G-%V-%u %d/%m/%Y", "2026-46-1 09/11/2026", day},
		{"%c", "Mon Nov  9 18:47:21 2026", evening},
		{"%x %X", "11/09/26 18:47:21", evening},
		{"%Y-%m-%d %H:%M:%S %z", "2026-11-09 18:47:21 -0530", evening.Add(5*time.Hour + 30*time.Minute)},
		{"%Y-%m-%d %H:%M:%S %Z", "2026-11-09 18:47:21 NPT", evening.Add(-5*time.Hour - 45*time.Minute)},
		{"%Y-%m-%d %H:%M:%S %Exz", "2026-11-09 18:47:21 CET+01", evening.Add(-2 * time.Hour)},
		{"%Y-%m-%d %H:%M:%S %ExZ", "2026-11-09 18:47:21 Z", evening},
		{"100%% at %Y-%m-%d", "100% at 2026-11-09", day},
		{`%Y(?P<s>[/.])%m(?:(?P=s)%d)?`, "2026.11.09", day},
		{"EPOCH", "1794250041", evening},
		{"LEPOCH", "1794250041500", evening.Add(500 * time.Millisecond)},
		{"^LEPOCH", "1794250041500000", evening.Add(500 * time.Millisecond)},
		{"{^LN-BEG}LEPOCH", "[1794250041", evening},
		{"ts={LEPOCH}", "x ts=1794250041500.25", evening.Add(500*time.Millisecond + 250*time.Microsecond)},
		{"{^LN-BEG}TAI64N", "@400000006af1c97912345678", time.Unix(0x6af1c979, 0)},
	} {
		got := dateIn(datesOf(t, Fail2ban, c.pattern).learner(), c.line, time.UTC, later)
		if !got.at.Equal(c.want) {
			t.Errorf("%s in %q: got %q, %v; want %v", c.pattern, c.line, got.date, got.at, c.want)
		}
	}
}

func TestWhatIsCutOut(t *testing.T) {
	for _, c := range []struct{ pattern, line, date string }{
		{"%H:%M", "x 18:47:21", "18:47"},
		{"%H:%M", "x18:47", ""},
		{"%H:%M", "18:47x", ""},
		{"**%H:%M**", "x18:47x", "18:47"},
		{"{UNB}%H:%M", "x18:47x", "18:47"},
		{"^%H:%M", "18:47 x", "18:47"},
		{"^%H:%M", " 18:47 x", ""},
		{"{^LN-BEG}%H:%M", "[ 18:47 x", "18:47"},
		{"{^LN-BEG}%H:%M", "[[ 18:47 x", ""},
		{"{^LN-BEG}%H:%M", "é 18:47 x", ""},
		{"%H:%M$", "x 18:47", "18:47"},
		{"%H:%M$", "x 18:47 ", ""},
		{`at (%H:%M) by`, "x at 18:47 by y", "18:47"},
		{`%H(:)%M`, "x 18:47", "18"}, // a group without a name makes the first group count, which is that of %H
		{`\[%H:%M\]`, "x [18:47] y", "[18:47]"},
		{`(?i)at %H:%M`, "x AT 18:47", "AT 18:47"},
		{`\(%H:%M\)`, "x (18:47)", "(18:47)"},
		{`[(]%H:%M[)]`, "x (18:47)", "18"}, // to fail2ban, ( is a group even here
		{`^\[({DATE})\] `, "[Nov  9 18:47:21] x", "Nov  9 18:47:21"},
		{"^{date}", "2026-11-09 18:47:21 x", "2026-11-09 18:47:21"},
		{"^{DATE}", " 2026-11-09 18:47:21 x", ""},
		{"^W{DATE}", "W20261109 184721 x", "W20261109 184721"},
		{"{^LN-BEG}", "[Nov  9 18:47:21] x", "Nov  9 18:47:21"},
		{"{^LN-BEG}", "x Nov  9 18:47:21", ""},
		{"{DEFAULT}", "x Nov  9 18:47:21", "Nov  9 18:47:21"},
		{"{NONE}", "Nov  9 18:47:21 x", ""},
		{"%S,{1,2}%f", "21,,5 x", "21,,5"},
		{"%S,{,2}%f", "21,5 x", "21,5"},
		{`%H:%M\s+\S+\W\w`, "18:47\x1c\u3000ab é", "18:47\x1c\u3000ab é"},
		{`[][]%H:%M[^\s[]`, "]18:47x", "]18:47x"},
		{`%H:%M\Z`, "18:47", "18:47"},
		{"%d/%b/%Y:%H\n  \n%H:%M", "09/Nov/2026:18 18:47", "09/Nov/2026:18"},
	} {
		if got := dateIn(datesOf(t, Fail2ban, c.pattern).learner(), c.line, time.UTC, later); got.date != c.date {
			t.Errorf("%s in %q: %q is cut out, want %q", c.pattern, c.line, got.date, c.date)
		}
	}
}

func TestMistakesInPatternsAreSaid(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                           "is empty",
		" \n ":                       "is empty",
		"%e %b":                      `"%e %b" is no field of a date: write %% for a percent sign`,
		"100%":                       `"%" is no field of a date: write %% for a percent sign`,
		"%Exq":                       `"%Exq" is no field of a date: write %% for a percent sign`,
		"(%H:%M":                     `missing closing )`,
		"%H:%M%H":                    `has two groups named "H"`,
		"(?<=x)%H:%M":                `looks around with (?<=: that is not supported in dates`,
		"(?m)%H:%M":                  `has flags "m": only (?i) and (?u) mean something for dates`,
		"%H(?P=x)%M":                 `(?P=x) refers to no group before it`,
		"(?P<x>a+)%H(?P=x)":          `refers back to the group "x", which is no short list of characters like [-/.]`,
		`(?P<x>[^ ])%H(?P=x)`:        `refers back to the group "x", which is no short list of characters like [-/.]`,
		`(?:(?P<x>[-/])|a)%H(?P=x)`:  `refers back to a group from outside of the sequence that the group is in`,
		"%H:%M\n%H:%M":               `"%H:%M" is there twice`,
		"%H\U0010FFFE":               `holds '\U0010fffe'`,
		"%H\xff":                     "is not UTF-8",
		"%H:%M(?:(?:x{1000}){1000})": `invalid repeat count: "{1000}"`,
		"x{1000}x{1000}x{1000}x{1000}x{1000}x{1000}": "is too large",
	} {
		_, errs := newDates([]yamldoc.Value[string]{{V: "EPOCH"}, {V: pattern}}, Native)
		if len(errs) != 1 || errs[0].Key != "datepattern[2]" || !strings.Contains(errs[0].Msg, want) {
			t.Errorf("%q: got %v, want datepattern[2] ... %s", pattern, errs, want)
		}
	}
}

// Yesterday's lines are in the same file as today's, and clocks differ.
func TestFail2bansWayToCompleteDates(t *testing.T) {
	date := func(y int, m time.Month, d, h, min int) time.Time { return time.Date(y, m, d, h, min, 0, 0, time.UTC) }
	for _, c := range []struct {
		pattern, line string
		now, want     time.Time
	}{
		{"%b %d %H:%M", "Dec 31 23:59", date(2027, 1, 1, 0, 1), date(2026, 12, 31, 23, 59)},
		{"%b %d %H:%M", "Jan 01 00:01", date(2026, 12, 31, 23, 59), date(2026, 1, 1, 0, 1)},
		{"%b %d %H:%M", "Nov 10 12:00", date(2026, 11, 9, 12, 0), date(2026, 11, 10, 12, 0)},
		{"%b %d %H:%M", "Nov 10 12:01", date(2026, 11, 9, 12, 0), date(2025, 11, 10, 12, 1)},
		{"%b %d %H:%M", "Feb 29 12:00", date(2026, 3, 1, 0, 0), time.Time{}},
		{"%b %d %H:%M", "Feb 29 12:00", date(2028, 1, 1, 0, 0), time.Time{}}, // this year's is ahead, the last has none
		{"%b %d %H:%M", "Feb 30 12:00", date(2026, 3, 1, 0, 0), time.Time{}},
		{"%H:%M", "12:00", date(2026, 11, 9, 12, 0), date(2026, 11, 9, 12, 0)},
		{"%H:%M", "12:01", date(2026, 11, 9, 12, 0), date(2026, 11, 8, 12, 1)},
		{"%k:%M", "24:01", date(2026, 11, 9, 12, 0), time.Time{}},
		{"%Y-%m-%d %H:%M:%S", "2026-06-30 23:59:60", date(2026, 7, 1, 0, 0), time.Time{}},
		{"%Y-%m", "2026-11", date(2026, 11, 9, 12, 0), time.Time{}},
		{"%Y-%m-%d", "0000-11-09", date(2026, 11, 9, 12, 0), time.Time{}},
		{"%b %d %H:%M %Z", "Nov 09 11:00 XYZ", date(2026, 11, 9, 12, 0), time.Time{}},
		{"%b %d %H:%M %z", "Nov 09 11:00 utc", date(2026, 11, 9, 12, 0), time.Time{}},
	} {
		if got := dateIn(datesOf(t, Fail2ban, c.pattern).learner(), c.line, time.UTC, c.now); !got.at.Equal(c.want) || got.date != c.line {
			t.Errorf("%s in %q, read at %v: got %q, %v; want %v", c.pattern, c.line, c.now, got.date, got.at, c.want)
		}
	}
}

func TestOurWayToCompleteDates(t *testing.T) {
	date := func(y int, m time.Month, d, h, min int) time.Time { return time.Date(y, m, d, h, min, 0, 0, time.UTC) }
	for _, c := range []struct {
		pattern, line string
		now, want     time.Time
	}{
		{"%b %d %H:%M", "Jan 01 00:01", date(2026, 12, 31, 23, 59), date(2027, 1, 1, 0, 1)},
		{"%b %d %H:%M", "Feb 29 12:00", date(2029, 1, 1, 0, 0), date(2028, 2, 29, 12, 0)},
		{"%b %d %H:%M", "Feb 30 12:00", date(2026, 3, 1, 0, 0), time.Time{}},
		{"%H:%M", "12:01", date(2026, 11, 9, 12, 0), date(2026, 11, 9, 12, 1)},
		{"%H:%M", "23:59", date(2026, 11, 9, 0, 1), date(2026, 11, 8, 23, 59)},
		{"%H:%M", "00:01", date(2026, 11, 8, 23, 59), date(2026, 11, 9, 0, 1)},
		{"%H:%M %z", "00:01 +0200", date(2026, 11, 8, 22, 2), date(2026, 11, 8, 22, 1)},
		{"%j %H:%M", "313 12:00", date(2026, 11, 9, 12, 0), date(2026, 11, 9, 12, 0)},
		{"%k:%M", "24:01", date(2026, 11, 9, 12, 0), time.Time{}},
		{"%Y-%m-%d %H:%M:%S", "2026-06-30 23:59:60", date(2026, 7, 1, 0, 0), date(2026, 7, 1, 0, 0)},
		{"%H:%M:%S,%f", "12:00:00,25", date(2026, 11, 9, 12, 0), date(2026, 11, 9, 12, 0).Add(250 * time.Millisecond)},
		{"LEPOCH", "1794250041123456789", later, evening.Add(123456789)},
		{"LEPOCH", "1794250041.5", later, evening.Add(500 * time.Millisecond)},
		{"TAI64N", "@400000006af1c98312345678", later, time.Unix(0x6af1c983-10, 0)},
		{"TAI64N", "@ff0000006af1c98312345678", later, time.Time{}},
	} {
		if got := dateIn(datesOf(t, Native, c.pattern).learner(), c.line, time.UTC, c.now); !got.at.Equal(c.want) || got.date != c.line {
			t.Errorf("%s in %q, read at %v: got %q, %v; want %v", c.pattern, c.line, c.now, got.date, got.at, c.want)
		}
	}
}

func TestHoursThatClocksSkipOrRepeat(t *testing.T) {
	for _, c := range []struct{ zone, clock, want string }{
		{"Europe/Zurich", "2026-03-29 01:59:59", "2026-03-29T00:59:59Z"},
		{"Europe/Zurich", "2026-03-29 02:30:00", "2026-03-29T01:30:00Z"}, // skipped
		{"Europe/Zurich", "2026-03-29 03:00:00", "2026-03-29T01:00:00Z"},
		{"Europe/Zurich", "2026-10-25 01:59:59", "2026-10-24T23:59:59Z"},
		{"Europe/Zurich", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"}, // there twice
		{"Europe/Zurich", "2026-10-25 03:00:00", "2026-10-25T02:00:00Z"},
		{"America/New_York", "2026-03-08 02:30:00", "2026-03-08T07:30:00Z"},
		{"America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00Z"},
		{"Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03T15:45:00Z"},
		{"UTC", "2026-03-29 02:30:00", "2026-03-29T02:30:00Z"},
	} {
		got := dateIn(datesOf(t, Fail2ban).learner(), c.clock, zone(t, c.zone), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		if at := got.at.UTC().Format(time.RFC3339); at != c.want {
			t.Errorf("%s in %s: got %s, want %s", c.clock, c.zone, at, c.want)
		}
	}
}

// What is learned from a file decides which of two dates in a line counts.
func TestFilesAreLearned(t *testing.T) {
	const iso, web = "2026-11-09 18:47:21", "09/Nov/2026:18:47:22 +0000"
	l := datesOf(t, Fail2ban).learner()
	for i, step := range []struct{ line, date string }{
		{"192.0.2.7 [" + web + "] GET /" + iso + " HTTP", web}, // the one nearer to the start
		{"192.0.2.7 [" + web + "] GET / HTTP", web},
		{"192.0.2.7 [" + web + "] GET /" + iso + " HTTP", web},
		{"192.0.2.123 [" + web + "] GET /" + iso + " HTTP", web},
		{iso + " restarted", iso},
		{"192.0.2.7 [" + web + "] GET / HTTP", web},
		{"no date", ""},
		{"x " + iso, iso},
	} {
		if got := dateIn(l, step.line, time.UTC, later); got.date != step.date {
			t.Errorf("line %d, %q: %q is cut out, want %q", i+1, step.line, got.date, step.date)
		}
	}
}

func TestTemplatesHaveNames(t *testing.T) {
	for _, d := range []*dates{datesOf(t, Native), datesOf(t, Fail2ban), datesOf(t, Fail2ban, "^{DATE}", "{^LN-BEG}"), datesOf(t, Native, "%H:%M", "EPOCH")} {
		seen := make(map[string]bool)
		for _, name := range d.names() {
			if name == "" || seen[name] {
				t.Errorf("%q names no template or two", name)
			}
			seen[name] = true
		}
	}
	want := []string{"%H:%M", "{^LN-BEG}epoch"}
	if got := datesOf(t, Native, "%H:%M", "{^LN-BEG}epoch").names(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDatesCostNoAllocation(t *testing.T) {
	lines := [][]byte{
		[]byte("Nov  9 18:47:21 h sshd[1]: Accepted publickey for root from 192.0.2.7 port 4242 ssh2"),
		[]byte("2026-11-09T18:47:21.123456+01:00 h app: x"),
		[]byte(`192.0.2.7 - eve [09/Nov/2026:18:47:21 +0100] "GET / HTTP/1.1" 404 9`),
		[]byte(`{"level":"info","ts":1794246441.25,"msg":"handled request"}`),
		[]byte("PST Nov  9 18:47:21 no more"),
		[]byte("no date at all 12:30"),
		nil,
	}
	for _, d := range []*dates{
		datesOf(t, Native), datesOf(t, Fail2ban), datesOf(t, Fail2ban, "^[^\\[]*\\[({DATE})", "{^LN-BEG}"),
		datesOf(t, Native, "%d/%b/%Y:%H:%M:%S %z"), datesOf(t, Native, `"ts":{EPOCH}`),
	} {
		l := d.learner()
		all := func() {
			for _, line := range lines {
				p := l.locate(line, later)
				p.read(line, time.UTC, later)
			}
		}
		all()
		if allocs := testing.AllocsPerRun(100, all); allocs != 0 {
			t.Errorf("%s ...: %v allocations", d.names()[0], allocs)
		}
	}
}

// Hostile lines cost what long ones cost, whatever the pattern: were each way tried, the first of
// these would take 2^60 steps.
func TestPatternsCannotBeMadeSlow(t *testing.T) {
	for _, pattern := range []string{"(?:a?){60}%p", "(?:a|b|ab){60}%p", "(?:a*b*)*%p", `^[^\[]*\[(\s*\s*\s*%H:%M)`, `(?:[^x]*x?){9}%S!`} {
		l := datesOf(t, Native, pattern).learner()
		line := []byte(strings.Repeat("ab ab[  ", 1000))
		began := lab.ProcessTime(t)
		if p := l.locate(line, later); p.template >= 0 {
			t.Errorf("%s: found %+v", pattern, p)
		}
		if took := lab.ProcessTime(t) - began; took > 5*time.Second {
			t.Errorf("%s: %v for one line", pattern, took)
		}
	}
}

// fuzzed are the dates that FuzzPatterns looks for.
func fuzzed(t testing.TB) []*dates {
	return []*dates{
		datesOf(t, Native), datesOf(t, Fail2ban), datesOf(t, Fail2ban, "{^LN-BEG}"), datesOf(t, Fail2ban, `^[^\[]*\[({DATE})`, "{^LN-BEG}"),
		datesOf(t, Native, `%d/%b/%Y:%H:%M:%S %z`), datesOf(t, Native, `\[%d/%b[^/]*/%Y:%H:%M\s*\S*\]`, "EPOCH", "ts={LEPOCH}"),
		datesOf(t, Fail2ban, `(?:^|x)(\s*%H(?P<s>[-:])%M(?P=s)%S)*`, "{NONE}"),
	}
}

// FuzzLines looks for dates in two lines that begin alike: what is cut out lies inside of the line,
// what is found does not hang on where the line was remembered from, and no time is in a year that nobody can write.
func FuzzLines(f *testing.F) {
	for _, line := range []string{
		"Nov  9 18:47:21 h app: x", "[2026-11-09 18:47:21.5+01:00] x", "192.0.2.7 [09/Nov/2026:18:47:21 +0100] x", "1794246441.25 x", "@400000006af1c98312345678",
		"Mon Nov  9 18:47:21 2026", "é 18-47-21 x18:47:21", "<34>1 2026-11-09T18:47:21Z h", "PST Nov  9 18:47:21", "\xff\xfe18:47:21",
	} {
		f.Add(line, " 2026 x", 5)
	}
	all := fuzzed(f)
	f.Fuzz(func(t *testing.T, line, tail string, cut int) {
		other := line[:min(max(cut, 0), len(line))] + tail
		for i, d := range all {
			l := d.learner()
			for _, text := range []string{line, line, other, line} {
				p := l.locate([]byte(text), later)
				if p.template < -1 || p.template >= len(d.names()) || p.from < 0 || p.from > p.to || p.to > len(text) {
					t.Fatalf("dates %d: %q: %+v", i, text, p)
				}
				if at, ok := p.read([]byte(text), time.UTC, later); ok && (at.Year() < 0 || at.Year() > 10000) {
					t.Fatalf("dates %d: %q: %v", i, text, at)
				}
				fresh := d.learner().locate([]byte(text), later)
				if i == 0 && (p.from != fresh.from || p.to != fresh.to || p.template != fresh.template) {
					t.Fatalf("%q behind %q: %d-%d, alone %d-%d", text, line, p.from, p.to, fresh.from, fresh.to)
				}
			}
		}
	})
}

// FuzzPatterns reads any text as a datepattern and looks for it in a line.
func FuzzPatterns(f *testing.F) {
	for _, pattern := range []string{`%ExY(?P<_sep>[-/.])%m(?P=_sep)%d[T ]%H:%M:%S(?:[.,]%f)?(?:\s*%z)?`, "^{DATE}", "{^LN-BEG}", `^I\(()**`, "ts={EPOCH}$", "(?i)(a|b*)*%p"} {
		f.Add(pattern, "2026-11-09T18:47:21.5Z ab PM ts=1794246441")
	}
	f.Fuzz(func(t *testing.T, pattern, line string) {
		for _, dialect := range []Dialect{Native, Fail2ban} {
			d, errs := newDates([]yamldoc.Value[string]{{V: pattern}}, dialect)
			if len(errs) > 0 {
				continue
			}
			l := d.learner()
			for range 2 {
				p := l.locate([]byte(line), later)
				if p.from < 0 || p.from > p.to || p.to > len(line) {
					t.Fatalf("%s in %q: %+v", pattern, line, p)
				}
				p.read([]byte(line), time.UTC, later)
			}
		}
	})
}

// The known dates are compiled when a line first asks for them: then they must.
func TestKnownDatesCompile(t *testing.T) {
	for _, dialect := range []Dialect{Native, Fail2ban} {
		for _, known := range defaultTemplates(dialect) {
			if _, err := known.compiled(); err != nil {
				t.Errorf("%v: %s: %v", dialect, known.name, err)
			}
		}
	}
}
