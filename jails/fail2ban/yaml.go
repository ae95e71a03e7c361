package fail2ban

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"xdpban/internal/lazy"
)

// A page is YAML in the making.
type page struct {
	strings.Builder
}

// comment writes lines as comments, each behind as many spaces as indent says.
func (p *page) comment(indent int, lines []string) {
	for _, line := range lines {
		line = strings.Map(func(r rune) rune {
			if r != '\t' && !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, line)
		p.line(indent, strings.TrimRight("#"+line, " \t"))
	}
}

func (p *page) line(indent int, text string) {
	fmt.Fprintf(p, "%s%s\n", strings.Repeat(" ", indent), text)
}

func (p *page) gap() { p.WriteByte('\n') }

// list writes a key with values, in one line if they are short.
func (p *page) list(indent int, key string, values []string) {
	quoted := make([]string, len(values))
	length := 0
	for i, v := range values {
		quoted[i] = quote(v)
		length += len(quoted[i]) + len(", ")
	}
	const shortLine = 100
	if length <= shortLine {
		p.line(indent, key+": ["+strings.Join(quoted, ", ")+"]")
		return
	}
	p.line(indent, key+":")
	for _, v := range quoted {
		p.line(indent+2, "- "+v)
	}
}

// plain are texts that mean themselves without quotes, in lists too.
var plain = lazy.Regexp(`^[A-Za-z/_][A-Za-z0-9/._*+-]*$`)

// meaning are words that mean something else.
var meaning = lazy.Regexp(`(?i)^(true|false|yes|no|on|off|y|n|null)$`)

// quote is text as a value of YAML.
func quote(text string) string {
	switch {
	case plain.Get().MatchString(text) && !meaning.Get().MatchString(text):
		return text
	case strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || r != ' ' && !unicode.IsPrint(r) }):
		return double(text)
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// double is text in double quotes; YAML has Go's escapes, but for those of single bytes, which a
// text read as UTF-8 has not.
func double(text string) string { return strconv.QuoteToASCII(text) }
