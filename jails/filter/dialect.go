package filter

import "fmt"

// A Dialect is how the regexes of a filter are meant, and what they see of a line.
type Dialect uint8

// The dialects.
const (
	Native   Dialect = iota // Go's regexes and our tags; dates at the start of a line
	Fail2ban                // Python's regexes and fail2ban's tags, lines and dates
)

var dialects = [...]string{"xdpban", "fail2ban"}

// String is d as files write it.
func (d Dialect) String() string { return dialects[d] }

// UnmarshalText reads what files write.
func (d *Dialect) UnmarshalText(text []byte) error {
	for i, name := range dialects {
		if name == string(text) {
			*d = Dialect(i)
			return nil
		}
	}
	return fmt.Errorf("want xdpban or fail2ban, got %.60q", text)
}
