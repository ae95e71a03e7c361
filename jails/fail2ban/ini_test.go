package fail2ban

import (
	"reflect"
	"strings"
	"testing"
)

// TestFilesAreReadAsPythonReadsThem compares sections and options with places; "3|" is line 3.
func TestFilesAreReadAsPythonReadsThem(t *testing.T) {
	tests := map[string]struct {
		file string
		want map[string]string // by section and option: each line with its number
	}{
		"both delimiters":                      {"[a]\nx = 1\ny: 2\nz=a=b:c\n", map[string]string{"a x": "2|1", "a y": "3|2", "a z": "4|a=b:c"}},
		"names are small":                      {"[A]\nX-Y.z = 1\n", map[string]string{"A x-y.z": "2|1"}},
		"a value goes on where it is indented": {"[a]\nx = 1\n  2\n\t3\ny =\n 4\n", map[string]string{"a x": "2|1 3|2 4|3", "a y": "5| 6|4"}},
		"deeper than its option":               {"[a]\n  x = 1\n  y = 2\n   z = 3\n", map[string]string{"a x": "2|1", "a y": "3|2 4|z = 3"}},
		"a section may be deeper":              {"[a]\nx = 1\n  [b]\n", map[string]string{"a x": "2|1 3|[b]"}},
		"comments do not end it":               {"[a]\nx = 1\n# no\n ; no\n  2\n", map[string]string{"a x": "2|1 5|2"}},
		"blank lines neither":                  {"[a]\nx = 1\n\n  2\n\n\n", map[string]string{"a x": "2|1 3| 4|2"}},
		"behind a value":                       {"[a]\nx = 1 ; no\ny = 2;yes # yes\nz = 3 ;\n", map[string]string{"a x": "2|1", "a y": "3|2;yes # yes", "a z": "4|3"}},
		"defaults":                             {"[DEFAULT]\nx = 1\n[a]\n", map[string]string{"DEFAULT x": "2|1"}},
		"all ends of lines":                    {"[a]\r\nx = 1\r  2\ny = 3", map[string]string{"a x": "2|1 3|2", "a y": "4|3"}},
		"what follows a header":                {"[a] x = 1\n[b]]\ny = 2\n", map[string]string{"b] y": "3|2"}},
		"separators are white":                 {"[a]\nx\x1f=\x1c1\x1d\n", map[string]string{"a x": "2|1"}},
		"nothing":                              {"", map[string]string{}},
	}
	for name, test := range tests {
		f, err := parse("f", []byte(test.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := flat(f); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, test.want)
		}
	}
}

func flat(f *ini) map[string]string {
	all := make(map[string]string)
	for _, s := range append(f.sections, f.defaults) {
		for name, value := range s.values {
			all[s.name+" "+name] = numbered(value)
		}
	}
	return all
}

func numbered(value text) string {
	var lines []string
	for i, line := range strings.Split(value.s, "\n") {
		lines = append(lines, number(value.at[i].Line)+"|"+line)
	}
	return strings.Join(lines, " ")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[INCLUDES]\nbefore = a.conf\n[DEFAULT]\na = %(b)s\nb=1\n[Definition]\nfailregex = ^%(a)s <HOST>\n # x\n  <x-<b>> ; y\nx-1 = %(known/a)s%(Init/q)s\n[Init?family=inet6]\nq = 1\n"))
	f.Add([]byte("[Definition]\na = <b>\nb = <a>\nfailregex = <a>%(c)s\nc = %(c)s"))
	f.Add([]byte("[Definition]\r\nmaxlines: 2\n\n failregex = \xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse("f", data)
		if err != nil {
			return
		}
		c := newConfig()
		c.put(file)
		c.put(file) // once more, so that all of it is known
		for _, s := range append(file.sections, file.defaults) {
			for name, value := range s.values {
				if len(value.at) != strings.Count(value.s, "\n")+1 {
					t.Fatalf("%s: %q has %d places", name, value.s, len(value.at))
				}
			}
		}
		if c.sections["Definition"] == nil {
			return
		}
		d := &definition{config: c, name: "f", file: "f", asked: new(options), cache: make(map[string]text)}
		d.asked.set("mode", said("x"))
		if d.unknownChoice() != nil || d.readOptions(new(options), true) != nil {
			return
		}
		values, err := d.combined()
		if err != nil {
			return
		}
		for name, value := range values.values {
			if len(value.at) != strings.Count(value.s, "\n")+1 || len(value.s) > 2*maxText+len(data) {
				t.Fatalf("%s: %d bytes with %d places", name, len(value.s), len(value.at))
			}
		}
		_, _ = finish("f", values) // any outcome will do
	})
}
