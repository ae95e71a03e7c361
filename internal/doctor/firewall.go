package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"xdpban/fallback"
	"xdpban/jails"
)

// The addresses by which the families are asked for.
var families = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.MustParseAddr("2001:db8::1")}

// iptables says what the chain would be: it is made once, where no packet comes.
func (e *examination) iptables() {
	kind, err := fallback.KindInUse()
	if err != nil {
		state, meaning := Note, "where XDP is refused nothing enforces"
		if e.Config.Enforce == jails.IPTables {
			state, meaning = Bad, "enforce: iptables cannot be met: the daemon does not start"
		}
		e.add(state, "iptables", err.Error(), meaning, "install iptables")
		return
	}
	e.add(OK, "iptables", "this host's firewall is made with iptables-"+string(kind), "", "")
	var notes []string
	var strategies []string
	err = aside(unix.CLONE_NEWNET, func() error {
		chain, err := fallback.Open(fallback.Settings{
			IPv6Prefix: e.Config.IPv6Prefix, MaxBans: 64, MaxPrefixes: 64, MaxAllowed: 64, Quiet: e.Config.Defaults.QuietTime, Kind: kind,
		})
		if err != nil {
			return err
		}
		notes = chain.Notes()
		for _, addr := range families {
			strategies = append(strategies, chain.Strategy(addr))
		}
		return fallback.Remove()
	})
	if err != nil {
		e.add(Note, "iptables", err.Error(), "where XDP is refused nothing enforces", "run doctor as root; load the modules that it names")
		return
	}
	for _, note := range notes {
		e.note(note)
	}
	e.recent(slices.Contains(strategies, fallback.Recent))
	e.place(kind)
}

func (e *examination) note(note string) {
	if strings.Contains(note, "NOT enforced") {
		e.add(Bad, "iptables", note, "bans of that family are not in force where XDP is refused", "load the modules that it names")
		return
	}
	e.add(OK, "iptables", note, "", "")
}

// recent says how many bans keep their refresh with the daemon away, where there are no sets.
func (e *examination) recent(used bool) {
	size := fallback.ListSize()
	if !used {
		e.add(OK, "xt_recent", fmt.Sprintf("its lists hold %d addresses; not needed: the kernel has sets", size), "", "")
		return
	}
	if size >= int(e.Config.MaxBans) {
		e.add(OK, "xt_recent", fmt.Sprintf("its lists hold %d addresses", size), "", "")
		return
	}
	e.add(Note, "xt_recent", fmt.Sprintf("its lists hold %d addresses, maxbans is %d", size, e.Config.MaxBans),
		"beyond it only the daemon prolongs bans, a few seconds late", fallback.LargerLists(e.Config.MaxBans))
}

// place says where the chain of a daemon is.
func (e *examination) place(kind fallback.Kind) {
	fault, there, err := fallback.Look(kind, e.Config.Forward)
	switch {
	case err != nil:
		e.add(Note, "chain", err.Error(), "where it stands is not known", "run doctor as root")
	case !there:
		e.add(OK, "chain", fallback.Name+" is not in use", "", "")
	case fault != "":
		e.add(Bad, "chain", fault, "rules before it let packets of banned addresses in", "a running daemon puts it back within a second or two")
	default:
		e.add(OK, "chain", fallback.Name+" is first where it has to be", "", "")
	}
}

// errAside says that things cannot be tried where no packet comes.
var errAside = errors.New("make a namespace to try it in")

// aside runs fn in a namespace of its own of that kind, which goes with it.
func aside(kind int, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with this goroutine
		if err := unix.Unshare(kind); err != nil {
			done <- fmt.Errorf("%w: %w", errAside, err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// interfaces says for each one how bans are enforced there, or what is known to stand in the
// way of XDP.
func (e *examination) interfaces() {
	if e.status != nil {
		for _, i := range e.status.Interfaces {
			why := strings.Join(i.Reasons, "; ")
			switch i.Mode {
			case "none":
				e.add(Bad, i.Name, why, "no ban is in force there", "take away what it names, or: enforce: auto")
			case "native":
				e.add(OK, i.Name, "XDP in the driver"+suffix(why), "", "")
			default:
				e.add(OK, i.Name, i.Mode+suffix(why), "", "")
			}
		}
		return
	}
	links, err := netlink.LinkList()
	if err != nil {
		e.add(Bad, "interfaces", err.Error(), "bans cannot be enforced on what is not seen", "run doctor as root")
		return
	}
	for _, link := range links {
		a := link.Attrs()
		if a.Name == "lo" {
			continue
		}
		found := fmt.Sprintf("%s, driver %s, MTU %d", link.Type(), driverOf(a.Name), a.MTU)
		if a.Xdp != nil && a.Xdp.Attached {
			e.add(Note, a.Name, fmt.Sprintf("%s; runs XDP program %d", found, a.Xdp.ProgId), "unless that is ours, iptables enforces there", "ip link set dev "+a.Name+" xdp off takes it off")
			continue
		}
		e.add(OK, a.Name, found+"; XDP is tried, then iptables", "", "")
	}
}

func suffix(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func driverOf(name string) string {
	path, err := os.Readlink("/sys/class/net/" + name + "/device/driver")
	if err != nil {
		return "none"
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}
