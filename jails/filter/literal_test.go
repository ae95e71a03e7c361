package filter

import (
	"bytes"
	"regexp/syntax"
	"testing"
)

func treeOf(t *testing.T, expr string) *syntax.Regexp {
	t.Helper()
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestLiteralsAreTheTextThatMustBeThere(t *testing.T) {
	for expr, want := range map[string]string{
		`^abc.*defg$`:            "abc|defg",
		`Failed (?:a|b) from x`:  "Failed | from x",
		`(abc)def`:               "abcdef",
		`(?:abc)+def`:            "abc|def",
		`(?:abcd)?efg`:           "efg",
		`(?:abcd)*efg`:           "efg",
		`(?:abcd){0,3}efg`:       "efg",
		`(?:abc){2}`:             "abcabc",
		`(?:abc){2,}`:            "abcabc",
		`x(?:abc){0}yz`:          "xyz",
		`(?:abcde){5}f`:          "abcdeabcdeabcdeabcde",
		`abc|cde`:                "",
		`(?i)abc`:                "",
		`x(?i:abcdef)xyz`:        "xyz",
		`ab\bcd`:                 "abcd",
		`a[b]c`:                  "abc",
		`.*ab.*`:                 "",
		`ää\.c`:                  "ää.c",
		"ab\ufffdcde":            "cde",
		`^\[\] NOTICE\[\d+\]: x`: "[] NOTICE[|]: x",
	} {
		if got := string(bytes.Join(literals(treeOf(t, expr)), []byte("|"))); got != want {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func TestLiteralsAreLookedForInOrder(t *testing.T) {
	for line, want := range map[string]bool{
		"abc def": true, "def abc def": true, "abcdef": true,
		"def abc": false, "abc": false, "def": false, "": false, "ab cdef": false,
	} {
		if got := needsOf(treeOf(t, "abc.*def")).in([]byte(line)); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
	if !needsOf(treeOf(t, "a")).in(nil) {
		t.Error("a rule without literals matches nothing")
	}
}

// A literal that a match does not hold would hide the match.
func TestMatchesHoldTheLiterals(t *testing.T) {
	for _, f := range shipped(t) {
		for _, rule := range f.rules {
			if len(rule.needs.rarest) < len(" user ") {
				t.Errorf("%s: %s: literals are %q", f.Name, rule.Name, rule.needs.texts)
			}
			for _, sample := range f.samples() {
				if line := []byte(sample.V.Line); rule.auto().Match(line) && !rule.mayMatch(line) {
					t.Errorf("%s: %s: %q lacks one of %q", f.Name, rule.Name, line, rule.needs.texts)
				}
			}
		}
	}
}
