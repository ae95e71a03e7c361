package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

// A firewall drops, at the victim of a wire, what comes from the first of the addresses from
// 10.0.0.0 on.
type firewall struct {
	name    string
	mtu     int
	sources int // a power of two
	frames  int // of a turn
	raise   func(b *testing.B, w *wire)
}

var (
	ours      = firewall{"ours", 0, 1024, repeat, raiseOurs}
	firewalls = []firewall{
		{"bare", 0, 1024, repeat, func(b *testing.B, w *wire) { w.attachTo(w.victim, bare(b, Drop)) }},
		{"xdp-filter", 0, 1024, repeat, func(b *testing.B, w *wire) { xdpFilter(b, w.victim, 1024) }},
		{"generic", tooLarge, 1024, repeat, raiseOurs},
		{"tc-bpf", 0, 1024, repeat, raiseTC},
		{"tc-flower", 0, 1024, repeat, raiseFlower},
		{"nft-set", 0, 1024, repeat, raiseNFT},
		{"ipset", 0, 1024, repeat, raiseIPSet},
		{"recent", 0, 64, repeat, raiseRecent}, // the list holds 100 sources
		{"iptables-1", 0, 1024, repeat, raiseRules(1)},
		{"iptables-100", 0, 64, repeat, raiseRules(100)},
		{"iptables-1000", 0, 512, repeat / 10, raiseRules(1000)},
		{"iptables-10000", 0, 1024, repeat / 50, raiseRules(10_000)},
	}
)

// BenchmarkLiveFrames sends frames of random banned sources over a cable, in turns to our
// program and to another firewall; a packet's time is that of its whole way, from the sender
// to the drop, on one CPU.
func BenchmarkLiveFrames(b *testing.B) {
	lab.Require(b)
	for _, f := range firewalls {
		b.Run("against="+f.name, func(b *testing.B) {
			us, them := ours.lane(b, "ours"), f.lane(b, "theirs")
			for b.Loop() {
				var our, their []float64
				for range rounds {
					our = append(our, us.live(b))
					their = append(their, them.live(b))
				}
				b.ReportMetric(ratio(our, their), "ours/theirs")
				b.ReportMetric(median(our), "ours-ns")
				b.ReportMetric(median(their), "theirs-ns")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A lane is a wire with a firewall at its end, and what sends to it.
type lane struct {
	firewall
	*wire
	sender *ebpf.Program
}

func (f firewall) lane(b *testing.B, role string) *lane {
	b.Helper()
	w := newWire(b, f.mtu)
	w.settings.Pin, w.settings.MaxBans = "/sys/fs/bpf/"+role, 4096
	must(b, w.victim.Address("eth0", "192.0.2.254/24"))
	eth0, err := w.victim.Links().LinkByName("eth0")
	must(b, err)
	must(b, w.victim.Links().LinkSetHardwareAddr(eth0, from("10.0.0.0")[:6]))
	if f.mtu == 0 {
		w.attachTo(w.attacker, bare(b, Pass)) // a veth takes live frames once it has a program
	}
	peer(b, "ethtool", "ethtool")
	must(b, w.victim.Run("ethtool", "-K", "eth0", "gro", "on")) // or else the end without a program takes none
	f.raise(b, w)
	return &lane{f, w, drawn(b, bare(b, xdpTX), f.sources)}
}

const xdpTX Verdict = 3 // XDP_TX: out by the interface that it came by

// attempts bounds how often a turn is measured: where others have the CPU that takes frames off the cable, its
// ring overflows, and what was lost before the firewall says nothing of it.
const attempts = 20

// live has the kernel send frames from the attacker and says how long one takes, in ns, when all have reached
// the firewall. None may reach the sockets behind it, however many have been lost.
func (l *lane) live(b *testing.B) float64 {
	b.Helper()
	least := l.frames
	for range attempts {
		before := l.counts(b)
		took := l.send(b)
		after := l.counts(b)
		came, through := after.came-before.came, after.through-before.through
		if through > 0 {
			b.Fatalf("%s: of %d frames %d came and %d passed", l.name, l.frames, came, through)
		}
		if came >= l.frames*99/100 {
			return float64(took.Nanoseconds()) / float64(l.frames)
		}
		least = min(least, came)
	}
	b.Fatalf("%s: each of %d times frames were lost on the cable, once %d of %d", l.name, attempts, l.frames-least, l.frames)
	return 0
}

func (l *lane) send(b *testing.B) (took time.Duration) {
	b.Helper()
	must(b, l.attacker.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		f := from("10.0.0.0")
		context := struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }{
			DataEnd: uint32(len(f)), Ingress: uint32(eth0.Index),
		}
		return onFirstCPU(func() error {
			start := time.Now()
			_, err := l.sender.Run(&ebpf.RunOptions{Data: f, Context: context, Repeat: uint32(l.frames), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
			took = time.Since(start)
			return err
		})
	}))
	return took
}

// onFirstCPU calls do on that CPU: what a frame causes is then done there too, and not beside
// it on another.
func onFirstCPU(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	first.Set(0)
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		return err
	}
	return errors.Join(do(), unix.SchedSetaffinity(0, &before))
}

// counts are of frames that came over the cable, and of packets that the victim passed on to
// its sockets.
type counts struct{ came, through int }

func (l *lane) counts(b *testing.B) (c counts) {
	b.Helper()
	eth0, err := l.victim.Links().LinkByName("eth0")
	must(b, err)
	c.came = int(eth0.Attrs().Statistics.RxPackets)
	must(b, l.victim.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		_, ip, _ := strings.Cut(string(text), "\nIp: ") // behind the names of the counters
		fields := strings.Fields(ip)
		const inDelivers = 8
		c.through, err = strconv.Atoi(fields[inDelivers])
		return err
	}))
	return c
}

func raiseOurs(b *testing.B, w *wire) {
	must(b, w.enforce(many4(1024)...).Close())
}

// raiseTC drops everything by a program of the traffic control: the floor of what is behind
// the driver.
func raiseTC(b *testing.B, w *wire) {
	const actShot = 2 // TC_ACT_SHOT of linux/pkt_cls.h
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bare", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, actShot), asm.Return()},
	})
	must(b, err)
	b.Cleanup(func() { prog.Close() })
	must(b, w.victim.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		lk, err := link.AttachTCX(link.TCXOptions{Interface: eth0.Index, Program: prog, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			b.Cleanup(func() { lk.Close() })
		}
		return err
	}))
}

func raiseFlower(b *testing.B, w *wire) {
	peer(b, "iproute2", "tc")
	text := "qdisc add dev eth0 clsact\n"
	for _, ban := range many4(1024) {
		text += fmt.Sprintf("filter add dev eth0 ingress protocol ip pref 1 flower src_ip %s action drop\n", ban.Prefix.Addr())
	}
	if err := w.feed(text, "tc", "-batch", "-"); err != nil {
		b.Skip(err) // kernels come without flower
	}
}

func raiseNFT(b *testing.B, w *wire) {
	peer(b, "nftables", "nft")
	var addrs []string
	for _, ban := range many4(1024) {
		addrs = append(addrs, ban.Prefix.Addr().String())
	}
	must(b, w.feed("table ip bench {\nset banned { type ipv4_addr; elements = { "+strings.Join(addrs, ", ")+" } }\n"+
		"chain input { type filter hook input priority 0; ip saddr @banned drop; }\n}\n", "nft", "-f", "-"))
}

func raiseIPSet(b *testing.B, w *wire) {
	peer(b, "ipset", "ipset")
	text := "create banned hash:ip maxelem 4096\n"
	for _, ban := range many4(1024) {
		text += fmt.Sprintf("add banned %s\n", ban.Prefix.Addr())
	}
	must(b, w.feed(text, "ipset", "restore"))
	w.rules(b, "-A INPUT -m set --match-set banned src -j DROP\n")
}

// raiseRecent has the sources on the list of xt_recent, which each packet brings up to date.
func raiseRecent(b *testing.B, w *wire) {
	w.rules(b, "-A INPUT -m recent --name banned --update --seconds 3600 -j DROP\n")
	must(b, w.victim.Do(func() error {
		for _, ban := range many4(64) { // one a write
			err := os.WriteFile("/proc/thread-self/net/xt_recent/banned", []byte("+"+ban.Prefix.Addr().String()), 0)
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// raiseRules makes n rules of one source each, those that send spread among others; a single
// one is for all of them.
func raiseRules(n int) func(b *testing.B, w *wire) {
	return func(b *testing.B, w *wire) {
		if n == 1 {
			w.rules(b, "-A INPUT -s 10.0.0.0/22 -j DROP\n")
			return
		}
		sources, text := 1<<(bits.Len(uint(min(n, 1024)))-1), new(strings.Builder)
		for i, next := 0, 0; i < n; i++ {
			addr := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
			if i*sources/n == next {
				addr = netip.AddrFrom4([4]byte{10, 0, byte(next >> 8), byte(next)})
				next++
			}
			fmt.Fprintf(text, "-A INPUT -s %s -j DROP\n", addr)
		}
		w.rules(b, text.String())
	}
}

// rules appends rules to the victim's tables.
func (w *wire) rules(b *testing.B, text string) {
	b.Helper()
	peer(b, "iptables", "iptables-restore")
	must(b, w.feed("*filter\n"+text+"COMMIT\n", "iptables-restore", "--noflush"))
}

// feed runs a command on the victim that reads text.
func (w *wire) feed(text, name string, args ...string) error {
	return w.victim.Do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	})
}
