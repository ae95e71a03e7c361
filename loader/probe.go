package loader

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// An Ability is how this kernel does XDP.
type Ability struct {
	Clock string // by which bans end
	Held  string // how interfaces are held; empty: not tried
}

// Probe tries what Open and Attach need of the kernel and leaves nothing behind: the maps, the
// program, a clock, and generic XDP on the interface called name, which must be nobody's; empty:
// on none. The error is what the kernel refuses.
func Probe(name string) (Ability, error) {
	a, err := probe(name)
	return a, explain(err)
}

func probe(name string) (Ability, error) {
	if err := liftMemlock(); err != nil {
		return Ability{}, err
	}
	c, err := newClock()
	if err != nil {
		return Ability{}, err
	}
	defer c.close() //nolint:errcheck // nothing depends on it
	spec, err := loadXdpban()
	if err != nil {
		return Ability{}, fmt.Errorf("read the kernel program: %w", err)
	}
	if err := prepare(spec, c, 64, false); err != nil {
		return Ability{}, err
	}
	for _, m := range spec.Maps {
		m.MaxEntries = max(m.MaxEntries, 1)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return Ability{}, fmt.Errorf("load the kernel program: %w", err)
	}
	defer coll.Close()
	held, err := probeHold(coll.Programs[xdpbanProgXdpban], name)
	return Ability{Clock: c.String(), Held: held}, err
}

// probeHold holds an interface as Attach does, for a moment.
func probeHold(prog *ebpf.Program, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return "", fmt.Errorf("find an interface to try XDP on: %w", err)
	}
	lk, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: iface.Index, Flags: unix.XDP_FLAGS_SKB_MODE})
	if err == nil {
		return "bpf_link", lk.Close()
	}
	if !noLinks(err) {
		return "", fmt.Errorf("attach xdp to %s: %w", name, err)
	}
	if err := setXDP(iface.Index, prog.FD(), unix.XDP_FLAGS_SKB_MODE|unix.XDP_FLAGS_UPDATE_IF_NOEXIST); err != nil {
		return "", fmt.Errorf("attach xdp to %s by netlink: %w", name, err)
	}
	if err := setXDP(iface.Index, nobody, unix.XDP_FLAGS_SKB_MODE); err != nil {
		return "", fmt.Errorf("detach xdp from %s by netlink: %w", name, err)
	}
	return fmt.Sprintf("netlink, as there are no links for XDP (%v)", reason(err)), nil
}

// reason is what the kernel said, if that is what err is about.
func reason(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// noLinks reports whether err may be that of a kernel that has no links, or none for XDP: before
// 5.9. A driver may say the same of a program.
func noLinks(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported)
}

// liftMemlock lets this process have maps on kernels before 5.11, which count them as locked
// memory. It is the first to ask for bpf(2).
func liftMemlock() error {
	const noCommand = 1<<32 - 1
	if _, _, errno := unix.Syscall(unix.SYS_BPF, noCommand, 0, 0); errno == unix.ENOSYS {
		return fmt.Errorf("call bpf(2): %w", errno)
	}
	counts, err := countsMemlock()
	if err == nil && counts {
		err = unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil)
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("lift the memory lock limit: %w: this kernel counts maps as locked memory, which takes LimitMEMLOCK=infinity or CAP_SYS_RESOURCE", unix.EPERM)
	}
	if err != nil {
		return fmt.Errorf("lift the memory lock limit: %w", err)
	}
	return nil
}

// countsMemlock reports whether the kernel counts maps as locked memory: then it refuses one where none may be locked. It is
// what package rlimit of cilium/ebpf finds out at the start of every program, whether that has to do with the kernel or not.
var countsMemlock = sync.OnceValues(func() (counts bool, err error) {
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &limit); err != nil {
		return false, err
	}
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 0, Max: limit.Max}, nil); err != nil {
		return false, err
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err == nil {
		m.Close()
	}
	if counts = errors.Is(err, unix.EPERM); counts {
		err = nil
	}
	return counts, errors.Join(err, unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &limit, nil))
})

// MissingCapabilities lists what this thread lacks of what XDP takes; empty: nothing.
func MissingCapabilities() string { return missingCapabilities() }

// OnBPF reports whether pins at path would be on a bpffs.
func OnBPF(path string) (bool, error) { return onBPF(path) }

// MountBPF sees to it that pins at path are on a bpffs, as Open does.
func MountBPF(path string) error { return mountBPF(path) }
