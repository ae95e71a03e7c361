package fail2ban

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

func number(n int) string { return strconv.Itoa(n) }

// shown are lines with their places, as "file:line text".
func shown(lines []Line) []string {
	var list []string
	for _, line := range lines {
		list = append(list, filepath.Base(line.File)+":"+number(line.Line)+" "+line.Text)
	}
	return list
}

func TestLinesKnowWhereTheyWereWritten(t *testing.T) {
	f, err := Open("testdata/etc").Filter(`app[mode=wide, greeting="good day, all"]`, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"app.conf:15 ^no user <F-USER>\\S+</F-USER> at <HOST>$",
		"app.conf:17 ^proxied: no user \\S+ at <HOST>; 100% sure$",
		"app.conf:19 ^good day, all of <HOST> refused$",
		"app.local:3 ^added at <HOST> by app(?:-worker)?$",
		"app.conf:22 ^probe of <HOST>",
		"app.conf:24 ^other <ADDR>$",
	}
	if got := shown(f.Failregex); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	dates := []string{"base.conf:14 {^LN-BEG}", "app.conf:36 %Y-%m-%d"}
	if got := shown(f.Datepattern); !reflect.DeepEqual(got, dates) {
		t.Errorf("got %q, want %q", got, dates)
	}
	const prefix = `^(?:\S+ )?app(?:-worker)?-2(?:\[(?:\d+|-)\])?: ?<F-CONTENT>.+</F-CONTENT>$`
	if got := (Line{f.Prefregex.Text, Place{filepath.Base(f.Prefregex.File), f.Prefregex.Line}}); got != (Line{prefix, Place{"app.conf", 12}}) {
		t.Errorf("prefregex is %+v", got)
	}
}

func TestSplice(t *testing.T) {
	at := func(name string, s string, lines ...int) text {
		value := text{s: s}
		for _, n := range lines {
			value.at = append(value.at, Place{name, n})
		}
		return value
	}
	outer := at("a", "one\n%x\nthree", 1, 2, 3)
	tests := map[string]struct {
		into     text
		from, to int
		with     text
		want     text
	}{
		"a line":            {outer, 4, 6, at("b", "y", 9), text{"one\ny\nthree", []Place{{"a", 1}, {"b", 9}, {"a", 3}}}},
		"lines":             {outer, 4, 6, at("b", "y\nz", 8, 9), text{"one\ny\nz\nthree", []Place{{"a", 1}, {"b", 8}, {"b", 9}, {"a", 3}}}},
		"part of one":       {outer, 5, 6, at("b", "y", 9), text{"one\n%y\nthree", []Place{{"a", 1}, {"a", 2}, {"a", 3}}}},
		"lines in the part": {outer, 5, 6, at("b", "y\nz", 8, 9), text{"one\n%y\nz\nthree", []Place{{"a", 1}, {"a", 2}, {"b", 9}, {"a", 3}}}},
		"nowhere":           {outer, 4, 6, said("y"), text{"one\ny\nthree", []Place{{"a", 1}, {"a", 2}, {"a", 3}}}},
		"over lines":        {outer, 2, 8, at("b", "y", 9), text{"onyhree", []Place{{"a", 1}}}},
	}
	for name, test := range tests {
		if got := test.into.splice(test.from, test.to, test.with); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

func TestSpecsAreSplit(t *testing.T) {
	tests := map[string]struct {
		name  string
		given map[string]string
	}{
		"sshd":                        {"sshd", nil},
		"sshd[]":                      {"sshd", nil},
		"sshd[mode=ddos]":             {"sshd", map[string]string{"mode": "ddos"}},
		`a[x="1, ]", y='"', z = 3]`:   {"", nil},
		`a[x="1, ]", y='"', z=3 4, ]`: {"a", map[string]string{"x": "1, ]", "y": `"`, "z": "3 4"}},
		"a[x=1][y=2] ":                {"a", map[string]string{"x": "1", "y": "2"}},
		"a[x=\"1\",\n   y.z-1=\"\"]":  {"a", map[string]string{"x": "1", "y.z-1": ""}},
		"[x=1]":                       {"", nil},
	}
	for spec, want := range tests {
		name, given, err := splitSpec(spec)
		if (err != nil) != (want.name == "") {
			t.Errorf("%s: %v", spec, err)
		}
		if err != nil {
			continue
		}
		got := make(map[string]string)
		for _, option := range given.names {
			got[option] = given.values[option].s
		}
		if name != want.name || len(got) != len(want.given) || len(got) > 0 && !reflect.DeepEqual(got, want.given) {
			t.Errorf("%s: got %s %q, want %s %q", spec, name, got, want.name, want.given)
		}
	}
}

// A regex that stands alone may name what filters have in common.
func TestMacrosInARegexThatStandsAlone(t *testing.T) {
	dir, _ := unpack(t, txtar.Parse([]byte("-- filter.d/common.conf --\n[DEFAULT]\nlogtype = file\n_daemon = \\S+\n"+
		"__prefix_line = <lt_<logtype>/__prefix_line>\n[lt_file]\n__prefix_line = %(_daemon)s:\\s\n[lt_journal]\n__prefix_line = \\S+ %(_daemon)s:\\s\n")))
	tests := map[string]struct {
		regex   string
		journal bool
		want    string // or the error
	}{
		"plain":      {`^a 100% <HOST>%%$`, false, `^a 100% <HOST>%%$`},
		"of files":   {`^%(__prefix_line)sa 100%s <HOST>$`, false, `^\S+:\sa 100%s <HOST>$`},
		"of journal": {`^%(__prefix_line)sa <HOST> %`, true, `^\S+ \S+:\sa <HOST> %`},
		"twice":      {`^%(_daemon)s=%(_daemon)s <HOST>`, false, `^\S+=\S+ <HOST>`},
		"unknown":    {`^%(_demon)s <HOST>`, false, "[Definition] failregex: %(_demon)s: there is no option of that name"},
	}
	for name, test := range tests {
		f, err := Open(dir).Regex(test.regex, test.journal)
		got := fmt.Sprint(err)
		if err == nil {
			got = f.Rules()[0].Regex
		}
		if got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
