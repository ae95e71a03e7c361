package jails

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"xdpban/internal/ban"
	"xdpban/jails/filter"
)

// slack is how far clocks and slow loggers may be off before a line's time is not believed.
const slack = time.Minute

// A counter counts failures of sources over a sliding window. It remembers so many sources
// at most, and failuresPerSource failures of each on average: beyond that the source
// whose last failure came first is forgotten. An attack from a million sources takes no
// more memory than one from maxsources.
//
// Sources are slots in a slice, chained by the age of their last failure; failures are slots in
// another, chained by time behind their source. Slots are used again, so that counting
// allocates nothing once both have grown.
type counter struct {
	maxRetry   int
	findTime   int64 // ns
	maxSources int
	maxTimes   int

	seed maphash.Seed // of values: nobody can make two that are taken for one

	mu        sync.Mutex
	index     map[[16]byte]int32
	sources   []counted
	times     []failure
	free      int32 // first unused slot in sources, chained by newer; none: grow
	freeTimes int32 // first unused slot in times, chained by next
	oldest    int32 // source whose last failure came first
	newest    int32
	used      int // slots of times that hold a failure
	forgotten uint64
}

const failuresPerSource = 4

const none int32 = -1

// counted is one source.
type counted struct {
	key          [16]byte
	older, newer int32 // sources by the age of their last failure
	first, last  int32 // failures by their time; last is the latest
	count        int32
}

type failure struct {
	at    int64  // ns since 1970
	value uint64 // what it is counted by: of failures of one source with the same, one counts; 0: each counts
	next  int32
	trust filter.Trust
}

func newCounter(r Rules) *counter {
	return &counter{
		maxRetry:   r.MaxRetry,
		findTime:   int64(r.FindTime),
		maxSources: r.MaxSources,
		maxTimes:   max(failuresPerSource*r.MaxSources, r.MaxRetry),
		seed:       maphash.MakeSeed(),
		index:      make(map[[16]byte]int32),
		free:       none,
		freeTimes:  none,
		oldest:     none,
		newest:     none,
	}
}

// value is what text is counted by.
func (c *counter) value(text string) uint64 { return max(maphash.String(c.seed, text), 1) }

// add counts a failure of key that happened at; now is when it was read. Of failures with the
// same value, which is not 0, the latest counts alone. It returns how many lie within the window that ends with the source's latest failure, and whether these are
// enough for a ban: then weakest is how far the least trusted of them is to be trusted, and
// the count begins anew.
func (c *counter) add(key netip.Prefix, at, now time.Time, trust filter.Trust, value uint64) (failures int, weakest filter.Trust, enough bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now.UnixNano())
	s := c.source(key.Addr().As16())
	c.touch(s)
	if c.impossible(s, now.UnixNano()) {
		c.empty(s)
	}
	f := failure{at: at.UnixNano(), trust: trust, value: value}
	if value != 0 {
		c.join(s, &f)
	}
	c.insert(s, f)
	failures = int(c.sources[s].count)
	if failures < c.maxRetry {
		return failures, 0, false
	}
	weakest = c.weakest(s)
	c.drop(s)
	return failures, weakest, true
}

// join takes out of s the failure with f's value, if there is one, and makes f stand for both.
func (c *counter) join(s int32, f *failure) {
	source := &c.sources[s]
	before, slot := none, source.first
	for slot != none && c.times[slot].value != f.value {
		before, slot = slot, c.times[slot].next
	}
	if slot == none {
		return
	}
	f.at, f.trust = max(f.at, c.times[slot].at), max(f.trust, c.times[slot].trust)
	next := c.times[slot].next
	if before == none {
		source.first = next
	} else {
		c.times[before].next = next
	}
	if next == none {
		source.last = before
	}
	source.count--
	c.release(slot)
}

// weakest is the least trust that the failures of s deserve: those that anybody could have
// forged must not ban for longer because one of them is beyond doubt.
func (c *counter) weakest(s int32) filter.Trust {
	var weakest filter.Trust
	for f := c.sources[s].first; f != none; f = c.times[f].next {
		weakest = max(weakest, c.times[f].trust)
	}
	return weakest
}

// expire drops sources that have been silent for so long that no line that still counts,
// see failedAt, lies in one window with theirs.
func (c *counter) expire(now int64) {
	silent := now - c.findTime - max(c.findTime, int64(slack))
	for c.oldest != none {
		if c.times[c.sources[c.oldest].last].at >= silent && !c.impossible(c.oldest, now) {
			return
		}
		c.drop(c.oldest)
	}
}

// impossible reports whether the last failure of s lies in the future: the clock was set back,
// and next to it whatever happens now would seem too old to count. Twice slack, because
// another log's now may be a little behind.
func (c *counter) impossible(s int32, now int64) bool {
	source := &c.sources[s]
	return source.count > 0 && c.times[source.last].at > now+2*int64(slack)
}

// source finds the slot of key, or makes one.
func (c *counter) source(key [16]byte) int32 {
	if s, ok := c.index[key]; ok {
		return s
	}
	if len(c.index) >= c.maxSources {
		c.drop(c.oldest)
		c.forgotten++
	}
	s := c.free
	if s == none {
		s = int32(len(c.sources))
		c.sources = append(c.sources, counted{})
	} else {
		c.free = c.sources[s].newer
	}
	c.sources[s] = counted{key: key, older: none, newer: none, first: none, last: none}
	c.index[key] = s
	c.append(s)
	return s
}

// touch makes s the source that failed last.
func (c *counter) touch(s int32) {
	if c.newest != s {
		c.unlink(s)
		c.append(s)
	}
}

func (c *counter) append(s int32) {
	c.sources[s].older, c.sources[s].newer = c.newest, none
	if c.newest == none {
		c.oldest = s
	} else {
		c.sources[c.newest].newer = s
	}
	c.newest = s
}

func (c *counter) unlink(s int32) {
	older, newer := c.sources[s].older, c.sources[s].newer
	if older == none {
		c.oldest = newer
	} else {
		c.sources[older].newer = newer
	}
	if newer == none {
		c.newest = older
	} else {
		c.sources[newer].older = older
	}
}

// insert puts a failure of s in its place and drops those that its window has left.
func (c *counter) insert(s int32, f failure) {
	source, at := &c.sources[s], f.at
	if source.count > 0 && at < c.times[source.last].at-c.findTime {
		return // it came too late to count with the others
	}
	slot := c.slot(s)
	before, after := none, source.first
	if source.count > 0 && c.times[source.last].at <= at {
		before, after = source.last, none // nearly always
	}
	for after != none && c.times[after].at <= at {
		before, after = after, c.times[after].next
	}
	f.next = after
	c.times[slot] = f
	if before == none {
		source.first = slot
	} else {
		c.times[before].next = slot
	}
	if after == none {
		source.last = slot
	}
	source.count++
	for c.times[source.first].at < c.times[source.last].at-c.findTime {
		c.dropFirst(source)
	}
}

// slot is an unused slot of times. Other sources than s, of which add has made the newest,
// are forgotten where there is none.
func (c *counter) slot(s int32) int32 {
	for c.used >= c.maxTimes && c.oldest != s {
		c.drop(c.oldest)
		c.forgotten++
	}
	c.used++
	slot := c.freeTimes
	if slot == none {
		c.times = append(c.times, failure{})
		return int32(len(c.times) - 1)
	}
	c.freeTimes = c.times[slot].next
	return slot
}

func (c *counter) dropFirst(source *counted) {
	slot := source.first
	source.first = c.times[slot].next
	source.count--
	if source.first == none {
		source.last = none
	}
	c.release(slot)
}

// release gives a slot of times back.
func (c *counter) release(slot int32) {
	c.times[slot].next = c.freeTimes
	c.freeTimes = slot
	c.used--
}

// empty forgets the failures of s.
func (c *counter) empty(s int32) {
	source := &c.sources[s]
	for source.first != none {
		c.dropFirst(source)
	}
}

// drop forgets the source in slot s.
func (c *counter) drop(s int32) {
	c.empty(s)
	c.unlink(s)
	source := &c.sources[s]
	delete(c.index, source.key)
	source.newer = c.free
	c.free = s
}

// forget drops all sources in prefix, and the one that prefix is a part of. ipv6Bits is
// how addresses are counted.
func (c *counter) forget(prefix netip.Prefix, ipv6Bits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range []netip.Prefix{ban.Of(prefix.Addr(), ipv6Bits), ban.Single(prefix.Addr())} {
		if s, ok := c.index[key.Addr().As16()]; ok && key.Overlaps(prefix) {
			c.drop(s)
		}
	}
	if prefix.IsSingleIP() {
		return
	}
	for key, s := range c.index {
		if prefix.Contains(netip.AddrFrom16(key).Unmap()) {
			c.drop(s)
		}
	}
}

// tally says how many sources are counted at now and how many have been forgotten.
func (c *counter) tally(now time.Time) (sources int, forgotten uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now.UnixNano())
	return len(c.index), c.forgotten
}
