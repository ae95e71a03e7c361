package main

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestWhatDoesNotPrintIsEscaped(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"Failed password for 'root'", "Failed password for 'root'"},
		{"Grüße ✓ 漢字", "Grüße ✓ 漢字"},
		{"a\nb\r\tc\x00", `a\nb\r\tc\x00`},
		{"\x1b[31mred", `\x1b[31mred`},
		{"\x7f", `\x7f`},
		{"\u009b31m", `\u009b31m`},
		{"\x9b31m", `\x9b31m`},
		{"\u202egnp.exe", `\u202egnp.exe`},
		{"\u2066a\u2069", `\u2066a\u2069`},
		{"a\u200bb", `a\u200bb`},
		{"\u2028", `\u2028`},
		{"\U000e0041", `\U000e0041`},
		{"\xff\xfe", `\xff\xfe`},
		{"\xef(", `\xef(`},
		{"\xc0\x80", `\xc0\x80`},
		{"\ufffd", "\ufffd"},
	} {
		if got := safe(c.text); got != c.want {
			t.Errorf("safe(%+q) = %+q, want %+q", c.text, got, c.want)
		}
	}
}

func TestJSONHoldsNothingThatATerminalObeys(t *testing.T) {
	text := "<a>\x1b[31m\x7f\u009b\u202e\U000e0041\u2028 é"
	out := new(strings.Builder)
	if err := writeJSON(out, map[string]string{"text": text}, ""); err != nil {
		t.Fatal(err)
	}
	if want := `{"text":"<a>\u001b[31m\u007f\u009b\u202e\udb40\udc41\u2028 é"}` + "\n"; out.String() != want {
		t.Errorf("got %s, want %s", out, want)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil {
		t.Fatal(err)
	}
	if back["text"] != text {
		t.Errorf("read back %+q, want %+q", back["text"], text)
	}
}

func TestHitsAreWrittenAsJSONIs(t *testing.T) {
	for _, h := range []hit{
		{Time: "0", Groups: map[string]any{}},
		{1, true, "192.0.2.7", "1790000000.25", "password", 3, "verified", 1, map[string]any{}},
		{math.MaxInt, true, "a\"b<&>\u202e\xff", "0", "b\x1b", 1, "spoofable", 7,
			map[string]any{"user": "rö\tot", "port": "22", "users": []string{"a", "b\""}, "empty": ""}},
	} {
		want := new(strings.Builder)
		if err := writeJSON(want, h, ""); err != nil {
			t.Fatal(err)
		}
		if got := string(h.appendJSON(nil)); got != want.String() {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("a\x1b\xff\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range safe(text) {
			if !unicode.IsPrint(r) {
				t.Fatalf("safe(%+q) lets %U through", text, r)
			}
		}
	})
}

func TestSpansInTheirTwoLargestUnits(t *testing.T) {
	for _, c := range []struct {
		span time.Duration
		want string
	}{
		{0, "0s"},
		{999 * time.Millisecond, "0s"},
		{59 * time.Second, "59s"},
		{time.Minute, "1m"},
		{90 * time.Second, "1m30s"},
		{time.Hour + time.Second, "1h"},
		{2*time.Hour + 13*time.Minute + 5*time.Second, "2h13m"},
		{123*time.Hour + time.Minute, "5d3h"},
		{-90 * time.Second, "-1m30s"},
	} {
		if got := span(c.span); got != c.want {
			t.Errorf("span(%s) = %s, want %s", c.span, got, c.want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 9, 18, 47, 21, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Time{}, "never"},
		{now, "now"},
		{now.Add(time.Minute), "now"},
		{now.Add(-90 * time.Second), "1m30s ago"},
	} {
		if got := ago(c.at, now); got != c.want {
			t.Errorf("ago(%s) = %s, want %s", c.at, got, c.want)
		}
	}
}

func TestNumbersAreGroupedByThousands(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567",
		math.MaxUint64: "18,446,744,073,709,551,615",
	} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 1049: "1.0 kB", 1050: "1.1 kB", 99_949: "99.9 kB", 99_951: "100 kB",
		999_499: "999 kB", 999_500: "1.0 MB", 123_456_789: "123 MB", math.MaxUint64: "18.4 EB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[int]string{0: "0 lines", 1: "1 line", 1000: "1,000 lines"} {
		if got := counted(n, "line"); got != want {
			t.Errorf("counted(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestSinglesAreShownWithoutTheirLength(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7/32": "192.0.2.7", "198.51.100.0/24": "198.51.100.0/24",
		"2001:db8::7/128": "2001:db8::7", "2001:db8::/64": "2001:db8::/64",
	} {
		if got := short(netip.MustParsePrefix(text)); got != want {
			t.Errorf("short(%s) = %s, want %s", text, got, want)
		}
	}
}
