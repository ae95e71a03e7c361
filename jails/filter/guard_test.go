package filter

import (
	"reflect"
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

// drawGuarded makes a regex of what guards can look at, and of some things that they cannot.
func drawGuarded(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{`a`, `b`, ` `, `.`, `[ab]`, `\w`, `\S+`, `.*`, `.*?`, `a?`, `\b`, `\B`, `(?!ab)`, `(?=.*b)`, `(?! a)`,
			`(?:(?!ab).)*`, `(?:(?! b).)*?`, `(?:(?!aba).)*`, `(?:(?!b-ab).)*?`, `(?s:(?:(?! ).)*)`, `(?:(?!aa).)*`, `(?:(?! b)[^-])+?`, `(?:(?!a)\S){1,2}`, `(?<!a)`, `(?>a+)`, `$`}).Draw(t, "atom")
	}
	inner := func() string { return drawGuarded(t, depth-1) }
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 0:
		return `(` + inner() + `)`
	case 1:
		return `(` + inner() + `)?` + inner() + `(?(1)` + inner() + `|` + inner() + `)`
	case 2:
		return `(?:` + inner() + `|` + inner() + `)`
	case 3:
		return `(?:` + inner() + rapid.SampledFrom([]string{`){1,2}`, `)?`, `)*`, `)??`}).Draw(t, "times")
	case 4:
		return `(` + inner() + `)` + inner() + `\1`
	case 5:
		return `(?i:` + inner() + `)`
	default:
		return inner() + inner()
	}
}

// Where all guards hold the automaton has found what the backtracking engine finds, in all groups; and
// where it finds nothing, neither does that.
func TestGuardsHoldOnlyWhereEnginesAgree(t *testing.T) {
	held, tried := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		regex := drawGuarded(t, rapid.IntRange(1, 4).Draw(t, "depth"))
		p, err := pythonPattern(regex, false)
		if err != nil || !p.backtracks {
			t.Skip()
		}
		guards := p.guarded()
		if guards == nil {
			t.Skip()
		}
		wide, err := regexp.Compile(guards.expr)
		if err != nil {
			t.Skip()
		}
		back, err := p.runner()
		if err != nil {
			t.Fatalf("%s: %v", regex, err)
		}
		text := []byte(rapid.StringOf(rapid.SampledFrom([]rune("aabbA -é\n"))).Draw(t, "text"))
		slow, err := back.find(text, &budget{})
		if err != nil {
			t.Skip("took too long")
		}
		tried++
		at := wide.FindSubmatchIndex(text)
		if at == nil {
			if slow != nil {
				t.Fatalf("%s finds %v in %q, %s nothing", regex, slow, text, guards.expr)
			}
			return
		}
		found := capture{rule: &rule{runner: back}, text: text, at: at, guards: guards}
		if !found.isExact() {
			return
		}
		held++
		var fast []int
		for i := range p.groups {
			from, to := found.group(i)
			fast = append(fast, from, to)
		}
		if slow != nil && fast[1] == slow[1]+1 && fast[1] == len(text) {
			fast[1]-- // $ took the line break
		}
		if !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%s in %q: %v by %s, %v by %s", regex, text, fast, guards.expr, slow, p.write(Backtracking))
		}
	})
	if held < tried/20 {
		t.Errorf("the guards hold in %d of %d texts: hardly anything was tried", held, tried)
	}
}

// The most common lines of fail2ban's most common filter take no backtracking.
func TestGuardsOfCommonRegexes(t *testing.T) {
	for regex, lines := range map[string]map[string]bool{
		`^Failed \S+ for (?P<cond_inv>invalid user )?<F-USER>(?P<cond_user>\S+)|(?(cond_inv)(?:(?! from ).)*?|[^:]+)</F-USER> from <HOST>(?: port \d+)?(?: ssh\d*)?(?(cond_user): |(?:(?:(?! from ).)*)$)`: {
			"Failed password for invalid user a b from 192.0.2.7 port 22 ssh2\n":              true,
			"Failed password for root from 192.0.2.7 port 22 ssh2: RSA a\n":                   true,
			"Failed password for invalid user a from 192.0.2.9 from 192.0.2.7 port 22 ssh2\n": true,
		},
		`^<HOST> (?!robot)\w+ (?P<x>\S+) is not (?P=x)$`: {
			"192.0.2.7 human a is not a\n":  true,
			"192.0.2.7 human a is not b\n":  false,
			"192.0.2.7 robots a is not a\n": false,
			"192.0.2.7 human a is not ab\n": false,
		},
	} {
		c := compiler{dialect: Fail2ban}
		r, err := c.compile(regex, namesAnything)
		if err != nil || r.guards == nil {
			t.Fatalf("%s: %v, no guards", regex, err)
		}
		for line, want := range lines {
			at := regexp.MustCompile(r.guards.expr).FindSubmatchIndex([]byte(line))
			got := at != nil && (&capture{rule: &r, text: []byte(line), at: at, guards: r.guards}).isExact()
			if got != want {
				t.Errorf("%.40s: %q: guards hold: %v, want %v", regex, line, got, want)
			}
			if slow, err := r.find([]byte(line), &budget{}); err != nil || want && slow == nil {
				t.Errorf("%.40s: %q: %v, %v", regex, line, slow, err)
			}
		}
	}
}
