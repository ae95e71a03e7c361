package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A told interface was told by netlink to run the program, as kernels before 5.9 want it. The
// kernel keeps no record of by whom: what runs is ours if it is the program that is pinned.
type told struct {
	prog  *ebpf.Program // a handle of its own
	index int
	pin   string
}

// nobody is no file descriptor: in a message it takes the program off.
const nobody = -1

// newTold pins before it attaches: what runs is always known.
func (l *Loader) newTold(index int, m mode) (hold, error) {
	h := &told{index: index, pin: indexed(l.dir, programPrefix, index)}
	if err := errors.Join(unpin(h.pin), unpin(h.pin+next)); err != nil { // of an interface that has gone
		return nil, err
	}
	if err := h.take(l.prog, h.pin); err != nil {
		return nil, err
	}
	err := setXDP(index, h.prog.FD(), m.flag|unix.XDP_FLAGS_UPDATE_IF_NOEXIST)
	if errors.Is(err, unix.EBUSY) { // it may come back from another network namespace
		if back, _ := h.here(); back {
			return h, nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, unpin(h.pin), h.Close())
	}
	return h, nil
}

// take makes prog that of h and pins it.
func (h *told) take(prog *ebpf.Program, pin string) error {
	own, err := prog.Clone() // one program has one pin; several interfaces run it
	if err != nil {
		return fmt.Errorf("duplicate the program: %w", err)
	}
	if err := own.Pin(pin); err != nil {
		own.Close()
		return fmt.Errorf("pin the program: %w", err)
	}
	h.prog.Close()
	h.prog = own
	return nil
}

// openTold opens what an earlier Loader pinned. One that died while it replaced the program
// left two pins; the one whose program runs goes on alone.
func openTold(dir string, index int) (*told, error) {
	h := &told{index: index, pin: indexed(dir, programPrefix, index)}
	for _, pin := range []string{h.pin, h.pin + next} {
		prog, err := ebpf.LoadPinnedProgram(pin, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open pinned program %s: %w", pin, err), h.Close())
		}
		runs, err := runsOn(index, prog)
		if err != nil {
			return nil, errors.Join(err, prog.Close(), h.Close())
		}
		if h.prog != nil && !runs {
			prog.Close()
			continue
		}
		h.prog.Close()
		h.prog = prog
		if runs && pin != h.pin {
			return h, h.settle()
		}
	}
	return h, unpin(h.pin + next)
}

// settle makes the pin of the program that runs the only one.
func (h *told) settle() error {
	if err := os.Rename(h.pin+next, h.pin); err != nil {
		return fmt.Errorf("replace pin %s: %w", h.pin, err)
	}
	return nil
}

func (h *told) here() (bool, error)       { return runsOn(h.index, h.prog) }
func (h *told) since() (time.Time, error) { return pinnedSince(h.pin) }
func (h *told) Close() error              { return h.prog.Close() }

// runsOn reports whether the interface that has index in this network namespace runs prog.
func runsOn(index int, prog *ebpf.Program) (bool, error) {
	_, xdp, err := running(index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	id, err := programID(prog)
	return xdp.Attached && xdp.ProgId == id, err
}

func (h *told) release() error {
	err := h.exchange(nobody)
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("detach %s: %w", h.pin, err)
	}
	return errors.Join(unpin(h.pin), unpin(h.pin+next))
}

// exchange has the interface run the program fd from the next packet on. EEXIST: it runs another
// one than that of h; then it goes on.
func (h *told) exchange(fd int) error {
	_, xdp, err := running(h.index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return unix.ENODEV
	}
	if err != nil {
		return err
	}
	for _, mode := range modes {
		if xdp.AttachMode != mode.kernel {
			continue
		}
		err := setXDP(h.index, fd, mode.flag|unix.XDP_FLAGS_REPLACE, h.prog.FD())
		if errors.Is(err, unix.EINVAL) { // kernels before 5.7 do not compare
			return h.overwrite(fd, mode)
		}
		return err
	}
	return unix.EEXIST
}

// overwrite is exchange where the kernel does not compare. Who puts another program there
// between the look and the change loses it.
func (h *told) overwrite(fd int, m mode) error {
	runs, err := runsOn(h.index, h.prog)
	if err != nil {
		return err
	}
	if !runs {
		return unix.EEXIST
	}
	return setXDP(h.index, fd, m.flag)
}

// setXDP tells the interface to run the program fd, see linux/if_link.h; where the flags have
// XDP_FLAGS_REPLACE, in place of the program expected.
func setXDP(index, fd int, flags uint32, expected ...int) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	about := nl.NewIfInfomsg(unix.AF_UNSPEC)
	about.Index = int32(index)
	request.AddData(about)
	xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
	xdp.AddRtAttr(unix.IFLA_XDP_FD, number(fd))
	xdp.AddRtAttr(unix.IFLA_XDP_FLAGS, number(int(flags)))
	for _, e := range expected {
		xdp.AddRtAttr(unix.IFLA_XDP_EXPECTED_FD, number(e))
	}
	request.AddData(xdp)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func number(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(int32(n))) }

func (l *Loader) adoptTold(index int) error {
	h, err := openTold(l.dir, index)
	if err != nil {
		return err
	}
	here, err := h.here()
	if err != nil {
		h.Close()
		return err
	}
	if !here {
		defer h.Close()
		return h.release()
	}
	if err := l.replaceTold(h); err != nil {
		h.Close()
		return fmt.Errorf("replace the program: %w", err)
	}
	l.held[index] = &attached{hold: h, index: index, refusals: append(inherited(index), "link: an earlier run attached by netlink")}
	return nil
}

// replaceTold has the interface run this program. Both are pinned while it may be either.
func (l *Loader) replaceTold(h *told) error {
	since, err := h.since()
	if err != nil {
		return err
	}
	successor := &told{index: h.index, pin: h.pin}
	if err := successor.take(l.prog, h.pin+next); err != nil {
		return err
	}
	if err := h.exchange(successor.prog.FD()); err != nil {
		return errors.Join(err, unpin(h.pin+next), successor.Close())
	}
	if err := os.Chtimes(h.pin+next, since, since); err != nil {
		return fmt.Errorf("keep when it was attached: %w", err)
	}
	h.prog.Close()
	h.prog = successor.prog
	return h.settle()
}
