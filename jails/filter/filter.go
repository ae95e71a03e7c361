// Package filter finds out of a log line who misbehaved and when.
//
// A line is seen as fail2ban sees it: its date is cut out, what stood before and behind it
// is joined, and regexes are tried on that rest, so that ^ is the start of the rest. The
// three steps, find the date (date.go), match the rest (rule.go), read the time (stamp.go), stay
// apart: dates of lines that do not match are never read.
//
// Lines are bytes. A byte that is not UTF-8 is one character to a regex: . matches it.
package filter

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"xdpban/internal/yamldoc"
)

// A Filter is a Spec made ready. It may be used by many readers at once.
type Filter struct {
	Name    string
	Mode    string
	rules   []rule
	ignore  []rule
	dates   *dates
	longest int
	spec    *Spec
}

// A Rule is one failregex for people to look at.
type Rule struct {
	Name     string
	Regex    string // as written
	Expanded string // without tags
	Trust    Trust
}

// New expands the tags of spec's regexes, compiles them, and keeps the rules of mode. The
// error is a yamldoc.Errors with all that is wrong; a filter of which one regex does not compile
// does not exist, whichever mode the regex is for. A rule without trust is Spoofable, one
// without a name is called failregex-1, failregex-2 ...
func New(name string, spec *Spec, mode string) (*Filter, error) {
	f := &Filter{Name: name, Mode: mode, longest: spec.Longest.V, spec: spec}
	errs := spec.notYet()
	if err := spec.NoMode(name, mode); err != nil {
		errs = append(errs, err)
	}
	if f.longest < 0 {
		errs = append(errs, spec.Longest.Error("longest", "is less than 0", ""))
	}
	prefix, bad := prefixOf(spec.Prefix)
	errs = append(errs, bad...)
	f.dates, bad = newDates(spec.Datepattern, spec.Dialect.V)
	errs = append(errs, bad...)
	tags := tagsWith(prefix)
	errs = append(errs, f.addRules(spec.Failregex, tags)...)
	errs = append(errs, f.addIgnores(spec.Ignoreregex, tags)...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// notYet refuses what is read and not done.
func (s *Spec) notYet() yamldoc.Errors {
	const msg = "is not supported yet"
	var errs yamldoc.Errors
	if s.Dialect.V != Native {
		errs = append(errs, s.Dialect.Error("dialect", s.Dialect.V.String()+" "+msg, ""))
	}
	if s.Prefregex.Set {
		errs = append(errs, s.Prefregex.Error("prefregex", msg, "put it in front of each failregex"))
	}
	if s.Maxlines.Set && s.Maxlines.V != 1 {
		errs = append(errs, s.Maxlines.Error("maxlines", msg, "a rule sees one line"))
	}
	return errs
}

func (f *Filter) addRules(specs []yamldoc.Value[RuleSpec], tags map[string]string) yamldoc.Errors {
	var errs yamldoc.Errors
	for i, written := range specs {
		rule, err := compile(written.V.Regex.V, tags, namesHost)
		if err != nil {
			errs = append(errs, at(written, fmt.Sprintf("failregex[%d]", i+1), err))
			continue
		}
		rule.Name, rule.Trust = written.V.Name.V, written.V.Trust.V
		if rule.Name == "" {
			rule.Name = fmt.Sprintf("failregex-%d", i+1)
		}
		if rule.Trust == 0 {
			rule.Trust = Spoofable
		}
		if written.V.in(f.Mode) {
			f.rules = append(f.rules, rule)
		}
	}
	return errs
}

func (f *Filter) addIgnores(regexes []yamldoc.Value[string], tags map[string]string) yamldoc.Errors {
	var errs yamldoc.Errors
	for i, written := range regexes {
		rule, err := compile(written.V, tags, namesAnything)
		if err != nil {
			errs = append(errs, written.Error(fmt.Sprintf("ignoreregex[%d]", i+1), err.Error(), ""))
			continue
		}
		f.ignore = append(f.ignore, rule)
	}
	return errs
}

// at is err where the regex of written stands, or the rule itself if it has none.
func at(written yamldoc.Value[RuleSpec], key string, err error) *yamldoc.Error {
	if regex := written.V.Regex; regex.Line > 0 {
		return regex.Error(key, err.Error(), "")
	}
	return written.Error(key, err.Error(), "")
}

// Inline is a filter of plain regexes; <PREFIX> stands for any daemon, evidence is Spoofable.
func Inline(name string, regexes []string) (*Filter, error) {
	spec := &Spec{Failregex: make([]yamldoc.Value[RuleSpec], len(regexes))}
	for i, regex := range regexes {
		spec.Failregex[i].V.Regex.V = regex
	}
	return New(name, spec, Normal)
}

// Rules lists f's rules in the order in which they are tried; Result.Rule is an index.
func (f *Filter) Rules() []Rule {
	rules := make([]Rule, len(f.rules))
	for i, rule := range f.rules {
		rules[i] = rule.Rule
	}
	return rules
}

// NewReader reads the lines of one file, whose dates are in loc where they name no zone.
func (f *Filter) NewReader(loc *time.Location) *Reader {
	return &Reader{filter: f, loc: loc, dates: f.dates.learner()}
}

// NewDatelessReader reads lines that carry no date, as the journal's without what it keeps
// beside them: "HOST IDENT[PID]: MESSAGE". What looks like a date is part of the message.
func (f *Filter) NewDatelessReader() *Reader {
	return &Reader{filter: f}
}

// hostGroup is the group that holds who it was; <HOST>, <ADDR>, <IP4>, <IP6> and <SUBNET> make one.
const hostGroup = "host"

// namesHost refuses a regex that finds nobody, or more than one.
func namesHost(re *regexp.Regexp) error {
	hosts := 0
	for _, name := range re.SubexpNames() {
		if groupName(name) == hostGroup {
			hosts++
		}
	}
	switch hosts {
	case 0:
		return errors.New("names nobody: put <HOST> or <ADDR> where the address stands")
	case 1:
		return nil
	}
	return errors.New("names more than one <HOST> or <ADDR>")
}

func namesAnything(*regexp.Regexp) error { return nil }
