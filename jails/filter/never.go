package filter

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode"
)

// What can be proven of rules, whatever the lines: that one matches none, or none that an
// earlier rule does not match too. Both ask a pair of machines, each the set of states in which
// its regex may be after some text, for every text that makes a difference.

// proofs bounds the pairs of sets that are looked at. Beyond it nothing is proven.
const proofs = 20_000

// matchesNothing reports whether it is proven that s matches no line.
func (s *shape) matchesNothing(lineEnds bool) bool {
	machine := newMachine(s)
	if machine == nil {
		return false
	}
	_, proven := accepted(machine, nil, lineEnds)
	return proven
}

// within reports whether it is proven that every line that s matches is matched by other too.
func (s *shape) within(other *shape, lineEnds bool) bool {
	if !s.whole || !other.whole {
		return false
	}
	inner, outer := newMachine(s), newMachine(other)
	if inner == nil || outer == nil {
		return false
	}
	_, proven := accepted(inner, outer, lineEnds)
	return proven
}

// accepted looks for a text that inner accepts and outer, if there is one, does not. proven: there
// is none.
func accepted(inner, outer *machine, lineEnds bool) (found, proven bool) {
	alphabet := alphabet(inner, outer, lineEnds)
	seen := make(map[string]bool)
	type pair struct{ inner, outer states }
	queue := []pair{{inner.start(), outer.start()}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if inner.accepts(at.inner) && !outer.accepts(at.outer) {
			return true, false
		}
		for _, r := range alphabet {
			next := pair{inner.step(at.inner, r), outer.step(at.outer, r)}
			key := next.inner.key() + "|" + next.outer.key()
			if len(next.inner) == 0 || seen[key] {
				continue
			}
			if seen[key] = true; len(seen) > proofs {
				return false, false
			}
			queue = append(queue, next)
		}
	}
	return false, true
}

// A machine runs a shape on a text as a whole: what stands around a match is a part of it.
type machine struct {
	prog  *syntax.Prog
	loops []bool // instructions that may take any number of characters
}

// states are the instructions in which a machine may be, sorted.
type states []uint32

func (s states) key() string {
	key := make([]byte, 0, 4*len(s))
	for _, pc := range s {
		key = binary.BigEndian.AppendUint32(key, pc)
	}
	return string(key)
}

// newMachine is nil for a shape with what a machine cannot run: edges of words and of lines.
func newMachine(s *shape) *machine {
	if !runs(s.tree) {
		return nil
	}
	around := &syntax.Regexp{Op: syntax.OpStar, Sub: []*syntax.Regexp{{Op: syntax.OpAnyChar}}}
	line := &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{around, s.tree, around}}
	prog, err := syntax.Compile(line.Simplify())
	if err != nil {
		return nil
	}
	m := &machine{prog: prog, loops: make([]bool, len(prog.Inst))}
	for pc := range prog.Inst {
		if consumes(&prog.Inst[pc]) {
			m.loops[pc] = slices.Contains(m.closure(nil, prog.Inst[pc].Out, 0), uint32(pc))
		}
	}
	return m
}

func runs(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpAnyChar:
		return false
	}
	for _, sub := range re.Sub {
		if !runs(sub) {
			return false
		}
	}
	return true
}

func consumes(inst *syntax.Inst) bool {
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}

func (m *machine) start() states {
	if m == nil {
		return nil
	}
	return m.closure(nil, uint32(m.prog.Start), syntax.EmptyBeginText).sorted()
}

func (s states) sorted() states {
	slices.Sort(s)
	return slices.Compact(s)
}

// closure adds to set where the machine may be at pc without another character. Edges that are
// not in at stop it; those of the end stay in the set.
func (m *machine) closure(set states, pc uint32, at syntax.EmptyOp) states {
	if slices.Contains(set, pc) {
		return set
	}
	inst := &m.prog.Inst[pc]
	switch inst.Op {
	case syntax.InstFail:
		return set
	case syntax.InstAlt, syntax.InstAltMatch:
		set = append(set, pc)
		return m.closure(m.closure(set, inst.Out, at), inst.Arg, at)
	case syntax.InstCapture, syntax.InstNop:
		set = append(set, pc)
		return m.closure(set, inst.Out, at)
	case syntax.InstEmptyWidth:
		set = append(set, pc)
		if syntax.EmptyOp(inst.Arg)&^at == 0 {
			return m.closure(set, inst.Out, at)
		}
		return set
	}
	return append(set, pc)
}

// accepts reports whether the text may end in set. No machine accepts nothing.
func (m *machine) accepts(set states) bool {
	if m == nil {
		return false
	}
	var end states
	for _, pc := range set {
		inst := &m.prog.Inst[pc]
		if inst.Op == syntax.InstMatch {
			return true
		}
		if inst.Op == syntax.InstEmptyWidth && syntax.EmptyOp(inst.Arg) == syntax.EmptyEndText {
			end = m.closure(end, inst.Out, syntax.EmptyEndText)
		}
	}
	return slices.ContainsFunc(end, func(pc uint32) bool { return m.prog.Inst[pc].Op == syntax.InstMatch })
}

// step is where the machine may be behind one more character.
func (m *machine) step(set states, r rune) states {
	if m == nil {
		return nil
	}
	var next states
	for _, pc := range set {
		if inst := &m.prog.Inst[pc]; consumes(inst) && m.takes(pc, inst, r) {
			next = m.closure(next, inst.Out, 0)
		}
	}
	return next.sorted()
}

// takes reports whether inst takes r. A mark, which stands for a text of any length, is
// taken by itself and by what takes any number of all that it may stand for.
func (m *machine) takes(pc uint32, inst *syntax.Inst, r rune) bool {
	if !isMark(r) {
		return inst.MatchRune(r)
	}
	switch {
	case inst.Op == syntax.InstRuneAny:
		return true // around the match
	case inst.Op == syntax.InstRune1 || inst.Op == syntax.InstRune && len(inst.Rune) == 1:
		return inst.Rune[0] == r
	case isChoice(inst.Rune, r):
		return true
	case r == headerMark || !m.loops[pc]:
		return false
	case inst.Op == syntax.InstRuneAnyNotNL:
		return true
	}
	for _, part := range "09azAZ:.%[]_-" {
		if !inst.MatchRune(part) {
			return false
		}
	}
	return true
}

// isChoice reports whether a class has mark as one of several things: (?:<HOST>|-).
func isChoice(ranges []rune, mark rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if isMark(ranges[i]) && isMark(ranges[i+1]) && ranges[i] <= mark && mark <= ranges[i+1] {
			return true
		}
	}
	return false
}

// alphabet has a character of every kind that makes a difference to one of the machines.
func alphabet(a, b *machine, lineEnds bool) []rune {
	edges := []rune{0}
	for _, m := range []*machine{a, b} {
		if m == nil {
			continue
		}
		for i := range m.prog.Inst {
			edges = append(edges, edgesOf(&m.prog.Inst[i])...)
		}
	}
	slices.Sort(edges)
	var runes []rune
	for _, r := range slices.Compact(edges) {
		if r >= 0 && r <= unicode.MaxRune && (r != '\n' || lineEnds) {
			runes = append(runes, r)
		}
	}
	return runes
}

// edgesOf are the first characters that inst takes, and the first behind that it does not.
func edgesOf(inst *syntax.Inst) []rune {
	var edges []rune
	switch inst.Op {
	case syntax.InstRune1, syntax.InstRune:
		for i := 0; i < len(inst.Rune); i += 2 {
			low, high := inst.Rune[i], inst.Rune[min(i+1, len(inst.Rune)-1)]
			edges = append(edges, low, high+1)
			for f := unicode.SimpleFold(low); len(inst.Rune) == 1 && f != low; f = unicode.SimpleFold(f) {
				edges = append(edges, f, f+1)
			}
		}
	case syntax.InstRuneAnyNotNL:
		edges = append(edges, '\n', '\n'+1)
	}
	return edges
}
