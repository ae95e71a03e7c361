package filter

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A guarded regex does with an automaton what seems to take backtracking. It is wider than what was
// written, tries the same ways in the same order and some more, and notes where it went past
// what it cannot see to. If all guards there hold, the way that it took is the one that a backtracking
// engine takes: none before it matched even without them. If one does not, that engine has to be asked.
type guarded struct {
	expr   string
	tree   *syntax.Regexp // of expr, until somebody takes it
	labels [][]string     // what the groups of the pattern are called in expr: a group may be there several times
	index  [][]int        // and where they are
	guards []guard
	places *placing // what the automaton looks for itself; nil: guards do
}

// A guard looks at what an automaton has passed. One that was not reached holds.
type guard struct {
	mark  string // the group of expr that notes the place
	at    int    // its index
	holds check
}

// A check looks at text[from:to], which a guard has noted; group is where a group of the pattern
// stands, from -1 where it took no part.
type check func(text []byte, from, to int, group func(int) (from, to int)) bool

// guarded makes one of p; nil: p asks for what no guard can look at.
func (p *pattern) guarded() *guarded { return p.guardedBy(nil) }

// guardedBy is guarded with what the automaton looks for itself.
func (p *pattern) guardedBy(places *placing) *guarded {
	asked, ok := p.conditions()
	if !ok {
		return nil
	}
	made := &guarded{labels: make([][]string, len(p.groups)), places: places}
	w := writer{wide: true, guards: made, closed: make(map[int]bool), asked: asked}
	w.unguarded = places == nil && p.root.passesEnd()
	w.ways(p.root, func() {})
	made.expr = w.String()
	if w.unguarded || !made.place() {
		return nil
	}
	return made
}

// place finds out where the groups are, of the pattern and of the guards.
func (g *guarded) place() bool {
	tree, err := syntaxTree(g.expr)
	if err != nil {
		return false
	}
	g.places.number(tree)
	if tree.MaxCap() >= dfaGroups {
		return false
	}
	g.tree = tree
	at := make(map[string]int)
	numbers(tree, at)
	for _, labels := range g.labels {
		var places []int
		for _, label := range labels {
			places = append(places, at[label])
		}
		g.index = append(g.index, places)
	}
	g.index[0] = []int{0}
	for i := range g.guards {
		g.guards[i].at = at[g.guards[i].mark]
	}
	return true
}

// numbers puts into at, by name, the numbers of the groups in tree.
func numbers(tree *syntax.Regexp, at map[string]int) {
	if tree.Op == syntax.OpCapture {
		at[tree.Name] = tree.Cap
	}
	for _, sub := range tree.Sub {
		numbers(sub, at)
	}
}

// label is a new name for a group of the pattern.
func (g *guarded) label(group int) string {
	label := fmt.Sprintf("%s_%d", groupLabel(group), len(g.labels[group]))
	g.labels[group] = append(g.labels[group], label)
	return label
}

// dfaGroups is how many groups an automaton keeps apart, the whole match among them.
const dfaGroups = 32

// hold reports whether all guards hold in what c, of the automaton, has found.
func (g *guarded) hold(c *capture) bool {
	for _, guard := range g.guards {
		from, to := c.raw(guard.at)
		if from >= 0 && !guard.holds(c.text, from, to, c.group) {
			return false
		}
	}
	return true
}

// guard writes a group around what write writes, and has holds look at it. In a loop the group would tell
// of the last turn alone.
func (w *writer) guard(write func(), holds check) {
	if w.loops > 0 {
		w.unguarded = true
	}
	mark := fmt.Sprintf("h%d", len(w.guards.guards))
	w.guards.guards = append(w.guards.guards, guard{mark: mark, holds: holds})
	fmt.Fprintf(w, "(?P<%s>", mark)
	write()
	w.WriteByte(')')
}

func nothing() {}

// guardLook notes where look-around stands: what follows must begin with something, or must not.
func (w *writer) guardLook(n *node) {
	if w.placed() {
		w.placeLook(n)
		return
	}
	ahead := aheadOf(n)
	if ahead == nil {
		w.unguarded = true
		return
	}
	w.guard(nothing, func(text []byte, from, _ int, _ func(int) (int, int)) bool {
		return ahead(text[from:]) != n.not
	})
}

// aheadOf says whether a text begins with what look-ahead wants; nil: it wants more than a text alone tells.
func aheadOf(n *node) func(text []byte) bool {
	if n.behind || n.flags.fold || n.subs[0].needsContext() {
		return nil
	}
	if text, ok := n.subs[0].literal(); ok {
		return func(at []byte) bool { return bytes.HasPrefix(at, text) }
	}
	w := writer{}
	w.node(n.subs[0])
	expr := w.String()
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return nil
	}
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?:` + expr + `)`) })
	return func(at []byte) bool { return re().Match(at) }
}

// needsContext reports whether n asks for what stands before it, for groups, or for another engine.
func (n *node) needsContext() bool {
	switch n.op {
	case opLineStart, opTextStart, opNoBoundary, opCapture, opLook, opAtomic, opBackref, opCond:
		return true
	case opBoundary:
		return !n.ends
	case opRepeat:
		if n.how == '+' {
			return true
		}
	}
	for _, sub := range n.subs {
		if sub.needsContext() {
			return true
		}
	}
	return false
}

// mayBeEmpty reports whether n could match no character: in a loop engines differ about the last turn.
func (n *node) mayBeEmpty() bool {
	switch n.op {
	case opRune, opAny, opClass:
		return false
	case opRepeat:
		return n.min == 0 || n.subs[0].mayBeEmpty()
	case opConcat:
		for _, sub := range n.subs {
			if !sub.mayBeEmpty() {
				return false
			}
		}
		return true
	case opAlternate:
		for _, sub := range n.subs {
			if sub.mayBeEmpty() {
				return true
			}
		}
		return false
	case opCapture, opGroup, opAtomic:
		return n.subs[0].mayBeEmpty()
	}
	return true // a place, or what stands for another text
}

// literal is the text that n is; false: it is more than one.
func (n *node) literal() (text []byte, ok bool) {
	switch n.op {
	case opRune:
		return utf8.AppendRune(nil, n.rune), n.rune != utf8.RuneError
	case opConcat:
		for _, sub := range n.subs {
			part, ok := sub.literal()
			if !ok {
				return nil, false
			}
			text = append(text, part...)
		}
		return text, len(text) > 0
	case opGroup:
		if !n.flags.fold {
			return n.subs[0].literal()
		}
	}
	return nil, false
}

// guardReference writes what depends on a group. Of conditions the answer is known; what is referred to
// must be before it.
func (w *writer) guardReference(n *node) {
	switch {
	case n.op == opCond && w.set&(1<<n.group) != 0:
		w.node(n.subs[0])
	case n.op == opCond:
		w.node(n.subs[1])
	case !w.closed[n.group] || w.folds > 0:
		w.unguarded = true
	default:
		w.guard(func() { w.WriteString(`(?s:.*?)`) }, func(text []byte, from, to int, group func(int) (int, int)) bool {
			begin, end := group(n.group)
			return begin >= 0 && bytes.Equal(text[from:to], text[begin:end])
		})
	}
}

// guardBoundary notes where a word must begin or end, or must not.
func (w *writer) guardBoundary(n *node) {
	if w.placed() {
		w.placeBoundary(n)
		return
	}
	isWord := isWordRune
	if n.flags.ascii {
		isWord = isWordASCII
	}
	w.guard(nothing, func(text []byte, at, _ int, _ func(int) (int, int)) bool {
		before, _ := utf8.DecodeLastRune(text[:at])
		behind, _ := utf8.DecodeRune(text[at:])
		return (isWord(before) != isWord(behind)) == (n.op == opBoundary)
	})
}

// isWordRune reports whether r is of a word as Python sees it. utf8.RuneError, which stands for no
// character too, is not.
func isWordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

func isWordASCII(r rune) bool { return r < utf8.RuneSelf && (r == '_' || isAlnum(byte(r))) }
