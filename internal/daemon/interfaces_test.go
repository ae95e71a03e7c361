package daemon

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

func (s *site) unplug() {
	s.Helper()
	eth0, err := s.server.Links().LinkByName("eth0")
	must(s, err)
	must(s, s.server.Links().LinkDel(eth0))
}

func (s *site) awaitInterfaces(what string, want map[string]string) {
	s.Helper()
	s.await(what, func() bool { return maps.Equal(s.interfaces(), want) })
}

func TestMissingInterfaceIsAwaited(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.unplug()
	s.start()
	status := s.status()
	if want := []string{"interface eth0: there is no such interface: waiting for it"}; !slices.Equal(status.Faults, want) || len(status.Interfaces) != 0 {
		t.Errorf("faults %q, interfaces %+v, want %q and none", status.Faults, status.Interfaces, want)
	}
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.plug()
	s.awaitInterfaces("eth0 to be enforced on", map[string]string{"eth0": "native"})
	s.wantDrop(attacker)
	s.wantPass(bystander)
	s.await("the end of the fault", func() bool { return len(s.status().Faults) == 0 })
}

func TestInterfaceMadeAgainIsEnforcedOnAgain(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	for range 3 {
		s.wantDrop(attacker)
		s.unplug()
		s.awaitInterfaces("eth0 to be missed", map[string]string{})
		s.plug()
		s.awaitInterfaces("eth0 to be enforced on again", map[string]string{"eth0": "native"})
	}
	s.wantDrop(attacker)
	s.wantPass(bystander)

	// So quickly that nobody sees it missing.
	s.unplug()
	s.plug()
	eth0, err := s.server.Links().LinkByName("eth0")
	must(t, err)
	s.await("eth0 to be enforced on again", func() bool {
		eth0, err = s.server.Links().LinkByName("eth0")
		must(t, err)
		return eth0.Attrs().Xdp.Attached
	})
	s.wantDrop(attacker)
}

func TestAutoFollowsTheDefaultRoute(t *testing.T) {
	s := newSite(t, nativeMTU)
	must(t, lab.Connect(s.server, "eth1", s.peer, "eth1"))
	must(t, s.server.Address("eth1", "192.0.2.1/24"))
	s.configure(keys{"interfaces": "[auto]"})
	s.start()
	if want := []string{"interface auto: no interface carries a default route: waiting for one"}; !slices.Equal(s.status().Faults, want) {
		t.Errorf("faults: got %q, want %q", s.status().Faults, want)
	}
	must(t, s.server.Gateway(gateway))
	s.awaitInterfaces("eth0, which carries the default route", map[string]string{"eth0": "native"})
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker)

	// A second default route brings its interface in, and the loss of the first drops nobody.
	eth1, err := s.server.Links().LinkByName("eth1")
	must(t, err)
	must(t, s.server.Links().RouteAdd(&netlink.Route{LinkIndex: eth1.Attrs().Index, Gw: addresses("192.0.2.2")[0].AsSlice(), Priority: 7}))
	both := map[string]string{"eth0": "native", "eth1": "native"}
	s.awaitInterfaces("both", both)
	must(t, s.server.Links().RouteDel(&netlink.Route{Gw: addresses(gateway)[0].AsSlice()}))
	s.await("the gateway to be forgotten", func() bool {
		return !slices.ContainsFunc(s.status().Allowed, func(a control.Allowed) bool { return a.Prefix.Addr() == addresses(gateway)[0] })
	})
	if got := s.interfaces(); !maps.Equal(got, both) {
		t.Errorf("interfaces: got %v, want %v", got, both)
	}
	s.wantDrop(attacker)
}

// An address that the host gets is one that it must not ban.
func TestNewAddressEndsItsBan(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail("198.51.100.99", 3)
	s.awaitBan("198.51.100.99")
	must(t, s.server.Address("eth0", "198.51.100.99/24"))
	s.await("the end of the ban", func() bool { return s.banOf("198.51.100.99") == nil })
}

func TestRefusedInterfaceIsAFaultBesideAnother(t *testing.T) {
	s := newSite(t, nativeMTU)
	must(t, lab.Connect(s.server, "eth1", s.peer, "eth1"))
	s.configure(keys{"interfaces": "[eth0, eth1]", "enforce": "xdp"})
	other := s.occupy()
	s.start()
	if got, want := s.interfaces(), map[string]string{"eth0": "none", "eth1": "native"}; !maps.Equal(got, want) {
		t.Errorf("interfaces: got %v, want %v", got, want)
	}
	if faults := s.status().Faults; len(faults) != 1 || !strings.HasPrefix(faults[0], `eth0: attach xdp to eth0: occupied by another XDP program: "stranger"`) {
		t.Errorf("faults: got %q", faults)
	}
	must(t, other.Close())
	must(t, s.server.Address("eth1", "192.0.2.1/24")) // news, at which it looks again
	s.awaitInterfaces("both", map[string]string{"eth0": "native", "eth1": "native"})
}

func TestObserveDropsNothing(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "observe"})
	s.start()
	s.fail(attacker, 3)
	b := s.awaitBan(attacker)
	if b.Jail != "sshd" || b.Reason != "failed-password" {
		t.Errorf("ban: got %+v", b)
	}
	s.wantPass(attacker)
	if got := s.interfaces(); !maps.Equal(got, map[string]string{"eth0": "observe"}) {
		t.Errorf("interfaces: got %v", got)
	}
	eth0, err := s.server.Links().LinkByName("eth0")
	must(t, err)
	if xdp := eth0.Attrs().Xdp; xdp != nil && xdp.Attached {
		t.Errorf("a program is on eth0: %+v", xdp)
	}
	if jail := s.sshd(); jail.Banned != 1 || jail.Bans != 1 || jail.Matched != 3 {
		t.Errorf("jail: got %+v, want 1 ban of 3 matches", jail)
	}
}

// Whoever only observes is told of what an earlier run left dropping, and how to end it.
func TestObserveTellsOfWhatIsLeftDropping(t *testing.T) {
	for _, test := range []struct{ enforce, left string }{
		{"xdp", "the kernel program at "},
		{"iptables", "the chain OFFENDINGIPS"},
	} {
		t.Run(test.enforce, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.configure(keys{"enforce": test.enforce})
			s.start()
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.crash()
			s.configure(keys{"enforce": "observe"})
			s.start()
			s.wantDrop(attacker)
			want := "left over: an earlier run left " + test.left
			if faults := s.status().Faults; len(faults) != 1 || !strings.HasPrefix(faults[0], want) || !strings.HasSuffix(faults[0], "run: xdpban detach") {
				t.Errorf("faults: %q, want %q", faults, want)
			}
			if log := s.log(); strings.Count(log, "an earlier run left "+test.left) != 1 {
				t.Errorf("the log says:\n%s", log)
			}
			s.crash()
			s.on(s.xdpban().Path, "detach", "-c", s.path("xdpban.yaml"))
			s.start()
			if faults := s.status().Faults; len(faults) != 0 {
				t.Errorf("after xdpban detach: %q", faults)
			}
			s.wantPass(attacker)
		})
	}
}
