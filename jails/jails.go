package jails

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"xdpban/internal/ban"
	"xdpban/jails/filter"
	"xdpban/jails/source"
)

// Jails are the enabled jails of a configuration, at work. All of them share one follower:
// a log is read once, however many jails it concerns.
type Jails struct {
	found    func(Found)
	log      *slog.Logger
	follower *source.Follower
	now      func() time.Time
	joints   filter.Joints

	reloading sync.Mutex
	current   atomic.Pointer[[]*jail] // of all configured jails; disabled ones see no lines
}

// Found is a source that has to be banned.
type Found struct {
	Addr     netip.Addr
	Ban      ban.Ban
	Failures int          // within findtime
	Rule     string       // that the last of them matched
	Trust    filter.Trust // of the least trusted of them
}

// New sets cfg's jails up and has their logs opened: lines written from now on count. found
// is called by the goroutines that read the logs, several at a time, and holds them up.
func New(cfg *Config, found func(Found), log *slog.Logger) (*Jails, error) {
	return newJails(cfg, found, log, time.Now)
}

func newJails(cfg *Config, found func(Found), log *slog.Logger, now func() time.Time) (*Jails, error) {
	j := &Jails{
		found:    found,
		log:      log,
		now:      now,
		follower: source.NewFollower(source.Options{MaxLine: cfg.MaxLine, Now: now, MaxLag: cfg.MaxLag, Log: log}),
	}
	j.current.Store(new([]*jail))
	return j, j.Reload(cfg)
}

// Run follows the logs until ctx ends; when it returns, found is not called any more. It
// may be called once.
func (j *Jails) Run(ctx context.Context) error { return j.follower.Run(ctx) }

// Reload puts cfg in place of the running configuration, or leaves that as it is and says
// why. Jails whose filter, logs and counting are the same keep their counts; MaxLine and MaxLag stay.
func (j *Jails) Reload(cfg *Config) error {
	j.reloading.Lock()
	defer j.reloading.Unlock()
	before := j.current.Load()
	next := make([]*jail, 0, len(cfg.Jails))
	var patterns []string
	for _, config := range cfg.Jails {
		made := newJail(config, cfg.IPv6Prefix)
		for _, old := range *before {
			if old.config.identity == config.identity {
				made.state = old.state
			}
		}
		next = append(next, made)
		if config.Enabled {
			patterns = append(patterns, config.Logpath...)
		}
	}
	j.current.Store(&next)
	if err := j.follower.Watch(patterns, j.open); err != nil {
		j.current.Store(before)
		return err
	}
	j.tellBlind(cfg)
	return nil
}

// tellBlind warns of jails that see no line.
func (j *Jails) tellBlind(cfg *Config) {
	for _, config := range cfg.Jails {
		if what, instead := config.Blind(); config.Enabled && what != "" {
			j.log.Warn("jail "+what, "jail", config.Name, "logpath", config.Logpath, "hint", instead)
		}
	}
}

// open hands the lines of the log at path to the jails that follow it.
func (j *Jails) open(path string) source.Handler {
	patterns := j.follower.Patterns(path)
	var views []view
	for _, jail := range *j.current.Load() {
		if jail.config.Enabled && jail.follows(patterns) {
			views = addView(views, j, jail)
		}
	}
	filters := make([]*filter.Reader, len(views))
	for i := range views {
		filters[i] = views[i].filter
	}
	together := j.joints.Join(filters)
	return func(line []byte, live bool, now time.Time) {
		for i := range views {
			for k := range views[i].readers {
				views[i].readers[k].jail.lines.Add(1)
			}
		}
		together.Read(line, now, func(i int, result filter.Result) {
			for k := range views[i].readers {
				views[i].readers[k].take(result, live, now)
			}
		})
	}
}

// A view is what a filter sees of one log, in one time zone, for all jails that see by it: a line is looked at
// once, however many they are.
type view struct {
	of      *filter.Filter
	zone    *time.Location
	filter  *filter.Reader
	readers []reader
}

// addView has jail see by the view of its filter, a new one if there is none yet.
func addView(views []view, all *Jails, jail *jail) []view {
	of, zone := jail.config.Filter, jail.zone()
	i := slices.IndexFunc(views, func(v view) bool { return v.of == of && v.zone == zone })
	if i < 0 {
		i = len(views)
		views = append(views, view{of: of, zone: zone, filter: of.NewReader(zone)})
	}
	v := &views[i]
	v.readers = append(v.readers, reader{all, jail, v.filter})
	return views
}

// Forget drops the failures of all sources in prefix, in all jails.
func (j *Jails) Forget(prefix netip.Prefix) {
	for _, jail := range *j.current.Load() {
		jail.counter.forget(prefix, jail.ipv6Prefix)
	}
}

// A jail is a JailConfig at work. A reload makes a new one, which may take over the state.
type jail struct {
	config     JailConfig
	ipv6Prefix int
	ignore     ban.Set
	rules      []filter.Rule
	*state
}

// A state is what a jail has seen; the files that it follows share it.
type state struct {
	counter                                                                    *counter
	lines, matched, ignored, allowed, untrusted, names, stale, timedOut, found atomic.Uint64
	lastMatch                                                                  atomic.Int64 // ns since 1970; 0: none
	slow                                                                       sync.Map     // regexes that have taken too long, once logged; by index
}

func newJail(config JailConfig, ipv6Prefix int) *jail {
	made := &jail{
		config:     config,
		ipv6Prefix: ipv6Prefix,
		rules:      config.Filter.Rules(),
		state:      &state{counter: newCounter(config.Rules)},
	}
	for _, prefix := range config.IgnoreIP {
		made.ignore.Add(prefix, "ignoreip")
	}
	return made
}

// zone is that of dates without one.
func (j *jail) zone() *time.Location {
	if j.config.Zone == nil {
		return time.Local
	}
	return j.config.Zone
}

// follows reports whether a log that patterns reach concerns j.
func (j *jail) follows(patterns []string) bool {
	return slices.ContainsFunc(j.config.Logpath, func(p string) bool { return slices.Contains(patterns, p) })
}

// A reader reads one log for one jail.
type reader struct {
	all    *Jails
	jail   *jail
	filter *filter.Reader
}

// take takes what r's filter says of a line.
func (r *reader) take(result filter.Result, live bool, now time.Time) {
	j := r.jail
	if result.TimedOut > 0 {
		r.timedOut()
	}
	switch result.Outcome {
	case filter.Ignored:
		j.ignored.Add(1)
	case filter.Matched:
		j.matched.Add(1)
		j.lastMatch.Store(now.UnixNano())
		r.matched(result, live, now)
	}
}

// timedOut counts a line on which regexes took too long, and tells of each of these once.
func (r *reader) timedOut() {
	r.jail.state.timedOut.Add(1)
	for _, regex := range r.filter.TimedOut() {
		if _, known := r.jail.slow.LoadOrStore(regex, true); known {
			continue
		}
		r.all.log.Warn("a regex takes too long: lines that it might match are not counted", "jail", r.jail.config.Name, "rule", r.jail.regexName(regex))
	}
}

// regexName is what people call a regex of j, as filter.Reader numbers them.
func (j *jail) regexName(regex int) string {
	if regex < len(j.rules) {
		return j.rules[regex].Name
	}
	return "prefregex or ignoreregex"
}

// matched counts the failure that a line tells of, unless it tells of nobody who may be banned.
func (r *reader) matched(result filter.Result, live bool, now time.Time) {
	j := r.jail
	rule := j.rules[result.Rule]
	at, counts := failedAt(result.Time, live, now, j.config.FindTime)
	switch {
	case !result.Addr.IsValid() || result.Addr.IsUnspecified(): // 0.0.0.0 is nobody, and whoever asks for an address by DHCP
		j.names.Add(1)
		r.debug("not an address", result, rule)
	case rule.Trust == filter.Untrusted && !j.config.AcceptUntrusted:
		j.untrusted.Add(1)
		r.debug("untrusted", result, rule)
	case j.ignore.Contains(result.Addr):
		j.allowed.Add(1)
		r.debug("in ignoreip", result, rule)
	case !counts:
		j.stale.Add(1)
	default:
		r.count(result.Addr, rule, at, now)
	}
}

// failedAt is when a failure happened that a line dates at; it counts unless it lies too far
// back. A time that cannot be right is now: a live line was written just now, and none in
// the future.
func failedAt(at time.Time, live bool, now time.Time, findTime time.Duration) (time.Time, bool) {
	age := now.Sub(at)
	switch {
	case age < -slack, live && age > slack:
		return now, true
	case live:
		return at, true
	}
	return at, age <= findTime
}

func (r *reader) count(addr netip.Addr, rule filter.Rule, at, now time.Time) {
	j := r.jail
	prefix := j.prefix(addr)
	failures, trust, enough := j.counter.add(prefix, at, now, rule.Trust, r.value())
	if !enough {
		return
	}
	j.found.Add(1)
	r.all.found(Found{
		Addr:     addr,
		Ban:      j.ban(prefix, rule.Name, trust, now),
		Failures: failures,
		Rule:     rule.Name,
		Trust:    trust,
	})
}

// value stands for what the failure is counted by; 0: each counts.
func (r *reader) value() uint64 {
	if r.jail.config.Distinct == "" {
		return 0
	}
	return r.jail.counter.value(r.filter.Group(r.jail.config.Distinct))
}

// prefix is what is counted and banned for addr: not its neighbours, where one of them may
// not be banned.
func (j *jail) prefix(addr netip.Addr) netip.Prefix {
	prefix := ban.Of(addr, j.ipv6Prefix)
	if addr.Is6() && len(j.ignore.Within(prefix)) > 0 {
		return ban.Single(addr)
	}
	return prefix
}

// ban is the ban that begins now because of failures, the last of them by the rule called reason.
func (j *jail) ban(prefix netip.Prefix, reason string, trust filter.Trust, now time.Time) ban.Ban {
	b := ban.Ban{
		Prefix: prefix,
		Jail:   j.config.Name,
		Reason: reason,
		Since:  now,
		End:    now.Add(j.config.BanTime),
		Quiet:  j.config.QuietTime,
	}
	longest := j.config.MaxBanTime
	if trust != filter.Verified {
		longest = j.config.SpoofedMax
	}
	if longest > 0 {
		b.Limit = now.Add(longest)
		b.End = now.Add(min(j.config.BanTime, longest))
	}
	return b
}

func (r *reader) debug(why string, result filter.Result, rule filter.Rule) {
	if !r.all.log.Enabled(context.Background(), slog.LevelDebug) {
		return // most days: spare the arguments
	}
	r.all.log.Debug("not counted", "jail", r.jail.config.Name, "rule", rule.Name, "id", result.ID(), "why", why)
}
