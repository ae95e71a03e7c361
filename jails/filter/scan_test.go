package filter

import (
	"fmt"
	"testing"
	"time"
)

// oneByOne is what the rules say of text when each is tried by itself.
func (f *Filter) oneByOne(text []byte) string {
	r := f.NewDatelessReader()
	for i := range f.rules {
		at, _ := f.rules[i].find(text, &budget{})
		if at != nil && r.identifies(&capture{rule: &f.rules[i], text: text, at: at}) {
			return fmt.Sprint(i, at)
		}
	}
	return "none"
}

// together is what r says of text; Groups of the automaton and of the engines are compared.
func (r *Reader) together(text []byte) string {
	r.forget()
	i := r.first(text)
	if i < 0 {
		return "none"
	}
	at := make([]int, 0, 2*len(r.found.rule.groups))
	for group := range r.found.rule.groups {
		from, to := r.found.group(group)
		at = append(at, from, to)
	}
	return fmt.Sprint(i, at)
}

func TestRulesTogetherSayWhatTheySayOneByOne(t *testing.T) {
	engines, err := Inline("engines", []string{
		`^linear from <HOST>$`,
		`^(?!never)\w+ ahead from <HOST>$`,
		`^(?P<word>\w+) (?P=word) from <HOST>$`,
		`^\w+ (?:ahead|behind)? ?from <HOST>?$`,
		`^\w+ from (?:nobody|<HOST>)$`,
		`(?<!no )word from <HOST>`,
		`<HOST> is last`,
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"linear from h", "never ahead from h", "now ahead from h", "a a from h", "a b from h", "a behind from ", "a from nobody",
		"a from h", "a word from h", "no word from h", "no word from h is last", "h is last", "word from word from h is last", "",
	}
	for range few {
		lines = append(lines, "linear from h") // now the reader has a machine of its own
	}
	lines = append(lines, lines[:14]...)
	compareScans(t, engines, lines)
	for _, f := range shipped(t) {
		var lines []string
		for _, sample := range f.samples() {
			lines = append(lines, sample.V.Line, sample.V.Line[min(16, len(sample.V.Line)):])
		}
		compareScans(t, f, append(lines, lines...))
	}
}

func compareScans(t *testing.T, f *Filter, lines []string) {
	t.Helper()
	r := f.NewReader(time.UTC)
	for _, line := range lines {
		if got, want := r.together([]byte(line)), f.oneByOne([]byte(line)); got != want {
			t.Errorf("%v: %q: got %s, want %s", f, line, got, want)
		}
	}
}

// A regex that no automaton takes is tried by itself, in its turn.
func TestRegexWithTooManyGroupsKeepsItsTurn(t *testing.T) {
	many := ""
	for i := range 40 {
		many += fmt.Sprintf("(%c)?", 'a'+i%3)
	}
	f, err := Inline("f", []string{`^x from <HOST>$`, `^` + many + ` from <HOST>$`, `^.* from <HOST>$`})
	if err != nil {
		t.Fatal(err)
	}
	if blind := f.automata.rules().blind; len(blind) != 1 || blind[0] != 1 {
		t.Errorf("the automaton does not know %v", blind)
	}
	compareScans(t, f, []string{"x from h", "abc from h", "y from h", "abc", " from h"})
}
