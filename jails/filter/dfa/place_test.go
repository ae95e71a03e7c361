package dfa

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

// withPlaces compiles a regex in which groups called p0, p1 ... are places.
func withPlaces(expr string, places ...Place) (*Set, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	last := 0
	var number func(re *syntax.Regexp)
	number = func(re *syntax.Regexp) {
		if re.Op == syntax.OpCapture {
			if strings.HasPrefix(re.Name, "p") {
				re.Cap = -1 - int(re.Name[1]-'0')
			} else {
				last++
				re.Cap = last
			}
		}
		for _, sub := range re.Sub {
			number(sub)
		}
	}
	number(tree)
	return CompileParsed([]Parsed{{Expr: expr, Tree: tree, Places: places}})
}

func ahead(expr string, not bool) Place {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		panic(err)
	}
	return Place{Tree: tree, Not: not}
}

func besideOf(class string, not bool) Place {
	p := ahead(class, not)
	p.Edge = true
	return p
}

func TestPlacesHoldWhereAMatchPasses(t *testing.T) {
	for _, c := range []struct {
		expr   string
		places []Place
		finds  map[string][]int // by line: where all groups are; nil: nothing
	}{
		{`^(?:(?P<p0>)[a-z]+=(\w+) )*x=(\w+)`, []Place{ahead(`x=`, true)}, map[string][]int{ // ^(?:(?!x=)[a-z]+=(\w+) )*x=(\w+)
			"x=1":           {0, 3, -1, -1, 2, 3},
			"a=1 x=2":       {0, 7, 2, 3, 6, 7},
			"xx=1 x=2 x=3":  {0, 8, 3, 4, 7, 8},
			"ax=1 xa=2 x=3": {0, 13, 8, 9, 12, 13},
			"a=1 b=2":       nil,
		}},
		{`^((?:(?P<p0>).)*)(b?)`, []Place{ahead(`ab`, true)}, map[string][]int{ // ^((?:(?!ab).)*)(b?)
			"":       {0, 0, 0, 0, 0, 0},
			"aab":    {0, 1, 0, 1, 1, 1},
			"bba":    {0, 3, 0, 3, 3, 3},
			"abb":    {0, 0, 0, 0, 0, 0},
			"xa\xff": {0, 3, 0, 3, 3, 3},
		}},
		{`a+(?P<p0>)`, []Place{ahead(`b`, false)}, map[string][]int{ // a+(?=b): what is asked for is not taken
			"caab": {1, 3},
			"aac":  nil,
			"aa":   nil,
		}},
		{`a+?(?P<p0>)`, []Place{ahead(`(?:\n?\z)`, false)}, map[string][]int{ // a+?$, as Python has it
			"aa\n":   {0, 2},
			"aa":     {0, 2},
			"aa\na":  {3, 4},
			"aa\n\n": nil,
		}},
		{`(?:a|(?P<p0>)(a)b|ab)`, []Place{ahead(`abc`, false)}, map[string][]int{ // what comes first wins, though it is known last
			"abc": {0, 1, -1, -1},
		}},
		{`(?:(?P<p0>)(a)b|a)`, []Place{ahead(`abc+d`, false)}, map[string][]int{ // (?=abc+d)(a)b|a
			"abccd":  {0, 2, 0, 1},
			"abcc":   {0, 1, -1, -1},
			"abccc ": {0, 1, -1, -1},
		}},
		{`(?P<p0>)\S+(?P<p0x>)`, []Place{besideOf(`[a-zé]`, false)}, map[string][]int{ // \b\S+\b
			"-é-a-": {1, 5},
			"--":    nil,
			"éa":    {0, 3},
			"":      nil,
		}},
		{`(?P<p0>)a`, []Place{besideOf(`[a-z]`, true)}, map[string][]int{ // \Ba
			"a ba": {3, 4},
			"a":    nil,
		}},
		{`(?m)^x(?P<p0>)(?s:.)*y$`, []Place{ahead(`(?s:.*)z(?m:$)`, true)}, map[string][]int{ // not with a line behind it that ends with z
			"xy":       {0, 2},
			"x\ny":     {0, 3},
			"xz\ny":    nil,
			"xzz a\ny": {0, 7},
			"x\nz":     nil,
			"x\ny\nz":  nil,
		}},
		{`(?P<p0>)a`, []Place{ahead(`a|`, true)}, map[string][]int{"a": nil}},
		{`(?P<p0>)a?`, []Place{ahead(`[^\x00-\x{10FFFF}]`, false)}, map[string][]int{"a": nil, "": nil}},
	} {
		set, err := withPlaces(c.expr, c.places...)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		roomy, tiny := set.NewMachine(Options{}), set.NewMachine(Options{Bytes: 1})
		for line, want := range c.finds {
			if got := tiny.MatchOne(0, []byte(line)); got != (want != nil) {
				t.Errorf("%s in %q, states thrown away: matches: %v", c.expr, line, got)
			}
			var got []int
			if roomy.Match([]byte(line)) == 0 {
				got = roomy.Groups(nil, []byte(line))
			}
			if roomy.Lost() || !slices.Equal(got, want) {
				t.Errorf("%s in %q: got %v, want %v", c.expr, line, got, want)
			}
		}
	}
}

// Groups are not known of a line whose states did not fit; machines say so.
func TestLostIsTold(t *testing.T) {
	set, err := withPlaces(`^(?:(?P<p0>).)*$`, ahead(`1.{8}b`, true))
	if err != nil {
		t.Fatal(err)
	}
	m := set.NewMachine(Options{Bytes: 3000})
	var line []byte
	for i := range 300 {
		line = fmt.Appendf(line, "%b", i)
	}
	if m.Match(line) != 0 || !m.Lost() {
		t.Errorf("nothing is lost")
	}
	if m.Match([]byte("a")) != 0 || m.Lost() {
		t.Errorf("a is lost")
	}
}

func TestPlacesThatAskForTooMuchAreRefused(t *testing.T) {
	var many []Place
	for i := range 20 {
		many = append(many, ahead(fmt.Sprintf(`.{%d}a.{%d}b`, i, 40-i), true))
	}
	for name, c := range map[string]struct {
		expr   string
		places []Place
		want   error
	}{
		"what stands before":  {`a(?P<p0>)`, []Place{ahead(`\bb`, false)}, errPlace},
		"an edge of two":      {`a(?P<p0>)`, []Place{besideOf(`ab`, false)}, errPlace},
		"too many places":     {`a`, make([]Place, maxPlaces+1), ErrTooLarge},
		"too much at a place": {`^(?:(?P<p0>)(?P<p1>)(?P<p2>)(?P<p3>)(?P<p4>)(?P<p5>).)*$`, many, ErrTooLarge},
	} {
		if _, err := withPlaces(c.expr, c.places...); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}
