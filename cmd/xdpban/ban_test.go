package main

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"xdpban/internal/control"
)

func TestSourcesOfArguments(t *testing.T) {
	prefixes, addresses, err := sources(&cobra.Command{Use: "ban"}, []string{"203.0.113.5/25", "::ffff:192.0.2.8", "2001:db8::7"}, "")
	if want := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/25")}; err != nil || !slices.Equal(prefixes, want) {
		t.Errorf("got %v, %v, want %v", prefixes, err, want)
	}
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("2001:db8::7")}; !slices.Equal(addresses, want) {
		t.Errorf("got %v, want %v", addresses, want)
	}
}

func TestMistakesInArguments(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "ban wants an address or a prefix"},
		{"a name", []string{"192.0.2.7", "localhost"}, `"localhost" is neither an address nor a prefix`},
		{"two", []string{"192.0.2.300", "fe80::1%eth0"}, "\"192.0.2.300\" is neither an address nor a prefix\n\"fe80::1%eth0\" has a zone, which no packet carries"},
	} {
		if _, _, err := sources(&cobra.Command{Use: "ban"}, c.args, ""); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v; want %s", c.name, err, c.want)
		}
	}
}

// A list is sent as it is: the daemon says what is wrong with it.
func TestListIsReadWhole(t *testing.T) {
	const text = "192.0.2.7 # at night\r\nlocalhost\n"
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{path, "-"} {
		p := &program{stdin: strings.NewReader(text)}
		list, name, err := p.readList(from)
		if err != nil || name != from {
			t.Fatalf("%s: %q, %v", from, name, err)
		}
		if got, err := io.ReadAll(list); string(got) != text || err != nil {
			t.Errorf("%s: %q, %v", from, got, err)
		}
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(long, control.ListBytes+1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{long, "read the list " + long + ": it is longer than 128 MiB, give it in parts"},
		{"/dev/zero", "read the list /dev/zero: it is longer than 128 MiB, give it in parts"},
		{"/nowhere", "open the list /nowhere: no such file or directory"},
		{"/", "read the list /: is a directory"},
	} {
		if _, _, err := new(program).readList(c.path); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
}

func TestLengthOfABan(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		err  string
	}{
		{"", 0, ""},
		{"90", 90, ""},
		{"1d12h", 36 * 3600, ""},
		{"10y", 315576000, ""},
		{"0", 0, `--for: "0" is less than a second`},
		{"-1", 0, `--for: want a time, got "-1"`},
		{"5 fortnights", 0, `--for: no unit of time is called "fortnights"`},
		{"11y", 0, `--for: "11y" is too long`},
	} {
		got, err := seconds(&cobra.Command{Use: "ban"}, c.text)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.want || text != c.err {
			t.Errorf("--for %q: %d, %s; want %d, %s", c.text, got, text, c.want, c.err)
		}
	}
}

func TestNamed(t *testing.T) {
	seven := netip.MustParsePrefix("192.0.2.7/32")
	for _, c := range []struct {
		prefixes []netip.Prefix
		want     string
	}{
		{nil, "0 sources"},
		{[]netip.Prefix{seven, netip.MustParsePrefix("2001:db8::/64")}, "192.0.2.7, 2001:db8::/64"},
		{[]netip.Prefix{seven, seven, seven, seven, seven, seven}, "6 sources"},
	} {
		if got := named(c.prefixes, len(c.prefixes)); got != c.want {
			t.Errorf("named(%v) = %s, want %s", c.prefixes, got, c.want)
		}
	}
}
