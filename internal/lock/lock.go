// Package lock keeps other processes from what one of them tends; a leaf.
package lock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another process has taken it: of what is locked here, a daemon.
var ErrHeld = errors.New("another daemon is running")

// Take takes file, which may be a directory, until it is closed or the process ends, however it ends.
// It waits for nobody: the error is ErrHeld if another process has it.
func Take(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}
