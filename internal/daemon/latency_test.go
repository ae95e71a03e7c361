package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// kernelBans opens the kernel's map of bans, beside the daemon that owns it.
func (s *site) kernelBans() *ebpf.Map { s.Helper(); return pinnedBans(s, s.pin()) }

func pinnedBans(tb testing.TB, pin string) *ebpf.Map {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(pin, "v*", "bans"))
	must(tb, err)
	if len(paths) != 1 {
		tb.Fatalf("find the pinned map of bans: got %q", paths)
	}
	m, err := ebpf.LoadPinnedMap(paths[0], &ebpf.LoadPinOptions{ReadOnly: true})
	must(tb, err)
	tb.Cleanup(func() { m.Close() })
	return m
}

// evict takes a ban by log out of the kernel's map, if it is there, as the map itself does where it is full.
func (s *site) evict(source netip.Addr) {
	s.Helper()
	m, err := ebpf.LoadPinnedMap(s.pin()+"/v1/bans", nil)
	must(s, err)
	defer m.Close()
	if err := m.Delete(source.As16()); !errors.Is(err, ebpf.ErrKeyNotExist) {
		must(s, err)
	}
}

// BenchmarkLineToKernel measures from before the write(2) of the line that decides to when
// the address is in the kernel's map: that of the whole program, its follower, filter,
// jail and loop, and of what watches it.
func BenchmarkLineToKernel(b *testing.B) {
	s := newSite(b, nativeMTU)
	s.configure(keys{"defaults": "{maxretry: 1}", "maxbans": "131072"})
	s.start()
	bans := s.kernelBans()
	value := make([]byte, bans.ValueSize())
	source := netip.MustParseAddr("10.0.0.0")
	var times []time.Duration
	for b.Loop() {
		source = source.Next()
		line := fmt.Appendf(nil, "%s server sshd[4711]: Failed password for root from %s port 4242 ssh2\n", time.Now().Format(time.Stamp), source)
		key := source.As16()
		began := time.Now()
		if _, err := s.authLog.Write(line); err != nil {
			b.Fatal(err)
		}
		for bans.Lookup(key, value) != nil {
			if time.Since(began) > patience {
				b.Fatalf("%s is not in the map", source)
			}
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	for _, q := range []int{50, 99} {
		b.ReportMetric(float64(times[len(times)*q/100].Nanoseconds())/1000, fmt.Sprintf("p%d-µs", q))
	}
}
