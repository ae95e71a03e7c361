package yamldoc

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

type color string

func (c *color) UnmarshalText(text []byte) error {
	switch string(text) {
	case "red", "blue":
		*c = color(text)
		return nil
	case "pink":
		return &Error{Msg: "pink is not a color", Hint: "use red"}
	}
	return fmt.Errorf("want red or blue, got %q", text)
}

type rule struct {
	Regex Value[string] `yaml:"regex,scalar"`
	Trust color         `yaml:"trust"`
}

type common struct {
	Maxretry Value[int] `yaml:"maxretry"`
	Logpath  []string   `yaml:"logpath"`
}

type jail struct {
	common
	Enabled bool   `yaml:"enabled"`
	Rules   []rule `yaml:"rules"`
}

func (jail) UnknownKey(key string) (msg, hint string) {
	if key == "action" {
		return "has no counterpart", "leave it out"
	}
	return "", ""
}

type sample struct {
	Line string `yaml:"line,required"`
	Host string `yaml:"host,required"`
}

type document struct {
	Name    string                 `yaml:"name"`
	Level   int8                   `yaml:"level"`
	Jails   map[string]Value[jail] `yaml:"jails"`
	Samples []sample               `yaml:"samples"`
}

func TestDecodeReadsEveryKind(t *testing.T) {
	const text = `name: 404
level: -7
jails:
  sshd:
    enabled: yes
    maxretry: 5
    logpath: /var/log/auth.log
    rules:
      - '^a'
      - { regex: '^b', trust: red }
  pbx: { logpath: [a, b] }
samples:
  - line: x
    host: y
`
	var got document
	if err := Decode("f", []byte(text), &got); err != nil {
		t.Fatal(err)
	}
	sshd := jail{
		common:  common{Maxretry: Value[int]{5, "f", 6, true}, Logpath: []string{"/var/log/auth.log"}},
		Enabled: true,
		Rules: []rule{
			{Regex: Value[string]{"^a", "f", 9, true}},
			{Regex: Value[string]{"^b", "f", 10, true}, Trust: "red"},
		},
	}
	want := document{
		Name:  "404",
		Level: -7,
		Jails: map[string]Value[jail]{
			"sshd": {sshd, "f", 4, true},
			"pbx":  {jail{common: common{Logpath: []string{"a", "b"}}}, "f", 11, true},
		},
		Samples: []sample{{"x", "y"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":             {"", "f: holds no document"},
		"comments alone":      {"# a\n", "f: holds no document"},
		"null document":       {"---\n~\n", "f: holds no document"},
		"list as document":    {"- a\n", "f:1: want keys, got a list"},
		"word as document":    {"a\n", `f:1: want keys, got "a"`},
		"second document":     {"name: a\n---\nname: b\n", "f:2: second document in one file (remove the line ---, or make it two files)"},
		"second one broken":   {"name: a\n---\n]\n", "f:3: not YAML: did not find expected node content"},
		"NUL":                 {"name: a\nlevel: \x00\n", "f:2: holds a NUL byte"},
		"Latin-1":             {"name: a\nlevel: \xe9\n", "f:2: is not UTF-8"},
		"tab":                 {"jails:\n\tsshd:\n", "f:2: indented with a tab (use spaces)"},
		"open bracket":        {"name: a\njails: [a\n", "f:2: not YAML: did not find expected ',' or ']'"},
		"not yaml":            {"[DEFAULT]\nbantime = 5\n", "f:2: not YAML: did not find expected <document start>"},
		"unknown key":         {"name: a\nsize: 5\n", "f:2: size: unknown key"},
		"near key":            {"jails:\n  a:\n    maxrtery: 5\n", "f:3: jail a: maxrtery: unknown key (did you mean maxretry?)"},
		"key with advice":     {"jails:\n  a:\n    action: x\n", "f:3: jail a: action: has no counterpart (leave it out)"},
		"duplicate key":       {"name: a\nname: b\n", "f:2: name: given twice, first on line 1"},
		"duplicate jail":      {"jails:\n  a: {}\n  a: {}\n", "f:3: jail a: given twice, first on line 2"},
		"empty value":         {"jails:\n  a:\n    maxretry:\n", "f:3: jail a: maxretry: has no value (leave the key out to have its default)"},
		"word for number":     {"jails:\n  a:\n    maxretry: five\n", `f:3: jail a: maxretry: want a whole number, got "five"`},
		"fraction":            {"level: 1.5\n", `f:1: level: want a whole number, got "1.5"`},
		"number too large":    {"level: 128\n", `f:1: level: want a smaller number, got "128"`},
		"list for number":     {"level: [1]\n", "f:1: level: want a whole number, got a list"},
		"number for boolean":  {"jails: { a: { enabled: 1 } }\n", `f:1: jail a: enabled: want true or false, got "1"`},
		"keys for text":       {"name: { a: b }\n", "f:1: name: want a text, got keys"},
		"keys for list":       {"jails: { a: { logpath: { a: b } } }\n", "f:1: jail a: logpath: want a list, got keys"},
		"list in list":        {"jails: { a: { logpath: [a, [b]] } }\n", "f:1: jail a: logpath[2]: want a text, got a list"},
		"word for keys":       {"jails: none\n", `f:1: jails: want keys, got "none"`},
		"missing keys":        {"samples:\n  - {}\n", "f:2: samples[1].line: is missing\nf:2: samples[1].host: is missing"},
		"own type":            {"jails: { a: { rules: [{ trust: green }] } }\n", `f:1: jail a: rules[1].trust: want red or blue, got "green"`},
		"own type with hint":  {"jails: { a: { rules: [{ trust: pink }] } }\n", "f:1: jail a: rules[1].trust: pink is not a color (use red)"},
		"list for own type":   {"jails: { a: { rules: [{ trust: [] }] } }\n", "f:1: jail a: rules[1].trust: want a single value, got a list"},
		"anchor":              {"name: &x a\n", "f:1: name: anchors are not supported (write the value out where it is needed)"},
		"alias":               {"jails: &x {}\nname: *x\n", "f:1: jails: anchors are not supported (write the value out where it is needed)\nf:2: name: aliases are not supported (write the value out)"},
		"merge key":           {"jails:\n  a:\n    <<: {}\n", "f:3: jail a: merge keys (<<) are not supported (write the keys out)"},
		"unknown alias":       {"name: *x\n", "f: not YAML: unknown anchor 'x' referenced"},
		"tag":                 {"name: !!binary aGk=\n", "f:1: name: tags (!!binary) are not supported (quote a text that begins with !)"},
		"list as key":         {"? [a]\n: b\n", "f:1: a key must be a word"},
		"escape in key":       {"\"a\\e[2J\": b\n", `f:1: "a\x1b[2J": unknown key`},
		"long value":          {"level: " + strings.Repeat("x", 80) + "\n", `f:1: level: want a whole number, got "` + strings.Repeat("x", 60) + `"...`},
		"several, in order":   {"size: 1\nlevel: x\nname:\n", "f:1: size: unknown key\nf:2: level: want a whole number, got \"x\"\nf:3: name: has no value (leave the key out to have its default)"},
		"too large":           {strings.Repeat("#", MaxSize+1), "f: larger than 4 MiB"},
		"brackets and no end": {strings.Repeat("[", 20000), "f: not YAML: exceeded max depth of 10000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Decode("f", []byte(test.text), new(document))
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %v", err, test.want)
			}
		})
	}
}

func TestDecodeRefusesDeepNesting(t *testing.T) {
	type nest struct {
		In []nest `yaml:"in"`
	}
	text := strings.Repeat("in: [{ ", 20) + strings.Repeat("}]", 20)
	err := Decode("f", []byte(text), new(nest))
	if err == nil || err.Error() != "f:1: in: nested too deep" {
		t.Errorf("got %v", err)
	}
}

func TestDecodeTellsSoManyErrorsAtMost(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "key%d: 1\n", i)
	}
	var errs Errors
	if err := Decode("f", []byte(text.String()), new(document)); !errors.As(err, &errs) {
		t.Fatal(err)
	}
	if len(errs) != maxErrors+1 || errs[0].Error() != "f: and 900 more errors" {
		t.Errorf("%d errors, the first %v", len(errs), errs[0])
	}
}

func TestDecodeKeepsWhatItCouldRead(t *testing.T) {
	var got document
	err := Decode("f", []byte("name: a\njails: { a: { maxretry: x, logpath: b } }\n"), &got)
	want := document{Name: "a", Jails: map[string]Value[jail]{"a": {
		V:    jail{common: common{Maxretry: Value[int]{File: "f", Line: 2}, Logpath: []string{"b"}}},
		File: "f",
		Line: 2,
	}}}
	if err == nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestNear(t *testing.T) {
	names := []string{"bantime", "findtime", "maxretry", "maxbans"}
	for word, want := range map[string]string{
		"bamtime": "bantime", "maxRetry": "maxretry", "mxaretry": "maxretry", "maxban": "maxbans",
		"port": "", "": "", strings.Repeat("bantime", 20): "",
	} {
		if got := Near(word, names); got != want {
			t.Errorf("Near(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		"name: 404\nlevel: -7\njails:\n  sshd:\n    enabled: yes\n    rules:\n      - '^a'\n      - { regex: '^b', trust: red }\n",
		"samples: [{line: x, host: y}]\n", "a: &x [*x]\n", "<<: {a: b}\n", "? [a]\n: b\n", "--- !!map\n", "a: |\n  b\n", "%YAML 1.1\n---\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Decode("f", data, new(document))
		var errs Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0) {
			t.Errorf("%T: %v", err, err)
		}
	})
}
