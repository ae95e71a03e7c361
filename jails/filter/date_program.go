package filter

import (
	"bytes"
	"errors"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// A program finds dates as one pattern writes them. It is what package regexp makes of the
// pattern, run in another way: the alternative written first wins, as there and in Python, but
// a word may hold any letter, a search may be kept to a part of the line that sees what is around
// it, and nothing is allocated. No loop is entered twice at one place, nor, once much was tried in
// vain, any alternative, so that the work is linear in the line.
type program struct {
	insts        []inst
	start        uint32
	loops        int // alternatives that are part of a loop
	alternatives int
	anchored     bool    // matches at the start of a line alone
	prefix       []byte  // every match begins with it
	first        byteSet // that a match begins with
	word         bool    // no match begins in the middle of a word
	clock        bool    // every match holds a digit and a colon behind it
	groups       int     // how many there are, the whole match among them
}

// A byteSet holds bytes; empty: what it is the set of may be nothing.
type byteSet struct {
	bits  [4]uint64
	empty bool
}

func (s *byteSet) add(c byte)      { s.bits[c/64] |= 1 << (c % 64) }
func (s *byteSet) has(c byte) bool { return s.bits[c/64]>>(c%64)&1 != 0 }

// An opcode says what an inst does.
type opcode uint8

const (
	opFail   opcode = iota
	opByte          // one byte
	opSet           // one character of a set
	opAlt           // out first, then arg
	opSave          // a group begins or ends
	opAssert        // arg holds here
	opMatch
)

type inst struct {
	op       opcode
	char     byte
	number   uint16 // of an alternative
	out, arg uint32
	ascii    [2]uint64   // the set's ASCII
	wide     []rune      // the set's other characters: pairs of first and last
	ahead    *[2]byteSet // of an alternative: what may come in out and in arg
}

// Assertions beside those of package syntax. In a regex they are written as characters that
// no line holds: noncharacters of the last plane.
const (
	withinNoWord = '\U0010FFFE' // what is before or what is behind is no part of a word
	afterMark    = '\U0010FFFF' // at the start, behind a [ that stands there, or behind audit(
)

const (
	assertWithinNoWord = 1 << 16
	assertAfterMark    = 1 << 17
)

// maxInsts bounds what a pattern may become, maxGroups what it may hold.
const (
	maxInsts  = 2000
	maxGroups = 32
)

// newProgram makes a program of a regex.
func newProgram(re *syntax.Regexp) (*program, error) {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > maxInsts || re.MaxCap() >= maxGroups {
		return nil, errors.New("is too large")
	}
	p := &program{
		insts:    make([]inst, len(prog.Inst)),
		start:    behindNops(prog, uint32(prog.Start)),
		anchored: prog.StartCond()&syntax.EmptyBeginText != 0,
		groups:   re.MaxCap() + 1,
	}
	for i := range prog.Inst {
		p.insts[i] = newInst(&prog.Inst[i])
		p.insts[i].out = behindNops(prog, p.insts[i].out)
		if p.insts[i].op == opAlt {
			p.insts[i].arg = behindNops(prog, p.insts[i].arg)
		}
	}
	p.findAhead()
	p.numberAlternatives()
	p.findPrefix()
	begin := p.insts[p.start]
	p.word = begin.op == opAssert && begin.arg == assertWithinNoWord
	p.clock = p.needsClock()
	return p, nil
}

// behindNops is where the program is after doing nothing at pc.
func behindNops(prog *syntax.Prog, pc uint32) uint32 {
	for prog.Inst[pc].Op == syntax.InstNop {
		pc = prog.Inst[pc].Out
	}
	return pc
}

func newInst(from *syntax.Inst) inst {
	i := inst{out: from.Out, arg: from.Arg}
	switch from.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		i.op = opAlt
	case syntax.InstCapture:
		i.op = opSave
	case syntax.InstEmptyWidth:
		i.op = opAssert
	case syntax.InstMatch:
		i.op = opMatch
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		i.setRunes(from)
	}
	return i
}

// setRunes makes i the test for the characters of from, or an assertion written as one.
func (i *inst) setRunes(from *syntax.Inst) {
	if from.Op == syntax.InstRune1 {
		switch r := from.Rune[0]; {
		case r == withinNoWord:
			i.op, i.arg = opAssert, assertWithinNoWord
			return
		case r == afterMark:
			i.op, i.arg = opAssert, assertAfterMark
			return
		case r < utf8.RuneSelf:
			i.op, i.char = opByte, byte(r)
			return
		}
	}
	i.op = opSet
	for r := range rune(utf8.RuneSelf) {
		if from.MatchRune(r) {
			i.ascii[r/64] |= 1 << (r % 64)
		}
	}
	i.wide = wideOf(from)
}

// wideOf is what from matches beyond ASCII.
func wideOf(from *syntax.Inst) []rune {
	runes := from.Rune
	switch {
	case from.Op == syntax.InstRuneAny, from.Op == syntax.InstRuneAnyNotNL:
		return []rune{utf8.RuneSelf, unicode.MaxRune}
	case len(runes) == 1: // in either case, if so flagged
		var wide []rune
		for r := runes[0]; ; {
			if r >= utf8.RuneSelf && from.MatchRune(r) && !slices.Contains(wide, r) {
				wide = append(wide, r, r)
			}
			if r = unicode.SimpleFold(r); r == runes[0] {
				return wide
			}
		}
	}
	var wide []rune
	for k := 0; k+1 < len(runes); k += 2 {
		if runes[k+1] >= utf8.RuneSelf {
			wide = append(wide, max(runes[k], utf8.RuneSelf), runes[k+1])
		}
	}
	return wide
}

// has reports whether the character c, not ASCII, is in the set.
func (i *inst) has(c rune) bool {
	for k := 0; k < len(i.wide); k += 2 {
		if i.wide[k] <= c && c <= i.wide[k+1] {
			return true
		}
	}
	return false
}

// numberAlternatives gives numbers to alternatives, first to those that are part of a loop:
// from which the program can come back to them.
func (p *program) numberAlternatives() {
	var others []*inst
	for pc := range p.insts {
		switch i := &p.insts[pc]; {
		case i.op != opAlt:
		case p.reaches(i.out, i.arg, uint32(pc)):
			i.number = uint16(p.loops)
			p.loops++
		default:
			others = append(others, i)
		}
	}
	p.alternatives = p.loops
	for _, i := range others {
		i.number = uint16(p.alternatives)
		p.alternatives++
	}
}

// reaches reports whether the program can get from a or b to pc.
func (p *program) reaches(a, b, pc uint32) bool {
	found := false
	p.walk([]uint32{a, b}, func(at uint32) bool {
		found = found || at == pc
		return !found
	})
	return found
}

// walk calls visit once for each instruction that the program can get to from those of todo,
// and does not go on behind where visit says no.
func (p *program) walk(todo []uint32, visit func(at uint32) bool) {
	seen := make([]bool, len(p.insts))
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		if !visit(at) {
			continue
		}
		switch i := &p.insts[at]; i.op {
		case opAlt:
			todo = append(todo, i.out, i.arg)
		case opFail, opMatch:
		default:
			todo = append(todo, i.out)
		}
	}
}

// findAhead finds what matches, and the two ways of alternatives, begin with.
func (p *program) findAhead() {
	p.first = p.begins(p.start)
	for pc := range p.insts {
		if i := &p.insts[pc]; i.op == opAlt {
			i.ahead = &[2]byteSet{p.begins(i.out), p.begins(i.arg)}
		}
	}
}

// begins is the set of bytes that may come at pc.
func (p *program) begins(pc uint32) byteSet {
	var first byteSet
	p.walk([]uint32{pc}, func(at uint32) bool {
		switch i := &p.insts[at]; i.op {
		case opByte:
			first.add(i.char)
		case opSet:
			i.addTo(&first)
		case opMatch:
			first.empty = true
		case opAlt, opSave, opAssert:
			return true
		}
		return false
	})
	return first
}

// addTo adds what the characters of i begin with.
func (i *inst) addTo(first *byteSet) {
	first.bits[0] |= i.ascii[0]
	first.bits[1] |= i.ascii[1]
	if len(i.wide) > 0 {
		first.bits[2], first.bits[3] = ^uint64(0), ^uint64(0)
	}
}

// findPrefix finds what every match begins with.
func (p *program) findPrefix() {
	for at := p.start; ; at = p.insts[at].out {
		switch i := &p.insts[at]; i.op {
		case opByte:
			p.prefix = append(p.prefix, i.char)
		case opSave, opAssert:
		default:
			return
		}
	}
}

// digitBits are the digits among the ASCII characters.
const digitBits = uint64(1<<('9'+1) - 1<<'0')

// needsClock reports whether no match can do without a colon, and has digits alone before
// each: as the time of the day has.
func (p *program) needsClock() bool {
	clocks, others := 0, 0
	todo := []uint32{p.start}
	for pc := range p.insts {
		switch i := &p.insts[pc]; i.op {
		case opByte, opSet:
			if i.op == opSet && i.wide == nil && i.ascii[0]&^digitBits == 0 && i.ascii[1] == 0 {
				clocks += p.colons(i.out)
			} else {
				todo = append(todo, i.out)
			}
		}
	}
	for _, pc := range todo {
		others += p.colons(pc)
	}
	without := false // a colon
	p.walk([]uint32{p.start}, func(at uint32) bool {
		without = without || p.insts[at].op == opMatch
		return p.insts[at].op != opByte || p.insts[at].char != ':'
	})
	return clocks > 0 && others == 0 && !without
}

// colons counts the colons that may come at pc.
func (p *program) colons(pc uint32) int {
	n := 0
	p.walk([]uint32{pc}, func(at uint32) bool {
		i := &p.insts[at]
		if i.op == opByte && i.char == ':' {
			n++
		}
		return i.op == opAlt || i.op == opSave || i.op == opAssert
	})
	return n
}

// A matcher runs programs. It is not for concurrent use; what it found last stays in groups.
type matcher struct {
	groups   [2 * maxGroups]int // first and last+1 of each group; -1: took no part
	todo     []task
	far      int      // how much of the line was looked at
	vain     int      // how often the search went back
	seen     []uint64 // a bit for each recorded alternative and place
	recorded int      // how many alternatives are: all loops, or all there are
}

// A task is what to do if what was tried first fails: go on at pc and at, or, if group is not
// 0, make groups[group] at again.
type task struct {
	pc    uint32
	group int32
	at    int
}

// search finds the first match that begins at from or later and ends at to or before.
func (m *matcher) search(p *program, line []byte, from, to int) bool {
	if p.anchored {
		return from == 0 && m.begin(p, 0, to) && m.try(p, line, 0, to)
	}
	if !m.begin(p, from, to) {
		return false
	}
	for at := from; at <= to; at++ {
		if at = p.next(line[:to], at); at < 0 {
			return false
		}
		if m.try(p, line, at, to) {
			return true
		}
	}
	return false
}

// matchAt finds the match that begins at at.
func (m *matcher) matchAt(p *program, line []byte, at, to int) bool {
	return m.begin(p, at, to) && m.try(p, line, at, to)
}

// next is the first place from at where a match may begin; -1: there is none.
func (p *program) next(line []byte, at int) int {
	if p.first.empty {
		return at
	}
	if len(p.prefix) > 0 {
		if n := bytes.Index(line[at:], p.prefix); n >= 0 {
			return at + n
		}
		return -1
	}
	for ; at < len(line); at++ {
		if c := line[at]; p.first.has(c) && !(p.word && at > 0 && wordBytes.has(c) && wordBytes.has(line[at-1])) {
			return at
		}
	}
	return -1
}

// begin prepares for matches between from and to.
func (m *matcher) begin(p *program, from, to int) bool {
	if from > to {
		return false
	}
	m.far = from
	m.vain = 0
	m.record(p.loops, to)
	return true
}

// record makes room for where so many alternatives were tried.
func (m *matcher) record(alternatives, to int) {
	m.recorded = alternatives
	words := (alternatives*(to+1) + 63) / 64
	if words == 0 {
		return
	}
	if cap(m.seen) < words {
		m.seen = make([]uint64, words)
	}
	m.seen = m.seen[:words]
	clear(m.seen)
}

// visit reports whether an alternative is at a place for the first time.
func (m *matcher) visit(number uint16, at int) bool {
	bit := m.recorded*at + int(number)
	word, mask := &m.seen[bit/64], uint64(1)<<(bit%64)
	if *word&mask != 0 {
		return false
	}
	*word |= mask
	return true
}

// patience is how often, beside once for each byte, a search may go back before it records where
// every alternative was tried. Dates are found long before.
const patience = 500

// try runs p on line[:to] from at on.
func (m *matcher) try(p *program, line []byte, at, to int) bool {
	ok, patient := m.attempt(p, line, at, to)
	if !patient {
		m.record(p.alternatives, to)
		ok, _ = m.attempt(p, line, at, to)
	}
	return ok
}

// attempt is try as long as there is patience.
func (m *matcher) attempt(p *program, line []byte, at, to int) (ok, patient bool) {
	for g := range 2 * p.groups {
		m.groups[g] = -1
	}
	m.groups[0] = at
	m.todo = m.todo[:0]
	for pc := p.start; ; {
		end, ok := m.run(p, line, pc, at, to)
		m.far = max(m.far, min(end+utf8.UTFMax, to))
		if ok {
			return true, true
		}
		if pc, at = m.undo(); at < 0 {
			return false, true
		}
		if m.vain++; m.vain > patience+len(line) && m.recorded < p.alternatives {
			return false, false
		}
	}
}

// undo takes back what was done since the last choice, and is where the other way goes on;
// at is -1 if there was no choice.
func (m *matcher) undo() (pc uint32, at int) {
	for len(m.todo) > 0 {
		t := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		if t.group == 0 {
			return t.pc, t.at
		}
		m.groups[t.group] = t.at
	}
	return 0, -1
}

// run goes on until something fails, leaving what else may be tried in todo. end is how far it came.
func (m *matcher) run(p *program, line []byte, pc uint32, at, to int) (end int, ok bool) {
	for {
		i := &p.insts[pc]
		pc = i.out
		switch i.op {
		case opByte:
			if at >= to || line[at] != i.char {
				return at, false
			}
			at++
		case opSet:
			if at >= to {
				return at, false
			}
			if c := line[at]; c >= utf8.RuneSelf {
				r, size := utf8.DecodeRune(line[at:to])
				if !i.has(r) {
					return at, false
				}
				at += size
			} else if i.ascii[c/64]>>(c%64)&1 == 0 {
				return at, false
			} else {
				at++
			}
		case opAlt:
			if int(i.number) < m.recorded && !m.visit(i.number, at) {
				return at, false
			}
			pc = m.choose(i, line[at:to], at)
		case opSave:
			if len(m.todo) > 0 {
				m.todo = append(m.todo, task{group: int32(i.arg), at: m.groups[i.arg]})
			}
			m.groups[i.arg] = at
		case opAssert:
			if !holdsAt(i.arg, line, at, to) {
				return at, false
			}
		case opMatch:
			m.groups[1] = at
			return at, true
		default:
			return at, false
		}
	}
}

// choose is the way to go at an alternative. The other one is left in todo if it has a chance too.
func (m *matcher) choose(i *inst, text []byte, at int) uint32 {
	out, arg := i.ahead[0].empty, i.ahead[1].empty
	if len(text) > 0 {
		out = out || i.ahead[0].has(text[0])
		arg = arg || i.ahead[1].has(text[0])
	}
	if !out {
		return i.arg
	}
	if arg {
		m.todo = append(m.todo, task{pc: i.arg, at: at})
	}
	return i.out
}

// holdsAt reports whether what is asserted holds at a place of line, which ends at to.
func holdsAt(assertion uint32, line []byte, at, to int) bool {
	switch assertion {
	case assertWithinNoWord:
		return !wordBefore(line, at) || !wordBehind(line, at, to)
	case assertAfterMark:
		return afterEpochMark(line[:at])
	}
	want := syntax.EmptyOp(assertion)
	if want&(syntax.EmptyBeginText|syntax.EmptyBeginLine) != 0 && at > 0 {
		return false
	}
	if want&(syntax.EmptyEndText|syntax.EmptyEndLine) != 0 && at < to {
		return false
	}
	boundary := syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
	if want&boundary == 0 {
		return true
	}
	return wordBefore(line, at) != wordBehind(line, at, to) == (want&syntax.EmptyWordBoundary != 0)
}

// wordBytes are the ASCII characters of words.
var wordBytes = func() (set byteSet) {
	for c := range byte(utf8.RuneSelf) {
		if isAlnum(c) || c == '_' {
			set.add(c)
		}
	}
	return set
}()

func wordBefore(line []byte, at int) bool {
	if at == 0 {
		return false
	}
	if c := line[at-1]; c < utf8.RuneSelf {
		return wordBytes.has(c)
	}
	r, _ := utf8.DecodeLastRune(line[:at])
	return isWord(r)
}

func wordBehind(line []byte, at, to int) bool {
	if at >= to {
		return false
	}
	if c := line[at]; c < utf8.RuneSelf {
		return wordBytes.has(c)
	}
	r, _ := utf8.DecodeRune(line[at:to])
	return isWord(r)
}

// isWord is what Python's \w matches.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' }

// afterEpochMark reports whether seconds since 1970 may stand behind before.
func afterEpochMark(before []byte) bool {
	if len(before) == 0 || len(before) == 1 && before[0] == '[' {
		return true
	}
	before, ok := bytes.CutSuffix(before, []byte("audit("))
	return ok && !wordBefore(before, len(before))
}
