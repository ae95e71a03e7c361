package filter

import "time"

// noYear is the year of a date that has none.
const noYear = -1

// A reading is a date as digits; nothing says yet that there is such a day.
type reading struct {
	year, month, day, hour, minute, second, nano int
	zoned                                        bool
	offset                                       int // seconds east of UTC, if zoned
}

// ahead is how far in the future a date may lie that does not say its year: clocks differ, and so may zones.
const ahead = 24 * time.Hour

// read is the time that the date at p says; false: there is no such day or hour.
func (p place) read(line []byte, loc *time.Location, now time.Time) (time.Time, bool) {
	if p.template < 0 {
		return time.Time{}, false
	}
	c := cursor{text: line[p.from:p.to]}
	r, ok := c.scan(p.template)
	if !ok || !r.onClock() {
		return time.Time{}, false
	}
	if r.year != noYear {
		return r.in(r.year, loc)
	}
	return r.latest(loc, now)
}

// latest is r in the last year that does not put it more than a day ahead of now: a line
// of December that is read in January is of last year.
func (r reading) latest(loc *time.Location, now time.Time) (time.Time, bool) {
	year := now.In(loc).Year()
	for _, y := range [...]int{year + 1, year, year - 1} {
		if t, ok := r.in(y, loc); ok && t.Sub(now) <= ahead {
			return t, true
		}
	}
	return time.Time{}, false
}

// in is r in the given year. An hour that a change of clocks leaves out is taken for one
// beside it, as time.Date does.
func (r reading) in(year int, loc *time.Location) (time.Time, bool) {
	if r.month < 1 || r.month > 12 || r.day < 1 || r.day > daysIn(year, r.month) {
		return time.Time{}, false
	}
	zone := loc
	if r.zoned {
		zone = time.UTC
	}
	t := time.Date(year, time.Month(r.month), r.day, r.hour, r.minute, r.second, r.nano, zone)
	return t.Add(-time.Duration(r.offset) * time.Second).In(loc), true
}

// onClock reports whether a clock shows r's time; second 60 is a leap second.
func (r reading) onClock() bool {
	return r.hour < 24 && r.minute < 60 && r.second <= 60
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
