package dfa

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// An answer is what is known of a line: the first regex that matches, and where its groups are.
type answer struct {
	rule int
	ends []int
}

// oracle asks each regex in turn as package regexp does.
type oracle []*regexp.Regexp

func newOracle(exprs []string) oracle {
	o := make(oracle, len(exprs))
	for i, expr := range exprs {
		o[i] = regexp.MustCompile(expr)
	}
	return o
}

// ask leaves out the first n.
func (o oracle) ask(n int, line []byte) answer {
	for i := n; i < len(o); i++ {
		if found := o[i].FindSubmatchIndex(line); found != nil {
			return answer{i, found}
		}
	}
	return answer{rule: -1}
}

// ask is m's answer without the first n regexes, each group by itself and then all together.
func ask(t fataler, m *Machine, n int, line []byte) answer {
	rule := m.MatchFrom(n, line)
	if rule < 0 {
		return answer{rule: -1}
	}
	single := make([]int, 2*m.set.rules[rule].groups)
	for i := range m.set.rules[rule].groups {
		single[2*i], single[2*i+1] = m.Group(line, i)
	}
	all := m.Groups(nil, line)
	if !slices.Equal(single, all) {
		t.Fatalf("%q: Group says %v, Groups %v", line, single, all)
	}
	return answer{rule, all}
}

type fataler interface{ Fatalf(string, ...any) }

func (a answer) String() string { return fmt.Sprint(a.rule, a.ends) }

// compare asks machines of all kinds about lines.
func compare(t fataler, exprs []string, lines [][]byte) {
	set, err := Compile(exprs)
	if err != nil {
		t.Fatalf("%q: %v", exprs, err)
	}
	roomy, tiny, small := set.NewMachine(Options{}), set.NewMachine(Options{Bytes: 1}), set.NewMachine(Options{Bytes: 3000})
	o := newOracle(exprs)
	for _, line := range lines {
		for turn := range 2 * (len(exprs) + 1) { // the second time nothing is built
			n := turn / 2
			want := o.ask(n, line)
			for name, m := range map[string]*Machine{"roomy": roomy, "tiny": tiny, "small": small} {
				if got := ask(t, m, n, line); got.String() != want.String() {
					t.Fatalf("%s machine of %q from %d on: %q: got %v, want %v", name, exprs, n, line, got, want)
				}
				if n < len(o) {
					compareOne(t, m, o, n, line)
				}
			}
		}
	}
}

// compareOne asks about one regex alone.
func compareOne(t fataler, m *Machine, o oracle, rule int, line []byte) {
	want := o[rule].FindSubmatchIndex(line)
	if got := m.Matches(rule, line); got != (want != nil) {
		t.Fatalf("%v: %q: matches: %v", o[rule], line, got)
	}
	if got := m.MatchOne(rule, line); got != (want != nil) {
		t.Fatalf("%v: %q: matches alone: %v", o[rule], line, got)
	} else if got && !slices.Equal(m.Groups(nil, line), want) {
		t.Fatalf("%v: %q: alone: got %v, want %v", o[rule], line, m.Groups(nil, line), want)
	}
}

func TestMachineSaysWhatRegexpSays(t *testing.T) {
	for _, c := range []struct{ exprs, lines []string }{
		{[]string{`a`}, []string{"", "a", "ba", "bab", "\xff", "\xffa"}},
		{[]string{``}, []string{"", "a"}},
		{[]string{`^`, `$`}, []string{"", "a"}},
		{[]string{`b$`, `^a`, `c`}, []string{"", "a", "ab", "abc", "cab", "ca", "c"}},
		{[]string{`(?P<h>a*)(a|b)`}, []string{"aaa", "aab", "b", "xxaaab"}},
		{[]string{`(?P<h>a*?)(a|b)`}, []string{"aaa", "aab", "b"}},
		{[]string{`(?P<h>a|ab)(c|bcd)`}, []string{"abcd", "abc", "ac"}},
		{[]string{`(?:(?P<h>a)|b)*`}, []string{"ab", "ba", "aab", "", "c"}},
		{[]string{`(?:(?P<h>a)|(?P<user>b)|(?P<x>))*c`}, []string{"abc", "bac", "aabc", "c", "cc"}},
		{[]string{`^.* from (?P<h>\S+)$`}, []string{"x from a from b", "from a", " from a", "x from  from b", "from from from c"}},
		{[]string{`from (?P<h>\S+)`}, []string{"x from a from b", "from  a", "xfrom a\nfrom b"}},
		{[]string{`^(?P<user>.*?) from (?P<h>\S+)( port \d+)?`}, []string{"x from a from b port 7", "u from a port 22"}},
		{[]string{`\bab\b`, `\Bab`, `ab\B`}, []string{"ab", "xab", "abx", "x ab.", "\xffab", "ab\xff", "éab", "xabx"}},
		{[]string{`(?m)^b$`, `(?m)a$`, `^c`}, []string{"a\nb\nc", "b", "xa\n", "x\nb", "\nc", "c\n"}},
		{[]string{`a.c`, `(?s)a.c`, `a[^x]c`}, []string{"a\nc", "abc", "a\xffc", "a\xc3\x28c", "aéc", "a\xe2\x82c", "a\xf0\x9f\x98\x80c", "a\xed\xa0\x80c"}},
		{[]string{"\ufffd$"}, []string{"\xff", "\ufffd", "\xe2\x82", "a\xe2\x82\xac"}},
		{[]string{`(?i)straße k`, `(?i)[k-l]x`}, []string{"STRASSE", "straße K", "STRAßE K", "straẞe k", "Kx", "LX"}},
		{[]string{`\pL+`, `[^\pL]`}, []string{"é", "1", "日本", "\xff", ""}},
		{[]string{`[^\x00-\x{10FFFF}]`, `a{2,3}`}, []string{"a", "aa", "baaaa"}},
		{[]string{`^(?:a|b)*a(?:a|b){5}$`}, []string{"aaaaaa", "abaaaaa", "bbbbbb", strings.Repeat("ab", 50)}},
		{[]string{`$^`, `a$\b`, `a\b$`}, []string{"", "a", "ba", "a "}},
		{[]string{`(?P<h>(?:\B|a)+)+?`}, []string{"ba\xff", "aa", ""}}, // a loop ends where it meets itself
		{[]string{`(?m)a.*$\b`, `(?m)a.*$(?:\n^|\b)b`, `(?m)a$(?:\s|$^)*b`}, []string{"a long line\nb", "a\n\nb", "a line\n", "a"}},
		// Of a word that ends within a character nothing is known but what it is with what follows.
		{[]string{`^abcdefg[^\x{fffd}]x`, `^abcdefg\pLy`}, []string{"abcdefg\xc3x and more", "abcdefg\xc3\xa9x and more", "abcdefg\xc3\xa9y"}},
		// Long runs of characters that keep a state, whose threads stay, come from one another or begin anew.
		{[]string{`^(?P<h>.+)$`, `(?m)^(?P<h>.+)$`}, []string{"a long line of words", "two long\nlines of words", "a long l\xffne of \u00fcmlauts and more"}},
		{[]string{`^.*(?P<h>..)$`, `^.*(?P<h>.{9})b`}, []string{"a long line of words", "a long line of wordsbe", "a long line of w\xffo\u00fcs"}},
		{[]string{`^(?P<h>\S+) (?:(?P<user>.*) )?(?P<x>.*?)(?:\b|-)(?P<y>.*)$`}, []string{"a long line of words", "a verylongline--of-words-"}},
		{[]string{`(?P<h>[^b]{3,})(?P<x>.*)$`, `(?:(?P<h>.)|(?P<x>..))*`}, []string{"a long line of words", "abbbbbbbbbbbbbbbbbbbbbbb"}},
		{nil, []string{"", "a"}},
	} {
		lines := make([][]byte, len(c.lines))
		for i, line := range c.lines {
			lines[i] = []byte(line)
		}
		compare(t, c.exprs, lines)
	}
}

func TestRegexesOutOfTheLanguageAreNamed(t *testing.T) {
	var many strings.Builder
	for i := range maxGroups {
		fmt.Fprintf(&many, "(?P<g%d>a)", i)
	}
	for expr, want := range map[string]string{
		`a(?=b)`:      "regex 2: error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
		`(`:           "regex 2: error parsing regexp: missing closing ): `(`",
		`(a)\1`:       "regex 2: error parsing regexp: invalid escape sequence: `\\1`",
		many.String(): "regex 2: too large for one automaton",
	} {
		_, err := Compile([]string{`a`, expr})
		var which *Error
		if err == nil || err.Error() != want || !errors.As(err, &which) || which.Expr != 1 {
			t.Errorf("%s: got %v, want %s", expr, err, want)
		}
	}
	_, err := Compile([]string{`a(?!b)`})
	var bad *syntax.Error
	if !errors.As(err, &bad) || bad.Code != syntax.ErrInvalidPerlOp {
		t.Errorf("got %v", err)
	}
}

// genExpr makes regexes of a few letters, with all that the syntax has.
func genExpr() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		named := 0
		var make func(depth int) string
		make = func(depth int) string {
			kind := rapid.IntRange(0, 17).Draw(t, "kind")
			if depth == 0 {
				kind %= 9
			}
			switch kind {
			case 0, 1, 2:
				return rapid.SampledFrom([]string{"a", "b", "ab", " ", "ba a", "é", "k", "\n", "\ufffd"}).Draw(t, "text")
			case 3:
				return rapid.SampledFrom([]string{".", `\S`, `\w`, `[^a]`, `[ab]`, `\d`, `[^\n ]`, `(?s:.)`, `[é-ü]`, `(?i:K)`, `\x{FFFD}`, `\W`}).Draw(t, "class")
			case 4:
				return rapid.SampledFrom([]string{"^", "$", `\b`, `\B`, `(?m:^)`, `(?m:$)`, `\A`, `\z`, ""}).Draw(t, "look")
			case 5:
				return rapid.SampledFrom([]string{".*", `\S+`, ".*?", `\w*`, ".+?", `[^b]*`}).Draw(t, "run")
			case 6, 7, 8:
				return rapid.SampledFrom([]string{"a", "b", "."}).Draw(t, "letter")
			case 9, 10, 11, 12:
				return make(depth-1) + make(depth-1)
			case 13:
				return "(?:" + make(depth-1) + "|" + make(depth-1) + ")"
			case 14:
				return "(?:" + make(depth-1) + ")" + rapid.SampledFrom([]string{"*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?"}).Draw(t, "times")
			case 15:
				return "(" + make(depth-1) + ")"
			}
			named++
			name := "h"
			if named > 1 {
				name = fmt.Sprint("g", named)
			}
			return "(?P<" + name + ">" + make(depth-1) + ")"
		}
		expr := make(rapid.IntRange(1, 5).Draw(t, "depth"))
		return rapid.SampledFrom([]string{"", "", "^"}).Draw(t, "start") + expr + rapid.SampledFrom([]string{"", "", "$"}).Draw(t, "end")
	})
}

func genLine() *rapid.Generator[[]byte] {
	parts := []string{"a", "b", "ab", " ", "a a", "é", "K", "k", "\u212a", "\n", "\xff", "\xe2\x82", "\xc3", "\ufffd", "0", "aaaaaaaaaaaaaaaaaaaa", "xxxxxxxxx", "-"}
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12), func(chosen []string) []byte {
		return []byte(strings.Join(chosen, ""))
	})
}

func TestMachineSaysWhatRegexpSaysOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exprs := rapid.SliceOfN(genExpr(), 1, 4).Draw(t, "exprs")
		for _, expr := range exprs {
			if _, err := regexp.Compile(expr); err != nil {
				t.Skip(err)
			}
		}
		compare(t, exprs, rapid.SliceOfN(genLine(), 1, 12).Draw(t, "lines"))
	})
}

func FuzzMatch(f *testing.F) {
	f.Add(`^(?P<h>\S+) .*b$`, `a|(?P<h>b)`, []byte("a b\xff"))
	f.Add(`^abcdefg[^\x{fffd}]x`, `^abcdefg\pLy`, []byte("abcdefg\xc3x\x00abcdefg\xc3\xa9x and more"))
	f.Add(`(?i)straße \b(?P<h>k)`, `(?m)^b$`, []byte("x\nb"))
	f.Fuzz(func(t *testing.T, one, two string, line []byte) {
		if len(one)+len(two) > 200 || len(line) > 500 {
			return
		}
		for _, expr := range []string{one, two} {
			if _, err := regexp.Compile(expr); err != nil {
				return
			}
		}
		if _, err := Compile([]string{one, two}); errors.Is(err, ErrTooLarge) {
			return
		}
		half := line[len(line)/2:]
		turned := append(bytes.Clone(half), line[:len(line)/2]...)
		compare(t, []string{one, two}, append(bytes.Split(line, []byte{0}), line, half, turned))
	})
}
