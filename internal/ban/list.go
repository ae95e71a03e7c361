package ban

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// A List is whom an operator names: prefixes as written, and addresses, which stand for
// themselves and their neighbours of ipv6_prefix.
type List struct {
	Prefixes  []netip.Prefix
	Addresses []netip.Addr
}

// Len is how many l names.
func (l *List) Len() int { return len(l.Prefixes) + len(l.Addresses) }

// Add takes an address or a prefix in its usual notation. The error says what is wrong with text.
func (l *List) Add(text string) error {
	const longest = 60 // no address is: an error need not repeat more of it
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	prefix, err := ParsePrefix(text)
	if err != nil {
		return err
	}
	if strings.Contains(text, "/") {
		l.Prefixes = append(l.Prefixes, prefix)
	} else {
		l.Addresses = append(l.Addresses, prefix.Addr())
	}
	return nil
}

// Read adds the entries of in, one a line. Text after a # is a comment. mistakes are the lines
// that are no entries, as NAME:LINE: what is wrong; err says why in was not read to its end.
func (l *List) Read(name string, in io.Reader) (mistakes []error, err error) {
	lines := bufio.NewScanner(in)
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := l.Add(text); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", name, n, err))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n, err)
	}
	return mistakes, nil
}

// String is l as Read reads it.
func (l *List) String() string {
	text := make([]byte, 0, 20*l.Len())
	for _, prefix := range l.Prefixes {
		text = append(prefix.AppendTo(text), '\n')
	}
	for _, addr := range l.Addresses {
		text = append(addr.AppendTo(text), '\n')
	}
	return string(text)
}
