package daemon

import (
	"strings"
	"testing"

	"xdpban/internal/control"
)

// wantFault checks that status says of thing that it has a fault, or that it has none.
func (s *site) wantFault(thing string, want bool) {
	s.Helper()
	got := false
	for _, fault := range s.status().Faults {
		got = got || strings.HasPrefix(fault, thing+": ")
	}
	if got != want {
		s.Errorf("a fault of %s: %v, want %v: %q", thing, got, want, s.status().Faults)
	}
}

// A part of the allow list that cannot be had or put into the kernel takes nothing from
// the rest of it.
func TestAllowListWithAFaultIsHeeded(t *testing.T) {
	for _, test := range []struct {
		name, resolvers, maxallowed string
	}{
		{"resolvers that cannot be read", "# " + strings.Repeat("x", 1<<20) + "\n", "100"},
		{"more than the kernel holds", "nameserver " + resolver + "\n", "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.resolvers(test.resolvers)
			s.configure(keys{
				"maxallowed": test.maxallowed,
				"defaults":   "{bantime: 1h, findtime: 10m, maxretry: 3, quiettime: 1h, ignoreip: [" + bystander + "]}",
			})
			s.start()
			s.wantFault(allowList, true)
			for _, needed := range []string{server, server6, bystander} {
				refused(s, s.client.Ban, control.BanRequest{Addresses: addresses(needed)})
			}
			s.fail(bystander, 5)
			s.fail(server, 5)
			s.settle()
			s.wantNoBan(bystander)
			s.wantNoBan(server)
			s.wantPass(bystander)
		})
	}
}

// A fault of the allow list ends with its cause.
func TestAllowListIsTriedAgain(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"maxallowed": "12"})
	s.start()
	s.wantFault(allowList, false)
	extra := []string{"10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32", "10.0.0.7/32", "10.0.0.8/32"}
	must(t, s.server.Address("eth0", extra...))
	s.await("the fault", func() bool { return len(s.status().Faults) > 0 })
	s.wantFault(allowList, true)
	s.unplug()
	s.plug()
	s.await("its end", func() bool { return len(s.status().Faults) == 0 })
	must(t, s.server.Address("eth0", bystander+"/24"))
	s.await("the new address", func() bool {
		for _, a := range s.status().Allowed {
			if a.Prefix.Addr().String() == bystander {
				return true
			}
		}
		return false
	})
}

// TestFailuresOfAGatewayAreTold: a proxy or a NAT in front makes all attackers look like it.
func TestFailuresOfAGatewayAreTold(t *testing.T) {
	s := newSite(t, nativeMTU)
	must(t, s.server.Gateway(gateway))
	s.start()
	s.fail(gateway, 6)
	s.settle()
	s.wantNoBan(gateway)
	if got := s.sshd().Allowed; got != 6 {
		t.Errorf("%d failures from allowed addresses, want 6", got)
	}
	const want = `failures of one who is never banned source=` + gateway + ` jail=sshd reason=failed-password why="default gateway"`
	if got := strings.Count(s.log(), want); got != 1 {
		t.Errorf("told %d times, want once:\n%s", got, s.log())
	}
}
