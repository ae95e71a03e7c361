package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

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
		err = l.maps.Nets.Lookup(trieKey(p.Prefix()), &v)
		ok = err == nil && v.Bits == p.Bits
	} else {
		err = l.maps.of(p.table).Lookup(p.Addr, &v)
		ok = err == nil
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("read ban of %s: %w", p.Prefix(), err)
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

// atOnce is how many bans go into the kernel together: what is written of them stays in the
// cache from the first step to the last.
const atOnce = 1024

func (l *Loader) enter(bans []ban.Ban, back bool) (err error) {
	s := &l.staging
	if s.now, err = l.clock.about(); err != nil {
		return err
	}
	defer func() { clear(s.bans) }() // else bans of the caller would stay in memory
	var begun []place
	for len(bans) > 0 {
		some := bans[:min(len(bans), atOnce)]
		bans = bans[len(some):]
		if err := l.enterSome(s, some, back); err != nil {
			_, left := l.remove(begun)
			return errors.Join(err, left)
		}
		if len(bans) == 0 {
			break
		}
		for i := range s.bans {
			if s.bans[i].fresh {
				begun = append(begun, s.bans[i].place)
			}
		}
	}
	return nil
}

// enterSome enters bans in one go, or after an error none of those that are new.
func (l *Loader) enterSome(s *staging, bans []ban.Ban, back bool) error {
	s.begin(back)
	for i := range bans {
		if err := l.stage(s, &bans[i]); err != nil {
			return fmt.Errorf("%s: %w", bans[i].Prefix, err)
		}
	}
	return l.write(s.bans)
}

// staged is a ban on its way into the kernel.
type staged struct {
	place
	spot  ban.Spot // in the account
	value xdpbanBan
	ban   *ban.Ban
	seen  time.Time // when its source's last packet came
	fresh bool      // its source had none
	from  table     // else: where that is
}

// A staging is bans that go into the kernel together, atOnce at most and one a source.
type staging struct {
	back bool // they are what was there before
	now  moment
	bans []staged

	slots [2 * atOnce]slot // where sources are in bans, by hash
	round uint32           // those of others are empty

	like  ban.Ban   // the last one that was new, but for whom it concerns
	value xdpbanBan // of that one, without what is its own

	why   label // of the last one staged, as is most likely of the next
	label uint32
}

// A slot says where the ban of a source is staged.
type slot struct {
	round uint32
	i     int32
}

func (s *staging) begin(back bool) {
	if s.round++; s.round == 0 {
		s.round, s.slots = 1, [len(s.slots)]slot{}
	}
	s.back, s.bans, s.like, s.why = back, s.bans[:0], ban.Ban{}, label{}
}

// next is the place for what is staged for the source at spot, that of what is staged for it already.
func (s *staging) next(spot *ban.Spot) (next *staged, twice bool) {
	for at := spot.Hash(); ; at++ {
		slot := &s.slots[at%uint64(len(s.slots))]
		if slot.round != s.round {
			slot.round, slot.i = s.round, int32(len(s.bans))
			s.bans = append(s.bans, staged{})
			return &s.bans[slot.i], false
		}
		if s.bans[slot.i].Source == spot.Source {
			return &s.bans[slot.i], true
		}
	}
}

// stage adds b to s, renewed by what is there.
func (l *Loader) stage(s *staging, b *ban.Ban) error {
	if !b.Prefix.IsValid() {
		return errors.New("not a prefix")
	}
	if prefix := normal(b.Prefix); prefix != b.Prefix {
		other := *b
		other.Prefix, b = prefix, &other
	}
	spot := l.account.Find(b.Prefix)
	next, twice := s.next(&spot)
	if !twice && !spot.Has() {
		return l.stageNew(s, b, &spot, next)
	}
	return l.stageAgain(s, b, &spot, next, twice)
}

// stageNew stages the first ban of a source as next. Of many that differ in nothing else, as those
// of a list, most of it is copied.
func (l *Loader) stageNew(s *staging, b *ban.Ban, spot *ban.Spot, next *staged) error {
	like := *b
	like.Prefix = netip.Prefix{}
	if like != s.like || len(s.bans) == 1 {
		id, err := l.labelOf(s, b)
		if err != nil {
			return err
		}
		s.like, s.value = like, encode(like, s.now, 0, id)
	}
	next.place, next.spot, next.value, next.ban, next.fresh = l.placeOf(b), *spot, s.value, b, true
	next.value.Id, next.value.Bits = l.nextID(), uint8(b.Prefix.Bits())
	l.clear(next)
	return nil
}

// stageAgain stages b, whose source has a ban, as next; twice: that is staged there.
func (l *Loader) stageAgain(s *staging, b *ban.Ban, spot *ban.Spot, next *staged, twice bool) (err error) {
	before, live := *next, true
	if !twice {
		if before, live, err = l.standing(s, b.Prefix); err != nil {
			return err
		}
	}
	again := *b
	switch {
	case live && s.back:
		again = again.Refreshed(before.seen)
	case live:
		again = before.ban.Renewed(again)
	}
	why, err := l.labelOf(s, &again)
	if err != nil {
		return err
	}
	id := before.value.Id
	if !live || id == 0 {
		id = l.nextID()
	}
	*next = staged{place: l.placeOf(&again), spot: *spot, value: encode(again, s.now, id, why), ban: &again, seen: before.seen, fresh: before.fresh, from: before.from}
	l.clear(next)
	if id == before.value.Id {
		next.value.keep(&before.value, !s.back)
	}
	return nil
}

// clear says so of a ban that nothing on the allow list meets.
func (l *Loader) clear(b *staged) {
	if !l.allowed.Overlaps(b.ban.Prefix) {
		b.value.Flags |= flagClear
	}
}

// labelOf is the number of why b was made.
func (l *Loader) labelOf(s *staging, b *ban.Ban) (id uint32, err error) {
	why := label{b.Jail, b.Reason}
	if why == s.why && len(s.bans) > 1 {
		return s.label, nil
	}
	if id, err = l.labels.id(why); err == nil {
		s.why, s.label = why, id
	}
	return id, err
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

// standing finds the ban of prefix, which the account has, in the kernel. One that the kernel
// has lost has no number.
func (l *Loader) standing(s *staging, prefix netip.Prefix) (before staged, live bool, err error) {
	wanted, _ := l.account.Get(prefix)
	before.place = l.placeOf(&wanted)
	before.from = before.table
	value, there, err := l.lookup(before.place)
	if err != nil {
		return before, false, err
	}
	if !there {
		before.ban = &wanted
		return before, wanted.Live(s.now.wall), nil
	}
	r := decode(prefix, &value, s.now, l.labels.names[value.Label])
	before.value, before.ban, before.seen = value, &r.Ban, r.Seen
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
	raised, byLog, renewed := l.contents, l.byLog(), false
	var moved []place
	for i := range bans {
		b := &bans[i]
		renewed = renewed || !b.fresh
		if b.fresh || b.table != b.from {
			raised.add(b.table, 1)
			if b.table == inBans {
				byLog++
			}
		}
		if !b.fresh && b.table != b.from {
			moved = append(moved, place{b.Source, b.from})
		}
	}
	if err := l.fits(raised, byLog, len(bans)); err != nil {
		return err
	}
	if err := l.setContents(raised); err != nil {
		return err
	}
	if err := l.writeTables(bans); err != nil {
		return errors.Join(err, l.takeBack(bans))
	}
	l.account.Expect(len(bans), func(i int) *ban.Spot { return &bans[i].spot })
	for i := range bans {
		l.account.PutAt(&bans[i].spot, bans[i].ban)
	}
	if renewed || raised.Nets > 0 { // a ban comes before that of a prefix around it
		return errors.Join(l.leave(moved), l.lookAgain())
	}
	return nil
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
	if t == inNets {
		return l.settings.MaxPrefixes
	}
	return l.settings.MaxBans
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

// writeTables writes bans into their tables. The sieve is marked first, for the kernel program
// looks for none of them else.
func (l *Loader) writeTables(bans []staged) error {
	for i := range bans {
		if _, err := l.mark(&bans[i].place); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if err := l.writeTable(t, bans); err != nil {
			return err
		}
	}
	return nil
}

// writeTable writes those of bans that belong in t.
func (l *Loader) writeTable(t table, bans []staged) error {
	for some := range slices.Chunk(bans, atOnce) {
		err := l.written.put(l.maps.of(t), t, some)
		if isFull(err) { // somebody else wrote into it
			return l.full(t, len(bans))
		}
		if err != nil {
			return fmt.Errorf("write %d bans: %w", len(bans), err)
		}
	}
	return nil
}

// A writing is room for entries of one table, used again each time.
type writing struct {
	addrs    [][16]byte
	prefixes []xdpbanPrefix
	values   []xdpbanBan
}

// put puts those of bans that belong in t into its map.
func (w *writing) put(m *ebpf.Map, t table, bans []staged) error {
	w.addrs, w.prefixes, w.values = w.addrs[:0], w.prefixes[:0], w.values[:0]
	for i := range bans {
		b := &bans[i]
		if b.table != t {
			continue
		}
		w.values = append(w.values, b.value)
		if t == inNets {
			w.prefixes = append(w.prefixes, trieKey(b.Prefix()))
		} else {
			w.addrs = append(w.addrs, b.Addr)
		}
	}
	if t == inNets {
		return put(m, w.prefixes, w.values)
	}
	return put(m, w.addrs, w.values)
}

// putOne puts v at p.
func (l *Loader) putOne(p place, v *xdpbanBan) error {
	return l.written.put(l.maps.of(p.table), p.table, []staged{{place: p, value: *v}})
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

// idsAhead is how many numbers of bans are taken from the kernel's store together.
const idsAhead = 4096

// setContents notes what the maps hold, and has the kernel know as much of it as is asked for:
// the program asks whether held and nets are empty and which generation it is, the next Loader which
// numbers are free. So most bans take one call.
func (l *Loader) setContents(c xdpbanContents) error {
	if !l.stated.serves(&c) {
		stated := c
		stated.NextId += idsAhead
		if err := l.maps.State.Put(uint32(0), &stated); err != nil {
			return fmt.Errorf("write state: %w", err)
		}
		l.stated = stated
	}
	l.contents = c
	return nil
}

// serves reports whether the kernel may go on to have s where the maps hold c.
func (s *xdpbanContents) serves(c *xdpbanContents) bool {
	return s.NextId >= c.NextId && s.Generation == c.Generation && (s.Held > 0) == (c.Held > 0) && (s.Nets > 0) == (c.Nets > 0)
}

// lookAgain has CPUs look up whose packets they go on to drop: somebody may have been let in.
func (l *Loader) lookAgain() error {
	c := l.contents
	c.change()
	return l.setContents(c)
}

// change makes it another generation.
func (c *xdpbanContents) change() {
	if c.Generation++; c.Generation == 0 {
		c.Generation = 1
	}
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
		l.account.Delete(p.Prefix())
	}
	if l.sieve.isFull(l.account.Len()) {
		err = l.sift()
	}
	return n, err
}

// deletePlaces deletes the bans at places from the kernel, then counts so many less. After an
// error they are counted still: the program looks once more than it must.
func (l *Loader) deletePlaces(places []place) (n int, err error) {
	lowered := l.contents
	lowered.change()
	for _, t := range tables {
		there, err := l.deleteFrom(t, places)
		n += there
		if err != nil {
			return n, fmt.Errorf("delete %d bans: %w", len(places), err)
		}
	}
	for i := range places {
		lowered.add(places[i].table, -1)
	}
	return n, l.setContents(lowered)
}

// deleteFrom deletes those of places that are in t, and counts them.
func (l *Loader) deleteFrom(t table, places []place) (n int, err error) {
	w := &l.written
	w.addrs, w.prefixes = w.addrs[:0], w.prefixes[:0]
	for i := range places {
		switch p := &places[i]; {
		case p.table != t:
		case t == inNets:
			w.prefixes = append(w.prefixes, trieKey(p.Prefix()))
		default:
			w.addrs = append(w.addrs, p.Addr)
		}
	}
	if t == inNets {
		return deleteAll(l.maps.Nets, w.prefixes)
	}
	return deleteAll(l.maps.of(t), w.addrs)
}

// Unban ends the bans of exactly these prefixes and counts those that were there.
func (l *Loader) Unban(prefixes ...netip.Prefix) (n int, err error) {
	spots := make([]ban.Spot, 0, len(prefixes))
	for _, prefix := range prefixes {
		if spot := l.account.Find(normal(prefix)); spot.Has() {
			spots = append(spots, spot)
		}
	}
	slices.SortFunc(spots, ban.Spot.Compare) // many are in order already
	spots = slices.CompactFunc(spots, func(a, b ban.Spot) bool { return a.Compare(b) == 0 })
	places := make([]place, len(spots))
	for i := range spots {
		b := l.account.At(&spots[i])
		places[i] = l.placeOf(&b)
	}
	if n, err = l.remove(places); err != nil {
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
		p := l.placeOf(&b)
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
