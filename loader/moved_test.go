package loader

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"xdpban/internal/lab"
)

// move takes the interface name of one host to another.
func move(t *testing.T, name string, from, to *lab.Host) {
	t.Helper()
	iface, err := from.Links().LinkByName(name)
	must(t, err)
	must(t, to.Do(func() error {
		here, err := netns.Get()
		if err != nil {
			return err
		}
		defer here.Close()
		return from.Links().LinkSetNsFd(iface, int(here))
	}))
	moved, err := to.Links().LinkByName(name)
	must(t, err)
	must(t, to.Links().LinkSetUp(moved))
}

func (w *wire) attachments(l *Loader) []string {
	w.tb.Helper()
	var names []string
	must(w.tb, w.victim.Do(func() error {
		all, err := l.Attachments()
		for _, a := range all {
			names = append(names, a.Interface)
		}
		return err
	}))
	slices.Sort(names)
	return names
}

// An interface that was moved to another network namespace is out of reach, for this
// Loader and for the next, and neither stumbles over it.
func TestInterfaceMovedAwayIsLetGo(t *testing.T) {
	w := newWire(t, 0)
	elsewhere := lab.Hosts(t, 1)[0]
	l := w.enforce(hour("192.0.2.7/32"))
	must(t, lab.Connect(w.victim, "eth1", w.attacker, "eth1"))
	_, err := w.attach(l, "eth1")
	must(t, err)
	move(t, "eth1", w.victim, elsewhere)
	if got := w.attachments(l); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("attachments: %v", got)
	}
	if got := runningIn(t, elsewhere, "eth1"); got {
		t.Error("the program stays where nobody looks after it")
	}
	move(t, "eth1", elsewhere, w.victim)
	if _, err := w.attach(l, "eth1"); err != nil {
		t.Errorf("back again: %v", err)
	}
	move(t, "eth1", w.victim, elsewhere)
	must(t, l.Close())
	if got := w.attachments(w.open()); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("attachments of the next: %v", got)
	}
	w.want("192.0.2.7", Drop)
}

// The index of an interface that has moved away may be that of another one now.
func TestIndexOfAMovedInterfaceIsTaken(t *testing.T) {
	w := newWire(t, 0)
	elsewhere := lab.Hosts(t, 1)[0]
	l := w.open()
	must(t, lab.Connect(w.victim, "eth1", w.attacker, "eth1"))
	before, err := w.attach(l, "eth1")
	must(t, err)
	move(t, "eth1", w.victim, elsewhere)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = "eth1", before.Index
	must(t, w.victim.Links().LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth2"}))
	if _, err := w.attach(l, "eth1"); err != nil {
		t.Error(err)
	}
	if !runningIn(t, w.victim, "eth1") {
		t.Error("the new interface runs nothing")
	}
}

func runningIn(t *testing.T, h *lab.Host, name string) bool {
	t.Helper()
	iface, err := h.Links().LinkByName(name)
	must(t, err)
	xdp := iface.Attrs().Xdp
	return xdp != nil && xdp.Attached
}
