package filter

import (
	"regexp/syntax"
	"testing"
)

// written is a regex of fail2ban's as a writer writes it.
func written(t *testing.T, regex string) string {
	t.Helper()
	p, err := pythonPattern(expandFail2ban(regex), false)
	if err != nil {
		t.Fatal(err)
	}
	return p.write(Linear)
}

// Whatever stands around a wide class or a form, its tree is compiled to what package syntax makes of it.
func TestKnownPartsArePutIntoTrees(t *testing.T) {
	four := hostForms()[0].text
	for expr, put := range map[string]int{
		written(t, `^<HOST>`):                      3,
		written(t, `^a (?:<ADDR>|<F-ID/>)?$`):      2,
		written(t, `\w <IP4>+<F-USER>\w</F-USER>`): 3,
		written(t, `(?i)<HOST>`):                   0,
		`(?:x` + four + `)+`:                       1,
		`(?:` + four + `|x)`:                       0,
		four + `*`:                                 0,
		four:                                       0,
		`[\p{L}\p{N}_]`:                            1,
		`[^\p{L}\p{N}_]`:                           1,
		`a[\p{L}\p{N}_]b`:                          1,
		`a(?:[\p{L}\p{N}_\-.^_]*[\p{L}\]])b`:       2,
		`(?:[\p{L}]{2,3}x)+?`:                      1,
		`a[\p{L}]`:                                 1,
		`[\p{L}]a`:                                 1,
		`(?:x|([\p{L}]a))+`:                        1,
		`[\p{L}][\p{L}][\p{L}]`:                    3,
		`(?:(?-i:([\p{L}])))?\[\p{L}]`:             1,
		`(?P<g1>[\p{L}])|(?:ab[\p{L}]|abc)`:        0,
		`(?:[\p{L}]|x)`:                            0, // one class
		`(?:[^a]|[\p{L}])`:                         0,
		`(?:.|[\p{L}])`:                            0,
		`(?:[\p{L}]){0}a`:                          1,
		`(?i:a[\p{L}])`:                            0,
		`[a-z]`:                                    0,
		"[\\p{L}]\U000F0000":                       0,
		`[\p{L}`:                                   0,
		`[\p{L}](`:                                 0,
		`[^a-z\\\]\p{L}][\]\p{L}]\\[\p{Nd}].+`:     2,
	} {
		marked, classes := markParts(expr, hostForms())
		found := len(classes)
		if found > 0 && parseMarked(marked, classes...) == nil {
			found = 0
		}
		if found != put {
			t.Errorf("%s: %d classes are put into its tree, want %d", expr, found, put)
		}
		want, wantErr := syntax.Parse(expr, syntax.Perl)
		got, gotErr := syntaxTree(expr)
		if wantErr != nil || gotErr != nil {
			if wantErr == nil || gotErr == nil || gotErr.Error() != wantErr.Error() {
				t.Errorf("%s: error is %v, want %v", expr, gotErr, wantErr)
			}
			continue
		}
		sameProgram(t, expr, got, want)
	}
}

// So it is with <PREFIX>, of which the rules of a filter share the tree.
func TestPrefixIsPutIntoTrees(t *testing.T) {
	prefix, _ := prefixOf(nil)
	c := &compiler{tags: tagsWith(prefix)}
	for regex, put := range map[string]bool{
		`^<PREFIX>bad <F-USER>.*</F-USER> from <HOST>$`: true,
		`^<PREFIX>?<ADDR>`:          true,
		`^(?:<PREFIX>)?<ADDR>`:      false,
		`^<PREFIX>*a|b<IP4>`:        true,
		`^<PREFIX>`:                 true,
		`<PREFIX><HOST>`:            false,
		`^<PREFIX>a<PREFIX>b<HOST>`: true,
		`^(?:<PREFIX>|x)<HOST>`:     false,
		`^[<PREFIX>]<HOST>`:         false,
		`(?i)^<PREFIX>bad <HOST>`:   false,
		`^<PREFIX>bad (?s:.)<HOST>`: false,
		`^<PREFIX>(?-s:.)<HOST>`:    false,
		`^<PREFIX>\x{F0000}<HOST>`:  false,
		"^<PREFIX>\U000F0000<HOST>": false,
		`^bad <HOST>`:               false,
		`^<PREFIX>(<HOST>`:          false,
	} {
		expr, err := expand(regex, c.tags)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.withPrefix(expr) != nil; got != put {
			t.Errorf("%s: its prefix is put into the tree: %v, want %v", regex, got, put)
		}
		want, wantErr := syntax.Parse(expr, syntax.Perl)
		got, gotErr := c.parse(expr)
		if wantErr != nil || gotErr != nil {
			if wantErr == nil || gotErr == nil || gotErr.Error() != wantErr.Error() {
				t.Errorf("%s: error is %v, want %v", regex, gotErr, wantErr)
			}
			continue
		}
		sameProgram(t, regex, got, want)
	}
}

func sameProgram(t *testing.T, expr string, got, want *syntax.Regexp) {
	t.Helper()
	if got, want := compiledTree(t, got), compiledTree(t, want); got != want {
		t.Errorf("%s: the program is\n%s\nwant\n%s", expr, got, want)
	}
}

func compiledTree(t *testing.T, tree *syntax.Regexp) string {
	t.Helper()
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	return prog.String()
}
