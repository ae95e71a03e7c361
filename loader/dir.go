package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"xdpban/internal/lazy"
	"xdpban/internal/lock"
)

// bpffs is where systems mount their bpffs.
const bpffs = "/sys/fs/bpf"

// layoutName is a directory of pins below Settings.Pin.
var layoutName = lazy.Regexp(`^v[0-9]+$`)

// layoutDir makes the directory for the pins of spec's layout. Pins of another layout are
// an error: two programs on one interface cannot be, and their maps cannot be read here.
func layoutDir(pin string, spec *ebpf.CollectionSpec) (string, error) {
	var layout uint32
	if err := spec.Variables[xdpbanVarLayout].Get(&layout); err != nil {
		return "", fmt.Errorf("read the layout of the kernel program: %w", err)
	}
	if err := mountBPF(pin); err != nil {
		return "", err
	}
	name := fmt.Sprintf("v%d", layout)
	others, err := layouts(pin)
	if err != nil {
		return "", err
	}
	for _, other := range others {
		if other != name {
			return "", fmt.Errorf("adopt %s: it holds layout %s of another build, this one has %s; `xdpban detach` removes it", pin, other, name)
		}
	}
	dir := filepath.Join(pin, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make pin directory: %w", err)
	}
	return dir, nil
}

// layouts lists the directories of pins below pin.
func layouts(pin string) ([]string, error) {
	entries, err := os.ReadDir(pin)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pin directory: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && layoutName.Get().MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// mountBPF sees to it that pin is or will be on a bpffs.
func mountBPF(pin string) error {
	on, err := onBPF(pin)
	if err != nil || on {
		return err
	}
	if pin != bpffs && !strings.HasPrefix(pin, bpffs+"/") {
		return fmt.Errorf("pin below %s: it is not on a bpffs", pin)
	}
	if err := unix.Mount("bpf", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs on %s: %w", bpffs, err)
	}
	return nil
}

// onBPF reports whether path, or what of it exists, is on a bpffs.
func onBPF(path string) (bool, error) {
	for {
		var fs unix.Statfs_t
		err := unix.Statfs(path, &fs)
		if err == nil {
			return fs.Type == unix.BPF_FS_MAGIC, nil
		}
		if !errors.Is(err, os.ErrNotExist) || path == filepath.Dir(path) {
			return false, fmt.Errorf("look for bpffs at %s: %w", path, err)
		}
		path = filepath.Dir(path)
	}
}

// Hold takes the directory pin for this process until the file is closed or the process ends,
// however it ends. The error is lock.ErrHeld if another has it. Where there is no such directory,
// nothing is there to be taken: the file is nil.
func Hold(pin string) (*os.File, error) {
	dir, err := os.OpenFile(pin, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(fmt.Errorf("open pin directory: %w", err))
	}
	if err := lock.Take(dir); err != nil {
		dir.Close()
		return nil, fmt.Errorf("take %s: %w", pin, err)
	}
	return dir, nil
}

// Present reports whether anything is pinned below pin, by whatever build. An empty directory
// is nothing: who was refused leaves it.
func Present(pin string) (bool, error) {
	on, err := onBPF(pin)
	if err != nil || !on {
		return false, explain(err)
	}
	names, err := layouts(pin)
	if err != nil {
		return false, explain(err)
	}
	for _, name := range names {
		entries, err := os.ReadDir(filepath.Join(pin, name))
		if err != nil || len(entries) > 0 {
			return len(entries) > 0, explain(err)
		}
	}
	return false, nil
}

// Remove takes everything that was pinned below pin out of the kernel, by whatever build:
// programs off their interfaces, bans gone. It needs no running daemon; where nothing is
// there it does nothing.
func Remove(pin string) error {
	on, err := onBPF(pin)
	if err != nil {
		return explain(err)
	}
	if !on {
		return nil
	}
	names, err := layouts(pin)
	if err != nil {
		return explain(err)
	}
	for _, name := range names {
		if err := removeLayout(filepath.Join(pin, name)); err != nil {
			return explain(err)
		}
	}
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) && pin != bpffs {
		return explain(fmt.Errorf("remove pin directory: %w", err))
	}
	return nil
}

// removeLayout detaches before it removes maps: a program without maps cannot be.
func removeLayout(dir string) error {
	if err := releaseAll(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read pin directory: %w", err)
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove pin: %w", err)
		}
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("remove pin directory: %w", err)
	}
	return nil
}
