package filter

// A regex that asks whether a group took part, (?(1)a|b), is one without conditions for each answer.
// What stands behind the place where that is decided is therefore written once a way, in the order in
// which the ways are tried: (x)?y(?(1)a|b) is (?:(x)ya|yb).

// conditions are the groups that p asks for, as bits; false: there are too many of them.
func (p *pattern) conditions() (asked uint64, ok bool) {
	ok = len(p.groups) < 64
	var look func(n *node)
	look = func(n *node) {
		if n.op == opCond {
			asked |= 1 << n.group
		}
		for _, sub := range n.subs {
			look(sub)
		}
	}
	look(p.root)
	return asked, ok
}

// decides reports whether one of the groups asked is in n.
func (n *node) decides(asked uint64) bool {
	if n.op == opCapture && asked&(1<<n.group) != 0 {
		return true
	}
	for _, sub := range n.subs {
		if sub.decides(asked) {
			return true
		}
	}
	return false
}

// asks reports whether a condition in n is about one of groups.
func (n *node) asks(groups uint64) bool {
	if n.op == opCond && groups&(1<<n.group) != 0 {
		return true
	}
	for _, sub := range n.subs {
		if sub.asks(groups) {
			return true
		}
	}
	return false
}

// sets are the groups of those asked that take part whenever n matches; false: that depends, or
// something in n asks for them.
func (n *node) sets(asked uint64) (groups uint64, ok bool) {
	if !n.decides(asked) {
		return 0, true
	}
	if n.op == opCapture {
		groups = asked & (1 << n.group)
	}
	switch n.op {
	case opConcat, opGroup, opCapture:
	case opRepeat:
		if n.min == 0 {
			return 0, false
		}
	default:
		return 0, false
	}
	for _, sub := range n.subs {
		inner, ok := sub.sets(asked)
		if !ok {
			return 0, false
		}
		groups |= inner
	}
	return groups, !n.asks(groups)
}

// ways writes n, and behind each of the ways through it that decide something rest.
func (w *writer) ways(n *node, rest func()) {
	if !n.decides(w.asked) {
		w.node(n)
		rest()
		return
	}
	if n.op == opGroup && !n.flags.fold && w.folds == 0 {
		w.ways(n.subs[0], rest)
		return
	}
	switch n.op {
	case opConcat:
		w.waysInRow(n.subs, rest)
	case opAlternate, opGroup, opCapture:
		w.waysOf(n, rest)
	case opRepeat:
		w.waysPast(n, rest)
	default:
		w.unguarded = true
	}
}

func (w *writer) waysInRow(subs []*node, rest func()) {
	if len(subs) == 0 {
		rest()
		return
	}
	w.ways(subs[0], func() { w.waysInRow(subs[1:], rest) })
}

// waysOf writes each alternative of n as if it were all of n.
func (w *writer) waysOf(n *node, rest func()) {
	w.WriteString("(?:")
	for i, alternative := range n.alternatives() {
		if i > 0 {
			w.WriteByte('|')
		}
		one := alternative
		if n.op != opAlternate {
			whole := *n
			whole.subs = []*node{alternative}
			one = &whole
		}
		w.way(one, rest)
	}
	w.WriteByte(')')
}

// alternatives are what n chooses from.
func (n *node) alternatives() []*node {
	switch {
	case n.op == opAlternate:
		return n.subs
	case n.subs[0].op == opAlternate:
		return n.subs[0].subs
	case n.subs[0].op == opGroup && !n.subs[0].flags.fold, n.subs[0].op == opConcat && len(n.subs[0].subs) == 1:
		return n.subs[0].alternatives()
	}
	return n.subs
}

// waysPast writes n, which may be passed by.
func (w *writer) waysPast(n *node, rest func()) {
	if n.min != 0 || n.max != 1 || n.how == '+' {
		w.unguarded = true
		return
	}
	w.WriteString("(?:")
	if n.how == '?' {
		rest()
		w.WriteByte('|')
	}
	w.way(n.subs[0], rest)
	if n.how != '?' {
		w.WriteByte('|')
		rest()
	}
	w.WriteByte(')')
}

// way writes n, which decides everything in one way, and rest.
func (w *writer) way(n *node, rest func()) {
	groups, ok := n.sets(w.asked)
	if !ok || w.Len() > longestGuarded {
		w.unguarded = true
		return
	}
	before := w.set
	w.node(n)
	w.set |= groups
	rest()
	w.set = before
}

// longestGuarded is how long a regex may become, in bytes.
const longestGuarded = 1 << 15
