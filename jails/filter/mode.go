package filter

import (
	"fmt"
	"slices"
	"strings"

	"xdpban/internal/yamldoc"
)

// Normal is the mode of a filter that is named without one.
const Normal = "normal"

// in reports whether r is used in mode. A rule that lists no modes is used in all.
func (r *RuleSpec) in(mode string) bool {
	return len(r.Modes) == 0 || slices.ContainsFunc(r.Modes, func(m yamldoc.Value[string]) bool { return m.V == mode })
}

// Modes lists the modes in which s has rules, Normal first if it is one of them.
func (s *Spec) Modes() []string {
	var modes []string
	for _, rule := range s.Failregex {
		if rule.V.in(Normal) {
			modes = []string{Normal}
		}
	}
	for _, rule := range s.Failregex {
		for _, mode := range rule.V.Modes {
			if !slices.Contains(modes, mode.V) {
				modes = append(modes, mode.V)
			}
		}
	}
	return modes
}

// NoMode is the error of asking the filter called name for a mode in which s has no rule; nil
// where it has one.
func (s *Spec) NoMode(name, mode string) *yamldoc.Error {
	modes := s.Modes()
	if slices.Contains(modes, mode) {
		return nil
	}
	hint := "it has " + strings.Join(modes, ", ")
	if len(modes) == 1 && modes[0] == Normal {
		hint = "it has one set of rules: write its name alone"
	}
	return &yamldoc.Error{Msg: fmt.Sprintf("filter %.60q has no mode %.60q", name, mode), Hint: hint}
}

// SplitMode takes text, which names a filter, apart: name, name[mode=x] or name[mode="x"].
// The mode is Normal where text says none.
func SplitMode(text string) (name, mode string, err error) {
	name, options, ok := strings.Cut(text, "[")
	if !ok {
		return text, Normal, nil
	}
	inside, closed := strings.CutSuffix(options, "]")
	if mode, ok = strings.CutPrefix(strings.TrimSpace(inside), "mode="); !ok || !closed {
		return "", "", &yamldoc.Error{Msg: fmt.Sprintf("%.60q is no name of a filter", text), Hint: "write sshd, or sshd[mode=ddos]"}
	}
	for _, quote := range []string{`"`, `'`} {
		if inner, ok := strings.CutPrefix(mode, quote); ok && strings.HasSuffix(inner, quote) {
			mode = strings.TrimSuffix(inner, quote)
		}
	}
	return name, mode, nil
}

// String is f's name as a jail writes it, with the mode unless that is Normal.
func (f *Filter) String() string { return WithMode(f.Name, f.Mode) }

// WithMode is what SplitMode takes apart.
func WithMode(name, mode string) string {
	if mode == Normal {
		return name
	}
	return name + "[mode=" + mode + "]"
}
