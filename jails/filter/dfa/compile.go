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
	accepts  [][]bool // by set of characters, then class: what opRune lets through
	looks    bool     // there is an opLook
	alphabet alphabet
}

// A rule is what a Set keeps of one regex.
type rule struct {
	groups int  // with the whole match
	places bool // the match may end before it is known, and package regexp does not know the regex
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
		parsed[i] = Parsed{Expr: expr, Tree: tree}
	}
	return CompileParsed(parsed)
}

// A Parsed is a regex and its tree, as syntax.Parse makes it with the flags syntax.Perl. In a tree with places the
// group -1-i, which holds nothing, is where Places[i] must hold.
type Parsed struct {
	Expr   string
	Tree   *syntax.Regexp
	Places []Place
}

// CompileParsed is Compile for those who have the trees already.
func CompileParsed(exprs []Parsed) (*Set, error) {
	c := compiler{set: &Set{}, known: make(map[string]uint32), trees: make(map[*syntax.Regexp]uint32)}
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
	opAlt      // go on at out; failing that at arg
	opSave     // an end of a group, slot 2*i or 2*i+1 in arg; go on at out
	opLook     // where the syntax.EmptyOp in arg holds, go on at out
	opRune     // a character of set arg; go on at out behind it
	opMatch    // the rule arg matches
	opPlace    // where the place arg holds, go on at out; no program has it when it is done
)

// An inst is an instruction of the program.
type inst struct {
	op       op
	out, arg uint32
}

// asksBehind is a flag in arg of an opLook: it, or one that is reached from it without a character, asks for
// the character before.
const asksBehind = 1 << 8

// look is the condition of an opLook.
func (in *inst) look() syntax.EmptyOp { return syntax.EmptyOp(in.arg &^ asksBehind) }

// A compiler makes the program of a Set.
type compiler struct {
	set   *Set
	sets  []runeSet
	known map[string]uint32         // sets by their ranges
	key   []byte                    // the ranges of a set
	ascii [utf8.RuneSelf]uint32     // numbers of the sets of one character, plus one; 0: there is none yet
	trees map[*syntax.Regexp]uint32 // sets of classes, as regexes have shared parts
}

// A runeSet is characters as pairs: from, to, from, to ...
type runeSet []rune

func (s runeSet) has(r rune) bool {
	at, found := slices.BinarySearch(s, r)
	return found || at%2 == 1
}

// add appends the program of p, and before it the beginning of a match and, where a match may begin
// anywhere, a loop that would rather begin one than skip a character.
func (c *compiler) add(p Parsed) error {
	groups := p.Tree.MaxCap() + 1
	if groups > maxGroups {
		return ErrTooLarge
	}
	first, places := len(c.set.insts), len(p.Places) > 0
	match := c.emit(inst{op: opMatch, arg: uint32(len(c.set.rules))})
	if places {
		match = c.emit(inst{op: opSave, out: match, arg: 1})
	}
	body := c.build(p.Tree, match)
	if len(c.set.insts) > maxInsts {
		return ErrTooLarge
	}
	start := c.emit(inst{op: opSave, out: body})
	if !c.anchored(body) {
		skip := c.emit(inst{op: opRune, arg: c.runes(runeSet{0, unicode.MaxRune})})
		start = c.emit(inst{op: opAlt, out: start, arg: skip})
		c.set.insts[skip].out = start
	}
	if places {
		var err error
		if start, err = c.unfold(first, start, p.Places); err != nil {
			return err
		}
	}
	c.set.starts = append(c.set.starts, start)
	c.set.rules = append(c.set.rules, rule{
		groups: groups,
		places: places,
		slow:   sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(p.Expr) }),
	})
	return nil
}

// emit appends an instruction and returns its number.
func (c *compiler) emit(in inst) uint32 {
	n := len(c.set.insts)
	if n == cap(c.set.insts) {
		c.set.insts = slices.Grow(c.set.insts, max(n, 64))
	}
	c.set.insts = append(c.set.insts, in)
	return uint32(n)
}

// build appends the program of re, which goes on at next, and returns where it begins. Ways are in the order of
// regexp/syntax.Compile. It gives up, with any program, where this gets too large.
func (c *compiler) build(re *syntax.Regexp, next uint32) uint32 {
	if len(c.set.insts) > maxInsts {
		return next
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return next
	case syntax.OpLiteral:
		for _, r := range slices.Backward(re.Rune) {
			next = c.emit(inst{op: opRune, out: next, arg: c.char(r, re.Flags)})
		}
		return next
	case syntax.OpCharClass:
		return c.emit(inst{op: opRune, out: next, arg: c.class(re)})
	case syntax.OpAnyCharNotNL:
		return c.emit(inst{op: opRune, out: next, arg: c.runes(runeSet{0, '\n' - 1, '\n' + 1, unicode.MaxRune})})
	case syntax.OpAnyChar:
		return c.emit(inst{op: opRune, out: next, arg: c.runes(runeSet{0, unicode.MaxRune})})
	case syntax.OpCapture:
		if re.Cap < 0 {
			return c.emit(inst{op: opPlace, out: next, arg: uint32(-1 - re.Cap)})
		}
		end := c.emit(inst{op: opSave, out: next, arg: uint32(2*re.Cap + 1)})
		return c.emit(inst{op: opSave, out: c.build(re.Sub[0], end), arg: uint32(2 * re.Cap)})
	case syntax.OpStar:
		return c.star(re, next)
	case syntax.OpPlus:
		return c.plus(re, next)
	case syntax.OpRepeat:
		return c.repeat(re, next)
	case syntax.OpQuest:
		return c.either(re, c.build(re.Sub[0], next), next)
	case syntax.OpConcat:
		for _, sub := range slices.Backward(re.Sub) {
			next = c.build(sub, next)
		}
		return next
	case syntax.OpAlternate:
		last := len(re.Sub) - 1
		begin := c.build(re.Sub[last], next)
		for _, sub := range slices.Backward(re.Sub[:last]) {
			begin = c.emit(inst{op: opAlt, out: c.build(sub, next), arg: begin})
		}
		return begin
	}
	if look, ok := lookOf[re.Op]; ok {
		c.set.looks = true
		return c.emit(inst{op: opLook, out: next, arg: uint32(look)})
	}
	return c.emit(inst{op: opFail})
}

// lookOf are the conditions that take no character.
var lookOf = map[syntax.Op]syntax.EmptyOp{
	syntax.OpBeginLine:      syntax.EmptyBeginLine,
	syntax.OpEndLine:        syntax.EmptyEndLine,
	syntax.OpBeginText:      syntax.EmptyBeginText,
	syntax.OpEndText:        syntax.EmptyEndText,
	syntax.OpWordBoundary:   syntax.EmptyWordBoundary,
	syntax.OpNoWordBoundary: syntax.EmptyNoWordBoundary,
}

// either goes on at more or at next: what re would rather is first.
func (c *compiler) either(re *syntax.Regexp, more, next uint32) uint32 {
	if re.Flags&syntax.NonGreedy != 0 {
		more, next = next, more
	}
	return c.emit(inst{op: opAlt, out: more, arg: next})
}

// star is any number of what is in re.
func (c *compiler) star(re *syntax.Regexp, next uint32) uint32 {
	if isNullable(re.Sub[0]) { // (x+)?, so that what is preferred comes first: go.dev/issue/46123
		return c.either(re, c.plus(re, next), next)
	}
	again, _ := c.loop(re, next)
	return again
}

// plus is one or more of what is in re.
func (c *compiler) plus(re *syntax.Regexp, next uint32) uint32 {
	_, once := c.loop(re, next)
	return once
}

// repeat is what is in re, as often as re says: x{2,4} is xx(x(x)?)?
func (c *compiler) repeat(re *syntax.Regexp, next uint32) uint32 {
	times, end := re.Min, next
	switch {
	case re.Max < 0 && times == 0:
		return c.star(re, next)
	case re.Max < 0:
		next = c.plus(re, next)
		times--
	}
	for range re.Max - re.Min {
		next = c.either(re, c.build(re.Sub[0], next), end)
	}
	for range times {
		next = c.build(re.Sub[0], next)
	}
	return next
}

// loop is what is in re, and behind it the choice to begin again.
func (c *compiler) loop(re *syntax.Regexp, next uint32) (again, once uint32) {
	again = c.either(re, next, next)
	once = c.build(re.Sub[0], again)
	if re.Flags&syntax.NonGreedy != 0 {
		c.set.insts[again].arg = once
	} else {
		c.set.insts[again].out = once
	}
	return again, once
}

// isNullable reports whether re may match no character, as regexp/syntax.Compile sees it: conditions may.
func isNullable(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpNoMatch, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCapture, syntax.OpPlus:
		return isNullable(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || isNullable(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !isNullable(sub) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, isNullable)
	}
	return true
}

// char is the number of the set of one character, and of those that it folds to where flags say so.
func (c *compiler) char(r rune, flags syntax.Flags) uint32 {
	if flags&syntax.FoldCase == 0 {
		return c.one(r)
	}
	folded := []rune{r}
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		folded = append(folded, other)
	}
	slices.Sort(folded)
	var set runeSet
	for _, r := range folded {
		set = append(set, r, r)
	}
	return c.runes(set)
}

// one is the number of the set of one character.
func (c *compiler) one(r rune) uint32 {
	if r < 0 || r >= utf8.RuneSelf {
		return c.runes(runeSet{r, r})
	}
	if c.ascii[r] == 0 {
		c.ascii[r] = c.runes(runeSet{r, r}) + 1
	}
	return c.ascii[r] - 1
}

// class is the number of the set of a class.
func (c *compiler) class(re *syntax.Regexp) uint32 {
	number, known := c.trees[re]
	if !known {
		number = c.runes(re.Rune)
		c.trees[re] = number
	}
	return number
}

// runes is the number of a set of characters.
func (c *compiler) runes(set runeSet) uint32 {
	c.key = c.key[:0]
	for _, r := range set {
		c.key = binary.BigEndian.AppendUint32(c.key, uint32(r))
	}
	number, known := c.known[string(c.key)]
	if !known {
		number = uint32(len(c.sets))
		c.known[string(c.key)] = number
		c.sets = append(c.sets, slices.Clone(set))
	}
	return number
}

// anchored reports whether what begins at start can match at the start of the text alone.
func (c *compiler) anchored(start uint32) bool {
	seen := make(map[uint32]bool)
	var begins func(pc uint32) bool
	begins = func(pc uint32) bool {
		if seen[pc] {
			return true
		}
		seen[pc] = true
		switch in := &c.set.insts[pc]; in.op {
		case opAlt:
			return begins(in.out) && begins(in.arg)
		case opSave, opPlace:
			return begins(in.out)
		case opLook:
			return in.look()&syntax.EmptyBeginText != 0 || begins(in.out)
		case opFail:
			return true
		}
		return false
	}
	return begins(start)
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

// asks reports whether a condition that is reached from pc without a character asks for the character before.
func (c *compiler) asks(pc uint32, seen map[uint32]bool) bool {
	if seen[pc] {
		return false
	}
	seen[pc] = true
	switch in := &c.set.insts[pc]; in.op {
	case opAlt:
		return c.asks(in.out, seen) || c.asks(in.arg, seen)
	case opSave:
		return c.asks(in.out, seen)
	case opLook:
		return in.look()&backward != 0 || c.asks(in.out, seen)
	}
	return false
}

// finish computes the alphabet, what each set lets through of it, and which conditions ask for the character before.
func (c *compiler) finish() {
	for pc := range c.set.insts {
		if in := &c.set.insts[pc]; in.op == opLook && c.asks(uint32(pc), make(map[uint32]bool)) {
			in.arg |= asksBehind
		}
	}
	a := &c.set.alphabet
	a.from = c.borders()
	a.kinds = []kind{columnWide: other, columnEnd: edge, columnState: other}
	a.runes = []rune{columnWide: -1, columnEnd: -1, columnState: -1}
	columns := make(map[uint32]uint32)
	a.ofRange = c.alike(a.from)
	for i, first := range a.from {
		column, known := columns[a.ofRange[i]]
		if !known {
			column = uint32(len(a.kinds))
			columns[a.ofRange[i]] = column
			a.kinds = append(a.kinds, kindOf(first))
			a.runes = append(a.runes, first)
		}
		a.ofRange[i] = column
	}
	for b := range utf8.RuneSelf {
		a.ofByte[b] = uint8(a.wide(rune(b)))
	}
	all := make([]bool, len(c.sets)*len(a.runes))
	for _, set := range c.sets {
		accepts := all[:len(a.runes)]
		all = all[len(a.runes):]
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

// alike gives ranges, which begin at borders, equal numbers if all sets that have one have the other, and an opLook cannot
// tell them apart either.
func (c *compiler) alike(borders []rune) []uint32 {
	alike := make([]uint32, len(borders))
	count := uint32(1)
	if c.set.looks {
		for i, first := range borders {
			alike[i] = uint32(kindOf(first))
		}
		count = uint32(edge)
	}
	var inside []uint32 // by number: that of those in the set; 0: none was seen yet
	for _, set := range c.sets {
		inside = append(inside[:0], make([]uint32, count)...)
		for i := 0; i < len(set); i += 2 {
			at, _ := slices.BinarySearch(borders, set[i])
			for ; at < len(borders) && borders[at] <= set[i+1]; at++ {
				number := alike[at]
				if inside[number] == 0 {
					inside[number] = count
					count++
				}
				alike[at] = inside[number]
			}
		}
	}
	return alike
}
