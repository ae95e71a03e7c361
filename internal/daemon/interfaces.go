package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"xdpban/fallback"
	"xdpban/internal/ban"
)

// ErrNowhere says that there are interfaces and bans can be enforced on none of them.
var ErrNowhere = errors.New("bans can be enforced nowhere")

// adopt takes note of the interfaces that an earlier daemon enforced on.
func (d *Daemon) adopt() error {
	there, err := d.enforcer.Attachments()
	if err != nil {
		return err
	}
	for _, a := range there {
		d.attached[a.Interface] = a
	}
	d.detachUnselected()
	return nil
}

// allowList is what a fault of the allow list is called.
const allowList = "allow list"

// survey looks at the host and makes enforcement fit: the allow list, and the interfaces
// that have come, gone or been replaced by others of the same name.
func (d *Daemon) survey() {
	d.faults.set(allowList, d.allow())
	found, absent, err := selected(d.config.Interfaces)
	d.faults.set("interfaces", err)
	if err != nil {
		return
	}
	d.forgetGone()
	for _, name := range found {
		d.attach(name)
	}
	d.faults.set("left over", d.enforcer.Settle())
	for _, pattern := range d.config.Interfaces {
		d.faults.set("interface "+pattern, absence(pattern, absent))
	}
}

func absence(pattern string, absent []string) error {
	if !slices.Contains(absent, pattern) {
		return nil
	}
	if pattern == auto {
		return errors.New("no interface carries a default route: waiting for one")
	}
	return errors.New("there is no such interface: waiting for it")
}

// attach enforces on the interface name, or makes sure that it still does. What was refused
// is tried again at each survey: whatever held the interface may have gone.
func (d *Daemon) attach(name string) {
	before, known := d.attached[name]
	a, err := d.enforcer.Attach(name)
	d.faults.set(name, err)
	if err != nil {
		d.attached[name] = attachment{Interface: name, Mode: byNothing, refused: err}
		return
	}
	d.attached[name] = a
	if known && before.refused == nil && before.Index == a.Index && before.Mode == a.Mode {
		return
	}
	d.log.Info("enforcing", "interface", name, "mode", a.Mode, "why", strings.Join(a.Refusals, "; "))
	if a.Mode == byIPTables {
		for _, note := range d.enforcer.Notes() {
			d.log.Info("iptables", "chain", fallback.Name, "note", note)
		}
	}
}

// forgetGone drops attachments whose interface is no longer there; the kernel has detached
// the program with it.
func (d *Daemon) forgetGone() {
	names, err := interfaceNames()
	if err != nil {
		return // the next survey will see
	}
	present := slices.Collect(maps.Values(names))
	for name := range d.attached {
		if !slices.Contains(present, name) {
			d.faults.set(name, nil)
			delete(d.attached, name)
			d.log.Warn("the interface has gone", "interface", name)
		}
	}
}

// detachUnselected takes the program off interfaces that the configuration does not name.
// What auto once meant stays: a default route may be away for a moment.
func (d *Daemon) detachUnselected() {
	found, _, err := selected(d.config.Interfaces)
	if err != nil || slices.Contains(d.config.Interfaces, auto) {
		return // an error is said by the survey that follows
	}
	for name := range d.attached {
		if slices.Contains(found, name) {
			continue
		}
		if err := d.enforcer.Detach(name); err != nil {
			d.log.Warn("detach", "interface", name, "error", err)
			continue
		}
		d.faults.set(name, nil)
		delete(d.attached, name)
		d.log.Info("detached", "interface", name)
	}
}

// nowhere is the error of a host that has the interfaces and refuses on all of them.
func (d *Daemon) nowhere() error {
	if len(d.attached) == 0 {
		return nil
	}
	refused := []error{}
	for _, name := range slices.Sorted(maps.Keys(d.attached)) {
		a := d.attached[name]
		if a.refused == nil {
			return nil
		}
		refused = append(refused, fmt.Errorf("%s: %w", name, a.refused))
	}
	return fmt.Errorf("%w: %w", ErrNowhere, errors.Join(refused...))
}

// allow brings the allow list into force and ends bans that it forbids now. What could not
// be found out stays as it was. Where the kernel cannot take the list, bans heed it all the same.
func (d *Daemon) allow() error {
	allowed, unknown := neverBanned(d.config.IgnoreIP)
	if unknown != nil {
		for prefix, origin := range d.allowed.All {
			allowed.Add(prefix, origin)
		}
	}
	if d.faults.at(allowList) || !maps.Equal(maps.Collect(allowed.All), maps.Collect(d.allowed.All)) {
		added := added(allowed, d.allowed)
		if d.faults.at(allowList) { // it may have kept an earlier one out
			added = allowed
		}
		d.allowed = allowed
		return errors.Join(unknown, d.enforcer.Allow(allowed), d.unbanAllowed(added))
	}
	return unknown
}

// added is what next has and before has not.
func added(next, before *ban.Set) *ban.Set {
	was := maps.Collect(before.All)
	set := new(ban.Set)
	for prefix, origin := range next.All {
		if _, there := was[prefix]; !there {
			set.Add(prefix, origin)
		}
	}
	return set
}

// unbanAllowed ends bans of what has been added to the allow list.
func (d *Daemon) unbanAllowed(added *ban.Set) error {
	var forbidden []netip.Prefix
	for _, b := range d.bans.Meeting(added) {
		if _, _, covered := added.Covering(b.Prefix); covered && !b.Forced {
			forbidden = append(forbidden, b.Prefix)
		}
	}
	err := d.unban(forbidden)
	if err == nil {
		d.reportUnbanned(forbidden, len(forbidden), "on the allow list now")
	}
	return err
}
