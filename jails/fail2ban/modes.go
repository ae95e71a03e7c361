package fail2ban

import (
	"slices"
	"strings"

	"xdpban/jails/filter"
)

// A rule is a failregex and the modes in which it is used; no modes: all.
type rule struct {
	Line
	modes []string
}

// in reports whether r is used in mode.
func (r rule) in(mode string) bool { return len(r.modes) == 0 || slices.Contains(r.modes, mode) }

// A choice is a filter in one mode.
type choice struct {
	mode string
	*Filter
}

// together are the rules of all choices as one list, which gives each its own in their
// order; nil if the choices differ in more than rules.
func together(choices []choice) []rule {
	var all []rule
	for _, c := range choices {
		if !c.alikeButRules(choices[0].Filter) {
			return nil
		}
		all = merge(all, c)
	}
	for i, r := range all {
		if len(r.modes) == len(choices) {
			all[i].modes = nil
		}
	}
	return nameModes(all, choices)
}

// nameModes has every mode named by a rule: one that none names does not exist. Where a mode
// has nothing of its own, the first rule of all names all.
func nameModes(all []rule, choices []choice) []rule {
	var modes []string
	nameless := false
	for _, c := range choices {
		modes = append(modes, c.mode)
		named := slices.ContainsFunc(all, func(r rule) bool { return slices.Contains(r.modes, c.mode) })
		nameless = nameless || !named && c.mode != filter.Normal
	}
	if i := slices.IndexFunc(all, func(r rule) bool { return r.modes == nil }); nameless && i >= 0 {
		all[i].modes = modes
	}
	return all
}

// merge puts the rules of c into all, those that are there already at the places where they
// are: along a longest common subsequence.
func merge(all []rule, c choice) []rule {
	own := c.Failregex
	// common[i][j] is the length of the one of all[i:] and own[j:].
	common := make([][]int, len(all)+1)
	for i := range common {
		common[i] = make([]int, len(own)+1)
	}
	for i := len(all) - 1; i >= 0; i-- {
		for j := len(own) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if all[i].Text == own[j].Text {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var merged []rule
	for i, j := 0, 0; i < len(all) || j < len(own); {
		switch {
		case i < len(all) && j < len(own) && all[i].Text == own[j].Text:
			merged = append(merged, rule{all[i].Line, append(slices.Clip(all[i].modes), c.mode)})
			i, j = i+1, j+1
		case j == len(own) || i < len(all) && common[i+1][j] >= common[i][j+1]:
			merged = append(merged, all[i])
			i++
		default:
			merged = append(merged, rule{own[j], []string{c.mode}})
			j++
		}
	}
	return merged
}

// alikeButRules reports whether f and g differ in their failregexes alone.
func (f *Filter) alikeButRules(g *Filter) bool {
	return f.Prefregex.Text == g.Prefregex.Text && f.Maxlines == g.Maxlines && sameTexts(f.Ignoreregex, g.Ignoreregex) &&
		sameTexts(f.Datepattern, g.Datepattern) && sameTexts(f.Journalmatch, g.Journalmatch)
}

func sameTexts(a, b []Line) bool {
	return slices.EqualFunc(a, b, func(x, y Line) bool { return x.Text == y.Text })
}

// alike reports whether f and g find the same.
func (f *Filter) alike(g *Filter) bool {
	return f.alikeButRules(g) && sameTexts(f.Failregex, g.Failregex)
}

// modeName is a name of a mode that can stand in name[mode=x].
func modeName(mode string) bool {
	return mode != "" && strings.Trim(mode, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}
