package filter

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What Python 3.11's re.search finds, by byte offsets; nil: nothing. multi is re.MULTILINE. Flags inside a
// group mean the group, as fail2ban has it.
var pythonFinds = []struct {
	regex string
	multi bool
	text  string
	want  []int
}{
	{`^a$`, false, "a\n", []int{0, 1}},
	{`^a$`, false, "a\nb\n", nil},
	{`^a$`, true, "b\na\nc\n", []int{2, 3}},
	{`a\Z`, false, "a\n", nil},
	{`a\n\Z`, false, "a\n", []int{0, 2}},
	{`^(?P<u>.*)$`, false, "a b\n", []int{0, 3, 0, 3}},
	{`^(?P<u>.*$)`, false, "a b\n", []int{0, 3, 0, 3}},
	{`^(?P<u>[^x]*)$`, false, "a b\n", []int{0, 4, 0, 4}},
	{`a\s+$`, false, "a\n", []int{0, 2}},
	{`a\s*$`, false, "a \n", []int{0, 3}},
	{`\A\s`, false, "\x1cx", []int{0, 1}},
	{`^\S+$`, false, "a\x1cb\n", nil},
	{`^\s+$`, false, "\v\x1f\u0085\u00a0\n", []int{0, 7}},
	{`^\w+$`, false, "aé_٣\n", []int{0, 6}},
	{`^\d+$`, false, "1٣\n", []int{0, 3}},
	{`(?a)^\w+$`, false, "aé\n", nil},
	{`^\W$`, false, "é", nil},
	{`^[\W]$`, false, `-`, []int{0, 1}},
	{`^[^\W\d]+$`, false, "aé", []int{0, 3}},
	{`^[\D]+$`, false, `ab`, []int{0, 2}},
	{`[\S]+`, false, " x\x1fy", []int{1, 2}},
	{`a{,2}b`, false, `aaab`, []int{1, 4}},
	{`a{2,}b`, false, `aaab`, []int{0, 4}},
	{`a{2}b`, false, `aaab`, []int{1, 4}},
	{`a{x}b`, false, `a{x}b`, []int{0, 5}},
	{`a{}b`, false, `a{}b`, []int{0, 4}},
	{`^{{1}x$`, false, "{x\n", []int{0, 2}},
	{`[[]a`, false, `[a`, []int{0, 2}},
	{`[]a]+`, false, `]a`, []int{0, 2}},
	{`[^]a]+`, false, `]xa`, []int{1, 2}},
	{`[a\-z]+`, false, `-b`, []int{0, 1}},
	{`[a-]+`, false, `-a`, []int{0, 2}},
	{`[\]\\]+`, false, `\]`, []int{0, 2}},
	{`[\x41-C]+`, false, `ABCD`, []int{0, 3}},
	{`((?i)ab)c`, false, `ABc`, []int{0, 3}},
	{`(?:(?i)ab|x)c`, false, `ABc`, []int{0, 3}},
	{"(?i)ÄB", false, "äb", []int{0, 3}},
	{`(?iu)^AB$`, false, "ab\n", []int{0, 2}},
	{`(?i:a)B`, false, `AB`, []int{0, 2}},
	{`(?s).b`, false, "\nb", []int{0, 2}},
	{`.b`, false, "\nb", nil},
	{`(?m)^b$`, false, "a\nb\n", []int{2, 3}},
	{`(?-i:a)(?i:b)`, false, `aB`, []int{0, 2}},
	{`(?x) a # no\n b`, false, `ab`, []int{0, 1}},
	{`(?x)[ #]+`, false, ` #`, []int{0, 2}},
	{`a(?#not)b`, false, `ab`, []int{0, 2}},
	{`(?P<q>["\'])x(?P=q)`, false, `"x"`, []int{0, 3, 0, 1}},
	{`(a)(b)\2\1`, false, `abba`, []int{0, 4, 0, 1, 1, 2}},
	{`(?P<n>a)|(?P<m>b)`, false, `b`, []int{0, 1, -1, -1, 0, 1}},
	{`(a)?b(?(1)c|d)`, false, `abc`, []int{0, 3, 0, 1}},
	{`(a)?b(?(1)c|d)`, false, `bd`, []int{0, 2, -1, -1}},
	{`(a)?b(?(1)c)`, false, `b`, []int{0, 1, -1, -1}},
	{`(?P<g>a)?b(?(g)c|d)`, false, `abd`, []int{1, 3, -1, -1}},
	{`a(?=b)`, false, `ab`, []int{0, 1}},
	{`a(?!b)`, false, `ab`, nil},
	{`(?<=a)b`, false, `ab`, []int{1, 2}},
	{`(?<!a)b`, false, `ab`, nil},
	{`(?>a+)ab`, false, `aab`, nil},
	{`a++ab`, false, `aab`, nil},
	{`a?+b`, false, `ab`, []int{0, 2}},
	{`a*?b`, false, `aab`, []int{0, 3}},
	{`(a|ab)(c|bcd)(d*)`, false, `abcd`, []int{0, 4, 0, 1, 1, 4, 4, 4}},
	{`\bab\b`, false, `x ab.`, []int{2, 4}},
	{`a\Bb`, false, `ab`, []int{0, 2}},
	{`\101\x42\u0043\U00000044`, false, `ABCD`, []int{0, 4}},
	{`\0`, false, "\x00", []int{0, 1}},
	{`\t\n\v\f\r\a`, false, "\t\n\v\f\r\a", []int{0, 6}},
	{`\.\ \/\"\#\-\_\<`, false, `. /"#-_<`, []int{0, 8}},
	{`(?:a|b)*c`, false, `abac`, []int{0, 4}},
	{`(?:(a)|b)*`, false, `ab`, []int{0, 2, 0, 1}},
	{`^(?:\S+ )?x`, false, `a x`, []int{0, 3}},
	{`x*`, false, `y`, []int{0, 0}},
	{`(?:x{1001})`, false, strings.Repeat("x", 1001), []int{0, 1001}},
	{`^(a)(?:b(?=c))?\w$`, false, "abc\n", []int{0, 3, 0, 1}},
	{`a$(?P<t>\n?)`, false, "a\n", []int{0, 2, 1, 2}},
	{`a$\s`, false, "a\n", []int{0, 2}},
	{`(?:a$|\n){2}`, false, "a\n", []int{0, 2}},
	{`a$\Z`, false, "a\n", nil},
	{`a$\b`, false, "a\n", []int{0, 1}},
	{`(?a)a$\B`, false, "a\n", nil},
	{`^.*\nb$`, true, "a\nb\n", []int{0, 3}},
	{`^c`, true, "a\nb\nc\n", []int{4, 5}},
	{`\Ab`, true, "a\nb\n", nil},
}

func TestRegexesMatchWhatPythonsMatch(t *testing.T) {
	for _, c := range pythonFinds {
		p, err := pythonPattern(c.regex, c.multi)
		if err != nil {
			t.Errorf("%s: %v", c.regex, err)
			continue
		}
		m, err := p.runner()
		if err != nil {
			t.Errorf("%s: %v", c.regex, err)
			continue
		}
		got, err := m.find([]byte(c.text), &budget{})
		if err != nil {
			t.Errorf("%s: %v", c.regex, err)
		}
		if m.engine() == Linear && got != nil && c.want != nil && strings.HasSuffix(c.text, "\n") && got[1] == c.want[1]+1 {
			got[1]-- // the automaton's $ takes the line break; no group sees it
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s in %q by the %v engine: got %v, want %v", c.regex, c.text, m.engine(), got, c.want)
		}
	}
}

// What Python 3.11's re.search finds in texts beyond ASCII, by byte offsets; nil: nothing.
var pythonWords = []struct {
	regex, text string
	want        []int
}{
	{`\bab\b`, "éab ab", []int{5, 7}},
	{`\bab\b`, "ab\u0301 abé", []int{0, 2}},
	{`\b\w+\b`, "-éa-", []int{1, 4}},
	{`a\b`, "aé", nil},
	{`a\b`, "a٣", nil},
	{`a\b`, "a²", nil},
	{`a\b`, "a\u0301", []int{0, 1}},
	{`a\b`, "a\u203f", []int{0, 1}},
	{`a\b`, "a_", nil},
	{`a\b`, "aⅷ", nil},
	{`(a|é)\b`, "xé.", []int{1, 3, 1, 3}},
	{`(?:a|ab)\b`, "abé ab", []int{5, 7}},
	{`(a\b)`, "aé a", []int{4, 5, 4, 5}},
	{`\w\b.`, "aé-", []int{1, 4}},
	{`\b`, "é", []int{0, 0}},
	{`\B`, "é", nil},
	{`a\Bb`, "ab", []int{0, 2}},
	{`a\B`, "aé", []int{0, 1}},
	{`a\B`, "a-", nil},
	{`\Bé`, "aé", []int{1, 3}},
	{`\bé`, "aé é", []int{4, 6}},
	{`(?a)a\b`, "aé", []int{0, 1}},
	{`(?a)\bé`, "aé", []int{1, 3}},
	{`(?a)\w+\b`, "é1é", []int{2, 3}},
	{`a\b$`, "a", []int{0, 1}},
	{`(?:a\b|b)c?`, "aé a b", []int{4, 5}},
	{`x(?:\w+ )*a\b(?!-)`, "xé a- xé a.", []int{7, 12}},
	{`^\w+@\d+\b:`, "日本@٣٤:", []int{0, 12}},
	{`[^\W_]+\b`, "_é_ é", []int{5, 7}},
	{`\d\b`, "٣a 3", []int{4, 5}},
	{`[a-z]+\b`, "abé ab", []int{5, 7}},
	{`[\d_]\b`, "1é _", []int{4, 5}},
	{`a{2}\b`, "aaé aa", []int{5, 7}},
	{`a?\b`, "é a", []int{0, 0}},
	{`(?i)I\b`, "xı", []int{1, 3}},
	{`(?i)fail`, "FAİL", []int{0, 5}},
	{`(?i)[h-j]`, "İ", []int{0, 2}},
	{`(?i)[^h-j]`, "ı", nil},
	{`(?i)ı`, "I", []int{0, 1}},
	{`(?i)s\b`, "ſ", []int{0, 2}},
	{`(?i)k`, "\u212a", []int{0, 3}},
	{`i`, "İ", nil},
	{`(?i:i)i`, "ıi", []int{0, 3}},
	{`(?ai)i`, "ı", nil},
	{`\s\b`, "\u2003é", []int{0, 3}},
	{`\bab\b`, "\ufffdab\ufffd", []int{3, 5}},
}

// Whichever engine runs a regex, and whether it asks the automaton first: words, digits and letters of either case
// are what they are to Python.
func TestWordsAreThoseOfPython(t *testing.T) {
	for _, c := range pythonWords {
		p, err := pythonPattern(c.regex, false)
		if err != nil {
			t.Fatalf("%s: %v", c.regex, err)
		}
		asked := p.backtracks
		for _, backtracks := range []bool{asked, true} {
			p.backtracks = backtracks
			m, err := p.runner()
			if err != nil {
				t.Fatalf("%s: %v", c.regex, err)
			}
			for how, find := range map[string]func() []int{
				"alone":        func() []int { at, _ := m.find([]byte(c.text), &budget{}); return at },
				"by automaton": func() []int { return groupsFound(m, c.text) },
			} {
				got := find()
				if got != nil && c.want != nil && strings.Contains(c.regex, `\b`) && got[1] > c.want[1] && !backtracks {
					got[1] = c.want[1] // \b took what ends the word; no group sees it
				}
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s in %q, %v engine, %s: got %v, want %v", c.regex, c.text, m.engine(), how, got, c.want)
				}
			}
		}
	}
}

// groupsFound is where m's groups are as a scan finds them; nil: m does not match.
func groupsFound(m runner, text string) (at []int) {
	rules := []rule{{runner: m}}
	s := newScan(rules, newAutomaton(rules), -1, false)
	s.first([]byte(text), &Reader{}, func(c *capture) bool {
		for i := range m.groups {
			from, to := c.group(i)
			at = append(at, from, to)
		}
		return true
	})
	return at
}

func TestOnlyWhatNeedsItBacktracks(t *testing.T) {
	for regex, want := range map[string]Engine{
		`^<HOST> [^\s[]+ (?i:a|b){,3}\Z`:      Linear,
		`^(?:<ADDR>|<F-ID>\S+</F-ID>)(?: |$)`: Linear,
		`^<SUBNET>(?P<a>b)?$`:                 Linear,
		`^<HOST> (?:bad\b|(\w)\b)`:            Linear,
		`^<HOST> .\b`:                         Backtracking,
		`^<HOST> bad\b.`:                      Backtracking,
		`(?a)^<HOST> bad\b.`:                  Linear,
		`^<HOST>(?!a)`:                        Backtracking,
		`^(?P<a>b)<HOST>(?P=a)`:               Backtracking,
		`^(a)?<HOST>(?(1)b)`:                  Backtracking,
		`^(?>a+)<HOST>`:                       Backtracking,
		`^<HOST><F-USER>.*$</F-USER>`:         Backtracking,
		`^<HOST>$\s`:                          Backtracking,
	} {
		c := compiler{dialect: Fail2ban}
		r, err := c.compile(regex, namesAnything)
		if err != nil || r.Engine != want {
			t.Errorf("%s: engine is %v, %v, want %v", regex, r.Engine, err, want)
		}
	}
}

func TestBadPythonRegexesAreRefused(t *testing.T) {
	for _, regex := range []string{
		`a**`, `*a`, `(a`, `a)`, `[a`, `[z-a]`, `[a-\d]`, `(?P<1>a)`, `(?P=x)`, `\1`, `(?<n>a)`, `a{2,1}`, `\q`, `a\`, `(?z)a`, `\x4`, `\u12`,
		`(?(1)a)`, `(a)(?(1)a|b|c)`, `(?P<n>a`, `(?#`, `^*`, `a{1}{2}`, `\z`, `(?`, strings.Repeat("(", 1000) + strings.Repeat(")", 1000),
	} {
		if p, err := pythonPattern(regex, false); err == nil {
			t.Errorf("%.40s is read as %s", regex, p.write(Linear))
		}
	}
}

// drawRegex makes a regex that both engines can run.
func drawRegex(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{`a`, `b`, ` `, `\xe9`, `.`, `[ab]`, `[^a]`, `\w`, `\W`, `\s`, `\S`, `\d`, `[\w-]`, `[^\s]`, `\b`, `^`, `$`, `\n`}).Draw(t, "atom")
	}
	inner := func() string { return drawRegex(t, depth-1) }
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return `(` + inner() + `)`
	case 1:
		return `(?i:` + inner() + `)`
	case 2:
		return `(?:` + inner() + `|` + inner() + `)`
	case 3:
		return `(?:` + inner() + rapid.SampledFrom([]string{`){1,2}`, `)?`, `){2}`, `)??`}).Draw(t, "times")
	default:
		return inner() + inner()
	}
}

var someTexts = rapid.StringOf(rapid.SampledFrom([]rune{'a', 'b', 'A', '1', ' ', '\n', '-', 'é', '\u00a0', '\x1c'}))

// Both engines find the same in the same bytes, UTF-8 or not, and an automaton for the wider regex
// matches wherever the regex does.
func TestEnginesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regex := drawRegex(t, rapid.IntRange(0, 4).Draw(t, "depth"))
		p, err := pythonPattern(regex, rapid.Bool().Draw(t, "multi"))
		if err != nil {
			t.Skip(err)
		}
		text := []byte(someTexts.Draw(t, "text"))
		if len(text) > 0 && rapid.Bool().Draw(t, "broken") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = 0xff
		}
		needed := p.backtracks
		p.backtracks = true
		back, err := p.runner()
		if err != nil {
			t.Fatalf("%s: %v", regex, err)
		}
		slow, err := back.find(text, &budget{})
		if err != nil {
			t.Skip("took too long")
		}
		if slow != nil && back.expr != "" && !back.auto().Match(text) {
			t.Fatalf("%s matches %q at %v, the wider %s does not", regex, text, slow, p.wider())
		}
		if needed {
			return
		}
		p.backtracks = false
		auto, err := p.runner()
		if err != nil {
			t.Fatalf("%s: %v", regex, err)
		}
		fast, _ := auto.find(text, &budget{})
		if slow != nil && fast != nil && fast[1] == slow[1]+1 && fast[1] == len(text) {
			fast[1]-- // $ took the line break
		}
		if slow != nil && fast != nil && strings.Contains(regex, `\b`) {
			fast[1] = slow[1] // \b took what ends the word; no group sees it
		}
		if !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%s in %q: %v by %s, %v by %s", regex, text, fast, p.write(Linear), slow, p.write(Backtracking))
		}
	})
}

// FuzzPython reads any text as a regex: what is read can be run, and its automaton is wide enough.
func FuzzPython(f *testing.F) {
	for _, c := range pythonFinds {
		f.Add(c.regex, c.text)
	}
	f.Fuzz(func(t *testing.T, regex, text string) {
		if len(regex) > 200 || len(text) > 200 {
			return
		}
		p, err := pythonPattern(regex, false)
		if err != nil {
			return
		}
		p.backtracks = true
		m, err := p.runner()
		if err != nil {
			return
		}
		found, err := m.find([]byte(text), &budget{})
		if err != nil || found == nil {
			return
		}
		for i := 0; i < len(found); i += 2 {
			if found[i] > found[i+1] || found[i+1] > len(text) || (found[i] < 0) != (found[i+1] < 0) {
				t.Errorf("%s in %q: %v", regex, text, found)
			}
		}
	})
}
