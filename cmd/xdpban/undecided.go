package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"xdpban/jails/filter"
)

// undecided counts the lines of a trial that are neither matched nor missed for certain.
type undecided struct {
	noted int            // a rule matches, the failure is none or waits for other lines of its session
	late  int            // a regex took too long
	slow  map[string]int // lines by the regex that did
}

// note counts a line.
func (u *undecided) note(r *filter.Result) {
	if r.Outcome == filter.Noted {
		u.noted++
	}
	if r.TimedOut > 0 {
		u.late++
	}
}

// lateLine is a line on which a regex took too long, as --json tells it.
type lateLine struct {
	Line     int      `json:"line"`
	Match    bool     `json:"match"`
	TimedOut []string `json:"timed_out"` // names of rules
	Text     string   `json:"text"`
}

// slowRules names the regexes that took too long on the line that reader has read last.
func (t *trial) slowRules(reader *filter.Reader) []string {
	var names []string
	for _, i := range reader.TimedOut() {
		name := "prefregex or ignoreregex"
		if i < len(t.rules) {
			name = t.rules[i].Name
		}
		names = append(names, name)
	}
	return names
}

// blame counts the line that reader has read last for the regexes that took too long on it.
func (t *trial) blame(reader *filter.Reader) {
	if t.undecided.slow == nil {
		t.undecided.slow = make(map[string]int)
	}
	for _, name := range t.slowRules(reader) {
		t.undecided.slow[name]++
	}
}

// report prints what there is, as more of the line that counts lines, and a line of its own for each slow regex.
func (u *undecided) report(w io.Writer) {
	if u.noted > 0 {
		fmt.Fprintf(w, ", %s of sessions without a failure so far", number(u.noted))
	}
	if u.late > 0 {
		fmt.Fprintf(w, ", %s undecided", number(u.late))
	}
	for _, name := range slices.Sorted(maps.Keys(u.slow)) {
		fmt.Fprintf(w, "\n%s takes too long on %s: whether it matches there nobody knows", safe(name), counted(u.slow[name], "line"))
	}
}
