package filter

import (
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
)

// Some parts of regexes take package syntax long, and it meets them again and again: <PREFIX>, in each rule of a filter, what stands
// in the groups of fail2ban's <HOST>, and classes with Python's \w in them, of which it sorts some 700 ranges. So they are parsed once,
// alone, and put into the tree of a regex, which has characters for private use in their place.

// parseMarked parses expr with parts in place of its marks, the characters from firstClass on: one for each. nil: package syntax has made
// one thing of a mark and others, as in a|b, or does not take expr.
func parseMarked(expr string, parts ...*syntax.Regexp) *syntax.Regexp {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil || putParts(tree, parts) != len(parts) {
		return nil
	}
	return tree
}

// mostParts is how many parts of a regex have marks.
const mostParts = 100

// hasMarks reports whether what might be a mark stands in expr already.
func hasMarks(expr string) bool {
	return strings.ContainsFunc(expr, func(r rune) bool { return r >= firstClass && r < firstClass+mostParts })
}

// putParts puts parts into tree in place of their marks, and says how many marks there were.
func putParts(tree *syntax.Regexp, parts []*syntax.Regexp) (found int) {
	for _, sub := range tree.Sub {
		found += putParts(sub, parts)
	}
	isMark := func(r rune) bool { return r >= firstClass && r < firstClass+rune(len(parts)) }
	if tree.Op != syntax.OpLiteral || tree.Flags&syntax.FoldCase != 0 || !slices.ContainsFunc(tree.Rune, isMark) {
		return found
	}
	var row []*syntax.Regexp
	from, runes := 0, slices.Clone(tree.Rune) // those of a short text are in tree itself
	text := func(to int) {
		if to > from {
			row = append(row, &syntax.Regexp{Op: syntax.OpLiteral, Flags: tree.Flags, Rune: runes[from:to]})
		}
		from = to + 1
	}
	for i, r := range runes {
		if isMark(r) {
			text(i)
			row = append(row, parts[r-firstClass])
			found++
		}
	}
	if text(len(runes)); len(row) == 1 {
		*tree = *row[0]
	} else {
		*tree = syntax.Regexp{Op: syntax.OpConcat, Flags: tree.Flags, Sub: row}
	}
	return found
}

// hasFlags reports whether expr has something like (?i) or (?s:a), where a part may mean another thing.
func hasFlags(expr string) bool {
	for {
		_, behind, found := strings.Cut(expr, "(?")
		if !found || strings.TrimLeft(behind, "imsU-") != behind {
			return found
		}
		expr = behind
	}
}

// wideClass is what is in classes that have marks.
const wideClass = `\p{L}`

// syntaxTree is syntax.Parse of a regex that a writer wrote. Nobody but writers writes a character as \x{F0000} there, and they do not.
func syntaxTree(expr string) (*syntax.Regexp, error) {
	return treeWith(expr, hostForms())
}

// treeWith is syntaxTree with what is known of forms.
func treeWith(expr string, forms []form) (*syntax.Regexp, error) {
	if marked, parts := markParts(expr, forms); len(parts) > 0 {
		if tree := parseMarked(marked, parts...); tree != nil {
			return tree, nil
		}
	}
	return syntax.Parse(expr, syntax.Perl)
}

// A form is a part of a regex that stands at the end of a group, and may follow something there.
type form struct {
	text string // as a writer writes it
	tree *syntax.Regexp
}

// hostForms are what stands in the groups of <HOST>.
var hostForms = sync.OnceValue(func() []form {
	var forms []form
	for _, regex := range []string{fourForm, sixForm, nameForm} {
		p, err := pythonPattern(regex, false)
		if err != nil {
			panic(err) // part of the program, as a regex that does not compile
		}
		text := strings.TrimSuffix(strings.TrimPrefix(p.write(Linear), "(?:"), ")") // it is in no group
		tree, err := treeWith(text, nil)
		if err != nil {
			panic(err)
		}
		forms = append(forms, form{text, tree})
	}
	return forms
})

// markParts puts a mark in place of each form and each wide class. There is none where case does not matter, on which classes depend.
func markParts(expr string, forms []form) (marked string, parts []*syntax.Regexp) {
	if strings.Contains(expr, "(?i") || hasMarks(expr) {
		return expr, nil
	}
	var b strings.Builder
	for at := 0; at < len(expr); {
		part, tree := nextPart(expr[at:], forms)
		at += len(part)
		if tree == nil || len(parts) == mostParts {
			b.WriteString(part)
			continue
		}
		b.WriteRune(firstClass + rune(len(parts)))
		parts = append(parts, tree)
	}
	return b.String(), parts
}

// nextPart is what expr begins with, a form, a class, an escape, or a byte, and its tree where that is known.
func nextPart(expr string, forms []form) (string, *syntax.Regexp) {
	if expr[0] == '(' { // as forms begin
		for _, form := range forms {
			if behind, ok := strings.CutPrefix(expr, form.text); ok && strings.HasPrefix(behind, ")") {
				return form.text, form.tree
			}
		}
	}
	part := expr[:classLength(expr)]
	return part, parsedClass(part)
}

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

// parsedClasses are wide classes, by what is written for them.
var parsedClasses sync.Map

// parsedClass is a class; nil: it is none, or not wide.
func parsedClass(class string) *syntax.Regexp {
	if class[0] != '[' || !strings.Contains(class, wideClass) {
		return nil
	}
	if known, ok := parsedClasses.Load(class); ok {
		return known.(*syntax.Regexp)
	}
	tree, err := syntax.Parse(class, syntax.Perl)
	if err != nil || tree.Op != syntax.OpCharClass {
		return nil
	}
	parsedClasses.Store(class, tree)
	return tree
}
