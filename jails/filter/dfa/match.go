package dfa

import "unicode/utf8"

// A finding is the best match that a line is known to have.
type finding struct {
	rule  int // -1: none, or not asked yet: place tells
	end   int
	place uint32 // in the table: of the state at end and what follows; 0: none
}

// Match returns the first regex of the set that matches line; -1: none does.
func (m *Machine) Match(line []byte) (rule int) { return m.MatchFrom(0, line) }

// MatchFrom is Match without the first n regexes.
func (m *Machine) MatchFrom(n int, line []byte) (rule int) {
	return m.match(line, n, len(m.set.rules))
}

// MatchOne is Match with one regex alone.
func (m *Machine) MatchOne(rule int, line []byte) bool { return m.match(line, rule, rule+1) >= 0 }

func (m *Machine) match(line []byte, from, to int) (rule int) {
	m.scan(line, from, to)
	m.found.resolve(m)
	return m.found.rule
}

// Matches is MatchOne for who asks for no group.
func (m *Machine) Matches(rule int, line []byte) bool {
	m.scan(line, rule, rule+1)
	return m.found.rule >= 0 || m.found.place != 0
}

// scan reads line as far as one of the regexes from..to-1 can match and leaves behind the trail and what it found.
func (m *Machine) scan(line []byte, from, to int) {
	m.found, m.lost, m.known = finding{rule: -1}, 0, 0
	entry := m.start(from, to)
	if entry&dead != 0 {
		return
	}
	m.newTrail(len(line))
	at, row := 0, entry&rowOnly
	for row != 0 && at < len(line) {
		if at, row = m.leap(line, at, row); row != 0 {
			at, row = m.read(line, at, row)
		}
	}
	if row != 0 {
		m.arrive(row, columnEnd, at)
	}
}

// read reads a word, or less where a match may end, the states were thrown away or a character is beyond ASCII, or
// more where more keeps the state. Row 0 is the end: no thread is left. Words are remembered.
func (m *Machine) read(line []byte, at int, row uint32) (int, uint32) {
	begins, first, end, clears := at, row, min(at+wordLen, len(line)), m.clears
	for at < end {
		if at, row = m.run(line[:end], at, row); at == end {
			break
		}
		column, width := m.column(line, at)
		clear(m.trail[at+1 : at+width])
		entry := m.arrive(row, column, at)
		ascii := line[at] < utf8.RuneSelf
		at, row = at+width, entry&rowOnly
		if entry&skipped != 0 {
			at = m.skip(line, at, row)
		}
		if entry&matched != 0 || !ascii || clears != m.clears {
			return at, row
		}
		if row == 0 {
			break
		}
	}
	if at == end || row == 0 {
		m.learn(line, begins, first, row)
	}
	return at, row
}

// run reads line from at on while each step leads to a state and nothing else.
func (m *Machine) run(line []byte, at int, row uint32) (int, uint32) {
	table, trail, ofByte := m.table, m.trail, &m.set.alphabet.ofByte
	for ; at < len(line) && at < len(trail); at++ {
		place := row + uint32(ofByte[line[at]])
		entry := table[place]
		trail[at] = place
		if entry > rowOnly {
			break
		}
		row = entry
	}
	return at, row
}

// arrive is the entry for a character of a column at a place of the line, behind which may be the
// end; a match before it is noted.
func (m *Machine) arrive(row, column uint32, at int) (entry uint32) {
	entry = m.table[row+column]
	if entry == unknown {
		row, entry = m.build(row, column, at)
	}
	if at < len(m.trail) {
		m.trail[at] = row + column
	}
	if entry&matched != 0 {
		m.found = finding{rule: -1, end: at, place: row + column}
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
func (m *Machine) newTrail(n int) {
	if cap(m.trail) < n {
		m.trail = make([]uint32, n, n+n/2)
	}
	m.trail = m.trail[:n]
}
