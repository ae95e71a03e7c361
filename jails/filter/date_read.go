package filter

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// read is the time that the date says which t matches in line from start on. m is changed.
func (t *template) read(m *matcher, line []byte, start int, loc *time.Location, now time.Time) (time.Time, bool) {
	programs := t.programs()
	if !m.matchAt(programs.reads, line, start, len(line)) {
		return time.Time{}, false
	}
	if t.writing != inFields {
		text := m.text(line, t.digits)
		return readNumber(text, t.writing, t.dialect, loc)
	}
	r, ok := readFields(programs.names, m, line)
	if !ok {
		return time.Time{}, false
	}
	if t.dialect == Fail2ban {
		return r.asFail2ban(loc, now)
	}
	return r.onDays(loc, now)
}

// text is what a group holds; nil: it took no part.
func (m *matcher) text(line []byte, group int) []byte {
	from, to := m.groups[2*group], m.groups[2*group+1]
	if from < 0 {
		return nil
	}
	return line[from:to]
}

// taiOffset is what DJB's labels are ahead of seconds since 1970, beside 2^62. fail2ban forgets it.
const taiOffset = 10

// maxSeconds bounds times that are numbers: beyond it a year has more than four digits.
const maxSeconds = 253402300800

// readNumber reads a time that is written as one number.
func readNumber(text []byte, w writing, d Dialect, loc *time.Location) (time.Time, bool) {
	if w == inTAI64N {
		seconds, err := strconv.ParseInt(string(text[2:17]), 16, 64)
		if d != Fail2ban {
			seconds -= taiOffset
		}
		return time.Unix(seconds, 0).In(loc), err == nil && seconds < maxSeconds
	}
	whole, fraction, _ := strings.Cut(string(text), ".")
	unit := time.Second
	if w == inLong && len(text) >= len("1700000000000") {
		switch {
		case len(whole) >= len("1700000000000000000"):
			unit = time.Nanosecond
		case len(whole) >= len("1700000000000000"):
			unit = time.Microsecond
		case len(whole) >= len("1700000000000"):
			unit = time.Millisecond
		}
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	perSecond := int64(time.Second / unit)
	c := cursor{text: []byte(fraction)}
	nano := n%perSecond*int64(unit) + int64(c.fraction())/perSecond
	return time.Unix(n/perSecond, nano).In(loc), true
}

// readFields reads the groups that m found in line.
func readFields(names []string, m *matcher, line []byte) (reading, bool) {
	r := reading{year: noYear}
	for group, name := range names {
		if text := m.text(line, group); len(name) == 1 && text != nil && !r.set(name[0], text) {
			return r, false
		}
	}
	if r.twelve {
		r.hour = hourOf(r.hour, r.afternoon)
	}
	return r, true
}

// hourOf is the hour that a clock of 12 hours shows.
func hourOf(hour int, afternoon bool) int {
	switch {
	case afternoon && hour != 12:
		return hour + 12
	case !afternoon && hour == 12:
		return 0
	}
	return hour
}

// set sets the field of a group.
func (r *reading) set(name byte, text []byte) (ok bool) {
	n := decimal(text)
	switch name {
	case 'Y':
		r.year = n
	case 'y':
		r.year = 2000 + n
	case 'm':
		r.month = n
	case 'b', 'B':
		r.month = indexOf(months, text)
		return r.month > 0
	case 'd':
		r.day = n
	case 'j':
		r.yearday = n
	case 'a', 'A':
		r.weekday = indexOf(weekdays, text)
		return r.weekday > 0
	case 'w':
		r.weekday = (n+6)%7 + 1
	case 'U', 'W':
		r.week, r.fromMonday = n+1, name == 'W'
	default:
		return r.setTime(name, text, n)
	}
	return true
}

// setTime sets a field of the time of the day.
func (r *reading) setTime(name byte, text []byte, n int) (ok bool) {
	switch name {
	case 'H':
		r.hour = n
	case 'I':
		r.hour, r.twelve = n, true
	case 'p':
		r.afternoon = text[0]|0x20 == 'p'
	case 'M':
		r.minute = n
	case 'S':
		r.second = n
	case 'f':
		c := cursor{text: text}
		r.nano = c.fraction()
	case 'z', 'Z':
		r.zoned = true
		r.offset, ok = zoneOffsetOf(string(text))
		return ok
	}
	return true
}

// decimal reads digits, before which spaces may stand; -1: there is something else, or too many.
func decimal(text []byte) int {
	text = bytes.TrimLeft(text, " ")
	if len(text) == 0 {
		return -1
	}
	n := 0
	for _, c := range text {
		if !isDigit(c) || n > 1e9 {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// indexOf is the number of a name, or of its first three letters, from 1, in any case; 0: it is none of names.
func indexOf(names []string, text []byte) int {
	for i, name := range names {
		if isFolded(text, name) || isFolded(text, name[:3]) {
			return i + 1
		}
	}
	return 0
}

// isFolded reports whether text is name, which has small letters, in any case.
func isFolded(text []byte, name string) bool {
	if len(text) != len(name) {
		return false
	}
	for i, c := range text {
		if c|0x20 != name[i] {
			return false
		}
	}
	return true
}

// asFail2ban is the time that fail2ban 1.0.2 makes of r. No year is this one, or the last if that
// puts r more than 24 hours ahead; no day is today, or yesterday if that puts r ahead at all; what
// is compared are the digits on clocks, whatever their zones. A fraction of a second is dropped.
func (r reading) asFail2ban(loc *time.Location, now time.Time) (time.Time, bool) {
	clock := wall(now, loc)
	year := r.year
	if year == noYear {
		year = clock.Year()
	}
	today := r.dayless()
	if today {
		r.month, r.day = int(clock.Month()), clock.Day()
	}
	year, month, day, ok := r.dayIn(year)
	if !ok || r.hour > 23 || r.minute > 59 || r.second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, r.hour, r.minute, r.second, 0, time.UTC)
	t = t.Add(-time.Duration(r.offset) * time.Second)
	if today && t.After(clock) {
		t = t.AddDate(0, 0, -1)
	}
	if r.year == noYear && t.After(clock.Add(ahead)) {
		if !isDay(year-1, month, day) {
			return time.Time{}, false
		}
		t = time.Date(year-1, time.Month(month), day, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	}
	if r.zoned {
		return t.In(loc), true
	}
	return local(t, loc), true
}

// wall is what clocks of loc show at t, as a time in UTC.
func wall(t time.Time, loc *time.Location) time.Time {
	return t.Add(shift(t, loc)).UTC()
}

// onDays is the time that r says: no year is the last that does not put it more than a day
// ahead of now, no day the one that puts it next to now.
func (r reading) onDays(loc *time.Location, now time.Time) (time.Time, bool) {
	switch {
	case !r.onClock():
		return time.Time{}, false
	case r.dayless():
		return r.nearest(loc, now)
	case r.year != noYear:
		return r.in(r.year, loc)
	}
	return r.latest(loc, now)
}

// nearest is r, which says no day, on the day that puts it next to now.
func (r reading) nearest(loc *time.Location, now time.Time) (best time.Time, found bool) {
	today := now.In(loc)
	if r.zoned {
		today = now.UTC().Add(time.Duration(r.offset) * time.Second)
	}
	for days := -1; days <= 1; days++ {
		date := today.AddDate(0, 0, days)
		r.month, r.day = int(date.Month()), date.Day()
		t, ok := r.in(date.Year(), loc)
		if ok && (!found || t.Sub(now).Abs() < best.Sub(now).Abs()) {
			best, found = t, true
		}
	}
	return best, found
}
