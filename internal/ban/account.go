package ban

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"iter"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"
)

// An Account holds bans, one a prefix, in little memory: 40 bytes each and no pointer, so
// that a million of them are nothing that the garbage collector has to look at. Times are
// kept to the second: an end is rounded up, and is in 2106 at most.
//
// It is made of many pages. Each is so short that whoever walks through all of them can do
// something else after every one, and knows which of its bans ends first, so that nobody
// walks through all of them to find out which have ended.
type Account struct {
	pages [pages]*page // nil: none of its bans has come yet
	seed  maphash.Seed
	len   int

	kinds []kind // what many bans have in common, by number
	known map[kindOf]uint32
	last  uint32   // the kind that was taken last, as is most likely to be next
	free  []uint32 // numbers of kinds that no ban has

	round uint8 // of the comparison that goes on, or was the last
}

// pages is how many an Account has: with a million bans one holds 122.
const pages = 1 << 13

// A page holds the bans of addresses that have some bits of their hash in common, in no
// order. Of each it has a byte more of the hash apart, so that finding one reads two lines
// of the cache and no long way.
type page struct {
	tags    []uint8
	entries []entry
	first   uint32 // no ban of these ends before it
}

// An entry is a ban.
type entry struct {
	Source
	flags uint8
	marks [Places]uint8 // the round in which it was noted in each place

	since, end  uint32 // seconds since 1970
	limit, seen uint32 // the same; 0: none
	kind        uint32
}

const (
	flagHand = 1 << iota
	flagForced
)

// A kindOf is what many bans have in common.
type kindOf struct {
	jail, reason string
	quiet        time.Duration
}

// A kind is one of them and how many bans have it.
type kind struct {
	kindOf
	bans int
}

// NewAccount makes an empty Account.
func NewAccount() *Account {
	return &Account{seed: maphash.MakeSeed(), known: make(map[kindOf]uint32)}
}

// Len is how many bans there are.
func (a *Account) Len() int { return a.len }

// Has reports whether there is a ban of exactly this prefix.
func (a *Account) Has(prefix netip.Prefix) bool {
	at := a.Find(prefix)
	return at.Has()
}

// Get is the ban of exactly this prefix.
func (a *Account) Get(prefix netip.Prefix) (Ban, bool) {
	at := a.Find(prefix)
	if !at.Has() {
		return Ban{}, false
	}
	return a.ban(at.entry()), true
}

// At is the ban at a spot that has one.
func (a *Account) At(s *Spot) Ban { return a.ban(s.entry()) }

// Put takes b in, in place of the ban of the same prefix.
func (a *Account) Put(b Ban) {
	at := a.Find(b.Prefix)
	a.PutAt(&at, &b)
}

// PutAt takes b in at the spot of its prefix.
func (a *Account) PutAt(at *Spot, b *Ban) {
	next := entry{Source: at.Source, marks: [Places]uint8{a.round, a.round}}
	next.since, next.end, next.limit = seconds(b.Since), secondsUp(b.End), secondsUp(b.Limit)
	if b.Hand {
		next.flags |= flagHand
	}
	if b.Forced {
		next.flags |= flagForced
	}
	next.kind = a.take(kindOf{b.Jail, b.Reason, b.Quiet})
	if before := at.entry(); before != nil {
		next.seen, next.marks = before.seen, before.marks
		a.drop(before.kind)
		*before = next
	} else {
		at.page = a.open(int(at.number))
		at.page.add(at.tag, next)
		a.len++
	}
	at.page.first = min(at.page.first, next.end)
}

// Delete takes out the ban of exactly this prefix and reports whether there was one.
func (a *Account) Delete(prefix netip.Prefix) bool {
	at := a.Find(prefix)
	if !at.Has() {
		return false
	}
	a.drop(at.entry().kind)
	at.page.remove(int(at.i))
	a.len--
	return true
}

// Move sets the end of a ban, which packets have moved or the clock on the wall.
func (a *Account) Move(prefix netip.Prefix, end time.Time) {
	at := a.Find(prefix)
	if e := at.entry(); e != nil {
		e.end = secondsUp(end)
		at.page.first = min(at.page.first, e.end)
	}
}

// Note takes note of r, found in that place, whose end and last packet the kernel may have
// moved. It says when the packet came that was the last one so far, zero: none, and whether
// there is such a ban at all.
func (a *Account) Note(r Record, place int) (seen time.Time, ok bool) {
	at := a.Find(r.Prefix)
	e := at.entry()
	if e == nil {
		return time.Time{}, false
	}
	seen = timeOf(e.seen)
	e.marks[place] = a.round
	e.end = max(e.end, secondsUp(r.End))
	e.seen = max(e.seen, seconds(r.Seen))
	return seen, true
}

// Due lists some of the bans whose end has come, most at most. They are due until they are
// deleted or prolonged.
func (a *Account) Due(now time.Time, most int) []netip.Prefix {
	var due []netip.Prefix
	at := seconds(now)
	for _, p := range a.pages {
		if p == nil || p.first > at {
			continue
		}
		p.first = math.MaxUint32
		for n := range p.entries {
			e := &p.entries[n]
			p.first = min(p.first, e.end)
			if e.end <= at && len(due) < most {
				due = append(due, e.Prefix())
			}
		}
		if len(due) == most {
			break
		}
	}
	return due
}

// Pages is how many pages there are.
func (a *Account) Pages() int { return pages }

// PageLen is how many bans page n has.
func (a *Account) PageLen(n int) int { return len(a.page(n).entries) }

// Page yields the bans of page n. The Account must not change meanwhile.
func (a *Account) Page(n int) iter.Seq[Ban] {
	return func(yield func(Ban) bool) {
		p := a.page(n)
		for i := range p.entries {
			if !yield(a.ban(&p.entries[i])) {
				return
			}
		}
	}
}

// All yields every ban. The Account must not change meanwhile.
func (a *Account) All(yield func(Ban) bool) {
	for n := range pages {
		for b := range a.Page(n) {
			if !yield(b) {
				return
			}
		}
	}
}

// Meeting lists the bans that have addresses in common with prefixes in set. Where all of
// these are single addresses it walks through no pages.
func (a *Account) Meeting(set *Set) []Ban {
	met := make(map[netip.Prefix]Ban)
	for prefix := range set.All {
		if !prefix.IsSingleIP() {
			return a.meeting(set)
		}
		for bits := prefix.Bits(); bits >= 0; bits-- {
			if b, ok := a.Get(netip.PrefixFrom(prefix.Addr(), bits).Masked()); ok {
				met[b.Prefix] = b
			}
		}
	}
	return slices.Collect(maps.Values(met))
}

func (a *Account) meeting(set *Set) []Ban {
	var met []Ban
	for b := range a.All {
		if set.Overlaps(b.Prefix) {
			met = append(met, b)
		}
	}
	return met
}

// Jails is how many bans each jail has.
func (a *Account) Jails() map[string]int {
	jails := make(map[string]int)
	for _, k := range a.kinds {
		if k.bans > 0 {
			jails[k.jail] += k.bans
		}
	}
	return jails
}

// Places is in how many places a comparison may look for bans.
const Places = 2

// Begin begins a comparison: no ban has been noted in any place. Those that are put in while
// it goes on count as noted.
func (a *Account) Begin() {
	a.round++
	if a.round > 1 {
		return
	}
	for n := range pages { // after 255 rounds, and at first: old marks must not be taken for new ones
		p := a.page(n)
		for i := range p.entries {
			p.entries[i].marks = [Places]uint8{}
		}
	}
	a.round = 1
}

// Unseen lists the bans of page n that have not been noted in that place.
func (a *Account) Unseen(n, place int) []Ban {
	var bans []Ban
	p := a.page(n)
	for i := range p.entries {
		if e := &p.entries[i]; e.marks[place] != a.round {
			bans = append(bans, a.ban(e))
		}
	}
	return bans
}

func (a *Account) ban(e *entry) Ban {
	k := &a.kinds[e.kind]
	return Ban{
		Prefix: e.Prefix(), Jail: k.jail, Reason: k.reason, Quiet: k.quiet,
		Since: timeOf(e.since), End: timeOf(e.end), Limit: timeOf(e.limit),
		Hand: e.flags&flagHand != 0, Forced: e.flags&flagForced != 0,
	}
}

// take is the number of a kind that one more ban has.
func (a *Account) take(of kindOf) uint32 {
	id, ok := a.last, len(a.kinds) > 0 && a.kinds[a.last].bans > 0 && a.kinds[a.last].kindOf == of
	if !ok {
		id, ok = a.known[of]
	}
	switch {
	case ok:
	case len(a.free) > 0:
		id, a.free = a.free[len(a.free)-1], a.free[:len(a.free)-1]
		a.kinds[id], a.known[of] = kind{of, 0}, id
	default:
		id = uint32(len(a.kinds))
		a.kinds = append(a.kinds, kind{of, 0})
		a.known[of] = id
	}
	a.kinds[id].bans++
	a.last = id
	return id
}

// drop notes that one ban less has the kind, which is forgotten with the last.
func (a *Account) drop(id uint32) {
	a.kinds[id].bans--
	if a.kinds[id].bans > 0 {
		return
	}
	delete(a.known, a.kinds[id].kindOf)
	a.kinds[id] = kind{}
	a.free = append(a.free, id)
}

// A Spot is where the ban of a prefix is, or would be. It holds while nothing is deleted, and where
// its ban is missing until that is put in.
type Spot struct {
	Source
	tag    uint8
	number uint16 // of the page
	i      int32  // on page; below 0: it is not there
	page   *page
	hash   uint64
}

// Has reports whether there is a ban.
func (s *Spot) Has() bool { return s.i >= 0 }

// Hash is a number by which sources can be told apart quickly, on one page too. Nobody can choose
// addresses that have the same.
func (s *Spot) Hash() uint64 { return s.hash / pages }

// Compare orders spots that have bans as the pages do.
func (s Spot) Compare(other Spot) int {
	return cmp.Or(cmp.Compare(s.number, other.number), cmp.Compare(s.i, other.i))
}

// entry is what is at s; nil: nothing.
func (s *Spot) entry() *entry {
	if s.i < 0 {
		return nil
	}
	return &s.page.entries[s.i]
}

// Find finds the spot of exactly this prefix.
func (a *Account) Find(prefix netip.Prefix) Spot {
	s := Spot{Source: SourceOf(prefix)}
	s.hash = a.hash(&s.Source)
	s.number, s.tag = pageOf(s.hash), tagOf(s.hash)
	s.page = a.page(int(s.number))
	for from := 0; ; from = int(s.i) + 1 {
		next := bytes.IndexByte(s.page.tags[from:], s.tag)
		if next < 0 {
			s.i = -1
			return s
		}
		if s.i = int32(from + next); s.page.entries[s.i].Source == s.Source {
			return s
		}
	}
}

// blank is a page without bans. Nobody writes to it.
var blank page

// page is page n to be read, or to change what is on it.
func (a *Account) page(n int) *page {
	if p := a.pages[n]; p != nil {
		return p
	}
	return &blank
}

// open is page n to be added to. Pages are made when their first ban comes: they lie side by
// side then, and an account of a few bans touches little memory.
func (a *Account) open(n int) *page {
	if a.pages[n] == nil {
		a.pages[n] = new(page)
	}
	return a.pages[n]
}

func (a *Account) hash(s *Source) uint64 { return maphash.Bytes(a.seed, s.Addr[:]) }

// pageOf is the number of the page on which what has that hash is, or would be.
func pageOf(hash uint64) uint16 { return uint16(hash % pages) }

// tagOf is the byte of that hash by which a page finds a source.
func tagOf(hash uint64) uint8 { return uint8(hash >> 56) }

// Arrange puts the prefixes of l in the order of the pages, each of them once. Whoever goes through
// many in that order has the page that he needs next in the cache. Any goroutine may call it.
func (a *Account) Arrange(l *List) {
	begin, once := 0, 0
	var tags []uint8 // of those of one page, by which it finds whom it has had
	for _, end := range a.byPage(l) {
		tags = tags[:0]
		for first := once; begin < end; begin++ {
			s := l.at(begin)
			tag := tagOf(a.hash(s))
			if l.has(s, tag, first, tags) {
				continue
			}
			tags = append(tags, tag)
			*l.at(once) = *s
			once++
		}
	}
	l.cut(once)
}

// byPage puts those of l beside each other that share a page, and says where those of each page end. Every
// swap brings one of them to its place, so that a long list takes no other memory: the American flag sort
// of McIlroy, Bostic and McIlroy, Engineering Radix Sort (1993).
func (a *Account) byPage(l *List) (ends []int) {
	ends, next := make([]int, pages), make([]int, pages) // next is where the next one of a page goes
	for s := range l.All {
		ends[pageOf(a.hash(&s))]++
	}
	for page := 1; page < pages; page++ {
		next[page] = ends[page-1]
		ends[page] += ends[page-1]
	}
	for page, end := range ends {
		for next[page] < end {
			s := l.at(next[page])
			to := &next[pageOf(a.hash(s))]
			s.swap(l.at(*to))
			*to++
		}
	}
	return ends
}

// Expect makes room for n bans that are about to be put in at these spots. Where many come together
// they are arranged.
func (a *Account) Expect(n int, spot func(i int) *Spot) {
	last, more := -1, 0
	for i := range n {
		s := spot(i)
		if page := int(s.number); page != last {
			a.expect(last, more)
			last, more = page, 0
		}
		if !s.Has() {
			more++
		}
	}
	a.expect(last, more)
}

func (a *Account) expect(page, n int) {
	if n <= 1 { // add makes room for one
		return
	}
	p := a.open(page)
	if n += len(p.entries); n > cap(p.entries)+cap(p.entries)/8 {
		p.resize(n)
	}
}

// add adds an entry. A page grows by an eighth and some: append would double it. The first entries have no
// room beside them, as most are alone on their page.
func (p *page) add(tag uint8, e entry) {
	n := len(p.entries)
	if n == 0 {
		p.first = math.MaxUint32
	}
	if n == cap(p.entries) {
		p.resize(n + n/8 + max(1, min(n, 4)))
	}
	p.tags, p.entries = append(p.tags, tag), append(p.entries, e)
}

// remove takes out what is at i. A page that is nearly empty gives its room back.
func (p *page) remove(i int) {
	n := len(p.entries) - 1
	p.tags[i], p.entries[i] = p.tags[n], p.entries[n]
	p.tags, p.entries = p.tags[:n], p.entries[:n]
	if n < cap(p.entries)/4 {
		p.resize(n + n/8)
	}
}

// resize gives p room for so many.
func (p *page) resize(room int) {
	p.tags = append(make([]uint8, 0, room), p.tags...)
	p.entries = append(make([]entry, 0, room), p.entries...)
}

// seconds is t in whole seconds since 1970; the zero time is 0.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(max(0, min(t.Unix(), math.MaxUint32-1)))
}

func secondsUp(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return seconds(t.Add(time.Second - 1))
}

func timeOf(seconds uint32) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
