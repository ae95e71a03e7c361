package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"xdpban/internal/ban"
)

const goodList = "\n192.0.2.7  # called at night\r\n# nobody\n\t198.51.100.77/24\n::ffff:192.0.2.8\n2001:db8::7"

func TestSourcesOfArgumentsAndList(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte(goodList), 0o644); err != nil {
		t.Fatal(err)
	}
	want := ban.List{
		Prefixes:  []netip.Prefix{netip.MustParsePrefix("203.0.113.0/25"), netip.MustParsePrefix("198.51.100.0/24")},
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("2001:db8::7")},
	}
	for _, from := range []string{list, "-"} {
		p := &program{stdin: strings.NewReader(goodList)}
		got, err := p.sources(&cobra.Command{Use: "ban"}, []string{"203.0.113.5/25"}, from)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from %s: %v, %v; want %v", from, got, err, want)
		}
	}
}

func TestMistakesInSources(t *testing.T) {
	many := strings.Repeat("x\n", 13)
	for _, c := range []struct {
		name string
		args []string
		list string // of standard input
		want string
	}{
		{"nothing", nil, "# nobody\n", "ban wants an address or a prefix"},
		{"an argument", []string{"192.0.2.7", "localhost"}, "", `"localhost" is neither an address nor a prefix`},
		{"everywhere", []string{"192.0.2.300", "fe80::1%eth0"}, "192.0.2.7\n\n192.0.2.0/33 # wide\n", `"192.0.2.300" is neither an address nor a prefix
"fe80::1%eth0" has a zone, which no packet carries
-:3: "192.0.2.0/33" is neither an address nor a prefix`},
		{"binary", nil, "\x1b[2J\xff\n", `-:1: "\x1b[2J\xff" is neither an address nor a prefix`},
		{"a long line", nil, strings.Repeat("1", 2000), `-:1: "` + strings.Repeat("1", 60) + `..." is neither an address nor a prefix`},
		{"a line without end", nil, "192.0.2.7\n" + strings.Repeat("1", 1<<20), "read the list -: line 2: bufio.Scanner: token too long"},
		{"a missing list", nil, "", "ban wants an address or a prefix"},
		{"many", nil, many, "-:1: \"x\" is neither an address nor a prefix" + seq(2, 10) + "\nand 3 more"},
	} {
		p := &program{stdin: strings.NewReader(c.list)}
		got, err := p.sources(&cobra.Command{Use: "ban"}, c.args, "-")
		if err == nil || err.Error() != c.want || !reflect.DeepEqual(got, ban.List{}) {
			t.Errorf("%s: %v, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func seq(from, to int) string {
	var b strings.Builder
	for n := from; n <= to; n++ {
		fmt.Fprintf(&b, "\n-:%d: \"x\" is neither an address nor a prefix", n)
	}
	return b.String()
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
