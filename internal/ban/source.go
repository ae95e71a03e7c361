package ban

import (
	"bytes"
	"cmp"
	"net/netip"
)

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

// Compare orders sources by their bytes.
func (s Source) Compare(other Source) int {
	return cmp.Or(bytes.Compare(s.Addr[:], other.Addr[:]), cmp.Compare(s.Bits, other.Bits))
}
