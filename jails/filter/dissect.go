package filter

import (
	"regexp"
	"sync"
	"time"
)

// Parts are what a line is made of.
type Parts struct {
	Date     string // as the line writes it; "": none is found
	Template string // how it is written
	Time     time.Time
	Dated    bool   // Time is from the line
	Header   string // what <PREFIX> stands for: host, daemon and process
	Message  string
}

// anyHeader is <PREFIX> of any daemon.
var anyHeader = sync.OnceValue(func() *regexp.Regexp {
	prefix, _ := prefixOf(nil)
	return regexp.MustCompile(`^` + prefix)
})

// anyFilter has a rule, as every filter must; nobody asks it.
var anyFilter = sync.OnceValue(func() *Filter {
	f, _ := Inline("any", []string{"^<ADDR>$"}) // it compiles
	return f
})

// Dissect takes a line apart as filters of the dialect Native see it. Dates without a zone are in loc, and
// now says which year those without one are of.
func Dissect(line []byte, loc *time.Location, now time.Time) Parts {
	r := anyFilter().NewReader(loc)
	rest := string(r.see(line, now))
	header := anyHeader().FindString(rest)
	parts := Parts{Header: header, Message: rest[len(header):]}
	if r.date.template < 0 {
		return parts
	}
	parts.Date = string(line[r.date.from:r.date.to])
	parts.Template = anyFilter().Templates()[r.date.template]
	parts.Time, parts.Dated = r.date.read(line, loc, now)
	return parts
}
