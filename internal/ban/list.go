package ban

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// A List is whom an operator names: prefixes as written, and addresses, which stand for
// themselves and their neighbours of ipv6_prefix. It is in blocks, of which none moves when it grows.
type List struct {
	blocks [][]Source // of an address Bits is alone
	len    int
}

const alone = 0xff

// listBlock is how many entries a block has.
const listBlock = 1 << 12

// Len is how many l names.
func (l *List) Len() int { return l.len }

// At is entry i: a prefix, or the prefix that is an address alone.
func (l *List) At(i int) (prefix netip.Prefix, address bool) {
	s := l.at(i)
	if s.Bits == alone {
		return Single(netip.AddrFrom16(s.Addr)), true
	}
	return s.Prefix(), false
}

// Replace has entry i be a prefix.
func (l *List) Replace(i int, prefix netip.Prefix) {
	*l.at(i) = SourceOf(prefix)
}

func (l *List) at(i int) *Source { return &l.blocks[i/listBlock][i%listBlock] }

// Once leaves of entries that are the same the first.
func (l *List) Once() {
	had := make(map[Source]bool)
	for s := range l.All {
		if !had[s] {
			*l.at(len(had)) = s
			had[s] = true
		}
	}
	l.cut(len(had))
}

// has reports whether s is among the entries from begin on that have these tags, by its own.
func (l *List) has(s *Source, tag uint8, begin int, tags []uint8) bool {
	for from := 0; ; from++ {
		next := bytes.IndexByte(tags[from:], tag)
		if next < 0 {
			return false
		}
		if from += next; *l.at(begin + from) == *s {
			return true
		}
	}
}

// cut leaves the first n entries.
func (l *List) cut(n int) {
	l.blocks, l.len = l.blocks[:(n+listBlock-1)/listBlock], n
	if rest := n % listBlock; rest > 0 {
		l.blocks[len(l.blocks)-1] = l.blocks[len(l.blocks)-1][:rest]
	}
}

// All yields the entries. Of an address it is none of a prefix yet, see Replace.
func (l *List) All(yield func(Source) bool) {
	for _, block := range l.blocks {
		for _, s := range block {
			if !yield(s) {
				return
			}
		}
	}
}

// AddPrefix takes a prefix that is masked, IPv4 not in its mapped form.
func (l *List) AddPrefix(prefix netip.Prefix) { l.add(SourceOf(prefix)) }

// AddAddr takes an address.
func (l *List) AddAddr(addr netip.Addr) { l.add(Source{addr.As16(), alone}) }

func (l *List) add(s Source) {
	last := len(l.blocks) - 1
	if l.len%listBlock == 0 {
		var block []Source // the first one grows, as most lists are short
		if l.len > 0 {
			block = make([]Source, 0, listBlock)
		}
		l.blocks = append(l.blocks, block)
		last++
	}
	l.blocks[last] = append(l.blocks[last], s)
	l.len++
}

// Add takes an address or a prefix in its usual notation. The error says what is wrong with text.
func (l *List) Add(text []byte) error {
	if quad, ok := DottedQuad(text); ok {
		l.AddAddr(netip.AddrFrom4(quad))
		return nil
	}
	const longest = 60 // no address is: an error need not repeat more of it
	notation := string(text[:min(len(text), longest)])
	if len(text) > longest {
		notation += "..."
	}
	prefix, err := ParsePrefix(notation)
	if err != nil {
		return err
	}
	if strings.Contains(notation, "/") {
		l.AddPrefix(prefix)
	} else {
		l.AddAddr(prefix.Addr())
	}
	return nil
}

// DottedQuad reads an IPv4 address as netip.ParseAddr does, in a third of its time and without an allocation.
func DottedQuad(text []byte) (quad [4]byte, ok bool) {
	n, digits, value := 0, 0, 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9' && (digits == 0 || value > 0):
			value = value*10 + int(c-'0')
			if digits++; value > 255 {
				return quad, false
			}
		case c == '.' && digits > 0 && n < 3:
			quad[n] = byte(value)
			n, digits, value = n+1, 0, 0
		default:
			return quad, false
		}
	}
	if n != 3 || digits == 0 {
		return quad, false
	}
	quad[3] = byte(value)
	return quad, true
}

// Read adds the entries of in, one a line, most at most. Text after a # is a comment, and a byte order mark
// may stand in front of it all. mistakes are the lines that are no entries, as NAME:LINE: what is wrong; err
// says why in was not read to its end.
func (l *List) Read(name string, in io.Reader, most int) (mistakes Mistakes, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, bufio.MaxScanTokenSize), 0) // of the same lines it takes fewer readings
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := bytes.Cut(lines.Bytes(), []byte{'#'})
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if err := l.Add(text); err != nil {
			mistakes.add(fmt.Errorf("%s:%d: %w", name, n, err))
		}
		if l.Len() > most {
			return Mistakes{}, fmt.Errorf("line %d: more than %d entries at a time", n, most)
		}
	}
	if err := lines.Err(); err != nil {
		return Mistakes{}, fmt.Errorf("line %d: %w", n, err)
	}
	return mistakes, nil
}

// Mistakes are what is wrong with a list: the first few, and how many more there are.
type Mistakes struct {
	first []error
	more  int
}

func (m *Mistakes) add(err error) {
	const most = 10
	if len(m.first) == most {
		m.more++
		return
	}
	m.first = append(m.first, err)
}

// Err is all of them, one a line; nil: there are none.
func (m *Mistakes) Err() error {
	if m.more == 0 {
		return errors.Join(m.first...)
	}
	return errors.Join(append(slices.Clip(m.first), fmt.Errorf("and %d more", m.more))...)
}
