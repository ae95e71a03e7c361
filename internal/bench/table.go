package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A goal is the figure to reach, and the unit that figures of its row are told in: x is a ratio.
type goal struct {
	sign  string // "≥", "≤" or, where a figure is only shown, ""
	value float64
	unit  string
}

func atLeast(v float64, unit string) goal { return goal{"≥", v, unit} }
func atMost(v float64, unit string) goal  { return goal{"≤", v, unit} }
func shown(unit string) goal              { return goal{unit: unit} }

// reached says whether v is there: "yes", "no", or "" where there is no goal.
func (g goal) reached(v float64) string {
	switch {
	case g.sign == "":
		return ""
	case g.sign == "≥" && v >= g.value, g.sign == "≤" && v <= g.value:
		return "yes"
	}
	return "no"
}

func (g goal) String() string {
	if g.sign == "" {
		return ""
	}
	return g.sign + " " + g.quantity(g.value)
}

// quantity writes v with three digits.
func (g goal) quantity(v float64) string {
	text := digits(v)
	if g.unit == "x" {
		return text + "x"
	}
	return text + " " + g.unit
}

// digits writes the first three digits of v, and the zeros behind them.
func digits(v float64) string {
	if v == 0 {
		return "0"
	}
	after := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	text := strconv.FormatFloat(v, 'f', max(after, 0), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// A table is what has been measured.
type table struct {
	machine string
	lines   []line
}

// A line of the table. Of one that only has what, a part of the table begins.
type line struct{ what, measured, goal, reached string }

// add adds what was found of a suite. No row is left out.
func (t *table) add(s suite, f findings) {
	t.lines = append(t.lines, line{what: s.title})
	for _, r := range s.rows {
		next := line{what: r.what, goal: r.goal.String()}
		runs := slices.Sorted(slices.Values(f.figures[s.benchmark(r)][r.metric]))
		if len(runs) == 0 {
			next.measured = "not measured: " + f.reason(s.benchmark(r))
		} else {
			middle := runs[len(runs)/2]
			next.measured, next.reached = spread(r.goal, runs), r.goal.reached(middle)
		}
		t.lines = append(t.lines, next)
	}
}

// spread is the run in the middle and the extremes.
func spread(g goal, sorted []float64) string {
	text := g.quantity(sorted[len(sorted)/2])
	if len(sorted) > 1 {
		text += fmt.Sprintf(" (%s to %s)", digits(sorted[0]), digits(sorted[len(sorted)-1]))
	}
	return text
}

// heads are the names of the columns.
var heads = line{"what", "measured", "goal", "reached"}

func (t *table) print(out io.Writer, markdown bool) {
	if markdown {
		t.printMarkdown(out)
		return
	}
	fmt.Fprintf(out, "%s\n\n", t.machine)
	var wide [3]int
	for _, l := range append(t.lines, heads) {
		if l.measured == "" {
			continue // what a part is called widens no column
		}
		for i, cell := range []string{l.what, l.measured, l.goal} {
			wide[i] = max(wide[i], utf8.RuneCountInString(cell))
		}
	}
	for _, l := range slices.Insert(slices.Clone(t.lines), 0, heads) {
		if l.measured == "" {
			fmt.Fprintf(out, "\n%s\n", l.what)
			continue
		}
		text := fmt.Sprintf("  %-*s   %-*s   %-*s   %s", wide[0], l.what, wide[1], l.measured, wide[2], l.goal, l.reached)
		fmt.Fprintln(out, strings.TrimRight(text, " "))
	}
}

func (t *table) printMarkdown(out io.Writer) {
	fmt.Fprintf(out, "%s\n\n| what | measured | goal | reached |\n|---|---|---|---|\n", t.machine)
	for _, l := range t.lines {
		if l.measured == "" {
			l.what = "**" + l.what + "**"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", l.what, l.measured, l.goal, l.reached)
	}
}
