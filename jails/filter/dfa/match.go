package dfa

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// A finding is the best match that a line is known to have.
type finding struct {
	rule        int // -1: none, or the rule is that of a thread of row
	end         int
	row, column uint32 // the state at end and what follows; 0: none
}

// Match returns the first regex of the set that matches line, and where its group "host" begins
// and ends; -1, -1 if it has none there. Rule -1 is no match.
func (m *Machine) Match(line []byte) (rule, from, to int) {
	m.scan(line)
	m.found.resolve(m)
	if m.found.rule < 0 {
		return -1, -1, -1
	}
	from, to = m.group(line)
	return m.found.rule, from, to
}

// scan reads line as far as something can match and leaves behind the trail and what it found.
func (m *Machine) scan(line []byte) {
	m.found, m.lost = finding{rule: -1}, 0
	entry := m.start()
	if entry&dead != 0 {
		return
	}
	trail := m.newTrail(len(line))
	ofByte := &m.set.alphabet.ofByte
	row := entry & rowOnly
	for at := 0; ; {
		table := m.table
		for ; at < len(line) && at < len(trail); at++ {
			entry = table[row+uint32(ofByte[line[at]])]
			trail[at] = row
			if entry > rowOnly {
				break
			}
			row = entry
		}
		if at >= len(line) {
			m.arrive(row, columnEnd, at)
			return
		}
		column, width := m.column(line, at)
		clear(trail[at+1 : at+width])
		entry = m.arrive(row, column, at)
		if entry&dead != 0 {
			return
		}
		row = entry & rowOnly
		at += width
		if entry&skipped != 0 {
			at = m.pass(line, trail, row, at)
		}
	}
}

// arrive is the entry for a character of a column at a place of the line, behind which may be the
// end; a match before it is noted.
func (m *Machine) arrive(row, column uint32, at int) (entry uint32) {
	entry = m.table[row+column]
	if entry == unknown {
		row, entry = m.build(row, column, at)
		if at < len(m.trail) {
			m.trail[at] = row
		}
	}
	if entry&matched != 0 {
		m.found = finding{rule: -1, end: at, row: row, column: column}
	}
	return entry
}

// column is the column of the character at a place of the line, and its length.
func (m *Machine) column(line []byte, at int) (column uint32, width int) {
	if b := line[at]; b < utf8.RuneSelf {
		return uint32(m.set.alphabet.ofByte[b]), 1
	}
	r, width := utf8.DecodeRune(line[at:])
	return m.set.alphabet.wide(r), width
}

// newTrail makes room for the trail of a line of n bytes.
func (m *Machine) newTrail(n int) []uint32 {
	if cap(m.trail) < n {
		m.trail = make([]uint32, n, n+n/2)
	}
	m.trail = m.trail[:n]
	return m.trail
}

// high is the highest bit of each byte of a word.
const high = 0x80 * ones

// pass is the place behind the characters that keep the state of row, as far as whole words go. A
// subtraction borrows from the bytes above alone, so that the lowest bit that is set is right.
func (m *Machine) pass(line []byte, trail []uint32, row uint32, at int) int {
	s := &m.skips[m.table[row+columnState]]
	for len(line)-at >= 8 {
		w := binary.LittleEndian.Uint64(line[at:])
		a, b := w^s.a, w^s.b
		stops := ((w - s.low) | w | ((a - ones) &^ a) | ((b - ones) &^ b)) & high
		n := bits.TrailingZeros64(stops) / 8
		for i := range trail[at : at+n] {
			trail[at+i] = row
		}
		at += n
		if n < 8 {
			break
		}
	}
	return at
}
