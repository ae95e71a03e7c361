package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

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
			yield(place{source{*addr, v.Bits}, t}, v)
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
	var foreign staging
	l.contents.Held, l.contents.Nets = 0, 0
	err := l.eachBan(func(p place, v *xdpbanBan) {
		used[v.Label] = true
		l.contents.NextId = max(l.contents.NextId, v.Id+1)
		l.contents.add(p.table, 1)
		if p.table != inNets && !l.single(p.prefix()) {
			foreign.put(placeOf(inNets, p.prefix()), *v)
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
	if err := l.write(foreign.bans); err != nil {
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
			p := place{source{*addr, v.Bits}, t}
			if !l.single(p.prefix()) {
				foreign = append(foreign, p)
			}
		})
		if err != nil {
			return err
		}
		if _, err := deleteAll(l.mapOf(t), addresses(foreign)); err != nil {
			return err
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
	s := staging{at: make(map[source]int, len(bans)), bans: make([]staged, 0, len(bans))}
	for _, b := range bans {
		if err := l.stage(&s, b, now); err != nil {
			return explain(fmt.Errorf("ban %s: %w", b.Prefix, err))
		}
	}
	if err := l.write(s.bans); err != nil {
		return explain(fmt.Errorf("ban: %w", err))
	}
	return nil
}

// staged is a ban on its way into the kernel.
type staged struct {
	place
	value xdpbanBan
}

// A staging is bans that go into the kernel together, one a source.
type staging struct {
	at   map[source]int // in bans
	bans []staged

	why   label // of the last one staged, as is most likely of the next
	label uint32
}

// put stages v at p, in place of what is staged for the same source.
func (s *staging) put(p place, v xdpbanBan) {
	if i, ok := s.at[p.source]; ok {
		s.bans[i] = staged{p, v}
		return
	}
	if s.at == nil {
		s.at = make(map[source]int)
	}
	s.at[p.source] = len(s.bans)
	s.bans = append(s.bans, staged{p, v})
}

// stage adds b to s, renewed by what is there. A ban by hand moves out of reach of eviction;
// otherwise a ban stays where it is.
func (l *Loader) stage(s *staging, b ban.Ban, now moment) error {
	if !b.Prefix.IsValid() {
		return errors.New("not a prefix")
	}
	b.Prefix = normal(b.Prefix)
	to := l.home(b)
	before, ok, err := l.standing(s, to.source, now)
	if err != nil {
		return err
	}
	id := before.value.Id
	if !ok {
		id = l.nextID()
	} else {
		b = l.decode(b.Prefix, &before.value, now).Renewed(b)
		if before.table != inBans {
			to.table = before.table
		}
	}
	if why := (label{b.Jail, b.Reason}); why != s.why || len(s.bans) == 0 {
		if s.label, err = l.labels.id(why); err != nil {
			return err
		}
		s.why = why
	}
	v := encode(b, now, id, s.label)
	if !overlaps(l.allowed, b.Prefix) {
		v.Flags |= flagClear
	}
	if ok {
		v.keep(&before.value)
	}
	s.put(to, v)
	return nil
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

// standing finds the live ban of src, in s or else in the kernel.
func (l *Loader) standing(s *staging, src source, now moment) (found staged, ok bool, err error) {
	if i, ok := s.at[src]; ok {
		return s.bans[i], true, nil
	}
	k, ok := l.known[src]
	if !ok {
		return staged{}, false, nil
	}
	found.place = place{src, k.table}
	found.value, ok, err = l.lookup(found.place)
	return found, ok && found.value.End > now.ns, err
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
// raised first: where it says empty the kernel program does not look. Who moves to another
// table is in both for a moment, and in none at no time.
func (l *Loader) write(bans []staged) error {
	raised := l.contents
	var moved []place
	for i := range bans {
		k, ok := l.known[bans[i].source]
		if !ok || k.table != bans[i].table {
			raised.add(bans[i].table, 1)
		}
		if ok && k.table != bans[i].table {
			moved = append(moved, place{bans[i].source, k.table})
		}
	}
	if raised.Held > l.maps.Held.MaxEntries() {
		return l.full(inHeld, len(bans))
	}
	if raised.Nets > l.maps.Nets.MaxEntries() {
		return l.full(inNets, len(bans))
	}
	if err := l.setContents(raised); err != nil {
		return err
	}
	defer func() { // after an error too: some of them may be there
		for i := range bans {
			l.remember(bans[i].place, bans[i].value.End)
		}
	}()
	for _, t := range tables {
		if err := l.writeTable(t, bans); err != nil {
			return err
		}
	}
	return l.leave(moved)
}

// full is the error of so many bans for which t has no room.
func (l *Loader) full(t table, bans int) error {
	return fmt.Errorf("write %d bans: the kernel's map %s is full, it holds %d", bans, t, l.mapOf(t).MaxEntries())
}

// writeTable writes those of bans that belong in t.
func (l *Loader) writeTable(t table, bans []staged) error {
	n := 0
	for i := range bans {
		if bans[i].table == t {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	places, values := make([]place, 0, n), make([]xdpbanBan, 0, n)
	for i := range bans {
		if bans[i].table == t {
			places, values = append(places, bans[i].place), append(values, bans[i].value)
		}
	}
	err := l.putPlaces(t, places, values)
	if isFull(err) {
		return l.full(t, n)
	}
	if err != nil {
		return fmt.Errorf("write %d bans: %w", n, err)
	}
	return nil
}

func (l *Loader) putPlaces(t table, places []place, bans []xdpbanBan) error {
	if t == inNets {
		return put(l.maps.Nets, trieKeys(places), bans)
	}
	return put(l.mapOf(t), addresses(places), bans)
}

// addresses are the keys of places in bans and held.
func addresses(places []place) [][16]byte {
	keys := make([][16]byte, len(places))
	for i, p := range places {
		keys[i] = p.addr
	}
	return keys
}

// trieKeys are the keys of places in nets.
func trieKeys(places []place) []xdpbanPrefix {
	keys := make([]xdpbanPrefix, len(places))
	for i, p := range places {
		keys[i] = trieKey(p.prefix())
	}
	return keys
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

// leave deletes bans at places that they have moved away from.
func (l *Loader) leave(places []place) error {
	if len(places) == 0 {
		return nil
	}
	_, err := l.deletePlaces(places)
	return err
}

// remove deletes the bans at places, of which all are known, and counts those that were there.
func (l *Loader) remove(places []place) (n int, err error) {
	if len(places) == 0 {
		return 0, nil
	}
	if n, err = l.deletePlaces(places); err != nil {
		return n, err
	}
	for _, p := range places {
		delete(l.known, p.source)
	}
	return n, nil
}

// deletePlaces deletes the bans at places from the kernel, then counts so many less. After an
// error they are counted still: the program looks once more than it must.
func (l *Loader) deletePlaces(places []place) (n int, err error) {
	lowered := l.contents
	for _, t := range tables {
		var here []place
		for _, p := range places {
			if p.table == t {
				here = append(here, p)
			}
		}
		there, err := l.deleteFrom(t, here)
		n += there
		if err != nil {
			return n, fmt.Errorf("delete %d bans: %w", len(here), err)
		}
		lowered.add(t, -len(here))
	}
	return n, l.setContents(lowered)
}

func (l *Loader) deleteFrom(t table, places []place) (n int, err error) {
	if t == inNets {
		return deleteAll(l.maps.Nets, trieKeys(places))
	}
	return deleteAll(l.mapOf(t), addresses(places))
}

// Unban ends the bans of exactly these prefixes and counts those that were there.
func (l *Loader) Unban(prefixes ...netip.Prefix) (n int, err error) {
	places := make([]place, 0, len(prefixes))
	for _, prefix := range prefixes {
		src := sourceOf(normal(prefix))
		if k, ok := l.known[src]; ok {
			places = append(places, place{src, k.table})
		}
	}
	slices.SortFunc(places, comparePlaces)
	n, err = l.remove(slices.Compact(places))
	if err != nil {
		err = explain(fmt.Errorf("unban: %w", err))
	}
	return n, err
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
		found, ok, err := l.standing(&staging{}, sourceOf(wider), now)
		if err != nil {
			return ban.Record{}, false, explain(fmt.Errorf("find ban of %s: %w", prefix, err))
		}
		if !ok {
			continue
		}
		pending, err := l.pending()
		return l.record(found.place, &found.value, now, pending), err == nil, err
	}
	return ban.Record{}, false, nil
}

// record is the ban v at p with what CPUs still hold of its counts.
func (l *Loader) record(p place, v *xdpbanBan, now moment, pending map[uint32]ban.Count) ban.Record {
	r := l.decode(p.prefix(), v, now)
	r.Packets += pending[v.Id].Packets
	r.Bytes += pending[v.Id].Bytes
	return r
}

// pending sums what CPUs counted and have not added to bans, by the bans' numbers.
func (l *Loader) pending() (map[uint32]ban.Count, error) {
	counts := make(map[uint32]ban.Count)
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
			counts[s.Id] = ban.Count{Packets: c.Packets + s.Packets, Bytes: c.Bytes + s.Bytes}
		}
	}
	return counts, nil
}
