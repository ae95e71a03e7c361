package dfa

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A Set is regexes made ready. It may be used by many machines at once.
type Set struct {
	rules    []rule
	insts    []inst
	starts   []uint32 // where each rule begins
	ruleOf   []uint32 // by instruction
	accepts  [][]bool // by set of characters, then class: what opRune lets through
	looks    bool     // there is an opLook
	alphabet alphabet
}

// A rule is what a Set keeps of one regex.
type rule struct {
	groups int // with the whole match
	slow   func() *regexp.Regexp
}

// An Error says which regex a Set cannot take, and why.
type Error struct {
	Expr int // index
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("regex %d: %v", e.Expr+1, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// ErrTooLarge is why a Set takes no more: its regexes, with repetitions written out, have too
// many instructions, or one of them too many groups.
var ErrTooLarge = errors.New("too large for one automaton")

// Limits of a Set.
const (
	maxInsts  = 1 << 18
	maxGroups = 32 // with the whole match: a bit for each end in a word
)

// Compile makes a Set of regexes as package regexp understands them. The error is an *Error;
// around a *syntax.Error, as of look-around, where Go does not understand the regex either.
func Compile(exprs []string) (*Set, error) {
	parsed := make([]Parsed, len(exprs))
	for i, expr := range exprs {
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			return nil, &Error{i, err}
		}
		parsed[i] = Parsed{expr, tree}
	}
	return CompileParsed(parsed)
}

// A Parsed is a regex and its tree, as syntax.Parse makes it with the flags syntax.Perl.
type Parsed struct {
	Expr string
	Tree *syntax.Regexp
}

// CompileParsed is Compile for those who have the trees already.
func CompileParsed(exprs []Parsed) (*Set, error) {
	c := compiler{set: &Set{}, known: make(map[string]uint32)}
	for i, expr := range exprs {
		if err := c.add(expr); err != nil {
			return nil, &Error{i, err}
		}
	}
	c.finish()
	return c.set, nil
}

// An op is what an instruction does.
type op uint8

const (
	opFail  op = iota
	opJump     // go on at out
	opAlt      // go on at out; failing that at arg
	opSave     // an end of a group, slot 2*i or 2*i+1 in arg; go on at out
	opLook     // where the syntax.EmptyOp arg holds, go on at out
	opRune     // a character of set arg; go on at out behind it
	opMatch    // the rule arg matches
)

// An inst is an instruction of the program.
type inst struct {
	op       op
	out, arg uint32
}

// A compiler makes the program of a Set.
type compiler struct {
	set   *Set
	sets  []runeSet
	known map[string]uint32 // sets by their ranges
}

// A runeSet is characters as pairs: from, to, from, to ...
type runeSet []rune

func (s runeSet) has(r rune) bool {
	at, found := slices.BinarySearch(s, r)
	return found || at%2 == 1
}

// add appends the program of p. The steps are those of regexp.Compile.
func (c *compiler) add(p Parsed) error {
	groups := p.Tree.MaxCap() + 1
	prog, err := syntax.Compile(p.Tree.Simplify())
	if err != nil {
		return err
	}
	if groups > maxGroups || len(c.set.insts)+len(prog.Inst) > maxInsts {
		return ErrTooLarge
	}
	c.addProg(prog)
	c.set.rules = append(c.set.rules, rule{
		groups: groups,
		slow:   sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(p.Expr) }),
	})
	return nil
}

// addProg appends prog, and before it the beginning of a match and, where a match may begin
// anywhere, a loop that would rather begin one than skip a character.
func (c *compiler) addProg(prog *syntax.Prog) {
	first := uint32(len(c.set.insts))
	base := first + 1
	start := base + uint32(prog.Start)
	c.set.starts = append(c.set.starts, first)
	if anchored(prog) {
		c.emit(inst{op: opSave, out: start})
	} else {
		base = first + 3
		start = base + uint32(prog.Start)
		c.emit(inst{op: opAlt, out: first + 1, arg: first + 2})
		c.emit(inst{op: opSave, out: start})
		c.emit(inst{op: opRune, out: first, arg: c.runes(runeSet{0, unicode.MaxRune})})
	}
	for i := range prog.Inst {
		c.emit(c.inst(&prog.Inst[i], base))
	}
}

func (c *compiler) emit(in inst) {
	c.set.insts = append(c.set.insts, in)
	c.set.ruleOf = append(c.set.ruleOf, uint32(len(c.set.rules)))
}

// inst translates an instruction of package syntax; base is where those of its prog begin.
func (c *compiler) inst(in *syntax.Inst, base uint32) inst {
	made := inst{out: base + in.Out}
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		made.op, made.arg = opAlt, base+in.Arg
	case syntax.InstCapture:
		made.op, made.arg = opSave, in.Arg
	case syntax.InstEmptyWidth:
		made.op, made.arg = opLook, in.Arg
		c.set.looks = true
	case syntax.InstMatch:
		made.op, made.arg = opMatch, uint32(len(c.set.rules))
	case syntax.InstFail:
		made.op = opFail
	case syntax.InstNop:
		made.op = opJump
	default:
		made.op, made.arg = opRune, c.runes(runesOf(in))
	}
	return made
}

// runesOf are the characters that in lets through, as in.MatchRune says.
func runesOf(in *syntax.Inst) runeSet {
	switch {
	case in.Op == syntax.InstRuneAny:
		return runeSet{0, unicode.MaxRune}
	case in.Op == syntax.InstRuneAnyNotNL:
		return runeSet{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	case len(in.Rune) != 1:
		return in.Rune
	}
	only := in.Rune[0]
	folded := []rune{only}
	if in.Op == syntax.InstRune && syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
		for r := unicode.SimpleFold(only); r != only; r = unicode.SimpleFold(r) {
			folded = append(folded, r)
		}
	}
	slices.Sort(folded)
	var set runeSet
	for _, r := range folded {
		set = append(set, r, r)
	}
	return set
}

// runes is the number of a set of characters.
func (c *compiler) runes(set runeSet) uint32 {
	var key []byte
	for _, r := range set {
		key = binary.BigEndian.AppendUint32(key, uint32(r))
	}
	number, known := c.known[string(key)]
	if !known {
		number = uint32(len(c.sets))
		c.known[string(key)] = number
		c.sets = append(c.sets, set)
	}
	return number
}

// anchored reports whether prog can match at the start of the text alone.
func anchored(prog *syntax.Prog) bool {
	seen := make([]bool, len(prog.Inst))
	var begins func(pc uint32) bool
	begins = func(pc uint32) bool {
		if seen[pc] {
			return true
		}
		seen[pc] = true
		switch in := &prog.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			return begins(in.Out) && begins(in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			return begins(in.Out)
		case syntax.InstEmptyWidth:
			return syntax.EmptyOp(in.Arg)&syntax.EmptyBeginText != 0 || begins(in.Out)
		case syntax.InstFail:
			return true
		}
		return false
	}
	return begins(uint32(prog.Start))
}

// A kind is what an opLook can tell of a character beside it.
type kind uint8

const (
	other kind = iota
	word
	newline
	edge // no character: the start or the end of the text
)

// runeOfKind is one for each kind, for syntax.EmptyOpContext.
var runeOfKind = [...]rune{other: ' ', word: 'a', newline: '\n', edge: -1}

func kindOf(r rune) kind {
	switch {
	case syntax.IsWordChar(r):
		return word
	case r == '\n':
		return newline
	}
	return other
}

// Columns of the table of states. Behind them stand the classes.
const (
	columnWide  = iota // a byte beyond ASCII: the character has to be decoded
	columnEnd          // the end of the line
	columnState        // no column: the number of the state
	columnClass        // the first class
)

// An alphabet puts characters into classes, which are columns of the table: what no
// instruction tells apart is of one class.
type alphabet struct {
	ofByte  [256]uint8 // ASCII has at most 128 classes, and they come first
	from    []rune     // where the ranges begin that cover all characters; ascending
	ofRange []uint32
	kinds   []kind // by column
	runes   []rune // by column: one of the class
}

// wide is the column of a character beyond ASCII.
func (a *alphabet) wide(r rune) uint32 {
	at, found := slices.BinarySearch(a.from, r)
	if !found {
		at--
	}
	return a.ofRange[at]
}

// finish computes the alphabet and what each set lets through of it.
func (c *compiler) finish() {
	a := &c.set.alphabet
	a.from = c.borders()
	a.kinds = []kind{columnWide: other, columnEnd: edge, columnState: other}
	a.runes = []rune{columnWide: -1, columnEnd: -1, columnState: -1}
	columns := make(map[string]uint32)
	for _, first := range a.from {
		key := c.signature(first)
		column, known := columns[key]
		if !known {
			column = uint32(len(a.kinds))
			columns[key] = column
			a.kinds = append(a.kinds, kindOf(first))
			a.runes = append(a.runes, first)
		}
		a.ofRange = append(a.ofRange, column)
	}
	for b := range utf8.RuneSelf {
		a.ofByte[b] = uint8(a.wide(rune(b)))
	}
	for _, set := range c.sets {
		accepts := make([]bool, len(a.runes))
		for column := columnClass; column < len(a.runes); column++ {
			accepts[column] = set.has(a.runes[column])
		}
		c.set.accepts = append(c.set.accepts, accepts)
	}
}

// borders are the characters at which a set, or what an opLook can tell, begins or has ended.
func (c *compiler) borders() []rune {
	borders := []rune{0, utf8.RuneSelf}
	sets := c.sets
	if c.set.looks {
		sets = append(slices.Clone(sets), runeSet{'\n', '\n', '0', '9', 'A', 'Z', '_', '_', 'a', 'z'})
	}
	for _, set := range sets {
		for i := 0; i < len(set); i += 2 {
			borders = append(borders, set[i], set[i+1]+1)
		}
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)
	for borders[len(borders)-1] > unicode.MaxRune {
		borders = borders[:len(borders)-1]
	}
	return borders
}

// signature says which sets have r, and its kind: characters of one class share it.
func (c *compiler) signature(r rune) string {
	key := make([]byte, 0, len(c.sets)+1)
	if c.set.looks {
		key = append(key, byte(kindOf(r)))
	}
	for _, set := range c.sets {
		has := byte(0)
		if set.has(r) {
			has = 1
		}
		key = append(key, has)
	}
	return string(key)
}
