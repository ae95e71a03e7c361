package filter

import (
	"bytes"
	"regexp/syntax"
	"unicode/utf8"
)

// literals are texts that every match of a regex holds, one behind the other.
func literals(parsed *syntax.Regexp) [][]byte {
	var run literalRun
	run.add(parsed)
	run.end()
	return run.texts
}

// fewTimes is how many repetitions of a text count for its length.
const fewTimes = 4

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
	case syntax.OpRepeat:
		for range min(re.Min, fewTimes) {
			l.add(re.Sub[0])
		}
		if re.Max != re.Min || re.Min > fewTimes {
			l.end()
		}
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

// needs are the literals of a regex, and the longest of them: the one that fewest lines hold.
type needs struct {
	texts  [][]byte
	rarest []byte
}

func needsOf(parsed *syntax.Regexp) needs {
	n := needs{texts: literals(parsed)}
	for _, text := range n.texts {
		if len(text) > len(n.rarest) {
			n.rarest = text
		}
	}
	return n
}

// in reports whether line holds the literals, one behind the other.
func (n needs) in(line []byte) bool {
	if !bytes.Contains(line, n.rarest) {
		return false
	}
	for _, text := range n.texts {
		at := bytes.Index(line, text)
		if at < 0 {
			return false
		}
		line = line[at+len(text):]
	}
	return true
}
