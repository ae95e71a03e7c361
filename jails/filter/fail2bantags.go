package filter

import (
	"strings"

	"xdpban/internal/lazy"
)

// What fail2ban's tags stand for. Its IPv6 looks behind itself for a colon that is always
// there; without that an automaton can run it.
const (
	fourForm = `(?:\d{1,3}\.){3}\d{1,3}`
	sixForm  = `(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|:)`
	nameForm = `[\w\-.^_]*\w`

	f2bIP4  = `(?:::f{4,6}:)?(?P<ip4>` + fourForm + `)`
	f2bIP6  = `(?P<ip6>` + sixForm + `)`
	f2bDNS  = `(?P<dns>` + nameForm + `)`
	f2bCIDR = `(?P<cidr>\d+)`
	f2bAddr = `\[?(?:` + f2bIP4 + `|` + f2bIP6 + `)\]?`
)

var fail2banTags = map[string]string{
	"HOST":      `(?:` + f2bAddr + `|` + f2bDNS + `)`,
	"IP4":       f2bIP4,
	"F-IP4/":    f2bIP4,
	"IP6":       f2bIP6,
	"F-IP6/":    f2bIP6,
	"ADDR":      f2bAddr,
	"F-ADDR/":   f2bAddr,
	"DNS":       f2bDNS,
	"F-DNS/":    f2bDNS,
	"CIDR":      f2bCIDR,
	"F-CIDR/":   f2bCIDR,
	"SUBNET":    `\[?(?:` + f2bIP4 + `|` + f2bIP6 + `)(?:/` + f2bCIDR + `)?\]?`,
	"F-SUBNET/": `\[?(?:` + f2bIP4 + `|` + f2bIP6 + `)(?:/` + f2bCIDR + `)?\]?`,
	"F-ID/":     `(?P<fid>\S+)`,
	"F-PORT/":   `(?P<fport>\w+)`,
	"SKIPLINES": `\n(?P<` + skipped + `>(?:(?:.*\n)*?))`,
}

// skipped is the group of <SKIPLINES>: lines that are not part of what is found around them.
const skipped = "skiplines"

var (
	fail2banTag   = lazy.Regexp(`</?[\w-]+/?>`)
	fail2banGroup = lazy.Regexp(`^(/?)F-([A-Z0-9_-]+)$`)
)

// renamed are the groups whose tags have other names.
var renamed = map[string]string{"id": "fid", "port": "fport"}

// expandFail2ban replaces fail2ban's tags. What looks like a tag and is none is text.
func expandFail2ban(regex string) string {
	open := make(map[string]bool)
	return fail2banTag.Get().ReplaceAllStringFunc(regex, func(tag string) string {
		name := tag[1 : len(tag)-1]
		if meaning, ok := fail2banTags[name]; ok {
			return meaning
		}
		parts := fail2banGroup.Get().FindStringSubmatch(name)
		switch {
		case parts == nil:
			return tag
		case parts[1] == "":
			open[parts[2]] = true
			return "(?P<" + fail2banName(parts[2]) + ">"
		case open[parts[2]]:
			return ")"
		}
		return tag
	})
}

func fail2banName(tag string) string {
	name := strings.ToLower(tag)
	if other, ok := renamed[name]; ok {
		return other
	}
	return name
}
