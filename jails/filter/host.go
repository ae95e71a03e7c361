package filter

import (
	"net/netip"

	"xdpban/internal/ban"
)

// hostOf reads who stands in rest[from:to]: an address, or a name. What is only a part of a longer word (192.0.2.1 in
// 192.0.2.1.example.org) is a name: DNS is never asked about it.
func hostOf(rest []byte, from, to int) (addr netip.Addr, name string) {
	bare := rest[from:to]
	if n := len(bare); n > 2 && bare[0] == '[' && bare[n-1] == ']' {
		bare = bare[1 : n-1]
	}
	addr, ok := parseAddr(bare)
	if !ok || !standsAlone(rest, from, to) {
		return netip.Addr{}, string(rest[from:to])
	}
	return addr.Unmap().WithZone(""), ""
}

// parseAddr reads an address as netip does. IPv4, which is most, takes no allocation.
func parseAddr(text []byte) (addr netip.Addr, ok bool) {
	if quad, ok := ban.DottedQuad(text); ok {
		return netip.AddrFrom4(quad), true
	}
	addr, err := netip.ParseAddr(string(text))
	return addr, err == nil
}

// standsAlone reports whether rest[from:to] is no part of a longer word or number.
func standsAlone(rest []byte, from, to int) bool {
	if from > 0 && (inName(rest[from-1]) || rest[from-1] == '.') {
		return false
	}
	if to == len(rest) {
		return true
	}
	if rest[to] == '.' {
		return to+1 == len(rest) || !inName(rest[to+1])
	}
	return !inName(rest[to])
}

func inName(b byte) bool { return isAlnum(b) || b == '_' || b == '-' }

func isAlnum(b byte) bool {
	return isDigit(b) || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
