package daemon

import (
	"context"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/internal/control"
)

// How often the kernel is compared with what is wanted: as often as takes half a percent of
// the time, between these.
const (
	compareSoonest = 10 * time.Second
	compareLatest  = time.Hour
	compareShare   = 200
)

// repairs are what was put back because others had taken it out, or the kernel had lost it.
type repairs struct {
	mended   uint64    // times that the chain was
	last     string    // what was wrong the last time
	at       time.Time // when that was
	enforced int
	evicted  uint64
	repaired uint64
	unknown  int
}

// mend puts the chain back where others have taken it out.
func (d *Daemon) mend(news bool) {
	r := &d.repairs
	mended, err := d.enforcer.Mend(news)
	d.faults.set(byIPTables, err)
	for _, what := range mended {
		r.mended++
		r.last, r.at = what, time.Now()
		d.log.Warn("put back what others took out", "chain", fallback.Name, "was", what)
	}
}

// reconcileInTime compares what is wanted with what is in force, from time to time, until
// ctx ends.
func (d *Daemon) reconcileInTime(ctx context.Context) {
	for wait := sweepEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		_, err := d.reconcile(ctx)
		took := time.Since(began)
		if d.turn(ctx, func() error { d.faults.set("reconcile", err); return nil }) != nil {
			return
		}
		if d.swollen.Swap(false) {
			debug.FreeOSMemory()
		}
		wait = max(compareSoonest, min(compareShare*took, compareLatest))
	}
}

// reconcile puts back what is wanted and not in force, and takes note of ends that packets
// have moved. It runs off the loop.
func (d *Daemon) reconcile(ctx context.Context) (comparison, error) {
	d.comparing.Lock()
	defer d.comparing.Unlock()
	c, err := d.enforcer.Compare(func(do func() error) error { return d.turn(ctx, do) })
	if err != nil {
		return c, err
	}
	return c, d.turn(ctx, func() error { d.reconciled(c); return nil })
}

// reconciled counts and logs what a comparison found.
func (d *Daemon) reconciled(c comparison) {
	r := &d.repairs
	r.enforced = c.enforced
	r.evicted += uint64(c.evicted)
	r.repaired += uint64(c.repaired)
	if c.repaired > 0 {
		d.log.Warn("put back bans that the kernel had lost", "count", c.repaired, "evicted", c.evicted)
	}
	if c.unknowns > 0 && c.unknowns != r.unknown {
		d.log.Warn("the kernel has bans that nobody wants: xdpban verify lists them", "count", c.unknowns, "one", shown(c.unknown[0]))
	}
	r.unknown = c.unknowns
	d.tellWhoIsBack(c)
}

// tellWhoIsBack logs banned sources that are seen again after they have been quiet for
// quiettime, as the kernel does where iptables enforces.
func (d *Daemon) tellWhoIsBack(c comparison) {
	if !d.config.LogBack {
		return
	}
	if c.returns > manyBans {
		d.log.Info("attackers are back", "sources", c.returns)
		return
	}
	for _, r := range c.returned {
		d.log.Info("attacker is back", "source", shown(r.Prefix), "jail", r.Jail, "packets", r.Packets)
	}
}

// verify answers what the kernel does with packets from an address, or compares all that
// is wanted with all that is in force.
func (d *Daemon) verify(ctx context.Context, request control.VerifyRequest) (control.VerifyReply, error) {
	if !request.Address.IsValid() {
		return d.verifyAll(ctx)
	}
	return ask(ctx, d, func() (control.VerifyReply, error) {
		return d.verifyAddress(request.Address.Unmap().WithZone(""), time.Now())
	})
}

func (d *Daemon) verifyAddress(addr netip.Addr, now time.Time) (control.VerifyReply, error) {
	verdicts, err := d.enforcer.Test(addr)
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

// verifyAll runs off the loop.
func (d *Daemon) verifyAll(ctx context.Context) (control.VerifyReply, error) {
	mended, err := ask(ctx, d, func() ([]string, error) { return d.enforcer.Mend(true) })
	if err != nil {
		return control.VerifyReply{}, err
	}
	c, err := d.reconcile(ctx)
	if err != nil {
		return control.VerifyReply{}, err
	}
	slices.SortFunc(c.unknown, ban.Compare)
	return control.VerifyReply{Compared: &control.Comparison{
		Wanted: c.wanted, Enforced: c.enforced, Evicted: c.evicted, Repaired: c.repaired,
		Unknown: append([]netip.Prefix{}, c.unknown...), Unknowns: c.unknowns, Mended: append([]string{}, mended...),
	}}, nil
}
