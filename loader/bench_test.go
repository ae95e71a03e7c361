package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"

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

// race runs the contenders in turns and reports ns a packet of each in the middle of its rounds,
// and its ratio to the first, in the middle of those of each round.
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
		for i, c := range contenders {
			if i > 0 {
				b.ReportMetric(ratio(times[i], times[0]), c.name+"/"+contenders[0].name)
			}
		}
		for i, c := range contenders {
			b.ReportMetric(median(times[i]), c.name+"-ns")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// ratio is that of times to those of floor in the same round, in the middle.
func ratio(times, floor []float64) float64 {
	all := make([]float64, len(times))
	for i, t := range times {
		all[i] = t / floor[i]
	}
	return median(all)
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

// BenchmarkRandomSources has the source of every packet drawn anew, and looked up in a plain
// hash of the same size: the floor. Drawing takes a little of both. Where packets follow each
// other as closely as in this loop, a CPU looks for the next while it still waits for memory, if
// only the program is as short as the floor; apart, they come as from a driver.
func BenchmarkRandomSources(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 16, 1 << 20} {
		l := openFor(b, uint32(n))
		must(b, l.Ban(many4(n)...))
		hash := lookup(b, l.maps.Bans)
		for _, pace := range []string{"apart", "close"} {
			b.Run(fmt.Sprintf("bans=%d/pace=%s", n, pace), func(b *testing.B) {
				send := func(prog *ebpf.Program) *ebpf.Program {
					if pace == "apart" {
						return drawn(b, prog, n, fence()...)
					}
					return drawn(b, prog, n)
				}
				race(b,
					contender{"hash", send(hash), from("10.0.0.0")},
					contender{"v4", send(l.prog), from("10.0.0.0")},
					contender{"bare", send(bare(b, Drop)), from("10.0.0.0")},
				)
			})
		}
		must(b, l.Close())
		must(b, Remove(l.settings.Pin))
	}
}

// fence has the CPU be done with everything before it: a clock that is read in order.
func fence() asm.Instructions { return asm.Instructions{asm.FnKtimeGetNs.Call()} }

func many4(n int) []ban.Ban {
	all := many(n)
	v4 := make([]ban.Ban, 0, n)
	for i := 0; i < len(all); i += 2 {
		v4 = append(v4, all[i])
	}
	return v4
}

// drawn does what comes first, draws one of n sources from 10.0.0.0 on and goes on with prog.
// The frame is one of 10.0.0.0, whose checksum is mended.
func drawn(b *testing.B, prog *ebpf.Program, n int, first ...asm.Instruction) *ebpf.Program {
	b.Helper()
	calls, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(b, err)
	must(b, calls.Put(uint32(0), prog))
	const sum, source = 14 + 10, 14 + 12 // in the frame
	base := from("10.0.0.0")[sum:]
	ins := append(append(packetBounds(34), first...), asm.Instructions{
		asm.FnGetPrandomU32.Call(),
		asm.And.Imm(asm.R0, int32(n-1)),
		// R1 is what the numbers of the address add to the sum, R2 the address.
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.And.Imm(asm.R1, 0xffff),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.RSh.Imm(asm.R2, 16),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Add.Imm(asm.R1, int32(^binary.BigEndian.Uint16(base))),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.RSh.Imm(asm.R2, 16),
		asm.And.Imm(asm.R1, 0xffff),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Xor.Imm(asm.R1, 0xffff),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.R6, sum, asm.R1, asm.Half),
		asm.Or.Imm(asm.R0, 10<<24),
		asm.HostTo(asm.BE, asm.R0, asm.Word),
		asm.StoreMem(asm.R6, source, asm.R0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.LoadMapPtr(asm.R2, calls.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return().WithSymbol("out"),
	}...)
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
	must(b, copyMap(xdpbanMapBans, plain, from, 0, true))
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

// BenchmarkOneSourceOnAllCPUs floods from one source on one CPU, then on all; and, as CPUs that
// share a core slow each other down anyhow, from a source of its own on each.
func BenchmarkOneSourceOnAllCPUs(b *testing.B) {
	l := openFor(b, 4096)
	must(b, l.Ban(many(1000)...))
	same, apart := make([][]byte, runtime.NumCPU()), make([][]byte, runtime.NumCPU())
	for cpu := range same {
		same[cpu], apart[cpu] = from("10.0.0.7"), from(fmt.Sprintf("10.0.1.%d", cpu))
	}
	for b.Loop() {
		var one, all, each []float64
		for range rounds {
			one = append(one, on(b, l.prog, same[:1]))
			all = append(all, on(b, l.prog, same))
			each = append(each, on(b, l.prog, apart))
		}
		b.ReportMetric(ratio(all, one), "all/one")
		b.ReportMetric(ratio(all, each), "all/apart")
		b.ReportMetric(median(one), "one-ns")
		b.ReportMetric(median(all), "all-ns")
		b.ReportMetric(median(each), "apart-ns")
	}
	b.ReportMetric(0, "ns/op")
}

// on runs prog on the first CPUs at once, each on its frame, and says how long a packet takes
// on the slowest.
func on(b *testing.B, prog *ebpf.Program, frames [][]byte) float64 {
	times := make([]float64, len(frames))
	var running sync.WaitGroup
	for cpu, frame := range frames {
		running.Go(func() {
			runtime.LockOSThread() // never unlocked: this thread stays on its CPU
			var set unix.CPUSet
			set.Set(cpu)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				b.Error(err)
				return
			}
			_, d, err := prog.Benchmark(frame, repeat, nil)
			if err != nil {
				b.Error(err)
			}
			times[cpu] = float64(d.Nanoseconds())
		})
	}
	running.Wait()
	return slices.Max(times)
}

func openFor(b *testing.B, bans uint32) *Loader { return openSized(b, bans, 256) }

// openSized opens a Loader for so many bans of sources, and of prefixes, and allowed ones.
func openSized(b *testing.B, bans, prefixes uint32) *Loader {
	lab.Require(b)
	s := Settings{Pin: "/sys/fs/bpf/bench", IPv6Prefix: 64, MaxBans: bans, MaxPrefixes: prefixes, MaxAllowed: prefixes}
	l, err := Open(s)
	must(b, err)
	b.Cleanup(func() {
		l.Close()
		must(b, Remove(s.Pin))
	})
	return l
}
