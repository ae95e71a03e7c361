package jails

import (
	"fmt"
	"maps"
	"strings"

	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// The raw types are the configuration as written; finish.go makes a Config of them.

type words = yamldoc.Value[[]yamldoc.Value[string]]

type rawConfig struct {
	Interfaces  words                   `yaml:"interfaces"`
	Enforce     yamldoc.Value[Enforce]  `yaml:"enforce"`
	Forward     yamldoc.Value[bool]     `yaml:"forward"`
	LogBack     yamldoc.Value[bool]     `yaml:"logback"`
	Socket      yamldoc.Value[string]   `yaml:"socket"`
	State       yamldoc.Value[string]   `yaml:"state"`
	Pin         yamldoc.Value[string]   `yaml:"pin"`
	Loglevel    yamldoc.Value[loglevel] `yaml:"loglevel"`
	Logtarget   yamldoc.Value[string]   `yaml:"logtarget"`
	IPv6Prefix  yamldoc.Value[int]      `yaml:"ipv6_prefix"`
	MaxBans     yamldoc.Value[int]      `yaml:"maxbans"`
	MaxPrefixes yamldoc.Value[int]      `yaml:"maxprefixes"`
	MaxAllowed  yamldoc.Value[int]      `yaml:"maxallowed"`
	MaxLine     yamldoc.Value[int]      `yaml:"maxline"`
	MaxLag      yamldoc.Value[int]      `yaml:"maxlag"`
	Defaults    rawRules                `yaml:"defaults"`
	Jails       rawJails                `yaml:"jails"`
}

type rawJails map[string]yamldoc.Value[rawJail]

// rawMore is a file of jails.d.
type rawMore struct {
	Jails rawJails `yaml:"jails"`
}

// rawRules is what defaults and jails have in common.
type rawRules struct {
	BanTime    yamldoc.Value[duration] `yaml:"bantime"`
	FindTime   yamldoc.Value[duration] `yaml:"findtime"`
	MaxRetry   yamldoc.Value[int]      `yaml:"maxretry"`
	QuietTime  yamldoc.Value[duration] `yaml:"quiettime"`
	MaxBanTime yamldoc.Value[duration] `yaml:"maxbantime"`
	MaxSources yamldoc.Value[int]      `yaml:"maxsources"`
	IgnoreIP   words                   `yaml:"ignoreip"`
	Backend    yamldoc.Value[backend]  `yaml:"backend"`
}

type rawJail struct {
	rawRules
	Enabled     yamldoc.Value[bool]                             `yaml:"enabled"`
	Filter      yamldoc.Value[string]                           `yaml:"filter"`
	Logpath     words                                           `yaml:"logpath"`
	Trust       yamldoc.Value[trust]                            `yaml:"trust"`
	Failregex   yamldoc.Value[[]yamldoc.Value[filter.RuleSpec]] `yaml:"failregex"`
	Ignoreregex words                                           `yaml:"ignoreregex"`
	Prefregex   yamldoc.Value[string]                           `yaml:"prefregex"`
	Maxlines    yamldoc.Value[int]                              `yaml:"maxlines"`
	Datepattern words                                           `yaml:"datepattern"`
	Logtimezone yamldoc.Value[zone]                             `yaml:"logtimezone"`
	Distinct    yamldoc.Value[string]                           `yaml:"distinct"`
	Journal     words                                           `yaml:"journalmatch"`
}

// over is r with what next says in its place.
func (r rawJail) over(next rawJail) rawJail {
	replace(&r.BanTime, next.BanTime)
	replace(&r.FindTime, next.FindTime)
	replace(&r.MaxRetry, next.MaxRetry)
	replace(&r.QuietTime, next.QuietTime)
	replace(&r.MaxBanTime, next.MaxBanTime)
	replace(&r.MaxSources, next.MaxSources)
	replace(&r.IgnoreIP, next.IgnoreIP)
	replace(&r.Backend, next.Backend)
	replace(&r.Enabled, next.Enabled)
	replace(&r.Filter, next.Filter)
	replace(&r.Logpath, next.Logpath)
	replace(&r.Trust, next.Trust)
	replace(&r.Failregex, next.Failregex)
	replace(&r.Ignoreregex, next.Ignoreregex)
	replace(&r.Prefregex, next.Prefregex)
	replace(&r.Maxlines, next.Maxlines)
	replace(&r.Datepattern, next.Datepattern)
	replace(&r.Logtimezone, next.Logtimezone)
	replace(&r.Distinct, next.Distinct)
	replace(&r.Journal, next.Journal)
	return r
}

func replace[T any](v *yamldoc.Value[T], next yamldoc.Value[T]) {
	if next.Line > 0 {
		*v = next
	}
}

const later = "is not supported yet"

// fail2banKeys are keys that fail2ban knows and we do not. They are asked for where something is wrong:
// a list takes nothing of the start, as a map would.
var fail2banKeys = []struct{ key, hint string }{
	{"action", "a ban drops all packets of the address; there is nothing to choose"},
	{"banaction", "see enforce"},
	{"chain", "leave it out: a ban drops packets before any chain sees them"},
	{"port", "leave it out: a ban drops all packets of the address"},
	{"protocol", "leave it out: a ban drops all packets of the address"},
	{"usedns", "leave it out: names are never resolved, they are counted and do not ban"},
	{"mode", "name it with the filter: filter: sshd[mode=ddos]"},
	{"ignoreself", "leave it out: the host's own addresses are never banned"},
	{"ignorecommand", "list the addresses in ignoreip"},
	{"ignorecache", "leave it out"},
	{"destemail", "leave it out: no mail is sent"},
	{"sender", "leave it out: no mail is sent"},
	{"mta", "leave it out: no mail is sent"},
	{"logencoding", "leave it out: lines are bytes"},
	{"syslogsocket", "leave it out"},
	{"dbfile", "leave it out: the kernel keeps bans while the daemon is away; a reboot ends them"},
	{"dbpurgeage", "leave it out: the kernel keeps bans while the daemon is away; a reboot ends them"},
	{"pidfile", "leave it out: the socket says who runs"},
	{"maxmatches", "see maxsources"},
	{"allowipv6", "leave it out: IPv6 is always read; see ipv6_prefix"},
}

// advise finds something to say about key, which does not belong where it stands.
func advise(key string, elsewhere map[string]string) (msg, hint string) {
	if where, ok := elsewhere[key]; ok {
		return "does not belong here", where
	}
	key = strings.ToLower(key)
	if strings.HasPrefix(key, "bantime.") {
		return later, "an address that goes on stays out: see quiettime and maxbantime"
	}
	if strings.HasPrefix(key, "banaction_") || strings.HasPrefix(key, "action_") {
		key = "action"
	}
	for _, known := range fail2banKeys {
		if known.key == key {
			return "has no counterpart here", known.hint
		}
	}
	return "", ""
}

// belong is a table of raw's keys, and where they belong.
func belong(raw any, where string) map[string]string {
	table := make(map[string]string)
	for _, key := range yamldoc.Keys(raw) {
		table[key] = where
	}
	return table
}

// merged is all tables in one; the later ones are right.
func merged(tables ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}

const (
	toDefaults = "put it under defaults, or into a jail"
	toJail     = "put it into a jail"
	toTop      = "put it at the top level of the main file"
)

// notAtTop are the keys that do not belong at the top level, and where they do.
func notAtTop() map[string]string {
	return merged(belong(rawJail{}, toJail), belong(rawRules{}, toDefaults))
}

// UnknownKey says where a key belongs or what fail2ban's has become.
func (rawConfig) UnknownKey(key string) (msg, hint string) { return advise(key, notAtTop()) }

// UnknownKey is as for rawConfig; a file of jails.d has less than the main one.
func (rawMore) UnknownKey(key string) (msg, hint string) {
	return advise(key, merged(notAtTop(), belong(rawConfig{}, "a file in jails.d holds jails only")))
}

// UnknownKey is as for rawConfig.
func (rawRules) UnknownKey(key string) (msg, hint string) {
	return advise(key, merged(belong(rawJail{}, toJail), belong(rawConfig{}, toTop)))
}

// UnknownKey is as for rawConfig.
func (rawJail) UnknownKey(key string) (msg, hint string) {
	return advise(key, belong(rawConfig{}, toTop))
}

// backend is how logs are followed. There is one way, which the word auto names.
type backend string

// UnmarshalText takes auto and explains the others.
func (b *backend) UnmarshalText(text []byte) error {
	*b = "auto"
	switch string(text) {
	case "auto":
		return nil
	case "systemd":
		return &yamldoc.Error{Msg: "systemd " + later, Hint: "leave it out, and name in logpath the file that rsyslog writes"}
	case "polling", "inotify", "pyinotify", "gamin":
		return &yamldoc.Error{
			Msg:  fmt.Sprintf("want auto, got %q", text),
			Hint: "auto has inotify tell of changes and polls where it cannot",
		}
	}
	return fmt.Errorf("want auto, got %.60q", text)
}

// trust is whether untrusted rules ban.
type trust bool

// UnmarshalText reads accept and refuse.
func (t *trust) UnmarshalText(text []byte) error {
	switch string(text) {
	case "accept":
		*t = true
	case "refuse":
		*t = false
	default:
		return &yamldoc.Error{
			Msg:  fmt.Sprintf("want accept or refuse, got %.60q", text),
			Hint: "accept lets rules ban whose address the attacker may have written",
		}
	}
	return nil
}
