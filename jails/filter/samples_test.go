package filter

import (
	"reflect"
	"testing"
)

func TestCheckTellsSamplesThatFail(t *testing.T) {
	f := build(t, `failregex:
  - { name: a, trust: verified, regex: '^ ?a <HOST>$' }
  - { name: b, trust: untrusted, regex: '^ ?b <HOST>$' }
samples:
  - { line: 'Nov  9 18:47:21 a 192.0.2.7', host: 192.0.2.7, rule: a, trust: verified, time: '2026-11-09T18:47:21Z' }
  - { line: 'a h', host: h }
  - { line: 'c 192.0.2.7', host: none }
  - { line: 'b 192.0.2.7', host: 192.0.2.7, trust: untrusted }
  - { line: 'a 192.0.2.7', host: 192.0.2.8 }
  - { line: 'a 192.0.2.7', host: none }
  - { line: 'c 192.0.2.7', host: 192.0.2.7 }
  - { line: 'a 192.0.2.7', host: 192.0.2.7, rule: b }
  - { line: 'b 192.0.2.7', host: 192.0.2.7 }
  - { line: 'Nov  9 18:47:21 a 192.0.2.7', host: 192.0.2.7, time: '2026-11-09T19:47:21+02:00' }
`)
	want := []SampleError{
		{"f.yaml", 9, "a 192.0.2.7", `host is "192.0.2.7", want "192.0.2.8"`},
		{"f.yaml", 10, "a 192.0.2.7", `host is "192.0.2.7", want "none"`},
		{"f.yaml", 11, "c 192.0.2.7", `host is none, want 192.0.2.7`},
		{"f.yaml", 12, "a 192.0.2.7", `rule is "a", want "b"`},
		{"f.yaml", 13, "b 192.0.2.7", `trust is "untrusted", want ""`},
		{"f.yaml", 14, "Nov  9 18:47:21 a 192.0.2.7", `time is "2026-11-09T18:47:21Z", want "2026-11-09T17:47:21Z"`},
	}
	got := f.Check()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if text := got[0].Error(); text != `f.yaml:9: sample: host is "192.0.2.7", want "192.0.2.8"` {
		t.Error(text)
	}
}
