package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"xdpban/jails/source"
)

// collect is what eachLine makes of log; "(long)" stands for a line that is too long.
func collect(t testing.TB, log io.Reader) []string {
	t.Helper()
	var got []string
	err := eachLine(log, func(n int, line []byte) error {
		if n != len(got)+1 {
			return fmt.Errorf("line %d comes as number %d", len(got)+1, n)
		}
		if line == nil {
			got = append(got, "(long)")
		} else {
			got = append(got, string(line))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLinesOfALog(t *testing.T) {
	full := strings.Repeat("x", source.MaxLine)
	for _, c := range []struct {
		name, log string
		want      []string
	}{
		{"empty", "", nil},
		{"one", "a\n", []string{"a"}},
		{"empty lines", "\n\n", []string{"", ""}},
		{"no newline at the end", "a\nb", []string{"a", "b"}},
		{"from Windows", "a\r\nb\r\n\r\n", []string{"a", "b", ""}},
		{"carriage returns inside", "a\rb\r\r\n", []string{"a\rb\r"}},
		{"binary", "\x00\xff\x1b\n\xfe", []string{"\x00\xff\x1b", "\xfe"}},
		{"longest", full + "\n" + full + "\r\nb\n" + full, []string{full, full, "b", full}},
		{"too long", "a\n" + full + "x\nb\n", []string{"a", "(long)", "b"}},
		{"too long for the buffer", "a\n" + strings.Repeat(full, 9) + "\nb\n", []string{"a", "(long)", "b"}},
		{"too long without a newline", "a\n" + strings.Repeat(full, 8), []string{"a", "(long)"}},
		{"too long, all of it", strings.Repeat("x", 4*source.MaxLine) + "\n", []string{"(long)"}},
	} {
		if got := collect(t, strings.NewReader(c.log)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %.60q, want %.60q", c.name, got, c.want)
		}
		if got := collect(t, iotest.HalfReader(strings.NewReader(c.log))); !slices.Equal(got, c.want) {
			t.Errorf("%s, in pieces: %.60q, want %.60q", c.name, got, c.want)
		}
	}
}

func TestLinesEndAtAnError(t *testing.T) {
	torn := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errors.New("disk on fire")))
	count := 0
	err := eachLine(torn, func(int, []byte) error { count++; return nil })
	if err == nil || err.Error() != "read the log: disk on fire" || count != 1 {
		t.Errorf("%d lines, %v", count, err)
	}
	stop := errors.New("stop")
	err = eachLine(strings.NewReader("a\nb\n"), func(int, []byte) error { return stop })
	if err != stop {
		t.Errorf("got %v, want the error of yield", err)
	}
}

// FuzzEachLine compares with the plain way, which holds all of the log.
func FuzzEachLine(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nc"), uint16(0))
	f.Add([]byte("x\nlong\n"), uint16(source.MaxLine-1))
	f.Fuzz(func(t *testing.T, log []byte, fill uint16) {
		log = bytes.ReplaceAll(log, []byte("x"), bytes.Repeat([]byte("x"), 5*int(fill)+1))
		if len(log) > 16<<20 {
			t.Skip("larger than it is worth")
		}
		var want []string
		if len(log) > 0 {
			for _, line := range strings.Split(strings.TrimSuffix(string(log), "\n"), "\n") {
				if line = strings.TrimSuffix(line, "\r"); len(line) > source.MaxLine {
					line = "(long)"
				}
				want = append(want, line)
			}
		}
		if got := collect(t, bytes.NewReader(log)); !slices.Equal(got, want) {
			t.Errorf("%d lines of %d bytes: %.200q, want %.200q", len(got), len(log), got, want)
		}
	})
}
