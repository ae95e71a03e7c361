package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/loader"
)

// An observer keeps account of bans and drops nothing, for a first look at what would happen.
type observer struct {
	pin  string // where an earlier run may have left something
	bans map[netip.Prefix]ban.Ban
}

func newObserver(pin string) *observer { return &observer{pin, make(map[netip.Prefix]ban.Ban)} }

func (o *observer) Attach(name string) (attachment, error) {
	return attachment{Interface: name, Mode: "observe", Refusals: []string{"enforce: observe drops nothing"}, Since: time.Now()}, nil
}

func (o *observer) Attachments() ([]attachment, error) { return nil, nil }

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

// Mend has nothing to mend.
func (o *observer) Mend(bool) ([]string, error) { return nil, nil }

// Compare finds nothing else than what it was told.
func (o *observer) Compare(wanted map[netip.Prefix]ban.Ban, _ time.Time) (comparison, error) {
	return comparison{enforced: len(wanted)}, nil
}

// Test says that everything passes.
func (o *observer) Test(addr netip.Addr) ([]verdict, error) {
	v := verdict{mode: "observe", note: "enforce: observe drops nothing"}
	for prefix, b := range o.bans {
		if prefix.Contains(addr) && b.Live(time.Now()) && prefix.Bits() >= v.by.Prefix.Bits() {
			v.by = ban.Record{Ban: b}
		}
	}
	return []verdict{v}, nil
}

// Settle complains of what an earlier run left in force: nobody looks after it, and whoever
// only wants to look would not expect drops. Taking it out is for the operator to decide.
func (o *observer) Settle() error {
	var left []string
	if there, err := loader.Present(o.pin); err == nil && there {
		left = append(left, "the kernel program at "+o.pin)
	}
	if fallback.Present() {
		left = append(left, "the chain "+fallback.Name)
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("an earlier run left %s: packets are dropped although enforce: observe drops none; to end that, stop the daemon and run: xdpban detach", strings.Join(left, " and "))
}

func (o *observer) Notes() []string { return nil }
func (o *observer) Clock() string   { return "" }
func (o *observer) Close() error    { return nil }
