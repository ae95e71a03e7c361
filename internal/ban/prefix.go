package ban

import (
	"fmt"
	"net/netip"
	"strings"
)

// apart are IPv6 prefixes whose addresses are no neighbours: everybody on the link, the default gateway too
// (RFC 4291), and the hosts of IPv4 as a translator shows them (RFC 6052, RFC 8215).
var apart = [...]netip.Prefix{
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
}

// Of is the prefix that stands for addr when it is counted and banned: an IPv4 address
// alone, an IPv6 address with its neighbours of the first ipv6Bits bits, if it has any.
func Of(addr netip.Addr, ipv6Bits int) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return netip.PrefixFrom(addr, 32)
	}
	for _, strangers := range apart {
		if strangers.Contains(addr) {
			return Single(addr)
		}
	}
	return netip.PrefixFrom(addr, ipv6Bits).Masked()
}

// Single is the prefix of addr alone.
func Single(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen())
}

// ParsePrefix reads an address or a prefix in its usual notation. Host bits are cleared,
// IPv4 mapped into IPv6 becomes IPv4. The error says what is wrong with text.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", text)
		}
		if addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone, which no packet carries", text)
		}
		return Single(addr), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", text)
	}
	if !prefix.Addr().Is4In6() {
		return prefix.Masked(), nil
	}
	if prefix.Bits() < 96 {
		return netip.Prefix{}, fmt.Errorf("%q reaches beyond the IPv4-mapped addresses", text)
	}
	return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96).Masked(), nil
}
