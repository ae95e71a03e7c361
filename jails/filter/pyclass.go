package filter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape reads what stands behind a backslash outside of classes.
func (p *parser) escape() (*node, error) {
	switch r := p.peek(); r {
	case 'A':
		p.at++
		return &node{op: opTextStart}, nil
	case 'Z', 'z':
		if (r == 'z') != p.native {
			return nil, fmt.Errorf("unknown escape \\%c", r)
		}
		p.at++
		return &node{op: opTextEnd}, nil
	case 'b':
		p.at++
		return &node{op: opBoundary, flags: p.flags}, nil
	case 'B':
		p.at++
		return &node{op: opNoBoundary, flags: p.flags}, nil
	case 'd', 'D', 'w', 'W', 's', 'S':
		p.at++
		return &node{op: opClass, class: &class{items: []classItem{{shorthand: byte(r)}}, ascii: p.flags.ascii}}, nil
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return p.numbered()
	}
	r, err := p.character()
	return p.letter(r), err
}

// numbered reads a back-reference, or three octal digits, which are a character.
func (p *parser) numbered() (*node, error) {
	digits := p.text[p.at : p.at+1]
	if p.at+1 < len(p.text) && isDigit(p.text[p.at+1]) {
		digits = p.text[p.at : p.at+2]
	}
	if r, ok := octal(p.text[p.at:]); ok {
		p.at += 3
		return runeNode(r), nil
	}
	p.at += len(digits)
	return p.refer(opBackref, digits)
}

// octal reads exactly three octal digits.
func octal(text string) (rune, bool) {
	if len(text) < 3 || text[0] > '3' {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:3], 8, 9)
	return rune(n), err == nil
}

// controls are the letters that stand for a character, behind a backslash.
var controls = map[rune]rune{'a': '\a', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// hexes is how many digits follow a letter.
var hexes = map[rune]int{'x': 2, 'u': 4, 'U': 8}

// character reads one character behind a backslash, anywhere.
func (p *parser) character() (rune, error) {
	if p.at >= len(p.text) {
		return 0, errors.New("ends with a backslash")
	}
	r := p.next()
	if control, ok := controls[r]; ok {
		return control, nil
	}
	if p.native && r == 'x' && p.take("{") {
		return p.braced()
	}
	if digits, ok := hexes[r]; ok {
		return p.hex(digits)
	}
	switch {
	case r == '0':
		return p.zero(), nil
	case r < utf8.RuneSelf && isAlnum(byte(r)):
		return 0, fmt.Errorf("unknown escape \\%c", r)
	}
	return r, nil
}

func (p *parser) hex(digits int) (rune, error) {
	text := p.text[p.at:]
	if len(text) >= digits {
		if n, err := strconv.ParseUint(text[:digits], 16, 32); err == nil && utf8.ValidRune(rune(n)) {
			p.at += digits
			return rune(n), nil
		}
	}
	return 0, fmt.Errorf("wants %d hexadecimal digits", digits)
}

// braced reads the rest of \x{FEFF}.
func (p *parser) braced() (rune, error) {
	digits, rest, ok := strings.Cut(p.text[p.at:], "}")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil || !utf8.ValidRune(rune(n)) {
		return 0, errors.New("wants the number of a character in braces")
	}
	p.at = len(p.text) - len(rest)
	return rune(n), nil
}

// zero reads up to two more octal digits behind \0.
func (p *parser) zero() rune {
	r := rune(0)
	for range 2 {
		if next := p.peek(); next < '0' || next > '7' {
			break
		}
		r = 8*r + p.next() - '0'
	}
	return r
}

// class reads a set of characters behind its opening bracket.
func (p *parser) class() (*node, error) {
	n := &node{op: opClass, class: &class{ascii: p.flags.ascii}}
	n.class.not = p.take("^")
	for first := true; first || p.peek() != ']'; first = false {
		item, err := p.classItem()
		if err != nil {
			return nil, err
		}
		n.class.items = append(n.class.items, item)
	}
	p.at++
	if p.foldsAnI() && n.class.holdsAny(anI) {
		n.class.addAnI()
	}
	return n, nil
}

// holdsAny reports whether one of letters is in a range of c.
func (c *class) holdsAny(letters string) bool {
	return slices.ContainsFunc(c.items, func(item classItem) bool {
		return item.shorthand == 0 && strings.ContainsFunc(letters, func(r rune) bool { return item.low <= r && r <= item.high })
	})
}

// classItem reads a character, a shorthand or a range.
func (p *parser) classItem() (classItem, error) {
	low, err := p.member()
	if err != nil || low.shorthand != 0 {
		return low, err
	}
	if !strings.HasPrefix(p.text[p.at:], "-") || strings.HasPrefix(p.text[p.at:], "-]") {
		return low, nil
	}
	p.at++
	high, err := p.member()
	switch {
	case err != nil:
		return high, err
	case high.shorthand != 0 || high.low < low.low:
		return high, errors.New("a range of characters is upside down")
	}
	return classItem{low: low.low, high: high.low}, nil
}

// member reads one end of a range.
func (p *parser) member() (classItem, error) {
	r := p.next()
	if r < 0 {
		return classItem{}, errors.New("missing ]")
	}
	if r != '\\' {
		return classItem{low: r, high: r}, nil
	}
	switch next := p.peek(); next {
	case 'd', 'D', 'w', 'W', 's', 'S':
		p.at++
		return classItem{shorthand: byte(next)}, nil
	case 'b':
		p.at++
		return classItem{low: '\b', high: '\b'}, nil
	}
	if r, ok := octal(p.text[p.at:]); ok {
		p.at += 3
		return classItem{low: r, high: r}, nil
	}
	r, err := p.character()
	return classItem{low: r, high: r}, err
}
