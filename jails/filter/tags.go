package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What <HOST> and <ADDR> stand for. They are wide on purpose: what they find is read by
// hostOf, and text that is no address bans nobody.
const (
	upTo3 = `\d\d?\d?` // for \d{1,3}, of which package syntax takes long to see that many are not too many
	ipv4  = upTo3 + `\.` + upTo3 + `\.` + upTo3 + `\.` + upTo3
	ipv6  = `[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f.]*(?:%[0-9A-Za-z._-]+)?`
	addr  = ipv6 + `|` + ipv4 + `|\[` + ipv6 + `\]|\[` + ipv4 + `\]`
	names = `[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?`
)

// tagsWith are the tags that regexes may use, and what they stand for; <F-NAME> and
// </F-NAME>, which make a group, are not among them.
func tagsWith(prefix string) map[string]string {
	host := func(what string) string { return `(?P<` + hostGroup + `>` + what + `)` }
	bits := `(?P<cidr>` + upTo3 + `)`
	return map[string]string{
		"<PREFIX>": prefix,
		"<HOST>":   host(addr + `|` + names),
		"<ADDR>":   host(addr),
		"<IP4>":    host(ipv4 + `|\[` + ipv4 + `\]`),
		"<IP6>":    host(ipv6 + `|\[` + ipv6 + `\]`),
		"<SUBNET>": host(addr) + `(?:/` + bits + `)?`,
		"<CIDR>":   bits,
	}
}

// An expansion is a regex whose tags are being replaced.
type expansion struct {
	tags    map[string]string
	open    []string // tags of groups that are not closed yet
	unknown []string
	wrong   error
}

// expand replaces the tags in a regex, and gives groups names of their own where one is used twice.
func expand(regex string, tags map[string]string) (string, error) {
	e := expansion{tags: tags}
	var expanded strings.Builder
	for at := 0; at < len(regex); {
		part := regex[at : at+partLength(regex[at:])]
		expanded.WriteString(e.replace(part))
		at += len(part)
	}
	if len(e.unknown) > 0 {
		return "", fmt.Errorf("unknown tag %s (known: %s <F-NAME>...</F-NAME>; a < that begins no tag is written \\<)",
			strings.Join(e.unknown, " "), strings.Join(slices.Sorted(maps.Keys(tags)), " "))
	}
	if e.wrong == nil && len(e.open) > 0 {
		e.wrong = fmt.Errorf("%s is not closed", e.open[len(e.open)-1])
	}
	return numberGroups(expanded.String()), e.wrong
}

// partLength is the length of what a regex, which is not empty, begins with: what looks like a tag, or an escape or the beginning
// of a named group, in which there is none, or a byte.
func partLength(regex string) int {
	switch regex[0] {
	case '\\':
		return min(2, len(regex))
	case '(':
		return max(1, len(namedGroup(regex)))
	case '<':
		return max(1, len(tagAt(regex)))
	}
	return 1
}

// tagLetters are what names of tags consist of, hyphens apart.
const tagLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// tagAt is the tag that text begins with: <NAME> or </NAME>, behind whose name may stand a / and other text. "": there is none.
func tagAt(text string) string {
	inside, _, closed := strings.Cut(text[len("<"):], ">")
	name, _, _ := strings.Cut(strings.TrimPrefix(inside, "/"), "/")
	if !closed || name == "" || name[0] < 'A' || name[0] > 'Z' {
		return ""
	}
	if strings.Trim(name, tagLetters+"-") != "" || strings.Contains(inside, "<") {
		return ""
	}
	return text[:len("<")+len(inside)+len(">")]
}

// namedGroup is the (?P<name> or (?<name> that text begins with; "": there is none.
func namedGroup(text string) string {
	rest, ok := strings.CutPrefix(text, "(?")
	rest, named := strings.CutPrefix(strings.TrimPrefix(rest, "P"), "<")
	if !ok || !named {
		return ""
	}
	n := nameLength(rest)
	if n == 0 || !strings.HasPrefix(rest[n:], ">") {
		return ""
	}
	return text[:len(text)-len(rest)+n+len(">")]
}

// nameLength is how long the name of a group is that text begins with; 0: it begins with none.
func nameLength(text string) int {
	n := 0
	for n < len(text) && (text[n] == '_' || isAlnum(text[n])) {
		n++
	}
	if n > 0 && isDigit(text[0]) {
		return 0
	}
	return n
}

// replace is what stands for a part of a regex.
func (e *expansion) replace(part string) string {
	if len(part) == 1 || part[0] != '<' {
		return part
	}
	if meaning, ok := e.tags[part]; ok {
		return meaning
	}
	name, closes := strings.CutPrefix(part[len("<"):len(part)-len(">")], "/")
	group, ok := strings.CutPrefix(name, "F-")
	switch {
	case !ok || group == "" || strings.Trim(group, tagLetters) != "":
		e.unknown = append(e.unknown, part)
		return part
	case !closes:
		e.open = append(e.open, part)
		return "(?P<" + strings.ToLower(group) + ">"
	}
	last := len(e.open) - 1
	if last < 0 || e.open[last] != "<"+name+">" {
		e.wrong = fmt.Errorf("%s closes what is not open", part)
		return part
	}
	e.open = e.open[:last]
	return ")"
}

// again parts the name of a group from its number.
const again = "__"

// numberGroups makes the names of groups differ: user, user__2, user__3.
func numberGroups(expr string) string {
	var numbered strings.Builder
	times := make(map[string]int)
	written := 0 // bytes of expr
	for at := 0; at < len(expr); at++ {
		if expr[at] == '\\' {
			at++
			continue
		}
		if expr[at] != '(' {
			continue
		}
		group := namedGroup(expr[at:])
		if group == "" {
			continue
		}
		at += len(group) - len(">")
		_, name, _ := strings.Cut(group[:len(group)-len(">")], "<")
		if times[name]++; times[name] > 1 {
			fmt.Fprintf(&numbered, "%s%s%d", expr[written:at], again, times[name])
			written = at
		}
	}
	return numbered.String() + expr[written:]
}

// groupName is the name of a group without what numberGroups put behind it.
func groupName(name string) string {
	if short, ok := strings.CutSuffix(strings.TrimRight(name, "0123456789"), again); ok && !strings.HasSuffix(name, again) {
		return short
	}
	return name
}
