package filter

import (
	"net/netip"
	"testing"

	"xdpban/internal/ban"
)

// FuzzParseAddr: what is read without netip is what netip reads.
func FuzzParseAddr(f *testing.F) {
	for _, text := range []string{
		"192.0.2.7", "0.0.0.0", "255.255.255.255", "256.0.2.7", "192.0.2.", "192.0.2", "192.0.2.7.1", ".192.0.2.7", "192..2.7", "01.2.3.4", "1.2.3.00",
		"1.2.3.0", "1.2.3.1000000000000000000000", "", ".", "...", "1.2.3.4 ", "+1.2.3.4", "2001:db8::7", "::ffff:192.0.2.7", "fe80::7%eth0", "name",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := netip.ParseAddr(string(text))
		if got, ok := parseAddr(text); got != want || ok != (err == nil) {
			t.Errorf("%q: got %v, %v; netip says %v, %v", text, got, ok, want, err)
		}
		quad, ok := ban.DottedQuad(text)
		if ok != (err == nil && want.Is4()) || ok && netip.AddrFrom4(quad) != want {
			t.Errorf("%q as IPv4: got %v, %v; netip says %v, %v", text, quad, ok, want, err)
		}
	})
}
