package filter

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"xdpban/internal/yamldoc"
)

// A quoting is what a daemon writes around text of the client's, which %s stands for, as
// testdata/quoting/FILTER.yaml has it; the peer is 192.0.2.7 or 2001:db8::7.
type quoting struct {
	Tag   string   `yaml:"tag,required"` // of the daemon in syslog
	Cut   quoted   `yaml:"cut"`          // a line that ends in the text; none: no line's end matters
	Lines []quoted `yaml:"lines,required"`
}

// A quoted is a line that holds text of the client's.
type quoted struct {
	Line    string  `yaml:"line,scalar"`
	Escapes escapes `yaml:"escapes"` // what the daemon does to the text; none: nothing
}

func (q quoted) with(text string) string { return fmt.Sprintf(q.Line, escapers[q.Escapes](text)) }

// escapes says how a daemon writes what a client sent.
type escapes string

var escapers = map[escapes]func(string) string{
	"":       func(text string) string { return text },
	"word":   strings.NewReplacer(" ", "", "\t", "", "\r", "").Replace, // the protocol splits it at white space
	"nginx":  hexEscaped,
	"apache": func(text string) string { return inQuotes(strings.ReplaceAll(text, "\r", "\\r")) },
	"json":   inJSON,
}

// UnmarshalText reads a key of escapers.
func (e *escapes) UnmarshalText(text []byte) error {
	if *e = escapes(text); escapers[*e] == nil {
		return fmt.Errorf("want word, nginx, apache or json, got %q", text)
	}
	return nil
}

func hexEscaped(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02X`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func inQuotes(text string) string { return strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(text) }

func inJSON(text string) string {
	quoted, _ := json.Marshal(text) // a string always can be
	return string(quoted[1 : len(quoted)-1])
}

// quotingOf reads what the daemon of f writes. A filter without it is not known to be safe.
func quotingOf(t *testing.T, f *Filter) quoting {
	t.Helper()
	path := "testdata/quoting/" + f.Name + ".yaml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%s: nobody says where its clients write: %v", f.Name, err)
	}
	var q quoting
	if err := yamldoc.Decode(path, data, &q); err != nil {
		t.Fatal(err)
	}
	return q
}

// line is one of all lines that the daemon can be made to write with texts.
func (q quoting) line(texts []string, i int) string {
	next := func(n int) int {
		at := i % n
		i /= n
		return at
	}
	header := strings.ReplaceAll(headers[next(len(headers))], "TAG", q.Tag)
	text := texts[next(len(texts))]
	wrapped := fmt.Sprintf(wrappings[next(len(wrappings))], text)
	return header + q.Lines[next(len(q.Lines))].with(wrapped)
}

// Headers of the lines above, which TAG stands for.
var headers = []string{
	"Nov  9 18:47:21 h TAG[1]: ",
	"<38>Nov  9 18:47:21 h TAG: ",
	"2026-11-09T18:47:21.5+01:00 h TAG[1]: ",
	"<38>1 2026-11-09T18:47:21Z h TAG 1 - - ",
	"[Nov  9 18:47:21] ",
	"",
}

// victim is who must never come out.
const victim = "203.0.113.9"

// forgeries are what a client might write: all samples of filters, whole and from each of their
// words on, about victim. wrappings are put around them.
func forgeries(filters ...*Filter) []string {
	about := strings.NewReplacer("192.0.2.7.example.org", victim, "192.0.2.7", victim, "::ffff:"+victim, victim,
		"2001:db8:0:0:0:0:0:7", victim, "2001:db8::7", victim, "198.51.100.23", victim)
	seen := make(map[string]bool)
	var texts []string
	add := func(text string) {
		if !seen[text] && len(text) < 400 {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	for _, f := range filters {
		for _, sample := range f.samples() {
			line := about.Replace(sample.V.Line)
			for at := 0; at >= 0; {
				add(line[at:])
				next := strings.IndexAny(line[at+1:], " '{}()[]<:")
				if next < 0 {
					break
				}
				at += 1 + next
			}
		}
	}
	return texts
}

// What may make a parser lose its place.
var wrappings = []string{
	"%s", "x%s", "x %s", "x' %s", "x\" %s", "x} %s", "x) %s", "x] %s", "x> %s", "\r%s", "\t%s\t", "\x1b[2K\r%s", "\\n%s", "#012%s",
	"\u0085%s", "\u2028%s", "\xff%s\xfe", "message repeated 3 times: [ %s]", " %s ", "%[1]s %[1]s", "\x00%s",
	"Nov  9 18:47:21 h sshd[1]: %s", "[2026-11-09 18:47:21] %s", "2026-11-09T18:47:21Z h kamailio[1]: %s",
}

// Every text in every place under every header makes tens of millions of lines. So many are
// tried of a filter's own texts, and of everybody's.
const tried = 5_000

func TestNoTextOfTheClientNamesAnother(t *testing.T) {
	filters := shipped(t)
	all := forgeries(filters...)
	for _, f := range filters {
		q, r := quotingOf(t, f), f.NewReader(time.UTC)
		for _, texts := range [][]string{forgeries(f), all} {
			lines := len(headers) * len(texts) * len(wrappings) * len(q.Lines)
			step := stride(lines)
			for i := 0; i < lines; i += step {
				line := q.line(texts, i)
				if got, ok := banned(f, r, line); ok && got != peer4 && got != peer6 {
					t.Fatalf("%s: %v comes out of\n%q", f.Name, got, line)
				}
			}
		}
	}
}

// stride is the step that tries as many lines as are to be tried. It shares no factor with
// their number, so that each text, wrapping and place comes up.
func stride(lines int) int {
	step := max(lines/tried, 1)
	if raced {
		step *= 20
	}
	for gcd(step, lines) != 1 {
		step++
	}
	return step
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// A line that was cut where the client wants shows that the texts are good enough to be believed, in
// one mode of the filter or another.
func TestForgeriesWorkWhereALineIsCut(t *testing.T) {
	found := make(map[string]int)
	for _, f := range shipped(t) {
		q, r := quotingOf(t, f), f.NewReader(time.UTC)
		if q.Cut.Line == "" {
			continue
		}
		found[f.Name] += 0
		for _, text := range forgeries(f) {
			if got, ok := banned(f, r, q.Cut.with("x"+text)); ok && got == netip.MustParseAddr(victim) {
				found[f.Name]++
			}
		}
	}
	for name, n := range found {
		if n == 0 {
			t.Errorf("%s: no forgery works on a line that is cut", name)
		}
	}
	if len(found) < 3 {
		t.Errorf("only %d filters say how their lines can be cut", len(found))
	}
}

var peer4, peer6 = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")

// banned is whom f has banned for line without being told to believe what clients write.
func banned(f *Filter, r *Reader, line string) (netip.Addr, bool) {
	got := r.Read([]byte(line), noon)
	ok := got.Outcome == Matched && got.Addr.IsValid() && f.rules[got.Rule].Trust != Untrusted
	return got.Addr, ok
}
