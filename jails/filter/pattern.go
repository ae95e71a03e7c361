package filter

// A node is a part of a regex. Python's dialect is read into nodes by a parser, and a
// writer writes them for one of the engines.
type node struct {
	op       op
	rune     rune    // opRune
	class    class   // opClass
	subs     []*node // opConcat, opAlternate: any; opCond: what holds with and without the group; others: one
	min, max int     // opRepeat; max < 0: no limit
	how      byte    // opRepeat: greedy 0, lazy '?', possessive '+'
	behind   bool    // opLook
	not      bool    // opLook
	group    int     // opCapture, opBackref, opCond: index in pattern.groups
	flags    flags   // opGroup: what holds inside; opAny, opLineStart, opLineEnd, shorthands: what holds there
}

type op uint8

const (
	opEmpty op = iota
	opRune
	opAny
	opClass
	opLineStart
	opLineEnd
	opTextStart
	opTextEnd
	opBoundary
	opNoBoundary
	opConcat
	opAlternate
	opRepeat
	opCapture
	opGroup
	opLook
	opAtomic
	opBackref
	opCond
)

// flags are those of Python's that change what a regex means.
type flags struct{ fold, multi, dotall, verbose, ascii bool }

// A class is a set of characters.
type class struct {
	not   bool
	items []classItem
	ascii bool
}

// A classItem is a range of characters or one of the shorthands d, D, w, W, s and S.
type classItem struct {
	low, high rune
	shorthand byte
}

// A pattern is a regex that was read.
type pattern struct {
	root       *node
	groups     []string // names by index; 0 is the whole match, "" a group without name
	backtracks bool     // no automaton can do what it asks for
}

// need notes what only a backtracking engine can do.
func (p *pattern) need(n *node) {
	switch n.op {
	case opLook, opAtomic, opBackref, opCond:
		p.backtracks = true
	case opRepeat:
		p.backtracks = p.backtracks || n.how == '+'
	case opCapture:
		// A $ matches in front of the last line break, which the automaton takes with it.
		p.backtracks = p.backtracks || n.endsLine()
	case opConcat:
		p.backtracks = p.backtracks || n.goesOn()
	}
	for _, sub := range n.subs {
		p.need(sub)
	}
}

// endsLine reports whether a $ that is not at the end of a line of several stands in n.
func (n *node) endsLine() bool {
	if n.op == opLineEnd && !n.flags.multi {
		return true
	}
	for _, sub := range n.subs {
		if sub.endsLine() {
			return true
		}
	}
	return false
}

// goesOn reports whether behind a $ in the row n there is more that could match a line break.
func (n *node) goesOn() bool {
	ends := false
	for _, sub := range n.subs {
		if ends && !sub.widthless() {
			return true
		}
		ends = ends || sub.endsLine()
	}
	return false
}

// widthless reports whether n is a place and not a text.
func (n *node) widthless() bool {
	switch n.op {
	case opEmpty, opLineStart, opLineEnd, opTextStart, opTextEnd, opBoundary, opNoBoundary:
		return true
	}
	return false
}

// index is the first group called name; -1: there is none.
func (p *pattern) index(name string) int {
	for i, group := range p.groups {
		if group == name && i > 0 {
			return i
		}
	}
	return -1
}
