package filter

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestInjections(t *testing.T) {
	for name, c := range map[string]struct {
		regexes string // a line each
		verdict Verdict
		part    string
	}{
		"fixed at both ends":             {`^<PREFIX>bad login of .* from <HOST>$`, Steady, ""},
		"no end":                         {`^<PREFIX>bad login of .* from <HOST>`, Moves, "what stands behind the match"},
		"no end, a word":                 {`^<PREFIX>bad login of (?P<user>\S+) from <HOST>`, Escapes, `\S+ of user`},
		"no end, not greedy":             {`^<PREFIX>bad login of .*? from <HOST>`, Moves, ".*?"},
		"no end, nothing wild":           {`^<PREFIX>bad login from <HOST>`, Steady, ""},
		"no end, a class without spaces": {`^<PREFIX>bad login of [a-z]+ from <HOST>`, Steady, ""},
		"any end":                        {`^<PREFIX>bad login of .* from <HOST>: .*$`, Moves, ".*"},
		"quotes":                         {`^<PREFIX>bad login of '[^']*' from <HOST>$`, Steady, ""},
		"quotes without end":             {`^<PREFIX>bad login of '[^']*' from <HOST>`, Escapes, `[^']*`},
		"escaped quotes":                 {`^<PREFIX>bad login of "(?:[^"\\]|\\.)*" from <HOST>$`, Steady, ""},
		"no beginning":                   {`bad login from <HOST>`, Moves, "what stands before the match"},
		"no beginning but an end":        {`bad login from <HOST>$`, Steady, ""},
		"an option holds the hole":       {`^<PREFIX>bad login(?: of .*)? from <HOST>(?: \(.*\))?$`, Moves, `.*`},
		"one of several":                 {`^<PREFIX>(?:a|b|c|bad login of .*) from <HOST>(?: says .*)?$`, Moves, `.*`},
		"a host name is not the client's": {
			`^\S+ (?:\S+ )?sshd(?:\[\d+\])?: bad login of \w+ from <HOST>`, Steady, ""},
		"IPv6 alone":         {`^<PREFIX>bad login of .* from (?P<host>[0-9a-f]+:[0-9a-f:]+)$`, Unproven, ""},
		"two clients' texts": {`^<PREFIX>bad login of \S* by \S* from <HOST> as \S*$`, Steady, ""},
		"an earlier rule": {
			"loser <HOST>\n^<PREFIX>bad login of .* from <HOST>$", Moves, ".*"},
		"an earlier rule with an end": {
			"loser <HOST>$\n^<PREFIX>bad login of .* from <HOST>$", Steady, ""},
	} {
		spec := "failregex:\n"
		for regex := range strings.Lines(c.regexes) {
			regex = strings.ReplaceAll(strings.TrimSuffix(regex, "\n"), "'", "''")
			spec += "  - { name: '" + regex + "', trust: verified, regex: '" + regex + "' }\n"
		}
		f := build(t, spec)
		all := f.Injections()
		got := all[len(all)-1]
		if got.Verdict != c.verdict || got.Part != c.part {
			t.Errorf("%s: %v through %q, want %v through %q\n%q", name, got.Verdict, got.Part, c.verdict, c.part, got.Line)
		}
		if got.Verdict == Moves || got.Verdict == Escapes {
			proven(t, name, f, got)
		}
	}
}

// proven wants the line of got to do what got says.
func proven(t *testing.T, name string, f *Filter, got Injection) {
	t.Helper()
	read := f.NewReader(time.UTC).Read([]byte(got.Line), noon)
	if read.Outcome != Matched || read.Addr != got.Planted || read.Rule != got.By {
		t.Errorf("%s: %v comes out of %q by %d, want %v by %d", name, read.ID(), got.Line, read.Rule, got.Planted, got.By)
	}
	client := got.Line[got.From:got.To]
	daemon := got.Line[:got.From] + got.Line[got.To:]
	if !strings.Contains(client, got.Planted.String()) || strings.Contains(daemon, got.Planted.String()) || !strings.Contains(daemon, got.True.String()) {
		t.Errorf("%s: the client writes %q, the daemon %q", name, client, daemon)
	}
}

func TestUntrustedRulesAreToldApart(t *testing.T) {
	f := build(t, `failregex: [{ name: from, trust: untrusted, regex: '<sip:.*@<HOST>>' }]`)
	if got := f.Injections()[0]; got.Verdict != Believed || got.Planted != (netip.Addr{}) {
		t.Errorf("got %+v", got)
	}
}

func TestSamplesAreAttackedToo(t *testing.T) {
	const rule = `failregex: [{ name: a, trust: verified, regex: '^id=.\b. .* from <HOST>' }]`
	if got := build(t, rule).Injections()[0]; got.Verdict != Unproven {
		t.Errorf("without a sample: %+v", got)
	}
	f := build(t, rule+"\nsamples: [{ line: 'id=a- root from 192.0.2.7', host: 192.0.2.7 }]")
	got := f.Injections()[0]
	if got.Verdict != Moves {
		t.Errorf("got %+v", got)
	}
	proven(t, "a sample", f, got)
}
