package filter

import (
	"slices"
	"sync"
	"unicode/utf8"
)

// A node is a part of a regex. Python's dialect is read into nodes by a parser, and a
// writer writes them for one of the engines.
type node struct {
	op       op
	how      byte    // opRepeat: greedy 0, lazy '?', possessive '+'
	behind   bool    // opLook
	not      bool    // opLook
	ends     bool    // opBoundary: nothing stands behind it, and before it what ends a word
	flags    flags   // opGroup: what holds inside; opAny, opLineStart, opLineEnd, opBoundary, opNoBoundary, shorthands: what holds there
	rune     rune    // opRune
	class    *class  // opClass
	subs     []*node // opConcat, opAlternate: any; opCond: what holds with and without the group; others: one
	min, max int     // opRepeat; max < 0: no limit
	group    int     // opCapture, opBackref, opCond: index in pattern.groups
}

// asciiNodes are those of the characters of ASCII, which are most of a regex: all share them.
var asciiNodes = sync.OnceValue(func() *[utf8.RuneSelf]node {
	var nodes [utf8.RuneSelf]node
	for r := range nodes {
		nodes[r] = node{op: opRune, rune: rune(r)}
	}
	return &nodes
})

// runeNode is a character.
func runeNode(r rune) *node {
	if r >= 0 && r < utf8.RuneSelf {
		return &asciiNodes()[r]
	}
	return &node{op: opRune, rune: r}
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
	case opBoundary, opNoBoundary:
		// The automaton's words are of ASCII.
		p.backtracks = p.backtracks || !n.flags.ascii && !n.ends
	case opRepeat:
		p.backtracks = p.backtracks || n.how == '+' || n.endsTurns()
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

// goesOn reports whether behind a $ in the row n there is more, which could match a line break or asks what stands there.
func (n *node) goesOn() bool {
	ends := false
	for _, sub := range n.subs {
		if again := sub.op == opLineEnd && !sub.flags.multi; ends && !again && sub.op != opEmpty {
			return true
		}
		ends = ends || sub.endsLine()
	}
	return false
}

// endsTurns reports whether n is a loop with a $ in it, behind which the next turn could match a line break.
func (n *node) endsTurns() bool { return n.op == opRepeat && n.max != 1 && n.subs[0].endsLine() }

// passesEnd reports whether something in n could match a line break behind a $.
func (n *node) passesEnd() bool {
	return n.op == opConcat && n.goesOn() || n.endsTurns() || slices.ContainsFunc(n.subs, (*node).passesEnd)
}

// endWords marks each \b at the end of n behind what ends a word: there it wants no more than that something else comes, or
// nothing, and that can be had from an automaton.
func (n *node) endWords() {
	switch n.op {
	case opGroup, opAlternate:
		for _, sub := range n.subs {
			sub.endWords()
		}
	case opConcat:
		last := len(n.subs) - 1
		if last < 0 {
			return
		}
		if end := n.subs[last]; end.op != opBoundary {
			end.endWords()
		} else {
			end.ends = last > 0 && n.subs[last-1].endsWord(end.flags.ascii)
		}
	}
}

// endsWord reports whether all that n matches ends with a character of a word.
func (n *node) endsWord(ascii bool) bool {
	switch n.op {
	case opRune:
		return isWordASCII(n.rune) || !ascii && isWordRune(n.rune)
	case opClass:
		return !n.class.not && !slices.ContainsFunc(n.class.items, func(item classItem) bool { return !item.isWord(ascii) })
	case opRepeat:
		return n.min > 0 && n.subs[0].endsWord(ascii)
	case opConcat:
		return len(n.subs) > 0 && n.subs[len(n.subs)-1].endsWord(ascii)
	case opGroup, opCapture, opAlternate:
		return !slices.ContainsFunc(n.subs, func(sub *node) bool { return !sub.endsWord(ascii) })
	}
	return false
}

// isWord reports whether all that the item stands for is of words, as far as that can be told at once.
func (i classItem) isWord(ascii bool) bool {
	switch {
	case i.shorthand != 0:
		return !ascii && (i.shorthand == 'w' || i.shorthand == 'd')
	case i.low == i.high:
		return isWordASCII(i.low) || !ascii && isWordRune(i.low)
	}
	return '0' <= i.low && i.high <= '9' || 'A' <= i.low && i.high <= 'Z' || 'a' <= i.low && i.high <= 'z'
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
