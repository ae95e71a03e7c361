package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// Probe tries what Open needs of the kernel and leaves nothing behind: the maps, the program
// and a clock, whose name it returns. The error is what the kernel refuses.
func Probe() (clock string, err error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return "", explain(fmt.Errorf("lift the memory lock limit: %w", err))
	}
	c, err := newClock()
	if err != nil {
		return "", explain(err)
	}
	defer c.close() //nolint:errcheck // nothing depends on it
	spec, err := loadXdpban()
	if err != nil {
		return "", fmt.Errorf("read the kernel program: %w", err)
	}
	for _, m := range spec.Maps {
		m.MaxEntries = max(m.MaxEntries, 1)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return "", explain(fmt.Errorf("load the kernel program: %w", err))
	}
	coll.Close()
	return c.String(), nil
}

// MissingCapabilities lists what this thread lacks of what XDP takes; empty: nothing.
func MissingCapabilities() string { return missingCapabilities() }

// OnBPF reports whether pins at path would be on a bpffs.
func OnBPF(path string) (bool, error) { return onBPF(path) }
