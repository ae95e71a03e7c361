package filter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// What <HOST> and <ADDR> stand for. They are wide on purpose: what they find is read by
// hostOf, and text that is no address bans nobody.
const (
	ipv4  = `\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}`
	ipv6  = `[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f.]*(?:%[0-9A-Za-z._-]+)?`
	addr  = ipv6 + `|` + ipv4 + `|\[` + ipv6 + `\]|\[` + ipv4 + `\]`
	names = `[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?`
)

// tagsWith are the tags that regexes may use, and what they stand for.
func tagsWith(prefix string) map[string]string {
	return map[string]string{
		"<PREFIX>": prefix,
		"<HOST>":   `(?P<` + hostGroup + `>` + addr + `|` + names + `)`,
		"<ADDR>":   `(?P<` + hostGroup + `>` + addr + `)`,
	}
}

// aTag also finds what only looks like a tag: an escaped <, the name of a group.
var aTag = regexp.MustCompile(`\\.|\(\?P?<[^>]*>|</?[A-Z][A-Z0-9_-]*(?:/[^<>]*)?>`)

// expand replaces the tags in a regex.
func expand(regex string, tags map[string]string) (string, error) {
	var unknown []string
	expanded := aTag.ReplaceAllStringFunc(regex, func(tag string) string {
		if tag[0] != '<' {
			return tag
		}
		meaning, ok := tags[tag]
		if !ok {
			unknown = append(unknown, tag)
		}
		return meaning
	})
	if len(unknown) > 0 {
		return "", fmt.Errorf("unknown tag %s (known: %s; a < that begins no tag is written \\<)",
			strings.Join(unknown, " "), strings.Join(slices.Sorted(maps.Keys(tags)), " "))
	}
	return expanded, nil
}
