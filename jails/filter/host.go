package filter

import "net/netip"

// hostOf reads who stands in rest[from:to]. What is no address, or only a part of a longer
// word (192.0.2.1 in 192.0.2.1.example.org), is a name: DNS is never asked about it.
func hostOf(rest []byte, from, to int) (id string, addr netip.Addr) {
	text := string(rest[from:to])
	bare := text
	if n := len(bare); n > 2 && bare[0] == '[' && bare[n-1] == ']' {
		bare = bare[1 : n-1]
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil || !standsAlone(rest, from, to) {
		return text, netip.Addr{}
	}
	if addr.Is4() {
		return bare, addr // which has no other form
	}
	addr = addr.Unmap().WithZone("")
	return addr.String(), addr
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
