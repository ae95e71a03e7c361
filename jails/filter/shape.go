package filter

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
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
}

// firstMark is the first character that stands for a tag: one for private use.
const firstMark rune = 0xE000

// headerMark stands for <PREFIX>. The marks of all others, which find whom, follow by name.
const headerMark = firstMark

// newShape is the shape of a regex as written, whose tags stand for what tags says. The error
// is that of package syntax, about a regex without its look-around, or about its tags.
func newShape(written string, tags map[string]string) (*shape, error) {
	s := &shape{meaning: make(map[rune]string), names: make(map[rune]string)}
	marks := make(map[string]string)
	for n, tag := range slices.Sorted(maps.Keys(tags)) {
		marks[tag] = s.mark(tag, tags[tag], n)
	}
	marked, err := expand(written, marks)
	if err != nil {
		return nil, err
	}
	plain := withoutLookaround(marked)
	s.whole = plain == marked
	tree, err := syntax.Parse(plain, syntax.Perl)
	if err != nil {
		return nil, err
	}
	s.tree = tree
	s.row = row(tree, nil)
	s.begins, s.ends = atBegin(tree), atEnd(tree)
	return s, nil
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

// findsHost reports whether mark finds whom.
func (s *shape) findsHost(mark rune) bool {
	_, ok := s.names[mark]
	return ok && mark != headerMark
}

// regex is re, a part of s, with what its tags stand for.
func (s *shape) regex(re *syntax.Regexp) string {
	text := re.String()
	for mark, meaning := range s.meaning {
		text = strings.ReplaceAll(text, escaped(mark), meaning)
	}
	return text
}

// written is re, a part of s, as people would write it.
func (s *shape) written(re *syntax.Regexp) string {
	text := re.String()
	for mark, name := range s.names {
		text = strings.ReplaceAll(text, escaped(mark), name)
	}
	return unflagged.Replace(text)
}

// escaped is how a syntax.Regexp writes a mark.
func escaped(mark rune) string { return fmt.Sprintf(`\x{%x}`, mark) }

// unflagged takes out what a syntax.Regexp adds to what has been written.
var unflagged = strings.NewReplacer("(?-s:.)", ".", "(?s:.)", ".", "(?-s:.*)", ".*", "(?-s:.+)", ".+", "(?-s:.*?)", ".*?",
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
	for r := ' '; r <= '~'; r++ {
		if inRanges(ranges, r) {
			n++
		}
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

// lookaround begins what package syntax does not know.
var lookaround = regexp.MustCompile(`^\(\?(?:<?[=!]|>|#|\(\w+\))`)

// reference is a back-reference.
var reference = regexp.MustCompile(`^(?:\(\?P=\w+\)|\\k<\w+>|\\k'\w+'|\\[1-9])`)

// withoutLookaround is regex without what looks at text and takes none; (?>x) becomes
// (?:x), (?(group)a|b) becomes (?:a|b), a back-reference any word.
func withoutLookaround(regex string) string {
	var b strings.Builder
	for at := 0; at < len(regex); {
		rest := regex[at:]
		if ref := reference.FindString(rest); ref != "" {
			b.WriteString(`\S*?`)
			at += len(ref)
			continue
		}
		if n := token(rest); n > 1 || rest[0] != '(' {
			b.WriteString(rest[:n])
			at += n
			continue
		}
		kind := lookaround.FindString(rest)
		switch {
		case kind == "":
			b.WriteByte('(')
			at++
		case kind == "(?>" || strings.HasPrefix(kind, "(?("):
			b.WriteString("(?:")
			at += len(kind)
		default:
			at += groupLength(rest)
		}
	}
	return b.String()
}

// token is the length of the first thing in regex that brackets mean nothing in: an
// escaped character, a class; or one character.
func token(regex string) int {
	switch regex[0] {
	case '\\':
		_, n := utf8.DecodeRuneInString(regex[1:])
		return 1 + n
	case '[':
		return classLength(regex)
	}
	_, n := utf8.DecodeRuneInString(regex)
	return n
}

// classLength is the length of the class that regex begins with.
func classLength(regex string) int {
	at := 1
	if strings.HasPrefix(regex[at:], "^") {
		at++
	}
	if strings.HasPrefix(regex[at:], "]") {
		at++
	}
	for at < len(regex) && regex[at] != ']' {
		switch {
		case regex[at] == '\\':
			at++
		case strings.HasPrefix(regex[at:], "[:"):
			if end := strings.Index(regex[at:], ":]"); end > 0 {
				at += end + 1
			}
		}
		at++
	}
	return min(at+1, len(regex))
}

// groupLength is the length of the group that regex begins with.
func groupLength(regex string) int {
	depth, at := 0, 0
	for at < len(regex) {
		switch regex[at] {
		case '(':
			depth++
		case ')':
			depth--
		}
		at += token(regex[at:])
		if depth == 0 {
			return at
		}
	}
	return len(regex)
}
