package filter

import (
	"fmt"
	"regexp/syntax"
	"strings"
)

// firstClass is the first character that stands for a class in spelled: one for private use,
// in another plane than the marks of tags.
const firstClass rune = 0xF0000

// spelled is re as text that means the same. It is what re.String says but for classes: of these
// String looks at every character to find out whether it has another case.
func spelled(re *syntax.Regexp) string { return spelledBy(re, classOf) }

// spelledBy is spelled, with classes as spell writes them.
func spelledBy(re *syntax.Regexp, spell func(ranges []rune) string) string {
	var classes []string
	text := withoutClasses(re, spell, &classes).String()
	if len(classes) == 0 {
		return text
	}
	var b strings.Builder
	for i, class := range classes { // they come one behind the other
		before, behind, _ := strings.Cut(text, escaped(firstClass+rune(i)))
		b.WriteString(before)
		b.WriteString(class)
		text = behind
	}
	return b.String() + text
}

// withoutClasses is re with a character for each class. What each stands for is appended to classes.
func withoutClasses(re *syntax.Regexp, spell func(ranges []rune) string, classes *[]string) *syntax.Regexp {
	if re.Op == syntax.OpCharClass && len(re.Rune) > 0 {
		mark := firstClass + rune(len(*classes))
		*classes = append(*classes, spell(re.Rune))
		return &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{mark}}
	}
	if len(re.Sub) == 0 {
		return re
	}
	copied := *re
	copied.Sub = make([]*syntax.Regexp, len(re.Sub))
	for i, sub := range re.Sub {
		copied.Sub[i] = withoutClasses(sub, spell, classes)
	}
	return &copied
}

// classOf is the regex of the characters in ranges, which has those of either case already.
func classOf(ranges []rune) string {
	var b strings.Builder
	b.WriteString("(?-i:[")
	for i := 0; i+1 < len(ranges); i += 2 {
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, ranges[i], ranges[i+1])
	}
	b.WriteString("])")
	return b.String()
}
