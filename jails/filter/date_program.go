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
// it, and nothing is allocated. No state of a loop is entered twice at one place, so that the
// work is linear in the line.
type program struct {
	insts    []inst
	start    uint32
	loops    int       // alternatives that are part of a loop
	anchored bool      // matches at the start of a line alone
	prefix   []byte    // every match begins with it
	first    [256]bool // bytes that a match begins with
	empty    bool      // a match may begin with none
	names    []string  // of groups by number; "" has none
}

// An opcode says what an inst does.
type opcode uint8

const (
	opFail   opcode = iota
	opByte          // one byte
	opSet           // one character of a set
	opAlt           // out first, then arg
	opLoop          // an opAlt that the program may come back to; loop is its number
	opSave          // a group begins or ends
	opAssert        // arg holds here
	opMatch
)

type inst struct {
	op       opcode
	char     byte
	out, arg uint32
	loop     int
	ascii    [2]uint64 // the set's ASCII
	wide     []rune    // the set's other characters: pairs of first and last
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
	maxInsts  = 5000
	maxGroups = 32
)

// newProgram makes a program of a regex.
func newProgram(re *syntax.Regexp) (*program, error) {
	names := re.CapNames()
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > maxInsts || len(names) > maxGroups {
		return nil, errors.New("is too large")
	}
	p := &program{
		insts:    make([]inst, len(prog.Inst)),
		start:    uint32(prog.Start),
		anchored: prog.StartCond()&syntax.EmptyBeginText != 0,
		names:    names,
	}
	for i := range prog.Inst {
		p.insts[i] = newInst(&prog.Inst[i])
	}
	p.findLoops()
	p.findFirst()
	return p, nil
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
	case syntax.InstNop:
		i.op, i.arg = opAssert, 0
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

// findLoops marks alternatives from which the program can come back to them.
func (p *program) findLoops() {
	for pc := range p.insts {
		if i := &p.insts[pc]; i.op == opAlt && p.reaches(i.out, i.arg, uint32(pc)) {
			i.op, i.loop = opLoop, p.loops
			p.loops++
		}
	}
}

// reaches reports whether the program can get from a or b to pc.
func (p *program) reaches(a, b, pc uint32) bool {
	seen := make([]bool, len(p.insts))
	todo := []uint32{a, b}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == pc {
			return true
		}
		if seen[at] {
			continue
		}
		seen[at] = true
		switch i := &p.insts[at]; i.op {
		case opAlt, opLoop:
			todo = append(todo, i.out, i.arg)
		case opFail, opMatch:
		default:
			todo = append(todo, i.out)
		}
	}
	return false
}

// findFirst finds what matches begin with.
func (p *program) findFirst() {
	seen := make([]bool, len(p.insts))
	todo := []uint32{p.start}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		switch i := &p.insts[at]; i.op {
		case opAlt, opLoop:
			todo = append(todo, i.out, i.arg)
		case opSave, opAssert:
			todo = append(todo, i.out)
		case opByte:
			p.first[i.char] = true
		case opSet:
			p.addFirst(i)
		case opMatch:
			p.empty = true
		}
	}
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

func (p *program) addFirst(i *inst) {
	for c := range utf8.RuneSelf {
		if i.ascii[c/64]&(1<<(c%64)) != 0 {
			p.first[c] = true
		}
	}
	for c := utf8.RuneSelf; c < len(p.first); c++ {
		p.first[c] = p.first[c] || len(i.wide) > 0
	}
}

// A matcher runs programs. It is not for concurrent use; what it found last stays in groups.
type matcher struct {
	groups [2 * maxGroups]int // first and last+1 of each group; -1: took no part
	todo   []task
	seen   []uint64 // a bit for each loop and place
}

// A task is where the program goes on if what it tries first fails: at pc and at, or, if
// group is not 0, after groups[group-1] is at again.
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
	if p.empty {
		return at
	}
	if len(p.prefix) > 1 {
		if n := bytes.Index(line[at:], p.prefix); n >= 0 {
			return at + n
		}
		return -1
	}
	for ; at < len(line); at++ {
		if p.first[line[at]] {
			return at
		}
	}
	return -1
}

// begin makes room for the places from to to.
func (m *matcher) begin(p *program, from, to int) bool {
	if from > to {
		return false
	}
	words := (p.loops*(to+1) + 63) / 64
	if cap(m.seen) < words {
		m.seen = make([]uint64, words)
	}
	m.seen = m.seen[:words]
	clear(m.seen)
	return true
}

// visit reports whether the loop is at a place for the first time.
func (m *matcher) visit(loop, loops, at int) bool {
	bit := loops*at + loop
	word, mask := &m.seen[bit/64], uint64(1)<<(bit%64)
	if *word&mask != 0 {
		return false
	}
	*word |= mask
	return true
}

// try runs p on line[:to] from at on.
func (m *matcher) try(p *program, line []byte, at, to int) bool {
	for g := range 2 * len(p.names) {
		m.groups[g] = -1
	}
	m.todo = append(m.todo[:0], task{pc: p.start, at: at})
	for len(m.todo) > 0 {
		t := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		if t.group > 0 {
			m.groups[t.group-1] = t.at
			continue
		}
		if m.run(p, line, t.pc, t.at, to) {
			m.groups[0] = at
			return true
		}
	}
	return false
}

// run goes on until something fails, leaving what else may be tried in todo.
func (m *matcher) run(p *program, line []byte, pc uint32, at, to int) bool {
	for {
		i := &p.insts[pc]
		pc = i.out
		switch i.op {
		case opByte:
			if at >= to || line[at] != i.char {
				return false
			}
			at++
		case opSet:
			n := i.width(line[at:to])
			if n == 0 {
				return false
			}
			at += n
		case opLoop:
			if !m.visit(i.loop, p.loops, at) {
				return false
			}
			m.todo = append(m.todo, task{pc: i.arg, at: at})
		case opAlt:
			m.todo = append(m.todo, task{pc: i.arg, at: at})
		case opSave:
			m.todo = append(m.todo, task{group: int32(i.arg) + 1, at: m.groups[i.arg]})
			m.groups[i.arg] = at
		case opAssert:
			if !holdsAt(i.arg, line, at, to) {
				return false
			}
		case opMatch:
			m.groups[1] = at
			return true
		default:
			return false
		}
	}
}

// width is the length of the first character of text if it is in the set, else 0.
func (i *inst) width(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	if c := text[0]; c < utf8.RuneSelf {
		return int(i.ascii[c/64] >> (c % 64) & 1)
	}
	if r, size := utf8.DecodeRune(text); i.has(r) {
		return size
	}
	return 0
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

func wordBefore(line []byte, at int) bool {
	if at == 0 {
		return false
	}
	if c := line[at-1]; c < utf8.RuneSelf {
		return isAlnum(c) || c == '_'
	}
	r, _ := utf8.DecodeLastRune(line[:at])
	return isWord(r)
}

func wordBehind(line []byte, at, to int) bool {
	if at >= to {
		return false
	}
	if c := line[at]; c < utf8.RuneSelf {
		return isAlnum(c) || c == '_'
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
