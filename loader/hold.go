package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A hold keeps the program on an interface when this process has gone. Its pin says whose it
// is, and since when.
type hold interface {
	// here reports whether the interface is in this network namespace and runs the program. In
	// another one an interface keeps its index; here the index may be that of another by then.
	here() (bool, error)
	since() (time.Time, error)
	// release takes the program off the interface, if both are still there, and unpins.
	release() error
	Close() error
}

// The pins of holds: the name, and the index of the interface. That survives a change of the
// interface's name, and a bpffs takes no dots, which names may have.
const (
	linkPrefix    = "link-"
	programPrefix = "program-"
)

func indexed(dir, prefix string, index int) string {
	return filepath.Join(dir, prefix+strconv.Itoa(index))
}

// pinnedIndexes are those of the interfaces that have a pin with that prefix in dir.
func pinnedIndexes(dir, prefix string) ([]int, error) {
	paths, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("list pins: %w", err)
	}
	var indexes []int
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), prefix), next)
		index, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("adopt %s: it has no index of an interface", path)
		}
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	return slices.Compact(indexes), nil
}

func pinnedSince(pin string) (time.Time, error) {
	info, err := os.Stat(pin)
	if err != nil {
		return time.Time{}, fmt.Errorf("find the pin: %w", err)
	}
	return info.ModTime(), nil
}

func unpin(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unpin: %w", err)
	}
	return nil
}

// adopt has every interface that an earlier Loader held run this program.
func (l *Loader) adopt() error {
	for _, kind := range []struct {
		prefix string
		adopt  func(index int) error
	}{{linkPrefix, l.adoptLinked}, {programPrefix, l.adoptTold}} {
		indexes, err := pinnedIndexes(l.dir, kind.prefix)
		if err != nil {
			return err
		}
		for _, index := range indexes {
			if err := kind.adopt(index); err != nil {
				return fmt.Errorf("adopt %s: %w", indexed(l.dir, kind.prefix, index), err)
			}
		}
	}
	return nil
}

// inherited explains the mode in which an earlier Loader attached.
func inherited(index int) []string {
	_, xdp, err := running(index)
	if err != nil || xdp.AttachMode != modes[1].kernel {
		return nil
	}
	return []string{Native + ": an earlier run chose " + Generic}
}

// releaseAll takes the programs of all pins in dir off their interfaces.
func releaseAll(dir string) error {
	for _, kind := range []struct {
		prefix string
		open   func(dir string, index int) (hold, error)
	}{
		{linkPrefix, func(dir string, index int) (hold, error) { return openLinked(dir, index) }},
		{programPrefix, func(dir string, index int) (hold, error) { return openTold(dir, index) }},
	} {
		indexes, err := pinnedIndexes(dir, kind.prefix)
		if err != nil {
			return err
		}
		for _, index := range indexes {
			h, err := kind.open(dir, index)
			if err != nil {
				return err
			}
			err = h.release()
			h.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}
