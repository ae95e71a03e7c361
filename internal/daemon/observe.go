package daemon

import (
	"net/netip"
	"time"

	"xdpban/internal/ban"
	"xdpban/loader"
)

// An observer keeps account of bans and drops nothing, for a first look at what would happen.
type observer struct {
	bans map[netip.Prefix]ban.Ban
}

func newObserver() *observer { return &observer{make(map[netip.Prefix]ban.Ban)} }

func (o *observer) Attach(name string) (loader.Attachment, error) {
	return loader.Attachment{Interface: name, Mode: "observe", Refusals: []string{"enforce: observe drops nothing"}, Since: time.Now()}, nil
}

func (o *observer) Attachments() ([]loader.Attachment, error) { return nil, nil }

func (o *observer) Detach(string) error { return nil }

func (o *observer) Ban(bans ...ban.Ban) error {
	for _, b := range bans {
		if before, again := o.bans[b.Prefix]; again {
			b = before.Renewed(b)
		}
		o.bans[b.Prefix] = b
	}
	return nil
}

func (o *observer) Unban(prefixes ...netip.Prefix) (ended int, err error) {
	for _, prefix := range prefixes {
		if _, there := o.bans[prefix]; there {
			delete(o.bans, prefix)
			ended++
		}
	}
	return ended, nil
}

func (o *observer) Bans() ([]ban.Record, error) {
	records := make([]ban.Record, 0, len(o.bans))
	for _, b := range o.bans {
		records = append(records, ban.Record{Ban: b})
	}
	return records, nil
}

func (o *observer) Sweep() (ended []ban.Record, missing []netip.Prefix, err error) {
	now := time.Now()
	for prefix, b := range o.bans {
		if !b.Live(now) {
			ended = append(ended, ban.Record{Ban: b})
			delete(o.bans, prefix)
		}
	}
	return ended, nil, nil
}

func (o *observer) Allow(*ban.Set) error        { return nil }
func (o *observer) Totals() (ban.Totals, error) { return ban.Totals{}, nil }
func (o *observer) Clock() string               { return "" }
func (o *observer) Close() error                { return nil }
