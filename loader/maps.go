package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	errTooBig      = unix.E2BIG  // a full hash map
	errNoSpace     = unix.ENOSPC // a full trie
	errInterrupted = unix.EINTR  // entries went while a trie was read
)

// byName lists the maps by their names in the kernel program.
func (l *Loader) byName() map[string]**ebpf.Map {
	m := &l.maps
	return map[string]**ebpf.Map{
		xdpbanMapAllow:   &m.Allow,
		xdpbanMapBans:    &m.Bans,
		xdpbanMapHeld:    &m.Held,
		xdpbanMapLabels:  &m.Labels,
		xdpbanMapNets:    &m.Nets,
		xdpbanMapPending: &m.Pending,
		xdpbanMapState:   &m.State,
		xdpbanMapTotals:  &m.Totals,
	}
}

// evicted is how many entries the kernel evicts from an LRU map at once, and how many free
// ones each CPU may keep to itself: LOCAL_FREE_TARGET in kernel/bpf/bpf_lru_list.c, before
// Linux 6.16 however small the map is.
const evicted = 128

// sizes of the maps that settings decide. The kernel evicts from bans as soon as no free
// entry is left for a CPU, even when one is only written again: twice the room, and what
// CPUs may keep to themselves, keep that from happening below MaxBans.
func (s Settings) sizes() map[string]uint32 {
	return map[string]uint32{
		xdpbanMapAllow: 2 * s.MaxAllowed, // the next list comes before the last one goes
		xdpbanMapBans:  s.MaxBans + max(s.MaxBans, evicted*uint32(ebpf.MustPossibleCPU()+1)),
		xdpbanMapHeld:  s.MaxBans + 1, // builds that took memory for each ban refuse this kind, and replace one of another size
		xdpbanMapNets:  s.MaxPrefixes,
	}
}

// A predecessor is a pinned map whose bans go on in another one: it has not the wanted
// size or kind, or a Loader died while it put it in force.
type predecessor struct {
	name string
	m    *ebpf.Map
}

// predecessors of the maps that are opened.
type predecessors struct {
	maps []predecessor
	at   uint64 // when they were copied, in ns on the kernel program's clock
}

// Close gives the maps back.
func (p *predecessors) Close() {
	for _, old := range p.maps {
		old.m.Close()
	}
}

// next is the suffix of the pin of a map that is being put in force.
const next = "-new"

// openMaps takes the pinned maps and makes those that are missing. Those whose size or kind
// is not the wanted one are copied; nothing pinned changes yet.
func (l *Loader) openMaps(spec *ebpf.CollectionSpec) (*predecessors, error) {
	now, err := l.clock.now()
	if err != nil {
		return nil, err
	}
	old := &predecessors{at: now.ns}
	sizes := l.settings.sizes()
	for name, target := range l.byName() {
		mapSpec := spec.Maps[name]
		if size, ok := sizes[name]; ok {
			mapSpec.MaxEntries = size
		}
		if err := l.openMap(mapSpec, target, old); err != nil {
			old.Close()
			return nil, err
		}
	}
	return old, nil
}

func (l *Loader) openMap(spec *ebpf.MapSpec, target **ebpf.Map, old *predecessors) error {
	pinned, err := openPinned(spec, l.pin(spec.Name))
	if err != nil {
		return err
	}
	unfinished, err := openPinned(spec, l.pin(spec.Name+next))
	if err != nil {
		pinned.Close()
		return err
	}
	empty := true
	if pinned != nil && alike(pinned, spec.MaxEntries, spec.Flags) {
		*target, pinned, empty = pinned, nil, false
	} else if *target, err = ebpf.NewMap(spec); err != nil {
		err = fmt.Errorf("make map %s: %w", spec.Name, err)
	}
	for _, m := range []*ebpf.Map{pinned, unfinished} {
		if m == nil {
			continue
		}
		old.maps = append(old.maps, predecessor{spec.Name, m})
		if err == nil {
			err = copyMap(spec.Name, *target, m, 0, empty)
		}
		empty = false
	}
	return err
}

// alike reports whether m is what another map of its type would be.
func alike(m *ebpf.Map, size, flags uint32) bool { return m.MaxEntries() == size && m.Flags() == flags }

// openPinned opens the map at path, nil if there is none.
func openPinned(spec *ebpf.MapSpec, path string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned map %s: %w", path, err)
	}
	if m.Type() != spec.Type || m.KeySize() != spec.KeySize || m.ValueSize() != spec.ValueSize {
		m.Close()
		return nil, fmt.Errorf("adopt %s: the map there was made by another build; `xdpban detach` removes it", path)
	}
	return m, nil
}

// copyMap puts into to what of from is not there or ends later there; of bans only those
// that were seen since then, in ns. Where to is empty it is not asked for each.
func copyMap(name string, to, from *ebpf.Map, since uint64, empty bool) error {
	var err error
	switch name {
	case xdpbanMapAllow:
		err = copyEntries(to, from, func(*xdpbanPrefix, *uint32) bool { return true })
	case xdpbanMapNets:
		err = copyEntries(to, from, later[xdpbanPrefix](to, since, empty))
	case xdpbanMapBans, xdpbanMapHeld:
		err = copyEntries(to, from, later[[16]byte](to, since, empty))
	}
	if isFull(err) {
		return fmt.Errorf("shrink map %s from %d to %d entries: more are in force", name, from.MaxEntries(), to.MaxEntries())
	}
	return err
}

// later picks bans that were seen since then and end later than in to.
func later[K any](to *ebpf.Map, since uint64, empty bool) func(*K, *xdpbanBan) bool {
	return func(key *K, v *xdpbanBan) bool {
		if empty || v.Seen < since {
			return v.Seen >= since
		}
		var there xdpbanBan
		// A trie may answer with a wider prefix.
		return to.Lookup(key, &there) != nil || there.Bits != v.Bits || there.End <= v.End
	}
}

// copyEntries puts those of from that are wanted into to, some thousands at a time.
func copyEntries[K, V any](to, from *ebpf.Map, wanted func(*K, *V) bool) error {
	copied := 0
	return each(from, func(keys []K, values []V) error {
		n := 0
		for i := range keys {
			if wanted(&keys[i], &values[i]) {
				keys[n], values[n] = keys[i], values[i]
				n++
			}
		}
		copied += n
		if to.Type() == ebpf.LRUHash && copied > int(to.MaxEntries()/2) {
			return errNoSpace
		}
		return put(to, keys[:n], values[:n])
	})
}

// pinMaps pins the new maps. One that replaces another stays beside it until links use it:
// whoever dies in between leaves both, and the next Loader takes what is later from each.
func (l *Loader) pinMaps(old *predecessors) error {
	for name, m := range l.byName() {
		if (*m).IsPinned() {
			continue
		}
		path := l.pin(name)
		if old.have(name) {
			path += next
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
		if err := (*m).Pin(path); err != nil {
			return fmt.Errorf("pin %s: %w", path, err)
		}
	}
	return nil
}

func (p *predecessors) have(name string) bool {
	return slices.ContainsFunc(p.maps, func(old predecessor) bool { return old.name == name })
}

// settle ends the replacement of maps, now that no link uses the old ones: bans that
// packets moved since the copy are copied again, and bans that belong elsewhere under another
// ipv6_prefix go from where they were.
func (l *Loader) settle(old *predecessors) error {
	for _, from := range old.maps {
		if from.name == xdpbanMapAllow {
			continue
		}
		if err := copyMap(from.name, *l.byName()[from.name], from.m, old.at, false); err != nil {
			return err
		}
	}
	for _, from := range old.maps {
		if err := l.replacePin(from.name); err != nil {
			return err
		}
	}
	return l.dropForeign()
}

// replacePin leaves the map in force as the only one pinned under name.
func (l *Loader) replacePin(name string) error {
	m := *l.byName()[name]
	first, path := l.pin(name+next), l.pin(name)
	pinned, err := openPinned(&ebpf.MapSpec{Type: m.Type(), KeySize: m.KeySize(), ValueSize: m.ValueSize()}, path)
	if err != nil {
		return err
	}
	defer pinned.Close()
	if pinned != nil && alike(pinned, m.MaxEntries(), m.Flags()) {
		err = os.Remove(first)
	} else {
		err = os.Rename(first, path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace pin %s: %w", path, err)
	}
	return nil
}

func (l *Loader) pin(name string) string { return filepath.Join(l.dir, name) }
