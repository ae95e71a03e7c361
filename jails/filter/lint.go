package filter

import (
	"fmt"
	"regexp/syntax"
	"strings"
)

// A Finding is what could be better about a filter, and how.
type Finding struct {
	File    string // "": the filter stands in none
	Line    int
	Rule    string // its name; "": the whole filter, or an ignoreregex
	What    string
	Instead string // what to write
}

// Lint looks for rules that match too much, whose address can be moved, that cost more than
// they must or that never match.
func (f *Filter) Lint() []Finding {
	l := linter{filter: f}
	injections := f.Injections()
	for i := range f.rules {
		l.rule = i
		s, err := f.shapeOf(i)
		if err != nil {
			l.find("cannot be taken apart, so that nothing more is said about it", "see whether a simpler regex does it")
			continue
		}
		l.shapes = append(l.shapes, s)
		l.anchor(s)
		l.injection(injections[i])
		l.quoted(s)
		l.repetition(s)
		if !l.never(s) && injections[i].Verdict == Unproven && !eats(s) && f.dialect == Native {
			l.find("matches none of the lines that could be made of it, so that nobody can say whether its address can be moved", "give the filter a sample that it matches")
		}
	}
	l.ignores()
	return l.findings
}

// A linter collects findings.
type linter struct {
	filter   *Filter
	rule     int      // that is looked at
	shapes   []*shape // of the rules before it, and its own
	findings []Finding
}

func (l *linter) find(what, instead string) {
	rule := l.filter.rules[l.rule]
	found := Finding{Rule: rule.Name, What: what, Instead: instead}
	for i, written := range l.filter.spec.Failregex {
		if name := written.V.Name.V; name == rule.Name || name == "" && rule.Name == fmt.Sprintf("failregex-%d", i+1) {
			found.File, found.Line = written.File, written.Line
		}
	}
	l.findings = append(l.findings, found)
}

// anchor wants a rule to begin where the line does.
func (l *linter) anchor(s *shape) {
	begin := "begin it with ^<PREFIX>, or with ^ and what the daemon itself writes first"
	if !s.begins {
		l.find("looks for its text anywhere in a line, the parts that clients write among them", begin)
		return
	}
	for _, step := range s.row {
		if isWild(step) && takesSpaces(step) {
			l.find(fmt.Sprintf("begins with %s, which is as good as no ^", s.written(step)), begin)
		}
		if !widthless(step) {
			return
		}
	}
}

func takesSpaces(wild *syntax.Regexp) bool {
	sub := wild.Sub[0]
	return sub.Op != syntax.OpCharClass || inRanges(sub.Rune, ' ')
}

// injection tells of an address that can be moved, and of one that is cut short.
func (l *linter) injection(i Injection) {
	s := l.shapes[len(l.shapes)-1]
	switch {
	case i.Verdict == Moves || i.Verdict == Escapes:
		l.find(fmt.Sprintf("text in %s names somebody else: %s", i.Part, i.Line), l.firmly(s, i))
	case i.Verdict == Unproven && eats(s):
		l.find("takes any text right before the address, and the beginning of the address with it", "write what the daemon puts between, as in '.* from <HOST>'")
	}
}

// firmly says how to keep an address where it is.
func (l *linter) firmly(s *shape, i Injection) string {
	switch {
	case i.By != i.Rule:
		return fmt.Sprintf("anchor %s, which is what finds it", l.filter.rules[i.By].Name)
	case !s.ends:
		return "end it with $ behind all that the daemon writes there"
	case !s.begins:
		return "begin it with ^ and what the daemon itself writes first"
	}
	return "say exactly what may stand there, as [0-9a-f]+ or [0-9A-Za-z._-]+; if the client writes it: trust: untrusted"
}

// eats reports whether wild text stands right before the address.
func eats(s *shape) bool {
	for i, step := range s.row {
		if i > 0 && step.Op == syntax.OpLiteral && s.findsHost(step.Rune[0]) {
			return isWild(s.row[i-1])
		}
	}
	return false
}

// quoted wants an address between quotes to stand there alone, as the client's text is quoted.
func (l *linter) quoted(s *shape) {
	if l.filter.rules[l.rule].Trust == Untrusted {
		return
	}
	for turn := range turns(s.tree) {
		line := s.lineOf(turn)
		host := hostIn(line)
		if host < 0 {
			continue
		}
		if pair := shared(line, host); pair != "" {
			l.find(fmt.Sprintf("takes the address out of a text between %s, beside what the client writes there", pair),
				"trust: untrusted, or the address of the connection where the daemon logs that")
			return
		}
	}
}

// shared are the quotes around the segment host and wild text beside it; "": there are none.
func shared(line []segment, host int) string {
	const client = "\x00"
	before, behind := sketch(line[:host], client), sketch(line[host+1:], client)
	for _, pair := range []string{`""`, "''", "<>"} {
		open, end := strings.LastIndex(before, pair[:1]), strings.Index(behind, pair[1:])
		if open < 0 || end < 0 {
			continue
		}
		closed := pair[0] == pair[1] && strings.Count(before, pair[:1])%2 == 0 || strings.Contains(before[open:], pair[1:]) && pair[0] != pair[1]
		if !closed && strings.Contains(before[open:]+behind[:end], client) {
			return pair[:1] + " and " + pair[1:]
		}
	}
	return ""
}

// sketch is line with client in place of what is wild.
func sketch(line []segment, client string) string {
	var b strings.Builder
	for _, s := range line {
		if s.kind == wild {
			b.WriteString(client)
		} else {
			b.WriteString(s.text)
		}
	}
	return b.String()
}

// repetition finds what can match the same text in many ways.
func (l *linter) repetition(s *shape) {
	if nested := nested(s.tree); nested != nil {
		l.find(fmt.Sprintf("repeats what repeats already: %s", s.written(nested)), "one repetition is enough: (?:a+)+ is a+")
	}
	for i := 1; i < len(s.row); i++ {
		before, step := s.row[i-1], s.row[i]
		if isWild(before) && isWild(step) && s.written(before.Sub[0]) == s.written(step.Sub[0]) {
			l.find(fmt.Sprintf("has %s twice in a row", s.written(step)), "once is enough")
		}
	}
}

// nested is a repetition in re of nothing but another; nil: there is none.
func nested(re *syntax.Regexp) *syntax.Regexp {
	if unbounded(re) {
		sub := re.Sub[0]
		for sub.Op == syntax.OpCapture {
			sub = sub.Sub[0]
		}
		if unbounded(sub) {
			return re
		}
	}
	for _, sub := range re.Sub {
		if found := nested(sub); found != nil {
			return found
		}
	}
	return nil
}

func unbounded(re *syntax.Regexp) bool {
	return re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpRepeat && re.Max < 0
}

// never finds rules of which it is certain that no line ever reaches them.
func (l *linter) never(s *shape) bool {
	f, lines := l.filter, l.filter.plainLines(s)
	if least := shortestLine(s.tree); f.longest > 0 && least > f.longest {
		l.find(fmt.Sprintf("never matches: its lines have %d bytes at least, and longest is %d", least, f.longest), "raise longest")
		return true
	}
	if !l.anyMatches(l.rule, lines) && s.matchesNothing(f.dialect == Fail2ban) {
		l.find("never matches: no line can hold what it asks for", "look for $ before the end, ^ behind the beginning, or an edge where none can be")
		return true
	}
	for i, earlier := range l.shapes[:len(l.shapes)-1] {
		if l.allMatch(i, lines) && s.within(earlier, f.dialect == Fail2ban) {
			l.find(fmt.Sprintf("never matches: every line of it matches %s, which comes before it", f.rules[i].Name),
				fmt.Sprintf("put it before %s, or leave it out", f.rules[i].Name))
			return true
		}
	}
	return false
}

// plainLines are lines of s, whether it matches them or not.
func (f *Filter) plainLines(s *shape) [][]byte {
	var lines [][]byte
	for turn := range turns(s.tree) {
		line := s.lineOf(turn)
		for i := range line {
			switch line[i].kind {
			case header:
				if line[i].text == "" {
					line[i].text = f.aHeader()
				}
			case whom:
				line[i].text = trueFour.String()
			}
		}
		lines = append(lines, []byte(text(line)))
	}
	return lines
}

func (l *linter) anyMatches(rule int, lines [][]byte) bool {
	for _, line := range lines {
		if l.filter.rules[rule].match(line) {
			return true
		}
	}
	return false
}

func (l *linter) allMatch(rule int, lines [][]byte) bool {
	for _, line := range lines {
		if !l.filter.rules[rule].match(line) {
			return false
		}
	}
	return true
}

// shortestLine is how many characters whatever matches re has at least.
func shortestLine(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpCapture, syntax.OpPlus:
		return shortestLine(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min * shortestLine(re.Sub[0])
	case syntax.OpConcat:
		sum := 0
		for _, sub := range re.Sub {
			sum += shortestLine(sub)
		}
		return sum
	case syntax.OpAlternate:
		least := shortestLine(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			least = min(least, shortestLine(sub))
		}
		return least
	}
	return 0
}

// ignores wants what keeps lines from counting to be out of the clients' reach.
func (l *linter) ignores() {
	for i, ignore := range l.filter.ignore {
		s, err := l.filter.shaper().shape(ignore.Regex)
		if err != nil || s.begins {
			continue
		}
		written := l.filter.spec.Ignoreregex[i]
		l.findings = append(l.findings, Finding{File: written.File, Line: written.Line,
			What:    fmt.Sprintf("ignoreregex[%d] looks for its text anywhere in a line: a client that writes it is not counted", i+1),
			Instead: "begin it with ^<PREFIX>, and name what the daemon itself writes"})
	}
}
