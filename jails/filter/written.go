package filter

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// A segment is a part of a line that was made of a shape.
type segment struct {
	kind  kind
	text  string
	part  *syntax.Regexp // what made it; nil: what stands before or behind the match
	group string         // the named group that it is in
}

// kind is who writes a segment.
type kind uint8

const (
	fixed  kind = iota // the daemon
	header             // syslog
	wild               // the client, perhaps
	whom               // the daemon: the address
)

// A scribe writes lines as a shape says. turn decides between alternatives; odd ones write
// what may be left out too.
type scribe struct {
	shape    *shape
	turn     int
	segments []segment
	group    string
	begun    bool // a word of the daemon's has been written: the header is behind
}

// lineOf is the segments of a line of s, or of what s says of a line.
func (s *shape) lineOf(turn int) []segment {
	w := &scribe{shape: s, turn: turn}
	if !s.begins {
		w.put(segment{kind: wild})
		w.begun = true
	}
	w.write(s.tree)
	if !s.ends {
		w.put(segment{kind: wild})
	}
	return w.segments
}

func (w *scribe) put(s segment) {
	s.group = w.group
	if last := len(w.segments) - 1; s.kind == fixed && last >= 0 && w.segments[last].kind == fixed {
		w.segments[last].text += s.text
	} else {
		w.segments = append(w.segments, s)
	}
	if s.kind == fixed && len(strings.TrimSpace(s.text)) >= shortest {
		w.begun = true
	}
}

func (w *scribe) write(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		w.literal(re)
	case syntax.OpCharClass:
		w.put(segment{text: string(oneOf(re.Rune))})
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		w.put(segment{text: "x"})
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			w.write(sub)
		}
	case syntax.OpAlternate:
		w.write(re.Sub[w.turn/2%len(re.Sub)])
	case syntax.OpCapture:
		outer := w.group
		if name := w.shape.group(re); name != "" {
			w.group = name
		}
		w.write(re.Sub[0])
		w.group = outer
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		w.repeat(re)
	}
}

// literal writes text, and puts in place of marks what they stand for.
func (w *scribe) literal(re *syntax.Regexp) {
	for _, part := range splitMarks(re) {
		mark := part.Rune[0]
		switch {
		case mark == headerMark:
			w.put(segment{kind: header, part: part})
			w.begun = true
		case w.shape.findsHost(mark):
			w.put(segment{kind: whom, part: part})
		default:
			w.put(segment{text: strings.ReplaceAll(string(part.Rune), "\n", "")}) // which fail2ban's lines end with
		}
	}
}

func (w *scribe) repeat(re *syntax.Regexp) {
	least := re.Min
	if re.Op == syntax.OpPlus {
		least = 1
	}
	if isWild(re) {
		w.put(segment{kind: w.wildKind(re.Sub[0]), text: strings.Repeat(filling(re.Sub[0]), max(least, 1)), part: re})
		return
	}
	if least == 0 && w.turn%2 == 1 {
		least = 1
	}
	for range min(least, 64) {
		w.write(re.Sub[0])
	}
}

// wildKind is header for words before the first of the daemon's own: host names and the like.
func (w *scribe) wildKind(re *syntax.Regexp) kind {
	if !w.begun && re.Op == syntax.OpCharClass && !inRanges(re.Rune, ' ') {
		return header
	}
	return wild
}

// filling is one character of what re takes.
func filling(re *syntax.Regexp) string {
	for re.Op == syntax.OpCapture || re.Op == syntax.OpAlternate {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpCharClass {
		return string(oneOf(re.Rune))
	}
	return "x"
}

// oneOf is a character in ranges, a plain one if there is any.
func oneOf(ranges []rune) rune {
	for _, r := range "x1aX- :" {
		if inRanges(ranges, r) {
			return r
		}
	}
	for r := '!'; r <= '~'; r++ {
		if inRanges(ranges, r) {
			return r
		}
	}
	if len(ranges) == 0 {
		return 'x'
	}
	return ranges[0]
}

// turns is how many turns write all alternatives of re at least once.
func turns(re *syntax.Regexp) int {
	most := 2
	if re.Op == syntax.OpAlternate {
		most = 2 * len(re.Sub)
	}
	for _, sub := range re.Sub {
		most = max(most, turns(sub))
	}
	return min(most, 24)
}

// A cutter is a shape as a regex in which the wild parts, the header and whom it finds are
// groups, so that lines that match can be cut into segments.
type cutter struct {
	scribe
	re    *regexp.Regexp
	parts map[string]segment // by group
}

// cutter is nil where s does not compile in this way.
func (s *shape) cutter() *cutter {
	c := &cutter{scribe: scribe{shape: s, begun: !s.begins}, parts: make(map[string]segment)}
	re, err := regexp.Compile(s.regex(c.grouped(s.tree, "")))
	if err != nil {
		return nil
	}
	c.re = re
	return c
}

// grouped is re with groups around what is to be cut out.
func (c *cutter) grouped(re *syntax.Regexp, name string) *syntax.Regexp {
	switch {
	case isWild(re):
		return c.capture(re, segment{kind: c.wildKind(re.Sub[0]), part: re, group: name})
	case re.Op == syntax.OpLiteral:
		return c.groupLiteral(re, name)
	case re.Op == syntax.OpCapture && c.shape.group(re) != "":
		name = c.shape.group(re)
	}
	copied := *re
	copied.Sub = make([]*syntax.Regexp, len(re.Sub))
	for i, sub := range re.Sub {
		copied.Sub[i] = c.grouped(sub, name)
	}
	return &copied
}

func (c *cutter) groupLiteral(re *syntax.Regexp, name string) *syntax.Regexp {
	concat := &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags}
	for _, part := range splitMarks(re) {
		switch mark := part.Rune[0]; {
		case mark == headerMark:
			part = c.capture(part, segment{kind: header, part: part, group: name})
			c.begun = true
		case c.shape.findsHost(mark):
			part = c.capture(part, segment{kind: whom, part: part, group: name})
		case len(part.Rune) >= shortest:
			c.begun = true
		}
		concat.Sub = append(concat.Sub, part)
	}
	return concat
}

func (c *cutter) capture(re *syntax.Regexp, s segment) *syntax.Regexp {
	name := fmt.Sprintf("part%d", len(c.parts))
	c.parts[name] = s
	return &syntax.Regexp{Op: syntax.OpCapture, Name: name, Sub: []*syntax.Regexp{re}}
}

// cut cuts rest into segments; nil: it does not match.
func (c *cutter) cut(rest []byte) []segment {
	found := c.re.FindSubmatchIndex(rest)
	if found == nil {
		return nil
	}
	w := &scribe{}
	before := wild
	if c.shape.begins {
		before = fixed
	}
	w.put(segment{kind: before, text: string(rest[:found[0]])})
	at := found[0]
	for i, name := range c.re.SubexpNames() {
		part, ok := c.parts[name]
		if !ok || found[2*i] < at {
			continue
		}
		w.put(segment{text: string(rest[at:found[2*i]])})
		part.text = string(rest[found[2*i]:found[2*i+1]])
		w.segments = append(w.segments, part)
		at = found[2*i+1]
	}
	w.put(segment{text: string(rest[at:found[1]])})
	if !c.shape.ends {
		w.put(segment{kind: wild, text: string(rest[found[1]:])})
	}
	return w.segments
}
