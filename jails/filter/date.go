package filter

import (
	"errors"
	"slices"
	"time"
)

// templates names the ways of writing dates that are recognised. A date stands at the start
// of a line, behind a syslog priority (<34>, or <34>1 and a space) or an opening bracket;
// elsewhere in a line it may be the attacker's.
var templates = [...]string{
	"MON Day [Year] Hour:Minute:Second[.Fraction]",
	"Year-Month-Day[T ]Hour:Minute:Second[.Fraction][Zone]",
	"DAY MON Day Hour:Minute:Second[.Fraction] [Year]",
}

// Templates names the ways of writing dates; Result.Template is an index.
func Templates() []string { return slices.Clone(templates[:]) }

// Templates names the ways of writing dates that f knows; Result.Template is an index.
func (f *Filter) Templates() []string { return Templates() }

// dates are the ways of writing dates that a filter knows. They may be used by many readers
// at once.
type dates struct{}

// newDates reads patterns as the key datepattern writes them; none: the dates that the
// dialect knows without it.
func newDates(patterns []string, dialect Dialect) (*dates, error) {
	if len(patterns) > 0 || dialect != Native {
		return nil, errors.New("is not supported yet: syslog and ISO 8601 dates are recognised without it")
	}
	return &dates{}, nil
}

// learner is what one file shows about its dates.
func (d *dates) learner() *learner { return &learner{dates: d} }

// A learner finds the dates of one file. It is not for concurrent use.
type learner struct {
	dates  *dates
	prefer int // index of the template that was seen last
}

// locate finds the date of line, which is read at now, and learns from it.
func (l *learner) locate(line []byte, now time.Time) place {
	date := locate(line, l.prefer)
	if date.template >= 0 {
		l.prefer = date.template
	}
	return date
}

// scan reads the date in the way of a template. It is no table of functions because those
// would put every cursor on the heap.
func (c *cursor) scan(template int) (reading, bool) {
	switch template {
	case 0:
		return c.scanSyslog()
	case 1:
		return c.scanISO()
	default:
		return c.scanWeekday()
	}
}

// A place is where a date stands in a line. It has the shape of one; whether there is such a
// day is seen when it is read.
type place struct{ from, to, template int }

// undated is the place of no date.
var undated = place{template: -1}

// locate finds the date of line, trying the template prefer first.
func locate(line []byte, prefer int) place {
	from := opening(line)
	text := line[from:]
	if n := scanned(text, prefer); n > 0 {
		return place{from, from + n, prefer}
	}
	for i := range templates {
		if i == prefer {
			continue
		}
		if n := scanned(text, i); n > 0 {
			return place{from, from + n, i}
		}
	}
	return undated
}

// scanned is the length of the date that text begins with; 0: it begins with none.
func scanned(text []byte, template int) int {
	c := cursor{text: text}
	if _, ok := c.scan(template); !ok {
		return 0
	}
	return c.at
}

// opening is the length of what may stand before a date.
func opening(line []byte) int {
	c := cursor{text: line}
	if c.take('<') {
		for digits := 0; digits < 3 && c.digit(); digits++ {
			c.at++
		}
		if !c.take('>') {
			return 0
		}
		if c.peek(0) == '1' && c.peek(1) == ' ' {
			c.at += len("1 ")
		}
	}
	c.take('[')
	return c.at
}

// scanSyslog scans "Nov  9 18:47:21" with an optional year before the time.
func (c *cursor) scanSyslog() (reading, bool) {
	r := reading{year: noYear, month: c.month()}
	if r.month == 0 || !c.day(&r) {
		return r, false
	}
	if c.peek(4) == ' ' {
		r.year = c.number(4)
		c.want(' ')
	}
	return r, c.clock(&r) && c.ends()
}

// scanWeekday scans "Mon Nov  9 18:47:21 2026", where the year may be missing.
func (c *cursor) scanWeekday() (reading, bool) {
	if !c.weekday() {
		return reading{}, false
	}
	r := reading{year: noYear, month: c.month()}
	if r.month == 0 || !c.day(&r) || !c.clock(&r) || !c.ends() {
		return r, false
	}
	end := c.at
	c.want(' ')
	if r.year = c.number(4); c.bad || !c.ends() {
		r.year, c.at, c.bad = noYear, end, false
	}
	return r, true
}

// scanISO scans ISO 8601, RFC 3339 among it: "2026-11-09T18:47:21.123+01:00", a space for
// the T, a comma for the dot, no fraction, and zones as Z, +01, +0100, +01:00 or none.
func (c *cursor) scanISO() (reading, bool) {
	r := reading{year: c.number(4)}
	c.want('-')
	r.month = c.number(2)
	c.want('-')
	r.day = c.number(2)
	if !c.take('T') {
		c.want(' ')
	}
	if c.bad || !c.clock(&r) {
		return r, false
	}
	end := c.at
	if !c.zone(&r) || !c.ends() {
		r.zoned, r.offset, c.at, c.bad = false, 0, end, false
	}
	return r, c.ends()
}
