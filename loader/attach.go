package loader

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cilium/ebpf"
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

// attached is an interface of ours.
type attached struct {
	hold
	index    int
	refusals []string
}

// A mode is a way for an interface to run the program.
type mode struct {
	name   string
	flag   uint32 // XDP_FLAGS_*_MODE
	kernel uint32 // IFLA_XDP_ATTACHED
}

// modes in the order of preference.
var modes = []mode{
	{Native, unix.XDP_FLAGS_DRV_MODE, 1},
	{Generic, unix.XDP_FLAGS_SKB_MODE, 2},
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
	if a, ok := l.held[iface.Index]; ok {
		return l.describe(a)
	}
	var refusals []string
	for _, mode := range modes {
		a, err := l.attachMode(iface.Index, mode)
		if err == nil {
			a.refusals = append(refusals, a.refusals...)
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

// attachMode attaches in one mode: by a link, or by netlink where the kernel has no links for
// XDP, as before 5.9.
func (l *Loader) attachMode(index int, m mode) (*attached, error) {
	a := &attached{index: index}
	var err error
	a.hold, err = l.newLinked(index, m)
	if noLinks(err) {
		a.refusals = []string{fmt.Sprintf("link: %v: attached by netlink", reason(err))}
		a.hold, err = l.newTold(index, m)
	}
	if err != nil {
		return nil, err
	}
	l.held[index] = a
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
	at.Since, err = a.since()
	return at, err
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
	for _, a := range l.held {
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
	a, ok := l.held[index]
	if !ok {
		return nil
	}
	if err := a.release(); err != nil {
		return explain(fmt.Errorf("detach xdp from %s: %w", name, err))
	}
	delete(l.held, index)
	return a.Close()
}

// prune lets go of interfaces that were deleted or moved to another network namespace.
func (l *Loader) prune() error {
	for index, a := range l.held {
		here, err := a.here()
		if err != nil {
			return err
		}
		if here {
			continue
		}
		if err := a.release(); err != nil {
			return err
		}
		a.Close()
		delete(l.held, index)
	}
	return nil
}
