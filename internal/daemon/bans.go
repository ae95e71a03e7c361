package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/jails"
)

// manyBans made or ended at one time are reported in one line.
const manyBans = 100

// banFound bans what a jail found, together with whatever else has been found by now.
func (d *Daemon) banFound(first jails.Found) {
	wanted := make(map[netip.Prefix]ban.Ban)
	for f, more := first, true; more; {
		if b, ok := d.judge(f); ok {
			if before, twice := wanted[b.Prefix]; twice {
				b = before.Renewed(b)
			}
			wanted[b.Prefix] = b
		}
		if len(wanted) == batch {
			break
		}
		select {
		case f = <-d.found:
		default:
			more = false
		}
	}
	d.insist(wanted)
}

// insist brings wanted into force together with what the kernel did not take before. What
// it does not take now is a fault, and tried again by the sweep.
func (d *Daemon) insist(wanted map[netip.Prefix]ban.Ban) {
	now := time.Now()
	for prefix, b := range d.refused {
		_, newer := wanted[prefix]
		_, _, allowed := d.allowed.Covering(prefix) // since then
		if !newer && !allowed && b.Live(now) {
			wanted[prefix] = b
		}
	}
	d.refused = nil
	if len(wanted) == 0 {
		d.faults.set("bans", nil) // what was refused has been unbanned, allowed or is over
		return
	}
	err := d.ban(wanted)
	if err != nil {
		wanted, err = d.banEach(wanted)
	}
	d.faults.set("bans", err)
	if err != nil && len(wanted) <= int(d.config.MaxBans) {
		d.refused = wanted
	}
}

// judge makes the ban of a finding, unless the allow list forbids it.
func (d *Daemon) judge(f jails.Found) (ban.Ban, bool) {
	if d.allowed.Contains(f.Addr) {
		d.log.Debug("allowed", "address", f.Addr, "jail", f.Ban.Jail)
		return ban.Ban{}, false
	}
	if !f.Ban.Prefix.IsSingleIP() { // else the jail may spare a neighbour
		f.Ban.Prefix = d.target(f.Addr)
	}
	return f.Ban, true
}

// ban brings wanted into force. After an error some of it may be: doing it again is safe.
func (d *Daemon) ban(wanted map[netip.Prefix]ban.Ban) error {
	list := slices.Collect(maps.Values(wanted))
	if err := d.enforcer.Ban(list...); err != nil {
		return err
	}
	for _, b := range list {
		if before, again := d.bans[b.Prefix]; again {
			b = before.Renewed(b)
		} else {
			d.banned[b.Jail]++
		}
		d.bans[b.Prefix] = b
	}
	d.report(list)
	return nil
}

// banEach brings each of wanted into force by itself: one that the kernel does not take
// keeps no other out of the account. left are those.
func (d *Daemon) banEach(wanted map[netip.Prefix]ban.Ban) (left map[netip.Prefix]ban.Ban, err error) {
	left = make(map[netip.Prefix]ban.Ban)
	for prefix, b := range wanted {
		if refused := d.ban(map[netip.Prefix]ban.Ban{prefix: b}); refused != nil {
			left[prefix], err = b, refused
		}
	}
	return left, err
}

// banAll brings all of wanted into force, or nothing of it.
func (d *Daemon) banAll(wanted map[netip.Prefix]ban.Ban) error {
	err := d.ban(wanted)
	if err == nil {
		return nil
	}
	var begun []netip.Prefix
	for prefix := range wanted {
		if _, before := d.bans[prefix]; !before {
			begun = append(begun, prefix)
		}
	}
	if _, left := d.enforcer.Unban(begun...); left != nil {
		return fmt.Errorf("%w; take back what was done: %w", err, left)
	}
	return err
}

// report logs new bans, a long list of them in one line.
func (d *Daemon) report(list []ban.Ban) {
	if len(list) > manyBans {
		d.log.Info("banned", "sources", len(list), "jail", list[0].Jail, "reason", list[0].Reason)
		return
	}
	for _, b := range list {
		d.log.Info("banned", "source", shown(b.Prefix), "jail", b.Jail, "reason", b.Reason, "for", b.End.Sub(b.Since).Round(time.Second))
	}
}

// unban ends the bans of exactly these prefixes and forgets their failures.
func (d *Daemon) unban(prefixes []netip.Prefix, why string) error {
	if len(prefixes) == 0 {
		return nil
	}
	if _, err := d.enforcer.Unban(prefixes...); err != nil {
		return err
	}
	for _, prefix := range prefixes {
		b := d.bans[prefix]
		delete(d.bans, prefix)
		delete(d.refused, prefix)
		d.jails.Forget(prefix)
		if len(prefixes) <= manyBans {
			d.log.Info("unbanned", "source", shown(prefix), "jail", b.Jail, "why", why)
		}
	}
	if len(prefixes) > manyBans {
		d.log.Info("unbanned", "sources", len(prefixes), "why", why)
	}
	return nil
}

// sweep lets go of bans that have ended, and says so of those that the kernel had lost.
func (d *Daemon) sweep() {
	if d.refused != nil {
		d.insist(make(map[netip.Prefix]ban.Ban))
	}
	ended, missing, err := d.enforcer.Sweep()
	d.faults.set("sweep", err)
	for _, r := range ended {
		delete(d.bans, r.Prefix)
		if len(ended) > manyBans {
			continue
		}
		d.log.Info("ban ended", "source", shown(r.Prefix), "jail", r.Jail, "packets", r.Packets, "refreshes", r.Refreshes)
	}
	if len(ended) > manyBans {
		d.log.Info("bans ended", "sources", len(ended))
	}
	for _, prefix := range missing {
		delete(d.bans, prefix)
	}
	if len(missing) > 0 {
		d.missing += uint64(len(missing))
		d.log.Warn("the kernel had lost bans before they ended: raise maxbans", "count", len(missing))
	}
}

// byHand checks what an operator asks for, all of it before any of it is done.
func (d *Daemon) byHand(request control.BanRequest, now time.Time) (map[netip.Prefix]ban.Ban, control.BanReply, error) {
	reply := control.BanReply{Banned: []netip.Prefix{}, Spared: []control.Allowed{}}
	length, template, err := d.template(request, now)
	if err != nil {
		return nil, reply, err
	}
	reply.Until = now.Add(length)

	prefixes, err := d.named(request)
	if err != nil {
		return nil, reply, err
	}
	wanted := make(map[netip.Prefix]ban.Ban, len(prefixes))
	for _, prefix := range prefixes {
		if _, twice := wanted[prefix]; twice {
			continue
		}
		if !request.Force {
			if err := d.permit(prefix, request.Spare); err != nil {
				return nil, reply, err
			}
			for _, inside := range d.allowed.Within(prefix) {
				_, origin, _ := d.allowed.Covering(inside)
				reply.Spared = append(reply.Spared, control.Allowed{Prefix: inside, Origin: origin})
			}
		}
		b := template
		b.Prefix = prefix
		wanted[prefix] = b
		if len(prefixes) <= control.Named {
			reply.Banned = append(reply.Banned, prefix)
		}
	}
	reply.Count = len(wanted)
	return wanted, reply, nil
}

// errNoAddress says that a request, or an entry of it, is empty.
var errNoAddress = &control.Error{Kind: control.Usage, Text: "an address or a prefix is missing"}

// named is what request bans, as bans have it.
func (d *Daemon) named(request control.BanRequest) ([]netip.Prefix, error) {
	list, err := listed(request.Prefixes, request.Addresses, request.List)
	if err != nil {
		return nil, err
	}
	prefixes := make([]netip.Prefix, 0, list.Len())
	for _, prefix := range list.Prefixes {
		prefix, err := canonical(prefix)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	for _, addr := range list.Addresses {
		if !addr.IsValid() {
			return nil, errNoAddress
		}
		prefixes = append(prefixes, d.target(addr))
	}
	if len(prefixes) == 0 {
		return nil, errNoAddress
	}
	return prefixes, nil
}

// listed is all that a request names; text is more of it, one a line.
func listed(prefixes []netip.Prefix, addresses []netip.Addr, text string) (ban.List, error) {
	list := ban.List{Prefixes: slices.Clip(prefixes), Addresses: slices.Clip(addresses)}
	mistakes, err := list.Read("list", strings.NewReader(text))
	if err = errors.Join(append(mistakes[:min(len(mistakes), 10)], err)...); err != nil {
		return ban.List{}, &control.Error{Kind: control.Usage, Text: err.Error()}
	}
	return list, nil
}

// canonical is prefix as bans have it, masked and IPv4 never in its mapped form, whatever
// the client sent.
func canonical(prefix netip.Prefix) (netip.Prefix, error) {
	if !prefix.IsValid() {
		return netip.Prefix{}, errNoAddress
	}
	same, err := ban.ParsePrefix(prefix.String())
	if err != nil {
		return netip.Prefix{}, &control.Error{Kind: control.Usage, Text: err.Error()}
	}
	return same, nil
}

// template is the ban that request makes, without its prefix, and how long it lasts.
func (d *Daemon) template(request control.BanRequest, now time.Time) (time.Duration, ban.Ban, error) {
	rules, ok := d.config.Defaults, true
	jail := ban.ByHand
	if request.Jail != "" {
		jail = request.Jail
		rules, ok = d.config.Jail(jail)
	}
	if !ok {
		return 0, ban.Ban{}, &control.Error{Kind: control.Usage, Text: fmt.Sprintf("there is no jail %q", request.Jail), Hint: "xdpban status lists them"}
	}
	length := rules.BanTime
	if request.Seconds < 0 || request.Seconds > int64(jails.MaxTime/time.Second) {
		return 0, ban.Ban{}, &control.Error{Kind: control.Usage, Text: fmt.Sprintf("cannot ban for %d seconds", request.Seconds)}
	}
	if request.Seconds > 0 {
		length = time.Duration(request.Seconds) * time.Second
	}
	b := ban.Ban{Jail: jail, Reason: request.Reason, Since: now, End: now.Add(length), Quiet: rules.QuietTime, Hand: true, Forced: request.Force}
	if rules.MaxBanTime > 0 {
		b.Limit = now.Add(max(rules.MaxBanTime, length))
	}
	return length, b, nil
}

// everybody is the shortest prefix that an operator may ban without force.
const (
	everybodyV4 = 8
	everybodyV6 = 16
)

// permit refuses what would lock out the operator or the host itself.
func (d *Daemon) permit(prefix netip.Prefix, spare []netip.Addr) error {
	const hint = "--force bans it all the same"
	if allowed, origin, ok := d.allowed.Covering(prefix); ok {
		return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%s is never banned: %s (%s)", shown(prefix), shown(allowed), origin), Hint: hint}
	}
	for _, addr := range spare {
		if prefix.Contains(addr.Unmap()) {
			return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%s is where you are logged in from (%s)", shown(prefix), addr), Hint: hint}
		}
	}
	if shortest := everybody(prefix); prefix.Bits() < shortest {
		return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%s is too much of the internet (wider than /%d)", prefix, shortest), Hint: hint}
	}
	return nil
}

func everybody(prefix netip.Prefix) int {
	if prefix.Addr().Is4() {
		return everybodyV4
	}
	return everybodyV6
}

// unbanByHand ends the bans that request names and says which of them had none.
func (d *Daemon) unbanByHand(request control.UnbanRequest) (control.UnbanReply, error) {
	reply := control.UnbanReply{Unbanned: []netip.Prefix{}, Absent: []control.Absent{}}
	if request.All {
		clear(d.refused)
		for prefix := range d.bans {
			reply.Unbanned = append(reply.Unbanned, prefix)
		}
		return d.conclude(reply)
	}
	list, err := listed(request.Prefixes, request.Addresses, request.List)
	if err != nil {
		return reply, err
	}
	for _, prefix := range list.Prefixes {
		prefix, err := canonical(prefix)
		if err != nil {
			return reply, err
		}
		d.pick(&reply, prefix, prefix)
	}
	for _, addr := range list.Addresses {
		if !addr.IsValid() {
			return reply, errNoAddress
		}
		d.pick(&reply, ban.Single(addr), ban.Single(addr), ban.Of(addr, d.config.IPv6Prefix))
	}
	slices.SortFunc(reply.Unbanned, comparePrefixes)
	reply.Unbanned = slices.Compact(reply.Unbanned) // neighbours have one ban
	return d.conclude(reply)
}

// conclude ends the bans that reply names, and of a long list leaves it the number.
func (d *Daemon) conclude(reply control.UnbanReply) (control.UnbanReply, error) {
	err := d.unban(reply.Unbanned, "by hand")
	if reply.Count = len(reply.Unbanned); reply.Count > control.Named {
		reply.Unbanned = []netip.Prefix{}
	}
	return reply, err
}

// pick adds the first of candidates that is banned to what is unbanned. Failures counted
// for it are forgotten in any case.
func (d *Daemon) pick(reply *control.UnbanReply, asked netip.Prefix, candidates ...netip.Prefix) {
	for _, prefix := range candidates {
		if _, banned := d.bans[prefix]; banned {
			reply.Unbanned = append(reply.Unbanned, prefix)
			return
		}
		delete(d.refused, prefix)
		d.jails.Forget(prefix)
	}
	absent := control.Absent{Prefix: asked}
	for bits := asked.Bits() - 1; bits >= 0 && !absent.Covered.IsValid(); bits-- {
		wider := netip.PrefixFrom(asked.Addr(), bits).Masked()
		if _, banned := d.bans[wider]; banned {
			absent.Covered = wider
		}
	}
	reply.Absent = append(reply.Absent, absent)
}

// shown is prefix as people write it: an address without its full length.
func shown(prefix netip.Prefix) string {
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}
