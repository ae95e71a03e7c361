package loader

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A linked interface is held by a bpf_link, on which nobody else can put another program.
type linked struct {
	link.Link
	index int
	pin   string
}

func (l *Loader) newLinked(index int, m mode) (hold, error) {
	lk, err := link.AttachXDP(link.XDPOptions{Program: l.prog, Interface: index, Flags: link.XDPAttachFlags(m.flag)})
	if err != nil {
		return nil, err
	}
	h := &linked{Link: lk, index: index, pin: indexed(l.dir, linkPrefix, index)}
	if err := lk.Pin(h.pin); err != nil {
		lk.Close()
		return nil, fmt.Errorf("pin link: %w", err)
	}
	return h, nil
}

// openLinked opens the link that an earlier Loader pinned.
func openLinked(dir string, index int) (*linked, error) {
	h := &linked{index: index, pin: indexed(dir, linkPrefix, index)}
	var err error
	if h.Link, err = link.LoadPinnedLink(h.pin, nil); err != nil {
		return nil, fmt.Errorf("open pinned link %s: %w", h.pin, err)
	}
	return h, nil
}

func (h *linked) since() (time.Time, error) { return pinnedSince(h.pin) }

func (h *linked) release() error {
	if err := h.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("detach %s: %w", h.pin, err)
	}
	return unpin(h.pin)
}

func (h *linked) here() (bool, error) {
	info, err := h.Info()
	if err != nil {
		return false, fmt.Errorf("identify link: %w", err)
	}
	own := info.XDP()
	if own == nil {
		return false, errors.New("identify link: it is not one of XDP")
	}
	if int(own.Ifindex) != h.index {
		return false, nil // 0 where it was deleted
	}
	_, xdp, err := running(h.index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Beside a program in hardware the kernel tells no number.
	return xdp.Attached && (xdp.ProgId == 0 || xdp.ProgId == uint32(info.Program)), nil
}

func (l *Loader) adoptLinked(index int) error {
	h, err := openLinked(l.dir, index)
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
	err = h.Update(l.prog)
	if err == nil {
		l.held[index] = &attached{hold: h, index: index, refusals: inherited(index)}
		return nil
	}
	defer h.Close()
	if errors.Is(err, unix.ENOLINK) {
		return h.release()
	}
	if errors.Is(err, unix.EINVAL) {
		return l.reattach(h)
	}
	return fmt.Errorf("replace the program: %w", err)
}

// reattach replaces a link that cannot take this program because the one it has was
// loaded with another attach type. For a moment the interface runs neither.
func (l *Loader) reattach(h *linked) error {
	_, xdp, err := running(h.index)
	if err != nil {
		return err
	}
	if err := h.release(); err != nil {
		return err
	}
	for _, mode := range modes {
		if xdp.AttachMode != mode.kernel {
			continue
		}
		a, err := l.attachMode(h.index, mode)
		if err != nil {
			return fmt.Errorf("attach again: %w", err)
		}
		a.refusals = append(inherited(h.index), a.refusals...)
	}
	return nil
}
