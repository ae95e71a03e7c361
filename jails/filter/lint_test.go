package filter

import (
	"strings"
	"testing"
	"time"

	"xdpban/internal/lab"
	"xdpban/internal/yamldoc"
)

// Among the findings are rules whose address can be moved, and those for which that cannot be said.
func TestShippedFiltersHaveNoFindings(t *testing.T) {
	for _, f := range shipped(t) {
		for _, found := range f.Lint() {
			t.Errorf("%v: %s:%d: %s %s (%s)", f, found.File, found.Line, found.Rule, found.What, found.Instead)
		}
	}
}

func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		rules string // regexes, a line each
		want  string // what is said of the last, a line each
	}{
		"good":        {`^<PREFIX>bad login of .* from <HOST>$`, ""},
		"no ^":        {`bad login from <HOST>$`, "looks for its text anywhere in a line, the parts that clients write among them"},
		"^ and .*":    {`^.*bad login from <HOST>$`, "begins with .*, which is as good as no ^"},
		"a host name": {`^\S+ app: bad login from <HOST>$`, ""},
		"no $": {`^<PREFIX>bad login of .* from <HOST>`,
			"text in what stands behind the match names somebody else: h daemon[1]: bad login of x from 192.0.2.7 from 203.0.113.9"},
		"eaten":             {`^<PREFIX>bad login of .*<HOST>$`, "takes any text right before the address, and the beginning of the address with it"},
		"quoted":            {`^<PREFIX>bad call "[^"@]*@<HOST>"$`, `takes the address out of a text between " and ", beside what the client writes there`},
		"in a URI":          {`^<PREFIX>bad call <sip:[^@]*@<HOST>>$`, "takes the address out of a text between < and >, beside what the client writes there"},
		"quoted by daemon":  {`^<PREFIX>call of '.*' failed for '<HOST>:\d+' as [a-z]+$`, ""},
		"between quotes":    {`^<PREFIX>call of '.*' from <HOST> as '.*'$`, "text in .* names somebody else: h daemon[1]: call of 'x' from 192.0.2.7 as '' from 203.0.113.9 as ''"},
		"nested":            {`^<PREFIX>bad(?:[a-z]+)* login from <HOST>$`, "repeats what repeats already: (?:[a-z]+)*"},
		"twice":             {`^<PREFIX>bad .*.* from <HOST>$`, "has .* twice in a row"},
		"nothing":           {`^<PREFIX>bad$ login from <HOST>$`, "never matches: no line can hold what it asks for"},
		"nothing either":    {`^<PREFIX>bad login from <HOST>^$`, "never matches: no line can hold what it asks for"},
		"too long":          {`^<PREFIX>bad {300}from <HOST>$`, "never matches: its lines have 310 bytes at least, and longest is 300"},
		"the same":          {"^<PREFIX>bad <HOST>$\n^<PREFIX>bad <HOST>$", "never matches: every line of it matches r1, which comes before it"},
		"shadowed":          {"^<PREFIX>bad (?:login|call) of \\S+ from <HOST>(?: port \\d+)?$\n^<PREFIX>bad call of [a-z]+ from <HOST> port \\d\\d$", "never matches: every line of it matches r1, which comes before it"},
		"shadowed by no ^":  {"bad call of .* from <HOST>$\n^<PREFIX>bad call of [a-z]+ from <HOST>$", "never matches: every line of it matches r1, which comes before it"},
		"partly shadowed":   {"^<PREFIX>bad [a-m]+ from <HOST>$\n^<PREFIX>bad [a-z]+ from <HOST>$", ""},
		"not shadowed":      {"^<PREFIX>bad .* from <ADDR>$\n^<PREFIX>bad .* from <HOST>$", ""},
		"a class and a tag": {"^<PREFIX>bad [^:]* from <HOST>$\n^<PREFIX>bad(?: [a-z]+ by|) <HOST> from 192.0.2.7$", ""},
	} {
		spec := "longest: 300\nfailregex:\n"
		n := 0
		for regex := range strings.Lines(c.rules) {
			n++
			spec += "  - { name: r" + string(rune('0'+n)) + ", trust: verified, regex: '" + strings.ReplaceAll(strings.TrimSuffix(regex, "\n"), "'", "''") + "' }\n"
		}
		last := "r" + string(rune('0'+n))
		var got []string
		for _, found := range build(t, spec).Lint() {
			if found.Rule == last {
				got = append(got, found.What)
			}
			if found.File != "f.yaml" || found.Line < 3 || found.Instead == "" {
				t.Errorf("%s: %+v has no place or no advice", name, found)
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), c.want)
		}
	}
}

// FuzzLint looks for regexes that the linter, and those who make lines of a shape, cannot bear.
func FuzzLint(f *testing.F) {
	for _, regex := range []string{`^<PREFIX>bad login of .* from <HOST>$`, `(?i)a(?:b|cc)*? "[^"]*" <F-USER>\S+</F-USER>|\bx <ADDR>`,
		`^(?P<w>a+)+(?P=w)(?!b)(?<=c) <HOST>`, `^(?P<w>x)?(?(w)a|b)[^\]]*<HOST>`} {
		f.Add(regex, false)
		f.Add(regex, true)
	}
	f.Fuzz(func(t *testing.T, regex string, python bool) {
		if len(regex) > 100 || strings.Contains(regex, "{") && strings.ContainsAny(regex, "*+") {
			t.Skip("may make lines that are longer than anybody wants")
		}
		spec := &Spec{}
		if python {
			spec.Dialect.V = Fail2ban
		}
		spec.Failregex = append(spec.Failregex, yamldoc.Value[RuleSpec]{V: RuleSpec{Regex: yamldoc.Value[string]{V: regex, Set: true}}})
		began := lab.ProcessTime(t)
		defer func() {
			if took := lab.ProcessTime(t) - began; took > 10*time.Second {
				t.Errorf("%q %v took %v", regex, python, took)
			}
		}()
		made, err := New("f", spec, Normal)
		if err != nil {
			return
		}
		for _, i := range made.Injections() {
			if i.From < 0 || i.To > len(i.Line) || i.From > i.To {
				t.Errorf("%q: %+v", regex, i)
			}
		}
		made.Lint()
		NewSearcher(made.NewReader(time.UTC)).NearMiss([]byte("bad login of x from 192.0.2.7"), noon)
	})
}
