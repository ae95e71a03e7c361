package loader

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// inModes runs test on a cable that has native XDP and on one that has not, each on a kernel
// with links for XDP and on one without.
func inModes(t *testing.T, test func(t *testing.T, w *wire, mode string)) {
	for mode, mtu := range map[string]int{Native: 0, Generic: tooLarge} {
		t.Run(mode, func(t *testing.T) {
			held(t, mtu, func(t *testing.T, w *wire) { test(t, w, mode) })
		})
	}
}

// held runs test on a kernel with links for XDP and on one without.
func held(t *testing.T, mtu int, test func(t *testing.T, w *wire)) {
	t.Run("by link", func(t *testing.T) { test(t, newWire(t, mtu)) })
	t.Run("by netlink", func(t *testing.T) {
		w := newWire(t, mtu)
		w.kernel = lab.WithoutLinks
		test(t, w)
	})
}

func TestBannedTrafficIsDropped(t *testing.T) {
	inModes(t, func(t *testing.T, w *wire, mode string) {
		l := w.open()
		began := time.Now()
		a, err := w.attach(l, "eth0")
		must(t, err)
		if a.Interface != "eth0" || a.Mode != mode || (len(a.Refusals) > 0) != (mode == Generic || w.kernel != nil) {
			t.Errorf("attachment: got %+v, want mode %s", a, mode)
		}
		if a.Since.Before(began.Add(-time.Second)) || a.Since.After(time.Now().Add(time.Second)) {
			t.Errorf("since: got %v, it began at %v", a.Since, began)
		}
		for _, source := range []string{"192.0.2.7", "2001:db8:0:7::1"} {
			prefix := ban.Of(netip.MustParseAddr(source), 64)
			w.want(source, Pass)
			must(t, l.Ban(hour(prefix.String())))
			w.want(source, Drop)
			n, err := l.Unban(prefix)
			if n != 1 || err != nil {
				t.Errorf("unban: %d, %v", n, err)
			}
			w.want(source, Pass)
		}
		must(t, w.victim.Do(func() error { return l.Detach("eth0") }))
		must(t, l.Ban(hour("192.0.2.7/32")))
		w.want("192.0.2.7", Pass)
	})
}

// With no process left, packets prolong a ban, and it ends when they have stopped.
func TestKernelProlongsAndEndsBansAlone(t *testing.T) {
	inModes(t, func(t *testing.T, w *wire, _ string) {
		l := w.enforce()
		now := time.Now()
		attacked := ban.Ban{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Since: now, End: now.Add(time.Second), Quiet: time.Second}
		left := ban.Ban{Prefix: netip.MustParsePrefix("192.0.2.8/32"), Since: now, End: now.Add(time.Second)}
		must(t, l.Ban(attacked, left))
		must(t, l.Close())
		w.want("192.0.2.7", Drop)
		w.want("192.0.2.8", Drop)
		for time.Since(now) < 3*time.Second {
			w.want("192.0.2.7", Drop)
			<-time.After(10 * time.Millisecond) // the pace of the attack
		}
		w.want("192.0.2.8", Pass)
		<-time.After(2200 * time.Millisecond) // its quiet second, and the one that is added
		w.want("192.0.2.7", Pass)
	})
}

func TestNextLoaderTakesOver(t *testing.T) {
	inModes(t, func(t *testing.T, w *wire, mode string) {
		prefix := netip.MustParsePrefix("192.0.2.7/32")
		first := w.enforce(hour("192.0.2.7/32"))
		before, err := w.attach(first, "eth0")
		must(t, err)
		w.want("192.0.2.7", Drop)
		wanted, _, err := first.Find(prefix)
		must(t, err)
		must(t, first.Close())
		w.want("192.0.2.7", Drop)

		second := w.open()
		w.want("192.0.2.7", Drop)
		got, err := second.Bans()
		must(t, err)
		if len(got) != 1 || got[0].Prefix != prefix || got[0].Jail != "sshd" || got[0].Reason != "failed-password" ||
			got[0].Quiet != time.Hour || got[0].Packets != wanted.Packets+2 {
			t.Errorf("bans: got %+v, want %+v with 2 packets more", got, wanted)
		}
		if end, latest := got[0].End, time.Now().Add(time.Hour+2*time.Second); end.Before(wanted.End.Add(-500*time.Millisecond)) || end.After(latest) {
			t.Errorf("end: got %v, want one between %v and %v, as packets came", end, wanted.End, latest)
		}
		a, err := w.attach(second, "eth0")
		must(t, err)
		if a.Mode != mode || !a.Since.Equal(before.Since) {
			t.Errorf("attachment: got %+v, want the one of before: %+v", a, before)
		}
		n, err := second.Unban(prefix)
		if n != 1 || err != nil {
			t.Errorf("unban: %d, %v", n, err)
		}
		w.want("192.0.2.7", Pass)
	})
}

// Take-overs by other builds and with other settings, under fire.
func TestNoPacketPassesDuringUpgrades(t *testing.T) {
	inModes(t, func(t *testing.T, w *wire, mode string) {
		attacker := hour("2001:db8:0:7::/64")
		attacker.Hand = mode == Native // so that both tables are taken over
		l := w.enforce(attacker, hour("198.51.100.0/24"))
		w.want("2001:db8:0:7::1", Drop)
		stop := w.flood("2001:db8:0:7::1")
		for i, change := range []func(*Settings){
			func(*Settings) {},
			func(s *Settings) { s.MaxBans *= 4 },
			func(s *Settings) { s.MaxBans /= 4 },
			func(s *Settings) { s.IPv6Prefix = 56 },
			func(s *Settings) { s.MaxPrefixes *= 2 },
			func(s *Settings) { s.IPv6Prefix = 64 },
			func(*Settings) {},
		} {
			must(t, l.Close())
			change(&w.settings)
			l = w.open()
			records, err := l.Bans()
			if len(records) != 2 || err != nil {
				t.Errorf("after change %d: %+v, %v", i, records, err)
			}
		}
		sent, passed := stop()
		if sent < 100 || passed != 0 {
			t.Errorf("%d of %d packets passed", passed, sent)
		}
		w.want("2001:db8:0:7::1", Drop)
		n, err := l.Unban(netip.MustParsePrefix("2001:db8:0:7::/64"))
		if n != 1 || err != nil {
			t.Errorf("unban: %d, %v", n, err)
		}
		w.want("2001:db8:0:7::1", Pass)
	})
}

// stranger is an XDP program that passes everything.
func stranger(t *testing.T, attach ebpf.AttachType) *ebpf.Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "stranger", Type: ebpf.XDP, AttachType: attach, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, int32(Pass)), asm.Return()},
	})
	must(t, err)
	t.Cleanup(func() { prog.Close() })
	return prog
}

// attachTo attaches prog to eth0 of h for as long as the test runs.
func (w *wire) attachTo(h *lab.Host, prog *ebpf.Program) link.Link {
	w.tb.Helper()
	var lk link.Link
	must(w.tb, h.Do(func() (err error) {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		lk, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: eth0.Attrs().Index, Flags: link.XDPDriverMode})
		return err
	}))
	w.tb.Cleanup(func() { lk.Close() })
	return lk
}

// A link whose program was loaded with another attach type cannot be updated.
func TestTakeOverFromAnotherAttachType(t *testing.T) {
	w := newWire(t, 0)
	l := w.enforce(hour("192.0.2.7/32"))
	a, err := w.attach(l, "eth0")
	must(t, err)
	must(t, w.victim.Do(func() error { return l.Detach("eth0") }))
	old := w.attachTo(w.victim, stranger(t, ebpf.AttachNone))
	must(t, old.Pin(indexed(l.dir, linkPrefix, a.Index)))
	must(t, old.Close())
	must(t, l.Close())

	w.want("192.0.2.7", Pass)
	l = w.open()
	w.want("192.0.2.7", Drop)
	got, err := w.attach(l, "eth0")
	if err != nil || got.Mode != Native {
		t.Errorf("attachment: got %+v, %v", got, err)
	}
}

func TestForeignProgramIsLeftAlone(t *testing.T) {
	w := newWire(t, 0)
	lk := w.attachTo(w.victim, stranger(t, ebpf.AttachXDP))
	l := w.open()
	_, err := w.attach(l, "eth0")
	if !errors.Is(err, ErrOccupied) || !strings.HasPrefix(err.Error(), `attach xdp to eth0: occupied by another XDP program: "stranger", id `) {
		t.Errorf("got %v", err)
	}
	must(t, w.victim.Do(func() error { // on a thread that cannot go home and so ends
		if err := limit(unix.CAP_BPF, unix.CAP_NET_ADMIN); err != nil {
			return err
		}
		if _, err := l.Attach("eth0"); !errors.Is(err, ErrOccupied) || !strings.Contains(err.Error(), ": id ") {
			t.Errorf("without the privilege to learn its name: got %v", err)
		}
		return nil
	}))
	if info, err := lk.Info(); err != nil || info.XDP().Ifindex == 0 {
		t.Errorf("the other program was detached: %+v, %v", info, err)
	}
	w.want("192.0.2.7", Pass)
}

func TestInterfaceMadeAgainIsAttachedAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		next func(*wire, *Loader) *Loader
	}{
		{"by the same loader", func(_ *wire, l *Loader) *Loader { return l }},
		{"by the next", func(w *wire, l *Loader) *Loader { l.Close(); return w.open() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			held(t, 0, func(t *testing.T, w *wire) {
				l := w.enforce(hour("192.0.2.7/32"))
				w.want("192.0.2.7", Drop)
				eth0, err := w.victim.Links().LinkByName("eth0")
				must(t, err)
				must(t, w.victim.Links().LinkDel(eth0))
				w.plug(0)
				w.want("192.0.2.7", Pass)
				l = test.next(w, l)
				_, err = w.attach(l, "eth0")
				must(t, err)
				w.want("192.0.2.7", Drop)
				links, err := pinnedIndexes(l.dir, linkPrefix)
				must(t, err)
				programs, err := pinnedIndexes(l.dir, programPrefix)
				must(t, err)
				if len(links)+len(programs) != 1 {
					t.Errorf("pinned: links %v, programs %v", links, programs)
				}
			})
		})
	}
}

func TestRenamedInterfaceStaysAttached(t *testing.T) {
	held(t, 0, func(t *testing.T, w *wire) {
		l := w.enforce(hour("192.0.2.7/32"))
		eth0, err := w.victim.Links().LinkByName("eth0")
		must(t, err)
		must(t, w.victim.Links().LinkSetDown(eth0))
		must(t, w.victim.Links().LinkSetName(eth0, "wan.7"))
		must(t, w.victim.Links().LinkSetUp(eth0))
		a, err := w.attach(l, "wan.7")
		if a.Interface != "wan.7" || a.Index != eth0.Attrs().Index || err != nil {
			t.Errorf("attachment: got %+v, %v", a, err)
		}
		w.want("192.0.2.7", Drop)
	})
}

func TestSeveralInterfaces(t *testing.T) {
	held(t, 0, func(t *testing.T, w *wire) {
		must(t, lab.Connect(w.attacker, "eth1", w.victim, "eth1"))
		l := w.enforce(hour("192.0.2.7/32"))
		_, err := w.attach(l, "eth1")
		must(t, err)
		names := func() map[string]string {
			modes := make(map[string]string)
			must(t, w.victim.Do(func() error {
				all, err := l.Attachments()
				for _, a := range all {
					modes[a.Interface] = a.Mode
				}
				return err
			}))
			return modes
		}
		if got := names(); len(got) != 2 || got["eth0"] != Native || got["eth1"] != Native {
			t.Errorf("attachments: got %v", got)
		}
		must(t, w.victim.Do(func() error { return l.Detach("eth1") }))
		if got := names(); len(got) != 1 || got["eth0"] != Native {
			t.Errorf("attachments after detach: got %v", got)
		}
		w.want("192.0.2.7", Drop)
	})
}

func TestMissingInterface(t *testing.T) {
	held(t, 0, func(t *testing.T, w *wire) {
		l := w.open()
		if _, err := w.attach(l, "eth9"); err == nil || !strings.HasPrefix(err.Error(), "attach xdp to eth9: ") {
			t.Errorf("got %v", err)
		}
		must(t, w.victim.Do(func() error { return l.Detach("eth9") }))
	})
}

func TestRemoveTakesEverythingOut(t *testing.T) {
	held(t, 0, func(t *testing.T, w *wire) {
		must(t, w.enforce(hour("192.0.2.7/32")).Close())
		w.want("192.0.2.7", Drop)
		for range 2 {
			must(t, w.victim.Do(func() error { return Remove(w.settings.Pin) }))
			w.want("192.0.2.7", Pass)
			if _, err := os.Stat(w.settings.Pin); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("pins: got %v", err)
			}
		}
	})
}
