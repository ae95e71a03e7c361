package loader

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// rounds of each contender, one after the other, so that a busy machine is busy for all.
const (
	rounds = 15
	repeat = 100_000
)

// A contender is a program and the frame that it is run on.
type contender struct {
	name  string
	prog  *ebpf.Program
	frame []byte
}

// race runs the contenders in turns and reports ns a packet of each, and the ratio to the
// first, of the round in the middle.
func race(b *testing.B, contenders ...contender) {
	b.Helper()
	for b.Loop() {
		times := make([][]float64, len(contenders))
		for range rounds {
			for i, c := range contenders {
				_, d, err := c.prog.Benchmark(c.frame, repeat, nil)
				must(b, err)
				times[i] = append(times[i], float64(d.Nanoseconds()))
			}
		}
		floor := median(times[0])
		for i, c := range contenders {
			b.ReportMetric(median(times[i]), c.name+"-ns")
			if i > 0 {
				b.ReportMetric(median(times[i])/floor, c.name+"/"+contenders[0].name)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// bare is a program that does nothing but say v: the floor.
func bare(b *testing.B, v Verdict) *ebpf.Program {
	b.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bare", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, int32(v)), asm.Return()},
	})
	must(b, err)
	b.Cleanup(func() { prog.Close() })
	return prog
}

// many bans n sources from 10.0.0.0 and from 2001:db8::/64 on.
func many(n int) []ban.Ban {
	bans := make([]ban.Ban, 0, 2*n)
	for i := range n {
		v4 := [4]byte{10}
		v4[1], v4[2], v4[3] = byte(i>>16), byte(i>>8), byte(i)
		v6 := [16]byte{0x20, 1, 0xd, 0xb8}
		binary.BigEndian.PutUint32(v6[4:], uint32(i))
		for _, addr := range []netip.Addr{netip.AddrFrom4(v4), netip.AddrFrom16(v6)} {
			next := hour("10.0.0.0/32")
			next.Prefix = ban.Of(addr, 64)
			bans = append(bans, next)
		}
	}
	return bans
}

func BenchmarkPass(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprintf("bans=%d", n), func(b *testing.B) {
			l := openFor(b, 4096)
			must(b, l.Ban(many(n)...))
			race(b,
				contender{"bare", bare(b, Pass), from(bystander)},
				contender{"v4", l.prog, from(bystander)},
				contender{"v6", l.prog, from("2001:db8:ffff::1")},
				contender{"vlan", l.prog, frame(bystander, typeVLAN, typeIPv4)},
				contender{"arp", l.prog, frame(bystander, typeARP)},
			)
		})
	}
}

func BenchmarkDrop(b *testing.B) {
	l := openFor(b, 4096)
	must(b, l.Ban(many(1000)...))
	must(b, l.Allow(allowed("127.0.0.0/8", "192.0.2.1/32", "192.0.2.254/32", "::1/128", "fe80::/10")))
	race(b,
		contender{"bare", bare(b, Drop), from("10.0.0.7")},
		contender{"v4", l.prog, from("10.0.0.7")},
		contender{"v6", l.prog, from("2001:db8:0:7::1")},
		contender{"vlan", l.prog, frame("10.0.0.7", typeVLAN, typeIPv4)},
	)
}

func BenchmarkClock(b *testing.B) {
	l := openFor(b, 4096)
	must(b, l.Ban(many(1000)...))
	contenders := []contender{{"bare", bare(b, Drop), from("10.0.0.7")}}
	jiffies := *l.clock
	for _, kind := range []struct {
		name string
		kind xdpbanClock
	}{
		{"jiffies", xdpbanClockCLOCK_JIFFIES}, {"coarse", xdpbanClockCLOCK_COARSE}, {"ktime", xdpbanClockCLOCK_KTIME},
	} {
		clock := jiffies
		clock.kind = kind.kind
		l.clock = &clock
		spec, err := loadXdpban()
		must(b, err)
		prog, err := l.load(spec, false)
		must(b, err)
		defer prog.Close()
		contenders = append(contenders, contender{kind.name, prog, from("10.0.0.7")})
	}
	l.clock = &jiffies
	race(b, contenders...)
}

// BenchmarkRandomSources has the source of every packet drawn anew. The floor draws and
// drops; the second contender looks the source up in a plain hash of the same size.
func BenchmarkRandomSources(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 16, 1 << 20} {
		b.Run(fmt.Sprintf("bans=%d", n), func(b *testing.B) {
			l := openFor(b, uint32(n))
			must(b, l.Ban(many4(n)...))
			race(b,
				contender{"bare", drawn(b, bare(b, Drop), n), from("10.0.0.0")},
				contender{"hash", drawn(b, lookup(b, l.maps.Bans), n), from("10.0.0.0")},
				contender{"v4", drawn(b, l.prog, n), from("10.0.0.0")},
			)
		})
	}
}

func many4(n int) []ban.Ban {
	all := many(n)
	v4 := make([]ban.Ban, 0, n)
	for i := 0; i < len(all); i += 2 {
		v4 = append(v4, all[i])
	}
	return v4
}

// drawn draws one of n sources below 10.0.0.0 and goes on with prog.
func drawn(b *testing.B, prog *ebpf.Program, n int) *ebpf.Program {
	b.Helper()
	calls, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(b, err)
	must(b, calls.Put(uint32(0), prog))
	const lastBytes = 14 + 12 + 1 // of the source of an IPv4 packet
	ins := append(packetBounds(34), asm.Instructions{
		asm.FnGetPrandomU32.Call(),
		asm.And.Imm(asm.R0, int32(n-1)),
	}...)
	for i := range 3 {
		ins = append(ins,
			asm.Mov.Reg(asm.R1, asm.R0),
			asm.RSh.Imm(asm.R1, int32(8*(2-i))),
			asm.StoreMem(asm.R6, int16(lastBytes+i), asm.R1, asm.Byte),
		)
	}
	ins = append(ins,
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.LoadMapPtr(asm.R2, calls.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return().WithSymbol("out"),
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "drawn", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "MIT", Instructions: ins})
	must(b, err)
	b.Cleanup(func() { p.Close(); calls.Close() })
	return p
}

// packetBounds puts the packet into R6 and the context into R7, or jumps to out.
func packetBounds(size int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R7, asm.R1),
		asm.LoadMem(asm.R6, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word),
		asm.Mov.Imm(asm.R0, 0),
		asm.Mov.Reg(asm.R3, asm.R6),
		asm.Add.Imm(asm.R3, size),
		asm.JGT.Reg(asm.R3, asm.R2, "out"),
	}
}

// lookup drops after it has looked the source up in a plain hash map with the keys and
// values of from.
func lookup(b *testing.B, from *ebpf.Map) *ebpf.Program {
	b.Helper()
	plain, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 16, ValueSize: from.ValueSize(), MaxEntries: from.MaxEntries()})
	must(b, err)
	must(b, copyMap(xdpbanMapBans, plain, from, 0))
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "lookup", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "MIT",
		Instructions: append(packetBounds(34),
			asm.LoadMem(asm.R1, asm.R6, 26, asm.Word),
			asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
			asm.LoadImm(asm.R1, int64(binary.NativeEndian.Uint64([]byte{0, 0, 0xff, 0xff, 0, 0, 0, 0})), asm.DWord),
			asm.StoreMem(asm.RFP, -8, asm.R1, asm.Word),
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
			asm.LoadMapPtr(asm.R1, plain.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -16),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "miss"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Mov.Imm(asm.R0, int32(Drop)),
			asm.Return(),
			asm.Mov.Imm(asm.R0, int32(Pass)).WithSymbol("miss"),
			asm.Return().WithSymbol("out"),
		),
	})
	must(b, err)
	b.Cleanup(func() { prog.Close(); plain.Close() })
	return prog
}

// BenchmarkOneSourceOnAllCPUs floods from one source on one CPU and then on all.
func BenchmarkOneSourceOnAllCPUs(b *testing.B) {
	l := openFor(b, 4096)
	must(b, l.Ban(many(1000)...))
	for b.Loop() {
		var one, all []float64
		for range rounds {
			one = append(one, on(b, l.prog, 1))
			all = append(all, on(b, l.prog, runtime.NumCPU()))
		}
		b.ReportMetric(median(one), "one-ns")
		b.ReportMetric(median(all), "all-ns")
		b.ReportMetric(median(all)/median(one), "all/one")
	}
	b.ReportMetric(0, "ns/op")
}

// on runs prog on the first CPUs at once and says how long a packet takes on each.
func on(b *testing.B, prog *ebpf.Program, cpus int) float64 {
	times := make([]float64, cpus)
	var running sync.WaitGroup
	for cpu := range cpus {
		running.Go(func() {
			runtime.LockOSThread() // never unlocked: this thread stays on its CPU
			var set unix.CPUSet
			set.Set(cpu)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				b.Error(err)
				return
			}
			_, d, err := prog.Benchmark(from("10.0.0.7"), repeat, nil)
			if err != nil {
				b.Error(err)
			}
			times[cpu] = float64(d.Nanoseconds())
		})
	}
	running.Wait()
	return slices.Max(times)
}

// BenchmarkLiveFrames sends frames of random banned sources over a cable; a packet's time
// is that of its whole way, from the sender to the drop.
func BenchmarkLiveFrames(b *testing.B) {
	const n = 1024
	w := newWire(b, 0)
	w.settings.MaxBans = 4096
	l := w.open()
	must(b, l.Ban(many4(n)...))
	sender := drawn(b, bare(b, xdpTX), n)
	w.attachTo(w.attacker, bare(b, Pass)) // a veth takes live frames once it has a program
	for b.Loop() {
		var floor, ours []float64
		for range rounds {
			lk := w.attachTo(w.victim, bare(b, Drop))
			floor = append(floor, w.live(sender))
			must(b, lk.Close())
			_, err := w.attach(l, "eth0")
			must(b, err)
			ours = append(ours, w.live(sender))
			must(b, w.victim.Do(func() error { return l.Detach("eth0") }))
		}
		b.ReportMetric(median(floor), "bare-ns")
		b.ReportMetric(median(ours), "v4-ns")
		b.ReportMetric(median(ours)/median(floor), "v4/bare")
	}
	totals, err := l.Totals()
	must(b, err)
	if totals.Dropped.Packets < rounds*repeat*9/10 {
		b.Errorf("dropped: got %+v of %d", totals, rounds*repeat)
	}
	b.ReportMetric(0, "ns/op")
}

const xdpTX Verdict = 3 // XDP_TX: out by the interface that it came by

// live has the kernel send frames from the attacker and says how long one takes, in ns.
func (w *wire) live(sender *ebpf.Program) float64 {
	w.tb.Helper()
	var took time.Duration
	must(w.tb, w.attacker.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		f := from("10.0.0.0")
		context := struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }{
			DataEnd: uint32(len(f)), Ingress: uint32(eth0.Index),
		}
		start := time.Now()
		_, err = sender.Run(&ebpf.RunOptions{Data: f, Context: context, Repeat: repeat, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
		took = time.Since(start)
		return err
	}))
	return float64(took.Nanoseconds()) / repeat
}

// BenchmarkBan puts new bans into the kernel, many at once.
func BenchmarkBan(b *testing.B) {
	const n = 100_000
	bans := many4(n)
	l := openFor(b, 2*n)
	var took time.Duration
	for b.Loop() {
		start := time.Now()
		must(b, l.Ban(bans...))
		took = time.Since(start)
		for _, ban := range bans {
			_, err := l.Unban(ban.Prefix)
			must(b, err)
		}
	}
	b.ReportMetric(float64(took.Nanoseconds())/n, "ns/ban")
	b.ReportMetric(0, "ns/op")
}

func openFor(b *testing.B, bans uint32) *Loader {
	lab.Require(b)
	s := Settings{Pin: "/sys/fs/bpf/bench", IPv6Prefix: 64, MaxBans: bans, MaxPrefixes: 256, MaxAllowed: 64}
	l, err := Open(s)
	must(b, err)
	b.Cleanup(func() {
		l.Close()
		must(b, Remove(s.Pin))
	})
	return l
}
