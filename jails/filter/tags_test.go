package filter

import (
	"maps"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)

// found is who comes out of line with regex: the ID, with a "?" where it is no address,
// "none" where it does not match.
func found(t *testing.T, regex, line string) string {
	t.Helper()
	f, err := Inline("test", []string{regex})
	if err != nil {
		t.Fatal(err)
	}
	got := f.NewReader(time.UTC).Read([]byte(line), noon)
	switch {
	case got.Outcome != Matched:
		return "none"
	case !got.Addr.IsValid():
		return got.ID() + "?"
	case got.ID() != got.Addr.String() || got.Addr.Is4In6() || got.Addr.Zone() != "":
		t.Errorf("%q: ID is %q, address is %v", line, got.ID(), got.Addr)
	}
	return got.ID()
}

func TestHostReadsAddressesAndNames(t *testing.T) {
	for _, c := range []struct{ text, host, addr string }{
		{"192.0.2.7", "192.0.2.7", "192.0.2.7"},
		{"192.0.2.7:5060", "192.0.2.7", "192.0.2.7"},
		{"[192.0.2.7]:5060", "192.0.2.7", "192.0.2.7"},
		{"2001:db8::7", "2001:db8::7", "2001:db8::7"},
		{"2001:DB8:0::7", "2001:db8::7", "2001:db8::7"},
		{"[2001:db8::7]", "2001:db8::7", "2001:db8::7"},
		{"[2001:db8::7]:5060", "2001:db8::7", "2001:db8::7"},
		{"2001:db8:0:0:0:0:0:7", "2001:db8::7", "2001:db8::7"},
		{"::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"},
		{"[::ffff:192.0.2.7]:5060", "192.0.2.7", "192.0.2.7"},
		{"::ffff:c000:207", "192.0.2.7", "192.0.2.7"},
		{"::7", "::7", "::7"},
		{"fe80::7%eth0", "fe80::7", "fe80::7"},
		{"client.example.org", "client.example.org?", "none"},
		{"client.example.org:5060", "client.example.org?", "none"},
		{"a_b-c", "a_b-c?", "none"},
		{"192.0.2.7.example.org", "192.0.2.7.example.org?", "none"},
		{"256.0.2.7", "256.0.2.7?", "256.0.2.7?"},
		{"010.0.2.7", "010.0.2.7?", "010.0.2.7?"},
		{"1.2.3", "1.2.3?", "none"},
		{"1:2:3", "1:2:3?", "1:2:3?"},
		{"", "none", "none"},
		{"-", "none", "none"},
		{"192.0.2.7 192.0.2.8", "none", "none"},
	} {
		line := "from <" + c.text + ">"
		if got := found(t, `^from \<<HOST>(?::\d+)?>$`, line); got != c.host {
			t.Errorf("<HOST> in %q: got %s, want %s", line, got, c.host)
		}
		if got := found(t, `^from \<<ADDR>(?::\d+)?>$`, line); got != c.addr {
			t.Errorf("<ADDR> in %q: got %s, want %s", line, got, c.addr)
		}
	}
}

// A regex that is not anchored may stop in the middle of an address or a name.
func TestPartOfAWordIsNoAddress(t *testing.T) {
	for _, c := range []struct{ regex, line, want string }{
		{`from <ADDR>`, "from 192.0.2.7", "192.0.2.7"},
		{`from <ADDR>`, "from 192.0.2.7.", "192.0.2.7"},
		{`from <ADDR>`, "from 192.0.2.7, port", "192.0.2.7"},
		{`from <ADDR>`, "from 192.0.2.7.example.org", "192.0.2.7?"},
		{`from <ADDR>`, "from 192.0.2.7-pool.example.org", "192.0.2.7?"},
		{`from <ADDR>`, "from 192.0.2.777", "192.0.2.777?"},
		{`from <ADDR>`, "from 192.0.2.7777", "192.0.2.777?"},
		{`from .*<ADDR>`, "from 192.0.2.77", "2.0.2.77?"},
		{`<ADDR> port`, "from x192.0.2.7 port", "192.0.2.7?"},
		{`IP:<ADDR>:`, "(IP:192.0.2.7:5060)", "192.0.2.7"},
		{`from (?P<host>\S+)`, "from 192.0.2.7", "192.0.2.7"},
	} {
		if got := found(t, c.regex, c.line); got != c.want {
			t.Errorf("%s in %q: got %s, want %s", c.regex, c.line, got, c.want)
		}
	}
}

func TestTagsOfOneFamilyAndOfPrefixes(t *testing.T) {
	for _, c := range []struct{ regex, line, want string }{
		{`^from <IP4>$`, "from 192.0.2.7", "192.0.2.7"},
		{`^from <IP4>$`, "from [192.0.2.7]", "192.0.2.7"},
		{`^from <IP4>$`, "from 2001:db8::7", "none"},
		{`^from <IP6>$`, "from 2001:db8::7", "2001:db8::7"},
		{`^from <IP6>$`, "from [2001:db8::7]", "2001:db8::7"},
		{`^from <IP6>$`, "from 192.0.2.7", "none"},
		{`^from <SUBNET>$`, "from 192.0.2.0/24", "192.0.2.0"},
		{`^from <SUBNET>$`, "from 2001:db8::/32", "2001:db8::"},
		{`^from <SUBNET>$`, "from 192.0.2.7", "192.0.2.7"},
		{`^from <IP4>/<CIDR>$`, "from 192.0.2.0/24", "192.0.2.0"},
	} {
		if got := found(t, c.regex, c.line); got != c.want {
			t.Errorf("%s in %q: got %s, want %s", c.regex, c.line, got, c.want)
		}
	}
}

func TestTagsCaptureWhatStandsBetweenThem(t *testing.T) {
	f, err := Inline("f", []string{`^(?:for <F-USER>\S+</F-USER>|of <F-USER>\S+</F-USER> \(<F-ALT_USER>.*</F-ALT_USER>\)|by nobody) from <SUBNET>$`})
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]map[string]any{
		"for bob from 192.0.2.0/24":      {"user": "bob", "cidr": "24"},
		"of ann (a b) from 192.0.2.7":    {"user": "ann", "alt_user": "a b"},
		"of a\xff (\xfe) from 192.0.2.7": {"user": "a\xff", "alt_user": "\xfe"},
		"by nobody from 192.0.2.7":       {},
	} {
		r := f.NewReader(time.UTC)
		r.Read([]byte(line), noon)
		if got := r.Groups(); !maps.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestPrefixCoversSyslogHeaders(t *testing.T) {
	for line, want := range map[string]string{
		"Nov  9 10:00:00 h daemon[7]: bad 192.0.2.7":                                       "192.0.2.7",
		"Nov  9 10:00:00 2001:db8::1 daemon[7]: bad 192.0.2.7":                             "192.0.2.7",
		"Nov  9 10:00:00 h daemon: bad 192.0.2.7":                                          "192.0.2.7",
		"Nov  9 10:00:00 h /usr/sbin/daemon[7]: bad 192.0.2.7":                             "192.0.2.7",
		"Nov  9 10:00:00 h daemon(pam_unix)[7]: bad 192.0.2.7":                             "192.0.2.7",
		"Nov  9 10:00:00 daemon[7]: bad 192.0.2.7":                                         "192.0.2.7",
		"<34>Nov  9 10:00:00 h daemon[7]: bad 192.0.2.7":                                   "192.0.2.7",
		"2026-11-09T10:00:00.5+01:00 h daemon[7]: bad 192.0.2.7":                           "192.0.2.7",
		"<34>1 2026-11-09T10:00:00Z h daemon 7 - - bad 192.0.2.7":                          "192.0.2.7",
		"<34>1 2026-11-09T10:00:00Z h daemon - ID7 [a b=\"]\\\"\"][c] \ufeffbad 192.0.2.7": "192.0.2.7",
		"2026-11-09T10:00:00Z h daemon 7 - - bad 192.0.2.7":                                "192.0.2.7",
		"h daemon[7]: bad 192.0.2.7":                                                       "192.0.2.7",
		"daemon[7]: bad 192.0.2.7":                                                         "192.0.2.7",
		"[2026-11-09 10:00:00] bad 192.0.2.7":                                              "192.0.2.7",
		"bad 192.0.2.7":                                                                    "192.0.2.7",
		"Nov  9 10:00:00 h daemon[7]: very bad 192.0.2.7":                                  "none",
		"Nov  9 10:00:00 h other: daemon[7]: bad 192.0.2.7":                                "none",
		"Nov  9 10:00:00 h other[1]: daemon[7]: bad 192.0.2.7":                             "none",
		"Nov  9 10:00:00 other: daemon[7]: bad 192.0.2.7":                                  "none",
		"Nov  9 10:00:00 other: daemon 7 - - bad 192.0.2.7":                                "none",
		"Nov  9 10:00:00 h other: Nov  9 10:00:00 h daemon: bad 192.0.2.7":                 "none",
	} {
		if got := found(t, `^<PREFIX>bad <HOST>$`, line); got != want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
	}
}

func TestPrefixNamesItsDaemons(t *testing.T) {
	spec, err := Parse("f.yaml", []byte(`
prefix: [daemon, my.daemon, mail/smtpd]
failregex: [{name: a, trust: verified, regex: '^<PREFIX>bad <HOST>$'}]
`))
	if err != nil {
		t.Fatal(err)
	}
	f, err := New("f", spec, Normal)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]Outcome{
		"h daemon[7]: bad 192.0.2.7":      Matched,
		"h my.daemon: bad 192.0.2.7":      Matched,
		"h mail/smtpd[7]: bad 192.0.2.7":  Matched,
		"h /x/mail/smtpd: bad 192.0.2.7":  Matched,
		"h other/smtpd[7]: bad 192.0.2.7": Missed,
		"h smtpd[7]: bad 192.0.2.7":       Missed,
		"h myxdaemon: bad 192.0.2.7":      Missed,
		"h other[7]: bad 192.0.2.7":       Missed,
		"h daemons[7]: bad 192.0.2.7":     Missed,
		"h my-daemon[7]: bad 192.0.2.7":   Missed,
	} {
		if got := f.NewReader(time.UTC).Read([]byte(line), noon); got.Outcome != want {
			t.Errorf("%q: outcome %v, want %v", line, got.Outcome, want)
		}
	}
}

func TestBadRegexesAreAllTold(t *testing.T) {
	_, err := Inline("f", []string{
		`^ok <HOST>$`, `^<HOST`, `(<HOST>`, `<IP5> <FID> from <HOST>`, `a(?!b)(<HOST>`, `<HOST> or <ADDR>`, `nobody`, ``, `[z-a] <HOST>`,
		`<F-USER>a <HOST>`, `a</F-USER> <HOST>`, `<F-USER>a <F-ID><HOST></F-USER></F-ID>`,
	})
	want := []string{
		"failregex[2]: names nobody: put <HOST> or <ADDR> where the address stands",
		"failregex[3]: missing closing )",
		"failregex[4]: unknown tag <IP5> <FID> (known: <ADDR> <CIDR> <HOST> <IP4> <IP6> <PREFIX> <SUBNET> <F-NAME>...</F-NAME>; a < that begins no tag is written \\<)",
		"failregex[5]: missing ) (look-around, references and conditions go with plain syntax only)",
		"failregex[6]: names more than one <HOST> or <ADDR>",
		"failregex[7]: names nobody: put <HOST> or <ADDR> where the address stands",
		"failregex[8]: is empty",
		"failregex[9]: invalid character class range: \"z-a\"",
		"failregex[10]: <F-USER> is not closed",
		"failregex[11]: </F-USER> closes what is not open",
		"failregex[12]: </F-USER> closes what is not open",
	}
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("got %d errors, want %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}
