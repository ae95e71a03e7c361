package loader

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// A wire is a cable from an attacker to a victim whose interface is eth0. Frames are
// written on the attacker's end and looked for where the victim's stack gets them.
type wire struct {
	tb               testing.TB
	attacker, victim *lab.Host
	kernel           lab.Kernel // of the victim; nil: this one
	settings         Settings
	tx, rx           int
	sequence         uint32
}

// tooLarge is an MTU with which veth refuses native XDP.
const tooLarge = 3600

// bystander is a source that nobody bans.
const bystander = "203.0.113.250"

func newWire(t testing.TB, mtu int) *wire {
	t.Helper()
	hosts := lab.Hosts(t, 2)
	w := &wire{tb: t, attacker: hosts[0], victim: hosts[1], settings: small(t, "wire")}
	w.plug(mtu)
	t.Cleanup(func() { must(t, Remove(w.settings.Pin)) })
	return w
}

// plug lays the cable.
func (w *wire) plug(mtu int) {
	w.tb.Helper()
	must(w.tb, lab.Connect(w.attacker, "eth0", w.victim, "eth0"))
	if mtu != 0 {
		w.setMTU(w.attacker, mtu)
		w.setMTU(w.victim, mtu)
	}
	w.tx = w.socket(w.attacker)
	w.rx = w.socket(w.victim)
}

func (w *wire) setMTU(h *lab.Host, mtu int) {
	link, err := h.Links().LinkByName("eth0")
	must(w.tb, err)
	must(w.tb, h.Links().LinkSetMTU(link, mtu))
}

// socket sends and receives whole frames on eth0 of h.
func (w *wire) socket(h *lab.Host) int {
	w.tb.Helper()
	fd := -1
	must(w.tb, h.Do(func() (err error) {
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index})
	}))
	w.tb.Cleanup(func() { unix.Close(fd) })
	return fd
}

// do calls fn on the victim, with its kernel.
func (w *wire) do(fn func() error) error {
	if w.kernel == nil {
		return w.victim.Do(fn)
	}
	return w.victim.DoOn(w.kernel, fn)
}

// open opens a Loader on the victim.
func (w *wire) open() *Loader {
	w.tb.Helper()
	var l *Loader
	must(w.tb, w.do(func() (err error) {
		l, err = Open(w.settings)
		return err
	}))
	w.tb.Cleanup(func() { l.Close() })
	return l
}

// attach attaches to an interface of the victim.
func (w *wire) attach(l *Loader, name string) (Attachment, error) {
	var a Attachment
	err := w.do(func() (err error) {
		a, err = l.Attach(name)
		return err
	})
	return a, err
}

// enforce opens a Loader, attaches it to eth0 and bans.
func (w *wire) enforce(bans ...ban.Ban) *Loader {
	w.tb.Helper()
	l := w.open()
	_, err := w.attach(l, "eth0")
	must(w.tb, err)
	must(w.tb, l.Ban(bans...))
	return l
}

// number makes a frame one of its kind, by the last bytes of its payload.
func (w *wire) number(source string) ([]byte, uint32) {
	w.sequence++
	f := from(source)
	binary.BigEndian.PutUint32(f[len(f)-4:], w.sequence)
	return f, w.sequence
}

func (w *wire) send(frame []byte) {
	w.tb.Helper()
	_, err := unix.Write(w.tx, frame)
	for errors.Is(err, unix.ENOBUFS) { // the cable is full
		runtime.Gosched()
		_, err = unix.Write(w.tx, frame)
	}
	if err != nil {
		w.tb.Errorf("send: %v", err)
	}
}

// passes sends a frame from source and reports whether the victim's stack gets it. A
// second frame, which passes, says when that is decided: the cable keeps their order.
func (w *wire) passes(source string) bool {
	w.tb.Helper()
	frame, asked := w.number(source)
	w.send(frame)
	marker, end := w.number(bystander)
	w.send(marker)
	passed := false
	buf := make([]byte, 2048)
	for {
		switch w.receive(buf) {
		case asked:
			passed = true
		case end:
			return passed
		}
	}
}

// receive waits for a frame and reads its number; 0: it has none.
func (w *wire) receive(buf []byte) uint32 {
	n, err := unix.Read(w.rx, buf)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
		return 0 // the interface was down before
	}
	if err != nil {
		w.tb.Fatalf("receive: %v", err)
	}
	if n < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(buf[n-4:])
}

// flood sends frames from source until the returned function is called; that says how
// many were sent, and how many of them and of later ones the victim's stack got.
func (w *wire) flood(source string) (stop func() (sent, passed int)) {
	f := from(source)
	binary.BigEndian.PutUint32(f[len(f)-4:], 0xffffffff)
	done := make(chan struct{})
	var sent int
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				w.send(f)
				sent++
			}
		}
	})
	return func() (int, int) {
		close(done)
		sender.Wait()
		return sent, w.drain(0xffffffff)
	}
}

// drain counts frames with that number which the victim's stack got so far.
func (w *wire) drain(number uint32) int {
	marker, end := w.number(bystander)
	w.send(marker)
	buf := make([]byte, 2048)
	for count := 0; ; {
		switch w.receive(buf) {
		case number:
			count++
		case end:
			return count
		}
	}
}

func (w *wire) want(source string, v Verdict) {
	w.tb.Helper()
	got := Drop
	if w.passes(source) {
		got = Pass
	}
	if got != v {
		w.tb.Errorf("packet of %s: got %v, want %v", source, got, v)
	}
}
