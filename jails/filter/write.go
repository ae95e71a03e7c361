package filter

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// A writer writes a pattern for an engine.
type writer struct {
	strings.Builder
	engine  Engine
	wide    bool // write what every match also matches, for automata: no captures, look-around or references
	labels  bool // wide: captures nevertheless, with names
	endless bool // wide: $ may be passed, and is left out

	guards    *guarded     // wide: what it cannot see to is guarded; nil: it is left out
	unguarded bool         // something could not be
	loops     int          // that are open
	folds     int          // groups that ignore case, and are open
	closed    map[int]bool // groups that are
	asked     uint64       // groups that conditions ask for
	set       uint64       // those of them that took part on this way
}

// write is p for an engine. Groups have the indices that they have in p.
func (p *pattern) write(e Engine) string {
	w := writer{engine: e}
	w.node(p.root)
	return w.String()
}

// wider is a regex for automata that matches wherever p does, and maybe elsewhere.
func (p *pattern) wider() string {
	w := writer{wide: true, endless: p.root.passesEnd()}
	w.node(p.root)
	return w.String()
}

// widerWithGroups is wider with its groups called as groupLabel says.
func (p *pattern) widerWithGroups() string {
	w := writer{wide: true, labels: true, endless: p.root.passesEnd()}
	w.node(p.root)
	return w.String()
}

func (w *writer) node(n *node) {
	switch n.op {
	case opRune:
		w.rune(n.rune)
	case opAny:
		w.any(n.flags)
	case opClass:
		w.class(n.class)
	case opConcat:
		w.row(n)
	case opAlternate:
		w.alternate(n.subs)
	case opRepeat:
		w.repeat(n)
	case opCapture, opGroup, opAtomic, opLook:
		w.group(n)
	case opBackref, opCond:
		w.reference(n)
	default:
		w.place(n)
	}
}

func (w *writer) row(n *node) {
	for _, sub := range n.subs {
		w.node(sub)
	}
}

func (w *writer) alternate(subs []*node) {
	w.WriteString("(?:")
	for i, sub := range subs {
		if i > 0 {
			w.WriteByte('|')
		}
		w.node(sub)
	}
	w.WriteByte(')')
}

func (w *writer) any(f flags) {
	if f.dotall {
		w.WriteString(`(?s:.)`)
		return
	}
	w.WriteString(`[^\n]`)
}

// place writes what has no width. A $ stands at the end or in front of the line break there; in
// a text of several lines, at the end of each.
func (w *writer) place(n *node) {
	switch n.op {
	case opTextStart:
		w.WriteString(`\A`)
	case opTextEnd:
		w.WriteString(`\z`)
	case opLineStart:
		w.choose(n.flags.multi, `(?m:^)`, `\A`)
	case opLineEnd:
		w.lineEnd(n)
	case opBoundary, opNoBoundary:
		w.boundary(n)
	}
}

// boundary writes where a word begins or ends, or does not. What an engine calls a word is not what Python does,
// unless words are of ASCII, and the engine the automaton.
func (w *writer) boundary(n *node) {
	switch {
	case w.guards != nil:
		w.guardBoundary(n)
	case w.wide:
	case w.engine == Linear && n.ends:
		w.WriteString("(?:[^")
		w.shorthand('w', n.flags.ascii)
		w.WriteString(`]|\z)`)
	case w.engine == Linear:
		w.choose(n.op == opBoundary, `\b`, `\B`)
	default:
		w.lookForBoundary(n)
	}
}

// lookForBoundary writes it for the engine that looks around: a character of words on one side and none on the other.
func (w *writer) lookForBoundary(n *node) {
	looks := [2][2]string{{"(?<=", "(?!"}, {"(?<!", "(?="}}
	if n.op == opNoBoundary {
		looks = [2][2]string{{"(?<=", "(?="}, {"(?<!", "(?!"}}
	}
	w.WriteString("(?:")
	for i, look := range looks {
		if i > 0 {
			w.WriteByte('|')
		}
		for _, way := range look {
			w.WriteString(way + "[")
			w.shorthand('w', n.flags.ascii)
			w.WriteString("])")
		}
	}
	w.WriteByte(')')
}

func (w *writer) choose(first bool, one, other string) {
	if first {
		w.WriteString(one)
		return
	}
	w.WriteString(other)
}

// lineEnd writes a $.
func (w *writer) lineEnd(n *node) {
	switch {
	case n.flags.multi:
		w.WriteString(`(?m:$)`)
	case w.placed():
		w.placeEnd()
	case !w.endless:
		w.WriteString(w.end())
	}
}

func (w *writer) end() string {
	if w.engine == Backtracking {
		return `\Z`
	}
	return `(?:\n?\z)`
}

// mostRepeats is the largest count that package regexp takes.
const mostRepeats = 1000

func (w *writer) repeat(n *node) {
	if w.guards != nil {
		if text, each, ok := n.tempered(); ok && !w.placed() {
			w.guardTempered(n, text, each)
			return
		}
		w.unguarded = w.unguarded || n.how == '+' || max(n.min, n.max) > mostRepeats || n.max != 1 && n.subs[0].mayBeEmpty()
	}
	loops := n.max != 1
	if loops {
		w.loops++
	}
	w.WriteString("(?:")
	w.node(n.subs[0])
	w.WriteByte(')')
	if loops {
		w.loops--
	}
	w.count(n)
}

// count writes how often n comes.
func (w *writer) count(n *node) {
	min, max := n.min, n.max
	if w.wide && (min > mostRepeats || max > mostRepeats) {
		min, max = 0, -1
	}
	w.WriteByte('{')
	w.number(min)
	w.WriteByte(',')
	if max >= 0 {
		w.number(max)
	}
	w.WriteByte('}')
	if n.how != 0 && !(w.wide && n.how == '+') {
		w.WriteByte(n.how)
	}
}

func (w *writer) number(n int) { w.WriteString(strconv.Itoa(n)) }

func (w *writer) group(n *node) {
	switch {
	case n.op == opLook && w.guards != nil:
		w.guardLook(n)
		return
	case n.op == opLook && w.wide:
		return
	case n.op == opLook:
		w.WriteString("(?")
		w.choose(n.behind, "<", "")
		w.choose(n.not, "!", "=")
	case n.op == opAtomic && !w.wide:
		w.WriteString("(?>")
	case n.op == opCapture && w.guards != nil:
		fmt.Fprintf(w, "(?P<%s>", w.guards.label(n.group))
	case n.op == opCapture && w.labels:
		fmt.Fprintf(w, "(?P<%s>", groupLabel(n.group))
	case n.op == opCapture && !w.wide && w.engine == Linear:
		w.WriteByte('(')
	case n.op == opCapture && !w.wide:
		fmt.Fprintf(w, "(?<%s>", groupLabel(n.group))
	default:
		w.WriteString("(?:")
	}
	w.unguarded = w.unguarded || n.op == opAtomic || n.op == opCapture && n.endsLine() && !w.placed()
	w.folded(n)
	w.WriteByte(')')
	if n.op == opCapture && w.closed != nil {
		w.closed[n.group] = true
	}
}

// folded writes what is in the group n, in any case or not.
func (w *writer) folded(n *node) {
	switch {
	case n.flags.fold:
		w.WriteString("(?i:")
		w.folds++
		w.node(n.subs[0])
		w.folds--
		w.WriteByte(')')
	case w.folds > 0:
		w.WriteString("(?-i:")
		w.node(n.subs[0])
		w.WriteByte(')')
	default:
		w.node(n.subs[0])
	}
}

// groupLabel names a group where the engine would number it differently.
func groupLabel(index int) string { return fmt.Sprintf("g%d", index) }

// reference writes what depends on a group.
func (w *writer) reference(n *node) {
	switch {
	case w.guards != nil:
		w.guardReference(n)
	case n.op == opBackref && w.wide:
		w.WriteString(`(?s:.*)`)
	case n.op == opBackref:
		fmt.Fprintf(w, `(?:\k<%s>)`, groupLabel(n.group))
	case w.wide:
		w.alternate(n.subs)
	default:
		fmt.Fprintf(w, "(?(%s)", groupLabel(n.group))
		w.node(n.subs[0])
		w.WriteByte('|')
		w.node(n.subs[1])
		w.WriteByte(')')
	}
}

func (w *writer) rune(r rune) {
	if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
		w.WriteByte('\\')
	}
	w.plain(r)
}

// plain writes a character that means itself.
func (w *writer) plain(r rune) {
	if r >= ' ' && r != 0x7f && (r < 0xd800 || r > 0xdfff) {
		w.WriteRune(r)
		return
	}
	if w.engine == Backtracking {
		fmt.Fprintf(w, `\u%04X`, r)
		return
	}
	fmt.Fprintf(w, `\x{%X}`, r)
}

func (w *writer) class(c *class) {
	if len(c.items) == 1 && c.items[0].shorthand == 'W' {
		c = &class{not: !c.not, items: []classItem{{shorthand: 'w'}}, ascii: c.ascii} // shorter
	}
	w.choose(c.not, "[^", "[")
	for _, item := range c.items {
		if item.shorthand != 0 {
			w.shorthand(item.shorthand, c.ascii)
			continue
		}
		w.span(item.low, item.high)
	}
	w.WriteByte(']')
}

// span writes a range inside a class.
func (w *writer) span(low, high rune) {
	w.member(low)
	if low == high {
		return
	}
	w.WriteByte('-')
	w.member(high)
}

func (w *writer) member(r rune) {
	if strings.ContainsRune(`\[]^-`, r) {
		w.WriteByte('\\')
	}
	w.plain(r)
}

// short are shorthands as both engines know them.
var short = map[byte]string{'d': `\p{Nd}`, 'D': `\P{Nd}`, 'w': `\p{L}\p{N}_`}

// shorthand writes what a shorthand stands for inside a class.
func (w *writer) shorthand(letter byte, ascii bool) {
	if known := short[letter]; known != "" && !ascii {
		w.WriteString(known)
		return
	}
	for _, r := range shorthands[ascii]()[letter] {
		w.span(r[0], r[1])
	}
}

// A rangeList is characters, in order, no two ranges touching.
type rangeList [][2]rune

// shorthands are what Python's mean, for all characters and for ASCII alone.
var shorthands = map[bool]func() map[byte]rangeList{
	false: sync.OnceValue(func() map[byte]rangeList {
		return both(`\p{Nd}`, `\p{L}\p{N}_`, `\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`)
	}),
	true: sync.OnceValue(func() map[byte]rangeList { return both(`0-9`, `0-9A-Za-z_`, `\t-\r `) }),
}

// both makes shorthands and their opposites of classes in Go's dialect.
func both(digits, words, spaces string) map[byte]rangeList {
	lists := make(map[byte]rangeList)
	for letter, set := range map[byte]string{'d': digits, 'w': words, 's': spaces} {
		lists[letter] = ranges("[" + set + "]")
		lists[letter-'a'+'A'] = ranges("[^" + set + "]")
	}
	return lists
}

// ranges are the characters of a class in Go's dialect.
func ranges(class string) rangeList {
	parsed, err := syntax.Parse(class, syntax.Perl)
	if err != nil {
		panic(err)
	}
	var list rangeList
	for i := 0; i+1 < len(parsed.Rune); i += 2 {
		list = append(list, [2]rune{parsed.Rune[i], min(parsed.Rune[i+1], unicode.MaxRune)})
	}
	return list
}
