package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"xdpban/internal/lazy"
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

// aTag also finds what only looks like a tag: an escaped <, the name of a group.
var aTag = lazy.Regexp(`\\.|\(\?P?<[A-Za-z_][0-9A-Za-z_]*>|</?[A-Z][A-Z0-9_-]*(?:/[^<>]*)?>`)

// groupTag is a tag around what a group captures.
var groupTag = lazy.Regexp(`^<(/?)F-([A-Z0-9_]+)>$`)

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
	expanded := aTag().ReplaceAllStringFunc(regex, e.replace)
	if len(e.unknown) > 0 {
		return "", fmt.Errorf("unknown tag %s (known: %s <F-NAME>...</F-NAME>; a < that begins no tag is written \\<)",
			strings.Join(e.unknown, " "), strings.Join(slices.Sorted(maps.Keys(tags)), " "))
	}
	if e.wrong == nil && len(e.open) > 0 {
		e.wrong = fmt.Errorf("%s is not closed", e.open[len(e.open)-1])
	}
	return numberGroups(expanded), e.wrong
}

func (e *expansion) replace(tag string) string {
	if tag[0] != '<' {
		return tag
	}
	if meaning, ok := e.tags[tag]; ok {
		return meaning
	}
	parts := groupTag().FindStringSubmatch(tag)
	switch {
	case parts == nil:
		e.unknown = append(e.unknown, tag)
		return tag
	case parts[1] == "":
		e.open = append(e.open, tag)
		return "(?P<" + strings.ToLower(parts[2]) + ">"
	}
	last := len(e.open) - 1
	if last < 0 || e.open[last] != "<"+tag[2:] {
		e.wrong = fmt.Errorf("%s closes what is not open", tag)
		return tag
	}
	e.open = e.open[:last]
	return ")"
}

// aGroup finds the beginnings of named groups, and escapes, which hide them.
var aGroup = lazy.Regexp(`\\.|\(\?P?<([A-Za-z_][0-9A-Za-z_]*)>`)

// again parts the name of a group from its number.
const again = "__"

// numberGroups makes the names of groups differ: user, user__2, user__3.
func numberGroups(expr string) string {
	times := make(map[string]int)
	return aGroup().ReplaceAllStringFunc(expr, func(text string) string {
		if text[0] == '\\' {
			return text
		}
		begin, name, _ := strings.Cut(strings.TrimSuffix(text, ">"), "<")
		times[name]++
		if times[name] == 1 {
			return text
		}
		return fmt.Sprintf("%s<%s%s%d>", begin, name, again, times[name])
	})
}

// aNumber is what numberGroups puts behind a name.
var aNumber = lazy.Regexp(again + `\d+$`)

// groupName is the name of a group without its number.
func groupName(name string) string { return aNumber().ReplaceAllString(name, "") }
