package filter

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"
)

// daemonWrites are what stands in front of texts, by filter, that a rule takes as they come and that no client
// writes: times, the server's own addresses, and names of its configuration.
var daemonWrites = map[string][]string{
	"apache-botsearch": {" ["},
	"asterisk":         {`EventTV="`, `Service="`, `LocalAddress="`, `Module="`, `SessionTV="`, `,Challenge="`, `ExpectedResponse="`, `ACLName="`, "in context '"},
	"exim":             {" D=", "(error: "},
	"freeswitch":       {"sofia profile '", ` acl "`},
	"nginx-botsearch":  {" ["},
	"nginx-http-auth":  {" ["},
	"nginx-limit-req":  {" ["},
	"pam-generic":      {"pam_unix(", "logname=", " uid=", "euid=", "tty="},
	"sshd":             {" to ", "on [", "penalty: ", "logname=", " uid=", "euid=", "tty="},
	"traefik-auth":     {" ["},
	"wordpress":        {" ["},
}

// A shownPart is a part of a rule's lines.
type shownPart struct{ filter, rule, part string }

// A showing is what samples say of the parts of a rule in which a client may write an address.
type showing struct {
	cut   *regexp.Regexp
	parts []string // by group of cut; "" is none of them
	named []string // groups that are no such part and would take an address all the same
	open  bool     // what stands behind the match is a client's too
}

const behindMatch = "what stands behind the match"

// showingOf finds the parts of rule i.
func (f *Filter) showingOf(t *testing.T, i int) showing {
	t.Helper()
	s, err := f.shapeOf(i)
	if err != nil {
		t.Fatal(err)
	}
	c := s.cutter()
	if c == nil || !s.begins {
		t.Fatalf("%v: %s cannot be cut, or begins anywhere", f, f.rules[i].Name)
	}
	shown := showing{cut: c.re, open: !s.ends, parts: make([]string, len(c.re.SubexpNames()))}
	for at, name := range c.re.SubexpNames() {
		part, ok := c.parts[name]
		if !ok || part.kind != wild {
			continue
		}
		shown.parts[at] = fmt.Sprintf("%s, %s", name, s.written(part.part))
	}
	shown.named = s.namedAddresses(s.tree)
	return shown
}

// namedAddresses are the groups of re that would take an address, and hold no wild part.
func (s *shape) namedAddresses(re *syntax.Regexp) (names []string) {
	if name := s.group(re); re.Op == syntax.OpCapture && name != "" && name != hostGroup && !holdsWild(re) {
		if regexp.MustCompile(`\A(?:` + s.regex(re.Sub[0]) + `)\z`).MatchString(plantedFour.String()) {
			names = append(names, name)
		}
	}
	for _, sub := range re.Sub {
		names = append(names, s.namedAddresses(sub)...)
	}
	return names
}

func holdsWild(re *syntax.Regexp) bool { return isWild(re) || slices.ContainsFunc(re.Sub, holdsWild) }

// each calls yield with each part, what stands before it in line, and what it holds.
func (s *showing) each(line []byte, r *Reader, yield func(part string, before, text []byte)) {
	at := s.cut.FindSubmatchIndex(line)
	if at == nil {
		return
	}
	for group, part := range s.parts {
		if from := at[2*group]; part != "" && from >= 0 {
			yield(part, line[:from], line[from:at[2*group+1]])
		}
	}
	for _, name := range s.named {
		yield(name, nil, []byte(r.Group(name)))
	}
	if s.open {
		yield(behindMatch, nil, line[at[1]:])
	}
}

// all are the names of the parts.
func (s *showing) all() []string {
	all := slices.Concat(s.parts, s.named)
	if s.open {
		all = append(all, behindMatch)
	}
	return slices.DeleteFunc(all, func(part string) bool { return part == "" })
}

// Each part of each rule's lines that a client writes is shown by a sample in which he has put another host's address
// there, and in which that other host does not come out.
func TestEveryPartOfShippedRulesIsShownToBeAttacked(t *testing.T) {
	missing := make(map[shownPart]bool)
	shown := make(map[*Filter][]showing)
	for _, f := range shipped(t) {
		for i, rule := range f.rules {
			shown[f] = append(shown[f], f.showingOf(t, i))
			for _, part := range shown[f][i].all() {
				missing[shownPart{f.Name, rule.Name, part}] = true
			}
		}
	}
	wanted := len(missing)
	for f, parts := range shown {
		for _, sample := range f.samples() {
			line := []byte(sample.V.Line)
			r := f.NewReader(time.UTC)
			got := r.Read(line, noon)
			if got.Outcome != Matched || f.rules[got.Rule].Trust != Untrusted && framed.Contains(got.Addr) {
				continue
			}
			parts[got.Rule].each(bytes.Clone(f.NewReader(time.UTC).see(line, noon)), r, func(part string, before, text []byte) {
				if bytes.Contains(text, []byte("203.0.113.")) || slices.ContainsFunc(daemonWrites[f.Name], func(end string) bool { return bytes.HasSuffix(before, []byte(end)) }) {
					delete(missing, shownPart{f.Name, f.rules[got.Rule].Name, part})
				}
			})
		}
	}
	if wanted < 300 {
		t.Errorf("only %d parts are looked at", wanted)
	}
	for _, part := range slices.SortedFunc(maps.Keys(missing), func(a, b shownPart) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		t.Errorf("%s: %s: no sample has another host's address in %s", part.filter, part.rule, part.part)
	}
}
