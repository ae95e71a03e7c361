package fail2ban

import (
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
		s.Maxlines = yamldoc.Value[int]{V: f.Maxlines, Set: true}
	}
	for _, line := range f.Failregex {
		rule := yamldoc.Value[filter.RuleSpec]{File: line.File, Line: line.Line, Set: true}
		rule.V.Regex = value(line)
		s.Failregex = append(s.Failregex, rule)
	}
	return s
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
