package filter

import (
	"bytes"
	"regexp/syntax"
	"unicode/utf8"
)

// literals are texts that every match of expr holds, one behind the other.
func literals(expr string) [][]byte {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	var run literalRun
	run.add(parsed.Simplify())
	run.end()
	return run.texts
}

// shortest is the length of the shortest literal that is worth looking for.
const shortest = 3

// A literalRun collects text that must stand in a row.
type literalRun struct {
	current []rune
	texts   [][]byte
}

func (l *literalRun) end() {
	if text := []byte(string(l.current)); len(text) >= shortest {
		l.texts = append(l.texts, text)
	}
	l.current = l.current[:0]
}

func (l *literalRun) add(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		l.addText(re)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			l.add(sub)
		}
	case syntax.OpCapture:
		l.add(re.Sub[0])
	case syntax.OpPlus:
		l.end()
		l.add(re.Sub[0])
		l.end()
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		// No width: what stands before and behind stands in a row.
	default:
		l.end()
	}
}

// addText adds a literal, except where lines may write it in more than one way: in either
// case, or as a byte that is not UTF-8, which a regex takes for U+FFFD.
func (l *literalRun) addText(re *syntax.Regexp) {
	if re.Flags&syntax.FoldCase != 0 {
		l.end()
		return
	}
	for _, r := range re.Rune {
		if r == utf8.RuneError {
			l.end()
			continue
		}
		l.current = append(l.current, r)
	}
}

// longest is the longest of texts: the one that fewest lines hold.
func longest(texts [][]byte) []byte {
	var best []byte
	for _, text := range texts {
		if len(text) > len(best) {
			best = text
		}
	}
	return best
}

// holds reports whether line holds texts, one behind the other.
func holds(line []byte, texts [][]byte) bool {
	for _, text := range texts {
		at := bytes.Index(line, text)
		if at < 0 {
			return false
		}
		line = line[at+len(text):]
	}
	return true
}
