package filter

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xdpban/jails/filter/dfa"
)

// drawPlaces makes a regex of all that a decider takes, and of some things that it does not.
func drawPlaces(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{`a`, `b`, `-`, ` `, `é`, `.`, `[ab]`, `[^a]`, `\w`, `\S`, `\W+`, `\S+`, `.*`, `.*?`, `[^b]*`, `a?`, `\n`,
			`\b`, `\B`, `$`, `^`, `\Z`, `(?a:\b)`, `(?s:.)*`, `(?:a|ab)`, `(?:ab|a)`, `(?>a+)`, `(?<!a)`}).Draw(t, "atom")
	}
	inner := func() string { return drawPlaces(t, depth-1) }
	look := func() string { return rapid.SampledFrom([]string{`(?!`, `(?!`, `(?=`}).Draw(t, "look") }
	switch rapid.IntRange(0, 12).Draw(t, "kind") {
	case 0:
		return `(` + inner() + `)`
	case 1:
		decides := rapid.SampledFrom([]string{`(%)?`, `(?:(%)|.)`, `(?P<n>(?:(%)|.*))`, `(?:a|(%))?`}).Draw(t, "decides")
		return strings.Replace(decides, `%`, inner(), 1) + inner() + `(?(` + rapid.SampledFrom([]string{`1`, `2`}).Draw(t, "group") + `)` + inner() + `|` + inner() + `)`
	case 2:
		return `(?:` + inner() + `|` + inner() + `)`
	case 3, 4:
		return `(?:` + inner() + rapid.SampledFrom([]string{`){1,2}`, `)?`, `)*`, `)*`, `)+`, `)??`, `)*?`, `)+?`}).Draw(t, "times")
	case 5:
		return `(?i:` + inner() + `)`
	case 6:
		return look() + rapid.SampledFrom([]string{`ab`, `a`, `- `, `aba`, `aab`, ` b\b`, `(?:ab|b-)\b`, `.*b`, `a$`, `[ab]+-`, `\n`, `$`, `a|`, `a.b`, `\w+ `, `(?i:A)b`}).Draw(t, "text") + `)`
	case 7:
		return look() + inner() + `)`
	case 8:
		return `(?:` + look() + inner() + `)` + inner() + `)*` + inner()
	case 9:
		return `(` + inner() + `)` + inner() + `\1`
	default:
		return inner() + inner()
	}
}

// checkDecider compares what a decider says of texts with what the backtracking engine says: the verdict, and all groups. It returns in
// how many it knew the answer.
func checkDecider(t *rapid.T) (known int) {
	regex := drawPlaces(t, rapid.IntRange(1, 5).Draw(t, "depth"))
	p, err := pythonPattern(regex, rapid.Bool().Draw(t, "multi"))
	if err != nil {
		t.Skip(err)
	}
	p.backtracks = true
	d := p.decider()
	if d == nil {
		t.Skip("no decider is made of it")
	}
	back, err := p.runner()
	if err != nil {
		t.Fatalf("%s: %v", regex, err)
	}
	roomy, small := d.set.NewMachine(dfa.Options{}), d.set.NewMachine(dfa.Options{Bytes: 3000})
	for range rapid.IntRange(1, 6).Draw(t, "texts") {
		text := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", " ", "-", "A", "é", "\n", "aba", "aab ", "b-", "\xff", "aaaaaaaaaaaa"}), 0, 12).Draw(t, "text"), ""))
		match, err := back.backtrack(string(text), &budget{})
		if err != nil {
			continue
		}
		slow := places(match, len(p.groups))
		if slow != nil && back.expr != "" && !back.auto().Match(text) {
			t.Fatalf("%s matches %q, the wider %s does not", regex, text, back.expr)
		}
		for range 2 { // the second time nothing is built
			for _, m := range []*dfa.Machine{roomy, small} {
				fast, ok := decided(d, m, text, len(p.groups))
				if ok && !reflect.DeepEqual(fast, slow) {
					t.Fatalf("%s in %q: %v by %s, %v by %s", regex, text, fast, d.guards.expr, slow, p.write(Backtracking))
				}
				if ok {
					known++
				}
			}
		}
	}
	return known
}

// decided is where the groups of a pattern are as d has it; false: it does not know.
func decided(d *decider, m *dfa.Machine, text []byte, groups int) (at []int, known bool) {
	if !m.MatchOne(0, text) {
		return nil, true
	}
	if m.Lost() {
		return nil, false
	}
	c := capture{text: text, machine: m, guards: d.guards}
	if !d.guards.hold(&c) {
		return nil, false
	}
	for i := range groups {
		from, to := c.group(i)
		at = append(at, from, to)
	}
	return at, true
}

func TestDecidersSayWhatBacktrackingSays(t *testing.T) {
	known := 0
	rapid.Check(t, func(t *rapid.T) { known += checkDecider(t) })
	if known == 0 {
		t.Error("nothing was compared")
	}
}

// FuzzDecider is the same for who has more time.
func FuzzDecider(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { checkDecider(t) }))
}

// What regexes of common filters say in lines like theirs stays what it was when their deciders are made, and those say it.
func TestDecidersTakeOver(t *testing.T) {
	for name, c := range map[string]struct {
		regex string
		lines []string
		want  []string
	}{
		"look-ahead in a loop": {
			`^login failed, (?:(?!ip=)(?:user=<F-USER>[^,]*</F-USER>|\w+=[^,]*), )*ip=\[<HOST>\]$`,
			[]string{"login failed, user=ann, a=1, ip=[192.0.2.7]", "login failed, ip=1, ip=[192.0.2.7]", "login failed, ipx=1, xip=, ip=[192.0.2.7]"},
			[]string{"192.0.2.7 x1[user:ann]", "-", "192.0.2.7 x1"},
		},
		"words in look-ahead": {
			`^<HOST> has no (?:(?:\w+ (?!found\b)){0,2}\w+) found`,
			[]string{"192.0.2.7 has no foundation founder found", "192.0.2.7 has no a b found", "192.0.2.7 has no a found found"},
			[]string{"192.0.2.7 x1", "192.0.2.7 x1", "192.0.2.7 x1"},
		},
		"a condition about one of the ways through a group": {
			`^login for <F-USER>(?:(?P<simple>\S+)|.*)</F-USER> from <ADDR>\. (?(simple)(?:\S+(?! from ) )*|(?:(?! from ).)*(?: user=(?P=user))? )in x$`,
			[]string{"login for ann from 192.0.2.7. a b in x", "login for ann bob from 192.0.2.7. a b in x", "login for ann from 192.0.2.9. from 192.0.2.7. y in x"},
			[]string{"192.0.2.7 x1[simple:ann user:ann]", "192.0.2.7 x1[user:ann bob]", "192.0.2.9 x1[simple:ann user:ann]"},
		},
		"a guard that fails": {
			`^(?P<n>a|(?!ax)\S+) bad \b(\S+)\b from <ADDR>(?! again)`,
			[]string{"ax bad b from 192.0.2.7", "ay bad -b from 192.0.2.7", "a bad b- from 192.0.2.7 and", "b bad b from 192.0.2.7 again"},
			[]string{"-", "-", "-", "-"},
		},
	} {
		r := build(t, "dialect: fail2ban\nfailregex: ['"+c.regex+"']\n").NewReader(time.UTC)
		for turn := range 2 * fewAsked {
			if got := outcomesOf(t, r, c.lines); !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%s, turn %d:\ngot  %q\nwant %q", name, turn, got, c.want)
			}
		}
		if o := r.rules.deciders[0]; o.machine == nil {
			t.Errorf("%s: asked %d times, none was made", name, o.asked)
		}
	}
}
