package dfa

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// wordLen is how many bytes are read at once where that is possible.
const wordLen = 8

// A memory is a word that has been read before: from a state, past others, to the next. Most of what
// daemons write is read so.
type memory struct {
	text  uint64
	row   uint32 // 0: nothing is remembered here
	next  uint32 // 0: no thread is left
	trail [wordLen]uint32
}

// maxMemories is a power of two. More of them leave the processor's nearest cache.
const maxMemories = 1 << 9

// leap reads words that are remembered.
func (m *Machine) leap(line []byte, at int, row uint32) (int, uint32) {
	for len(line)-at >= wordLen && row != 0 {
		text := binary.LittleEndian.Uint64(line[at:])
		known := m.memory(text, row)
		if known.text != text || known.row != row {
			break
		}
		*(*[wordLen]uint32)(m.trail[at:]) = known.trail
		at, row = at+wordLen, known.next
	}
	return at, row
}

// learn remembers the word at a place of line, if it is a whole one, in place of another.
func (m *Machine) learn(line []byte, at int, row, next uint32) {
	if len(line)-at < wordLen {
		return
	}
	text := binary.LittleEndian.Uint64(line[at:])
	known := m.memory(text, row)
	known.text, known.row, known.next = text, row, next
	copy(known.trail[:], m.trail[at:])
}

// memory is the place for a word that is read from a state.
func (m *Machine) memory(text uint64, row uint32) *memory {
	return &m.memories[(uint32(text*0x9e3779b97f4a7c15>>40)+row)%maxMemories]
}

// A skip says which bytes of ASCII keep a state: all but those below low, and a and b, each of
// them eight times in a word.
type skip struct {
	low, a, b uint64
	still     uint64 // bits of the first threads: those that come from themselves by each byte that keeps the state
}

const (
	ones = 0x0101010101010101
	high = 0x80 * ones // the highest bit of each byte
)

// skip is the place behind the bytes that keep the state of row, as far as whole words go. A
// subtraction borrows from the bytes above alone, so that the lowest bit that is set is right.
func (m *Machine) skip(line []byte, at int, row uint32) int {
	s := m.skipOf(row)
	from := at
	for len(line)-at >= wordLen {
		w := binary.LittleEndian.Uint64(line[at:])
		a, b := w^s.a, w^s.b
		stops := ((w - s.low) | w | ((a - ones) &^ a) | ((b - ones) &^ b)) & high
		n := bits.TrailingZeros64(stops) / 8
		if at += n; n < wordLen {
			break
		}
	}
	switch n := at - from; n {
	case 0:
	case 1:
		m.trail[from] = row + uint32(m.set.alphabet.ofByte[line[from]])
	default:
		m.trail[from], m.trail[at-1] = row, jumped|uint32(n)
	}
	return at
}

// enough is how many classes must keep a state before it is looked at whether most do.
const enough = 3

// looped notes that one more class keeps the state of row and returns the flag of a skip that this
// brings about.
func (m *Machine) looped(row uint32) (flag uint32) {
	s := &m.states[m.table[row+columnState]]
	if s.loops++; s.loops == enough {
		if found, ok := m.findSkip(row); ok {
			s.skip = uint32(len(m.skips))
			m.skips = append(m.skips, found)
		}
	}
	if s.skip > 0 {
		return skipped
	}
	return 0
}

// skipOf is the skip of the state of row, or one that skips nothing.
func (m *Machine) skipOf(row uint32) *skip { return &m.skips[m.states[m.table[row+columnState]].skip] }

// findSkip looks for bytes that keep the state of row: all but two at most, and some of those up
// to the space. false: there are others.
func (m *Machine) findSkip(row uint32) (found skip, ok bool) {
	low, others, n, still := byte(0), [2]byte{0xff, 0xff}, 0, ^uint64(0) // 0xff is not ASCII
	for b := range byte(utf8.RuneSelf) {
		switch {
		case m.keeps(row, uint32(m.set.alphabet.ofByte[b])):
			still &= m.next.still()
		case b <= ' ':
			low = b + 1
		case n == len(others):
			return skip{}, false
		default:
			others[n] = b
			n++
		}
	}
	if m.keeps(row, m.set.alphabet.wide(utf8.RuneError)) { // one byte that is not UTF-8
		still &= m.next.still()
	}
	return skip{low: ones * uint64(low), a: ones * uint64(others[0]), b: ones * uint64(others[1]), still: still}, true
}

// still are bits of the first threads: those that come from themselves and cross nothing.
func (l *list) still() (threads uint64) {
	for i, came := range l.came[:min(len(l.came), 64)] {
		if came == (path{thread: uint32(i)}) {
			threads |= 1 << i
		}
	}
	return threads
}

// stays reports whether a thread of the state of row comes from itself wherever the state is kept.
func (m *Machine) stays(row, thread uint32) bool {
	return m.skipOf(row).still>>thread&1 > 0
}

// keeps reports whether a character of column leaves the state of row as it is.
func (m *Machine) keeps(row, column uint32) bool {
	winner := m.step(row, column)
	s := &m.states[m.table[row+columnState]]
	before := m.kindBehind(m.set.alphabet.kinds[column])
	return winner < 0 && before == s.before && slices.Equal(m.threads[s.from:s.to], m.next.threads)
}
