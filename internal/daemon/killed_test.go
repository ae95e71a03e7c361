package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"xdpban/internal/ban"
	"xdpban/internal/control"
)

// A daemon that is killed in the midst of a list leaves in force what it has done of it. The next
// one knows that, and the same list completes it: nothing is lost or doubled, no packet passes.
func TestTheNextDaemonCompletesAList(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"maxbans": "65536"})
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	a := s.attack(pace)
	a.goOn(200)
	text, listed := longList(30_000)
	listed[netip.MustParsePrefix(attacker+"/32")] = true // whom a jail has banned already
	text += attacker + "\n"

	s.killMidway(text, 2048)
	left := s.inKernel()
	if n := len(left); n < 2048 || n >= len(listed) {
		t.Fatalf("%d of %d bans were in force when the daemon was killed", n, len(listed))
	}
	for prefix := range left {
		if !listed[prefix] {
			t.Fatalf("%v is banned, and not on the list", prefix)
		}
	}
	a.goOn(200)
	s.start()
	known := make(map[netip.Prefix]bool)
	for prefix := range left {
		known[prefix] = true
	}
	s.same("after the next daemon's start", known)
	a.goOn(200)

	reply, err := s.client.Ban(t.Context(), control.BanRequest{List: strings.NewReader(text), Name: "list"})
	must(t, err)
	if reply.Count != len(listed) {
		t.Errorf("%d sources were banned, want %d", reply.Count, len(listed))
	}
	s.same("after the list", listed)
	if b := s.awaitBan(attacker); b.Jail != ban.ByHand {
		t.Errorf("the ban that the list renewed: %+v", b)
	}
	sent, passed := a.end()
	if sent < 600 || passed != 0 {
		t.Errorf("%d of %d packets passed", passed, sent)
	}
	s.wantPass(bystander)

	if reply := s.unban(control.UnbanRequest{All: true}); reply.Count != len(listed) {
		t.Errorf("%d bans were ended, want %d", reply.Count, len(listed))
	}
	s.same("after all were ended", map[netip.Prefix]bool{})
	s.wantPass(attacker)
}

// longList is a list of n addresses and a few prefixes, and what is to be banned by it.
func longList(n int) (text string, listed map[netip.Prefix]bool) {
	lines := new(strings.Builder)
	listed = make(map[netip.Prefix]bool)
	for i := range n {
		var quad [4]byte
		binary.BigEndian.PutUint32(quad[:], 10<<24+uint32(i))
		fmt.Fprintln(lines, netip.AddrFrom4(quad))
		listed[ban.Single(netip.AddrFrom4(quad))] = true
	}
	for i := range 100 {
		fmt.Fprintf(lines, "192.0.2.%d/31\n2001:db8:ffff:%x::7\n", 2*i, i)
		listed[netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/31", 2*i))] = true
		listed[netip.MustParsePrefix(fmt.Sprintf("2001:db8:ffff:%x::/64", i))] = true
	}
	return lines.String(), listed
}

// killMidway gives the daemon a list and kills it as soon as so many bans are in force. A list that
// was faster is ended and given again.
func (s *site) killMidway(text string, bans int) {
	s.Helper()
	for range 10 {
		before := s.status().Bans.Live
		done := make(chan error, 1)
		go func() {
			_, err := s.client.Ban(s.Context(), control.BanRequest{List: strings.NewReader(text), Name: "list"})
			done <- err
		}()
		for s.status().Bans.Live < before+bans {
		}
		s.crash()
		if err := <-done; err != nil {
			return
		}
		s.start()
		s.unban(control.UnbanRequest{List: strings.NewReader(text), Name: "list"})
		s.fail(attacker, 3)
		s.awaitBan(attacker)
	}
	s.Fatal("the list was always done before the daemon was killed")
}

// same wants exactly these bans in the account, in the kernel and listed, each once.
func (s *site) same(when string, want map[netip.Prefix]bool) {
	s.Helper()
	if live := s.status().Bans.Live; live != len(want) {
		s.Errorf("%s: the account has %d bans, want %d", when, live, len(want))
	}
	listed := make(map[netip.Prefix]int)
	bans, err := s.client.Bans(s.Context())
	must(s, err)
	for _, b := range bans {
		listed[b.Prefix]++
	}
	for _, found := range []struct {
		where string
		bans  map[netip.Prefix]int
	}{{"the list has", listed}, {"the kernel has", s.inKernel()}} {
		for prefix := range want {
			if n := found.bans[prefix]; n != 1 {
				s.Errorf("%s: %s %v %d times", when, found.where, prefix, n)
				break
			}
		}
		if len(found.bans) != len(want) {
			s.Errorf("%s: %s %d bans, want %d", when, found.where, len(found.bans), len(want))
		}
	}
	compared, err := s.client.Verify(s.Context(), control.VerifyRequest{})
	must(s, err)
	if c := compared.Compared; c.Wanted != len(want) || c.Enforced != len(want) || c.Repaired != 0 || c.Unknowns != 0 {
		s.Errorf("%s: %+v, want %d bans", when, *c, len(want))
	}
}

// inKernel counts how often each source is in the pinned maps that hold bans.
func (s *site) inKernel() map[netip.Prefix]int {
	s.Helper()
	found := make(map[netip.Prefix]int)
	for _, name := range []string{"bans", "held", "nets"} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(s.pin(), "v1", name), &ebpf.LoadPinOptions{ReadOnly: true})
		must(s, err)
		defer m.Close()
		key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
		entries := m.Iterate()
		for entries.Next(&key, &value) {
			const bits = 60 // where a ban has the length of its prefix
			addr := netip.AddrFrom16([16]byte(key[len(key)-16:])).Unmap()
			if name == "nets" && key[4] == 4 {
				addr = netip.AddrFrom4([4]byte(key[8:12]))
			}
			found[netip.PrefixFrom(addr, int(value[bits]))]++
		}
		if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			s.Fatal(err)
		}
	}
	return found
}
