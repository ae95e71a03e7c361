package loader

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// peer finds a program of a Debian package, or skips the benchmark.
func peer(b *testing.B, pkg, name string) {
	b.Helper()
	if _, err := exec.LookPath(name); err != nil {
		b.Skipf("%v: apt-get install %s", err, pkg)
	}
}

// xdpFilter has xdp-filter drop what the first n addresses from 10.0.0.0 on, and as many /64
// from 2001:db8:: on, send to eth0 of h, and returns its program.
func xdpFilter(b *testing.B, h *lab.Host, n int) *ebpf.Program {
	b.Helper()
	peer(b, "xdp-tools", "xdp-filter")
	must(b, h.Run("xdp-filter", "load", "-m", "native", "-f", "ipv4,ipv6", "eth0"))
	b.Cleanup(func() { must(b, h.Run("xdp-filter", "unload", "--all")) })
	for i, family := range []struct{ pin, first string }{{"filter_ipv4", "10.0.0.0"}, {"filter_ipv6", "2001:db8::"}} {
		must(b, h.Run("xdp-filter", "ip", "-m", "src", family.first))
		m, err := ebpf.LoadPinnedMap("/sys/fs/bpf/xdp-filter/"+family.pin, nil)
		must(b, err)
		defer m.Close()
		var flags []uint64 // as the tool has set them, by CPU
		must(b, m.Lookup(netip.MustParseAddr(family.first).AsSlice(), &flags))
		for j, ban := range many(n) {
			if j%2 == i {
				must(b, m.Put(ban.Prefix.Addr().AsSlice(), flags))
			}
		}
	}
	return attachedTo(b, h)
}

// attachedTo is the XDP program of eth0 of h.
func attachedTo(b *testing.B, h *lab.Host) *ebpf.Program {
	b.Helper()
	eth0, err := h.Links().LinkByName("eth0")
	must(b, err)
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(eth0.Attrs().Xdp.ProgId))
	must(b, err)
	b.Cleanup(func() { prog.Close() })
	return prog
}

// BenchmarkXDPFilter sets the program beside xdp-filter's, which knows neither an end nor a
// refresh, with 1,000 bans of each family.
func BenchmarkXDPFilter(b *testing.B) {
	const n = 1024
	l := openFor(b, 4096)
	must(b, l.Ban(many(n)...))
	w := newWire(b, 0)
	theirs := xdpFilter(b, w.victim, n)
	for _, test := range []struct {
		name  string
		frame []byte
		want  Verdict
		drawn bool
		first asm.Instructions // of what is drawn
	}{
		{"pass/v4", from(bystander), Pass, false, nil},
		{"pass/v6", from("2001:db8:ffff::1"), Pass, false, nil},
		{"pass/vlan", frame(bystander, typeVLAN, typeIPv4), Pass, false, nil},
		{"drop/v4", from("10.0.0.7"), Drop, false, nil},
		{"drop/v6", from("2001:db8:0:7::"), Drop, false, nil},
		{"drop/vlan", frame("10.0.0.7", typeVLAN, typeIPv4), Drop, false, nil},
		{"drop/random/pace=close", from("10.0.0.0"), Drop, true, nil},
		{"drop/random/pace=apart", from("10.0.0.0"), Drop, true, fence()},
	} {
		b.Run(test.name, func(b *testing.B) {
			contenders := []contender{{"xdp-filter", theirs, test.frame}, {"ours", l.prog, test.frame}, {"bare", bare(b, test.want), test.frame}}
			for i, c := range contenders {
				if got, err := run(c.prog, c.frame); err != nil || got != test.want {
					b.Fatalf("%s: %v, %v; want %v", c.name, got, err, test.want)
				}
				if test.drawn {
					contenders[i].prog = drawn(b, c.prog, n, test.first...)
				}
			}
			race(b, contenders...)
		})
	}
}

// BenchmarkSizes has few and many bans, with the tables of prefixes empty and full. The floor
// only drops; the sources of bans are drawn.
func BenchmarkSizes(b *testing.B) {
	for _, prefixes := range []int{0, 100_000} {
		for _, n := range []int{1, 1 << 10, 1e5, 1 << 20} {
			b.Run(fmt.Sprintf("prefixes=%d/bans=%d/of", prefixes, n), func(b *testing.B) {
				l := openSized(b, uint32(n+1024), uint32(prefixes+64))
				bans := append(many4(n), hour("192.0.2.7/32"), hour("2001:db8::/64"))
				for _, p := range networks(prefixes, "100.64.0.0/30") {
					bans = append(bans, hour(p.String()))
				}
				must(b, l.Ban(bans...))
				var allow ban.Set
				for _, p := range append(networks(prefixes, "172.16.0.0/32"), netip.MustParsePrefix("192.0.2.7/32")) {
					allow.Add(p, "bench")
				}
				must(b, l.Allow(&allow))
				random := 1 << (bits.Len(uint(n)) - 1) // a power of two, n at most
				race(b,
					contender{"bare", bare(b, Drop), from("10.0.0.0")},
					contender{"pass-v4", l.prog, from(bystander)},
					contender{"pass-v6", l.prog, from("2001:db8:ffff::1")},
					contender{"pass-vlan", l.prog, frame(bystander, typeVLAN, typeIPv4)},
					contender{"drop-v4", l.prog, from("10.0.0.0")},
					contender{"drop-v6", l.prog, from("2001:db8::1")},
					contender{"drop-vlan", l.prog, frame("10.0.0.0", typeVLAN, typeIPv4)},
					contender{"allowed", l.prog, from("192.0.2.7")},
					contender{"drawn", drawn(b, bare(b, Drop), random), from("10.0.0.0")},
					contender{"drop-random", drawn(b, l.prog, random), from("10.0.0.0")},
				)
			})
		}
	}
}

// networks are n networks of the size of first, from that one on.
func networks(n int, first string) []netip.Prefix {
	p := netip.MustParsePrefix(first)
	base, all := binary.BigEndian.Uint32(p.Addr().AsSlice()), make([]netip.Prefix, n)
	for i := range all {
		var addr [4]byte
		binary.BigEndian.PutUint32(addr[:], base+uint32(i)<<(32-p.Bits()))
		all[i] = netip.PrefixFrom(netip.AddrFrom4(addr), p.Bits())
	}
	return all
}
