package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"xdpban/internal/ban"
)

// resolvConf names the resolvers, see resolv.conf(5).
const resolvConf = "/etc/resolv.conf"

// neverBanned is what must stay reachable whatever a log says: ignoreip, this host's own
// addresses, its default gateways and its resolvers. After an error it is what could be
// found out.
func neverBanned(ignoreip []netip.Prefix) (*ban.Set, error) {
	set := new(ban.Set)
	for _, prefix := range ignoreip {
		set.Add(prefix, "ignoreip")
	}
	return set, errors.Join(addAddresses(set), addGateways(set), addResolvers(set, resolvConf))
}

func addGateways(set *ban.Set) error {
	routes, err := defaultRoutes()
	for _, route := range routes {
		if route.gateway.IsValid() {
			set.Add(ban.Single(route.gateway), "default gateway")
		}
	}
	return err
}

func addAddresses(set *ban.Set) error {
	names, err := interfaceNames()
	if err != nil {
		return err
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, address := range addresses {
		if addr, ok := netip.AddrFromSlice(address.IP); ok {
			set.Add(ban.Single(addr), "address of "+names[address.LinkIndex])
		}
	}
	return nil
}

func addResolvers(set *ban.Set, path string) error {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the resolvers: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			set.Add(ban.Single(addr), "resolver")
		}
	}
	return lines.Err()
}

// A route leads to everywhere else.
type route struct {
	link    int        // index of the interface
	gateway netip.Addr // zero: the link itself
}

// defaultRoutes lists the default routes of both families, each path of a multipath route.
func defaultRoutes() ([]route, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var found []route
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		if r.LinkIndex != 0 {
			found = append(found, route{r.LinkIndex, nextHop(r.Gw, r.Via)})
		}
		for _, hop := range r.MultiPath {
			found = append(found, route{hop.LinkIndex, nextHop(hop.Gw, hop.Via)})
		}
	}
	return found, nil
}

// nextHop is the gateway of a route. That of an IPv4 route may be an IPv6 address, via
// (RFC 5549).
func nextHop(gateway net.IP, via netlink.Destination) netip.Addr {
	if other, ok := via.(*netlink.Via); ok {
		gateway = other.Addr
	}
	addr, _ := netip.AddrFromSlice(gateway)
	return addr
}

// Auto is the pattern for the interfaces that carry a default route.
const auto = "auto"

// interfaceNames lists this host's interfaces by index.
func interfaceNames() (map[int]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, link := range links {
		names[link.Attrs().Index] = link.Attrs().Name
	}
	return names, nil
}

// selected finds the interfaces that patterns mean now: names, globs, and auto for those
// that carry a default route. absent are the patterns that mean none.
func selected(patterns []string) (found, absent []string, err error) {
	names, err := interfaceNames()
	if err != nil {
		return nil, nil, err
	}
	routes, err := defaultRoutes()
	if err != nil {
		return nil, nil, err
	}
	for _, pattern := range patterns {
		before := len(found)
		for index, name := range names {
			if selects(pattern, name, index, routes) {
				found = append(found, name)
			}
		}
		if len(found) == before {
			absent = append(absent, pattern)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), absent, nil
}

func selects(pattern, name string, index int, routes []route) bool {
	if pattern == auto {
		return slices.ContainsFunc(routes, func(r route) bool { return r.link == index })
	}
	matched, err := path.Match(pattern, name)
	return err == nil && matched
}
