package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/control"
)

const resolver = "198.51.100.53"

// resolvers gives the lab, whose mounts are its own, another /etc/resolv.conf.
func (s *site) resolvers(text string) {
	s.Helper()
	private := s.path("resolv.conf")
	must(s, os.WriteFile(private, []byte(text), 0o600))
	if _, err := os.Stat(resolvConf); err != nil { // it leads into a /run that is not the lab's
		there, err := os.Readlink(resolvConf)
		must(s, err)
		if !filepath.IsAbs(there) {
			there = filepath.Join(filepath.Dir(resolvConf), there)
		}
		must(s, os.MkdirAll(filepath.Dir(there), 0o755))
		must(s, os.WriteFile(there, nil, 0o600))
	}
	must(s, unix.Mount(private, resolvConf, "", unix.MS_BIND, ""))
	s.Cleanup(func() { must(s, unix.Unmount(resolvConf, 0)) })
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func addresses(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func (s *site) ban(request control.BanRequest) control.BanReply {
	s.Helper()
	reply, err := s.client.Ban(s.Context(), request)
	must(s, err)
	return reply
}

func (s *site) unban(request control.UnbanRequest) control.UnbanReply {
	s.Helper()
	reply, err := s.client.Unban(s.Context(), request)
	must(s, err)
	return reply
}

func TestBanByHand(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	reply := s.ban(control.BanRequest{Prefixes: prefixes("198.51.100.16/29"), Addresses: addresses(attacker6), Seconds: 7200, Reason: "called at night"})
	if want := prefixes("198.51.100.16/29", "2001:db8:0:7::/64"); !slices.Equal(reply.Banned, want) || len(reply.Spared) != 0 {
		t.Errorf("got %+v, want %v banned and nobody spared", reply, want)
	}
	s.wantDrop(attacker, attacker6, neighbour6)
	s.wantPass(bystander, bystander6)
	b := s.awaitBan(attacker)
	if b.Jail != "manual" || b.Reason != "called at night" || b.End.Sub(b.Since).Round(time.Minute) != 2*time.Hour {
		t.Errorf("ban: got %+v", b)
	}

	unbanned := s.unban(control.UnbanRequest{Addresses: addresses(attacker, attacker6)})
	absent := control.Absent{Prefix: netip.MustParsePrefix(attacker + "/32"), Covered: netip.MustParsePrefix("198.51.100.16/29")}
	if !slices.Equal(unbanned.Unbanned, prefixes("2001:db8:0:7::/64")) || !slices.Equal(unbanned.Absent, []control.Absent{absent}) {
		t.Errorf("unban: got %+v", unbanned)
	}
	s.wantDrop(attacker)
	s.wantPass(attacker6, neighbour6)
}

func TestWhatIsNeededIsNotBannedByHand(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.resolvers("# by hand\nnameserver " + resolver + "\nnameserver 2001:db8::53\n")
	must(t, s.server.Gateway(gateway))
	s.start()
	for _, test := range []struct {
		request control.BanRequest
		want    string
	}{
		{control.BanRequest{Addresses: addresses(server)}, server + " is never banned: " + server + " (address of eth0)"},
		{control.BanRequest{Addresses: addresses("::ffff:" + server)}, server + " is never banned: " + server + " (address of eth0)"},
		{control.BanRequest{Addresses: addresses(server6)}, server6 + " is never banned: " + server6 + " (address of eth0)"},
		{control.BanRequest{Addresses: addresses(gateway)}, gateway + " is never banned: " + gateway + " (default gateway)"},
		{control.BanRequest{Addresses: addresses(resolver)}, resolver + " is never banned: " + resolver + " (resolver)"},
		{control.BanRequest{Addresses: addresses("2001:db8::53")}, "2001:db8::53 is never banned: 2001:db8::53 (resolver)"},
		{control.BanRequest{Prefixes: prefixes("127.1.0.0/16")}, "127.1.0.0/16 is never banned: 127.0.0.0/8 (ignoreip)"},
		{control.BanRequest{Addresses: addresses(attacker), Spare: addresses(attacker)}, attacker + " is where you are logged in from (" + attacker + ")"},
		{control.BanRequest{Addresses: addresses(attacker6), Spare: addresses(neighbour6)}, "2001:db8:0:7::/64 is where you are logged in from (" + neighbour6 + ")"},
		{control.BanRequest{Prefixes: prefixes("0.0.0.0/0")}, "0.0.0.0/0 is too much of the internet (wider than /8)"},
		{control.BanRequest{Prefixes: prefixes("2000::/3")}, "2000::/3 is too much of the internet (wider than /16)"},
		{control.BanRequest{Addresses: addresses(bystander, gateway)}, gateway + " is never banned: " + gateway + " (default gateway)"},
	} {
		if got := refused(s, s.client.Ban, test.request); *got != (control.Error{Kind: control.Usage, Text: test.want, Hint: "--force bans it all the same"}) {
			t.Errorf("got %+v, want %q", *got, test.want)
		}
	}
	if bans, err := s.client.Bans(t.Context()); len(bans) != 0 || err != nil {
		t.Errorf("banned all the same: %+v, %v", bans, err)
	}
	s.wantPass(gateway, bystander, attacker)

	s.ban(control.BanRequest{Addresses: addresses(gateway), Force: true})
	s.wantDrop(gateway)
	s.unban(control.UnbanRequest{Addresses: addresses(gateway)})
	s.wantPass(gateway)
}

func TestLogsDoNotBanWhatIsNeeded(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.resolvers("nameserver " + resolver + "\n")
	must(t, s.server.Gateway(gateway))
	s.start()
	needed := []string{gateway, resolver, server, server6, "127.0.0.1", "::ffff:" + gateway}
	for _, source := range needed {
		s.fail(source, 3)
	}
	s.settle()
	for _, source := range needed {
		s.wantNoBan(source)
	}
	s.wantPass(gateway)
}

func TestBannedPrefixSparesWhatIsNeededInside(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.resolvers("nameserver " + resolver + "\n")
	must(t, s.server.Gateway(gateway))
	s.configure(keys{"defaults": "{maxretry: 3, ignoreip: ['" + bystander + "']}"})
	s.start()
	reply := s.ban(control.BanRequest{Prefixes: prefixes("198.51.100.0/24")})
	want := []control.Allowed{
		{Prefix: netip.MustParsePrefix(server + "/32"), Origin: "address of eth0"},
		{Prefix: netip.MustParsePrefix(bystander + "/32"), Origin: "ignoreip"},
		{Prefix: netip.MustParsePrefix(resolver + "/32"), Origin: "resolver"},
		{Prefix: netip.MustParsePrefix(gateway + "/32"), Origin: "default gateway"},
	}
	slices.SortFunc(reply.Spared, func(a, b control.Allowed) int { return ban.Compare(a.Prefix, b.Prefix) })
	if !slices.Equal(reply.Spared, want) {
		t.Errorf("spared: got %+v, want %+v", reply.Spared, want)
	}
	s.wantDrop(attacker)
	s.wantPass(gateway, bystander)
	if spared := s.status().Packets.Spared; spared < 2 {
		t.Errorf("packets spared: got %d, want those of %s and %s", spared, gateway, bystander)
	}
}

func TestUnbanAllLetsEverybodyIn(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.ban(control.BanRequest{Prefixes: prefixes("198.51.100.16/29", "2001:db8:0:8::/64"), Addresses: addresses(bystander, attacker6)})
	s.fail("192.0.2.77", 3)
	s.awaitBan("192.0.2.77")
	s.wantDrop(attacker, bystander, attacker6, bystander6)
	reply := s.unban(control.UnbanRequest{All: true})
	if len(reply.Unbanned) != 5 || len(reply.Absent) != 0 {
		t.Errorf("got %+v, want 5 unbanned", reply)
	}
	s.wantPass(attacker, bystander, attacker6, bystander6)
	if live := s.status().Bans.Live; live != 0 {
		t.Errorf("bans left: %d", live)
	}
	if again := s.unban(control.UnbanRequest{All: true}); len(again.Unbanned) != 0 {
		t.Errorf("unbanned again: %+v", again)
	}
}

func TestUnbanForgetsFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		before int // failures
	}{
		{"of who is not banned yet", 2},
		{"of who is", 3},
		{"of who is and went on", 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.start()
			s.fail(attacker, test.before)
			s.settle()
			s.unban(control.UnbanRequest{Addresses: addresses(attacker)})
			s.fail(attacker, 2)
			s.settle()
			s.wantNoBan(attacker)
			s.wantPass(attacker)
			s.fail(attacker, 1)
			s.awaitBan(attacker)
			s.wantDrop(attacker)
		})
	}
}

// Who asks for more than there is room for gets nothing of it.
func TestBansBeyondTheRoomAreAllRefused(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"maxbans": "100"})
	s.start()
	s.ban(control.BanRequest{Addresses: addresses(bystander)})
	many := addresses(attacker, bystander)
	for next := netip.MustParseAddr("192.0.2.1"); len(many) < 200; next = next.Next() {
		many = append(many, next)
	}
	if got := refused(s, s.client.Ban, control.BanRequest{Addresses: many}); got.Kind != control.Failed || !strings.Contains(got.Text, "is full") {
		t.Errorf("got %+v", got)
	}
	if bans, err := s.client.Bans(t.Context()); len(bans) != 1 || bans[0].Prefix.Addr().String() != bystander || err != nil {
		t.Errorf("got %+v, %v, want what was banned before", bans, err)
	}
	s.wantPass(attacker)
	s.wantDrop(bystander)
}

func TestSenselessRequestsAreRefused(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	for _, test := range []struct {
		request control.BanRequest
		want    control.Error
	}{
		{control.BanRequest{Addresses: addresses(attacker), Jail: "nosuch"}, control.Error{Kind: control.Usage, Text: `there is no jail "nosuch"`, Hint: "xdpban status lists them"}},
		{control.BanRequest{Addresses: addresses(attacker), Seconds: -1}, control.Error{Kind: control.Usage, Text: "cannot ban for -1 seconds"}},
		{control.BanRequest{Addresses: addresses(attacker), Seconds: 1 << 62}, control.Error{Kind: control.Usage, Text: "cannot ban for 4611686018427387904 seconds"}},
		{control.BanRequest{Addresses: addresses(attacker), Reason: strings.Repeat("x", 1001)}, control.Error{Kind: control.Usage, Text: "the reason has 1001 bytes, more than 1000"}},
		{control.BanRequest{Addresses: addresses(attacker), Spare: make([]netip.Addr, 101)}, control.Error{Kind: control.Usage, Text: "101 addresses to spare are more than 100"}},
		{control.BanRequest{}, control.Error{Kind: control.Usage, Text: "an address or a prefix is missing"}},
		{control.BanRequest{Prefixes: []netip.Prefix{{}}}, control.Error{Kind: control.Usage, Text: "an address or a prefix is missing"}},
		{control.BanRequest{Addresses: []netip.Addr{{}}}, control.Error{Kind: control.Usage, Text: "an address or a prefix is missing"}},
	} {
		if got := refused(s, s.client.Ban, test.request); *got != test.want {
			t.Errorf("%+v: got %+v, want %+v", test.request, *got, test.want)
		}
	}
	for _, request := range []control.UnbanRequest{{Addresses: []netip.Addr{{}}}, {Prefixes: []netip.Prefix{{}}}} {
		if got := refused(s, s.client.Unban, request); *got != *errNoAddress {
			t.Errorf("%+v: got %+v, want %+v", request, *got, *errNoAddress)
		}
	}
	s.wantPass(attacker)
}

// Host bits and mapped addresses mean what they mean in a list typed by hand.
func TestSourcesAreMadeCanonical(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.ban(control.BanRequest{Prefixes: prefixes(attacker+"/29", "::ffff:"+bystander+"/128")})
	s.wantDrop(attacker, bystander)
	s.unban(control.UnbanRequest{Prefixes: prefixes(attacker + "/29"), Addresses: addresses("::ffff:" + bystander)})
	s.wantPass(attacker, bystander)

	reply := s.ban(control.BanRequest{Addresses: addresses(attacker6, neighbour6)})
	both := prefixes("2001:db8:0:7::/64")
	if !slices.Equal(reply.Banned, both) {
		t.Errorf("banned: got %v, want %v", reply.Banned, both)
	}
	if back := s.unban(control.UnbanRequest{Addresses: addresses(attacker6, neighbour6)}); !slices.Equal(back.Unbanned, both) || len(back.Absent) != 0 {
		t.Errorf("unbanned: got %+v, want %v", back, both)
	}
}
