package filter

import (
	"strings"
	"testing"
	"time"
)

func TestNearMisses(t *testing.T) {
	f := build(t, `
prefix: app
longest: 200
failregex:
  - { name: password, trust: verified, regex: '^<PREFIX>Failed password for .* from <HOST>(?: port \d+)?(?: \[preauth\])?$' }
  - { name: user, trust: verified, regex: '^<PREFIX>(?:no|unknown) user (?P<user>\S+) at <ADDR>$' }
  - { name: native, trust: verified, regex: '^\[app\] refused <ADDR>$' }
  - { name: anywhere, trust: verified, regex: 'intruder (?i:AT the )(?:back|front) door: <HOST>' }
`)
	for _, c := range []struct {
		line string // | is where the rule stops
		rule string
		want string
	}{
		{`Nov  9 18:47:21 h app[1]: Failed pass|phrase for root from 192.0.2.7`, "password", `"Failed password for "`},
		{`Nov  9 18:47:21 h app[1]: Failed password for root f|orm 192.0.2.7 port 22`, "password", `" from "`},
		{`Nov  9 18:47:21 h app[1]: Failed password for |root`, "password", `" from " or behind`},
		{`Nov  9 18:47:21 h app[1]: Failed password for root from |?`, "password", `<HOST>, an address or a name`},
		{`Nov  9 18:47:21 h app[1]: Failed password for root from 192.0.2.7 p|rt 22`, "password", `" port "`},
		{`Nov  9 18:47:21 h app[1]: Failed password for root from 192.0.2.7 port 22 [preau|h]`, "password", `" [preauth]"`},
		{`Nov  9 18:47:21 h app[1]: Failed password for root from 192.0.2.7| at night`, "password", `the end of the line`},
		{`Nov  9 18:47:21 h my-app[1]: |Failed password for root from 192.0.2.7`, "password", `what <PREFIX> stands for right before`},
		{`Nov  9 18:47:21 h app[1]: no user root at |localhost`, "user", `<ADDR>, an address`},
		{`Nov  9 18:47:21 h app[1]: no user root |by 192.0.2.7`, "user", `" at "`},
		{`Nov  9 18:47:21 h |[app] refused 192.0.2.7`, "native", `the start of the line`},
		{`[app] re|jected 192.0.2.7`, "native", `"[app] refused "`},
		{`the intruder At THE |garden door: 192.0.2.7`, "anywhere", `back|front`},
		{`the intruder At THE fron| door: 192.0.2.7`, "anywhere", `"front"`},
		{`Nov  9 18:47:21 h app[1]: message repeated 2 times: [ Failed password for root from 192.0.2.7 p|rt 22]`, "password", `" port "`},
		{`Nov  9 18:47:21 h app[1]: welcome`, "", ``},
		{``, "", ``},
		{`Nov  9 18:47:21 h app[1]: Failed password for ` + strings.Repeat("x", 154) + `|x from 192.0.2.7`, "password", `the end of the line: longest is 200`},
	} {
		line := strings.Replace(c.line, "|", "", 1)
		near, ok := NewSearcher(f.NewReader(time.UTC)).NearMiss([]byte(line), noon)
		if !ok {
			if c.rule != "" {
				t.Errorf("%s: no near miss", c.line)
			}
			continue
		}
		got := line[:near.At] + "|" + line[near.At:]
		want := near.Want
		if near.Behind {
			want += " or behind"
		}
		if rule := f.rules[near.Rule].Name; got != c.line || rule != c.rule || want != c.want {
			t.Errorf("got  %s %s %s\nwant %s %s %s", rule, got, want, c.rule, c.line, c.want)
		}
	}
}

func FuzzNearMiss(f *testing.F) {
	var filters []*Filter
	for _, name := range []string{"asterisk", "kamailio", "sshd"} {
		filters = append(filters, load(f, "../../configs/filters/"+name+".yaml", Normal))
	}
	for _, made := range filters {
		for i, sample := range made.spec.Samples {
			if i%71 == 0 { // each is tried on every filter
				f.Add([]byte(sample.V.Line + "x"))
			}
		}
	}
	searchers := make([]*Searcher, len(filters))
	for i, made := range filters {
		searchers[i] = NewSearcher(made.NewReader(time.UTC))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for i, s := range searchers {
			near, ok := s.NearMiss(line, noon)
			if ok && (near.At < 0 || near.At > len(line) || near.Want == "" || near.Rule >= len(filters[i].rules)) {
				t.Errorf("%v: %q: %+v", filters[i], line, near)
			}
			rest := s.reader.see(line, noon)
			for n, p := range s.rules {
				if p == nil {
					continue
				}
				most := p.atMost(rest)
				if near, _ := p.in(rest, bound{steps: len(p.steps)}); near.Score > most.score {
					t.Errorf("%v: %s: %q: score %d, of at most %d", filters[i], filters[i].rules[n].Name, line, near.Score, most.score)
				} else if bounded, _ := p.in(rest, most); bounded != near {
					t.Errorf("%v: %s: %q: %+v, and within %+v %+v", filters[i], filters[i].rules[n].Name, line, near, most, bounded)
				}
			}
		}
	})
}
