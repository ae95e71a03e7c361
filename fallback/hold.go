package fallback

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"xdpban/internal/lock"
)

// locks is where the lock of a network namespace's chain is, for root alone to take.
const locks = "/run/xdpban"

// A Holding keeps others from the chain of a network namespace.
type Holding struct{ file *os.File }

// Hold takes the chain of this network namespace until Close, or until the process ends, however it ends:
// there is one, whatever a daemon's socket and pins are called, and two daemons would undo each other's
// work. The error is lock.ErrHeld if another has it.
func Hold() (*Holding, error) {
	var namespace unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &namespace); err != nil {
		return nil, fmt.Errorf("look for the network namespace: %w", err)
	}
	if err := os.MkdirAll(locks, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the chain's lock: %w", err)
	}
	path := filepath.Join(locks, fmt.Sprintf("chain-%d.lock", namespace.Ino))
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the chain's lock: %w", err)
		}
		if err := lock.Take(file); err != nil {
			file.Close()
			return nil, fmt.Errorf("take the chain %s: %w", Name, err)
		}
		if isAt(file, path) {
			return &Holding{file}, nil
		}
		file.Close() // who had it before has just removed it
	}
}

func isAt(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, there)
}

// Close lets others have the chain; nil: there is nothing to let go of.
func (h *Holding) Close() error {
	if h == nil {
		return nil
	}
	return errors.Join(os.Remove(h.file.Name()), h.file.Close())
}
