package jails

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// A Rehearsal is a jail that reads a log as if it had followed it: the time is that of the lines, and
// what it bans is out from then on. It is not for concurrent use.
type Rehearsal struct {
	reader reader
	clock  time.Time // the latest time that a matching line said
	last   []byte    // the last line that has a date
	live   map[netip.Prefix]*Rehearsed
	bans   []*Rehearsed
	found  *Found // by the line that is read; nil: nobody
}

// Rehearsed is a ban that there would have been.
type Rehearsed struct {
	Found
	Kept int // matching lines about it while it was out: such packets would have been dropped
}

// Rehearse makes ready the jail of c called name, enabled or not, for a log whose dates are in loc where
// they name no zone; dateless: it has none. The error is a yamldoc.Error.
func (c *Config) Rehearse(name string, loc *time.Location, dateless bool) (*Rehearsal, error) {
	var names []string
	for _, config := range c.Jails {
		names = append(names, config.Name)
		if config.Name != name {
			continue
		}
		jail := newJail(config, c.IPv6Prefix)
		r := &Rehearsal{live: make(map[netip.Prefix]*Rehearsed)}
		all := &Jails{found: func(f Found) { r.found = &f }, log: slog.New(slog.DiscardHandler)}
		r.reader = reader{all, jail, config.Filter.NewReader(loc)}
		if dateless {
			r.reader.filter = config.Filter.NewDatelessReader()
		}
		return r, nil
	}
	hint := "there are " + strings.Join(names, ", ")
	if near := yamldoc.Near(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return nil, &yamldoc.Error{Msg: fmt.Sprintf("there is no jail %q", name), Hint: hint}
}

// Read looks at a line; now is when dates without a year are read, and when a line is from that has
// no date, as long as none before it had one.
func (r *Rehearsal) Read(line []byte, now time.Time) filter.Result {
	jail := r.reader.jail
	jail.lines.Add(1)
	result := r.reader.filter.Read(line, now)
	if result.Template >= 0 {
		r.last = append(r.last[:0], line...)
	}
	if result.TimedOut > 0 {
		r.reader.timedOut()
	}
	switch result.Outcome {
	case filter.Ignored:
		jail.ignored.Add(1)
	case filter.Matched:
		if !result.Dated && !r.clock.IsZero() {
			result.Time = r.clock
		}
		if result.Time.After(r.clock) {
			r.clock = result.Time
		}
		r.matched(result)
	}
	return result
}

func (r *Rehearsal) matched(result filter.Result) {
	if r.isOut(result) {
		return
	}
	r.reader.jail.matched.Add(1)
	r.found = nil
	r.reader.matched(result, false, r.clock)
	if r.found == nil {
		return
	}
	made := &Rehearsed{Found: *r.found}
	r.live[made.Ban.Prefix] = made
	r.bans = append(r.bans, made)
}

// isOut reports whether what result tells of is banned already: then packets of it go on coming, and
// the line would not have been written.
func (r *Rehearsal) isOut(result filter.Result) bool {
	if !result.Addr.IsValid() {
		return false
	}
	for _, prefix := range []netip.Prefix{r.reader.jail.prefix(result.Addr), ban.Single(result.Addr)} {
		banned := r.live[prefix]
		if banned == nil {
			continue
		}
		if banned.Ban.Live(r.clock) {
			banned.Kept++
			banned.Ban = banned.Ban.Refreshed(r.clock)
			return true
		}
		delete(r.live, prefix)
	}
	return false
}

// Slow names the regexes that have taken too long, sorted.
func (r *Rehearsal) Slow() []string {
	names := []string{}
	for regex := range r.reader.jail.slow.Range {
		names = append(names, r.reader.jail.regexName(regex.(int)))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Bans are those that there would have been, in the order in which they began.
func (r *Rehearsal) Bans() []*Rehearsed { return r.bans }

// End is when the log ends: the time of the last line that has a date, or of the last that matches;
// now is as in Read.
func (r *Rehearsal) End(now time.Time) time.Time {
	if at, ok := r.reader.filter.Date(r.last, now); ok && at.After(r.clock) {
		return at
	}
	return r.clock
}

// Status is what the jail has seen. Lines about what was out already are among Lines alone.
func (r *Rehearsal) Status() JailStatus { return r.reader.jail.status(nil, r.clock) }
