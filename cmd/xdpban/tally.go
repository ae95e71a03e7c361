package main

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"xdpban/jails/filter"
)

// A tally is whom one rule found, how often and when: the first sourcesKept of them. An attack comes
// from very many addresses, so that these take some 50 bytes each. The zero value is empty.
type tally struct {
	slots  []uint16    // a hash table of addresses: number in chunks plus one, of which sourcesKept fit; 0: free
	chunks [][]address // each of chunkLen but the last
	count  int         // of addresses
	names  map[string]*sightings
	more   int // hits of sources that there was no room for
}

const chunkLen = 256

const _ = uint16(sourcesKept) // does not compile where it is too many

type address struct {
	bytes [16]byte // IPv4 mapped
	sightings
}

// sightings are how often somebody was found, first and last in seconds since 1970.
type sightings struct {
	first, last int64
	hits        uint32
}

func (s *sightings) add(at int64) {
	s.hits++
	s.first, s.last = min(s.first, at), max(s.last, at)
}

// add counts what a rule found.
func (t *tally) add(r *filter.Result) {
	s := t.find(r)
	if s == nil {
		t.more++
		return
	}
	s.add(r.Time.Unix())
}

// find is what is known of whom r names; nil: there is no more room.
func (t *tally) find(r *filter.Result) *sightings {
	if !r.Addr.IsValid() {
		return t.name(beginning(r.Name), r.Time.Unix())
	}
	if 2*t.count >= len(t.slots) {
		t.grow()
	}
	key := r.Addr.As16()
	slot := t.slot(key)
	if number := t.slots[slot]; number > 0 {
		return &t.at(int(number - 1)).sightings
	}
	if t.sources() == sourcesKept {
		return nil
	}
	if t.count%chunkLen == 0 {
		t.chunks = append(t.chunks, make([]address, 0, min(max(t.count, 1), chunkLen)))
	}
	last, at := &t.chunks[len(t.chunks)-1], r.Time.Unix()
	*last = append(*last, address{bytes: key, sightings: sightings{first: at, last: at}})
	t.count++
	t.slots[slot] = uint16(t.count)
	return &t.at(t.count - 1).sightings
}

// name is what is known of a name, which is a part of one that is as long as a line.
func (t *tally) name(name string, at int64) *sightings {
	s := t.names[name]
	if s == nil && t.sources() < sourcesKept {
		if t.names == nil {
			t.names = make(map[string]*sightings)
		}
		s = &sightings{first: at, last: at}
		t.names[name] = s
	}
	return s
}

// sources is how many are kept.
func (t *tally) sources() int { return t.count + len(t.names) }

func (t *tally) at(number int) *address { return &t.chunks[number/chunkLen][number%chunkLen] }

// tallySeed keeps attackers from choosing addresses that share a slot.
var tallySeed = maphash.MakeSeed()

// slot is where key is, or belongs.
func (t *tally) slot(key [16]byte) int {
	mask := len(t.slots) - 1
	slot := int(maphash.Bytes(tallySeed, key[:])) & mask
	for t.slots[slot] > 0 && t.at(int(t.slots[slot]-1)).bytes != key {
		slot = (slot + 1) & mask
	}
	return slot
}

func (t *tally) grow() {
	t.slots = make([]uint16, max(2*len(t.slots), 16))
	for i := range t.count {
		t.slots[t.slot(t.at(i).bytes)] = uint16(i + 1)
	}
}

// A sourceTrial is one of a tally, as people read it.
type sourceTrial struct {
	addr        netip.Addr // zero: it is a name
	name        string
	hits        int
	first, last time.Time
}

func (s sourceTrial) id() string {
	if s.addr.IsValid() {
		return s.addr.String()
	}
	return s.name
}

// most are the n sources with most hits, or all if they are fewer.
func (t *tally) most(n int) []sourceTrial {
	best := make([]sourceTrial, 0, min(n, t.sources())+1)
	keep := func(s *sightings, number *[16]byte, name string) {
		if len(best) == n && int(s.hits) < best[n-1].hits {
			return // most do
		}
		one := sourceTrial{name: name, hits: int(s.hits), first: time.Unix(s.first, 0), last: time.Unix(s.last, 0)}
		if number != nil {
			one.addr = netip.AddrFrom16(*number).Unmap()
		}
		if len(best) == n && one.compare(best[n-1]) >= 0 {
			return
		}
		at, _ := slices.BinarySearchFunc(best, one, sourceTrial.compare)
		if best = slices.Insert(best, at, one); len(best) > n {
			best = best[:n]
		}
	}
	for i := range t.count {
		a := t.at(i)
		keep(&a.sightings, &a.bytes, "")
	}
	for name, s := range t.names {
		keep(s, nil, name)
	}
	return best
}

// compare puts those with most hits first, names behind addresses.
func (s sourceTrial) compare(other sourceTrial) int {
	return cmp.Or(cmp.Compare(other.hits, s.hits), strings.Compare(s.name, other.name), s.addr.Compare(other.addr))
}
