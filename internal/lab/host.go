package lab

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Host is a network namespace: interfaces, addresses, routes and firewall of its own.
type Host struct {
	ns    netns.NsHandle
	links *netlink.Handle
}

// NewHost makes a host whose loopback is up. Close it.
func NewHost() (*Host, error) {
	var h Host
	err := onThread(func(home netns.NsHandle) error {
		ns, err := netns.New() // moves this thread into it
		if err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		h.ns = ns
		defer netns.Set(home) //nolint:errcheck // onThread ends a thread that could not go home
		return up("lo")
	})
	if err != nil {
		return nil, err
	}
	h.links, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE)
	if err != nil {
		h.ns.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &h, nil
}

// Hosts makes n hosts for a test and closes them after it.
func Hosts(tb TB, n int) []*Host {
	tb.Helper()
	Require(tb)
	hosts := make([]*Host, n)
	for i := range hosts {
		h, err := NewHost()
		if err != nil {
			tb.Fatalf("%v", err)
		}
		tb.Cleanup(h.Close)
		hosts[i] = h
	}
	return hosts
}

// Close gives the namespace back. The kernel removes it when no process is left in it.
func (h *Host) Close() {
	h.links.Close()
	h.ns.Close()
}

// Do calls fn on a thread that is in h.
func (h *Host) Do(fn func() error) error {
	return onThread(func(home netns.NsHandle) error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		defer netns.Set(home) //nolint:errcheck // onThread ends a thread that could not go home
		return fn()
	})
}

// Start starts cmd in h.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Run runs a command in h to its end. The error holds what it printed.
func (h *Host) Run(name string, args ...string) error {
	return h.Do(func() error {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
		}
		return nil
	})
}

// Links is netlink inside h.
func (h *Host) Links() *netlink.Handle { return h.links }

// Address adds addresses in CIDR notation to the interface name.
func (h *Host) Address(name string, cidrs ...string) error {
	link, err := h.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, cidr := range cidrs {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return fmt.Errorf("parse %s: %w", cidr, err)
		}
		addr.Flags |= unix.IFA_F_NODAD // usable at once: nobody else is on the cable
		if err := h.links.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", cidr, name, err)
		}
	}
	return nil
}

// Gateway makes address the default gateway of h.
func (h *Host) Gateway(address string) error {
	if err := h.links.RouteAdd(&netlink.Route{Gw: net.ParseIP(address)}); err != nil {
		return fmt.Errorf("route by %s: %w", address, err)
	}
	return nil
}

// patience is how long a cable may take to carry packets. The kernel looks at such news once a
// second.
const patience = 10 * time.Second

// Connect lays a cable (a veth pair) between the interfaces aName of a and bName of b, sets both
// up and waits until it carries packets.
func Connect(a *Host, aName string, b *Host, bName string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns)}
	if err := a.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("connect %s and %s: %w", aName, bName, err)
	}
	ends := []struct {
		host *Host
		name string
	}{{a, aName}, {b, bName}}
	for _, end := range ends {
		if err := upAt(end.host.links, end.name); err != nil {
			return err
		}
	}
	for _, end := range ends {
		if err := carries(end.host.links, end.name); err != nil {
			return err
		}
	}
	return nil
}

// carries waits until the interface name carries packets.
func carries(links *netlink.Handle, name string) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		link, err := links.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("set %s up: it is %s after %v", name, link.Attrs().OperState, patience)
		}
	}
}

// onThread runs fn on a thread of its own; fn gets the namespace to come back to. A
// thread that is not back there ends with its goroutine.
func onThread(fn func(home netns.NsHandle) error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("find the network namespace: %w", err)
			return
		}
		defer home.Close()
		err = fn(home)
		if now, nowErr := netns.Get(); nowErr == nil {
			if now.Equal(home) {
				runtime.UnlockOSThread()
			}
			now.Close()
		}
		done <- err
	}()
	return <-done
}

func up(name string) error { return upAt(&netlink.Handle{}, name) }

func upAt(links *netlink.Handle, name string) error {
	link, err := links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
