package fail2ban

import (
	"strings"
	"unicode"
)

// A Place is a line of a file. The zero Place is outside of all files: what the program
// or its user says.
type Place struct {
	File string
	Line int // from 1
}

// A Line is one line of a value, with nothing left to be put in, and where it was written.
type Line struct {
	Text string
	Place
}

// A text is a value of one or more lines, of which each knows where it was written.
type text struct {
	s  string
	at []Place // of each line in s
}

// said is a text that stands in no file.
func said(s string) text { return text{s, make([]Place, strings.Count(s, "\n")+1)} }

// place is where t begins.
func (t text) place() Place { return t.at[0] }

// splice is t with another text in place of the bytes from to to. A line that comes from
// the other one alone keeps the place that it has there; what is put into a line does not.
func (t text) splice(from, to int, with text) text {
	first := strings.Count(t.s[:from], "\n")
	last := first + strings.Count(t.s[from:to], "\n")
	begins := from == 0 || t.s[from-1] == '\n'
	ends := to == len(t.s) || t.s[to] == '\n'

	middle := make([]Place, len(with.at))
	copy(middle, with.at)
	final := len(middle) - 1
	if !begins || final == 0 && !ends || middle[0] == (Place{}) {
		middle[0] = t.at[first]
	}
	if final > 0 && (!ends || middle[final] == (Place{})) {
		middle[final] = t.at[last]
	}
	at := make([]Place, 0, len(t.at)+final)
	at = append(append(append(at, t.at[:first]...), middle...), t.at[last+1:]...)
	return text{t.s[:from] + with.s + t.s[to:], at}
}

// replaceAll is t with another text in place of each old.
func (t text) replaceAll(old string, with text) text {
	for from := 0; ; {
		i := strings.Index(t.s[from:], old)
		if i < 0 {
			return t
		}
		t = t.splice(from+i, from+i+len(old), with)
		from += i + len(with.s)
	}
}

// lines are the lines of t that are not empty.
func (t text) lines() []Line {
	var list []Line
	for i, line := range strings.Split(t.s, "\n") {
		if line != "" {
			list = append(list, Line{line, t.at[i]})
		}
	}
	return list
}

// blank tells what Python takes for white space: the separators of ASCII are among it.
func blank(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

func trim(s string) string { return strings.TrimFunc(s, blank) }

// options are values by name, in the order in which the names came up. The zero options
// are empty.
type options struct {
	names  []string
	values map[string]text
}

func (o *options) get(name string) (text, bool) {
	value, ok := o.values[name]
	return value, ok
}

func (o *options) has(name string) bool {
	_, ok := o.values[name]
	return ok
}

// set gives name a value; a name that is known keeps its rank.
func (o *options) set(name string, value text) {
	if o.values == nil {
		o.values = make(map[string]text)
	}
	if !o.has(name) {
		o.names = append(o.names, name)
	}
	o.values[name] = value
}

// update sets all of other.
func (o *options) update(other *options) {
	for _, name := range other.names {
		o.set(name, other.values[name])
	}
}

// merged is a copy of o, updated with other.
func (o *options) merged(other *options) *options {
	all := new(options)
	all.update(o)
	all.update(other)
	return all
}

// lowered is o with names in lower case, as %(name)s looks for them.
func (o *options) lowered() *options {
	all := new(options)
	for _, name := range o.names {
		all.set(strings.ToLower(name), o.values[name])
	}
	return all
}

// clone is a copy of o.
func (o *options) clone() *options { return new(options).merged(o) }
