package ban

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
)

// A Set holds prefixes and finds the one that covers an address. The zero Set is empty.
// Adding and asking at the same time need a lock; asking alone does not.
type Set struct {
	prefixes map[netip.Prefix]string
	v4, v6   family
	inOrder  atomic.Pointer[[]netip.Prefix]
}

// A family is what is known of the prefixes of one without a look at them.
type family struct {
	lengths [129]int  // how many there are of each
	begin   [256]bool // whether any has addresses with this first byte
}

// Add puts prefix into s; origin says where it comes from, for whoever reads it later.
func (s *Set) Add(prefix netip.Prefix, origin string) {
	if s.prefixes == nil {
		s.prefixes = make(map[netip.Prefix]string)
	}
	prefix = prefix.Masked()
	if _, there := s.prefixes[prefix]; !there {
		s.family(prefix.Addr()).add(prefix)
		s.prefixes[prefix] = origin
		s.inOrder.Store(nil)
	}
}

// All calls yield with every prefix and its origin, in no order.
func (s *Set) All(yield func(netip.Prefix, string) bool) {
	for prefix, origin := range s.prefixes {
		if !yield(prefix, origin) {
			return
		}
	}
}

// Len is the number of prefixes in s.
func (s *Set) Len() int { return len(s.prefixes) }

// Covering finds the longest prefix in s that covers all of prefix, and its origin.
func (s *Set) Covering(prefix netip.Prefix) (found netip.Prefix, origin string, ok bool) {
	family := s.family(prefix.Addr())
	if !family.begin[first(prefix.Addr())] {
		return netip.Prefix{}, "", false
	}
	for bits := prefix.Bits(); bits >= 0; bits-- {
		if family.lengths[bits] == 0 {
			continue
		}
		wider, err := prefix.Addr().Prefix(bits)
		if err != nil {
			return netip.Prefix{}, "", false
		}
		if origin, ok := s.prefixes[wider]; ok {
			return wider, origin, true
		}
	}
	return netip.Prefix{}, "", false
}

// Contains reports whether a prefix in s covers addr.
func (s *Set) Contains(addr netip.Addr) bool {
	_, _, ok := s.Covering(Single(addr))
	return ok
}

// Within lists the prefixes in s that lie inside prefix.
func (s *Set) Within(prefix netip.Prefix) []netip.Prefix {
	var inside []netip.Prefix
	all := s.ordered()
	i, _ := slices.BinarySearchFunc(all, prefix.Masked(), Compare)
	for ; i < len(all) && prefix.Contains(all[i].Addr()); i++ {
		inside = append(inside, all[i])
	}
	return inside
}

// Overlaps reports whether a prefix in s has addresses in common with prefix.
func (s *Set) Overlaps(prefix netip.Prefix) bool {
	if _, _, covered := s.Covering(prefix); covered {
		return true
	}
	return !prefix.IsSingleIP() && len(s.Within(prefix)) > 0
}

// Compare orders prefixes by address, and the wider before those inside it.
func Compare(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// ordered is all of s in the order of Compare. It is made when it is asked for first.
func (s *Set) ordered() []netip.Prefix {
	if all := s.inOrder.Load(); all != nil {
		return *all
	}
	all := make([]netip.Prefix, 0, len(s.prefixes))
	for prefix := range s.prefixes {
		all = append(all, prefix)
	}
	slices.SortFunc(all, Compare)
	s.inOrder.Store(&all)
	return all
}

func (s *Set) family(addr netip.Addr) *family {
	if addr.Is4() {
		return &s.v4
	}
	return &s.v6
}

func (f *family) add(prefix netip.Prefix) {
	f.lengths[prefix.Bits()]++
	begin := int(first(prefix.Addr()))
	for i := range 1 << max(0, 8-prefix.Bits()) {
		f.begin[begin+i] = true
	}
}

// first is the first byte of addr.
func first(addr netip.Addr) byte {
	if addr.Is4() {
		return addr.As4()[0]
	}
	return addr.As16()[0]
}
