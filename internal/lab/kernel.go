package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Kernel answers calls of bpf(2) that make something, in place of the real one: an errno, or 0
// to ask the real one. So a test has a kernel that is older than its own, or that forbids.
type Kernel func(Call) unix.Errno

// The commands of bpf(2) that a Kernel is asked about, see linux/bpf.h.
const (
	MapCreate  = 0
	ProgLoad   = 5
	LinkCreate = 28
)

// A Call is one of bpf(2).
type Call struct {
	Thread  int    // that calls
	Command uint32 // one of those above
	attr    []byte // union bpf_attr
}

// attrBytes is as much of union bpf_attr as a Kernel looks at.
const attrBytes = 24

// HasBPF reports whether the real kernel has bpf(2).
func HasBPF() bool {
	const noCommand = 1<<32 - 1
	_, _, errno := unix.Syscall(unix.SYS_BPF, noCommand, 0, 0)
	return errno != unix.ENOSYS
}

// CountsMemlock reports whether the real kernel counts maps as locked memory, as those before
// 5.11 do.
func CountsMemlock() bool {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 5 || major == 5 && minor < 11
}

// May reports whether the calling thread has a capability.
func May(capability int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return unix.Capget(&head, &sets[0]) == nil && sets[capability/32].Effective&(1<<(capability%32)) != 0
}

// Without is a kernel whose bpf(2) answers errno to a command.
func Without(command uint32, errno unix.Errno) Kernel {
	return func(c Call) unix.Errno {
		if c.Command == command {
			return errno
		}
		return 0
	}
}

// WithoutLinks is a kernel before 5.9: it has no links for XDP.
func WithoutLinks(c Call) unix.Errno {
	const attachType, xdp = 8, 37
	if c.Command == LinkCreate && c.word(attachType) == xdp {
		return unix.EINVAL
	}
	return 0
}

// WithoutMap is a kernel that lacks a type of maps.
func WithoutMap(kind uint32) Kernel {
	return func(c Call) unix.Errno {
		if c.Command == MapCreate && c.word(0) == kind {
			return unix.EINVAL
		}
		return 0
	}
}

// WithoutMapFlags is a kernel that makes no map with one of the flags.
func WithoutMapFlags(flags uint32) Kernel {
	const mapFlags = 16 // offset in the attributes
	return func(c Call) unix.Errno {
		if c.Command == MapCreate && c.word(mapFlags)&flags != 0 {
			return unix.EINVAL
		}
		return 0
	}
}

// WithoutHelpers is a kernel whose verifier refuses programs that call one of the helpers.
func WithoutHelpers(helpers ...int32) Kernel {
	return func(c Call) unix.Errno {
		if c.Command != ProgLoad {
			return 0
		}
		for _, h := range helpers {
			if c.calls(h) {
				return unix.EINVAL
			}
		}
		return 0
	}
}

// CountingMemlock is a kernel before 5.11: a map takes locked memory, of which a process may
// have little.
func CountingMemlock(c Call) unix.Errno {
	var limit unix.Rlimit
	if c.Command != MapCreate || unix.Prlimit(c.Thread, unix.RLIMIT_MEMLOCK, nil, &limit) != nil {
		return 0
	}
	if limit.Cur < 64<<20 {
		return unix.EPERM
	}
	return 0
}

func (c Call) word(at int) uint32 { return binary.NativeEndian.Uint32(c.attr[at:]) }

// calls reports whether the program that is loaded calls a helper.
func (c Call) calls(helper int32) bool {
	const count, pointer, size = 4, 8, 8
	program := make([]byte, size*c.word(count))
	if err := c.read(program, binary.NativeEndian.Uint64(c.attr[pointer:])); err != nil {
		return false
	}
	for ; len(program) > 0; program = program[size:] {
		const call, source = unix.BPF_JMP | 0x80, 1
		if program[0] == call && program[source]>>4 == 0 && int32(binary.NativeEndian.Uint32(program[4:])) == helper {
			return true
		}
	}
	return false
}

// read fills buf from the memory of the caller.
func (c Call) read(buf []byte, address uint64) error {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.Thread))
	if err != nil {
		return err
	}
	defer memory.Close()
	_, err = memory.ReadAt(buf, int64(address))
	return err
}

// StartOn starts cmd in h, on the kernel k.
func (h *Host) StartOn(k Kernel, cmd *exec.Cmd) error { return h.DoOn(k, cmd.Start) }

// DoOn calls fn on a thread that is in h, on the kernel k. So are the processes that it starts.
func (h *Host) DoOn(k Kernel, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with this goroutine
		err := netns.Set(h.ns)
		if err == nil {
			err = k.rule()
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// rule has k answer for the calling thread and what it starts, until the last of them has ended.
// See seccomp_unotify(2).
func (k Kernel) rule() error {
	const nr, command = 0, 16 // offsets in struct seccomp_data, of a little-endian machine
	listener, err := confine([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BPF, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: command},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: MapCreate, Jt: 3},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: ProgLoad, Jt: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: LinkCreate, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	}, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if err != nil {
		return err
	}
	go func() {
		defer unix.Close(listener)
		for k.answer(listener) == nil {
		}
	}()
	return nil
}

// What the kernel asks and is told, see linux/seccomp.h.
type (
	question struct {
		id      uint64
		pid     uint32
		flags   uint32
		nr      int32
		arch    uint32
		pointer uint64
		args    [6]uint64
	}
	answer struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// answer waits for one call and answers it. The error says that nobody is left to call.
func (k Kernel) answer(listener int) error {
	ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(ready, -1)
		if err == nil && ready[0].Revents&unix.POLLIN == 0 {
			return errors.New("all have ended")
		}
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	var q question
	if ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)) != 0 {
		return nil // the caller was killed meanwhile
	}
	c := Call{Thread: int(q.pid), Command: uint32(q.args[0]), attr: make([]byte, attrBytes)}
	a := answer{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if c.read(c.attr, q.args[1]) == nil {
		if errno := k(c); errno != 0 {
			a.errno, a.flags = -int32(errno), 0
		}
	}
	ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
	return nil
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
	return errno
}
