package loader

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

// toldWire is a wire whose victim has no links for XDP.
func toldWire(t *testing.T) *wire {
	t.Helper()
	w := newWire(t, 0)
	w.kernel = lab.WithoutLinks
	return w
}

// eth0 is the victim's.
func (w *wire) eth0() int {
	w.tb.Helper()
	eth0, err := w.victim.Links().LinkByName("eth0")
	must(w.tb, err)
	return eth0.Attrs().Index
}

// put has eth0 of the victim run prog, whatever runs there.
func (w *wire) put(prog *ebpf.Program) {
	w.tb.Helper()
	index := w.eth0()
	must(w.tb, w.victim.Do(func() error { return setXDP(index, prog.FD(), unix.XDP_FLAGS_DRV_MODE) }))
}

func (w *wire) pins(l *Loader) []string {
	w.tb.Helper()
	entries, err := os.ReadDir(l.dir)
	must(w.tb, err)
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), programPrefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestHowAnInterfaceIsHeldIsTold(t *testing.T) {
	w := toldWire(t)
	l := w.enforce(hour("192.0.2.7/32"))
	a, err := w.attach(l, "eth0")
	must(t, err)
	if want := []string{"link: invalid argument: attached by netlink"}; !slices.Equal(a.Refusals, want) {
		t.Errorf("got %q, want %q", a.Refusals, want)
	}
	must(t, l.Close())
	a, err = w.attach(w.open(), "eth0")
	must(t, err)
	if want := []string{"link: an earlier run attached by netlink"}; !slices.Equal(a.Refusals, want) {
		t.Errorf("the next: got %q, want %q", a.Refusals, want)
	}
}

// Kernels before 5.7 do not compare what runs with what is expected to.
func TestNoPacketPassesWhereTheKernelDoesNotCompare(t *testing.T) {
	w := toldWire(t)
	l := w.enforce(hour("192.0.2.7/32"))
	index := w.eth0()
	own := l.held[index].hold.(*told)
	stop := w.flood("192.0.2.7")
	must(t, w.victim.Do(func() error {
		for range 20 {
			if err := own.overwrite(l.prog.FD(), modes[0]); err != nil {
				return err
			}
		}
		return nil
	}))
	if sent, passed := stop(); passed != 0 {
		t.Errorf("%d of %d packets passed", passed, sent)
	}
	other := stranger(t, ebpf.AttachXDP)
	w.put(other)
	must(t, w.victim.Do(func() error {
		if err := own.overwrite(l.prog.FD(), modes[0]); !errors.Is(err, unix.EEXIST) {
			t.Errorf("over the program of somebody else: %v", err)
		}
		return nil
	}))
	w.want("192.0.2.7", Pass)
}

// Whoever dies while one program replaces another leaves pins of both.
func TestDeathDuringTakeOverByNetlink(t *testing.T) {
	for _, test := range []struct {
		name     string
		replaced bool
	}{{"before the change", false}, {"after the change", true}} {
		t.Run(test.name, func(t *testing.T) {
			w := toldWire(t)
			l := w.enforce(hour("192.0.2.7/32"))
			index := w.eth0()
			pin := indexed(l.dir, programPrefix, index)
			must(t, l.dry.Pin(pin+next))
			if test.replaced {
				w.put(l.dry)
			}
			must(t, l.Close())
			w.want("192.0.2.7", Drop)
			l = w.open()
			w.want("192.0.2.7", Drop)
			if got := w.pins(l); len(got) != 1 {
				t.Errorf("pins: %q", got)
			}
			if got := w.attachments(l); !slices.Equal(got, []string{"eth0"}) {
				t.Errorf("attachments: %q", got)
			}
			must(t, w.victim.Do(func() error { return l.Detach("eth0") }))
			w.want("192.0.2.7", Pass)
		})
	}
}

// Without a link anybody may put another program in place of ours. It stays.
func TestProgramPutInPlaceOfOursStays(t *testing.T) {
	for _, test := range []struct {
		name string
		next func(*wire, *Loader) *Loader
	}{
		{"before the same loader", func(_ *wire, l *Loader) *Loader { return l }},
		{"before the next", func(w *wire, l *Loader) *Loader { l.Close(); return w.open() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := toldWire(t)
			l := w.enforce(hour("192.0.2.7/32"))
			w.want("192.0.2.7", Drop)
			w.put(stranger(t, ebpf.AttachXDP))
			w.want("192.0.2.7", Pass)
			l = test.next(w, l)
			if got := w.attachments(l); len(got) != 0 {
				t.Errorf("attachments: %q", got)
			}
			if _, err := w.attach(l, "eth0"); !errors.Is(err, ErrOccupied) {
				t.Errorf("attach: %v", err)
			}
			if got := w.pins(l); len(got) != 0 {
				t.Errorf("pins: %q", got)
			}
			must(t, w.victim.Do(func() error { return errors.Join(l.Detach("eth0"), Remove(w.settings.Pin)) }))
			if !runningIn(t, w.victim, "eth0") {
				t.Error("the other program was detached")
			}
		})
	}
}

// An interface in another network namespace is out of reach of netlink: its program goes on.
func TestToldInterfaceThatComesBackIsOurs(t *testing.T) {
	w := toldWire(t)
	elsewhere := lab.Hosts(t, 1)[0]
	l := w.enforce(hour("192.0.2.7/32"))
	must(t, lab.Connect(w.victim, "eth1", w.attacker, "eth1"))
	_, err := w.attach(l, "eth1")
	must(t, err)
	move(t, "eth1", w.victim, elsewhere)
	if got := w.attachments(l); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("attachments: %q", got)
	}
	move(t, "eth1", elsewhere, w.victim)
	if _, err := w.attach(l, "eth1"); err != nil {
		t.Errorf("back again: %v", err)
	}
	if got := w.attachments(l); !slices.Equal(got, []string{"eth0", "eth1"}) {
		t.Errorf("attachments: %q", got)
	}
}

func TestProbeSaysHowInterfacesAreHeld(t *testing.T) {
	for _, test := range []struct {
		want   string
		kernel lab.Kernel
	}{
		{"bpf_link", func(lab.Call) unix.Errno { return 0 }},
		{"netlink, as there are no links for XDP (invalid argument)", lab.WithoutLinks},
	} {
		h := lab.Hosts(t, 1)[0]
		must(t, h.DoOn(test.kernel, func() error {
			able, err := Probe("lo")
			if able.Held != test.want || able.Clock == "" {
				t.Errorf("got %+v, want it held by %s", able, test.want)
			}
			return err
		}))
		if runningIn(t, h, "lo") {
			t.Error("the program stays")
		}
	}
}
