package filter

import (
	"regexp"
	"strings"
	"testing"
)

// What an avoidance takes is the longest, or the shortest, that does not hold its text and behind which the rest matches.
func TestAvoidancesTakeWhatTheySay(t *testing.T) {
	for _, text := range []string{"a", "ab", "aa", "abc", "aba", "abca", "abb", "abcb"} {
		for _, c := range []struct {
			regex string
			lazy  bool
			any   string
		}{{`(?:(?!TEXT).)*`, false, "abc"}, {`(?:(?!TEXT).)*?`, true, "abc"}, {`(?s:(?:(?!TEXT).)*)`, false, "abc\n"}, {`(?s:(?:(?!TEXT).)*?)`, true, "abc\n"}} {
			a := avoidanceOf(t, strings.Replace(c.regex, "TEXT", text, 1))
			for _, rest := range []string{``, `$`, `a`, `b.?$`, `c|ab`, `(?:b|ca).*$`} {
				re := regexp.MustCompile(`\A(` + a.regex() + `)(?:` + rest + `)`)
				behind := regexp.MustCompile(`\A(?:` + rest + `)`)
				for line := range wordsOf("abc\n", 6) {
					got := -1
					if found := re.FindStringSubmatchIndex(line); found != nil {
						got = found[3]
					}
					if want := avoids(line, text, c.any, c.lazy, behind); got != want {
						t.Fatalf("%s by %s, then %s, in %q: takes %d, want %d", c.regex, re, rest, line, got, want)
					}
				}
			}
		}
	}
}

// repetitionIn is the first repetition in regex.
func repetitionIn(t *testing.T, regex string) *node {
	t.Helper()
	p, err := pythonPattern(regex, false)
	if err != nil {
		t.Fatal(err)
	}
	n := p.root
	for n.op != opRepeat {
		n = n.subs[0]
	}
	return n
}

func avoidanceOf(t *testing.T, regex string) avoidance {
	t.Helper()
	n := repetitionIn(t, regex)
	text, each, ok := n.tempered()
	a, avoids := avoiding(n, text, each)
	if !ok || !avoids {
		t.Fatalf("%s is no avoidance", regex)
	}
	return a
}

// avoids is how much of line is taken; -1: it does not match.
func avoids(line, text, any string, lazy bool, behind *regexp.Regexp) int {
	taken := -1
	for n := 0; n <= len(line); n++ {
		if strings.Contains(line[:n], text) || strings.Trim(line[:n], any) != "" {
			break
		}
		if !behind.MatchString(line[n:]) {
			continue
		}
		if taken = n; lazy {
			break
		}
	}
	return taken
}

// wordsOf calls yield with all texts of some letters, up to a length.
func wordsOf(letters string, longest int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var grow func(word string) bool
		grow = func(word string) bool {
			if !yield(word) {
				return false
			}
			if len(word) == longest {
				return true
			}
			for _, r := range letters {
				if !grow(word + string(r)) {
					return false
				}
			}
			return true
		}
		grow("")
	}
}

func TestNotAllThatIsTemperedIsAnAvoidance(t *testing.T) {
	for _, regex := range []string{`(?:(?!aab).)*`, `(?:(?!ab).)+`, `(?:(?!ab).)?`, `(?:(?!ab)[^-])*`, `(?:(?!a\n).)*`} {
		n := repetitionIn(t, regex)
		if text, each, ok := n.tempered(); ok {
			if a, avoids := avoiding(n, text, each); avoids {
				t.Errorf("%s is written as %s", regex, a.regex())
			}
		}
	}
}
