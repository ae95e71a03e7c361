package filter

import "encoding/binary"

// memoWords is how many words of a line a handMemo may hold: more than dates and what is before them take.
const memoWords = 6

// A handMemo is what a line must look like to have its date, read by hand, where the line before had
// it: the same bytes as far as they decide about that, but for the digits of the date, which only
// must be digits. Where dates stand nothing but their shape says; see place.
type handMemo struct {
	words int // of 8 bytes; 0: nothing is remembered
	date  place
	bits  [memoWords]struct {
		same   uint64 // bits that must be as in want
		want   uint64
		digits uint64 // one in each byte that must be a digit
	}
}

// fits reports whether the date of line is m.date.
func (m *handMemo) fits(line []byte) bool {
	if m.words == 0 || len(line) < 8*m.words {
		return false
	}
	for i := range m.words {
		is, w := &m.bits[i], binary.LittleEndian.Uint64(line[8*i:])
		// A digit is 0x30 to 0x39: its upper half is 3, and still is with six added.
		if w&is.same != is.want || (w+6*is.digits)&(0xf0*is.digits) != '0'*is.digits {
			return false
		}
	}
	return true
}

// keep makes m the memo of line, whose date is there. looked is how many bytes decided that; digits
// before loose need not be the same.
func (m *handMemo) keep(line []byte, date place, looked, loose int) {
	m.words = 0
	if looked > len(line) || looked > 8*memoWords {
		return
	}
	m.date = date
	m.words = (looked + 7) / 8
	for i := range m.words {
		m.keepWord(i, line[8*i:min(looked, 8*i+8)], loose-8*i, date.from-8*i)
	}
}

// keepWord remembers a word, or the beginning of one, whose digits from one place to another are loose.
func (m *handMemo) keepWord(i int, text []byte, loose, from int) {
	is := &m.bits[i]
	is.same, is.want, is.digits = 0, 0, 0
	for n, b := range text {
		shift := 8 * n
		if isDigit(b) && n >= from && n < loose {
			is.same |= 0xf0 << shift
			is.want |= '0' << shift
			is.digits |= 1 << shift
			continue
		}
		is.same |= 0xff << shift
		is.want |= uint64(b) << shift
	}
}
