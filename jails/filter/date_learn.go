package filter

import (
	"bytes"
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// A learner finds the dates of one file and learns how it writes them, by fail2ban's rules:
// templates that hit move forward, the last one is tried first, and where it hits at another
// place than before, what else could be meant is looked at. It is not for concurrent use.
type learner struct {
	dates   *dates
	prefer  int // of the dates read by hand: the template seen last
	matcher matcher
	clock   clockSeen // of the line that is looked at
	hand    handMemo
	memo    memo
	at      place // of the date of a line
	order   []candidate
	unused  int // index of the first candidate that never won

	last     int // index of the candidate that won last
	distance int // of the last date from the start of its line
	end      int // of the last date
	borders  [4]rune
}

// A candidate is a template and how it did so far.
type candidate struct {
	*template
	number   int   // of the template
	hits     int   // lines whose date it was
	matches  int   // lines that it matched
	lastUsed int64 // nanoseconds since 1970
	distance int
}

// A memo is the beginning of a line as far as its date could depend on it, and that date as the
// candidate with the template number finds it. Lines of one second begin alike.
type memo struct {
	text   []byte
	whole  bool // text is the whole line
	match  match
	number int
}

// maxMemo bounds memo.text: longer than what any date depends on.
const maxMemo = 80

// fits reports whether the date of line is m's.
func (m *memo) fits(line []byte) bool {
	n := len(m.text)
	return n > 0 && len(line) >= n && string(line[:n]) == string(m.text) && (!m.whole || len(line) == n)
}

// keep makes m the memo of line, of which n bytes, or all if it has fewer, decide about its date.
func (m *memo) keep(line []byte, n int) {
	m.whole = n >= len(line)
	n = min(n, len(line))
	m.text = m.text[:0]
	if n <= maxMemo {
		m.text = append(m.text, line[:n]...)
	}
}

// longUnused is after what time without a hit a candidate gives way to any that hits.
const longUnused = int64(5 * time.Minute)

// none is the index of no candidate.
const none = -1

// A match is where a candidate found a date.
type match struct {
	index         int
	start, limit  int // in bytes: of the match, and of the part of the line in which it was looked for
	from, to      int // in bytes: of what is cut out
	distance, end int // in characters: of the match
}

func newLearner(d *dates) *learner {
	l := &learner{dates: d, last: none, distance: 1}
	for i, t := range d.templates {
		l.order = append(l.order, candidate{template: t, number: i, distance: math.MaxInt32})
	}
	return l
}

// locate finds the date of line, which is read at now, and learns from it. The place is valid until the next call.
func (l *learner) locate(line []byte, now time.Time) *place {
	if l.order == nil {
		return l.locateByHand(line)
	}
	m := l.find(line)
	if m.index == none {
		return &undated
	}
	t := l.order[m.index]
	l.learn(line, m, now)
	l.at = place{from: m.from, to: m.to, template: t.number, pattern: t.template, start: m.start, limit: m.limit, matcher: &l.matcher}
	return &l.at
}

func (l *learner) find(line []byte) match {
	l.clock = clockUnknown
	if len(l.order) == 1 && l.dates.dialect == Native {
		m, _ := l.matchWhole(0, line) // where the last line had its date is no reason
		return m
	}
	m, settled, skip := l.again(line)
	if settled {
		return m
	}
	return l.search(line, m, skip)
}

// match looks for a date as the candidate i writes it in line[from:to].
func (l *learner) match(i int, line []byte, from, to int) (match, bool) {
	c := &l.order[i]
	finds := c.programs().finds
	if finds.clock && !l.hasClock(line) || !l.matcher.search(finds, line, from, to) {
		return match{index: none}, false
	}
	c.matches++
	groups := &l.matcher.groups
	m := match{index: i, start: groups[0], limit: to, from: groups[2], to: groups[3]}
	if m.from < 0 {
		m.from, m.to = m.start, m.start // the group took no part
	}
	m.distance = utf8.RuneCount(line[:m.start])
	if !c.anchored {
		m.end = m.distance + utf8.RuneCount(line[m.start:groups[1]])
	}
	return m, true
}

// matchWhole is match in all of line. What a candidate finds at the start of lines is remembered.
func (l *learner) matchWhole(i int, line []byte) (match, bool) {
	c := &l.order[i]
	if !c.programs().finds.anchored {
		return l.match(i, line, 0, len(line))
	}
	if l.memo.number == c.number && l.memo.fits(line) {
		m := l.memo.match
		m.index, m.limit = i, len(line)
		return m, true
	}
	m, ok := l.match(i, line, 0, len(line))
	if ok {
		l.memo.keep(line, l.matcher.far+1)
		l.memo.match, l.memo.number = m, c.number
	}
	return m, ok
}

// Whether a line holds a digit and a colon behind it.
type clockSeen uint8

const (
	clockUnknown clockSeen = iota
	clockThere
	clockMissing
)

// hasClock looks once whether line, which find looks at, may hold the time of the day.
func (l *learner) hasClock(line []byte) bool {
	if l.clock == clockUnknown {
		l.clock = clockMissing
		if digitAndColon(line) {
			l.clock = clockThere
		}
	}
	return l.clock == clockThere
}

func digitAndColon(line []byte) bool {
	for at := 0; ; at++ {
		n := bytes.IndexByte(line[at:], ':')
		if n < 0 {
			return false
		}
		if at += n; at > 0 && isDigit(line[at-1]) {
			return true
		}
	}
}

// again tries the candidate that won last. settled: it wins again. skip is what need not be
// tried on the whole line any more.
func (l *learner) again(line []byte) (m match, settled bool, skip int) {
	if l.last == none {
		return match{index: none}, false, none
	}
	anchored := l.order[l.last].anchored
	if !anchored {
		if from, to := offset(line, l.distance), offset(line, l.end); l.bordered(line, from, to) {
			m, ok := l.match(l.last, line, from, to)
			return m, ok && l.isThere(m), none
		}
	}
	m, ok := l.matchWhole(l.last, line)
	return m, ok && (anchored || l.isThere(m)), l.last
}

// isThere reports whether m is where the last date was, or nothing else could be meant.
func (l *learner) isThere(m match) bool {
	return len(l.order) == 1 || m.distance == l.distance && m.end == l.end
}

// search tries all candidates but skip. A date that is further from the start of the line
// than the last one may be part of a message: it wins only if nothing else does, and of several
// such the first does.
func (l *learner) search(line []byte, best match, skip int) match {
	for i := range l.order {
		if i == skip {
			continue
		}
		m, ok := l.match(i, line, 0, len(line))
		if !ok {
			continue
		}
		c := &l.order[i]
		switch {
		case i+1 == len(l.order), c.anchored:
			return m
		case m.distance == 0 && c.hits > 0 && l.order[i+1].matches == 0:
			return m
		case m.distance <= c.distance && m.distance <= l.distance:
			return m
		case best.index == none || m.distance < best.distance:
			best = m
		}
	}
	return best
}

// learn makes m the last date.
func (l *learner) learn(line []byte, m match, now time.Time) {
	c := &l.order[m.index]
	c.hits++
	c.lastUsed = now.UnixNano()
	c.distance = m.distance
	if l.unused == m.index {
		l.unused++
	}
	l.distance, l.end = m.distance, m.end
	if !c.anchored {
		l.borders = bordersOf(line, m.start, offset(line, m.end))
	}
	if m.index > 0 && m.index != l.last {
		m.index = l.forward(m.index)
	}
	l.last = m.index
}

// forward moves the candidate i, which has won, if it has earned it: to the first place where
// none has won yet or half way to the front, else by one. It returns where the candidate is then.
func (l *learner) forward(i int) int {
	to := i / 2
	if l.unused < i {
		to = l.unused
	}
	if !l.passes(i, to) {
		if to == i-1 || !l.passes(i, i-1) {
			return i
		}
		to = i - 1
	}
	c := l.order[i]
	l.order = slices.Insert(slices.Delete(l.order, i, i+1), to, c)
	for l.unused < len(l.order) && l.order[l.unused].hits > 0 {
		l.unused++
	}
	return to
}

// passes reports whether the candidate i may move to the place of other.
func (l *learner) passes(i, other int) bool {
	c, o := &l.order[i], &l.order[other]
	return c.weighs() > o.weighs() || c.lastUsed-longUnused > o.lastUsed
}

func (c *candidate) weighs() float64 {
	return float64(c.hits) * c.weight / float64(max(1, c.distance))
}

// What borders holds: the characters around the start and the end of a date; noChar where
// there is none.
const (
	startBefore = iota
	startAt
	endBefore
	endAt
)

const noChar = rune(-1)

func bordersOf(line []byte, start, end int) [4]rune {
	return [4]rune{charBefore(line, start), charAt(line, start), charBefore(line, end), charAt(line, end)}
}

// bordered reports whether line looks at both ends of the last date as the last line did: the
// same characters outside of it, or the same inside if they are signs.
func (l *learner) bordered(line []byte, start, end int) bool {
	now := bordersOf(line, start, end)
	was := &l.borders
	return (now[startBefore] == was[startBefore] || now[startAt] == was[startAt] && isSign(was[startAt])) &&
		(now[endAt] == was[endAt] || now[endBefore] == was[endBefore] && isSign(was[endBefore]))
}

// offset is where in line the character n is, in bytes.
func offset(line []byte, n int) int {
	at := 0
	for ; n > 0 && at < len(line); n-- {
		if line[at] < utf8.RuneSelf {
			at++
			continue
		}
		_, size := utf8.DecodeRune(line[at:])
		at += size
	}
	return at
}

func charAt(line []byte, at int) rune {
	if at == len(line) {
		return noChar
	}
	r, _ := utf8.DecodeRune(line[at:])
	return r
}

func charBefore(line []byte, at int) rune {
	if at == 0 {
		return noChar
	}
	r, _ := utf8.DecodeLastRune(line[:at])
	return r
}

func isSign(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
