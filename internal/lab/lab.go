// Package lab makes hosts and cables out of network namespaces, for the demo and the tests.
//
// A program that enters the lab starts itself again in mount, network and process
// namespaces of its own. Whatever it mounts, attaches, pins or starts there is seen by
// nobody outside and is gone when it ends, however it ends.
package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inside marks, in the environment, a process that is in the lab: the first one there, which
// furnishes it, and those that it starts.
const inside = "XDPBAN_LAB"

const (
	bare      = "bare"
	furnished = "furnished"
)

// Slowness is by how much longer tests wait where the machine is emulated: XDPBAN_SLOWNESS, or 1.
var Slowness = func() time.Duration {
	n, err := strconv.Atoi(os.Getenv("XDPBAN_SLOWNESS"))
	if err != nil {
		return 1
	}
	return time.Duration(n)
}()

// outside keeps why the lab could not be entered, for Require.
var outside error

// A Runner is a *testing.M.
type Runner interface{ Run() int }

// Main runs the tests of m in the lab. Without the privilege they run outside, where
// those that call Require are skipped.
func Main(m Runner) int {
	code, err := Enter(m.Run)
	if err != nil {
		outside = err
		return m.Run()
	}
	return code
}

// A TB is a *testing.T, *testing.B or *testing.F.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Require skips the test outside the lab, with the reason. Where REQUIRE_KERNEL is 1 it
// fails instead.
func Require(tb TB) {
	tb.Helper()
	if os.Getenv(inside) != "" {
		return
	}
	if outside == nil {
		outside = errors.New("TestMain does not call lab.Main")
	}
	if os.Getenv("REQUIRE_KERNEL") == "1" {
		tb.Fatalf("enter the lab: %v", outside)
	}
	tb.Skipf("enter the lab: %v", outside)
}

// Enter starts this program again inside the lab, where Enter calls run and its result
// becomes the exit code of both. An error says that the lab could not be entered.
func Enter(run func() int) (code int, err error) {
	switch os.Getenv(inside) {
	case bare:
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "furnish the lab:", err)
			return 1, nil
		}
		return run(), nil
	case furnished:
		return run(), nil
	}
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("make namespaces: %w: run as root", os.ErrPermission)
	}

	// Pdeathsig fires when the starting thread ends, so this one stays until the child is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	// Not /proc/self/exe: that would lead out of the new mount namespace.
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"="+bare)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("make namespaces: %w", err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("wait for the lab: %w", err)
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		code = 1
	}
	return code, nil
}

// furnish gives the lab what a booted host has: its own /proc, bpffs, /run and /dev.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ kind, path string }{
		{"proc", "/proc"},
		{"bpf", "/sys/fs/bpf"},
		{"tmpfs", "/run"},
	} {
		err := unix.Mount(m.kind, m.path, m.kind, unix.MS_NOSUID|unix.MS_NODEV, "")
		if m.kind == "bpf" && errors.Is(err, unix.ENOENT) {
			continue // a kernel without bpf(2)
		}
		if err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.path, err)
		}
	}
	if err := furnishDev(); err != nil {
		return err
	}
	if err := up("lo"); err != nil {
		return err
	}
	return os.Setenv(inside, furnished)
}

// furnishDev replaces /dev by a private one, so that a /dev/log can be made in it.
func furnishDev() error {
	const next = "/run/dev"
	if err := os.Mkdir(next, 0o755); err != nil {
		return fmt.Errorf("make a private /dev: %w", err)
	}
	if err := unix.Mount("tmpfs", next, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", next, err)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := bind("/dev/"+name, filepath.Join(next, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"shm", "pts"} {
		if err := os.Mkdir(filepath.Join(next, name), 0o755); err != nil {
			return fmt.Errorf("make a private /dev: %w", err)
		}
	}
	if err := unix.Mount("tmpfs", next+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount tmpfs on %s/shm: %w", next, err)
	}
	if err := unix.Mount("devpts", next+"/pts", "devpts", unix.MS_NOSUID, "newinstance,ptmxmode=0666"); err != nil {
		return fmt.Errorf("mount devpts on %s/pts: %w", next, err)
	}
	if err := os.Symlink("pts/ptmx", next+"/ptmx"); err != nil {
		return fmt.Errorf("make a private /dev: %w", err)
	}
	if err := os.Symlink("/proc/self/fd", next+"/fd"); err != nil {
		return fmt.Errorf("make a private /dev: %w", err)
	}
	if err := unix.Mount(next, "/dev", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /dev: %w", next, err)
	}
	return os.Remove(next)
}

func bind(from, to string) error {
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", to, err)
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}
