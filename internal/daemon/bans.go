package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"xdpban/internal/ban"
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
	if err != nil {
		d.keepRefused(wanted)
	}
}

// keepRefused keeps what was refused to try it again, and gives up what is too much: where
// there is no room for long, who goes on is found again.
func (d *Daemon) keepRefused(refused map[netip.Prefix]ban.Ban) {
	for prefix := range refused {
		if len(refused) <= batch {
			break
		}
		delete(refused, prefix)
		d.givenUp++
	}
	d.refused = refused
}

// judge makes the ban of a finding, unless the allow list forbids it.
func (d *Daemon) judge(f jails.Found) (ban.Ban, bool) {
	if by, origin, allowed := d.allowed.Covering(ban.Single(f.Addr)); allowed {
		d.spare(f, by, origin)
		return ban.Ban{}, false
	}
	if !f.Ban.Prefix.IsSingleIP() { // else the jail may spare a neighbour
		f.Ban.Prefix = d.rules().target(f.Addr)
	}
	return f.Ban, true
}

// spare counts the failures of a source that the allow list holds and its jail's ignoreip does not, and
// tells of it once: a gateway that attacks is a proxy or a NAT, behind which nobody can be told apart.
func (d *Daemon) spare(f jails.Found, by netip.Prefix, origin string) {
	known := d.spared[f.Ban.Jail]
	if known.by == nil {
		known.by = make(map[netip.Prefix]bool)
	}
	if !known.by[by] {
		d.log.Warn("failures of one who is never banned", "source", f.Addr, "jail", f.Ban.Jail, "reason", f.Rule, "why", origin)
	}
	known.by[by] = true
	known.failures += uint64(f.Failures)
	d.spared[f.Ban.Jail] = known
}

// ban brings wanted into force, or after an error nothing of it that is new.
func (d *Daemon) ban(wanted map[netip.Prefix]ban.Ban) error {
	list := slices.Collect(maps.Values(wanted))
	fresh, now := make(map[string]uint64), time.Now()
	var news []ban.Ban
	for _, b := range list {
		before, again := d.bans.Get(b.Prefix)
		if !again {
			fresh[b.Jail]++
		}
		if !again || outlasts(b, before, now) {
			news = append(news, b)
		}
	}
	if err := d.enforcer.Ban(list...); err != nil {
		return err
	}
	for jail, n := range fresh {
		d.banned[jail] += n
	}
	d.report(news)
	return nil
}

// outlasts reports whether b lasts at least twice as long as before does. Less of a renewal is no news:
// what is not dropped, as in observe, is found again with each of its lines.
func outlasts(b, before ban.Ban, now time.Time) bool {
	return b.End.Sub(now) >= 2*before.End.Sub(now)
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
func (d *Daemon) unban(prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return nil
	}
	if _, err := d.enforcer.Unban(prefixes...); err != nil {
		return err
	}
	for _, prefix := range prefixes {
		delete(d.refused, prefix)
		d.jails.Forget(prefix)
	}
	return nil
}

// reportUnbanned logs bans that were ended, so many, of which prefixes are the first; a long list of
// them in one line.
func (d *Daemon) reportUnbanned(prefixes []netip.Prefix, count int, why string) {
	if count > manyBans {
		d.log.Info("unbanned", "sources", count, "why", why)
		return
	}
	for _, prefix := range prefixes {
		d.log.Info("unbanned", "source", shown(prefix), "why", why)
	}
}

// sweep lets go of bans that have ended, and says so of those that the kernel had lost. Of
// many it does some and has the loop come back: meanwhile others are heard.
func (d *Daemon) sweep() {
	if d.refused != nil {
		d.insist(make(map[netip.Prefix]ban.Ban))
	}
	ended, missing, err := d.enforcer.Sweep()
	d.faults.set("sweep", err)
	d.over.add(ended, missing)
	if err == nil && d.enforcer.Due() {
		tell(d.again)
		return
	}
	d.reportEnded()
}

// An end is what sweeps have found since the last report.
type end struct {
	bans    []ban.Record // manyBans of them and one more at most
	count   int
	missing int
}

func (e *end) add(ended []ban.Record, missing []netip.Prefix) {
	e.count += len(ended)
	e.missing += len(missing)
	e.bans = append(e.bans, ended[:min(len(ended), manyBans+1-len(e.bans))]...)
}

// reportEnded logs bans that have ended, a long list of them in one line.
func (d *Daemon) reportEnded() {
	over := d.over
	d.over = end{}
	if over.count > manyBans {
		d.log.Info("bans ended", "sources", over.count)
	} else {
		for _, r := range over.bans {
			d.log.Info("ban ended", "source", shown(r.Prefix), "jail", r.Jail, "packets", r.Packets, "refreshes", r.Refreshes)
		}
	}
	if over.missing > 0 {
		d.missing += uint64(over.missing)
		d.log.Warn("the kernel had lost bans before they ended: raise maxbans", "count", over.missing)
	}
}

// shown is prefix as people write it: an address without its full length.
func shown(prefix netip.Prefix) string {
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}
