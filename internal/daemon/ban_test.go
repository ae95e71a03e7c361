package daemon

import (
	"net/netip"
	"testing"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
)

// inModes runs test on a cable that has native XDP and on one that has not.
func inModes(t *testing.T, test func(t *testing.T, mtu int, mode string)) {
	t.Run("native", func(t *testing.T) { test(t, nativeMTU, "native") })
	t.Run("generic", func(t *testing.T) { test(t, tooLarge, "generic") })
}

func TestLinesOfLogLeadToDrops(t *testing.T) {
	inModes(t, func(t *testing.T, mtu int, mode string) {
		s := newSite(t, mtu)
		s.start()
		if got := s.interfaces(); len(got) != 1 || got["eth0"] != mode {
			t.Errorf("interfaces: got %v, want eth0 in mode %s", got, mode)
		}
		for _, test := range []struct{ bad, prefix, good string }{
			{attacker, attacker + "/32", bystander},
			{attacker6, "2001:db8:0:7::/64", bystander6},
		} {
			s.wantPass(test.bad, test.good)
			s.fail(test.bad, 2)
			s.fail(test.good, 2)
			s.settle()
			s.wantNoBan(test.bad)
			s.wantPass(test.bad)
			s.fail(test.bad, 1)
			b := s.awaitBan(test.bad)
			want := control.Ban{Prefix: netip.MustParsePrefix(test.prefix), Jail: "sshd", Reason: "failed-password", Since: b.Since, End: b.End, Left: b.Left}
			if b != want {
				t.Errorf("ban: got %+v, want %+v", b, want)
			}
			if lasts := b.End.Sub(b.Since).Round(time.Minute); lasts != time.Hour {
				t.Errorf("ban: lasts %v, want 1h", lasts)
			}
			s.wantDrop(test.bad)
			s.wantPass(test.good)
			s.wantNoBan(test.good)
		}
		s.wantDrop(neighbour6)
		if b := s.awaitBan(attacker6); b.Packets != 6 || b.Seen.IsZero() || b.Refreshes == 0 {
			t.Errorf("ban: got %+v, want 6 packets, seen and refreshed", b)
		}
		if dropped := s.status().Packets.Dropped; dropped != 9 {
			t.Errorf("dropped in all: got %d, want 9", dropped)
		}
	})
}

// Where the attacker's neighbour is needed, the attacker is banned alone.
func TestNeededNeighbourIsSpared(t *testing.T) {
	for _, test := range []struct {
		name   string
		needed func(s *site)
	}{
		{"ignoreip", func(s *site) { s.configure(keys{"defaults": "{maxretry: 3, ignoreip: ['" + neighbour6 + "']}"}) }},
		{"gateway", func(s *site) { must(t, s.server.Gateway(neighbour6)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			test.needed(s)
			s.start()
			s.fail(attacker6, 3)
			if b := s.awaitBan(attacker6); b.Prefix != ban.Single(netip.MustParseAddr(attacker6)) {
				t.Errorf("ban: got %v, want the address alone", b.Prefix)
			}
			s.wantDrop(attacker6)
			s.wantPass(neighbour6)
		})
	}
}

func TestIgnoredAddressIsNotBanned(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"defaults": "{maxretry: 3, ignoreip: [" + bystander + "]}"})
	s.start()
	s.fail(bystander, 9)
	s.settle()
	s.wantNoBan(bystander)
	s.wantPass(bystander)
	if allowed := s.sshd().Allowed; allowed != 9 {
		t.Errorf("failures of allowed addresses: got %d, want 9", allowed)
	}
}

// The attack prolongs the ban, also while nobody but the kernel is there, and the end of the
// attack ends it.
func TestBanLastsAsLongAsTheAttack(t *testing.T) {
	const banTime, quietTime = 4 * time.Second, 4 * time.Second // the attacker may lose the CPU for as long
	short := keys{"defaults": "{bantime: 4s, quiettime: 4s, maxretry: 3}"}
	for _, test := range []struct {
		name  string
		mtu   int
		crash bool
	}{
		{"native, the daemon runs", nativeMTU, false},
		{"native, the daemon is killed", nativeMTU, true},
		{"generic, the daemon is killed", tooLarge, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			s := newSite(t, test.mtu)
			s.configure(short)
			s.start()
			s.fail(attacker, 3)
			banned := s.awaitBan(attacker)
			a := s.attack(100 * time.Millisecond)
			if test.crash {
				a.goOn(1)
				s.crash()
			}
			s.await("twice the time of the ban", func() bool { return time.Since(banned.Since) > 2*banTime })
			if !test.crash {
				if b := s.awaitBan(attacker); b.Refreshes == 0 || b.Packets == 0 || !b.End.After(banned.End.Add(time.Second)) {
					t.Errorf("ban: got %+v, want its end moved from %v", b, banned.End)
				}
			}
			sent, passed := a.end()
			if sent < 10 || passed != 0 {
				t.Errorf("%d of %d packets passed", passed, sent)
			}
			quiet := time.Now()
			if !test.crash {
				s.await("the end of the ban", func() bool { return s.banOf(attacker) == nil })
			}
			// The kernel moves the end once a second at most, to a second more than asked for.
			<-time.After(time.Until(quiet.Add(quietTime + 1200*time.Millisecond)))
			s.wantPass(attacker)
		})
	}
}
