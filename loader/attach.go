package loader

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrOccupied says that an interface has an XDP program that is not ours.
var ErrOccupied = errors.New("occupied by another XDP program")

// The modes in which an interface runs the program.
const (
	Native  = "native"  // in the driver, before the kernel makes a packet of a frame
	Generic = "generic" // in the stack: slower, works everywhere
)

// An Attachment is an interface that runs the program, as the kernel says.
type Attachment struct {
	Interface string
	Index     int
	Mode      string    // Native or Generic
	Refusals  []string  // why not a better mode
	Since     time.Time // when it was attached, by this Loader or an earlier one
}

// attached is a link of ours.
type attached struct {
	link     link.Link
	index    int
	refusals []string
}

// modes in the order of preference.
var modes = []struct {
	name   string
	flag   link.XDPAttachFlags
	kernel uint32 // IFLA_XDP_ATTACHED
}{
	{Native, link.XDPDriverMode, 1},
	{Generic, link.XDPGenericMode, 2},
}

// linkPin is where the link of an interface is pinned. The index survives a change of
// the name, and a bpffs takes no dots, which names may have.
func (l *Loader) linkPin(index int) string { return l.pin(fmt.Sprintf("link-%d", index)) }

func linkPins(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "link-*"))
	if err != nil {
		return nil, fmt.Errorf("list pinned links: %w", err)
	}
	return paths, nil
}

// Attach puts the program on the interface called name and says how it runs there. One
// that runs it already goes on. The error is ErrOccupied where another program is.
func (l *Loader) Attach(name string) (Attachment, error) {
	a, err := l.attach(name)
	if err != nil {
		return Attachment{}, explain(fmt.Errorf("attach xdp to %s: %w", name, err))
	}
	return a, nil
}

func (l *Loader) attach(name string) (Attachment, error) {
	if err := l.prune(); err != nil {
		return Attachment{}, err
	}
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return Attachment{}, err
	}
	if a, ok := l.links[iface.Index]; ok {
		return l.describe(a)
	}
	var refusals []string
	for _, mode := range modes {
		a, err := l.attachMode(iface.Index, mode.flag)
		if err == nil {
			a.refusals = refusals
			return l.describe(a)
		}
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
			return Attachment{}, occupied(iface.Index, err)
		}
		if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSYS) {
			return Attachment{}, err
		}
		refusals = append(refusals, fmt.Sprintf("%s: %v", mode.name, err))
		l.settings.Log.Debug("xdp refused", "interface", name, "mode", mode.name, "error", err)
	}
	return Attachment{}, fmt.Errorf("no mode works: %q", refusals)
}

// attachMode attaches in one mode and pins.
func (l *Loader) attachMode(index int, flag link.XDPAttachFlags) (*attached, error) {
	lk, err := link.AttachXDP(link.XDPOptions{Program: l.prog, Interface: index, Flags: flag})
	if err != nil {
		return nil, err
	}
	if err := lk.Pin(l.linkPin(index)); err != nil {
		lk.Close()
		return nil, fmt.Errorf("pin link: %w", err)
	}
	a := &attached{link: lk, index: index}
	l.links[index] = a
	return a, nil
}

// describe asks the kernel how the interface of a runs our program. That it does not is
// an error, whatever attaching it said.
func (l *Loader) describe(a *attached) (Attachment, error) {
	name, xdp, err := running(a.index)
	if err != nil {
		return Attachment{}, err
	}
	own, err := programID(l.prog)
	if err != nil {
		return Attachment{}, err
	}
	at := Attachment{Interface: name, Index: a.index, Refusals: a.refusals}
	for _, mode := range modes {
		if xdp.Attached && xdp.AttachMode == mode.kernel && xdp.ProgId == own {
			at.Mode = mode.name
		}
	}
	if at.Mode == "" {
		return Attachment{}, fmt.Errorf("the kernel runs program %d on %s in mode %d, not ours (%d)", xdp.ProgId, name, xdp.AttachMode, own)
	}
	pin, err := os.Stat(l.linkPin(a.index))
	if err != nil {
		return Attachment{}, fmt.Errorf("find the pinned link: %w", err)
	}
	at.Since = pin.ModTime()
	return at, nil
}

// running says what the kernel runs on the interface with that index, and its name now.
func running(index int) (name string, xdp netlink.LinkXdp, err error) {
	iface, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", xdp, fmt.Errorf("look at interface %d: %w", index, err)
	}
	if iface.Attrs().Xdp != nil {
		xdp = *iface.Attrs().Xdp
	}
	return iface.Attrs().Name, xdp, nil
}

func programID(prog *ebpf.Program) (uint32, error) {
	info, err := prog.Info()
	if err != nil {
		return 0, fmt.Errorf("identify the kernel program: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, errors.New("identify the kernel program: the kernel has no number for it")
	}
	return uint32(id), nil
}

// occupied names the program that holds an interface, as far as that can be known: the
// name takes CAP_SYS_ADMIN, the number nothing.
func occupied(index int, cause error) error {
	_, xdp, err := running(index)
	if err != nil || xdp.ProgId == 0 {
		return fmt.Errorf("%w (%v)", ErrOccupied, cause)
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId))
	if err != nil {
		return fmt.Errorf("%w: id %d", ErrOccupied, xdp.ProgId)
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return fmt.Errorf("%w: id %d", ErrOccupied, xdp.ProgId)
	}
	return fmt.Errorf("%w: %q, id %d", ErrOccupied, info.Name, xdp.ProgId)
}

// Attachments lists the interfaces of this network namespace that run the program.
func (l *Loader) Attachments() ([]Attachment, error) {
	if err := l.prune(); err != nil {
		return nil, explain(err)
	}
	var all []Attachment
	for _, a := range l.links {
		at, err := l.describe(a)
		if err != nil {
			return nil, explain(fmt.Errorf("describe attachment: %w", err))
		}
		all = append(all, at)
	}
	return all, nil
}

// Detach takes the program off the interface called name. Where it is not, or the
// interface is gone, nothing happens.
func (l *Loader) Detach(name string) error {
	if err := l.prune(); err != nil {
		return explain(err)
	}
	iface, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach xdp from %s: %w", name, err)
	}
	index := iface.Attrs().Index
	a, ok := l.links[index]
	if !ok {
		return nil
	}
	if err := detach(a.link, l.linkPin(index)); err != nil {
		return explain(fmt.Errorf("detach xdp from %s: %w", name, err))
	}
	delete(l.links, index)
	return a.link.Close()
}

// detach takes the program of lk off its interface, if there still is one, and unpins lk.
func detach(lk link.Link, pin string) error {
	if err := lk.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("detach %s: %w", pin, err)
	}
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unpin link: %w", err)
	}
	return nil
}

// prune lets go of links whose interfaces were deleted or moved to another network namespace.
func (l *Loader) prune() error {
	for index, a := range l.links {
		here, err := runsHere(a.link, index)
		if err != nil {
			return err
		}
		if here {
			continue
		}
		if err := detach(a.link, l.linkPin(index)); err != nil {
			return err
		}
		a.link.Close()
		delete(l.links, index)
	}
	return nil
}

// runsHere reports whether lk is that of the interface which has index in this network
// namespace. In another one an interface keeps its index and its link; here the index may
// be that of another interface by then.
func runsHere(lk link.Link, index int) (bool, error) {
	info, err := lk.Info()
	if err != nil {
		return false, fmt.Errorf("identify link: %w", err)
	}
	own := info.XDP()
	if own == nil {
		return false, errors.New("identify link: it is not one of XDP")
	}
	if int(own.Ifindex) != index {
		return false, nil // 0 where it was deleted
	}
	_, xdp, err := running(index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Beside a program in hardware the kernel tells no number.
	return xdp.Attached && (xdp.ProgId == 0 || xdp.ProgId == uint32(info.Program)), nil
}

// pinnedIndex is the index of the interface whose link is pinned at pin; 0: the name has none.
func pinnedIndex(pin string) int {
	index, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(pin), "link-"))
	if err != nil {
		return 0
	}
	return index
}

// adoptLinks makes every pinned link run this program.
func (l *Loader) adoptLinks() error {
	pins, err := linkPins(l.dir)
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if err := l.adoptLink(pin); err != nil {
			return fmt.Errorf("adopt %s: %w", pin, err)
		}
	}
	return nil
}

func (l *Loader) adoptLink(pin string) error {
	lk, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return fmt.Errorf("open pinned link: %w", err)
	}
	index := pinnedIndex(pin)
	here, err := runsHere(lk, index)
	if err != nil {
		lk.Close()
		return err
	}
	if !here {
		defer lk.Close()
		return detach(lk, pin)
	}
	err = lk.Update(l.prog)
	if err == nil {
		l.links[index] = &attached{link: lk, index: index, refusals: l.inherited(index)}
		return nil
	}
	defer lk.Close()
	if errors.Is(err, unix.ENOLINK) {
		return detach(lk, pin)
	}
	if errors.Is(err, unix.EINVAL) {
		return l.reattach(lk, index)
	}
	return fmt.Errorf("replace the program: %w", err)
}

// reattach replaces a link that cannot take this program because the one it has was
// loaded with another attach type. For a moment the interface runs neither.
func (l *Loader) reattach(lk link.Link, index int) error {
	_, xdp, err := running(index)
	if err != nil {
		return err
	}
	if err := detach(lk, l.linkPin(index)); err != nil {
		return err
	}
	for _, mode := range modes {
		if xdp.AttachMode != mode.kernel {
			continue
		}
		a, err := l.attachMode(index, mode.flag)
		if err != nil {
			return fmt.Errorf("attach again: %w", err)
		}
		a.refusals = l.inherited(index)
	}
	return nil
}

// inherited explains the mode of a link that an earlier Loader attached.
func (l *Loader) inherited(index int) []string {
	_, xdp, err := running(index)
	if err != nil || xdp.AttachMode != modes[1].kernel {
		return nil
	}
	return []string{Native + ": an earlier run chose " + Generic}
}
