package dfa

import (
	"cmp"
	"encoding/binary"
	"errors"
	"regexp/syntax"
	"slices"
	"unicode"
)

// A Place is a condition on what stands around a place of a line, beyond those that package regexp knows: look-ahead.
type Place struct {
	Tree *syntax.Regexp // what the line must go on with
	Not  bool           // it must not
	Edge bool           // Tree is one character: of those before and behind the place exactly one must be of it; Not: both or neither
}

// A program with places becomes one without: product runs what a place asks for beside the regex. Its instructions are those of
// the regex, each together with the duties that are open there: how far each text has come that the line must go on with, or
// must not. A character that a duty does not allow ends the thread; where it is decided, nothing is left of it. What matches
// with duties waits until they are decided. So threads stay in their order, and machines know nothing of all this.
//
// It is the usual construction of a product of automata, for one that is alternating: threads are alternatives, duties hold all at once.
type product struct {
	c      *compiler
	source []inst   // of one regex, from 0 on
	places []*place // of the regex
	edges  []uint64 // by instruction: the places that ask, from there on, for the character before
	made   map[task]uint32
	open   [][]duty          // lists of duties; the first is empty
	known  map[string]uint32 // numbers of the lists
	err    error
}

// A place is a Place as a program of its own.
type place struct {
	not, edge bool
	insts     []inst
	sets      []runeSet
	begin     []uint32 // the threads at its start
}

// A duty is a text that a line must go on with, or must not, as far as it has come.
type duty struct {
	asks    uint32   // twice the number of the place, and one more if the line must not
	threads []uint32 // instructions of the place that wait for a character, or for the end of a line; ascending
}

func (d duty) not() bool { return d.asks&1 != 0 }

// of is the place of d.
func (p *product) of(d duty) *place { return p.places[d.asks/2] }

// A task is an instruction with what is known, and asked, where it stands.
type task struct {
	inst   uint32
	open   uint32 // duties
	before uint64 // places that are edges, of those that are asked, which have the character before
}

// Limits of a product.
const (
	maxProduct = 1 << 12 // instructions of the regex, each with what is open there
	maxPlaces  = 64      // places of a regex, and sets that are told apart at once: a bit for each
)

var errPlace = errors.New("asks for more at a place than an automaton can tell there")

// unfold puts, for the program from an instruction on that begins at start, one without places, and returns where it begins.
func (c *compiler) unfold(from int, start uint32, wanted []Place) (uint32, error) {
	p := &product{c: c, made: make(map[task]uint32), open: make([][]duty, 1), known: map[string]uint32{"": 0}}
	if len(wanted) > maxPlaces {
		return 0, ErrTooLarge
	}
	for _, w := range wanted {
		made, err := newPlace(w)
		if err != nil {
			return 0, err
		}
		p.places = append(p.places, made)
	}
	p.source = slices.Clone(c.set.insts[from:])
	for i := range p.source {
		p.source[i].out -= uint32(from)
		if p.source[i].op == opAlt {
			p.source[i].arg -= uint32(from)
		}
	}
	p.findEdges()
	c.set.insts = c.set.insts[:from]
	start = p.at(task{inst: start - uint32(from)})
	return start, p.err
}

func newPlace(wanted Place) (*place, error) {
	inner := compiler{set: &Set{}, known: make(map[string]uint32), trees: make(map[*syntax.Regexp]uint32)}
	start := inner.build(wanted.Tree, inner.emit(inst{op: opMatch}))
	p := &place{not: wanted.Not, edge: wanted.Edge, insts: inner.set.insts, sets: inner.sets}
	for _, in := range p.insts {
		if in.op == opLook && in.look()&^(syntax.EmptyEndLine|syntax.EmptyEndText) != 0 || in.op == opPlace {
			return nil, errPlace
		}
	}
	if len(p.insts) > maxProduct {
		return nil, ErrTooLarge
	}
	p.begin = p.closure([]uint32{start}, 0)
	if p.edge && (len(p.insts) != 2 || p.insts[1].op != opRune) {
		return nil, errPlace
	}
	return p, nil
}

// closure is the threads that some instructions lead to without a character, where conditions hold: what waits, and what matches.
func (p *place) closure(from []uint32, holds syntax.EmptyOp) (threads []uint32) {
	seen := make(map[uint32]bool)
	for todo := slices.Clone(from); len(todo) > 0; {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch in := &p.insts[pc]; in.op {
		case opAlt:
			todo = append(todo, in.out, in.arg)
		case opSave:
			todo = append(todo, in.out)
		case opLook:
			if threads = append(threads, pc); in.look()&^holds == 0 {
				todo = append(todo, in.out)
			}
		case opRune, opMatch:
			threads = append(threads, pc)
		}
	}
	slices.Sort(threads)
	return threads
}

// matches reports whether one of threads does.
func (p *place) matches(threads []uint32) bool {
	return slices.ContainsFunc(threads, func(pc uint32) bool { return p.insts[pc].op == opMatch })
}

// step is the threads behind a character; true: they matched before or behind it.
func (p *place) step(threads []uint32, r rune) (next []uint32, matched bool) {
	if r == '\n' {
		threads = p.closure(threads, syntax.EmptyEndLine)
	}
	if p.matches(threads) {
		return nil, true
	}
	var outs []uint32
	for _, pc := range threads {
		if in := &p.insts[pc]; in.op == opRune && p.sets[in.arg].has(r) {
			outs = append(outs, in.out)
		}
	}
	next = p.closure(outs, 0)
	return next, p.matches(next)
}

// holdsAtEnd reports whether d is done at the end of the line.
func (p *product) holdsAtEnd(d duty) bool {
	place := p.of(d)
	return place.matches(place.closure(d.threads, syntax.EmptyEndLine|syntax.EmptyEndText)) != d.not()
}

// allHoldAtEnd is holdsAtEnd of all duties of a list.
func (p *product) allHoldAtEnd(open uint32) bool {
	return !slices.ContainsFunc(p.open[open], func(d duty) bool { return !p.holdsAtEnd(d) })
}

// list is the number of a list of duties.
func (p *product) list(duties []duty) uint32 {
	var key []byte
	for _, d := range duties {
		key = binary.BigEndian.AppendUint32(key, d.asks)
		key = binary.BigEndian.AppendUint32(key, uint32(len(d.threads)))
		for _, inst := range d.threads {
			key = binary.BigEndian.AppendUint32(key, inst)
		}
	}
	number, known := p.known[string(key)]
	if !known {
		number = uint32(len(p.open))
		p.known[string(key)] = number
		p.open = append(p.open, duties)
	}
	return number
}

// add puts d into duties, which are in order and of which none is there twice.
func add(duties []duty, d duty) []duty {
	for i, other := range duties {
		switch order := cmp.Or(cmp.Compare(d.asks, other.asks), slices.Compare(d.threads, other.threads)); {
		case order == 0:
			return duties
		case order < 0:
			return slices.Insert(duties, i, d)
		}
	}
	return append(duties, d)
}

// with is the list open and one duty more; false: that cannot be done.
func (p *product) with(open uint32, d duty) (uint32, bool) {
	switch {
	case p.of(d).matches(d.threads):
		return open, !d.not()
	case len(d.threads) == 0:
		return open, d.not()
	}
	return p.list(add(slices.Clone(p.open[open]), d)), true
}

// behind is the list open behind a character; false: it does not allow that.
func (p *product) behind(open uint32, r rune) (uint32, bool) {
	if open == 0 {
		return 0, true
	}
	var left []duty
	for _, d := range p.open[open] {
		threads, matched := p.of(d).step(d.threads, r)
		if over := matched || len(threads) == 0; !over {
			left = add(left, duty{d.asks, threads})
		} else if matched == d.not() {
			return 0, false
		}
	}
	return p.list(left), true
}

// findEdges computes p.edges.
func (p *product) findEdges() {
	p.edges = make([]uint64, len(p.source))
	for changed := true; changed; {
		changed = false
		for pc, in := range p.source {
			edges := p.edges[pc]
			switch in.op {
			case opAlt:
				edges |= p.edges[in.out] | p.edges[in.arg]
			case opSave, opLook:
				edges |= p.edges[in.out]
			case opPlace:
				edges |= p.edges[in.out]
				if p.places[in.arg].edge {
					edges |= 1 << in.arg
				}
			}
			changed = changed || edges != p.edges[pc]
			p.edges[pc] = edges
		}
	}
}

// at is the instruction that does t.
func (p *product) at(t task) uint32 {
	t.before &= p.edges[t.inst]
	if number, made := p.made[t]; made {
		return number
	}
	number := p.c.emit(inst{op: opFail})
	p.made[t] = number
	if len(p.made) > maxProduct || len(p.c.set.insts) > maxInsts {
		p.err = ErrTooLarge
		return number
	}
	p.choose(number, p.ways(t))
	return number
}

// choose makes the instruction number a choice of ways, in order; without one it fails.
func (p *product) choose(number uint32, ways []inst) {
	for i, way := range ways {
		if i == len(ways)-1 {
			p.c.set.insts[number] = way
			return
		}
		first, rest := p.c.emit(way), p.c.emit(inst{op: opFail})
		p.c.set.insts[number] = inst{op: opAlt, out: first, arg: rest}
		number = rest
	}
}

// ways are what t does.
func (p *product) ways(t task) []inst {
	in := p.source[t.inst]
	to := func(next, open uint32) uint32 { return p.at(task{next, open, t.before}) }
	switch in.op {
	case opAlt:
		first := to(in.out, t.open)
		return []inst{{op: opAlt, out: first, arg: to(in.arg, t.open)}}
	case opSave:
		return []inst{{op: opSave, out: to(in.out, t.open), arg: in.arg}}
	case opLook:
		return p.look(in, t)
	case opPlace:
		if open, ok := p.with(t.open, p.duty(in.arg, t.before)); ok {
			return []inst{{op: opLook, out: to(in.out, open)}} // of no condition: it goes on
		}
	case opRune:
		return p.runes(in.out, p.c.sets[in.arg], t)
	case opMatch:
		return p.match(in, t)
	}
	return nil
}

// look goes on where a condition holds. At the end duties are decided.
func (p *product) look(in inst, t task) []inst {
	if in.look() == syntax.EmptyEndText {
		if !p.allHoldAtEnd(t.open) {
			return nil
		}
		t.open = 0
	}
	return []inst{{op: opLook, out: p.at(task{in.out, t.open, t.before}), arg: in.arg}}
}

// duty is what a place asks for; before says which edges have the character before.
func (p *product) duty(number uint32, before uint64) duty {
	place := p.places[number]
	not := place.not
	if place.edge {
		not = (before>>number&1 != 0) != place.not
	}
	d := duty{2 * number, place.begin}
	if not {
		d.asks++
	}
	return d
}

// runes takes a character of set, and goes on at next.
func (p *product) runes(next uint32, set runeSet, t task) []inst {
	by := p.tellApart(t.open)
	edges := len(by)
	var asked []uint32
	for i, place := range p.places {
		if p.edges[next]>>i&1 != 0 {
			asked = append(asked, uint32(i))
			by = append(by, place.sets[place.insts[1].arg])
		}
	}
	if len(by) > maxPlaces {
		p.err = ErrTooLarge
		return nil
	}
	sets := make(map[task]runeSet)
	var order []task
	for _, cell := range split(set, by) {
		open, ok := p.behind(t.open, cell.set[0])
		if !ok {
			continue
		}
		then := task{inst: next, open: open}
		for i, place := range asked {
			then.before |= cell.in >> (edges + i) & 1 << place
		}
		if others, known := sets[then]; known {
			sets[then] = union(others, cell.set)
			continue
		}
		order = append(order, then)
		sets[then] = cell.set
	}
	var ways []inst
	for _, then := range order {
		ways = append(ways, inst{op: opRune, out: p.at(then), arg: p.c.runes(sets[then])})
	}
	return ways
}

// match matches, where duties are open when these are decided.
func (p *product) match(in inst, t task) []inst {
	if t.open == 0 {
		return []inst{in}
	}
	ways := p.runes(t.inst, runeSet{0, unicode.MaxRune}, t)
	if p.allHoldAtEnd(t.open) {
		p.c.set.looks = true
		ways = append(ways, inst{op: opLook, out: p.at(task{inst: t.inst}), arg: uint32(syntax.EmptyEndText)})
	}
	return ways
}

// tellApart are the sets of characters of which the duties of a list want to know whether they have the next one.
func (p *product) tellApart(open uint32) (sets []runeSet) {
	for _, d := range p.open[open] {
		place := p.of(d)
		for _, pc := range place.closure(d.threads, syntax.EmptyEndLine) {
			switch in := &place.insts[pc]; in.op {
			case opRune:
				sets = append(sets, place.sets[in.arg])
			case opLook:
				sets = append(sets, runeSet{'\n', '\n'})
			}
		}
	}
	return sets
}

// A cell is characters that are in the same ones of some sets, which are the bits of in.
type cell struct {
	set runeSet
	in  uint64
}

// split cuts set into cells by other sets.
func split(set runeSet, by []runeSet) []cell {
	cells := []cell{{set: set}}
	for n, other := range by {
		for i, whole := range cells {
			in, out := whole.set.cut(other)
			if len(in) == 0 {
				continue
			}
			if cells[i] = (cell{in, whole.in | 1<<n}); len(out) > 0 {
				cells = append(cells, cell{out, whole.in})
			}
		}
	}
	return cells
}

// cut is what s has of the characters of another set, and what it has besides.
func (s runeSet) cut(other runeSet) (in, out runeSet) {
	for i := 0; i < len(s); i += 2 {
		from, to := s[i], s[i+1]
		for len(other) > 0 && other[1] < from {
			other = other[2:]
		}
		for rest := other; from <= to; rest = rest[2:] {
			if len(rest) == 0 || rest[0] > to {
				out = append(out, from, to)
				break
			}
			if rest[0] > from {
				out = append(out, from, rest[0]-1)
			}
			end := min(rest[1], to)
			in = append(in, max(from, rest[0]), end)
			from = end + 1
		}
	}
	return in, out
}

// union is the characters of two sets that have none in common.
func union(a, b runeSet) (both runeSet) {
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0] < b[0] {
			a, b = b, a
		}
		if last := len(both) - 1; last > 0 && both[last]+1 == b[0] {
			both[last] = b[1]
		} else {
			both = append(both, b[0], b[1])
		}
		b = b[2:]
	}
	return both
}
