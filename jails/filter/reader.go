package filter

import (
	"net/netip"
	"time"
)

// Outcome is what became of a line.
type Outcome uint8

const (
	Missed  Outcome = iota // no rule matches
	Ignored                // a rule matches, an ignoreregex too
	Matched
)

// A Result is what a line says. Of a line that Missed only Template means anything.
type Result struct {
	Outcome  Outcome
	Rule     int        // index in Filter.Rules
	ID       string     // who it was: Addr as text, or a name
	Addr     netip.Addr // never mapped, no zone; zero if ID is no address
	Time     time.Time  // what the line says; now if it says nothing
	Dated    bool       // Time is from the line
	Template int        // index in Templates; -1: no date
}

// A Reader reads the lines of one file and learns how it writes dates. It is not for
// concurrent use.
type Reader struct {
	filter *Filter
	loc    *time.Location
	dates  *learner // nil: lines carry no date
	date   place    // of the line that was read last
	rest   []byte   // what is left of a line of which more is cut out than its beginning
}

// Read looks at one line; now is when. A line whose date says an impossible day or hour
// is one without date. A line that no rule matches costs no allocation.
func (r *Reader) Read(line []byte, now time.Time) Result {
	f := r.filter
	if f.longest > 0 && len(line) > f.longest {
		return Result{Template: -1}
	}
	date := r.locate(line, now)
	r.date = date
	result := Result{Template: date.template}
	rest := r.cut(line, date)
	rule, from, to := f.first(rest)
	if rule < 0 {
		return result
	}
	result.Outcome, result.Rule = Matched, rule
	if f.ignores(rest) {
		result.Outcome = Ignored
	}
	result.ID, result.Addr = hostOf(rest, from, to)
	if result.Time, result.Dated = date.read(line, r.loc, now); !result.Dated {
		result.Time = now
	}
	return result
}

// locate finds the date of line, and learns from it.
func (r *Reader) locate(line []byte, now time.Time) place {
	if r.dates == nil {
		return undated
	}
	return r.dates.locate(line, now)
}

// Groups is what the named groups of a regex hold in line, which is the one that was read
// last and gave result. The group of <HOST> is not among them: it is Result.ID. Of several groups
// with one name the first that took part is shown.
func (r *Reader) Groups(line []byte, result Result) map[string]string {
	groups := make(map[string]string)
	rule := r.filter.rules[result.Rule]
	if rule.re.NumSubexp() == 1 {
		return groups
	}
	found := rule.re.FindSubmatch(r.cut(line, r.date))
	for i, name := range rule.groups {
		if name == "" || name == hostGroup || i >= len(found) || found[i] == nil {
			continue
		}
		if _, ok := groups[name]; !ok {
			groups[name] = string(found[i])
		}
	}
	return groups
}

// cut is line without its date and without what a syslog daemon adds to repeated messages,
// valid until the next call.
func (r *Reader) cut(line []byte, date place) []byte {
	if date.from == 0 {
		return r.unwrap(line[date.to:])
	}
	r.rest = append(r.rest[:0], line[:date.from]...)
	r.rest = append(r.rest, line[date.to:]...)
	return r.unwrap(r.rest)
}

// first is the first rule that matches rest, and where it finds whom; -1: none does.
func (f *Filter) first(rest []byte) (rule, from, to int) {
	for i := range f.rules {
		if from, to, ok := f.rules[i].find(rest); ok {
			return i, from, to
		}
	}
	return -1, 0, 0
}

func (f *Filter) ignores(rest []byte) bool {
	for i := range f.ignore {
		if f.ignore[i].match(rest) {
			return true
		}
	}
	return false
}
