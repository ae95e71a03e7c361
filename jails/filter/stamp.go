package filter

import (
	"bytes"
	"time"
)

// noYear is the year of a date that has none.
const noYear = -1

// A reading is a date as digits; nothing says yet that there is such a day.
type reading struct {
	year, month, day, hour, minute, second, nano int
	yearday                                      int  // from 1; 0: none
	weekday                                      int  // Monday is 1; 0: none
	week                                         int  // of the year, plus 1; 0: none
	fromMonday                                   bool // weeks begin on Monday, not on Sunday
	twelve, afternoon                            bool // hour is that of a clock of 12 hours
	zoned                                        bool
	offset                                       int // seconds east of UTC, if zoned
}

// ahead is how far in the future a date may lie that does not say its year: clocks differ, and so may zones.
const ahead = 24 * time.Hour

// read is the time that the date at p says; false: there is no such day or hour.
func (p *place) read(line []byte, loc *time.Location, now time.Time) (time.Time, bool) {
	if p.template < 0 {
		return time.Time{}, false
	}
	if p.pattern != nil {
		return p.pattern.read(p.matcher, line[:p.limit], p.start, loc, now)
	}
	r, ok := p.reading(line)
	if !ok {
		return time.Time{}, false
	}
	if r.year != noYear {
		return r.in(r.year, loc)
	}
	return r.latest(loc, now)
}

// reading reads the digits of a date found by hand; false: no clock shows its hour.
func (p *place) reading(line []byte) (reading, bool) {
	c := cursor{text: line[p.from:p.to]}
	r, ok := c.scan(p.template)
	return r, ok && r.onClock()
}

// A stamp is a date found by hand that was read, and when. Lines of one minute share it.
type stamp struct {
	text         []byte
	seconds      int // where these stand in text
	minute       time.Time
	rest         time.Duration // the fraction of the second
	since, until time.Time     // of now, for which text means that
	found        foundStamp
}

const (
	stampLife  = time.Minute          // how long a stamp is kept, at most
	stampAge   = 300 * 24 * time.Hour // of older dates a minute might change the year
	stampAhead = ahead - time.Hour    // of later ones too
)

// read is p.read by way of the stamp.
func (s *stamp) read(p *place, line []byte, loc *time.Location, now time.Time) (time.Time, bool) {
	if p.template < 0 {
		return time.Time{}, false
	}
	if p.pattern != nil {
		return s.found.read(p, line, loc, now)
	}
	text := line[p.from:p.to]
	if second, ok := s.second(text); ok && !now.Before(s.since) && !now.After(s.until) {
		return s.minute.Add(time.Duration(second)*time.Second + s.rest), true
	}
	at, ok := p.read(line, loc, now)
	if age := now.Sub(at); ok && age < stampAge && age > -stampAhead {
		s.keep(text, p.template, at, now)
	}
	return at, ok
}

// second is the second of text; false: s does not know what text means but for that.
func (s *stamp) second(text []byte) (second int, ok bool) {
	n := s.seconds
	if len(text) != len(s.text) || n == 0 || string(text[:n]) != string(s.text[:n]) || string(text[n+2:]) != string(s.text[n+2:]) {
		return 0, false
	}
	tens, ones := text[n]-'0', text[n+1]-'0'
	return int(tens)*10 + int(ones), tens < 6 && ones < 10
}

// keep makes s the stamp of text, which means at.
func (s *stamp) keep(text []byte, template int, at, now time.Time) {
	c := cursor{text: text}
	r, _ := c.scan(template) // has been read
	s.text = append(s.text[:0], text...)
	s.seconds = bytes.LastIndexByte(text[:c.timed], ':') + 1
	s.rest = time.Duration(r.nano)
	s.minute = at.Add(-time.Duration(r.second)*time.Second - s.rest)
	s.since, s.until = now, now.Add(stampLife)
}

// A foundStamp is a date that a pattern found and read: what lines begin with up to there, as far
// as that was looked at, and the time that it means. Lines of one second share it.
type foundStamp struct {
	text         []byte // empty: there is none
	pattern      *template
	start        int // of the match
	at           time.Time
	since, until time.Time // of now, for which that is true
}

// read is p.read by way of the stamp.
func (s *foundStamp) read(p *place, line []byte, loc *time.Location, now time.Time) (time.Time, bool) {
	if s.fits(p, line) && !now.Before(s.since) && !now.After(s.until) {
		return s.at, true
	}
	at, ok := p.read(line, loc, now)
	s.text = s.text[:0]
	looked := p.matcher.far + 1
	if age := now.Sub(at); ok && p.pattern.saysDay() && looked <= min(p.limit, maxMemo) && age < stampAge && age > -stampAhead {
		s.text = append(s.text, line[:looked]...)
		s.pattern, s.start, s.at, s.since, s.until = p.pattern, p.start, at, now, now.Add(stampLife)
	}
	return at, ok
}

// fits reports whether line begins as the one did whose date s is.
func (s *foundStamp) fits(p *place, line []byte) bool {
	n := len(s.text)
	return 0 < n && n <= p.limit && s.pattern == p.pattern && s.start == p.start && string(line[:n]) == string(s.text)
}

// latest is r in the last year that does not put it more than a day ahead of now: a line
// of December that is read in January is of last year.
func (r reading) latest(loc *time.Location, now time.Time) (time.Time, bool) {
	year, month, _ := now.In(loc).Date()
	for _, y := range [...]int{year + 1, year, year - 1} {
		if y > year && month != time.December {
			continue // ahead, and what a zone adds, are a day each
		}
		if t, ok := r.in(y, loc); ok && t.Sub(now) <= ahead {
			return t, true
		}
	}
	return time.Time{}, false
}

// in is r in the given year. An hour that a change of clocks leaves out is taken for one
// beside it, as time.Date does.
func (r reading) in(year int, loc *time.Location) (time.Time, bool) {
	year, month, day, ok := r.dayIn(year)
	if !ok {
		return time.Time{}, false
	}
	if !r.zoned {
		return time.Date(year, time.Month(month), day, r.hour, r.minute, r.second, r.nano, loc), true
	}
	t := time.Date(year, time.Month(month), day, r.hour, r.minute, r.second, r.nano, time.UTC)
	return t.Add(-time.Duration(r.offset) * time.Second).In(loc), true
}

// onClock reports whether a clock shows r's time; second 60 is a leap second.
func (r reading) onClock() bool {
	return r.hour < 24 && r.minute < 60 && r.second <= 60
}

// dayless reports whether r says nothing about its day.
func (r reading) dayless() bool {
	return r.month == 0 && r.day == 0 && r.yearday == 0 && (r.week == 0 || r.weekday == 0)
}

// dayIn is r's day in a year: by month and day, else by the day of the year, else by week and
// weekday, which may be a day of the year before or behind. false: there is no such day.
func (r reading) dayIn(year int) (y, m, d int, ok bool) {
	if r.month > 0 && r.day > 0 || year < 1 || year > 9999 {
		return year, r.month, r.day, isDay(year, r.month, r.day)
	}
	first := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case r.yearday > 0:
		first = first.AddDate(0, 0, r.yearday-1)
	case r.week > 0 && r.weekday > 0:
		first = first.AddDate(0, 0, r.daysIntoYear(first))
	default:
		return 0, 0, 0, false
	}
	y, month, d := first.Date()
	return y, int(month), d, true
}

// daysIntoYear is how far r's day is behind the first day of its year. Week 1 begins with the first
// Monday or Sunday; what is before it is week 0.
func (r reading) daysIntoYear(first time.Time) int {
	day, newYear := r.weekday%7, int(first.Weekday()) // Sunday is 0
	if r.fromMonday {
		day, newYear = r.weekday-1, (newYear+6)%7
	}
	weeks := r.week - 1
	if newYear == 0 {
		weeks-- // the first day begins week 1: there is no week 0
		if weeks < 0 {
			weeks = 0
		}
	}
	return 7*weeks + day - newYear
}

// isDay reports whether there is such a day, in years 1 to 9999.
func isDay(year, month, day int) bool {
	return 1 <= year && year <= 9999 && 1 <= month && month <= 12 && 1 <= day && day <= daysIn(year, month)
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
