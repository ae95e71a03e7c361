package filter

import (
	"encoding/binary"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// A shape is a regex as a tree in which a tag is one character of its own, so that what
// the regex says can be told from what the tag stands for.
type shape struct {
	tree    *syntax.Regexp
	whole   bool             // nothing was left out: look-around and the like are
	meaning map[rune]string  // the regexes of the tags
	names   map[rune]string  // the tags as written
	begins  bool             // every match begins where the text does
	ends    bool             // every match ends where the text does
	row     []*syntax.Regexp // what stands in a row in tree
	groups  []string         // names of the groups where tree has others or none, by index
}

// firstMark is the first character that stands for a tag: one for private use.
const firstMark rune = 0xE000

// headerMark stands for <PREFIX>. The marks of all others, which find whom, follow by name.
const headerMark = firstMark

// shape is the shape of a regex as written. The error is about its tags or its syntax.
func (c *compiler) shape(written string) (*shape, error) {
	s := &shape{meaning: make(map[rune]string), names: make(map[rune]string)}
	read := s.native
	if c.dialect == Fail2ban {
		read = s.fail2ban
	}
	expr, err := read(c, written)
	if err != nil {
		return nil, err
	}
	if s.tree, err = treeWith(expr, nil); err != nil { // without forms: it is changed
		return nil, err
	}
	shorten(s.tree)
	s.row = row(s.tree, nil)
	s.begins, s.ends = atBegin(s.tree), atEnd(s.tree)
	return s, nil
}

// shorten writes {0,}, {1,} and {0,1} as *, + and ?.
func shorten(re *syntax.Regexp) {
	if re.Op == syntax.OpRepeat {
		switch {
		case re.Min == 0 && re.Max < 0:
			re.Op = syntax.OpStar
		case re.Min == 1 && re.Max < 0:
			re.Op = syntax.OpPlus
		case re.Min == 0 && re.Max == 1:
			re.Op = syntax.OpQuest
		}
	}
	for _, sub := range re.Sub {
		shorten(sub)
	}
}

// native is a regex of our dialect with marks for tags, as package syntax reads it.
func (s *shape) native(c *compiler, written string) (string, error) {
	marks := make(map[string]string)
	for n, tag := range slices.Sorted(maps.Keys(c.tags)) {
		marks[tag] = s.mark(tag, c.tags[tag], n)
	}
	marked, err := expand(written, marks)
	s.whole = !looksAround.Get().MatchString(marked)
	if err != nil || s.whole {
		return marked, err
	}
	p, err := nativePattern(marked)
	if err != nil {
		return "", err
	}
	s.groups = p.groups
	return p.widerWithGroups(), nil
}

// mark is what stands in a shape for a tag, the nth of all. Tags that find nobody are what they mean.
func (s *shape) mark(tag, meaning string, n int) string {
	mark := headerMark + 1 + rune(n)
	switch {
	case tag == "<PREFIX>":
		mark = headerMark
	case !strings.Contains(meaning, "(?P<"+hostGroup+">"):
		return meaning
	}
	s.meaning[mark], s.names[mark] = meaning, tag
	return string(mark)
}

// fail2banHosts are the tags of fail2ban's that find an address, in order, and what they stand for as an automaton reads it.
var fail2banHosts = sync.OnceValues(func() (names, meanings []string) {
	for _, name := range slices.Sorted(maps.Keys(fail2banTags)) {
		meaning := fail2banTags[name]
		if !strings.Contains(meaning, f2bIP4) && !strings.Contains(meaning, f2bIP6) {
			continue
		}
		p, err := pythonPattern(meaning, false)
		if err != nil {
			panic(err) // part of the program, as a regex that does not compile
		}
		names, meanings = append(names, name), append(meanings, "(?-i:"+p.write(Linear)+")")
	}
	return names, meanings
})

// fail2ban is a regex of fail2ban's with marks for the tags that find an address.
func (s *shape) fail2ban(c *compiler, written string) (string, error) {
	names, meanings := fail2banHosts()
	marked := fail2banTag.Get().ReplaceAllStringFunc(written, func(tag string) string {
		n, ok := slices.BinarySearch(names, tag[1:len(tag)-1])
		if !ok {
			return tag
		}
		mark := headerMark + 1 + rune(n)
		s.meaning[mark], s.names[mark] = meanings[n], tag
		return string(mark)
	})
	p, err := pythonPattern(expandFail2ban(marked), c.multi)
	if err != nil {
		return "", err
	}
	s.groups = p.groups
	if s.whole = !p.backtracks; s.whole {
		return p.write(Linear), nil
	}
	return p.widerWithGroups(), nil
}

// group is the name of the group re; "": it has none.
func (s *shape) group(re *syntax.Regexp) string {
	if s.groups == nil {
		return groupName(re.Name)
	}
	for i, name := range s.groups {
		if re.Name == groupLabel(i) || re.Name == "" && re.Cap == i {
			return groupName(name)
		}
	}
	return ""
}

// findsHost reports whether mark finds whom.
func (s *shape) findsHost(mark rune) bool {
	_, ok := s.names[mark]
	return ok && mark != headerMark
}

// regex is re, a part of s, with what its tags stand for.
func (s *shape) regex(re *syntax.Regexp) string {
	text := spelled(re)
	for mark, meaning := range s.meaning {
		text = strings.ReplaceAll(text, escaped(mark), meaning)
	}
	return text
}

// written is re, a part of s, as people would write it.
func (s *shape) written(re *syntax.Regexp) string {
	text := spelledBy(re, classText)
	for mark, name := range s.names {
		text = strings.ReplaceAll(text, escaped(mark), name)
	}
	return unflagged.Replace(text)
}

// classTexts are classes as String writes them, by their ranges. Few are not \S, \d or [^"].
var classTexts sync.Map

// classText is what String says of a class, for which it looks at every character that the class has: of what a class leaves out,
// if that is how it was written, there are fewer.
func classText(ranges []rune) string {
	var name []byte
	for _, r := range ranges {
		name = binary.LittleEndian.AppendUint32(name, uint32(r))
	}
	key := string(name)
	if text, ok := classTexts.Load(key); ok {
		return text.(string)
	}
	text := ""
	if others := complement(ranges); others != nil {
		text = "[^" + (&syntax.Regexp{Op: syntax.OpCharClass, Rune: others}).String()[len("["):]
	} else {
		text = (&syntax.Regexp{Op: syntax.OpCharClass, Rune: ranges}).String()
	}
	classTexts.Store(key, text)
	return text
}

// complement is what ranges leave out, where they begin and end with the first and the last character there is.
func complement(ranges []rune) []rune {
	last := len(ranges) - 1
	if last < 2 || ranges[0] != 0 || ranges[last] != unicode.MaxRune {
		return nil
	}
	var others []rune
	for i := 1; i < last; i += 2 {
		others = append(others, ranges[i]+1, ranges[i+1]-1)
	}
	return others
}

// escaped is how a syntax.Regexp writes a mark.
func escaped(mark rune) string { return fmt.Sprintf(`\x{%x}`, mark) }

// unflagged takes out what a syntax.Regexp adds to what has been written.
var unflagged = strings.NewReplacer("(?-s:.)", ".", "(?s:.)", ".", "(?-s:.*)", ".*", "(?-s:.+)", ".+", "(?-s:.*?)", ".*?",
	`[^\t-\r\x1c- \x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]`, `\S`,
	`[^\t\n\f\r ]`, `\S`, `[\t\n\f\r ]`, `\s`, `[0-9]`, `\d`, `[0-9A-Z_a-z]`, `\w`, `(?-m:$)`, `$`)

// row lists what stands in a row in re, groups that have only one thing in them opened.
func row(re *syntax.Regexp, list []*syntax.Regexp) []*syntax.Regexp {
	switch re.Op {
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			list = row(sub, list)
		}
		return list
	case syntax.OpCapture:
		return row(re.Sub[0], list)
	case syntax.OpEmptyMatch:
		return list
	case syntax.OpLiteral:
		return append(list, splitMarks(re)...)
	}
	return append(list, re)
}

// splitMarks cuts a literal into text and marks.
func splitMarks(re *syntax.Regexp) []*syntax.Regexp {
	if !slices.ContainsFunc(re.Rune, isMark) {
		return []*syntax.Regexp{re}
	}
	var parts []*syntax.Regexp
	from := 0
	part := func(to int) {
		if to > from {
			parts = append(parts, &syntax.Regexp{Op: syntax.OpLiteral, Flags: re.Flags, Rune: re.Rune[from:to]})
		}
		from = to
	}
	for i, r := range re.Rune {
		if isMark(r) {
			part(i)
			part(i + 1)
		}
	}
	part(len(re.Rune))
	return parts
}

func isMark(r rune) bool { return r >= firstMark && r < firstMark+100 }

// atBegin reports whether whatever matches re begins where the text does.
func atBegin(re *syntax.Regexp) bool { return atEdge(re, syntax.OpBeginText, false) }

// atEnd reports whether whatever matches re ends where the text does.
func atEnd(re *syntax.Regexp) bool { return atEdge(re, syntax.OpEndText, true) }

func atEdge(re *syntax.Regexp, edge syntax.Op, last bool) bool {
	switch re.Op {
	case edge:
		return true
	case syntax.OpCapture, syntax.OpPlus:
		return atEdge(re.Sub[0], edge, last)
	case syntax.OpConcat:
		return slicesEdge(re.Sub, edge, last)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if !atEdge(sub, edge, last) {
				return false
			}
		}
		return true
	}
	return false
}

// slicesEdge looks for an edge at the outermost of subs that has any width.
func slicesEdge(subs []*syntax.Regexp, edge syntax.Op, last bool) bool {
	for i := range subs {
		sub := subs[i]
		if last {
			sub = subs[len(subs)-1-i]
		}
		if atEdge(sub, edge, last) {
			return true
		}
		if !widthless(sub) {
			return false
		}
	}
	return false
}

func widthless(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	}
	return false
}

// isWild reports whether re takes text of nearly any kind and length: what a client may
// have written. Classes that say exactly what a daemon writes, as \d or [0-9a-f], are not wild.
func isWild(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		return isWide(re.Sub[0])
	case syntax.OpRepeat:
		return (re.Max < 0 || re.Max >= len("192.0.2.7")) && isWide(re.Sub[0])
	}
	return false
}

// isWide reports whether re takes nearly every character.
func isWide(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpCharClass:
		return printable(re.Rune) >= wide
	case syntax.OpCapture:
		return isWide(re.Sub[0])
	case syntax.OpAlternate: // (?:[^"\\]|\\.)*
		for _, sub := range re.Sub {
			if isWide(sub) {
				return true
			}
		}
	}
	return false
}

// wide is how many of the 95 printing characters of ASCII a class has that excludes a few.
const wide = 80

// printable counts the printing characters of ASCII in the ranges of a class.
func printable(ranges []rune) int {
	n := 0
	for i := 0; i+1 < len(ranges) && ranges[i] <= '~'; i += 2 { // they are sorted
		n += max(0, int(min(ranges[i+1], '~')-max(ranges[i], ' '))+1)
	}
	return n
}

func inRanges(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}
