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
	Noted // a rule matches; the failure is none, or waits for lines that say whose it is
)

// A Result is what a line says. Of a line that Missed only Template and TimedOut mean anything.
type Result struct {
	Outcome  Outcome
	Rule     int        // index in Filter.Rules; -1: an ignoreregex matches before rules are tried
	Addr     netip.Addr // who it was: never mapped, no zone; zero if it is no address
	Name     string     // who it was, if it is no address
	Time     time.Time  // what the line says; now if it says nothing
	Dated    bool       // Time is from the line
	Template int        // index in Templates; -1: no date
	Attempts int        // how many lines make up the failure
	TimedOut int        // how many regexes took too long, see Reader.TimedOut; the line may be theirs
}

// ID is who it was, as text.
func (r *Result) ID() string {
	if r.Addr.IsValid() {
		return r.Addr.String()
	}
	return r.Name
}

// A Reader reads the lines of one file and learns how it writes dates. It is not for
// concurrent use.
type Reader struct {
	filter *Filter
	loc    *time.Location
	dates  *learner // nil: lines carry no date
	memory *memory  // nil: the dialect is Native
	pre    scan     // of prefregex, if there is one
	rules  scan
	ignore scan
	date   *place   // of the line that was read last
	stamp  stamp    // of the date without a year that was read last
	rest   []byte   // what is left of a line of which more is cut out than its beginning
	before *capture // of prefregex in the line that was read last
	found  *capture // of a rule in that line
	budget budget   // of the line that is being read
	late   []int    // rules that took too long on it
}

// each calls yield with what each named group holds; text is nil where none took part.
func (c *capture) each(yield func(name string, text []byte)) {
	if c.rule == nil {
		return
	}
	for i := range c.rule.named.all {
		name := c.rule.named.all[i].name
		if from, to, ok := c.first(i); ok {
			yield(name, c.text[from:to:to])
		} else {
			yield(name, nil)
		}
	}
}

// Read looks at one line; now is when. A line whose date says an impossible day or hour
// is one without date. A line that no rule matches costs no allocation in the dialect Native.
func (r *Reader) Read(line []byte, now time.Time) (result Result) {
	r.ReadInto(&result, line, now)
	return result
}

// ReadInto is Read for who reads many lines: what result was before does not matter.
func (r *Reader) ReadInto(result *Result, line []byte, now time.Time) {
	f := r.filter
	*result = Result{Template: -1}
	r.forget()
	if f.longest > 0 && len(line) > f.longest {
		return
	}
	r.date = r.locate(line, now)
	if r.memory != nil {
		r.readFail2ban(result, line, now)
	} else {
		r.readNative(result, line, now)
	}
	result.Template, result.TimedOut = r.date.template, len(r.late)
}

// forget forgets what the line before showed.
func (r *Reader) forget() {
	r.date, r.before, r.found = &undated, &unfound, &unfound
	r.budget, r.late = budget{}, nil
}

// renew makes r as it was before the first line, but for what it has learned of dates.
func (r *Reader) renew() {
	if r.memory != nil {
		r.memory.renew()
	}
	r.pre.texts, r.rules.texts, r.ignore.texts = 0, 0, 0 // it goes on with the machines that readers share
}

// readNative says in result what line says, unless it is Missed.
func (r *Reader) readNative(result *Result, line []byte, now time.Time) {
	text, ok := r.content(r.cut(line, r.date))
	if !ok {
		return
	}
	rule := r.first(text)
	if rule < 0 {
		return
	}
	result.Outcome, result.Rule, result.Attempts = Matched, rule, 1
	if r.ignores(text) {
		result.Outcome = Ignored
	}
	from, to, ok := r.found.first(r.found.rule.named.host)
	if ok {
		result.Addr, result.Name = hostOf(r.found.text, from, to)
	} else {
		from, to, _ = r.before.place(hostGroup)
		result.Addr, result.Name = hostOf(r.before.text, from, to)
	}
	if result.Time, result.Dated = r.stamp.read(r.date, line, r.loc, now); !result.Dated {
		result.Time = now
	}
}

// contentGroup is the group of prefregex that the rules see instead of the whole.
const contentGroup = "content"

// content is the part of text that rules see; false: prefregex does not match.
func (r *Reader) content(text []byte) ([]byte, bool) {
	if len(r.filter.pre) == 0 {
		return text, true
	}
	if r.pre.first(text, r, r.precedes) < 0 {
		return nil, false
	}
	if from, to, ok := r.before.first(r.before.rule.named.content); ok && from < to {
		return text[from:to], true
	}
	return text, true
}

// first is the first rule that matches text and says who it was; -1: none does. What it found
// is in r.found.
func (r *Reader) first(text []byte) int {
	return r.rules.first(text, r, r.identifies)
}

// identifies reports whether one of the groups that say who it was took part, in found or
// before; then that is what was found.
func (r *Reader) identifies(found *capture) bool {
	if !found.identifies() && !r.before.identifies() {
		return false
	}
	r.found = found
	return true
}

// precedes takes what prefregex found.
func (r *Reader) precedes(found *capture) bool {
	r.before = found
	return true
}

// ignores reports whether an ignoreregex matches text.
func (r *Reader) ignores(text []byte) bool {
	return len(r.ignore.rules) > 0 && r.ignore.first(text, r, func(*capture) bool { return true }) >= 0
}

// TimedOut lists the rules that took too long on the line that was read last, as indices in
// Filter.Rules; their number stands for prefregex and the ignoreregexes.
func (r *Reader) TimedOut() []int { return r.late }

// locate finds the date of line, which is read at now, and learns from it.
func (r *Reader) locate(line []byte, now time.Time) *place {
	if r.dates == nil {
		return &undated
	}
	return r.dates.locate(line, now)
}

// Group is what the group called name held in the line that was read last; "" if it took no part.
func (r *Reader) Group(name string) string {
	if r.memory != nil {
		return string(r.memory.failure.texts.of(name))
	}
	for _, c := range []*capture{r.found, r.before} {
		if from, to, ok := c.place(name); ok {
			return string(c.text[from:to])
		}
	}
	return ""
}

// Groups is what the named groups held in the line that was read last, which was not Missed:
// texts, and in the dialect Fail2ban a list of texts as "users" where a session had several
// lines. What <HOST> found is Result.ID and not among them in the dialect Native.
func (r *Reader) Groups() map[string]any {
	groups := make(map[string]any)
	if r.memory != nil {
		r.memory.failure.show(groups)
		return groups
	}
	for _, c := range []*capture{r.before, r.found} {
		c.each(func(name string, text []byte) {
			if text != nil && name != hostGroup && name != contentGroup {
				groups[name] = string(text)
			}
		})
	}
	return groups
}

// cut is line without its date and without what a syslog daemon adds to repeated messages,
// valid until the next call.
func (r *Reader) cut(line []byte, date *place) []byte {
	if date.from == 0 {
		return r.unwrap(line[date.to:])
	}
	r.rest = append(r.rest[:0], line[:date.from]...)
	r.rest = append(r.rest, line[date.to:]...)
	return r.unwrap(r.rest)
}
