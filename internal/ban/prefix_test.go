package ban_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"xdpban/internal/ban"
)

func TestParsePrefix(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{"192.0.2.7", "192.0.2.7/32", ""},
		{"2001:db8::7", "2001:db8::7/128", ""},
		{"::ffff:192.0.2.7", "192.0.2.7/32", ""},
		{"198.51.100.9/24", "198.51.100.0/24", ""},
		{"2001:db8::9/64", "2001:db8::/64", ""},
		{"::ffff:198.51.100.9/120", "198.51.100.0/24", ""},
		{"::ffff:0:0/95", "", `"::ffff:0:0/95" reaches beyond the IPv4-mapped addresses`},
		{"fe80::1%eth0", "", `"fe80::1%eth0" has a zone, which no packet carries`},
		{"192.0.2.7/33", "", `"192.0.2.7/33" is neither an address nor a prefix`},
		{"192.0.2", "", `"192.0.2" is neither an address nor a prefix`},
		{"", "", `"" is neither an address nor a prefix`},
	}
	for _, test := range tests {
		got, err := ban.ParsePrefix(test.text)
		if test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("ParsePrefix(%q): error %v, want %s", test.text, err, test.err)
			}
			continue
		}
		if err != nil || got.String() != test.want {
			t.Errorf("ParsePrefix(%q) = %v, %v; want %s", test.text, got, err, test.want)
		}
	}
}

func TestOfMasksIPv6Only(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7":             "192.0.2.7/32",
		"::ffff:192.0.2.7":      "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"fe80::1%eth0":          "fe80::1/128",
		"64:ff9b::192.0.2.7":    "64:ff9b::c000:207/128",
		"64:ff9b:1::192.0.2.7":  "64:ff9b:1::c000:207/128",
		"64:ff9b:2::192.0.2.7":  "64:ff9b:2::/64",
		"2001:db8:1:2:ffff::ff": "2001:db8:1:2::/64",
	} {
		if got := ban.Of(netip.MustParseAddr(addr), 64).String(); got != want {
			t.Errorf("Of(%s) = %s, want %s", addr, got, want)
		}
	}
}

func FuzzParsePrefix(f *testing.F) {
	for _, text := range []string{"192.0.2.7", "::ffff:192.0.2.0/120", "2001:db8::/32", "fe80::1%e", "/", "1.2.3.4/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefix, err := ban.ParsePrefix(text)
		if err != nil {
			return
		}
		if !prefix.IsValid() || prefix.Addr().Is4In6() || prefix != prefix.Masked() {
			t.Fatalf("ParsePrefix(%q) = %v", text, prefix)
		}
		if again, err := ban.ParsePrefix(prefix.String()); err != nil || again != prefix {
			t.Fatalf("%v does not read back: %v, %v", prefix, again, err)
		}
	})
}

func TestSetAgreesWithASearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SliceOf(rapid.Custom(anyPrefix)).Draw(t, "set")
		asked := rapid.Custom(anyPrefix).Draw(t, "asked")

		var set ban.Set
		for _, p := range prefixes {
			set.Add(p, p.String())
		}
		var want netip.Prefix
		var inside []netip.Prefix
		for _, p := range prefixes {
			if p.Bits() <= asked.Bits() && p.Contains(asked.Addr()) && p.Bits() >= want.Bits() {
				want = p
			}
			if p.Bits() >= asked.Bits() && asked.Contains(p.Addr()) && !slices.Contains(inside, p) {
				inside = append(inside, p)
			}
		}
		got, origin, ok := set.Covering(asked)
		if got != want || ok != want.IsValid() || ok && origin != want.String() {
			t.Fatalf("Covering(%v) = %v, %q, %v; want %v", asked, got, origin, ok, want)
		}
		if got := set.Within(asked); !sameElements(got, inside) {
			t.Fatalf("Within(%v) = %v, want %v", asked, got, inside)
		}
	})
}

func sameElements(a, b []netip.Prefix) bool {
	order := func(x, y netip.Prefix) int {
		if c := x.Addr().Compare(y.Addr()); c != 0 {
			return c
		}
		return x.Bits() - y.Bits()
	}
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.Equal(a, b)
}

// anyPrefix draws from few addresses, so that prefixes often nest.
func anyPrefix(t *rapid.T) netip.Prefix {
	base := rapid.SampledFrom([]string{"10.0.0.0", "192.0.2.0", "192.0.3.255", "2001:db8::", "2001:db8::ff"}).Draw(t, "address")
	addr := netip.MustParseAddr(base)
	return netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, "bits")).Masked()
}
