package daemon

import (
	"testing"

	"xdpban/internal/control"
)

// Bans that the kernel has no room for are a fault and hold up no others.
func TestFullMapHoldsUpNoOtherBan(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{
		"maxprefixes": "1",
		// An allowed neighbour has the /64 of each of these banned one address at a time.
		"defaults": "{bantime: 1h, findtime: 10m, maxretry: 1, quiettime: 1h, ignoreip: ['2001:db8:0:7::ffff']}",
	})
	s.start()
	const first = "2001:db8:0:7::10"
	s.fail(first, 1)
	s.awaitBan(first)
	s.fail(attacker6, 1)
	s.fail(neighbour6, 1)
	s.fail(attacker, 1)
	s.awaitBan(attacker)
	s.await("the fault", func() bool { return len(s.status().Faults) > 0 })
	s.wantFault("bans", true)
	s.wantDrop(attacker)
	s.wantPass(attacker6) // as status says
	if live := s.status().Bans.Live; live != 2 {
		t.Errorf("%d bans in force, want 2", live)
	}
	for _, source := range []string{attacker, attacker6, neighbour6, first} {
		s.unban(control.UnbanRequest{Addresses: addresses(source)})
	}
	s.await("the end of the fault", func() bool { return len(s.status().Faults) == 0 })
	s.wantNoBan(attacker)
	s.wantPass(attacker)
}
