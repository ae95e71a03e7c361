package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"xdpban/jails/filter"
)

// A nearMiss is where the rule that came furthest in a line stopped.
type nearMiss struct {
	Rule   string `json:"rule"`
	At     int    `json:"at"` // bytes from the start of the line
	Want   string `json:"want"`
	Behind bool   `json:"behind,omitempty"` // it wants it there or anywhere behind
	score  int
}

// near is where the rule that came furthest in line stopped; nil: none came far.
func (t *trial) near(line []byte) *nearMiss {
	if t.searcher == nil {
		reader := t.spent
		if reader == nil {
			reader = t.reader()
		}
		t.searcher = filter.NewSearcher(reader)
	}
	found, ok := t.searcher.NearMiss(line, t.now)
	if !ok {
		return nil
	}
	return &nearMiss{t.rules[found.Rule].Name, found.At, found.Want, found.Behind, found.Score}
}

// tellMissed prints a line, and below it where the rule that came furthest stopped.
func tellMissed(w io.Writer, before, line string, near *nearMiss) error {
	if _, err := fmt.Fprintf(w, "%s%s\n", before, safe(line)); err != nil || near == nil || near.At > len(line) {
		return err
	}
	where := "here"
	if near.Behind {
		where = "from here on"
	}
	indent := utf8.RuneCountInString(before) + utf8.RuneCountInString(safe(line[:near.At]))
	begin, _, nested := strings.Cut(before, " ")
	if !nested || begin != "|" {
		begin = ""
	}
	_, err := fmt.Fprintf(w, "%s%*s^ %s wants %s %s\n", begin, indent-len(begin), "", safe(near.Rule), safe(near.Want), where)
	return err
}

// reportMissed shows the missed lines if they are few, and those that came closest if they are not.
func (t *trial) reportMissed(w io.Writer) {
	switch {
	case t.printMissed || t.missed == 0:
	case t.missed > len(t.missedLines):
		t.reportClosest(w)
	default:
		fmt.Fprint(w, "Missed lines:\n")
		for _, line := range t.missedLines {
			tellMissed(w, "|  ", beginning(line), t.near(line)) //nolint:errcheck // the buffer's flush tells
		}
		fmt.Fprint(w, "`-\n\n")
	}
}

// A closeLine is a missed line, and where the rule that came furthest in it stopped.
type closeLine struct {
	line []byte
	near *nearMiss
}

// reportClosest shows of too many missed lines those in which a rule came furthest: one a rule and
// place.
func (t *trial) reportClosest(w io.Writer) {
	fmt.Fprintf(w, "Missed lines: %s are too many to show here; --print-missed prints them", number(t.missed))
	closest := t.closest()
	if len(closest) == 0 {
		fmt.Fprint(w, "\n\n")
		return
	}
	fmt.Fprintf(w, ". Of %s among them, closest came\n", number(len(t.someMissed.ends)))
	for _, c := range closest {
		tellMissed(w, "|  ", beginning(c.line), c.near) //nolint:errcheck // the buffer's flush tells
	}
	fmt.Fprint(w, "`-\n\n")
}

func (t *trial) closest() []closeLine {
	var all []closeLine
	seen := make(map[string]bool)
	for _, line := range t.someMissed.lines() {
		outline := withoutNumbers(line)
		if seen[outline] {
			continue
		}
		seen[outline] = true
		near := t.near(line)
		alike := func(c closeLine) bool { return c.near.Rule == near.Rule && c.near.Want == near.Want }
		if near != nil && !slices.ContainsFunc(all, alike) {
			all = append(all, closeLine{line, near})
		}
	}
	slices.SortStableFunc(all, func(a, b closeLine) int { return cmp.Compare(b.near.score, a.near.score) })
	return all[:min(len(all), nearShown)]
}

// withoutNumbers is line without digits: lines of one kind differ mostly in these.
func withoutNumbers(line []byte) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, string(line))
}
