package daemon

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

func TestResolversAreRead(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"usual", "# made by hand\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n", []string{"192.0.2.53/32", "2001:db8::53/128"}},
		{"blanks", "nameserver\t 192.0.2.53  \n  nameserver 192.0.2.54", []string{"192.0.2.53/32", "192.0.2.54/32"}},
		{"CRLF", "nameserver 192.0.2.53\r\n", []string{"192.0.2.53/32"}},
		{"behind the address", "nameserver 192.0.2.53 # ours\n", []string{"192.0.2.53/32"}},
		{"zone", "nameserver fe80::1%eth0\n", []string{"fe80::1/128"}},
		{"mapped", "nameserver ::ffff:192.0.2.53\n", []string{"192.0.2.53/32"}},
		{"off", "#nameserver 192.0.2.53\n;nameserver 192.0.2.54\n", nil},
		{"nonsense", "nameserver\nnameserver example.org\nnameserver 192.0.2\nnameservers 192.0.2.53\n\x00\xff nameserver 1\n", nil},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		must(t, os.WriteFile(path, []byte(test.text), 0o600))
		set := new(ban.Set)
		must(t, addResolvers(set, path))
		want := make(map[netip.Prefix]string)
		for _, prefix := range prefixes(test.want...) {
			want[prefix] = "resolver"
		}
		if got := maps.Collect(set.All); !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", test.name, got, want)
		}
	}
}

func TestMissingResolversAreNoError(t *testing.T) {
	set := new(ban.Set)
	must(t, addResolvers(set, filepath.Join(t.TempDir(), "resolv.conf")))
	if set.Len() != 0 {
		t.Errorf("got %d resolvers", set.Len())
	}
	if err := addResolvers(set, t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	long := filepath.Join(t.TempDir(), "resolv.conf")
	must(t, os.WriteFile(long, []byte("# "+strings.Repeat("x", 1<<20)+"\nnameserver 192.0.2.53\n"), 0o600))
	if err := addResolvers(set, long); err == nil && set.Len() != 1 {
		t.Error("a resolver was lost without an error")
	}
}

// wires makes a host with the interfaces eth0, eth1 and wan.7, each with an address.
func wires(t *testing.T) *lab.Host {
	t.Helper()
	hosts := lab.Hosts(t, 2)
	for i, name := range []string{"eth0", "eth1", "wan.7"} {
		must(t, lab.Connect(hosts[0], name, hosts[1], name))
		third := string(rune('1' + i))
		must(t, hosts[0].Address(name, "10.0."+third+".1/24", "2001:db8:0:"+third+"::1/64"))
	}
	return hosts[0]
}

func index(t *testing.T, h *lab.Host, name string) int {
	t.Helper()
	iface, err := h.Links().LinkByName(name)
	must(t, err)
	return iface.Attrs().Index
}

func TestDefaultRoutesOfBothFamilies(t *testing.T) {
	h := wires(t)
	eth0, eth1, wan := index(t, h, "eth0"), index(t, h, "eth1"), index(t, h, "wan.7")
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	hop := func(link int, gateway string) *netlink.NexthopInfo {
		return &netlink.NexthopInfo{LinkIndex: link, Gw: net.ParseIP(gateway)}
	}
	for _, test := range []struct {
		name   string
		routes []netlink.Route
		want   []route
	}{
		{"none", nil, nil},
		{"not everywhere", []netlink.Route{{Dst: &net.IPNet{IP: net.IPv4(10, 9, 0, 0), Mask: net.CIDRMask(16, 32)}, Gw: net.ParseIP("10.0.1.254")}}, nil},
		{"one", []netlink.Route{{Gw: net.ParseIP("10.0.1.254")}}, []route{{eth0, netip.MustParseAddr("10.0.1.254")}}},
		{"by metric", []netlink.Route{{Gw: net.ParseIP("10.0.1.254")}, {Gw: net.ParseIP("10.0.2.254"), Priority: 5}},
			[]route{{eth0, netip.MustParseAddr("10.0.1.254")}, {eth1, netip.MustParseAddr("10.0.2.254")}}},
		{"the link itself", []netlink.Route{{Dst: everywhere, LinkIndex: wan, Scope: netlink.SCOPE_LINK}}, []route{{link: wan}}},
		{"several paths", []netlink.Route{{Dst: everywhere, MultiPath: []*netlink.NexthopInfo{hop(eth0, "10.0.1.254"), hop(wan, "10.0.3.254")}}},
			[]route{{eth0, netip.MustParseAddr("10.0.1.254")}, {wan, netip.MustParseAddr("10.0.3.254")}}},
		{"IPv6", []netlink.Route{{Gw: net.ParseIP("2001:db8:0:2::fe")}}, []route{{eth1, netip.MustParseAddr("2001:db8:0:2::fe")}}},
		{"IPv4 by IPv6", []netlink.Route{{Dst: everywhere, LinkIndex: eth0, Via: &netlink.Via{AddrFamily: netlink.FAMILY_V6, Addr: net.ParseIP("2001:db8:0:1::fe")}}},
			[]route{{eth0, netip.MustParseAddr("2001:db8:0:1::fe")}}},
	} {
		for i := range test.routes {
			must(t, h.Links().RouteAdd(&test.routes[i]))
		}
		var got []route
		must(t, h.Do(func() (err error) {
			got, err = defaultRoutes()
			return err
		}))
		slices.SortFunc(got, func(a, b route) int { return a.gateway.Compare(b.gateway) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
		for i := range test.routes {
			must(t, h.Links().RouteDel(&test.routes[i]))
		}
	}
}

func TestPatternsSelectInterfaces(t *testing.T) {
	h := wires(t)
	must(t, h.Gateway("10.0.2.254"))
	for _, test := range []struct{ patterns, found, absent []string }{
		{[]string{"auto"}, []string{"eth1"}, nil},
		{[]string{"eth0"}, []string{"eth0"}, nil},
		{[]string{"eth*", "auto", "eth0"}, []string{"eth0", "eth1"}, nil},
		{[]string{"wan.[0-9]"}, []string{"wan.7"}, nil},
		{[]string{"*"}, []string{"eth0", "eth1", "lo", "wan.7"}, nil},
		{[]string{"ppp*", "wan.7", "eth9"}, []string{"wan.7"}, []string{"ppp*", "eth9"}},
		{[]string{"eth["}, nil, []string{"eth["}},
	} {
		must(t, h.Do(func() error {
			found, absent, err := selected(test.patterns)
			if !slices.Equal(found, test.found) || !slices.Equal(absent, test.absent) {
				t.Errorf("%v: found %v, absent %v, want %v and %v", test.patterns, found, absent, test.found, test.absent)
			}
			return err
		}))
	}
}

func TestWhatIsNeverBannedIsCollected(t *testing.T) {
	h := lab.Hosts(t, 2)
	must(t, lab.Connect(h[0], "eth0", h[1], "eth0"))
	must(t, h[0].Address("eth0", "192.0.2.1/24", "2001:db8::1/64"))
	must(t, h[0].Gateway("192.0.2.254"))
	var set *ban.Set
	must(t, h[0].Do(func() (err error) {
		set, err = neverBanned(prefixes("127.0.0.0/8", "192.0.2.254/32"))
		return err
	}))
	got := maps.Collect(set.All)
	for prefix, origin := range got {
		if origin == "resolver" || prefix.Addr().IsLinkLocalUnicast() && origin == "address of eth0" {
			delete(got, prefix) // of this machine; of the cable
		}
	}
	want := map[netip.Prefix]string{
		netip.MustParsePrefix("127.0.0.0/8"):     "ignoreip",
		netip.MustParsePrefix("127.0.0.1/32"):    "address of lo",
		netip.MustParsePrefix("::1/128"):         "address of lo",
		netip.MustParsePrefix("192.0.2.1/32"):    "address of eth0",
		netip.MustParsePrefix("2001:db8::1/128"): "address of eth0",
		netip.MustParsePrefix("192.0.2.254/32"):  "ignoreip", // what said so first
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
