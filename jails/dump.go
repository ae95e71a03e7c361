package jails

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"xdpban/jails/filter"
)

// The dump types are the raw ones for writing: plain, complete, in the order of the
// reference file.

type dumpConfig struct {
	Interfaces  []string            `yaml:"interfaces,flow"`
	Enforce     string              `yaml:"enforce"`
	Forward     bool                `yaml:"forward"`
	LogBack     bool                `yaml:"logback"`
	Socket      string              `yaml:"socket"`
	State       string              `yaml:"state"`
	Pin         string              `yaml:"pin"`
	Loglevel    string              `yaml:"loglevel"`
	Logtarget   string              `yaml:"logtarget"`
	IPv6Prefix  int                 `yaml:"ipv6_prefix"`
	MaxBans     uint32              `yaml:"maxbans"`
	MaxPrefixes uint32              `yaml:"maxprefixes"`
	MaxAllowed  uint32              `yaml:"maxallowed"`
	MaxLine     int                 `yaml:"maxline"`
	MaxLag      int64               `yaml:"maxlag"`
	Defaults    dumpRules           `yaml:"defaults"`
	Jails       map[string]dumpJail `yaml:"jails"`
}

type dumpRules struct {
	BanTime    string   `yaml:"bantime"`
	FindTime   string   `yaml:"findtime"`
	MaxRetry   int      `yaml:"maxretry"`
	QuietTime  string   `yaml:"quiettime"`
	MaxBanTime string   `yaml:"maxbantime,omitempty"`
	MaxSources int      `yaml:"maxsources"`
	IgnoreIP   []string `yaml:"ignoreip,flow"`
}

type dumpJail struct {
	Enabled     bool       `yaml:"enabled"`
	Filter      string     `yaml:"filter,omitempty"`
	Failregex   []dumpRule `yaml:"failregex,omitempty"`
	Prefregex   string     `yaml:"prefregex,omitempty"`
	Ignoreregex []string   `yaml:"ignoreregex,omitempty"`
	Maxlines    int        `yaml:"maxlines,omitempty"`
	Datepattern []string   `yaml:"datepattern,omitempty"`
	Logtimezone string     `yaml:"logtimezone,omitempty"`
	Distinct    string     `yaml:"distinct,omitempty"`
	Journal     []string   `yaml:"journalmatch,omitempty"`
	Logpath     []string   `yaml:"logpath"`
	Trust       string     `yaml:"trust"`
	dumpRules   `yaml:",inline"`
}

type dumpRule struct {
	Regex string `yaml:"regex"`
	Name  string `yaml:"name"`
	Trust string `yaml:"trust"`
}

// Dump is c as YAML, every key in it. Load reads it to the same Config wherever the files
// of its filters are where they were.
func (c *Config) Dump() ([]byte, error) {
	d := dumpConfig{
		Interfaces:  c.Interfaces,
		Enforce:     c.Enforce.String(),
		Forward:     c.Forward,
		LogBack:     c.LogBack,
		Socket:      c.Socket,
		State:       c.State,
		Pin:         c.Pin,
		Loglevel:    levelName(c.Loglevel),
		Logtarget:   c.Logtarget,
		IPv6Prefix:  c.IPv6Prefix,
		MaxBans:     c.MaxBans,
		MaxPrefixes: c.MaxPrefixes,
		MaxAllowed:  c.MaxAllowed,
		MaxLine:     c.MaxLine,
		MaxLag:      c.MaxLag,
		Defaults:    c.Defaults.dump(c.IgnoreIP),
		Jails:       make(map[string]dumpJail),
	}
	for _, j := range c.Jails {
		d.Jails[j.Name] = j.dump(len(c.IgnoreIP))
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(d); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

func (r Rules) dump(ignoreIP []netip.Prefix) dumpRules {
	d := dumpRules{
		BanTime:    FormatDuration(r.BanTime),
		FindTime:   FormatDuration(r.FindTime),
		MaxRetry:   r.MaxRetry,
		QuietTime:  FormatDuration(r.QuietTime),
		MaxBanTime: FormatDuration(r.MaxBanTime),
		MaxSources: r.MaxSources,
		IgnoreIP:   []string{},
	}
	for _, prefix := range ignoreIP {
		d.IgnoreIP = append(d.IgnoreIP, prefix.String())
	}
	return d
}

// dump leaves out the first inherited of j.IgnoreIP, and maxbantime where j has none of
// its own: to write it would make it one, and lift the limit of spoofed evidence.
func (j JailConfig) dump(inherited int) dumpJail {
	d := dumpJail{
		Enabled:     j.Enabled,
		Prefregex:   j.Own.Prefregex,
		Ignoreregex: j.Own.Ignoreregex,
		Maxlines:    j.Own.Maxlines,
		Datepattern: j.Own.Datepattern,
		Distinct:    j.Distinct,
		Journal:     j.Journal,
		Logpath:     j.Logpath,
		Trust:       "refuse",
		dumpRules:   j.Rules.dump(j.IgnoreIP[inherited:]),
	}
	if j.Zone != nil {
		d.Logtimezone = j.Zone.String()
	}
	if j.AcceptUntrusted {
		d.Trust = "accept"
	}
	if j.SpoofedMax != j.MaxBanTime {
		d.MaxBanTime = ""
	}
	if j.FilterPath != "" {
		d.Filter = filter.WithMode(j.FilterPath, j.Filter.Mode)
		return d
	}
	for _, rule := range j.Filter.Rules() {
		d.Failregex = append(d.Failregex, dumpRule{Regex: rule.Regex, Name: rule.Name, Trust: rule.Trust.String()})
	}
	return d
}

func levelName(level slog.Level) string { return strings.ToLower(level.String()) }
