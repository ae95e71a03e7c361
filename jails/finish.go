package jails

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"xdpban/internal/ban"
	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
	"xdpban/jails/source"
)

// What holds where the configuration says nothing. configs/xdpban.yaml says the same, and
// a test compares the two.
var standard = Config{
	Interfaces:  []string{"auto"},
	Socket:      "/run/xdpban/xdpban.sock",
	State:       "/var/lib/xdpban",
	Pin:         "/sys/fs/bpf/xdpban",
	Loglevel:    slog.LevelInfo,
	Logtarget:   "SYSLOG",
	IPv6Prefix:  64,
	MaxBans:     131072,
	MaxPrefixes: 16384,
	MaxAllowed:  4096,
	MaxLine:     source.MaxLine,
	LogBack:     true,
	Defaults: Rules{
		BanTime:    12 * time.Hour,
		FindTime:   10 * time.Minute,
		QuietTime:  time.Hour,
		MaxRetry:   5,
		MaxSources: 100_000,
	},
	IgnoreIP: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
}

// A finisher makes a Config of what is written, and collects all that is wrong with it.
type finisher struct {
	filters *filters
	errs    yamldoc.Errors
	jail    string // whose keys are being read
}

func (f *finisher) fail(err *yamldoc.Error) {
	err.Jail = f.jail
	f.errs = append(f.errs, err)
}

// or is what v says, or fallback.
func or[T any](v yamldoc.Value[T], fallback T) T {
	if v.Set {
		return v.V
	}
	return fallback
}

func (f *finisher) config(raw rawConfig) *Config {
	d := standard
	c := &Config{
		Interfaces:  f.interfaces(raw.Interfaces),
		Enforce:     or(raw.Enforce, d.Enforce),
		Forward:     or(raw.Forward, d.Forward),
		LogBack:     or(raw.LogBack, d.LogBack),
		Socket:      f.socket(raw.Socket),
		State:       f.path("state", raw.State, d.State),
		Pin:         f.path("pin", raw.Pin, d.Pin),
		Loglevel:    slog.Level(or(raw.Loglevel, loglevel(d.Loglevel))),
		Logtarget:   f.logtarget(raw.Logtarget),
		IPv6Prefix:  f.number("ipv6_prefix", raw.IPv6Prefix, d.IPv6Prefix, 32, 128),
		MaxBans:     uint32(f.number("maxbans", raw.MaxBans, int(d.MaxBans), 1, 1<<24)),
		MaxPrefixes: uint32(f.number("maxprefixes", raw.MaxPrefixes, int(d.MaxPrefixes), 1, 1<<20)),
		MaxAllowed:  uint32(f.number("maxallowed", raw.MaxAllowed, int(d.MaxAllowed), 1, 1<<20)),
		MaxLine:     f.number("maxline", raw.MaxLine, d.MaxLine, 256, 1<<20),
		MaxLag:      int64(f.number("maxlag", raw.MaxLag, int(d.MaxLag), 0, 1<<50)),
		Defaults:    f.rules(raw.Defaults, d.Defaults, "defaults."),
	}
	c.IgnoreIP = f.ignoreIP(raw, int(c.MaxAllowed))
	for _, name := range slices.Sorted(maps.Keys(raw.Jails)) {
		c.Jails = append(c.Jails, f.jailConfig(name, raw.Jails[name], c))
	}
	return c
}

// ignoreIP is what no jail bans; the kernel has room for so much of it.
func (f *finisher) ignoreIP(raw rawConfig, room int) []netip.Prefix {
	v, list := raw.Defaults.IgnoreIP, standard.IgnoreIP
	if v.Line > 0 {
		list = f.prefixes("defaults.ignoreip", v)
	}
	switch {
	case len(list) <= room:
	case raw.MaxAllowed.Line > 0:
		f.fail(raw.MaxAllowed.Error("maxallowed", fmt.Sprintf("%d is less than the %d prefixes in ignoreip", room, len(list)), ""))
	default:
		f.fail(v.Error("defaults.ignoreip", fmt.Sprintf("has more than %d prefixes", room), "raise maxallowed"))
	}
	return list
}

var jailName = lazy.Regexp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (f *finisher) jailConfig(name string, raw yamldoc.Value[rawJail], c *Config) JailConfig {
	f.jail = name
	defer func() { f.jail = "" }()
	if !jailName.Get().MatchString(name) || name == ban.ByHand {
		f.fail(raw.Error("", "cannot be the name of a jail", "use letters, digits, and . _ - behind the first; "+ban.ByHand+" stands for bans by hand"))
	}
	r := raw.V
	j := JailConfig{
		Name:            name,
		Enabled:         or(r.Enabled, false),
		Rules:           f.rules(r.rawRules, c.Defaults, ""),
		IgnoreIP:        slices.Concat(c.IgnoreIP, f.prefixes("ignoreip", r.IgnoreIP)),
		Logpath:         f.logpath(r.Logpath),
		AcceptUntrusted: bool(or(r.Trust, false)),
		Zone:            or(r.Logtimezone, zone{}).Location,
		Journal:         texts(r.Journal),
		Own: OwnFilter{
			Ignoreregex: texts(r.Ignoreregex),
			Prefregex:   r.Prefregex.V,
			Maxlines:    r.Maxlines.V,
			Datepattern: texts(r.Datepattern),
		},
	}
	j.SpoofedMax = j.MaxBanTime
	if !r.MaxBanTime.Set && (j.SpoofedMax == 0 || j.SpoofedMax > SpoofedMax) {
		j.SpoofedMax = SpoofedMax
	}
	if r.Logpath.Line == 0 && raw.Set {
		hint := ""
		if len(j.Journal) > 0 {
			hint = "journalmatch does nothing yet: name a file, which rsyslog writes"
		}
		f.fail(raw.Error("logpath", "is missing", hint))
	}
	if spec := f.filter(&j, raw); spec != nil && j.Filter != nil {
		j.Distinct = f.distinct(&j, r.Distinct)
		j.identity = identify(&j, spec, c.IPv6Prefix)
	}
	return j
}

// distinct is the group whose different values count.
func (f *finisher) distinct(j *JailConfig, v yamldoc.Value[string]) string {
	groups := j.Filter.Groups()
	if v.Set && !slices.Contains(groups, v.V) {
		hint := "its rules capture nothing; write <F-USER>...</F-USER> around what is to be counted"
		if len(groups) > 0 {
			hint = "its rules capture " + strings.Join(groups, ", ")
		}
		f.fail(v.Error("distinct", fmt.Sprintf("no rule of filter %q captures %.60q", j.Filter.String(), v.V), hint))
		return ""
	}
	return v.V
}

// rules are those of raw with fallback where it says nothing; prefix comes before keys.
func (f *finisher) rules(raw rawRules, fallback Rules, prefix string) Rules {
	r := Rules{
		BanTime:    f.time(prefix+"bantime", raw.BanTime, fallback.BanTime, time.Second),
		FindTime:   f.time(prefix+"findtime", raw.FindTime, fallback.FindTime, time.Second),
		QuietTime:  f.time(prefix+"quiettime", raw.QuietTime, fallback.QuietTime, 0),
		MaxBanTime: f.time(prefix+"maxbantime", raw.MaxBanTime, fallback.MaxBanTime, 0),
		MaxRetry:   f.number(prefix+"maxretry", raw.MaxRetry, fallback.MaxRetry, 1, 1000),
		MaxSources: f.number(prefix+"maxsources", raw.MaxSources, fallback.MaxSources, 1, 10_000_000),
	}
	if r.MaxBanTime > 0 && r.MaxBanTime < r.BanTime {
		at := raw.MaxBanTime
		if at.Line == 0 {
			at = raw.BanTime
		}
		f.fail(at.Error(prefix+"maxbantime", FormatDuration(r.MaxBanTime)+" is shorter than bantime, "+FormatDuration(r.BanTime), "0 is no limit"))
		r.MaxBanTime = 0 // said once, not again in every jail
	}
	return r
}

func (f *finisher) number(key string, v yamldoc.Value[int], fallback, low, high int) int {
	if !v.Set {
		return fallback
	}
	if v.V < low || v.V > high {
		f.fail(v.Error(key, fmt.Sprintf("want %d to %d, got %d", low, high, v.V), ""))
		return fallback
	}
	return v.V
}

func (f *finisher) time(key string, v yamldoc.Value[duration], fallback, least time.Duration) time.Duration {
	d := time.Duration(or(v, duration(fallback)))
	if d < least {
		f.fail(v.Error(key, "must be longer than 0", ""))
		return fallback
	}
	return d
}

func (f *finisher) path(key string, v yamldoc.Value[string], fallback string) string {
	if !v.Set {
		return fallback
	}
	if msg := noPath(v.V); msg != "" {
		f.fail(v.Error(key, msg, ""))
		return fallback
	}
	return filepath.Clean(v.V)
}

// longestSocket is the length of sun_path, see unix(7), without the NUL and the ".new" of a socket that is
// being made.
const longestSocket = 103

func (f *finisher) socket(v yamldoc.Value[string]) string {
	path := f.path("socket", v, standard.Socket)
	if len(path) > longestSocket {
		f.fail(v.Error("socket", fmt.Sprintf("is longer than the %d bytes that the kernel allows", longestSocket), ""))
	}
	return path
}

// noPath says what keeps text from being an absolute path.
func noPath(text string) string {
	if !filepath.IsAbs(text) {
		return fmt.Sprintf("want an absolute path, got %.200q", text)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Sprintf("has control characters: %.200q", text)
	}
	return ""
}

func (f *finisher) logtarget(v yamldoc.Value[string]) string {
	if !v.Set {
		return standard.Logtarget
	}
	if word := strings.ToUpper(v.V); slices.Contains([]string{"SYSLOG", "STDERR", "STDOUT"}, word) {
		return word
	}
	if noPath(v.V) != "" {
		f.fail(v.Error("logtarget", fmt.Sprintf("want SYSLOG, STDERR, STDOUT or an absolute path, got %.200q", v.V), ""))
	}
	return v.V
}

// longestInterface is IFNAMSIZ without the NUL.
const longestInterface = 15

func (f *finisher) interfaces(v words) []string {
	if v.Line == 0 {
		return standard.Interfaces
	}
	if v.Set && len(v.V) == 0 {
		f.fail(v.Error("interfaces", "names none", "enforce: observe is how to drop nothing"))
	}
	for i, name := range v.V {
		_, err := path.Match(name.V, "")
		globbed := strings.ContainsAny(name.V, `*?[\`)
		if name.Set && (err != nil || name.V == "" || strings.ContainsAny(name.V, "/, \t\r\n") || !globbed && len(name.V) > longestInterface) {
			f.fail(name.Error(item("interfaces", i), fmt.Sprintf("%.60q is no name of an interface", name.V), ""))
		}
	}
	return texts(v)
}

// several finds a second path behind a first, as fail2ban separates them. Such a file would be
// waited for in silence.
var several = lazy.Regexp(`[ ,]+/`)

// BadLogpath says what keeps path from being one of a logpath, and what to do; empty texts: nothing does.
func BadLogpath(path string) (msg, hint string) {
	if msg := noPath(path); msg != "" {
		return msg, ""
	}
	_, err := filepath.Match(path, "")
	switch {
	case strings.TrimRight(path, " ") != path:
		return fmt.Sprintf("%.200q ends with a space", path), ""
	case several.Get().MatchString(path):
		return fmt.Sprintf("%.200q looks like several paths", path), "write a list: [/var/log/auth.log, /var/log/secure]"
	case err != nil:
		return fmt.Sprintf("%.200q is no pattern of file names", path), "a [ begins a set of characters; \\[ is the character"
	}
	return "", ""
}

func (f *finisher) logpath(v words) []string {
	if v.Set && len(v.V) == 0 {
		f.fail(v.Error("logpath", "names no file", ""))
	}
	var paths []string
	for i, p := range v.V {
		if !p.Set {
			continue
		}
		if msg, hint := BadLogpath(p.V); msg != "" {
			f.fail(p.Error(item("logpath", i), msg, hint))
			continue
		}
		paths = append(paths, filepath.Clean(p.V))
	}
	return paths
}

func (f *finisher) prefixes(key string, v words) []netip.Prefix {
	var list []netip.Prefix
	for i, text := range v.V {
		if !text.Set {
			continue
		}
		prefix, err := ban.ParsePrefix(text.V)
		if err == nil {
			list = append(list, prefix)
			continue
		}
		f.fail(text.Error(item(key, i), err.Error(), prefixHint(text.V)))
	}
	return list
}

// hostName may be one in the DNS.
var hostName = lazy.Regexp(`^(?i)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$`)

// prefixHint is what to write for text, which is no prefix.
func prefixHint(text string) string {
	switch {
	case strings.ContainsAny(text, " ,"):
		return "write a list: [127.0.0.0/8, 192.0.2.1]"
	case strings.ContainsFunc(text, unicode.IsLetter) && hostName.Get().MatchString(text):
		return "names are not looked up: write the address"
	}
	return ""
}

// filter gives j its filter: a file's, or what stands in the jail itself. It returns what
// the filter was made of; nil after an error.
func (f *finisher) filter(j *JailConfig, raw yamldoc.Value[rawJail]) *filter.Spec {
	r := raw.V
	switch {
	case r.Filter.Line > 0 && r.Failregex.Line > 0:
		f.fail(r.Failregex.Error("failregex", "stands beside filter", "leave one of them out, or put both into a filter file"))
	case r.Filter.Set:
		return f.namedFilter(j, r)
	case r.Failregex.Line > 0:
		return f.ownFilter(j, r)
	case r.Filter.Line == 0 && raw.Set:
		f.fail(raw.Error("filter", "is missing", "name a filter, or give failregex"))
	}
	return nil
}

func (f *finisher) namedFilter(j *JailConfig, r rawJail) *filter.Spec {
	file, errs, err := f.filters.find(r.Filter.V)
	f.errs = append(f.errs, errs...)
	if err != nil {
		f.failAt(r.Filter, err)
	}
	if file == nil {
		return nil
	}
	j.Filter, j.FilterPath = file.filter, file.path
	spec := *file.spec
	if !r.change(&spec) {
		return file.spec
	}
	j.Filter = f.compile(file.filter.Name, &spec, file.filter.Mode)
	return &spec
}

// change puts what the jail says of its filter into spec, and reports whether that is anything.
func (r rawJail) change(spec *filter.Spec) bool {
	// The jail's own come first: the numbers in errors are theirs.
	spec.Ignoreregex = slices.Concat(r.Ignoreregex.V, spec.Ignoreregex)
	replace(&spec.Prefregex, r.Prefregex)
	replace(&spec.Maxlines, r.Maxlines)
	if r.Datepattern.Line > 0 {
		spec.Datepattern = r.Datepattern.V
	}
	return len(r.Ignoreregex.V) > 0 || r.Prefregex.Set || r.Maxlines.Set || len(r.Datepattern.V) > 0
}

// failAt reports what is wrong with the filter's name.
func (f *finisher) failAt(v yamldoc.Value[string], err error) {
	var with *yamldoc.Error
	if errors.As(err, &with) {
		f.fail(v.Error("filter", with.Msg, with.Hint))
		return
	}
	f.fail(v.Error("filter", err.Error(), ""))
}

func (f *finisher) ownFilter(j *JailConfig, r rawJail) *filter.Spec {
	if r.Failregex.Set && len(r.Failregex.V) == 0 {
		f.fail(r.Failregex.Error("failregex", "has no rule", ""))
		return nil
	}
	spec := &filter.Spec{Failregex: slices.Clone(r.Failregex.V)}
	r.change(spec)
	for i := range spec.Failregex {
		if rule := &spec.Failregex[i]; !rule.Set && !rule.V.Regex.Set {
			rule.V.Regex.V = "<HOST>" // an error already; the others are looked at all the same
		}
		if modes := spec.Failregex[i].V.Modes; len(modes) > 0 {
			f.fail(modes[0].Error(item("failregex", i)+".modes", "is for filter files", "leave it out: the rules in a jail are all used"))
			spec.Failregex[i].V.Modes = nil
		}
	}
	j.Filter = f.compile(j.Name, spec, filter.Normal)
	return spec
}

func (f *finisher) compile(name string, spec *filter.Spec, mode string) *filter.Filter {
	made, err := filter.New(name, spec, mode)
	for _, e := range wrong(err) {
		f.fail(e)
	}
	return made
}

// identify names all that the failures counted by j depend on.
func identify(j *JailConfig, spec *filter.Spec, ipv6Prefix int) string {
	ignores := make([]string, len(spec.Ignoreregex))
	for i, regex := range spec.Ignoreregex {
		ignores[i] = regex.V
	}
	var dates []string
	for _, pattern := range spec.Datepattern {
		dates = append(dates, pattern.V)
	}
	return fmt.Sprintf("%q %t %q %d %d %d %d %t %q %q %d %q %q %d %q %q %v", j.Name, j.Enabled, j.Logpath, j.FindTime, j.MaxRetry, j.MaxSources,
		ipv6Prefix, j.AcceptUntrusted, j.Filter.Rules(), ignores, spec.Longest.V,
		spec.Dialect.V, spec.Prefregex.V, spec.Maxlines.V, dates, j.Distinct, j.Zone)
}

func texts(v words) []string {
	var list []string
	for _, text := range v.V {
		list = append(list, text.V)
	}
	return list
}

// item is the key of one item in a list; users count from 1.
func item(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i+1) }
