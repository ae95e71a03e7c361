package fail2ban

import (
	"fmt"
	"path/filepath"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// Spec is f as a filter of ours, in the dialect of fail2ban. Mistakes in a regex are
// reported where fail2ban's file has it.
func (f *Filter) Spec() *filter.Spec {
	s := &filter.Spec{
		Ignoreregex:  values(f.Ignoreregex),
		Datepattern:  values(f.Datepattern),
		Journalmatch: values(f.Journalmatch),
	}
	s.Dialect.V, s.Dialect.Set = filter.Fail2ban, true
	if f.Prefregex.Text != "" {
		s.Prefregex = value(f.Prefregex)
	}
	if f.Maxlines > 0 {
		s.Maxlines = yamldoc.Value[int]{V: f.Maxlines, File: f.MaxlinesAt.File, Line: f.MaxlinesAt.Line, Set: true}
	}
	for _, line := range f.Failregex {
		rule := yamldoc.Value[filter.RuleSpec]{File: line.File, Line: line.Line, Set: true}
		rule.V.Regex = value(line)
		s.Failregex = append(s.Failregex, rule)
	}
	return s
}

// Compile makes f ready to read lines.
func (f *Filter) Compile() (*filter.Filter, error) {
	if len(f.Failregex) == 0 {
		return nil, yamldoc.Errors{{Msg: fmt.Sprintf("filter %.60q has no failregex", f.Name)}}
	}
	return filter.New(f.Name, f.Spec(), filter.Normal)
}

// macros are %(name)s in a regex that stands alone.
var macros = lazy.Regexp(`%\([^)]+\)s`)

// Regex is a filter of one regex, as fail2ban means it. %(__prefix_line)s and what else the filters
// of c have in common (common.conf) may stand in it; a % of its own is one.
func (c *Config) Regex(regex string, journal bool) (*filter.Filter, error) {
	if !macros.Get().MatchString(regex) {
		f := &Filter{Name: "regex", Failregex: []Line{{Text: regex}}}
		return f.Compile()
	}
	read, err := c.reader.load(filesOf(filepath.Join(c.dir, filters, "common")))
	if err != nil {
		return nil, err
	}
	read.section("Definition").set("failregex", said(doubled(regex)))
	f, err := (&definition{config: read, name: "regex", asked: new(options), cache: make(map[string]text)}).filter(journal)
	if err != nil {
		return nil, err
	}
	return f.Compile()
}

// doubled is regex with each % that begins no macro written as in a file, twice.
func doubled(regex string) string {
	var b strings.Builder
	at := 0
	for _, m := range macros.Get().FindAllStringIndex(regex, -1) {
		b.WriteString(strings.ReplaceAll(regex[at:m[0]], "%", "%%") + regex[m[0]:m[1]])
		at = m[1]
	}
	return b.String() + strings.ReplaceAll(regex[at:], "%", "%%")
}

func value(line Line) yamldoc.Value[string] {
	return yamldoc.Value[string]{V: line.Text, File: line.File, Line: line.Line, Set: true}
}

func values(lines []Line) []yamldoc.Value[string] {
	var list []yamldoc.Value[string]
	for _, line := range lines {
		list = append(list, value(line))
	}
	return list
}
