package loader

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
)

// chunk is how many entries one call moves between kernel and user space.
const chunk = 8192

// each calls yield with all entries of m, some thousands at a time, until it returns an
// error. Kernels that cannot read a kind of map in batches are asked for one entry at a time.
func each[K, V any](m *ebpf.Map, yield func([]K, []V) error) error {
	size := min(chunk, int(m.MaxEntries()))
	keys, values := make([]K, size), make([]V, size)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return eachSingle(m, yield)
		}
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read %s: %w", m, err)
		}
		if err := yield(keys[:n], values[:n]); err != nil || last {
			return err
		}
	}
}

func eachSingle[K, V any](m *ebpf.Map, yield func([]K, []V) error) error {
	n, size := 0, min(chunk, int(m.MaxEntries()))
	keys, values := make([]K, size), make([]V, size)
	entries := m.Iterate()
	for entries.Next(&keys[n], &values[n]) {
		if n++; n < size {
			continue
		}
		if err := yield(keys, values); err != nil {
			return err
		}
		n = 0
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read %s: %w", m, err)
	}
	return yield(keys[:n], values[:n])
}

// put writes entries into m, in batches where the kernel can. An error means that some
// were not written.
func put[K, V any](m *ebpf.Map, keys []K, values []V) error {
	if len(keys) == 1 {
		return putSingle(m, keys, values)
	}
	for len(keys) > 0 {
		n := min(chunk, len(keys))
		_, err := m.BatchUpdate(keys[:n], values[:n], nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return putSingle(m, keys, values)
		}
		if err != nil {
			return err
		}
		keys, values = keys[n:], values[n:]
	}
	return nil
}

// putSingle hands entries over as they lie in memory: ebpf would find out anew for each how that is.
func putSingle[K, V any](m *ebpf.Map, keys []K, values []V) error {
	for i := range keys {
		if err := m.Put(unsafe.Pointer(&keys[i]), unsafe.Pointer(&values[i])); err != nil {
			return err
		}
	}
	return nil
}

// deleteAll deletes keys from m, in batches where the kernel can, and counts those that were
// there. The kernel ends a batch at the first key that is not.
func deleteAll[K any](m *ebpf.Map, keys []K) (there int, err error) {
	for len(keys) > 0 {
		n, err := m.BatchDelete(keys[:min(chunk, len(keys))], nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return deleteSingle(m, keys)
		}
		there += n
		keys = keys[n:]
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			keys = keys[1:]
			continue
		}
		if err != nil {
			return there, err
		}
	}
	return there, nil
}

func deleteSingle[K any](m *ebpf.Map, keys []K) (there int, err error) {
	for i := range keys {
		err := m.Delete(&keys[i])
		if err == nil {
			there++
		} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return there, err
		}
	}
	return there, nil
}
