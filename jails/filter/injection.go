package filter

import (
	"bytes"
	"iter"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"xdpban/jails/filter/dfa"
)

// A Verdict says whether text that a client writes can make a rule find somebody else.
type Verdict uint8

// The verdicts.
const (
	Steady   Verdict = iota // nothing that was planted came out
	Believed                // the rule is Untrusted: its address is the client's text already
	Moves                   // planted text that the rule itself admits comes out
	Escapes                 // planted text comes out if the daemon lets through what the rule excludes
	Unproven                // no line could be made that the rule matches
)

var verdicts = [...]string{"steady", "untrusted", "moves", "escapes", "unproven"}

// String is v in a word.
func (v Verdict) String() string { return verdicts[v] }

// MarshalText is String for encoders.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// An Injection is what became of the attempts to make a rule find somebody else than whom the
// daemon names. Unless the verdict is Moves or Escapes it holds no line.
type Injection struct {
	Verdict Verdict
	Rule    int        // index in Filter.Rules: the rule for whose lines the attempts were made
	By      int        // the rule that found Planted: Rule, or another that the text was made for
	Part    string     // what the client wrote into: ".*", "\S+ of user", "what stands behind the match"
	Line    string     // that proves it: without a date
	From    int        // Line[From:To] is the client's
	To      int        //
	True    netip.Addr // whom the daemon names
	Planted netip.Addr // who comes out

	part func() string // says Part, which takes a while
}

// Whom made lines name. Both are of the ranges for documentation.
var (
	trueFour, trueSix       = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	plantedFour, plantedSix = netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:bad::9")
)

// Injections tries to move the address that each of f's rules finds: it makes lines that the
// rule matches, from its regex and from f's samples, puts into every part that a client may write
// a text that would make a rule find another address, and looks at who comes out.
func (f *Filter) Injections() []Injection {
	found := make([]Injection, len(f.rules))
	c, reader, samples := f.newCampaign(), f.newAttacked(), f.sampleLines()
	for i := range f.rules {
		found[i] = c.injection(i, reader, samples[i])
	}
	return found
}

// attackedBytes is what the automata of an attacked reader may keep: an attack is about one rule, and what was
// built for others is not met again.
const attackedBytes = 320 << 10

// newAttacked is a reader of made lines, which have no dates.
func (f *Filter) newAttacked() *Reader {
	r := f.NewDatelessReader()
	for _, s := range []*scan{&r.pre, &r.rules, &r.ignore} {
		if len(s.rules) > 0 {
			s.machine = s.automaton.set.NewMachine(dfa.Options{Bytes: attackedBytes})
		}
	}
	return r
}

// A campaign is what attacks on all rules of a filter have in common.
type campaign struct {
	filter  *Filter
	shapes  []*shape    // of the rules; nil where a regex cannot be taken apart
	before  *shape      // of prefregex; nil: there is none, or it cannot
	befores [][]segment // lines of before, by turn, as far as they were asked for
	lures   []string    // lines of all rules that could ban, about the planted address
}

func (f *Filter) newCampaign() *campaign {
	c := &campaign{filter: f, shapes: make([]*shape, len(f.rules))}
	if len(f.pre) > 0 {
		c.before, _ = f.shapes.pre[0]()
	}
	for i, rule := range f.rules {
		s, err := f.shapeOf(i)
		if err != nil {
			continue
		}
		c.shapes[i] = s
		line := s.lineOf(0)
		if host := hostIn(line); host >= 0 && rule.Trust != Untrusted {
			line[host].text = plantedFour.String()
			c.lures = append(c.lures, text(line))
		}
	}
	return c
}

// hostIn is the segment of line that names whom; -1: none does.
func hostIn(line []segment) int {
	return slices.IndexFunc(line, func(s segment) bool { return s.kind == whom })
}

// injection is the worst that became of rule i, which matches samples.
func (c *campaign) injection(i int, reader *Reader, samples [][]byte) Injection {
	f := c.filter
	worst := Injection{Rule: i, By: i, Verdict: Unproven}
	if f.rules[i].Trust == Untrusted {
		worst.Verdict = Believed
		return worst
	}
	fits := make(map[*syntax.Regexp]*regexp.Regexp)
	for _, line := range c.linesOf(i, samples) {
		attack := &attack{filter: f, reader: reader, rule: i, segments: line, lures: c.lures, fits: fits}
		if !attack.begin() {
			continue
		}
		if worst.Verdict == Unproven {
			worst.Verdict = Steady
		}
		if got, ok := attack.run(); ok && (worst.Verdict == Steady || got.Verdict == Moves) {
			worst = got
		}
		if worst.Verdict == Moves {
			break
		}
	}
	if worst.part != nil {
		worst.Part, worst.part = worst.part(), nil
	}
	return worst
}

// linesOf are lines of rule i: as its shape says, and those of samples.
func (c *campaign) linesOf(i int, samples [][]byte) [][]segment {
	s, before := c.shapes[i], c.before
	if s == nil || c.filter.maxlines > 1 || before == nil && len(c.filter.pre) > 0 {
		return nil
	}
	var lines [][]segment
	var seen [3][]outline // by how lines were made
	add := func(line []segment, how int) {
		made := outlineOf(line)
		if !slices.ContainsFunc(seen[how], func(known outline) bool { return slices.Equal(known, made) }) {
			seen[how] = append(seen[how], made)
			lines = append(lines, line)
		}
	}
	for turn := range turns(s.tree) {
		add(c.within(s.lineOf(turn), turn), turn%2)
	}
	if len(samples) == 0 || before != nil {
		return lines
	}
	if c := s.cutter(); c != nil {
		for _, line := range samples {
			if cut := c.cut(line); cut != nil {
				add(cut, 2)
			}
		}
	}
	return lines
}

// within is a line of which a rule sees but the content: what prefregex says is around it. What
// stands before the content is taken for what daemon and syslog write.
func (c *campaign) within(content []segment, turn int) []segment {
	if c.before == nil {
		return content
	}
	for len(c.befores) <= turn {
		c.befores = append(c.befores, c.before.lineOf(len(c.befores)))
	}
	before := c.befores[turn]
	line := make([]segment, 0, len(before)+len(content))
	put := false
	for _, s := range before {
		switch {
		case s.group == contentGroup && !put:
			put = true
			line = append(line, content...)
		case s.group == contentGroup:
		case s.kind == wild && !put:
			s.kind = header
			line = append(line, s)
		default:
			line = append(line, s)
		}
	}
	if !put {
		return content
	}
	return line
}

// An outline is what a line is made of, whatever its words: lines of one outline are attacked once.
type outline []outlinePart

type outlinePart struct {
	kind kind
	part *syntax.Regexp
}

func outlineOf(line []segment) outline {
	var parts outline
	for _, s := range line {
		if s.kind != fixed {
			parts = append(parts, outlinePart{s.kind, s.part})
		}
	}
	return parts
}

// samplesTried bounds how many samples of a rule are attacked.
const samplesTried = 4

// sampleLines are what each rule sees of some samples that it matches.
func (f *Filter) sampleLines() [][][]byte {
	lines := make([][][]byte, len(f.rules))
	known := make(map[string]int) // by name of a rule
	for _, sample := range f.spec.AllSamples() {
		if sample.V.Host == noHost || known[sample.V.Rule] == samplesTried {
			continue
		}
		r := f.NewReader(time.UTC) // one for each: they share a machine, and remember nothing of each other
		line := []byte(sample.V.Line)
		got := r.Read(line, sampleTime)
		if got.Outcome != Matched || !got.Addr.IsValid() || len(lines[got.Rule]) == samplesTried {
			continue
		}
		if name := f.rules[got.Rule].Name; name == sample.V.Rule {
			known[name]++
		}
		lines[got.Rule] = append(lines[got.Rule], bytes.Clone(r.see(line, sampleTime)))
	}
	return lines
}

// sampleTime is the time at which samples and made lines are read.
var sampleTime = time.Date(2026, time.December, 31, 0, 0, 0, 0, time.UTC)

// An attack is on one line of one rule.
type attack struct {
	filter        *Filter
	reader        *Reader
	rule          int
	segments      []segment
	line          []byte // of them, as it was read last
	host          int    // index of the segment that names whom
	true, planted netip.Addr
	lures         []string
	fits          map[*syntax.Regexp]*regexp.Regexp // what the wild parts take
}

// begin puts headers and addresses into the line, and reports whether the filter then finds
// whom the line names.
func (a *attack) begin() bool {
	if a.host = hostIn(a.segments); a.host < 0 {
		return false
	}
	for _, pair := range [][2]netip.Addr{{trueFour, plantedFour}, {trueSix, plantedSix}} {
		a.true, a.planted = pair[0], pair[1]
		a.segments[a.host].text = a.true.String()
		for i := range a.segments {
			if a.segments[i].kind == header && a.segments[i].text == "" {
				a.segments[i].text = a.filter.aHeader()
			}
		}
		if who, _ := a.read(); who == a.true {
			return true
		}
	}
	return false
}

// aHeader is what syslog puts before a message of f's daemon, behind the date.
func (f *Filter) aHeader() string {
	daemon := "daemon"
	if len(f.spec.Prefix) > 0 {
		daemon = f.spec.Prefix[0].V
	}
	return "h " + daemon + "[1]: "
}

func text(segments []segment) string { return string(appendText(nil, segments)) }

func appendText(to []byte, segments []segment) []byte {
	for _, s := range segments {
		to = append(to, s.text...)
	}
	return to
}

// read is who comes out of the line to be banned, and by which rule.
func (a *attack) read() (netip.Addr, int) {
	a.line = appendText(a.line[:0], a.segments)
	a.reader.renew()
	got := a.reader.Read(a.line, sampleTime)
	if got.Outcome != Matched || a.filter.rules[got.Rule].Trust == Untrusted {
		return netip.Addr{}, 0
	}
	return got.Addr, got.Rule
}

// run plants texts into every part that the client may write. What the rule itself admits is
// worse than what it excludes; false: nothing came out.
func (a *attack) run() (worst Injection, found bool) {
	for i, s := range a.segments {
		if s.kind != wild {
			continue
		}
		for planted := range a.texts(i) {
			got, ok := a.plant(i, planted)
			if ok && (!found || got.Verdict == Moves) {
				worst, found = got, true
			}
			if worst.Verdict == Moves {
				return worst, true
			}
			if ok {
				break
			}
		}
	}
	return worst, found
}

// texts are what the client might write into segment i: the stretches of the line itself that
// lead from a part that may take all before them over the address, somebody else's, to one that may
// take all behind; and the lures.
func (a *attack) texts(i int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for forged := range a.stretches(i) {
			if a.segments[i].part == nil && !strings.HasPrefix(forged, " ") && !yield(" "+forged) {
				return
			}
			if !yield(forged) || !yield("x"+forged) || !yield("x"+forged+" x") {
				return
			}
		}
		for _, lure := range a.lures {
			if !yield("x " + lure) {
				return
			}
		}
	}
}

// stretches are those of texts that are of the line itself.
func (a *attack) stretches(i int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for from := 1; from <= min(i+1, a.host); from++ {
			if a.segments[from-1].kind != wild || from <= i && i < a.host && !a.admits(a.segments[from-1], a.planted.String()+` "'x`) {
				continue
			}
			for to := a.host + 1; to <= len(a.segments); to++ {
				if to < len(a.segments) && a.segments[to].kind != wild {
					continue
				}
				if !yield(text(a.segments[from:a.host]) + a.planted.String() + text(a.segments[a.host+1:to])) {
					return
				}
			}
		}
	}
}

// plant has the client write planted into segment i and looks at who comes out.
func (a *attack) plant(i int, planted string) (Injection, bool) {
	before := a.segments[i].text
	a.segments[i].text = planted
	who, by := a.read()
	a.segments[i].text = before
	if who != a.planted {
		return Injection{}, false
	}
	from := len(text(a.segments[:i]))
	found := Injection{Verdict: Escapes, Rule: a.rule, By: by, part: func() string { return a.part(i) }, Line: string(a.line), From: from, To: from + len(planted), True: a.true, Planted: who}
	if a.admits(a.segments[i], planted) {
		found.Verdict = Moves
	}
	return found, true
}

// part says what segment i is.
func (a *attack) part(i int) string {
	s := a.segments[i]
	switch {
	case s.part == nil && i < a.host:
		return "what stands before the match"
	case s.part == nil:
		return "what stands behind the match"
	}
	written := (&shape{}).written(s.part)
	if s.group != "" {
		return written + " of " + s.group
	}
	return written
}

// admits reports whether the rule lets planted stand where s does.
func (a *attack) admits(s segment, planted string) bool {
	if s.part == nil {
		return true
	}
	re := a.fits[s.part]
	if re == nil {
		re = regexp.MustCompile(`\A(?:` + spelled(s.part) + `)\z`) // part of a regex that compiles
		a.fits[s.part] = re
	}
	return re.MatchString(planted)
}
