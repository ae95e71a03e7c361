package filter

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"xdpban/internal/lazy"
)

// A NearMiss is where the rule that came furthest stopped in a line that no rule matches.
type NearMiss struct {
	Rule   int    // index in Filter.Rules
	At     int    // index in the line: so far it is what the rule wants
	Want   string // what the rule wants there, in words
	Behind bool   // it wants it there or anywhere behind

	Score int // characters that the rule says and the line has
}

// A Searcher finds near misses in lines of one file. It is not for concurrent use.
type Searcher struct {
	filter *Filter
	reader *Reader
	rules  []*progress // nil: the rule's shape is not known
	bounds []bound     // of the line that is being looked at
}

// A bound is how far a rule can get in a line, as its literals say.
type bound struct {
	rule  int
	score int // no less than the score
	steps int // no fewer than it reaches
}

// NewSearcher looks into lines that r could read, which is the searcher's from then on.
func NewSearcher(r *Reader) *Searcher {
	r.renew()
	s := &Searcher{filter: r.filter, reader: r}
	for i := range r.filter.rules {
		s.rules = append(s.rules, r.filter.progressOf(i))
	}
	return s
}

// NearMiss finds the rule that came furthest in line, which none matches; now is when. It is
// false where no rule has anything to say that line has.
func (s *Searcher) NearMiss(line []byte, now time.Time) (NearMiss, bool) {
	if longest := s.filter.longest; longest > 0 && len(line) > longest {
		return s.tooLong(line, now)
	}
	rest := s.reader.see(line, now)
	if s.filter.maxlines > 1 {
		return NearMiss{}, false
	}
	best := NearMiss{Rule: -1, Score: shortest - 1}
	var step *syntax.Regexp
	for _, b := range s.promising(rest) {
		if b.score < best.Score || b.score == best.Score && b.rule > best.Rule {
			continue
		}
		near, next := s.rules[b.rule].in(rest, b)
		if near.Score > best.Score || near.Score == best.Score && b.rule < best.Rule {
			best, step = near, next
			best.Rule = b.rule
		}
	}
	if step != nil {
		best.Want = s.rules[best.Rule].want(step)
	}
	best.At = inLine(line, rest, best.At)
	return best, best.Score >= shortest
}

// promising are the rules of which text has something, the most first: one that gets far leaves nothing to do for those that cannot.
func (s *Searcher) promising(text []byte) []bound {
	s.bounds = s.bounds[:0]
	for i, p := range s.rules {
		if p == nil {
			continue
		}
		b := p.atMost(text)
		if b.rule = i; b.score >= shortest {
			s.bounds = append(s.bounds, b)
		}
	}
	slices.SortStableFunc(s.bounds, func(a, b bound) int { return cmp.Compare(b.score, a.score) })
	return s.bounds
}

// tooLong is the near miss of a line that would match were it not for its length.
func (s *Searcher) tooLong(line []byte, now time.Time) (NearMiss, bool) {
	at := s.filter.longest
	unlimited := *s.filter
	unlimited.longest = 0
	reader := *s.reader
	reader.filter = &unlimited
	got := reader.Read(line, now)
	return NearMiss{Rule: got.Rule, At: at, Want: fmt.Sprintf("the end of the line: longest is %d", at)}, got.Outcome != Missed
}

// inLine is the place in line that at is in rest, which is line with something taken out.
func inLine(line, rest []byte, at int) int {
	tail := bytes.TrimSuffix(rest[at:], []byte("\n"))
	return max(bytes.LastIndex(line, tail), 0)
}

// A progress measures how far a rule gets.
type progress struct {
	shape  *shape
	header []*syntax.Regexp // what stands before the message
	steps  []*syntax.Regexp // what the rule wants one behind the other, the header apart
	says   [][]byte         // by step: a literal that lines write in this way alone

	// Compiled when asked for.
	start  func() *regexp.Regexp // the header at the start of a text
	all    func() *regexp.Regexp // all steps, anywhere
	firsts []*regexp.Regexp      // the first n steps at the start of a text
}

// progressOf is how rule i is measured; nil where its regex cannot be taken apart.
func (f *Filter) progressOf(i int) *progress {
	s, err := f.shapeOf(i)
	if err != nil {
		return nil
	}
	p := &progress{shape: s, steps: s.row}
	if len(p.steps) > 0 && p.steps[0].Op == syntax.OpBeginText {
		p.steps = p.steps[1:]
	}
	if s.begins && len(p.steps) > 0 && isHeader(p.steps[0]) {
		p.header, p.steps = p.steps[:1], p.steps[1:]
	}
	if len(p.steps) == 0 {
		return nil
	}
	for _, step := range p.steps {
		p.says = append(p.says, saidBy(step))
	}
	p.start = sync.OnceValue(func() *regexp.Regexp { return p.compile(`\A`, p.header) })
	p.all = sync.OnceValue(func() *regexp.Regexp { return p.compile("", p.steps) })
	p.firsts = make([]*regexp.Regexp, len(p.steps)+1)
	return p
}

// saidBy is step as lines write it; nil: it is no literal, or lines may write it in more than one way.
func saidBy(step *syntax.Regexp) []byte {
	if !isSaid(step) || step.Flags&syntax.FoldCase != 0 || slices.Contains(step.Rune, utf8.RuneError) {
		return nil
	}
	return []byte(string(step.Rune))
}

// isSaid reports whether step is a literal.
func isSaid(step *syntax.Regexp) bool { return step.Op == syntax.OpLiteral && !isMark(step.Rune[0]) }

// atMost is how far the rule gets in text at most. It looks at literals alone: those that
// text holds one behind the other, and the longest beginning of the next.
func (p *progress) atMost(text []byte) (b bound) {
	for i, said := range p.says {
		if said == nil {
			b.score += p.scoreOf(i)
			continue
		}
		at := bytes.Index(text, said)
		if at < 0 {
			n := 0
			for bytes.Contains(text, said[:n+1]) {
				n++
			}
			b.score, b.steps = b.score+n, i
			return b
		}
		text = text[at+len(said):]
		b.score += p.scoreOf(i)
	}
	b.steps = len(p.steps)
	return b
}

func isHeader(re *syntax.Regexp) bool { return re.Op == syntax.OpLiteral && re.Rune[0] == headerMark }

// matchesNothing is what steps are that do not compile in a row: they are too many.
var matchesNothing = lazy.Regexp(`[^\x00-\x{10FFFF}]`)

// compile is the steps in a row behind begin.
func (p *progress) compile(begin string, steps []*syntax.Regexp) *regexp.Regexp {
	row := &syntax.Regexp{Op: syntax.OpConcat, Sub: steps}
	if len(steps) == 1 {
		row = steps[0]
	}
	re, err := regexp.Compile(begin + "(?:" + p.shape.regex(row) + ")")
	if err != nil {
		return matchesNothing.Get()
	}
	return re
}

// first is the place of the first n steps in text; nil: it has not got them.
func (p *progress) first(n int, text []byte) []int {
	if n == 0 {
		return []int{0, 0}
	}
	if p.firsts[n] == nil {
		begin := `\A`
		if !p.shape.begins {
			begin = ""
		}
		p.firsts[n] = p.compile(begin, p.steps[:n])
	}
	return p.firsts[n].FindIndex(text)
}

// in is how far the rule gets in rest, and what it wants next, unless Want says that already. Only the
// header may be what it misses: then the place is where its message begins.
func (p *progress) in(rest []byte, most bound) (near NearMiss, next *syntax.Regexp) {
	from := 0
	if p.header != nil {
		if found := p.start().FindIndex(rest); found != nil {
			from = found[1]
		}
	}
	reached := p.reached(rest[from:], most.steps)
	if reached == len(p.steps) {
		return NearMiss{At: from, Want: "what look-around in its regex demands", Score: p.score(reached)}, nil
	}
	near, next = p.stop(rest[from:], reached)
	near.At += from
	if whole := p.score(len(p.steps)); most.steps == len(p.steps) && near.Score < whole {
		if found := p.all().FindIndex(rest); found != nil {
			return p.misplaced(found[0]), nil
		}
	}
	return near, next
}

// reached is how many steps text has from its start, most at most.
func (p *progress) reached(text []byte, most int) int {
	low, high := 0, most
	for low < high {
		middle := (low + high + 1) / 2
		if p.first(middle, text) != nil {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// misplaced is the near miss of a message that stands at a place where it must not.
func (p *progress) misplaced(at int) NearMiss {
	want := "the start of the line"
	if p.header != nil {
		want = "what " + p.shape.names[headerMark] + " stands for right before"
	}
	return NearMiss{At: at, Want: want, Score: p.score(len(p.steps))}
}

// score is how many characters the first n steps say.
func (p *progress) score(n int) int {
	score := 0
	for i := range n {
		score += p.scoreOf(i)
	}
	return score
}

func (p *progress) scoreOf(step int) int {
	if isSaid(p.steps[step]) {
		return len(p.steps[step].Rune)
	}
	return 0
}

// stop is the near miss of text that has the first reached steps, and what it has not.
func (p *progress) stop(text []byte, reached int) (near NearMiss, next *syntax.Regexp) {
	next = p.steps[reached]
	near.Score = p.score(reached)
	firm := reached
	for firm > 0 && isWild(p.steps[firm-1]) {
		firm--
	}
	near.At = p.first(firm, text)[1]
	near.Behind = firm < reached || reached == 0 && !p.shape.begins
	if end := p.first(reached, text)[1]; firm < reached && end < len(text) {
		near.At, near.Behind = end, false // the wild part cannot reach further
	}
	if !isSaid(next) {
		return p.begun(near, text, reached)
	}
	at, said, width := likeliest(text[near.At:], next, near.Behind)
	if said > 1 || !near.Behind {
		near.At += at + width
		near.Score += said
		near.Behind = false
	}
	return near, next
}

// begun is near where text has begun one of several ways to go on, and that way.
func (p *progress) begun(near NearMiss, text []byte, reached int) (NearMiss, *syntax.Regexp) {
	next, most, wide := p.steps[reached], 0, 0
	if near.Behind {
		return near, next
	}
	try := func(ways []*syntax.Regexp, least int) {
		for _, way := range ways {
			if said, width := common(text[near.At:], way); said >= least && said > most {
				next, most, wide = way, said, width
			}
		}
	}
	try(beginnings(next), 1)
	for i := reached - 1; i >= 0 && p.steps[i].Op == syntax.OpQuest; i-- {
		try(beginnings(p.steps[i].Sub[0]), 2) // a space alone begins anything
	}
	near.At += wide
	return near, next
}

// beginnings are the literals with which re begins, by way.
func beginnings(re *syntax.Regexp) (literals []*syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		if isSaid(re) {
			return []*syntax.Regexp{re}
		}
	case syntax.OpConcat, syntax.OpCapture:
		return beginnings(re.Sub[0])
	case syntax.OpAlternate:
		for _, way := range re.Sub {
			literals = append(literals, beginnings(way)...)
		}
	}
	return literals
}

// likeliest is the place in text, its start or any, at which it says most of literal: how many
// characters, and how many bytes these take.
func likeliest(text []byte, literal *syntax.Regexp, anywhere bool) (at, said, width int) {
	said, width = common(text, literal)
	for i := 1; anywhere && i < len(text); i++ {
		if n, w := common(text[i:], literal); n > said {
			at, said, width = i, n, w
		}
	}
	return at, said, width
}

// common is how many characters text and literal begin with together, and their bytes in text.
func common(text []byte, literal *syntax.Regexp) (said, width int) {
	for _, want := range literal.Rune {
		got, n := utf8.DecodeRune(text[width:])
		if got != want && (literal.Flags&syntax.FoldCase == 0 || !strings.EqualFold(string(got), string(want))) {
			break
		}
		said++
		width += n
	}
	return said, width
}

// want is step in words.
func (p *progress) want(step *syntax.Regexp) string {
	switch step.Op {
	case syntax.OpLiteral:
		mark := step.Rune[0]
		if !isMark(mark) {
			return fmt.Sprintf("%q", string(step.Rune))
		}
		return p.shape.names[mark] + whoIs(p.shape.names[mark])
	case syntax.OpEndText, syntax.OpEndLine:
		return "the end of the line"
	case syntax.OpBeginText, syntax.OpBeginLine:
		return "the start of the line"
	}
	return p.shape.written(step)
}

// whoIs says what a tag finds.
func whoIs(tag string) string {
	switch tag {
	case "<HOST>":
		return ", an address or a name"
	case "<ADDR>":
		return ", an address"
	}
	return ""
}
