package loader

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
)

// BenchmarkMillionBans puts a million new bans into the kernel, as many at once as the daemon
// does. The floor puts the same keys in the same order into a map of the same kind and does
// nothing else. Both are measured in CPU time, which a busy machine does not stretch. What
// the account of them takes is the difference that they make to the heap.
func BenchmarkMillionBans(b *testing.B) {
	const n, atOnce = 1_000_000, 1024
	for _, by := range []struct {
		name string
		hand bool
	}{{"log", false}, {"hand", true}} {
		b.Run("by="+by.name, func(b *testing.B) {
			bans := many4(n)
			for i := range bans {
				bans[i].Hand = by.hand
			}
			var ours, floor []float64
			var size float64
			for b.Loop() {
				l := openFor(b, n)
				before, start := heap(), cpuTime(b)
				for some := range slices.Chunk(bans, atOnce) {
					must(b, l.Ban(some...))
				}
				ours = append(ours, (cpuTime(b) - start).Seconds())
				size = float64(heap()-before) / n
				floor = append(floor, bareUpdate(b, l.maps.of(l.placeOf(&bans[0]).table), bans, atOnce))
				must(b, l.Close())
				must(b, Remove(l.settings.Pin))
			}
			b.ReportMetric(median(ours), "cpu-s")
			b.ReportMetric(median(ours)/median(floor), "ours/bare")
			b.ReportMetric(size, "B/ban")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bareUpdate puts the sources of bans into a map like like, and says how many seconds that
// takes.
func bareUpdate(b *testing.B, like *ebpf.Map, bans []ban.Ban, atOnce int) float64 {
	b.Helper()
	info, err := like.Info()
	must(b, err)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: info.Type, KeySize: info.KeySize, ValueSize: info.ValueSize, MaxEntries: info.MaxEntries, Flags: info.Flags})
	must(b, err)
	defer m.Close()
	keys, values := make([][16]byte, len(bans)), make([]xdpbanBan, len(bans))
	for i := range bans {
		keys[i] = bans[i].Prefix.Addr().As16()
	}
	start := cpuTime(b)
	for at := 0; at < len(keys); at += atOnce {
		end := min(at+atOnce, len(keys))
		_, err := m.BatchUpdate(keys[at:end], values[at:end], nil)
		must(b, err)
	}
	return (cpuTime(b) - start).Seconds()
}
