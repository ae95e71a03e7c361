package daemon

import (
	"log/slog"
	"net/netip"

	"xdpban/internal/ban"
	"xdpban/jails"
	"xdpban/loader"
)

// An enforcer keeps banned sources out: the kernel, or nothing but an account of them.
type enforcer interface {
	Attach(name string) (loader.Attachment, error)
	Attachments() ([]loader.Attachment, error)
	Detach(name string) error
	Ban(...ban.Ban) error
	Unban(...netip.Prefix) (int, error)
	Bans() ([]ban.Record, error)
	Sweep() (ended []ban.Record, missing []netip.Prefix, err error)
	Allow(*ban.Set) error
	Totals() (ban.Totals, error)
	Clock() string
	Close() error
}

func openEnforcer(config *jails.Config, log *slog.Logger) (enforcer, error) {
	if config.Enforce == jails.Observe {
		return newObserver(), nil
	}
	l, err := loader.Open(loader.Settings{
		Pin: config.Pin, IPv6Prefix: config.IPv6Prefix, Log: log,
		MaxBans: config.MaxBans, MaxPrefixes: config.MaxPrefixes, MaxAllowed: config.MaxAllowed,
	})
	if err != nil {
		return nil, err // not l: an enforcer that holds a nil *Loader is not nil
	}
	return l, nil
}
