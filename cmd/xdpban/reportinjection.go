package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"xdpban/jails/filter"
)

// reportInjections says which rules find somebody else when an attacker writes the right text,
// and shows a line that proves it.
func reportInjections(w io.Writer, f *filter.Filter) {
	rules := f.Rules()
	names := make(map[filter.Verdict][]string)
	var holes []filter.Injection
	attempts, how := f.Injections, ""
	if f.BuiltIn() {
		attempts, how = f.Tried, ", as was tried when the filter was built in"
	}
	for _, i := range attempts() {
		names[i.Verdict] = append(names[i.Verdict], safe(rules[i.Rule].Name))
		if i.Verdict == filter.Moves || i.Verdict == filter.Escapes {
			holes = append(holes, i)
		}
	}
	fmt.Fprint(w, "Injection: can text that an attacker writes move the address?\n")
	if n := len(names[filter.Steady]); n > 0 {
		fmt.Fprintf(w, "|- no: %s%s\n", counted(n, "rule"), how)
	}
	if list := names[filter.Believed]; len(list) > 0 {
		fmt.Fprintf(w, "|- it is the attacker's already (untrusted): %s\n", some(list))
	}
	if list := names[filter.Unproven]; len(list) > 0 {
		fmt.Fprintf(w, "|- not known, for want of a line that names an address: %s\n", some(list))
	}
	for _, hole := range holes {
		reportHole(w, hole, rules)
	}
	fmt.Fprint(w, "`-\n\n")
}

// reportHole prints a line and marks what the attacker wrote in it.
func reportHole(w io.Writer, hole filter.Injection, rules []filter.Rule) {
	answer, condition := "YES", ""
	if hole.Verdict == filter.Escapes {
		answer, condition = "MAYBE", ", if the daemon lets through what that excludes"
	}
	by := ""
	if hole.By != hole.Rule {
		by = " by " + safe(rules[hole.By].Name)
	}
	fmt.Fprintf(w, "|- %s: %s, through %s%s\n", answer, safe(rules[hole.Rule].Name), safe(hole.Part), condition)
	before, planted := safe(hole.Line[:hole.From]), safe(hole.Line[hole.From:hole.To])
	fmt.Fprintf(w, "|     %s\n", safe(hole.Line))
	fmt.Fprintf(w, "|     %*s%s\n", utf8.RuneCountInString(before), "", strings.Repeat("^", utf8.RuneCountInString(planted)))
	fmt.Fprintf(w, "|     what is marked is the attacker's text: found%s is %v, not %v\n", by, hole.Planted, hole.True)
}

// namesShown is how many names stand in a line of the report.
const namesShown = 6

// some is a list of names, or the beginning of one.
func some(names []string) string {
	if more := len(names) - namesShown; more > 0 {
		return fmt.Sprintf("%s and %s more", strings.Join(names[:namesShown], ", "), number(more))
	}
	return strings.Join(names, ", ")
}
