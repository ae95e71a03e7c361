package filter

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"xdpban/internal/yamldoc"
)

func build(t testing.TB, text string) *Filter {
	t.Helper()
	spec, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f, err := New("f", spec, Normal)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFirstRuleThatMatchesWins(t *testing.T) {
	f := build(t, `
failregex:
  - { name: word, trust: verified, regex: '^bad word from <HOST>$' }
  - { name: any, trust: spoofable, regex: '^bad \w+ from <HOST>$' }
  - { name: never, trust: untrusted, regex: '^bad word from <ADDR>' }
ignoreregex: ['word from 192\.0\.2\.1$', '^bad day']
`)
	at := time.Date(2026, 11, 9, 10, 0, 0, 0, time.UTC)
	seven := netip.MustParseAddr("192.0.2.7")
	one := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		line string
		want Result
	}{
		{"bad word from 192.0.2.7", Result{Matched, 0, seven, "", noon, false, -1, 1, 0}},
		{"2026-11-09 10:00:00bad", Result{Template: -1}},
		{"[2026-11-09 10:00:00]bad word from 192.0.2.7", Result{Template: 1}},
		{"bad thing from 192.0.2.7", Result{Matched, 1, seven, "", noon, false, -1, 1, 0}},
		{"bad word from h", Result{Matched, 0, netip.Addr{}, "h", noon, false, -1, 1, 0}},
		{"bad word from 192.0.2.7 port", Result{Matched, 2, seven, "", noon, false, -1, 1, 0}},
		{"bad word from 192.0.2.1", Result{Ignored, 0, one, "", noon, false, -1, 1, 0}},
		{"bad day from 192.0.2.7", Result{Ignored, 1, seven, "", noon, false, -1, 1, 0}},
		{"bad day", Result{Template: -1}},
		{"<7>Nov  9 10:00:00bad word from 192.0.2.7", Result{Template: -1}},
	} {
		if got := f.NewReader(time.UTC).Read([]byte(c.line), noon); got != c.want {
			t.Errorf("%q:\ngot  %+v\nwant %+v", c.line, got, c.want)
		}
	}
	dated := build(t, `failregex: [{ name: a, trust: verified, regex: '^\[\] bad <HOST>$' }]`)
	got := dated.NewReader(time.UTC).Read([]byte("[2026-11-09 10:00:00] bad 192.0.2.7"), noon)
	if want := (Result{Matched, 0, seven, "", at, true, 1, 1, 0}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReadLeavesTheLineAlone(t *testing.T) {
	line := []byte("[Nov  9 10:00:00] bad 192.0.2.7")
	before := bytes.Clone(line)
	found(t, `bad <HOST>`, string(line))
	f, err := Inline("f", []string{`^\[\] bad <HOST>$`})
	if err != nil {
		t.Fatal(err)
	}
	r := f.NewReader(time.UTC)
	if got := r.Read(line, noon); got.Outcome != Matched || !bytes.Equal(line, before) {
		t.Errorf("outcome %v, line is %q now", got.Outcome, line)
	}
}

func TestLongerLinesMatchNothing(t *testing.T) {
	f := build(t, `
longest: 30
failregex: [{ name: a, trust: verified, regex: '^bad .* from <HOST>$' }]
`)
	for length, want := range map[int]Outcome{29: Matched, 30: Matched, 31: Missed, 5000: Missed} {
		line := "bad " + strings.Repeat("x", length-len("bad  from 192.0.2.7")) + " from 192.0.2.7"
		if got := f.NewReader(time.UTC).Read([]byte(line), noon); got.Outcome != want {
			t.Errorf("%d bytes: outcome %v, want %v", length, got.Outcome, want)
		}
	}
}

// A regex sees a byte that is not UTF-8 as one character; a literal is compared as bytes.
func TestBytesThatAreNotUTF8AreCharacters(t *testing.T) {
	for _, name := range []string{"\xff", "\xc3", "a\xc3\x28b", "\xed\xa0\x80", "\x00\x1b[2K\r", "\xef\xbf\xbd", strings.Repeat("\x80", 50)} {
		line := "user " + name + " from 192.0.2.7"
		for _, regex := range []string{`^user .* from <HOST>$`, `^user [^x]+ from <HOST>$`, `user (?s:.+) from <HOST>`} {
			if got := found(t, regex, line); got != "192.0.2.7" {
				t.Errorf("%s in %q: got %s", regex, line, got)
			}
		}
	}
	if got := found(t, "^user \ufffd from <HOST>$", "user \xff from 192.0.2.7"); got != "192.0.2.7" {
		t.Errorf("U+FFFD is not the invalid byte: got %s", got)
	}
}

func TestLineThatMissesCostsNoAllocation(t *testing.T) {
	if raced {
		t.Skip("the race detector makes regexp allocate")
	}
	lines := [][]byte{
		nil,
		[]byte("Nov  9 18:47:21 h CRON[7]: pam_unix(cron:session): session opened for user root"),
		[]byte("Nov  9 18:47:21 h sshd[1]: Accepted publickey for root from 192.0.2.7 port 4242 ssh2"),
		[]byte("Nov  9 18:47:21 h sshd[1]: Failed password for root from nowhere at all"),
		[]byte("2026-11-09T18:47:21.123456+01:00 h sshd[1]: Invalid user x from 192.0.2.7 port x"),
		[]byte("[2026-11-09 18:47:21] NOTICE[1] chan_sip.c: Registration from '' failed for '' - Wrong password"),
		[]byte("<34>1 2026-11-09T18:47:21Z h kamailio 1 - - WARNING: PIKE - BLOCKing ip "),
		[]byte("Nov  9 18:47:21 h sshd[1]: Failed password for " + strings.Repeat("from ", 180) + "!"),
		bytes.Repeat([]byte("Failed password for from "), 1000),
	}
	for _, f := range shipped(t) {
		r := f.NewReader(time.UTC)
		for _, line := range lines {
			var outcome Outcome
			allocs := testing.AllocsPerRun(100, func() { outcome = r.Read(line, noon).Outcome })
			if outcome != Missed || allocs != 0 {
				t.Errorf("%s: %.60q: outcome %d, %v allocations", f.Name, line, outcome, allocs)
			}
		}
	}
}

// A filter that has a limit on a line's length matches nothing beyond it. One that has none,
// because the address stands before all that clients write, finds there whom it finds in short lines.
func TestLongHostileLinesNameNobodyElse(t *testing.T) {
	for _, f := range shipped(t) {
		for _, sample := range f.samples() {
			for _, size := range []int{2 << 10, 8 << 10, 64 << 10} {
				for _, line := range hostile(sample.V.Line, size) {
					got := f.NewReader(time.UTC).Read(line, noon)
					if got.Outcome == Missed || f.longest == 0 && got.ID() == sample.V.Host {
						continue
					}
					t.Errorf("%v: %d bytes of %.80q...: outcome %d, %s", f, size, line, got.Outcome, got.ID())
				}
			}
		}
	}
}

// Were the limit on a line's length not there, the attacker's text would still move no address.
func TestLengthOfTheAttackersTextMovesNoAddress(t *testing.T) {
	for _, f := range shipped(t) {
		f.longest = 0
		largest := 64 << 10 // for one sample a filter; the engine takes its time
		for _, sample := range f.samples() {
			line := sample.V.Line
			at := strings.Index(line, "203.0.113.")
			if at < 0 || sample.V.Trust == Untrusted {
				continue
			}
			for _, size := range []int{2 << 10, 8 << 10, largest} {
				long := line[:at] + strings.Repeat(line[at:], size/len(line[at:])+1)
				got := f.NewReader(time.UTC).Read([]byte(long), noon)
				if got.Outcome == Matched && framed.Contains(got.Addr) {
					t.Errorf("%s: %d bytes of %s: %v comes out", f.Name, size, line, got.Addr)
				}
			}
			largest = 8 << 10
		}
	}
}

// hostile makes long lines out of a sample: repeated, with its middle repeated, and with
// its end broken off.
func hostile(line string, size int) [][]byte {
	times := size/len(line) + 1
	half := len(line) / 2
	return [][]byte{
		[]byte(strings.Repeat(line, times)),
		[]byte(line[:half] + strings.Repeat(line[half/2:half], 4*times) + line[half:]),
		[]byte(line + strings.Repeat(line[:len(line)-1], times)),
	}
}

// BenchmarkHostileLines shows that the work of a rule without limit is linear in the line: MB/s
// are the same for all sizes.
func BenchmarkHostileLines(b *testing.B) {
	for _, f := range shipped(b) {
		f.longest = 0
		if len(f.samples()) == 0 {
			continue // the other modes show its rules
		}
		for _, size := range []int{2 << 10, 8 << 10, 64 << 10} {
			lines := hostile(f.samples()[0].V.Line, size)
			b.Run(fmt.Sprintf("%v/%d", f, size), func(b *testing.B) {
				r := f.NewReader(time.UTC)
				b.SetBytes(int64(len(lines[0]) + len(lines[1]) + len(lines[2])))
				for b.Loop() {
					for _, line := range lines {
						r.Read(line, noon)
					}
				}
			})
		}
	}
}

// BenchmarkRead reads lines that miss and lines that match; the floor is the search for one word.
func BenchmarkRead(b *testing.B) {
	f := load(b, "../../configs/filters/sshd.yaml", Normal)
	for name, line := range map[string]string{
		"other":    "Nov  9 18:47:21 h CRON[7]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
		"accepted": "Nov  9 18:47:21 h sshd[1]: Accepted publickey for root from 192.0.2.7 port 4242 ssh2",
		"failed":   "Nov  9 18:47:21 h sshd[1]: Failed password for root from 192.0.2.7 port 4242 ssh2",
	} {
		b.Run(name, func(b *testing.B) {
			r := f.NewReader(time.UTC)
			text := []byte(line)
			for b.Loop() {
				r.Read(text, noon)
			}
		})
	}
	b.Run("floor", func(b *testing.B) {
		text, word := []byte("Nov  9 18:47:21 h sshd[1]: Accepted publickey for root from 192.0.2.7 port 4242 ssh2"), []byte("Failed")
		for b.Loop() {
			if bytes.Contains(text, word) {
				b.Fatal("found")
			}
		}
	})
}

// FuzzRead reads any line with each shipped filter: whoever comes out stands in the line.
func FuzzRead(f *testing.F) {
	filters := shipped(f)
	for _, filter := range filters {
		for _, sample := range filter.samples() {
			f.Add([]byte(sample.V.Line))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		for _, filter := range filters {
			got := filter.NewReader(time.UTC).Read(line, noon)
			if got.Outcome != Matched {
				continue
			}
			if got.Addr.IsValid() && !stands(got.Addr, line) || !got.Addr.IsValid() && !bytes.Contains(line, []byte(got.ID())) {
				t.Errorf("%s: %q: %s is not in the line", filter.Name, line, got.ID())
			}
			if got.Template < -1 || got.Template >= len(filter.Templates()) || got.Time.IsZero() {
				t.Errorf("%s: %q: %+v", filter.Name, line, got)
			}
		}
	})
}

// stands reports whether addr is written in line, in any notation.
func stands(addr netip.Addr, line []byte) bool {
	for from := range line {
		for to := from + 1; to <= len(line) && to-from <= 64; to++ {
			if a, err := netip.ParseAddr(string(line[from:to])); err == nil && a.Unmap().WithZone("") == addr {
				return true
			}
		}
	}
	return false
}

// FuzzParse reads any text as a filter file.
func FuzzParse(f *testing.F) {
	f.Add([]byte("failregex:\n  - { name: a, trust: verified, regex: '^<PREFIX>bad <HOST>$' }\nsamples:\n  - { line: bad 192.0.2.7, host: 192.0.2.7, time: 2026-11-09T18:47:21Z }\n"))
	f.Add([]byte("prefix: a\nlongest: -1\nfailregex: ['<HOST>']\nignoreregex: ['(']\ndatepattern: x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := Parse("f.yaml", data)
		if err != nil {
			if _, all := err.(yamldoc.Errors); !all {
				t.Errorf("not a list of errors: %v", err)
			}
			return
		}
		if filter, err := New("f", spec, Normal); err == nil {
			filter.Check()
		}
	})
}
