package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"xdpban/internal/ban"
)

// of is the map of t.
func (m *xdpbanMaps) of(t table) *ebpf.Map {
	switch t {
	case inBans:
		return m.Bans
	case inHeld:
		return m.Held
	}
	return m.Nets
}

// lookup reads the ban at p.
func (l *Loader) lookup(p place) (v xdpbanBan, ok bool, err error) {
	if p.table == inNets {
		// A trie answers with the longest prefix that covers the key.
		err = l.maps.Nets.Lookup(trieKey(p.prefix()), &v)
		ok = err == nil && v.Bits == p.bits
	} else {
		err = l.maps.of(p.table).Lookup(p.addr, &v)
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

// Account is every ban that should be in the maps. The owner of the Loader may read it.
func (l *Loader) Account() *ban.Account { return l.account }

// Ban makes the bans, or renews those of the same prefixes. A single source banned by
// hand is never evicted. On an error none of those that are new stays.
func (l *Loader) Ban(bans ...ban.Ban) error {
	if err := l.enter(bans, false); err != nil {
		return explain(fmt.Errorf("ban: %w", err))
	}
	return nil
}

// Restore makes bans what they were before they were renewed, but for what packets have
// done since.
func (l *Loader) Restore(bans ...ban.Ban) error {
	if err := l.enter(bans, true); err != nil {
		return explain(fmt.Errorf("restore bans: %w", err))
	}
	return nil
}

func (l *Loader) enter(bans []ban.Ban, back bool) (err error) {
	s := &l.staging
	if s.now, err = l.clock.now(); err != nil {
		return err
	}
	s.begin(back, len(bans))
	defer s.end()
	for _, b := range bans {
		if err := l.stage(s, b); err != nil {
			return fmt.Errorf("%s: %w", b.Prefix, err)
		}
	}
	return l.write(s.bans)
}

// staged is a ban on its way into the kernel.
type staged struct {
	place
	value xdpbanBan
	ban   ban.Record
	fresh bool  // its source had none
	from  table // else: where that is
}

// A staging is bans that go into the kernel together, one a source.
type staging struct {
	back bool // they are what was there before
	now  moment
	at   map[source]int // in bans
	bans []staged

	why   label // of the last one staged, as is most likely of the next
	label uint32
}

// keepAtMost is how much room of a staging is kept for the next one.
const keepAtMost = 4096

func (s *staging) begin(back bool, n int) {
	s.back = back
	if s.at == nil {
		s.at = make(map[source]int, n)
	}
	s.bans = slices.Grow(s.bans, n)
}

func (s *staging) end() {
	if len(s.bans) > keepAtMost {
		*s = staging{}
		return
	}
	clear(s.at)
	s.bans = s.bans[:0]
}

// put stages next, in place of what is staged for the same source.
func (s *staging) put(next staged) {
	if i, ok := s.at[next.source]; ok {
		s.bans[i] = next
		return
	}
	s.at[next.source] = len(s.bans)
	s.bans = append(s.bans, next)
}

// stage adds b to s, renewed by what is there.
func (l *Loader) stage(s *staging, b ban.Ban) error {
	if !b.Prefix.IsValid() {
		return errors.New("not a prefix")
	}
	b.Prefix = normal(b.Prefix)
	before, live, err := l.standing(s, b.Prefix)
	if err != nil {
		return err
	}
	switch {
	case live && s.back:
		b = b.Refreshed(before.ban.Seen)
	case live:
		b = before.ban.Renewed(b)
	}
	if why := (label{b.Jail, b.Reason}); why != s.why || len(s.bans) == 0 {
		if s.label, err = l.labels.id(why); err != nil {
			return err
		}
		s.why = why
	}
	next := staged{place: l.placeOf(b), ban: ban.Record{Ban: b}, fresh: before.fresh, from: before.from}
	id := before.value.Id
	if !live || id == 0 {
		id = l.nextID()
	}
	next.value = encode(b, s.now, id, s.label)
	if !l.allowed.Overlaps(b.Prefix) {
		next.value.Flags |= flagClear
	}
	if id == before.value.Id {
		next.value.keep(&before.value, !s.back)
	}
	s.put(next)
	return nil
}

// keep takes over what the kernel counted for the ban before, and its exact times: those
// for people are rounded.
func (v *xdpbanBan) keep(before *xdpbanBan, ends bool) {
	v.Since = before.Since
	v.Seen, v.Packets, v.Bytes, v.Refreshed = before.Seen, before.Packets, before.Bytes, before.Refreshed
	if !ends {
		return
	}
	v.End = max(v.End, before.End)
	if v.Limit != noLimit {
		v.Limit = max(v.Limit, before.Limit)
	}
}

// standing finds the ban of prefix, in s or else in the kernel. One that is wanted, and that
// the kernel has lost, has no number.
func (l *Loader) standing(s *staging, prefix netip.Prefix) (before staged, live bool, err error) {
	if i, ok := s.at[sourceOf(prefix)]; ok {
		return s.bans[i], true, nil
	}
	wanted, ok := l.account.Get(prefix)
	if !ok {
		return staged{fresh: true}, false, nil
	}
	before.place = l.placeOf(wanted)
	before.from = before.table
	value, there, err := l.lookup(before.place)
	if err != nil {
		return before, false, err
	}
	if !there {
		before.ban.Ban = wanted
		return before, wanted.Live(s.now.wall), nil
	}
	before.value, before.ban = value, decode(prefix, &value, s.now, l.labels.names[value.Label])
	return before, value.End > s.now.ns, nil
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
	raised, byLog := l.contents, l.byLog()
	var moved []place
	for i := range bans {
		b := &bans[i]
		if b.fresh || b.table != b.from {
			raised.add(b.table, 1)
			if b.table == inBans {
				byLog++
			}
		}
		if !b.fresh && b.table != b.from {
			moved = append(moved, place{b.source, b.from})
		}
	}
	if err := l.fits(raised, byLog, len(bans)); err != nil {
		return err
	}
	if err := l.setContents(raised); err != nil {
		return err
	}
	for _, t := range tables {
		if err := l.writeTable(t, bans); err != nil {
			return errors.Join(err, l.takeBack(bans))
		}
	}
	for i := range bans {
		l.account.Put(bans[i].ban.Ban)
	}
	return l.leave(moved)
}

// byLog is how many bans there are in the table of those that logs led to. The others are
// counted where the kernel program sees it.
func (l *Loader) byLog() int {
	return l.account.Len() - int(l.contents.Held) - int(l.contents.Nets)
}

// fits is the error of a table that would hold more than it may. That of bans has more room
// than it may use: full, it would evict.
func (l *Loader) fits(raised xdpbanContents, byLog, bans int) error {
	switch {
	case byLog > int(l.room(inBans)) && byLog > l.byLog():
		return l.full(inBans, bans)
	case raised.Held > l.room(inHeld):
		return l.full(inHeld, bans)
	case raised.Nets > l.room(inNets):
		return l.full(inNets, bans)
	}
	return nil
}

// room is how many bans t may hold.
func (l *Loader) room(t table) uint32 {
	if t == inBans {
		return l.settings.MaxBans
	}
	return l.maps.of(t).MaxEntries()
}

// full is the error of so many bans for which t has no room.
func (l *Loader) full(t table, bans int) error {
	return fmt.Errorf("write %d bans: the kernel's map %s is full, it holds %d", bans, t, l.room(t))
}

// takeBack deletes those of bans that are new where they are, after some could not be
// written.
func (l *Loader) takeBack(bans []staged) error {
	var places []place
	for i := range bans {
		if bans[i].fresh || bans[i].table != bans[i].from {
			places = append(places, bans[i].place)
		}
	}
	if _, err := l.deletePlaces(places); err != nil {
		return fmt.Errorf("take back what was done: %w", err)
	}
	return nil
}

// writeTable writes those of bans that belong in t.
func (l *Loader) writeTable(t table, bans []staged) error {
	var places []place
	var values []xdpbanBan
	for i := range bans {
		if bans[i].table != t {
			continue
		}
		if places == nil {
			places, values = make([]place, 0, len(bans)-i), make([]xdpbanBan, 0, len(bans)-i)
		}
		places, values = append(places, bans[i].place), append(values, bans[i].value)
	}
	err := l.putPlaces(t, places, values)
	if isFull(err) { // somebody else wrote into it
		return l.full(t, len(places))
	}
	if err != nil {
		return fmt.Errorf("write %d bans: %w", len(places), err)
	}
	return nil
}

func (l *Loader) putPlaces(t table, places []place, bans []xdpbanBan) error {
	if t == inNets {
		return put(l.maps.Nets, trieKeys(places), bans)
	}
	return put(l.maps.of(t), addresses(places), bans)
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
		l.account.Delete(p.prefix())
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
	return deleteAll(l.maps.of(t), addresses(places))
}

// Unban ends the bans of exactly these prefixes and counts those that were there.
func (l *Loader) Unban(prefixes ...netip.Prefix) (n int, err error) {
	places := make([]place, 0, len(prefixes))
	for _, prefix := range prefixes {
		if b, ok := l.account.Get(normal(prefix)); ok {
			places = append(places, l.placeOf(b))
		}
	}
	slices.SortFunc(places, comparePlaces)
	n, err = l.remove(slices.Compact(places))
	if err != nil {
		err = explain(fmt.Errorf("unban: %w", err))
	}
	return n, err
}

// Find is the live ban of the longest prefix that covers all of prefix.
func (l *Loader) Find(prefix netip.Prefix) (ban.Record, bool, error) {
	found, ok, err := l.find(normal(prefix))
	if err != nil {
		err = explain(fmt.Errorf("find ban of %s: %w", prefix, err))
	}
	return found, ok, err
}

func (l *Loader) find(prefix netip.Prefix) (ban.Record, bool, error) {
	now, err := l.clock.now()
	if err != nil {
		return ban.Record{}, false, err
	}
	for bits := prefix.Bits(); bits >= 0; bits-- {
		b, ok := l.account.Get(netip.PrefixFrom(prefix.Addr(), bits).Masked())
		if !ok {
			continue
		}
		p := l.placeOf(b)
		v, there, err := l.lookup(p)
		if err != nil {
			return ban.Record{}, false, err
		}
		if !there || v.End <= now.ns {
			continue
		}
		counts, err := pending(l.maps.Pending)
		return record(p, &v, now, l.labels.names[v.Label], counts), err == nil, err
	}
	return ban.Record{}, false, nil
}
