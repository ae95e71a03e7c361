package filter

import (
	"reflect"
	"testing"
	"time"
)

const moded = `failregex:
  - { name: a, trust: verified, regex: '^a <HOST>$' }
  - { name: b, trust: verified, regex: '^b <HOST>$', modes: [ddos, aggressive] }
  - { name: c, trust: verified, regex: '^c <HOST>$', modes: [normal, aggressive] }
samples:
  - { line: 'a 192.0.2.7', host: 192.0.2.7 }
  - { line: 'b 192.0.2.7', host: none }
  - { line: 'b 192.0.2.7', host: 192.0.2.7, mode: ddos }
  - { line: 'c 192.0.2.7', host: 192.0.2.7, mode: ddos }
  - { line: 'c 192.0.2.7', host: none, mode: extra }
`

func TestAModeChoosesRules(t *testing.T) {
	spec, err := Parse("f.yaml", []byte(moded))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := spec.Modes(), []string{"normal", "ddos", "aggressive"}; !reflect.DeepEqual(got, want) {
		t.Errorf("modes are %v, want %v", got, want)
	}
	for mode, want := range map[string][]string{"normal": {"a", "c"}, "ddos": {"a", "b"}, "aggressive": {"a", "b", "c"}} {
		f, err := New("f", spec, mode)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, rule := range f.Rules() {
			got = append(got, rule.Name)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v has %v, want %v", f, got, want)
		}
		r := f.NewReader(time.UTC).Read([]byte("c 192.0.2.7"), noon)
		if (r.Outcome == Matched) != (mode != "ddos") {
			t.Errorf("%v: %+v", f, r)
		}
	}
}

func TestSamplesAreReadInTheirMode(t *testing.T) {
	want := []SampleError{
		{"f.yaml", 9, "c 192.0.2.7", "host is none, want 192.0.2.7"},
		{"f.yaml", 10, "c 192.0.2.7", `filter "f" has no mode "extra" (it has normal, ddos, aggressive)`},
	}
	spec, err := Parse("f.yaml", []byte(moded))
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range spec.Modes() {
		f, err := New("f", spec, mode)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Check(); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got\n%+v\nwant\n%+v", f, got, want)
		}
	}
}

func TestUnknownModesAreExplained(t *testing.T) {
	for text, want := range map[string]string{
		moded: `filter "f" has no mode "x" (it has normal, ddos, aggressive)`,
		"failregex: [{ name: a, trust: verified, regex: '^a <HOST>$' }]":                `filter "f" has no mode "x" (it has one set of rules: write its name alone)`,
		"failregex: [{ name: a, trust: verified, regex: '^a <HOST>$', modes: [ddos] }]": `filter "f" has no mode "x" (it has ddos)`,
	} {
		spec, err := Parse("f.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New("f", spec, "x"); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestModesStandBehindNames(t *testing.T) {
	for text, want := range map[string][2]string{
		"sshd":                {"sshd", "normal"},
		"sshd[mode=ddos]":     {"sshd", "ddos"},
		`sshd[mode="ddos"]`:   {"sshd", "ddos"},
		"sshd[mode='ddos']":   {"sshd", "ddos"},
		"/a/b.yaml[mode=x-1]": {"/a/b.yaml", "x-1"},
	} {
		name, mode, err := SplitMode(text)
		if got := [2]string{name, mode}; err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"sshd[", "sshd[ddos]", "sshd[mode=ddos", "sshd[mode=ddos]x", "sshd[]"} {
		if _, _, err := SplitMode(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}
