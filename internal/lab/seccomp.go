package lab

import (
	"fmt"
	"os/exec"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// StartWithoutBPF starts cmd in h as on a kernel that has never heard of bpf(2): in the
// process, and in those that it starts, the call answers ENOSYS.
func (h *Host) StartWithoutBPF(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with this goroutine
		err := netns.Set(h.ns)
		if err == nil {
			err = refuse(unix.SYS_BPF, unix.ENOSYS)
		}
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	}()
	return <-done
}

// refuse has a system call answer errno, for the calling thread and what it starts, for good.
// See seccomp(2); the offsets are those of struct seccomp_data.
func refuse(call uint32, errno unix.Errno) error {
	const nr = 0
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if _, err := confine(filter, 0); err != nil {
		return fmt.Errorf("refuse system call %d: %w", call, err)
	}
	return nil
}

// confine puts filter on the system calls of the calling thread and what it starts, for good.
func confine(filter []unix.SockFilter, flags uintptr) (listener int, err error) {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return 0, fmt.Errorf("filter system calls: %w", errno)
	}
	return int(fd), nil
}
