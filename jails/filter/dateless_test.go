package filter

import (
	"maps"
	"net/netip"
	"testing"
	"time"
)

func TestDatelessReaderFindsNoDate(t *testing.T) {
	f := build(t, `failregex: [{ name: a, trust: verified, regex: '^<PREFIX>bad <HOST>$' }]`)
	seven := netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		line string
		want Result
	}{
		{"h app[1]: bad 192.0.2.7", Result{Matched, 0, seven, "", noon, false, -1, 1, 0}},
		{"Nov  9 18:47:21 h app[1]: bad 192.0.2.7", Result{Template: -1}},
		{"2026-11-09T18:47:21Z bad 192.0.2.7", Result{Template: -1}},
	} {
		if got := f.NewDatelessReader().Read([]byte(c.line), noon); got != c.want {
			t.Errorf("%q:\ngot  %+v\nwant %+v", c.line, got, c.want)
		}
	}
}

func TestGroupsOfTheRuleThatMatched(t *testing.T) {
	f := build(t, `
failregex:
  - { name: user, trust: verified, regex: '^<PREFIX>bad (?P<user>\S+)(?: by (?P<means>\S+))? from <HOST>(?: port (\d+))?$' }
  - { name: none, trust: verified, regex: '^<PREFIX>worse from <HOST>$' }
`)
	for _, c := range []struct {
		line string
		want map[string]any
	}{
		{"Nov  9 18:47:21 h app[1]: bad eve from 192.0.2.7 port 22", map[string]any{"user": "eve"}},
		{"[2026-11-09 18:47:21] bad eve by night from 192.0.2.7", map[string]any{"user": "eve", "means": "night"}},
		{"Nov  9 18:47:21 h app[1]: worse from 192.0.2.7", map[string]any{}},
	} {
		reader := f.NewReader(time.UTC)
		result := reader.Read([]byte(c.line), noon)
		if result.Outcome != Matched {
			t.Errorf("%q is missed", c.line)
			continue
		}
		if got := reader.Groups(); !maps.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.line, got, c.want)
		}
	}
}
