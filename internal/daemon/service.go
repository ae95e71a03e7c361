package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/jails"
	"xdpban/jails/source"
)

// service answers the API on the daemon's loop.
type service struct{ d *Daemon }

func (s service) Reload(ctx context.Context) (control.ReloadReply, error) { return s.d.Reload(ctx) }

func (s service) Status(ctx context.Context) (control.Status, error) {
	return ask(ctx, s.d, s.d.status)
}

// sortAtMost is how many bans are listed in the order of their ends. More are listed as
// they come: nobody has to keep them.
const sortAtMost = 4096

// Bans reads the kernel off the loop.
func (s service) Bans(ctx context.Context, yield func(control.Ban) error) error {
	list, err := ask(ctx, s.d, s.d.enforcer.Lister)
	if err != nil {
		return err
	}
	now := time.Now()
	few := make([]control.Ban, 0, sortAtMost)
	var failed error
	give := func(bans ...control.Ban) bool {
		for _, b := range bans {
			if failed = errors.Join(ctx.Err(), yield(b)); failed != nil {
				return false
			}
		}
		return true
	}
	err = list(func(r ban.Record) bool {
		switch {
		case !r.Live(now):
			return true
		case len(few) < cap(few):
			few = append(few, control.View(r, now))
			return true
		case few != nil && !give(few...):
			return false
		}
		few = nil
		return give(control.View(r, now))
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	slices.SortFunc(few, func(a, b control.Ban) int { return b.End.Compare(a.End) })
	give(few...)
	return failed
}

func (s service) Ban(ctx context.Context, request control.BanRequest) (control.BanReply, error) {
	return s.d.banByHand(ctx, request)
}

func (s service) Unban(ctx context.Context, request control.UnbanRequest) (control.UnbanReply, error) {
	return s.d.unbanByHand(ctx, request)
}

func (s service) Verify(ctx context.Context, request control.VerifyRequest) (control.VerifyReply, error) {
	return s.d.verify(ctx, request)
}

func (d *Daemon) status() (control.Status, error) {
	totals, err := d.enforcer.Totals()
	d.faults.set("counters", err) // and what is known all the same is told
	status := control.Status{
		Version: d.Version, PID: os.Getpid(), Since: d.since, Config: d.Config,
		Enforce: d.config.Enforce.String(), Clock: d.enforcer.Clock(),
		Interfaces: d.interfacesStatus(), Chain: d.chainStatus(), Faults: d.faults.list(), Allowed: d.allowedStatus(),
		Bans: control.Use{Live: d.bans.Len(), Max: d.config.MaxBans, Missing: d.missing,
			Enforced: d.repairs.enforced, Evicted: d.repairs.evicted, Repaired: d.repairs.repaired, Unknown: d.repairs.unknown, Refused: d.givenUp},
		Rooms:   d.enforcer.Rooms(),
		Packets: control.Packets{Dropped: totals.Dropped.Packets, DroppedBytes: totals.Dropped.Bytes, Spared: totals.Allowed.Packets},
		Jails:   []control.Jail{},
	}
	for _, n := range d.banned {
		status.Bans.Total += n
	}
	live := d.bans.Jails()
	for _, j := range d.jails.Status() {
		j.Allowed += d.spared[j.Name].failures
		status.Jails = append(status.Jails, jailStatus(j, live[j.Name], d.banned[j.Name]))
		delete(live, j.Name)
	}
	status.Others = holders(live)
	return status, nil
}

// holders are those that have so many bans each, by name.
func holders(live map[string]int) []control.Holder {
	list := []control.Holder{}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		list = append(list, control.Holder{Name: name, Bans: live[name]})
	}
	return list
}

func (d *Daemon) chainStatus() control.Chain {
	notes := d.enforcer.Notes()
	if notes == nil {
		notes = []string{}
	}
	return control.Chain{Notes: notes, Mended: d.repairs.mended, Last: d.repairs.last, At: d.repairs.at}
}

func (d *Daemon) interfacesStatus() []control.Interface {
	list := []control.Interface{}
	for _, name := range slices.Sorted(maps.Keys(d.attached)) {
		a := d.attached[name]
		reasons := a.Refusals
		if a.refused != nil {
			reasons = []string{a.refused.Error()}
		}
		if reasons == nil {
			reasons = []string{}
		}
		list = append(list, control.Interface{Name: name, Mode: a.Mode, Reasons: reasons, Since: a.Since})
	}
	return list
}

func (d *Daemon) allowedStatus() []control.Allowed { return origins(d.allowed) }

// NeverBanned is whom a daemon would never ban on this host, and where each entry comes from. The
// error is what could not be found out.
func NeverBanned(ignoreip []netip.Prefix) ([]control.Allowed, error) {
	allowed, err := neverBanned(ignoreip)
	return origins(allowed), err
}

func origins(allowed *ban.Set) []control.Allowed {
	list := []control.Allowed{}
	for prefix, origin := range allowed.All {
		list = append(list, control.Allowed{Prefix: prefix, Origin: origin})
	}
	slices.SortFunc(list, func(a, b control.Allowed) int { return ban.Compare(a.Prefix, b.Prefix) })
	return list
}

func jailStatus(j jails.JailStatus, live int, banned uint64) control.Jail {
	status := control.Jail{
		Name: j.Name, Enabled: j.Enabled, Filter: j.Filter, Bans: live, Banned: banned,
		Lines: j.Lines, Matched: j.Matched, Ignored: j.Ignored, Allowed: j.Allowed, Untrusted: j.Untrusted,
		Names: j.Names, Stale: j.Stale, TimedOut: j.TimedOut, Sources: j.Sources, Forgotten: j.Forgotten, LastMatch: j.LastMatch, Logs: []control.Log{},
	}
	for _, f := range j.Files {
		status.Logs = append(status.Logs, logStatus(f))
	}
	return status
}

func logStatus(f source.FileStatus) control.Log {
	waking := "inotify"
	if f.Polling != "" {
		waking = "polling: " + f.Polling
	}
	return control.Log{Path: f.Path, Lag: f.Lag, Lines: f.Lines, TooLong: f.TooLong, Skipped: f.Skipped, Torn: f.Torn, Waking: waking, Problem: f.Error, Last: f.LastLine}
}
