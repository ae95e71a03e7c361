package filter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"xdpban/internal/lazy"
)

// A parser reads a regex in Python's dialect (re, for texts, as of Python 3.11).
type parser struct {
	text   string
	at     int
	flags  flags
	native bool    // reads Go's dialect instead, as far as both are alike
	open   int     // groups around what is being read
	row    []*node // what stands before it, in all groups that are open
	pattern
}

// deepest is how deep groups may nest.
const deepest = 200

// innerFlags finds flags right behind the beginning of a group, (?:(?i)x). Python takes them for
// those of the whole regex and refuses them there; fail2ban has always meant the group.
var innerFlags = lazy.Regexp(`(^|[^\\])\((?:\?:)?(\(\?[a-z]+)\)`)

// pythonPattern reads a regex; multi is whether ^ and $ are those of lines, as with re.MULTILINE.
func pythonPattern(text string, multi bool) (*pattern, error) {
	if !flagsIn(text) {
		return (&parser{text: text, flags: flags{multi: multi}}).read()
	}
	text = innerFlags.Get().ReplaceAllString(text, "$1$2:")
	p := &parser{text: text, flags: flags{multi: multi}}
	p.readGlobalFlags()
	return p.read()
}

// someLetters are those of flags, and others that might be meant for one.
const someLetters = "abcdefghijklmnopqrstuvwxyzL"

// flagsIn reports whether anything like (?i) stands in text, in which case regexes look for what it means there.
func flagsIn(text string) bool {
	for {
		_, behind, found := strings.Cut(text, "(?")
		if !found {
			return false
		}
		if rest := strings.TrimLeft(behind, someLetters); len(rest) < len(behind) && strings.HasPrefix(rest, ")") {
			return true
		}
		text = behind
	}
}

// leadingFlags are those of a whole regex in Go's dialect.
var leadingFlags = lazy.Regexp(`^\(\?([ims]+)\)`)

// nativePattern reads a regex of our own dialect that package regexp does not take.
func nativePattern(text string) (*pattern, error) {
	p := &parser{native: true, flags: flags{ascii: true}}
	if found := leadingFlags.Get().FindStringSubmatch(text); found != nil {
		p.set(found[1], true)
		text = text[len(found[0]):]
	}
	p.text = text
	return p.read()
}

func (p *parser) read() (*pattern, error) {
	p.groups = []string{""}
	root, err := p.alternate()
	if err == nil && p.at < len(p.text) {
		err = errors.New("unexpected )")
	}
	if err != nil {
		return nil, err
	}
	p.root = &node{op: opGroup, subs: []*node{root}, flags: p.flags}
	p.root.endWords()
	p.need(p.root)
	return &p.pattern, nil
}

// globalFlags are flags of the whole regex. Python wants them in front of all else; older
// ones took them from anywhere.
var globalFlags = lazy.Regexp(`(?:\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[aiLmsux]+\))`)

func (p *parser) readGlobalFlags() {
	p.text = globalFlags.Get().ReplaceAllStringFunc(p.text, func(found string) string {
		if !strings.HasPrefix(found, "(?") {
			return found
		}
		p.set(found[2:len(found)-1], true)
		return ""
	})
}

// set turns flags on or off.
func (p *parser) set(letters string, on bool) bool {
	for _, letter := range letters {
		switch letter {
		case 'i':
			p.flags.fold = on
		case 'm':
			p.flags.multi = on
		case 's':
			p.flags.dotall = on
		case 'x':
			p.flags.verbose = on
		case 'a':
			p.flags.ascii = on
		case 'u', 'L':
			p.flags.ascii = false
		default:
			return false
		}
	}
	return true
}

func (p *parser) peek() rune {
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	if p.at >= len(p.text) {
		return -1
	}
	return r
}

func (p *parser) next() rune {
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	if size == 0 {
		return -1
	}
	p.at += size
	return r
}

func (p *parser) take(text string) bool {
	if strings.HasPrefix(p.text[p.at:], text) {
		p.at += len(text)
		return true
	}
	return false
}

// alternate reads what stands between | up to the end of a group.
func (p *parser) alternate() (*node, error) {
	if p.open++; p.open > deepest {
		return nil, errors.New("nests too deep")
	}
	defer func() { p.open-- }()
	alternatives := &node{op: opAlternate}
	for {
		branch, err := p.concat()
		if err != nil {
			return nil, err
		}
		alternatives.subs = append(alternatives.subs, branch)
		if !p.take("|") {
			break
		}
	}
	if len(alternatives.subs) == 1 {
		return alternatives.subs[0], nil
	}
	return alternatives, nil
}

func (p *parser) concat() (*node, error) {
	first := len(p.row)
	for p.at < len(p.text) && p.peek() != '|' && p.peek() != ')' {
		if p.flags.verbose && p.skipComment() {
			continue
		}
		atom, err := p.atom()
		if err != nil {
			return nil, err
		}
		if atom, err = p.repeats(atom); err != nil {
			return nil, err
		}
		if atom.op != opEmpty {
			p.row = append(p.row, atom)
		}
	}
	row := &node{op: opConcat, subs: slices.Clone(p.row[first:])}
	p.row = p.row[:first]
	return row, nil
}

// skipComment skips what a verbose regex does not mean.
func (p *parser) skipComment() bool {
	if strings.ContainsRune(" \t\n\r\f\v", p.peek()) {
		p.at++
		return true
	}
	if !p.take("#") {
		return false
	}
	for p.at < len(p.text) && p.next() != '\n' {
	}
	return true
}

func (p *parser) atom() (*node, error) {
	switch r := p.next(); r {
	case '.':
		return &node{op: opAny, flags: p.flags}, nil
	case '^':
		return &node{op: opLineStart, flags: p.flags}, nil
	case '$':
		if p.native && !p.flags.multi {
			return &node{op: opTextEnd}, nil // a line of ours has no break at its end
		}
		return &node{op: opLineEnd, flags: p.flags}, nil
	case '[':
		return p.class()
	case '(':
		return p.group()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, fmt.Errorf("nothing to repeat with %c", r)
	default:
		return p.letter(r), nil
	}
}

// anI are the letters that Python takes for each other where case does not matter, and others do not.
const anI = "iIİı"

// letter is a character that means itself.
func (p *parser) letter(r rune) *node {
	if p.foldsAnI() && strings.ContainsRune(anI, r) {
		n := &node{op: opClass, class: &class{}}
		n.class.addAnI()
		return n
	}
	return runeNode(r)
}

// foldsAnI reports whether the letters anI are alike where the parser is.
func (p *parser) foldsAnI() bool { return p.flags.fold && !p.flags.ascii && !p.native }

func (c *class) addAnI() {
	for _, r := range anI {
		c.items = append(c.items, classItem{low: r, high: r})
	}
}

// repeats reads how often atom may stand.
func (p *parser) repeats(atom *node) (*node, error) {
	for p.flags.verbose && p.at < len(p.text) && p.skipComment() {
	}
	min, max, ok := p.count()
	if !ok {
		return atom, nil
	}
	switch atom.op {
	case opLineStart, opLineEnd, opTextStart, opTextEnd, opBoundary, opNoBoundary, opEmpty:
		return nil, errors.New("nothing to repeat")
	case opRepeat:
		return nil, errors.New("repeats a repetition")
	}
	if max >= 0 && min > max {
		return nil, fmt.Errorf("repeats from %d up to %d times", min, max)
	}
	n := &node{op: opRepeat, subs: []*node{atom}, min: min, max: max}
	if p.take("?") {
		n.how = '?'
	} else if p.take("+") {
		n.how = '+'
	}
	at := p.at
	if _, _, again := p.count(); again {
		p.at = at
		return nil, errors.New("repeats a repetition")
	}
	return n, nil
}

// aCount is a count in braces. Python, unlike others, lets the first number out.
var aCount = lazy.Regexp(`^\{(\d*)(,?)(\d*)\}`)

// count reads *, +, ? or {m,n}.
func (p *parser) count() (min, max int, ok bool) {
	switch {
	case p.take("*"):
		return 0, -1, true
	case p.take("+"):
		return 1, -1, true
	case p.take("?"):
		return 0, 1, true
	}
	found := aCount.Get().FindStringSubmatch(p.text[p.at:])
	if found == nil || found[0] == "{}" || len(found[1])+len(found[3]) > 10 {
		return 0, 0, false // a brace like any other character
	}
	p.at += len(found[0])
	number := func(text string, otherwise int) int {
		if text == "" {
			return otherwise
		}
		n, _ := strconv.Atoi(text) // digits, few of them
		return n
	}
	min = number(found[1], 0)
	if max = min; found[2] != "" {
		max = number(found[3], -1)
	}
	return min, max, true
}

// group reads what stands behind an opening parenthesis.
func (p *parser) group() (*node, error) {
	outer := p.flags
	n := &node{op: opGroup}
	if !p.take("?") {
		n = p.capture("")
		return p.closed(n, outer)
	}
	switch {
	case p.take("#"):
		end := strings.IndexByte(p.text[p.at:], ')')
		if end < 0 {
			return nil, errors.New("a comment is not closed")
		}
		p.at += end + 1
		return &node{op: opEmpty}, nil
	case p.take("P<"):
		return p.named(outer)
	case p.take("P="):
		return p.backref()
	case p.take("<=") || p.take("<!"):
		n = &node{op: opLook, behind: true, not: p.text[p.at-1] == '!'}
	case p.native && p.take("<"):
		return p.named(outer)
	case p.take("=") || p.take("!"):
		n = &node{op: opLook, not: p.text[p.at-1] == '!'}
	case p.take(">"):
		n = &node{op: opAtomic}
	case p.take("("):
		return p.cond(outer)
	case p.take(":"):
	default:
		if err := p.localFlags(); err != nil {
			return nil, err
		}
	}
	return p.closed(n, outer)
}

// closed reads the inside of n and the parenthesis behind it.
func (p *parser) closed(n *node, outer flags) (*node, error) {
	inside, err := p.alternate()
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, errors.New("missing )")
	}
	if n.op == opLook && !n.behind {
		inside.endWords()
	}
	n.subs, n.flags = []*node{inside}, p.flags
	p.flags = outer
	return n, nil
}

func (p *parser) capture(name string) *node {
	p.groups = append(p.groups, name)
	return &node{op: opCapture, group: len(p.groups) - 1}
}

// aName is the name of a group.
var aName = lazy.Regexp(`^[A-Za-z_][0-9A-Za-z_]*`)

// name reads the name of a group up to end.
func (p *parser) name(end string) (string, error) {
	name := aName.Get().FindString(p.text[p.at:])
	p.at += len(name)
	if name == "" || !p.take(end) {
		return "", errors.New("a group has no proper name")
	}
	return name, nil
}

func (p *parser) named(outer flags) (*node, error) {
	name, err := p.name(">")
	if err != nil {
		return nil, err
	}
	return p.closed(p.capture(name), outer)
}

func (p *parser) backref() (*node, error) {
	name, err := p.name(")")
	if err != nil {
		return nil, err
	}
	return p.refer(opBackref, name)
}

// refer makes a node that means an earlier group.
func (p *parser) refer(op op, name string) (*node, error) {
	group := p.index(name)
	if number, err := strconv.Atoi(name); err == nil {
		group = number
	}
	if group < 1 || group >= len(p.groups) {
		return nil, fmt.Errorf("there is no group %.60s before", name)
	}
	return &node{op: op, group: group, flags: p.flags}, nil
}

var aReference = lazy.Regexp(`^(?:\d+|[A-Za-z_][0-9A-Za-z_]*)\)`)

// cond reads (?(group)yes|no).
func (p *parser) cond(outer flags) (*node, error) {
	name := aReference.Get().FindString(p.text[p.at:])
	if name == "" {
		return nil, errors.New("a condition has no proper group")
	}
	p.at += len(name)
	n, err := p.refer(opCond, strings.TrimSuffix(name, ")"))
	if err != nil {
		return nil, err
	}
	if n, err = p.closed(n, outer); err != nil {
		return nil, err
	}
	switch inside := n.subs[0]; {
	case inside.op != opAlternate:
		n.subs = []*node{inside, {op: opEmpty}}
	case len(inside.subs) == 2:
		n.subs = inside.subs
	default:
		return nil, errors.New("a condition has more than two branches")
	}
	return n, nil
}

var someFlags = lazy.Regexp(`^([aiLmsux]*)(?:-([imsx]+))?:`)

// localFlags reads i: or i-m:.
func (p *parser) localFlags() error {
	found := someFlags.Get().FindStringSubmatch(p.text[p.at:])
	if found == nil {
		text := p.text[p.at:]
		return fmt.Errorf("unknown kind of group: %.20q", "(?"+text)
	}
	p.at += len(found[0])
	p.set(found[1], true)
	p.set(found[2], false)
	return nil
}
