package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xdpban/internal/yamldoc"
)

// templates names the ways of writing dates that are read by hand, where a filter of our own says
// nothing about its dates. Such a date stands at the start
// of a line, behind a syslog priority (<34>, or <34>1 and a space) or an opening bracket;
// elsewhere in a line it may be the attacker's.
var templates = [...]string{
	"MON Day [Year] Hour:Minute:Second[.Fraction]",
	"Year-Month-Day[T ]Hour:Minute:Second[.Fraction][Zone]",
	"DAY MON Day Hour:Minute:Second[.Fraction] [Year]",
}

// Templates names the ways of writing dates that f knows; Result.Template is an index.
func (f *Filter) Templates() []string { return f.dates.names() }

// dates are the ways of writing dates that a filter knows. They may be used by many readers
// at once.
type dates struct {
	dialect   Dialect
	templates []*template // none: those that are read by hand
}

// newDates reads patterns as the key datepattern writes them, each a line or several; none:
// the dates that the dialect knows without it.
func newDates(patterns []yamldoc.Value[string], dialect Dialect) (*dates, yamldoc.Errors) {
	d := &dates{dialect: dialect}
	var errs yamldoc.Errors
	for i, pattern := range patterns {
		if err := d.addLines(pattern.V); err != nil {
			errs = append(errs, pattern.Error(fmt.Sprintf("datepattern[%d]", i+1), err.Error(), ""))
		}
	}
	if len(d.templates) == 0 && dialect == Fail2ban {
		d.templates = defaultTemplates(dialect)
	}
	return d, errs
}

func (d *dates) addLines(pattern string) error {
	if strings.TrimSpace(pattern) == "" {
		return errors.New("is empty")
	}
	for line := range strings.Lines(pattern) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if err := d.add(line); err != nil {
			return err
		}
	}
	return nil
}

// add adds what pattern stands for: {^LN-BEG} the known dates at the start of a line,
// {DEFAULT} all known ones, a pattern with {DATE} each of them in its place, {NONE} no date at all.
func (d *dates) add(pattern string) error {
	if err := speakable(pattern); err != nil {
		return err
	}
	key := pattern
	if !strings.Contains(pattern, "%") {
		key = strings.ToUpper(pattern)
	}
	switch {
	case key == markLine, key == "{DEFAULT}":
		d.addKnown(key == markLine)
		return nil
	case strings.Contains(key, "{DATE}"):
		return d.addInPlace(pattern)
	case key == "{NONE}":
		pattern = markUnbound + "^"
	}
	t, err := newTemplate(pattern, d.dialect, time.Now().Year())
	if err != nil {
		return err
	}
	return d.append(t)
}

func (d *dates) append(t *template) error {
	if d.find(t.key) != nil {
		return fmt.Errorf("%.60q is there twice", t.name)
	}
	d.templates = append(d.templates, t)
	return nil
}

// find is the template of a key; nil: there is none.
func (d *dates) find(key string) *template {
	for _, t := range d.templates {
		if t.key == key {
			return t
		}
	}
	return nil
}

// addKnown adds the known dates that are not there yet. One that is there counts as much as if it were known.
func (d *dates) addKnown(anchored bool) {
	for _, t := range defaultTemplates(d.dialect) {
		if anchored && !t.anchored {
			continue
		}
		if there := d.find(t.key); there != nil {
			there.weight = t.weight
			continue
		}
		d.templates = append(d.templates, t)
	}
}

// addInPlace adds the known dates where pattern says {DATE}.
func (d *dates) addInPlace(pattern string) error {
	for _, known := range defaults {
		bare := strings.TrimPrefix(known.pattern, markLine)
		t, err := newTemplate(replaceDate(pattern, bare), d.dialect, time.Now().Year())
		if err != nil {
			return err
		}
		t.name = replaceDate(pattern, known.name)
		if err := d.append(t); err != nil {
			return err
		}
	}
	return nil
}

// replaceDate writes date for each {DATE} of pattern, in any case, before which no backslash stands.
func replaceDate(pattern, date string) string {
	const mark = "{DATE}"
	var out strings.Builder
	for at := 0; at < len(pattern); {
		end := min(at+len(mark), len(pattern))
		if strings.EqualFold(pattern[at:end], mark) && (at == 0 || pattern[at-1] != '\\') {
			out.WriteString(date)
			at = end
			continue
		}
		out.WriteByte(pattern[at])
		at++
	}
	return out.String()
}

// names names the templates; place.template is an index.
func (d *dates) names() []string {
	if d.templates == nil {
		return slices.Clone(templates[:])
	}
	names := make([]string, len(d.templates))
	for i, t := range d.templates {
		names[i] = t.name
	}
	return names
}

// learner is what one file shows about its dates.
func (d *dates) learner() *learner { return newLearner(d) }

// locateByHand finds a date at the start of line, and learns from it.
func (l *learner) locateByHand(line []byte) *place {
	if l.hand.fits(line) {
		return &l.hand.date
	}
	date, c := locate(line, l.prefer)
	if date.template >= 0 {
		l.prefer = date.template
		l.hand.keep(line, date, date.from+c.far, date.from+c.timed)
	}
	l.at = date
	return &l.at
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
type place struct {
	from, to int
	template int
	pattern  *template // nil: it is read by hand
	start    int       // where the match of pattern begins
	limit    int       // where the part of the line ends in which pattern matches
	matcher  *matcher  // to match it again
}

// undated is the place of no date. Nobody changes it.
var undated = place{template: -1}

// locate finds the date of line, trying the template prefer first. The cursor is the one that has read it.
func locate(line []byte, prefer int) (place, cursor) {
	from := opening(line)
	text := line[from:]
	if c := scanned(text, prefer); c.at > 0 {
		return place{from: from, to: from + c.at, template: prefer}, c
	}
	for i := range templates {
		if i == prefer {
			continue
		}
		if c := scanned(text, i); c.at > 0 {
			return place{from: from, to: from + c.at, template: i}, c
		}
	}
	return undated, cursor{}
}

// scanned has read the date that text begins with; it is at 0 if text begins with none.
func scanned(text []byte, template int) cursor {
	c := cursor{text: text}
	if _, ok := c.scan(template); !ok {
		return cursor{}
	}
	return c
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
