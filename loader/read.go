package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"xdpban/internal/ban"
)

// A reader reads bans in the kernel, and nothing of the Loader that changes: it may be used
// while the Loader goes on.
type reader struct {
	maps    *xdpbanMaps
	now     moment // when it was made
	pending map[uint32]ban.Count
	why     map[uint32]label // as far as they have been asked for
}

func (l *Loader) reader() (*reader, error) {
	now, err := l.clock.now()
	if err != nil {
		return nil, err
	}
	counts, err := pending(l.maps.Pending)
	return &reader{&l.maps, now, counts, make(map[uint32]label)}, err
}

// found is a ban in the kernel.
type found struct {
	place
	value xdpbanBan
}

// each calls yield with all bans in the maps, ended ones too, some thousands at a time, in
// no order. Bans that come or go meanwhile may be among them or not; one that an operator
// takes over from a jail may be among them twice. The slice is used again.
func (r *reader) each(yield func([]found) error) error {
	var list []found
	for _, t := range []table{inBans, inHeld} {
		err := each(r.maps.of(t), func(addrs [][16]byte, values []xdpbanBan) error {
			list = list[:0]
			for i := range addrs {
				list = append(list, found{place{ban.Source{Addr: addrs[i], Bits: values[i].Bits}, t}, values[i]})
			}
			return yield(list)
		})
		if err != nil {
			return err
		}
	}
	return r.eachNet(yield)
}

// eachNet reads the bans of prefixes. Where one goes that a trie is just being read at, the
// kernel begins anew or breaks off, so that we have to know which we have had.
func (r *reader) eachNet(yield func([]found) error) error {
	had := make(map[xdpbanPrefix]struct{})
	read := func(keys []xdpbanPrefix, values []xdpbanBan) error {
		var list []found
		for i, key := range keys {
			if _, twice := had[key]; !twice {
				had[key] = struct{}{}
				list = append(list, found{placeIn(inNets, prefixOf(key)), values[i]})
			}
		}
		return yield(list)
	}
	for {
		err := each(r.maps.Nets, read)
		if !errors.Is(err, errInterrupted) && !errors.Is(err, ebpf.ErrIterationAborted) {
			return err
		}
	}
}

// record is the ban f as people read it.
func (r *reader) record(f *found) (ban.Record, error) {
	why, known := r.why[f.value.Label]
	if !known {
		var err error
		if why, err = readLabel(r.maps.Labels, f.value.Label); err != nil {
			return ban.Record{}, err
		}
		r.why[f.value.Label] = why
	}
	return record(f.place, &f.value, r.now, why, r.pending), nil
}

// record is the ban v at p with what CPUs still hold of its counts.
func record(p place, v *xdpbanBan, now moment, why label, pending map[uint32]ban.Count) ban.Record {
	r := decode(p.Prefix(), v, now, why)
	r.Packets += pending[v.Id].Packets
	r.Bytes += pending[v.Id].Bytes
	return r
}

// pending sums what CPUs counted and have not added to bans, by the bans' numbers.
func pending(m *ebpf.Map) (map[uint32]ban.Count, error) {
	counts := make(map[uint32]ban.Count)
	sum := func(slots []xdpbanSlot) {
		for i := range slots {
			if s := &slots[i]; s.Packets > 0 {
				c := counts[s.Id]
				counts[s.Id] = ban.Count{Packets: c.Packets + s.Packets, Bytes: c.Bytes + s.Bytes}
			}
		}
	}
	keys := make([]uint32, m.MaxEntries())
	slots := make([]xdpbanSlot, len(keys)*ebpf.MustPossibleCPU())
	var cursor ebpf.MapBatchCursor
	_, err := m.BatchLookup(&cursor, keys, slots, nil)
	if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
		sum(slots)
		return counts, nil
	}
	if !errors.Is(err, ebpf.ErrNotSupported) {
		return nil, fmt.Errorf("read pending counts: %w", err)
	}
	for slot := range m.MaxEntries() {
		var cpus []xdpbanSlot
		if err := m.Lookup(slot, &cpus); err != nil {
			return nil, fmt.Errorf("read pending counts: %w", err)
		}
		sum(cpus)
	}
	return counts, nil
}

// Each calls yield with every ban in force, those of an earlier Loader too, until it says no.
// It is the one method that any goroutine may call beside the owner's, who must not close
// the Loader meanwhile. Bans that are made or end meanwhile may be among them or not; one
// that an operator takes over from a jail may be among them twice. Counts lag behind by
// what a CPU drops while they are read.
func (l *Loader) Each(yield func(ban.Record) bool) error {
	r, err := l.reader()
	if err == nil {
		err = r.each(func(list []found) error { return r.yield(list, yield) })
	}
	if err != nil && !errors.Is(err, errEnough) {
		return explain(fmt.Errorf("list bans: %w", err))
	}
	return nil
}

// errEnough ends reading early.
var errEnough = errors.New("enough")

// yield calls yield with those of list that are in force.
func (r *reader) yield(list []found, yield func(ban.Record) bool) error {
	for i := range list {
		if list[i].value.End <= r.now.ns {
			continue
		}
		record, err := r.record(&list[i])
		if err != nil {
			return err
		}
		if !yield(record) {
			return errEnough
		}
	}
	return nil
}

// Bans lists what Each yields.
func (l *Loader) Bans() ([]ban.Record, error) {
	records := make([]ban.Record, 0, l.account.Len())
	return records, l.Each(func(r ban.Record) bool {
		records = append(records, r)
		return true
	})
}
