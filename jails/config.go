// Package jails makes bans of log lines: it reads the configuration, has the logs followed
// and their lines filtered, and counts failures.
package jails

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// A Config is a valid configuration: every value is in its range, every filter compiled.
type Config struct {
	Interfaces  []string // names, globs, or "auto": those with a default route
	Enforce     Enforce
	Forward     bool   // iptables drops what is forwarded too
	LogBack     bool   // iptables has the kernel log banned addresses that come back
	Socket      string // absolute, as all paths here
	State       string // directory
	Pin         string // directory in a bpf file system
	Loglevel    slog.Level
	Logtarget   string // SYSLOG, STDERR, STDOUT or a path
	IPv6Prefix  int    // 1 to 128: bits of an IPv6 address that are counted and banned together
	MaxBans     uint32 // that the kernel has room for
	MaxPrefixes uint32
	MaxAllowed  uint32
	MaxLine     int            // bytes; longer lines are dropped
	MaxLag      int64          // bytes that a log may be behind before what lies between is left out; 0: any number
	Defaults    Rules          // of bans by hand, and of jails that say nothing else
	IgnoreIP    []netip.Prefix // never banned by any jail
	Jails       []JailConfig   // by name
}

// Rules say when to ban and for how long.
type Rules struct {
	BanTime    time.Duration // at least 1 s
	FindTime   time.Duration // at least 1 s
	QuietTime  time.Duration // 0: packets do not prolong a ban
	MaxBanTime time.Duration // 0: no limit; otherwise at least BanTime
	MaxRetry   int           // at least 1
	MaxSources int           // at least 1: how many are counted at the same time
}

// A JailConfig is one jail, enabled or not.
type JailConfig struct {
	Name    string
	Enabled bool
	Rules
	SpoofedMax      time.Duration  // MaxBanTime of what anybody could have sent; 0: no limit
	IgnoreIP        []netip.Prefix // those of the Config among them
	Logpath         []string       // absolute paths and globs (filepath.Match)
	AcceptUntrusted bool           // untrusted rules ban too
	Filter          *filter.Filter
	FilterPath      string // where Filter is from: a path, the name of an embedded one, "" the jail itself
	Own             OwnFilter
	Distinct        string         // a group of Filter's rules: MaxRetry different values of it ban; "": any failures
	Zone            *time.Location // of dates that name none; nil: local
	Journal         []string       // what of the journal concerns the jail; nothing follows it yet

	identity string // of all that counters depend on
}

// OwnFilter is what a jail says itself of its filter; it is part of JailConfig.Filter already.
type OwnFilter struct {
	Ignoreregex []string // tried before those of the filter
	Prefregex   string   // these three instead of the filter's
	Maxlines    int
	Datepattern []string
}

// SpoofedMax is how long evidence that anybody could have sent bans at most, unless the
// jail has its own maxbantime.
const SpoofedMax = 24 * time.Hour

// Jail finds the rules of a jail by name, enabled or not.
func (c *Config) Jail(name string) (Rules, bool) {
	i, ok := slices.BinarySearchFunc(c.Jails, name, func(j JailConfig, name string) int {
		return strings.Compare(j.Name, name)
	})
	if !ok {
		return Rules{}, false
	}
	return c.Jails[i].Rules, true
}

// Enforce is how bans are enforced.
type Enforce uint8

// The ways to enforce bans.
const (
	Auto     Enforce = iota // the best that each interface can do
	XDP                     // by XDP only
	IPTables                // by iptables only
	Observe                 // not at all: bans are found, counted and shown
)

var enforces = [...]string{"auto", "xdp", "iptables", "observe"}

// String is e as the configuration writes it.
func (e Enforce) String() string { return enforces[e] }

// UnmarshalText reads what String writes.
func (e *Enforce) UnmarshalText(text []byte) error {
	if i := slices.Index(enforces[:], string(text)); i >= 0 {
		*e = Enforce(i)
		return nil
	}
	return fmt.Errorf("want auto, xdp, iptables or observe, got %.60q", text)
}

type loglevel slog.Level

var loglevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	// fail2ban's
	"notice": slog.LevelInfo, "warning": slog.LevelWarn, "critical": slog.LevelError,
}

// UnmarshalText reads our levels and fail2ban's, in either case.
func (l *loglevel) UnmarshalText(text []byte) error {
	level, ok := loglevels[strings.ToLower(string(text))]
	if !ok {
		return &yamldoc.Error{
			Msg:  fmt.Sprintf("want debug, info, warn or error, got %.60q", text),
			Hint: "the numbers 1 to 4 of old fail2ban are error, warn, info, debug",
		}
	}
	*l = loglevel(level)
	return nil
}
