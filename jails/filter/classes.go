package filter

import (
	"regexp/syntax"
	"strings"
	"sync"
)

// Of a class that has Python's \w in it package syntax sorts some 700 ranges, each time that it meets one, and a rule of
// fail2ban's has several. So such classes are parsed once, alone, and put into the tree of a regex where it has characters
// for private use in their place.

// wideClass is what is in those classes.
const wideClass = `\p{L}`

// syntaxTree is syntax.Parse of a regex that a writer wrote.
func syntaxTree(expr string) (*syntax.Regexp, error) {
	if marked, classes := markClasses(expr); len(classes) > 0 {
		tree, err := syntax.Parse(marked, syntax.Perl)
		if err == nil && unmarkClasses(tree, classes) == len(classes) {
			return tree, nil
		}
	}
	return syntax.Parse(expr, syntax.Perl)
}

// markClasses puts a character in place of each wide class, another one each, so that none gets lost unnoticed. There is none
// where case does not matter, on which classes depend.
func markClasses(expr string) (marked string, classes [][]rune) {
	if !strings.Contains(expr, wideClass) || strings.Contains(expr, "(?i") || strings.ContainsFunc(expr, isClassMark) {
		return expr, nil
	}
	var b strings.Builder
	for at := 0; at < len(expr); {
		part := expr[at : at+classLength(expr[at:])]
		at += len(part)
		ranges := wideRanges(part)
		if ranges == nil || len(classes) == classMarks {
			b.WriteString(part)
			continue
		}
		b.WriteRune(firstClass + rune(len(classes)))
		classes = append(classes, ranges)
	}
	return b.String(), classes
}

// classMarks is how many classes of a regex are marked.
const classMarks = 100

func isClassMark(r rune) bool { return r >= firstClass && r < firstClass+classMarks }

// classLength is the length of what a regex begins with: a class, an escape, or a byte.
func classLength(expr string) int {
	switch {
	case expr[0] == '\\':
		return min(2, len(expr))
	case expr[0] != '[':
		return 1
	}
	for at := 1; at < len(expr); at++ {
		switch expr[at] {
		case '\\':
			at++
		case ']':
			return at + 1
		}
	}
	return len(expr)
}

// knownRanges are the characters of wide classes, by what is written for them.
var knownRanges sync.Map

// wideRanges are the characters of a class; nil: it is none, or not wide.
func wideRanges(class string) []rune {
	if class[0] != '[' || !strings.Contains(class, wideClass) {
		return nil
	}
	if ranges, ok := knownRanges.Load(class); ok {
		return ranges.([]rune)
	}
	tree, err := syntax.Parse(class, syntax.Perl)
	if err != nil || tree.Op != syntax.OpCharClass {
		return nil
	}
	knownRanges.Store(class, tree.Rune)
	return tree.Rune
}

// unmarkClasses puts classes into tree in place of their marks, and says how many marks there were. There are fewer than classes where
// package syntax has made one thing of a mark and others, as in a|b.
func unmarkClasses(tree *syntax.Regexp, classes [][]rune) (found int) {
	for _, sub := range tree.Sub {
		found += unmarkClasses(sub, classes)
	}
	if tree.Op != syntax.OpLiteral || tree.Flags&syntax.FoldCase != 0 {
		return found
	}
	var parts []*syntax.Regexp
	from := 0
	for i, r := range tree.Rune {
		if !isClassMark(r) {
			continue
		}
		if i > from {
			parts = append(parts, &syntax.Regexp{Op: syntax.OpLiteral, Flags: tree.Flags, Rune: tree.Rune[from:i]})
		}
		parts = append(parts, &syntax.Regexp{Op: syntax.OpCharClass, Flags: tree.Flags, Rune: classes[r-firstClass]})
		found, from = found+1, i+1
	}
	switch {
	case len(parts) == 0:
		return found
	case from < len(tree.Rune):
		parts = append(parts, &syntax.Regexp{Op: syntax.OpLiteral, Flags: tree.Flags, Rune: tree.Rune[from:]})
	}
	if len(parts) == 1 {
		*tree = *parts[0]
	} else {
		*tree = syntax.Regexp{Op: syntax.OpConcat, Flags: tree.Flags, Sub: parts}
	}
	return found
}
