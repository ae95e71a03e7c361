package ban

import "net/netip"

// A Source is a prefix in 17 bytes without a pointer, for where there are many of them.
type Source struct {
	Addr [16]byte // IPv4 mapped into IPv6; host bits clear
	Bits uint8    // in the family of the address
}

// SourceOf is prefix, which is masked, as a Source.
func SourceOf(prefix netip.Prefix) Source {
	return Source{prefix.Addr().As16(), uint8(prefix.Bits())}
}

// Prefix is s as everybody else has it.
func (s Source) Prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16(s.Addr).Unmap(), int(s.Bits))
}

// swap has s be other, and other be s. Go moves all 17 bytes at once as two parts that overlap, for which
// whoever reads them next waits.
func (s *Source) swap(other *Source) {
	s.Addr, other.Addr = other.Addr, s.Addr
	s.Bits, other.Bits = other.Bits, s.Bits
}
