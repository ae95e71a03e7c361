// Package filter finds out of a log line who misbehaved and when.
//
// A line is seen as fail2ban sees it: its date is cut out, what stood before and behind it
// is joined, and regexes are tried on that rest, so that ^ is the start of the rest. The
// three steps, find the date (date.go), match the rest (scan.go), read the time (stamp.go), stay
// apart: dates of lines that do not match are never read, except in the dialect Fail2ban,
// where a line without a date has that of the line before.
//
// Filters speak one of two dialects. Native is Go's regexes with our tags (tags.go). Fail2ban is Python's
// regexes, read into a tree (python.go) that is written for an engine (write.go), fail2ban's tags
// (fail2bantags.go), and its memory: the last lines (buffer.go), and sessions of which each line tells
// a part (memory.go, session.go).
//
// Two engines run regexes (engine.go): an automaton for nearly all, and a backtracking one for what no
// automaton can do, behind an automaton that lets few lines through, and with a limit.
//
// Lines are bytes. A byte that is not UTF-8 is one character to a regex: . matches it.
package filter

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"xdpban/internal/yamldoc"
)

// A Filter is a Spec made ready. It may be used by many readers at once.
type Filter struct {
	Name     string
	Mode     string
	dialect  Dialect
	pre      []rule // one at most; none: rules see all of a line
	rules    []rule
	ignore   []rule
	automata struct{ pre, rules, ignore func() *automaton }
	shapes   struct{ pre, rules []func() (*shape, error) }
	dates    *dates
	longest  int
	maxlines int
	spec     *Spec
}

// A Rule is one failregex for people to look at.
type Rule struct {
	Name     string
	Regex    string // as written
	Expanded string // without tags
	Trust    Trust
	Engine   Engine
}

// New expands the tags of spec's regexes, compiles them, and keeps the rules of mode. The
// error is a yamldoc.Errors with all that is wrong; a filter of which one regex does not compile
// does not exist, whichever mode the regex is for (unless it is built in). A rule without trust is Spoofable, one
// without a name is called failregex-1, failregex-2 ...
func New(name string, spec *Spec, mode string) (*Filter, error) {
	f := &Filter{Name: name, Mode: mode, dialect: spec.Dialect.V, longest: spec.Longest.V, spec: spec}
	var errs yamldoc.Errors
	if err := spec.NoMode(name, mode); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, f.setLimits(spec)...)
	c, bad := f.compiler()
	errs = append(errs, bad...)
	f.dates, bad = newDates(spec.Datepattern, spec.Dialect.V)
	errs = append(errs, bad...)
	errs = append(errs, f.setPrefilter(spec.Prefregex, c)...)
	errs = append(errs, f.addIgnores(spec.Ignoreregex, c)...)
	c.multi = f.maxlines > 1
	errs = append(errs, f.addRules(spec.Failregex, c)...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	f.automata.pre, f.automata.rules, f.automata.ignore = automatonOf(f.pre), automatonOf(f.rules), automatonOf(f.ignore)
	maker := sync.OnceValue(f.shaper)
	f.shapes.pre, f.shapes.rules = shapesOf(f.pre, maker), shapesOf(f.rules, maker)
	return f, nil
}

// compiler makes f's rules.
func (f *Filter) compiler() (*compiler, yamldoc.Errors) {
	if f.dialect == Fail2ban {
		return &compiler{dialect: Fail2ban}, nil
	}
	prefix, bad := prefixOf(f.spec.Prefix)
	return &compiler{tags: tagsWith(prefix)}, bad
}

// shaper makes the shapes of f's rules.
func (f *Filter) shaper() *compiler {
	c, _ := f.compiler()
	c.multi = f.maxlines > 1
	return c
}

// shapesOf returns functions that make the shapes of rules when they are first called.
func shapesOf(rules []rule, shaper func() *compiler) []func() (*shape, error) {
	shapes := make([]func() (*shape, error), len(rules))
	for i := range rules {
		shapes[i] = sync.OnceValues(func() (*shape, error) { return shaper().shape(rules[i].Regex) })
	}
	return shapes
}

// shapeOf is the shape of rule i. Nobody changes it.
func (f *Filter) shapeOf(i int) (*shape, error) { return f.shapes.rules[i]() }

// mostLines is the largest maxlines that is taken.
const mostLines = 100

func (f *Filter) setLimits(spec *Spec) yamldoc.Errors {
	var errs yamldoc.Errors
	if f.longest < 0 {
		errs = append(errs, spec.Longest.Error("longest", "is less than 0", ""))
	}
	f.maxlines = 1
	if lines := spec.Maxlines; lines.Set {
		f.maxlines = lines.V
		switch {
		case lines.V < 1 || lines.V > mostLines:
			errs = append(errs, lines.Error("maxlines", fmt.Sprintf("want 1 to %d, got %d", mostLines, lines.V), ""))
		case lines.V > 1 && f.dialect == Native:
			errs = append(errs, lines.Error("maxlines", "is for filters with dialect: fail2ban", "a rule sees one line"))
		}
	}
	if f.dialect == Fail2ban && len(spec.Prefix) > 0 {
		errs = append(errs, spec.Prefix[0].Error("prefix", "is not for filters with dialect: fail2ban", "write it into prefregex"))
	}
	return errs
}

func (f *Filter) setPrefilter(regex yamldoc.Value[string], c *compiler) yamldoc.Errors {
	if regex.V == "" {
		return nil
	}
	made, err := c.compile(regex.V, namesAnything)
	if err != nil {
		return yamldoc.Errors{regex.Error("prefregex", err.Error(), "")}
	}
	f.pre = []rule{made}
	return nil
}

func (f *Filter) addRules(specs []yamldoc.Value[RuleSpec], c *compiler) yamldoc.Errors {
	var errs yamldoc.Errors
	for i, written := range specs {
		if f.BuiltIn() && !written.V.in(f.Mode) {
			continue // tests have compiled it
		}
		rule, err := c.compile(written.V.Regex.V, f.namesSomebody)
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

func (f *Filter) addIgnores(regexes []yamldoc.Value[string], c *compiler) yamldoc.Errors {
	var errs yamldoc.Errors
	for i, written := range regexes {
		rule, err := c.compile(written.V, namesAnything)
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

// Groups lists the names of what f's rules capture besides whom they find, sorted.
func (f *Filter) Groups() []string {
	names := make(map[string]bool)
	for _, r := range slices.Concat(f.pre, f.rules) {
		for _, name := range r.groups {
			if name != "" && name != hostGroup && name != contentGroup {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Spec is what f was made of. It must not be changed.
func (f *Filter) Spec() *Spec { return f.spec }

// NewReader reads the lines of one file, whose dates are in loc where they name no zone.
func (f *Filter) NewReader(loc *time.Location) *Reader {
	r := f.NewDatelessReader()
	r.loc, r.dates = loc, f.dates.learner()
	return r
}

// NewDatelessReader reads lines that carry no date, as the journal's without what it keeps
// beside them: "HOST IDENT[PID]: MESSAGE". What looks like a date is part of the message.
func (f *Filter) NewDatelessReader() *Reader {
	others, many := len(f.rules), f.dialect == Fail2ban
	r := &Reader{
		filter: f,
		pre:    newScan(f.pre, f.automata.pre(), others, many),
		rules:  newScan(f.rules, f.automata.rules(), -1, many),
		ignore: newScan(f.ignore, f.automata.ignore(), others, false),
	}
	if f.dialect == Fail2ban {
		r.memory = newMemory(f.maxlines)
	}
	r.forget()
	return r
}

// hostGroup is the group that holds who it was; <HOST>, <ADDR>, <IP4>, <IP6> and <SUBNET> make one.
const hostGroup = "host"

var (
	nativeIdentities   = []string{hostGroup}
	fail2banIdentities = []string{"fid", "ip4", "ip6", "dns", "mlfid"}
)

// identities are the groups that say who it was. A rule has one, or prefregex has.
func (d Dialect) identities() []string {
	if d == Fail2ban {
		return fail2banIdentities
	}
	return nativeIdentities
}

// namesSomebody refuses a rule that finds nobody, or more than one.
func (f *Filter) namesSomebody(groups []string) error {
	if f.pre != nil {
		groups = slices.Concat(f.pre[0].groups, groups)
	}
	hosts := 0
	for _, name := range groups {
		if slices.Contains(f.dialect.identities(), name) {
			hosts++
		}
	}
	switch {
	case hosts == 0:
		return errors.New("names nobody: put <HOST> or <ADDR> where the address stands")
	case hosts > 1 && f.dialect == Native:
		return errors.New("names more than one <HOST> or <ADDR>")
	}
	return nil
}

func namesAnything([]string) error { return nil }
