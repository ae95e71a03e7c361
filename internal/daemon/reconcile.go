package daemon

import (
	"net/netip"
	"slices"
	"time"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/internal/control"
)

// How often the kernel is compared with what is wanted: as often as takes half a percent of
// the loop's time, between these.
const (
	compareSoonest = 10 * time.Second
	compareLatest  = time.Hour
	compareShare   = 200
)

// mendAgain is how soon after a look at the chain news is worth another: a program that
// changes many rules makes as much news. What comes sooner waits for the next sweep.
const mendAgain = 200 * time.Millisecond

// repairs are what was put back because others had taken it out, or the kernel had lost it.
type repairs struct {
	mended   uint64    // times that the chain was
	last     string    // what was wrong the last time
	at       time.Time // when that was
	looked   time.Time // when the chain was looked at because of news
	news     bool      // that came too soon to look
	enforced int
	evicted  uint64
	repaired uint64
	unknown  int
	due      time.Time // the next comparison
	seen     map[netip.Prefix]time.Time
}

// mend puts the chain back where others have taken it out.
func (d *Daemon) mend(news bool) {
	r := &d.repairs
	if now := time.Now(); news && now.Sub(r.looked) < mendAgain {
		r.news = true
		return
	} else if news || r.news {
		r.looked = now
	}
	mended, err := d.enforcer.Mend(news || r.news)
	r.news = false
	d.faults.set(byIPTables, err)
	for _, what := range mended {
		r.mended++
		r.last, r.at = what, time.Now()
		d.log.Warn("put back what others took out", "chain", fallback.Name, "was", what)
	}
}

// reconcileInTime compares what is wanted with what is in force, from time to time.
func (d *Daemon) reconcileInTime() {
	now := time.Now()
	if now.Before(d.repairs.due) {
		return
	}
	_, err := d.reconcile(now)
	d.faults.set("reconcile", err)
	took := time.Since(now)
	d.repairs.due = now.Add(max(compareSoonest, min(compareShare*took, compareLatest)))
}

// reconcile puts back what is wanted and not in force, and takes note of ends that packets
// have moved.
func (d *Daemon) reconcile(now time.Time) (comparison, error) {
	r := &d.repairs
	c, err := d.enforcer.Compare(d.bans, now)
	if err != nil {
		return c, err
	}
	for _, latest := range c.latest {
		b := d.bans[latest.Prefix]
		b.End = latest.End
		d.bans[latest.Prefix] = b
	}
	r.enforced = c.enforced
	r.evicted += uint64(c.evicted)
	r.repaired += uint64(c.repaired)
	if c.repaired > 0 {
		d.log.Warn("put back bans that the kernel had lost", "count", c.repaired, "evicted", c.evicted)
	}
	if n := len(c.unknown); n > 0 && n != r.unknown {
		d.log.Warn("the kernel has bans that nobody wants: xdpban verify lists them", "count", n, "one", shown(c.unknown[0]))
	}
	r.unknown = len(c.unknown)
	d.tellWhoIsBack(c.seen)
	return c, nil
}

// tellWhoIsBack logs banned sources that are seen again after they have been quiet for
// quiettime, as the kernel does where iptables enforces.
func (d *Daemon) tellWhoIsBack(seen []ban.Record) {
	first := d.repairs.seen == nil
	before := d.repairs.seen
	d.repairs.seen = make(map[netip.Prefix]time.Time, len(seen))
	var back []ban.Record
	for _, r := range seen {
		d.repairs.seen[r.Prefix] = r.Seen
		last, known := before[r.Prefix]
		if !known || r.Seen.Sub(last) > r.Quiet {
			back = append(back, r)
		}
	}
	if first || !d.config.LogBack {
		return
	}
	if len(back) > manyBans {
		d.log.Info("attackers are back", "sources", len(back))
		return
	}
	for _, r := range back {
		d.log.Info("attacker is back", "source", shown(r.Prefix), "jail", r.Jail, "packets", r.Packets)
	}
}

// verify answers what the kernel does with packets from an address, or compares all that
// is wanted with all that is in force.
func (d *Daemon) verify(request control.VerifyRequest, now time.Time) (control.VerifyReply, error) {
	if !request.Address.IsValid() {
		return d.verifyAll(now)
	}
	verdicts, err := d.enforcer.Test(request.Address.Unmap().WithZone(""))
	if err != nil {
		return control.VerifyReply{}, err
	}
	reply := control.VerifyReply{Verdicts: []control.Verdict{}}
	for _, i := range d.interfacesStatus() {
		reply.Verdicts = append(reply.Verdicts, verdictOn(i, verdicts, now))
	}
	return reply, nil
}

// verdictOn is the one of verdicts that holds on an interface.
func verdictOn(i control.Interface, verdicts []verdict, now time.Time) control.Verdict {
	shown := control.Verdict{Interface: i.Name, Mode: i.Mode, Verdict: control.Pass}
	mode := i.Mode
	if mode != byIPTables && mode != byNothing && mode != "observe" {
		mode = "xdp"
	}
	n := slices.IndexFunc(verdicts, func(v verdict) bool { return v.mode == mode })
	if n < 0 {
		shown.Note = "nothing is enforced there"
		return shown
	}
	v := verdicts[n]
	shown.Note = v.note
	if v.drop {
		shown.Verdict = control.Drop
	}
	if v.by.Prefix.IsValid() {
		by := control.View(v.by, now)
		shown.By = &by
	}
	return shown
}

func (d *Daemon) verifyAll(now time.Time) (control.VerifyReply, error) {
	mended, err := d.enforcer.Mend(true)
	if err != nil {
		return control.VerifyReply{}, err
	}
	if mended == nil {
		mended = []string{}
	}
	c, err := d.reconcile(now)
	if err != nil {
		return control.VerifyReply{}, err
	}
	unknown := slices.Clone(c.unknown)
	slices.SortFunc(unknown, comparePrefixes)
	if unknown == nil {
		unknown = []netip.Prefix{}
	}
	return control.VerifyReply{Compared: &control.Comparison{
		Wanted: len(d.bans), Enforced: c.enforced, Evicted: c.evicted, Repaired: c.repaired, Unknown: unknown, Mended: mended,
	}}, nil
}
