package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"xdpban/internal/ban"
)

// mapOf is the map of t.
func (l *Loader) mapOf(t table) *ebpf.Map {
	switch t {
	case inBans:
		return l.maps.Bans
	case inHeld:
		return l.maps.Held
	}
	return l.maps.Nets
}

// lookup reads the ban at p.
func (l *Loader) lookup(p place) (v xdpbanBan, ok bool, err error) {
	if p.table == inNets {
		// A trie answers with the longest prefix that covers the key.
		err = l.maps.Nets.Lookup(trieKey(p.prefix()), &v)
		ok = err == nil && v.Bits == p.bits
	} else {
		err = l.mapOf(p.table).Lookup(p.addr, &v)
		ok = err == nil
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("read ban of %s: %w", p.prefix(), err)
	}
	return v, ok, nil
}

// eachBan calls yield with every ban in the maps, ended ones too.
func (l *Loader) eachBan(yield func(place, *xdpbanBan)) error {
	for _, t := range []table{inBans, inHeld} {
		err := each(l.mapOf(t), func(addr *[16]byte, v *xdpbanBan) {
			yield(place{addr: *addr, bits: v.Bits, table: t}, v)
		})
		if err != nil {
			return err
		}
	}
	return each(l.maps.Nets, func(key *xdpbanPrefix, v *xdpbanBan) {
		yield(placeOf(inNets, prefixOf(*key)), v)
	})
}

// adoptBans learns what the maps hold.
func (l *Loader) adoptBans() error {
	if err := l.maps.State.Lookup(uint32(0), &l.contents); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	used := make(map[uint32]bool)
	foreign := make(map[place]xdpbanBan)
	l.contents.Held, l.contents.Nets = 0, 0
	err := l.eachBan(func(p place, v *xdpbanBan) {
		used[v.Label] = true
		l.contents.NextId = max(l.contents.NextId, v.Id+1)
		l.contents.add(p.table, 1)
		if p.table != inNets && !l.single(p.prefix()) {
			foreign[placeOf(inNets, p.prefix())] = *v
			return
		}
		l.remember(p, v.End)
	})
	if err != nil {
		return err
	}
	if l.labels, err = adoptLabels(l.maps.Labels, used); err != nil {
		return err
	}
	l.contents.Ipv6Prefix = uint32(l.settings.IPv6Prefix)
	if err := l.write(foreign); err != nil {
		return fmt.Errorf("keep bans made under another ipv6_prefix: %w", err)
	}
	return nil
}

// dropForeignKeys deletes bans under keys of another ipv6_prefix, which no program looks
// for any more. They live on as prefixes.
func (l *Loader) dropForeignKeys() error {
	for _, t := range []table{inBans, inHeld} {
		var foreign []place
		err := each(l.mapOf(t), func(addr *[16]byte, v *xdpbanBan) {
			p := place{addr: *addr, bits: v.Bits, table: t}
			if !l.single(p.prefix()) {
				foreign = append(foreign, p)
			}
		})
		if err != nil {
			return err
		}
		for _, p := range foreign {
			if _, err := l.remove(p); err != nil {
				return err
			}
		}
		lowered := l.contents
		lowered.add(t, -len(foreign))
		if err := l.setContents(lowered); err != nil {
			return err
		}
	}
	return nil
}

// Ban makes the bans, or renews those of the same prefixes. A single source banned by
// hand is never evicted. On an error some may have been made; doing it again is safe.
func (l *Loader) Ban(bans ...ban.Ban) error {
	now, err := l.clock.now()
	if err != nil {
		return explain(fmt.Errorf("ban: %w", err))
	}
	values := make(map[place]xdpbanBan, len(bans))
	var moved []place
	for _, b := range bans {
		from, to, err := l.stage(values, b, now)
		if err != nil {
			return explain(fmt.Errorf("ban %s: %w", b.Prefix, err))
		}
		if from != to {
			moved = append(moved, from)
		}
	}
	if err := l.write(values); err != nil {
		return explain(fmt.Errorf("ban: %w", err))
	}
	for _, p := range moved {
		if _, err := l.remove(p); err != nil {
			return explain(fmt.Errorf("ban %s: %w", p.prefix(), err))
		}
	}
	return nil
}

// stage puts b into values, renewed by what is there, and says where that was. A ban by
// hand moves out of reach of eviction; otherwise a ban stays where it is.
func (l *Loader) stage(values map[place]xdpbanBan, b ban.Ban, now moment) (from, to place, err error) {
	if !b.Prefix.IsValid() {
		return from, to, errors.New("not a prefix")
	}
	b.Prefix = normal(b.Prefix)
	to = l.home(b)
	from, there, ok, err := l.standing(values, b.Prefix, now)
	if err != nil {
		return from, to, err
	}
	if !ok {
		from = to
		there.Id = l.nextID()
	} else {
		b = l.decode(b.Prefix, &there, now).Renewed(b)
		if from.table != inBans {
			to = from
		}
	}
	why, err := l.labels.id(label{b.Jail, b.Reason})
	if err != nil {
		return from, to, err
	}
	next := encode(b, now, there.Id, why)
	if !overlaps(l.allowed, b.Prefix) {
		next.Flags |= flagClear
	}
	if ok {
		next.keep(&there)
	}
	delete(values, from)
	values[to] = next
	return from, to, nil
}

// keep takes over what the kernel counted for the ban before, and its exact times: those
// for people are rounded.
func (v *xdpbanBan) keep(before *xdpbanBan) {
	v.Since = before.Since
	v.Seen, v.Packets, v.Bytes, v.Refreshed = before.Seen, before.Packets, before.Bytes, before.Refreshed
	v.End = max(v.End, before.End)
	if v.Limit != noLimit {
		v.Limit = max(v.Limit, before.Limit)
	}
}

// home is where a new ban belongs.
func (l *Loader) home(b ban.Ban) place {
	switch {
	case !l.single(b.Prefix):
		return placeOf(inNets, b.Prefix)
	case b.Hand:
		return placeOf(inHeld, b.Prefix)
	}
	return placeOf(inBans, b.Prefix)
}

// standing finds the live ban of exactly prefix, in values or else in the kernel.
func (l *Loader) standing(values map[place]xdpbanBan, prefix netip.Prefix, now moment) (place, xdpbanBan, bool, error) {
	for _, t := range tables {
		p := placeOf(t, prefix)
		if v, ok := values[p]; ok {
			return p, v, true, nil
		}
		if _, ok := l.known[p]; !ok {
			continue
		}
		v, ok, err := l.lookup(p)
		if err != nil {
			return p, v, false, err
		}
		if ok && v.End > now.ns {
			return p, v, true, nil
		}
	}
	return place{}, xdpbanBan{}, false, nil
}

func (l *Loader) nextID() uint32 {
	if l.contents.NextId == 0 {
		l.contents.NextId = 1
	}
	id := l.contents.NextId
	l.contents.NextId++
	return id
}

// write puts bans into the maps, none of them where a map has not the room. The state is
// raised first: where it says empty the kernel program does not look.
func (l *Loader) write(values map[place]xdpbanBan) error {
	raised := l.contents
	for p := range values {
		if _, ok := l.known[p]; !ok {
			raised.add(p.table, 1)
		}
	}
	if raised.Held > l.maps.Held.MaxEntries() {
		return l.full(inHeld, len(values))
	}
	if raised.Nets > l.maps.Nets.MaxEntries() {
		return l.full(inNets, len(values))
	}
	if err := l.setContents(raised); err != nil {
		return err
	}
	defer func() { // after an error too: some of them may be there
		for p, v := range values {
			l.remember(p, v.End)
		}
	}()
	for _, t := range tables {
		if err := l.writeTable(t, values); err != nil {
			return err
		}
	}
	return nil
}

// full is the error of so many bans for which t has no room.
func (l *Loader) full(t table, bans int) error {
	return fmt.Errorf("write %d bans: the kernel's map %s is full, it holds %d", bans, t, l.mapOf(t).MaxEntries())
}

func (l *Loader) writeTable(t table, values map[place]xdpbanBan) error {
	var places []place
	var bans []xdpbanBan
	for p, v := range values {
		if p.table == t {
			places = append(places, p)
			bans = append(bans, v)
		}
	}
	if len(places) == 0 {
		return nil
	}
	err := l.putPlaces(t, places, bans)
	if isFull(err) {
		return l.full(t, len(places))
	}
	if err != nil {
		return fmt.Errorf("write %d bans: %w", len(places), err)
	}
	return nil
}

func (l *Loader) putPlaces(t table, places []place, bans []xdpbanBan) error {
	if t == inNets {
		keys := make([]xdpbanPrefix, len(places))
		for i, p := range places {
			keys[i] = trieKey(p.prefix())
		}
		return put(l.maps.Nets, keys, bans)
	}
	keys := make([][16]byte, len(places))
	for i, p := range places {
		keys[i] = p.addr
	}
	return put(l.mapOf(t), keys, bans)
}

// String is the name of t's map.
func (t table) String() string {
	switch t {
	case inBans:
		return xdpbanMapBans
	case inHeld:
		return xdpbanMapHeld
	}
	return xdpbanMapNets
}

// add counts n more bans in t.
func (c *xdpbanContents) add(t table, n int) {
	switch t {
	case inHeld:
		c.Held += uint32(n)
	case inNets:
		c.Nets += uint32(n)
	}
}

func (l *Loader) setContents(c xdpbanContents) error {
	if err := l.maps.State.Put(uint32(0), &c); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	l.contents = c
	return nil
}

// remove deletes the ban at p from the kernel and reports whether it was there.
func (l *Loader) remove(p place) (bool, error) {
	var err error
	if p.table == inNets {
		err = l.maps.Nets.Delete(trieKey(p.prefix()))
	} else {
		err = l.mapOf(p.table).Delete(p.addr)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, fmt.Errorf("delete ban of %s: %w", p.prefix(), err)
	}
	there := err == nil
	if _, ok := l.known[p]; !ok {
		return there, nil
	}
	delete(l.known, p)
	if p.table == inBans {
		return there, nil
	}
	lowered := l.contents
	lowered.add(p.table, -1)
	return there, l.setContents(lowered)
}

// Unban ends the bans of exactly these prefixes and counts those that were there.
func (l *Loader) Unban(prefixes ...netip.Prefix) (n int, err error) {
	for _, prefix := range prefixes {
		found := false
		for _, t := range tables {
			p := placeOf(t, normal(prefix))
			if _, ok := l.known[p]; !ok {
				continue
			}
			there, err := l.remove(p)
			if err != nil {
				return n, explain(fmt.Errorf("unban %s: %w", prefix, err))
			}
			found = found || there
		}
		if found {
			n++
		}
	}
	return n, nil
}

// Bans lists the bans in force, those of an earlier Loader too, in no order. Counts lag
// behind by what a CPU drops while they are read.
func (l *Loader) Bans() ([]ban.Record, error) {
	now, err := l.clock.now()
	if err != nil {
		return nil, explain(fmt.Errorf("list bans: %w", err))
	}
	pending, err := l.pending()
	if err != nil {
		return nil, explain(fmt.Errorf("list bans: %w", err))
	}
	records := make([]ban.Record, 0, len(l.known))
	err = l.eachBan(func(p place, v *xdpbanBan) {
		if v.End > now.ns {
			records = append(records, l.record(p, v, now, pending))
		}
	})
	if err != nil {
		return nil, explain(fmt.Errorf("list bans: %w", err))
	}
	return records, nil
}

// Find is the live ban of the longest prefix that covers all of prefix.
func (l *Loader) Find(prefix netip.Prefix) (ban.Record, bool, error) {
	now, err := l.clock.now()
	if err != nil {
		return ban.Record{}, false, explain(fmt.Errorf("find ban of %s: %w", prefix, err))
	}
	prefix = normal(prefix)
	for bits := prefix.Bits(); bits >= 0; bits-- {
		wider := netip.PrefixFrom(prefix.Addr(), bits).Masked()
		p, v, ok, err := l.standing(nil, wider, now)
		if err != nil {
			return ban.Record{}, false, explain(fmt.Errorf("find ban of %s: %w", prefix, err))
		}
		if !ok {
			continue
		}
		pending, err := l.pending()
		return l.record(p, &v, now, pending), err == nil, err
	}
	return ban.Record{}, false, nil
}

// record is the ban v at p with what CPUs still hold of its counts.
func (l *Loader) record(p place, v *xdpbanBan, now moment, pending map[uint32]Count) ban.Record {
	r := l.decode(p.prefix(), v, now)
	r.Packets += pending[v.Id].Packets
	r.Bytes += pending[v.Id].Bytes
	return r
}

// pending sums what CPUs counted and have not added to bans, by the bans' numbers.
func (l *Loader) pending() (map[uint32]Count, error) {
	counts := make(map[uint32]Count)
	var cpus []xdpbanSlot
	for slot := range l.maps.Pending.MaxEntries() {
		if err := l.maps.Pending.Lookup(slot, &cpus); err != nil {
			return nil, fmt.Errorf("read pending counts: %w", err)
		}
		for _, s := range cpus {
			if s.Packets == 0 {
				continue
			}
			c := counts[s.Id]
			counts[s.Id] = Count{c.Packets + s.Packets, c.Bytes + s.Bytes}
		}
	}
	return counts, nil
}
