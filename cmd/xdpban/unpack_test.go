package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// packed is text as one of the packings writes it, or as it is.
func packed(t testing.TB, how, text string) string {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch how {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "xz":
		w, err = xz.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	default:
		return text
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// readPacked reads log through unpacked, as a file and as a pipe.
func readPacked(t *testing.T, log string) (text string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err = readAll(t, file)
	piped, pipedErr := readAll(t, io.NopCloser(strings.NewReader(log)))
	if piped != text || (err == nil) != (pipedErr == nil) {
		t.Errorf("a file gives %d bytes and %v, a pipe %d bytes and %v", len(text), err, len(piped), pipedErr)
	}
	return text, err
}

func readAll(t *testing.T, log io.ReadCloser) (string, error) {
	t.Helper()
	in, err := unpacked(log)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(in)
	if closed := in.Close(); closed != nil {
		t.Error(closed)
	}
	return string(text), err
}

func TestLogsAreUnpacked(t *testing.T) {
	long := strings.Repeat("Nov  9 18:47:21 h app[1]: bad password from 192.0.2.7\n", 20000)
	for _, how := range []string{"plain", "gzip", "xz", "zstd"} {
		for _, text := range []string{"", "x", "line\n", long, "\x1f", "\x1f\x8b\x07", "\xfd7zXZ", "\x28\xb5\x2f"} {
			if got, err := readPacked(t, packed(t, how, text)); err != nil || got != text {
				t.Errorf("%s: %d bytes come back as %d, %v", how, len(text), len(got), err)
			}
		}
		twice := packed(t, how, "one\n") + packed(t, how, "two\n")
		if got, err := readPacked(t, twice); err != nil || got != "one\ntwo\n" {
			t.Errorf("%s, two in a row: got %q, %v", how, got, err)
		}
	}
}

func TestBrokenLogsAreReadAsFarAsTheyGo(t *testing.T) {
	var text strings.Builder
	for i := range 300000 {
		text.WriteString(strings.Repeat("line ", i%7))
		text.WriteString(string(rune('a'+i%26)) + "\n")
	}
	for _, how := range []string{"gzip", "xz", "zstd"} {
		whole := packed(t, how, text.String())
		got, err := readPacked(t, whole[:len(whole)*3/4])
		if err == nil || err.Error() != "unpack "+how+": the end is missing" {
			t.Errorf("%s without its end: %v", how, err)
		}
		if got == "" || !strings.HasPrefix(text.String(), got) {
			t.Errorf("%s without its end: %d bytes that are not the first", how, len(got))
		}
		broken := []byte(whole)
		for i := len(broken) / 2; i < len(broken)/2+8; i++ {
			broken[i] ^= 0xff
		}
		if _, err := readPacked(t, string(broken)); err == nil || !strings.HasPrefix(err.Error(), "unpack "+how+": ") {
			t.Errorf("%s with a fault: %v", how, err)
		}
		if _, err := readPacked(t, whole[:7]); err == nil || !strings.HasPrefix(err.Error(), "unpack "+how+": ") {
			t.Errorf("%s, seven bytes of it: %v", how, err)
		}
	}
}

func TestBrokenLogIsReportedAsFarAsItGoes(t *testing.T) {
	var text strings.Builder
	for i := range 50000 {
		fmt.Fprintf(&text, "bad password of %x from 192.0.2.7\n", i*i)
	}
	whole := packed(t, "gzip", text.String())
	log, err := unpacked(io.NopCloser(strings.NewReader(whole[:len(whole)/2])))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	trial := newTrial(t)
	err = (&program{stdout: &out}).try(trial, log)
	if err == nil || err.Error() != "read the log: unpack gzip: the end is missing" {
		t.Errorf("got %v", err)
	}
	if trial.lines == 0 || !strings.Contains(out.String(), "Lines: "+counted(trial.lines, "line")) {
		t.Errorf("%d lines are not in the report:\n%s", trial.lines, out.String())
	}
}

func TestUnpackingIsBounded(t *testing.T) {
	log := []byte(packed(t, "xz", "x"))
	log[14+2] = 40 // the dictionary's size in the block's header: 4 GiB
	if _, err := readPacked(t, string(log)); err == nil || err.Error() != "unpack xz: it takes 4.3 GB of memory, more than 134 MB" {
		t.Errorf("xz: %v", err)
	}
	frame := "\x28\xb5\x2f\xfd" + "\x00" + "\xa8" + "\x01\x00\x00" // a window of 2 GiB
	if _, err := readPacked(t, frame); err == nil || !strings.HasPrefix(err.Error(), "unpack zstd: window size exceeded") {
		t.Errorf("zstd: %v", err)
	}
}

// FuzzUnpacked reads anything as a log that may be packed, as a file and as a pipe.
func FuzzUnpacked(f *testing.F) {
	for _, how := range []string{"", "gzip", "xz", "zstd"} {
		f.Add([]byte(packed(f, how, "Nov  9 18:47:21 h sshd[1]: Failed password for root from 192.0.2.7 port 4242 ssh2\n")))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		in, err := unpacked(io.NopCloser(bytes.NewReader(log)))
		if err != nil {
			return
		}
		defer in.Close()
		io.Copy(io.Discard, io.LimitReader(in, 1<<24)) //nolint:errcheck // any error will do
	})
}
