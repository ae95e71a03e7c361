package filter

import (
	"fmt"
	"regexp/syntax"

	"xdpban/jails/filter/dfa"
)

// What guards look at afterwards, an automaton can look for itself while it reads: then it is no wider than what was written, and right
// in every line. It has more states, so that it is made for a rule whose guards have not held, or that has none, and asked
// about the lines that are left. What is referred to stays a guard's.

// A placing is where an automaton looks for more than package regexp can say.
type placing struct {
	all    []dfa.Place
	known  map[placeKey]int
	groups map[string]int // by the name of the group that stands there
}

type placeKey struct {
	expr      string
	not, edge bool
}

// A decider is a regex that an automaton alone decides, but for references.
type decider struct {
	set    *dfa.Set
	guards *guarded
}

// decider makes the one of p; nil: p asks for too much.
func (p *pattern) decider() *decider {
	g := p.guardedBy(&placing{known: make(map[placeKey]int), groups: make(map[string]int)})
	if g == nil || len(g.places.all) == 0 { // without places it knows no more than the one that was asked first
		return nil
	}
	set, err := dfa.CompileParsed([]dfa.Parsed{{Expr: g.expr, Tree: g.tree, Places: g.places.all}})
	if err != nil {
		return nil
	}
	g.tree = nil
	return &decider{set, g}
}

// placed reports whether the automaton that w writes for looks for itself.
func (w *writer) placed() bool { return w.guards != nil && w.guards.places != nil }

// placeLook marks where look-ahead stands.
func (w *writer) placeLook(n *node) {
	if n.behind || n.subs[0].needsContext() {
		w.unguarded = true
		return
	}
	inner := writer{}
	inner.folded(n)
	w.mark(placeKey{expr: inner.String(), not: n.not})
}

// placeBoundary marks where a word begins or ends, or does not.
func (w *writer) placeBoundary(n *node) {
	inner := writer{}
	inner.WriteByte('[')
	inner.shorthand('w', n.flags.ascii)
	inner.WriteByte(']')
	w.mark(placeKey{expr: inner.String(), not: n.op == opNoBoundary, edge: true})
}

// placeEnd marks where a line ends.
func (w *writer) placeEnd() { w.mark(placeKey{expr: w.end()}) }

// mark writes a group that holds nothing, where key must hold.
func (w *writer) mark(key placeKey) {
	number, ok := w.guards.places.add(key)
	if !ok {
		w.unguarded = true
		return
	}
	name := fmt.Sprintf("p%d", len(w.guards.places.groups))
	w.guards.places.groups[name] = number
	fmt.Fprintf(w, "(?P<%s>)", name)
}

// add is the number of key; false: package syntax does not take it.
func (p *placing) add(key placeKey) (number int, ok bool) {
	if number, ok = p.known[key]; ok {
		return number, true
	}
	tree, err := treeWith(key.expr, nil)
	if err != nil {
		return 0, false
	}
	number = len(p.all)
	p.known[key] = number
	p.all = append(p.all, dfa.Place{Tree: tree, Not: key.not, Edge: key.edge})
	return number, true
}

// number gives the groups in tree the numbers that an automaton wants: those of places are below 0, and others are as if there were no places.
func (p *placing) number(tree *syntax.Regexp) {
	if p == nil {
		return
	}
	last := 0
	var walk func(re *syntax.Regexp)
	walk = func(re *syntax.Regexp) {
		if re.Op == syntax.OpCapture {
			if number, ok := p.groups[re.Name]; ok {
				re.Cap = -1 - number
			} else {
				last++
				re.Cap = last
			}
		}
		for _, sub := range re.Sub {
			walk(sub)
		}
	}
	walk(tree)
}
