package fallback

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"xdpban/internal/ban"
)

// Refused families are tried again at once.
func init() { retryEvery = 0 }

func TestACommentReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ban.Ban{
			Jail: rapid.StringMatching(`[a-z0-9._-]{1,64}`).Draw(t, "jail"), Reason: rapid.StringN(-1, -1, 20).Draw(t, "reason"),
			Since: anyTime(t, "since"), End: anyTime(t, "end"),
			Quiet: time.Duration(rapid.IntRange(0, 1e6).Draw(t, "quiet")) * time.Second,
			Hand:  rapid.Bool().Draw(t, "hand"), Forced: rapid.Bool().Draw(t, "forced"),
		}
		if rapid.Bool().Draw(t, "limited") {
			want.Limit = anyTime(t, "limit")
		}
		text := comment(want)
		if len(text) > setComment {
			t.Fatalf("%d bytes: %s", len(text), text)
		}
		if got, ok := parseComment(text); !ok || got != want {
			t.Fatalf("%s reads as %+v, want %+v", text, got, want)
		}
	})
}

func anyTime(t *rapid.T, label string) time.Time {
	return time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, label)).UTC()
}

func TestALongReasonIsCutByWholeCharacters(t *testing.T) {
	b := ban.Ban{Jail: "sshd", End: time.Unix(1, 0), Since: time.Unix(0, 0)}
	for range 60 {
		b.Reason += "ü"
	}
	text := comment(b)
	got, ok := parseComment(text)
	if !ok || len(text) > setComment || len(got.Reason) == 0 || len(got.Reason)%2 != 0 || got.Reason != b.Reason[:len(got.Reason)] {
		t.Errorf("%s reads as %q", text, got.Reason)
	}
}

func FuzzParseComment(f *testing.F) {
	f.Add(comment(ban.Ban{Jail: "sshd", Reason: "a b", End: time.Unix(1, 0), Limit: time.Unix(2, 0), Hand: true}))
	f.Add("xdpban,end=,jail=%")
	f.Fuzz(func(t *testing.T, text string) {
		b, ok := parseComment(text)
		if !ok {
			return
		}
		if again, ok := parseComment(comment(b)); !ok || !again.End.Equal(b.End) {
			t.Fatalf("%q: %+v became %+v", text, b, again)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	f.Add(`-A OFFENDINGIPS -s 192.0.2.7/32 -m comment --comment "xdpban,jail=sshd,end=20261125T100000.000" -j OFFENDINGIPS-32-3600`)
	f.Add(`-A X -s ::/0 -m comment --comment xdpban,end=20261125T100000.000`)
	f.Fuzz(func(t *testing.T, text string) {
		if b, ok := parseRule(text); ok && !b.Prefix.IsValid() {
			t.Fatalf("%q: %+v", text, b)
		}
	})
}

func FuzzListEntry(f *testing.F) {
	f.Add("src=192.0.2.7 ttl: 64 last_seen: 4295012345 oldest_pkt: 1 4295012345")
	f.Fuzz(func(t *testing.T, text string) {
		if e, ok := parseListEntry(text); ok && !e.addr.IsValid() {
			t.Fatalf("%q: %+v", text, e)
		}
	})
}

func FuzzSetEntry(f *testing.F) {
	s := set{kind: hashNet, tallies: true}
	f.Add(s.put(nil, entry{prefix: netip.MustParsePrefix("192.0.2.0/24"), timeout: 7, comment: "x", packets: 1}, 1)[unix.SizeofRtAttr:])
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, ok := s.decode(data); ok && !e.prefix.IsValid() {
			t.Fatalf("%x: %+v", data, e)
		}
	})
}

func TestAnEntryReadsBack(t *testing.T) {
	for _, s := range []set{{kind: hashIP, netmask: 32, tallies: true}, {kind: hashNet, tallies: true}, {kind: hashIP, v6: true, netmask: 64, tallies: true}} {
		want := entry{prefix: netip.MustParsePrefix("192.0.2.7/32"), timeout: 7, comment: "jail", packets: 3, bytes: 99}
		if s.v6 {
			want.prefix = netip.MustParsePrefix("2001:db8::/64")
		}
		if got, ok := s.decode(s.put(nil, want, 1)[unix.SizeofRtAttr:]); !ok || got != want {
			t.Errorf("%+v: got %+v, want %+v", s, got, want)
		}
	}
}

func TestClassReadsBack(t *testing.T) {
	for _, c := range []class{{bits: 32, quiet: 3600}, {bits: 64, quiet: 0, forced: true}, {bits: 128, quiet: setTimeoutMax, forced: true, limited: true}} {
		if got, ok := parseClass(c.String()); !ok || got != c {
			t.Errorf("%s reads as %+v", c, got)
		}
		if len(c.chain()) > 28 || len(setPrefix(true)+c.String()+"-life~") > 31 {
			t.Errorf("%s makes names that are too long", c)
		}
	}
}

func TestCountsAreReadOutOfRules(t *testing.T) {
	for _, test := range []struct {
		rule, bare string
		want       ban.Count
	}{
		{"-A X -c 5 500 -j DROP", "-A X -j DROP", ban.Count{Packets: 5, Bytes: 500}},
		{"-A X -m limit --limit 1/s -c 0 0", "-A X -m limit --limit 1/s", ban.Count{}},
		{"-A X -j DROP", "-A X -j DROP", ban.Count{}},
	} {
		if got := countOf(test.rule); got != test.want || countless(test.rule) != test.bare {
			t.Errorf("%s: %+v, %q", test.rule, got, countless(test.rule))
		}
	}
}
