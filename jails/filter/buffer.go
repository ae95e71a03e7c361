package filter

import (
	"bytes"
	"slices"
)

// A buffer is the last lines of a log, for rules that see several.
type buffer struct {
	most  int // how many; 1: just the line that is being read
	lines [][]byte
}

// mostBuffered bounds what a buffer holds, in bytes; the oldest lines go first.
const mostBuffered = 256 << 10

// add adds a line, which is copied unless it is the only one.
func (b *buffer) add(line []byte) {
	if b.most == 1 {
		b.lines = append(b.lines[:0], line)
		return
	}
	b.lines = append(b.lines, bytes.Clone(line))
	size := 0
	for i := len(b.lines) - 1; i >= 0; i-- {
		size += len(b.lines[i])
		if len(b.lines)-i > b.most || size > mostBuffered && i < len(b.lines)-1 {
			b.lines = slices.Clone(b.lines[i+1:])
			return
		}
	}
}

// replace puts what prefregex has left of the lines in their place.
func (b *buffer) replace(content []byte) {
	if b.most > 1 {
		b.lines = [][]byte{bytes.Clone(content)}
	}
}

// text is all lines, each with its break, written into *to.
func (b *buffer) text(to *[]byte) []byte {
	*to = (*to)[:0]
	for _, line := range b.lines {
		*to = append(append(*to, line...), '\n')
	}
	return *to
}

// split tells those of lines that found is in from the others. Lines that <SKIPLINES> passed over
// are among the others.
func split(lines [][]byte, found *capture) (matched, others [][]byte) {
	if len(lines) <= 1 {
		return lines, lines[:0]
	}
	text := found.text
	begins, ends := found.group(0)
	from := bytes.LastIndexByte(text[:min(begins+1, len(text))], '\n') + 1
	to := len(text)
	if end := ends - 1; end >= 0 {
		if at := bytes.IndexByte(text[end:], '\n'); at >= 0 {
			to = end + at + 1
		}
	}
	first := min(bytes.Count(text[:from], []byte("\n")), len(lines))
	last := min(max(bytes.Count(text[:to], []byte("\n")), first), len(lines))
	matched, others = slices.Clone(lines[first:last]), slices.Clone(lines[:first])
	at := 0
	for _, passed := range passedOver(found) {
		if i := indexLine(matched[at:], passed); i >= 0 {
			at += i
			others = append(others, matched[at])
			matched = slices.Delete(matched, at, at+1)
		}
	}
	return matched, append(others, lines[last:]...)
}

// passedOver are the lines in all groups of <SKIPLINES>.
func passedOver(found *capture) [][]byte {
	var lines [][]byte
	for i, name := range found.rule.groups {
		from, to := found.group(i)
		if name != skipped || from < 0 {
			continue
		}
		for line := range bytes.Lines(found.text[from:to]) {
			lines = append(lines, bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	return lines
}

func indexLine(lines [][]byte, line []byte) int {
	return slices.IndexFunc(lines, func(l []byte) bool { return bytes.Equal(l, line) })
}
