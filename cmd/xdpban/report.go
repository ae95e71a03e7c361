package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"xdpban/jails/filter"
)

// sourcesShown bounds the report, a rule.
const sourcesShown = 50

// enough is how long a log must have taken to tell how fast it was: less is mostly the start.
const enough = 20 * time.Millisecond

// tell prints the lines that were asked for.
func (t *trial) tell(w io.Writer) teller {
	return func(_ *filter.Reader, n int, line []byte, r *filter.Result) error {
		switch {
		case t.printMatched && r.Outcome == filter.Matched:
			_, err := fmt.Fprintf(w, "matched %d: %s\n    %s by %s\n", n, safe(string(line)), safe(r.ID()), safe(t.rules[r.Rule].Name))
			return err
		case t.printIgnored && r.Outcome == filter.Ignored:
			return t.tellIgnored(w, n, line, r)
		case t.printMissed && r.Outcome == filter.Missed:
			return tellMissed(w, fmt.Sprintf("missed %d: ", n), string(line), t.near(line))
		}
		return nil
	}
}

// tellIgnored prints a line that an ignoreregex matches, and whom a rule finds in it. In the
// dialect fail2ban rules may not have been asked.
func (t *trial) tellIgnored(w io.Writer, n int, line []byte, r *filter.Result) error {
	whom := "before rules are tried"
	if r.Rule >= 0 {
		whom = safe(r.ID()) + " by " + safe(t.rules[r.Rule].Name)
	}
	_, err := fmt.Fprintf(w, "ignored %d: %s\n    %s\n", n, safe(string(line)), whom)
	return err
}

// A hit is a line that matches, as --json tells it.
type hit struct {
	Line     int            `json:"line"`
	Match    bool           `json:"match"`
	ID       string         `json:"id"`
	Time     json.Number    `json:"time"` // seconds since 1970
	Rule     string         `json:"rule"`
	Regex    int            `json:"regex"` // number of the rule, from 1
	Trust    string         `json:"trust"`
	Attempts int            `json:"attempts"`
	Groups   map[string]any `json:"groups"`
}

// A miss is a line that does not match or does not count, where it was asked for.
type miss struct {
	Line    int       `json:"line"`
	Match   bool      `json:"match"`
	Ignored bool      `json:"ignored,omitempty"`
	Text    string    `json:"text"`
	Near    *nearMiss `json:"near,omitempty"`
}

// tellJSON prints an object for every line that matches, and for those that were asked for.
func (t *trial) tellJSON(w io.Writer) teller {
	var text []byte // of a hit; used again
	return func(reader *filter.Reader, n int, line []byte, r *filter.Result) error {
		if r.TimedOut > 0 && r.Outcome != filter.Matched {
			return writeJSON(w, lateLine{n, false, t.slowRules(reader), string(line)}, "")
		}
		switch {
		case r.Outcome == filter.Matched:
			text = t.hit(reader, n, r).appendJSON(text[:0])
			_, err := w.Write(text)
			return err
		case t.printMissed && r.Outcome == filter.Missed:
			return writeJSON(w, miss{Line: n, Text: string(line), Near: t.near(line)}, "")
		case t.printIgnored && r.Outcome == filter.Ignored:
			return writeJSON(w, miss{Line: n, Ignored: true, Text: string(line)}, "")
		}
		return nil
	}
}

func (t *trial) hit(reader *filter.Reader, n int, r *filter.Result) hit {
	rule := t.rules[r.Rule]
	return hit{Line: n, Match: true, ID: r.ID(), Time: epoch(r.Time), Rule: rule.Name, Regex: r.Rule + 1,
		Trust: rule.Trust.String(), Attempts: r.Attempts, Groups: reader.Groups()}
}

// epoch is at in seconds since 1970, with a fraction where it has one.
func epoch(at time.Time) json.Number {
	micro := at.UnixMicro()
	if micro%1e6 == 0 {
		return json.Number(strconv.FormatInt(micro/1e6, 10))
	}
	return json.Number(strconv.FormatFloat(float64(micro)/1e6, 'f', -1, 64))
}

// appendJSON appends what writeJSON writes for h, in a tenth of the time: a log may be full of hits.
func (h hit) appendJSON(to []byte) []byte {
	to = strconv.AppendInt(append(to, `{"line":`...), int64(h.Line), 10)
	to = strconv.AppendBool(append(to, `,"match":`...), h.Match)
	to = appendJSON(append(to, `,"id":`...), h.ID)
	to = append(append(to, `,"time":`...), h.Time...)
	to = appendJSON(append(to, `,"rule":`...), h.Rule)
	to = strconv.AppendInt(append(to, `,"regex":`...), int64(h.Regex), 10)
	to = appendJSON(append(to, `,"trust":`...), h.Trust)
	to = strconv.AppendInt(append(to, `,"attempts":`...), int64(h.Attempts), 10)
	to = append(to, `,"groups":{`...)
	for i, name := range slices.Sorted(maps.Keys(h.Groups)) {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendJSON(append(appendJSON(to, name), ':'), h.Groups[name])
	}
	return append(to, "}}\n"...)
}

// report prints what fail2ban-regex prints, in its shape, and more.
func (t *trial) report(w io.Writer) {
	t.reportRules(w)
	fmt.Fprintf(w, "Ignoreregex: %s total\n\n", number(t.ignored))
	t.reportDates(w)
	reportInjections(w, t.filter)
	t.reportMissed(w)
	t.reportLines(w)
}

// reportRules prints the rules, first those that hit something.
func (t *trial) reportRules(w io.Writer) {
	fmt.Fprintf(w, "Failregex: %s total\n", number(t.matched))
	rows := [][]string{{"|- #) [hits] rule", "trust", "engine", "alone"}}
	for i, rule := range t.rules {
		rows = append(rows, rule.row(i))
	}
	lines := columns(rows)
	fmt.Fprintln(w, lines[0])
	for _, idle := range []bool{false, true} {
		for i, rule := range t.rules {
			if (rule.hits == 0) != idle {
				continue
			}
			fmt.Fprintln(w, lines[i+1])
			t.reportRegex(w, rule)
			rule.report(w, t.zone)
		}
	}
	fmt.Fprint(w, "`-\n\n")
}

func (rt *ruleTrial) row(i int) []string {
	row := []string{fmt.Sprintf("|  %d) [%s] %s", i+1, number(rt.hits), safe(rt.Name)), rt.Trust.String(), rt.Engine.String()}
	if rt.speed.Lines > 0 {
		row = append(row, fmt.Sprintf("%s a line, %s/s", brief(rt.speed.PerLine()), size(uint64(rt.speed.PerSecond()))))
	}
	return row
}

// brief is a short time in three digits or so.
func brief(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f us", float64(d)/float64(time.Microsecond))
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// reportRegex prints the regexes of rules that hit, and those without tags of all where asked for.
func (t *trial) reportRegex(w io.Writer, rule ruleTrial) {
	if rule.hits > 0 || t.expand {
		fmt.Fprintf(w, "|     %s\n", safe(rule.Regex))
	}
	if t.expand {
		fmt.Fprintf(w, "|   = %s\n", safe(rule.Expanded))
	}
	if rule.hits > 0 && rule.Trust == filter.Untrusted {
		fmt.Fprint(w, "|     bans only where the jail says trust: accept\n")
	}
}

// report prints whom the rule found, those with most hits first.
func (rt *ruleTrial) report(w io.Writer, zone *time.Location) {
	shown := rt.whom.most(sourcesShown)
	var rows [][]string
	for _, s := range shown {
		row := []string{"|      " + safe(s.id()), times(s.hits), between(s.first.In(zone), s.last.In(zone))}
		if !s.addr.IsValid() {
			row = append(row, "a name: never banned")
		}
		rows = append(rows, row)
	}
	printTable(w, rows)
	if rest := rt.whom.sources() - len(shown); rest > 0 {
		fmt.Fprintf(w, "|      and %s more\n", number(rest))
	}
	if rt.whom.more > 0 {
		fmt.Fprintf(w, "|      and %s hits of sources beyond the first %s\n", number(rt.whom.more), number(sourcesKept))
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return number(n) + " times"
}

func between(first, last time.Time) string {
	if first.Equal(last) {
		return first.Format(time.DateTime)
	}
	return first.Format(time.DateTime) + " to " + last.Format(time.DateTime)
}

func (t *trial) reportDates(w io.Writer) {
	fmt.Fprint(w, "Date template hits:\n|- [hits] date format\n")
	for i, name := range t.filter.Templates() {
		if t.dates[i] > 0 {
			fmt.Fprintf(w, "|  [%s] %s\n", number(t.dates[i]), name)
		}
	}
	if t.undated > 0 {
		fmt.Fprintf(w, "|  [%s] matched without a date: counted as of now\n", number(t.undated))
	}
	fmt.Fprint(w, "`-\n\n")
}

func (t *trial) reportLines(w io.Writer) {
	fmt.Fprintf(w, "Lines: %s, %s ignored, %s matched, %s missed", counted(t.lines, "line"), number(t.ignored), number(t.matched), number(t.missed))
	if t.tooLong > 0 {
		fmt.Fprintf(w, ", %s too long", number(t.tooLong))
	}
	t.undecided.report(w)
	if t.took < enough {
		fmt.Fprintf(w, "\n[%s in %s: too little to tell how fast]\n", size(uint64(t.bytes)), brief(t.took))
		return
	}
	seconds := t.took.Seconds()
	fmt.Fprintf(w, "\n[%s in %.2f s: %s lines/s, %s/s]\n", size(uint64(t.bytes)), seconds,
		number(int64(float64(t.lines)/seconds)), size(uint64(float64(t.bytes)/seconds)))
}
